/* deaths.c - the mapped file of a worker, and what the files of dead ones say. */
#include "flow/deaths.h"

#include "core/log.h"
#include "flow/suspects.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 4096, PATH_BYTES = 4096, FILES_LOOKED_AT = 10000 };
static const char MAGIC[8] = "sipeat1";
static const char PREFIX[] = "running-";

struct slot {
  char group[SIP_SUSPECT_NAME], topic[SIP_SUSPECT_NAME];
  int32_t partition;
  uint32_t used;
};

/* The file: sparse, so that slots which were never used take no room. */
struct page {
  char magic[8];
  char cluster[SIP_SUSPECT_NAME];
  struct sip_mark mark;
  struct slot slots[SLOTS]; /* the first one stays empty */
};

struct sip_deaths {
  int directory_fd, file_fd; /* of the worker's file, whose lock says that it lives */
  char directory[PATH_BYTES], suspects_path[PATH_BYTES], name[64];
  struct page *page;            /* mapped */
  struct sip_suspects suspects; /* as they were at the start, less those that were cleared */
};

/* --- the directory --- */

static int make_directories(char *path, struct sip_err *err)
{
  for (char *at = path + 1;; at++) {
    char was = *at;

    if (was != '/' && was != '\0') {
      continue;
    }
    *at = '\0';
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
      return sip_err_errno(err, errno, "make the state directory %s (--state names another one)",
                           path);
    }
    *at = was;
    if (was == '\0') {
      return 0;
    }
  }
}

/* Everybody who makes, reads or removes files here has this lock meanwhile. @return its fd */
static int directory_lock(const struct sip_deaths *deaths, struct sip_err *err)
{
  int fd = openat(deaths->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int rc;

  if (fd < 0) {
    return sip_err_errno(err, errno, "open %s/lock", deaths->directory);
  }
  while ((rc = flock(fd, LOCK_EX)) < 0 && errno == EINTR) {
  }
  if (rc < 0) {
    rc = sip_err_errno(err, errno, "lock %s/lock", deaths->directory);
    (void)close(fd);
    return rc;
  }
  return fd;
}

/* --- what the dead left behind --- */

static bool page_says(const struct page *page, struct sip_suspect *out)
{
  uint32_t slot = page->mark.slot;

  if (memcmp(page->magic, MAGIC, sizeof MAGIC) != 0 || slot == 0 || slot >= SLOTS ||
      page->slots[slot].used == 0) {
    return false;
  }
  *out =
    (struct sip_suspect){ .offset = page->mark.offset, .partition = page->slots[slot].partition };
  (void)snprintf(out->cluster, sizeof out->cluster, "%.255s", page->cluster);
  (void)snprintf(out->group, sizeof out->group, "%.255s", page->slots[slot].group);
  (void)snprintf(out->topic, sizeof out->topic, "%.255s", page->slots[slot].topic);
  return true;
}

static void deaths_count(struct sip_deaths *deaths, const struct sip_suspect *event)
{
  const struct sip_suspect *entry;

  if (sip_suspects_add(&deaths->suspects, event) < 0) {
    sip_log(SIP_LOG_ERROR, "deaths", NULL, "no memory to count a death");
    return;
  }
  entry = sip_suspects_find(&deaths->suspects, event);
  sip_log(SIP_LOG_WARN, "deaths", NULL,
          "a process died while %s partition %d offset %lld of group %s ran: %u so far",
          event->topic, (int)event->partition, (long long)event->offset, event->group,
          entry == NULL ? 1 : entry->deaths);
}

/* @return whether the file's owner is dead, and the file was looked at */
static bool file_look(struct sip_deaths *deaths, const char *name)
{
  int fd = openat(deaths->directory_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  struct sip_suspect event;
  struct stat info;
  struct page *page;
  bool dead;

  if (fd < 0) {
    return false;
  }
  dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (dead && fstat(fd, &info) == 0 && info.st_size == (off_t)sizeof *page) {
    page = mmap(NULL, sizeof *page, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) {
      if (page_says(page, &event)) {
        deaths_count(deaths, &event);
      }
      (void)munmap(page, sizeof *page); /* cannot fail */
    }
  }
  (void)close(fd); /* read only */
  return dead;
}

/* Under the directory's lock. Files are removed only once the count is written. */
static int directory_look(struct sip_deaths *deaths, struct sip_err *err)
{
  DIR *directory = opendir(deaths->directory);
  char(*dead)[sizeof deaths->name] = NULL;
  struct dirent *entry;
  size_t count = 0;
  int rc = 0;

  if (directory == NULL) {
    return sip_err_errno(err, errno, "read %s", deaths->directory);
  }
  while (rc == 0 && count < FILES_LOOKED_AT && (entry = readdir(directory)) != NULL) {
    char(*more)[sizeof deaths->name];

    if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0 ||
        strlen(entry->d_name) >= sizeof *dead || !file_look(deaths, entry->d_name)) {
      continue;
    }
    more = realloc(dead, (count + 1) * sizeof *dead);
    if (more == NULL) {
      rc = sip_err_set(err, UV_ENOMEM, "read %s: no memory", deaths->directory);
      break;
    }
    dead = more;
    (void)snprintf(dead[count++], sizeof *dead, "%s", entry->d_name);
  }
  (void)closedir(directory); /* was only read */
  if (rc == 0 && count > 0) {
    rc = sip_suspects_write(&deaths->suspects, deaths->suspects_path, err);
  }
  for (size_t i = 0; rc == 0 && i < count; i++) {
    (void)unlinkat(deaths->directory_fd, dead[i], 0); /* one that stays is counted twice */
  }
  free(dead);
  return rc;
}

/* --- the worker's own file --- */

static int file_make(struct sip_deaths *deaths, const char *cluster, struct sip_err *err)
{
  struct page *page;

  for (int n = 1; deaths->file_fd < 0 && n <= FILES_LOOKED_AT; n++) {
    (void)snprintf(deaths->name, sizeof deaths->name, "%s%d-%d", PREFIX, (int)getpid(), n);
    deaths->file_fd = openat(deaths->directory_fd, deaths->name,
                             O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (deaths->file_fd < 0 && errno != EEXIST) {
      break;
    }
  }
  if (deaths->file_fd < 0 || flock(deaths->file_fd, LOCK_EX | LOCK_NB) < 0 ||
      ftruncate(deaths->file_fd, (off_t)sizeof *page) < 0) {
    return sip_err_errno(err, errno, "make %s/%s", deaths->directory, deaths->name);
  }
  page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, deaths->file_fd, 0);
  if (page == MAP_FAILED) {
    return sip_err_errno(err, errno, "map %s/%s", deaths->directory, deaths->name);
  }
  deaths->page = page;
  memcpy(page->magic, MAGIC, sizeof MAGIC);
  (void)snprintf(page->cluster, sizeof page->cluster, "%s", cluster);
  for (char *at = page->cluster; *at != '\0'; at++) {
    *at = *at == '\t' || *at == '\n' ? ' ' : *at;
  }
  return 0;
}

int sip_deaths_open(struct sip_deaths **out, const char *directory, const char *cluster,
                    struct sip_err *err)
{
  struct sip_deaths *deaths = calloc(1, sizeof *deaths);
  int lock = -1, rc;

  if (deaths == NULL) {
    return sip_err_set(err, UV_ENOMEM, "open %s: no memory", directory);
  }
  deaths->directory_fd = deaths->file_fd = -1;
  (void)snprintf(deaths->directory, sizeof deaths->directory, "%s", directory);
  if ((size_t)snprintf(deaths->suspects_path, PATH_BYTES, "%s/suspects", directory) >= PATH_BYTES) {
    rc = sip_err_set(err, UV_ENAMETOOLONG, "the name of the state directory is too long");
    goto cleanup;
  }
  rc = make_directories(deaths->directory, err);
  if (rc < 0) {
    goto cleanup;
  }
  deaths->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (deaths->directory_fd < 0) {
    rc = sip_err_errno(err, errno, "open %s", directory);
    goto cleanup;
  }
  rc = lock = directory_lock(deaths, err);
  if (rc >= 0) {
    rc = sip_suspects_read(&deaths->suspects, deaths->suspects_path, err);
  }
  if (rc >= 0) {
    rc = directory_look(deaths, err);
  }
  if (rc >= 0) {
    rc = file_make(deaths, cluster, err);
  }
  if (rc < 0) {
    goto cleanup;
  }
  *out = deaths;
  deaths = NULL; /* handed over */
cleanup:
  if (lock >= 0) {
    (void)close(lock); /* releases it */
  }
  sip_deaths_close(deaths);
  return rc;
}

void sip_deaths_close(struct sip_deaths *deaths)
{
  if (deaths == NULL) {
    return;
  }
  if (deaths->page != NULL) {
    (void)munmap(deaths->page, sizeof *deaths->page); /* cannot fail */
  }
  if (deaths->file_fd >= 0) {
    (void)unlinkat(deaths->directory_fd, deaths->name, 0); /* one that stays says nothing */
    (void)close(deaths->file_fd);
  }
  if (deaths->directory_fd >= 0) {
    (void)close(deaths->directory_fd);
  }
  sip_suspects_deinit(&deaths->suspects);
  free(deaths);
}

struct sip_mark *sip_deaths_mark(struct sip_deaths *deaths)
{
  return &deaths->page->mark;
}

/* --- partitions and their events --- */

uint32_t sip_deaths_slot(struct sip_deaths *deaths, const char *group, const char *topic,
                         int32_t partition)
{
  if (strlen(group) >= SIP_SUSPECT_NAME || strlen(topic) >= SIP_SUSPECT_NAME ||
      strpbrk(group, "\t\n") != NULL) {
    return 0;
  }
  for (uint32_t i = 1; i < SLOTS; i++) {
    struct slot *slot = &deaths->page->slots[i];

    if (slot->used == 0) {
      (void)snprintf(slot->group, sizeof slot->group, "%s", group);
      (void)snprintf(slot->topic, sizeof slot->topic, "%s", topic);
      slot->partition = partition;
      slot->used = 1;
      return i;
    }
  }
  return 0;
}

void sip_deaths_release(struct sip_deaths *deaths, uint32_t slot)
{
  deaths->page->slots[slot].used = 0; /* that of 0 is 0 */
}

static struct sip_suspect deaths_event(const struct sip_deaths *deaths, uint32_t number,
                                       int64_t offset)
{
  const struct slot *slot = &deaths->page->slots[number];
  struct sip_suspect event = { .offset = offset, .partition = slot->partition };

  memcpy(event.cluster, deaths->page->cluster, sizeof event.cluster);
  memcpy(event.group, slot->group, sizeof event.group);
  memcpy(event.topic, slot->topic, sizeof event.topic);
  return event;
}

bool sip_deaths_any(const struct sip_deaths *deaths, uint32_t slot)
{
  for (size_t i = 0; slot != 0 && i < deaths->suspects.count; i++) {
    struct sip_suspect event = deaths_event(deaths, slot, deaths->suspects.list[i].offset);

    if (sip_suspects_find(&deaths->suspects, &event) != NULL) {
      return true;
    }
  }
  return false;
}

unsigned sip_deaths_of(const struct sip_deaths *deaths, uint32_t slot, int64_t offset)
{
  struct sip_suspect event = deaths_event(deaths, slot, offset);
  const struct sip_suspect *entry = sip_suspects_find(&deaths->suspects, &event);

  return entry == NULL ? 0 : entry->deaths;
}

void sip_deaths_clear(struct sip_deaths *deaths, uint32_t slot, int64_t offset)
{
  struct sip_suspect event = deaths_event(deaths, slot, offset);
  struct sip_suspect *entry;
  struct sip_err err = { 0 };
  int lock = directory_lock(deaths, &err), rc = lock;

  if (rc >= 0) {
    rc = sip_suspects_read(&deaths->suspects, deaths->suspects_path, &err);
  }
  entry = rc < 0 ? NULL : sip_suspects_find(&deaths->suspects, &event);
  if (entry != NULL) {
    sip_suspects_remove(&deaths->suspects, entry);
    rc = sip_suspects_write(&deaths->suspects, deaths->suspects_path, &err);
  }
  if (rc < 0) {
    sip_log(SIP_LOG_WARN, "deaths", NULL, "the deaths of an event cannot be forgotten: %s",
            err.message);
  }
  if (lock >= 0) {
    (void)close(lock); /* releases it */
  }
}
