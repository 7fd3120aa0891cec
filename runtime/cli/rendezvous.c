/* rendezvous.c - notes about embedded brokers, one locked file per process, in a directory of the
 * user's own. */
#include "cli/rendezvous.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char SUFFIX[] = ".embedded";

struct sip_rendezvous {
  int fd; /* holds the lock */
  char path[PATH_MAX];
};

static int directory_path(char *path, size_t size, struct sip_err *err)
{
  const char *base = getenv("XDG_RUNTIME_DIR");
  int len;

  if (base != NULL && base[0] == '/') {
    len = snprintf(path, size, "%s/sipeat", base);
  } else {
    len = snprintf(path, size, "/tmp/sipeat-%ld", (long)geteuid());
  }
  if (len < 0 || (size_t)len >= size) {
    return sip_err_set(err, UV_ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
  }
  return 0;
}

/** A directory that somebody else could write to might name a broker of theirs. */
static int directory_check(const char *path, struct sip_err *err)
{
  struct stat st;

  if (lstat(path, &st) != 0) {
    return sip_err_errno(err, errno, "look at %s", path);
  }
  if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
    return sip_err_set(
      err, UV_EPERM,
      "%s must be a directory of this user with mode 0700 (remove it, it is made anew)", path);
  }
  return 0;
}

static int note_write(int fd, const char *path, const struct sip_rendezvous_note *note,
                      struct sip_err *err)
{
  char text[sizeof *note + 64];
  int len = snprintf(text, sizeof text, "broker %s\nhttp %s\nscript %s\n", note->broker, note->http,
                     note->script);
  ssize_t written;

  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return sip_err_errno(err, errno, "lock %s", path);
  }
  written = write(fd, text, (size_t)len);
  if (written != len) {
    return sip_err_errno(err, written < 0 ? errno : ENOSPC, "write %s", path);
  }
  return 0;
}

int sip_rendezvous_leave(struct sip_rendezvous **out, const struct sip_rendezvous_note *note,
                         struct sip_err *err)
{
  struct sip_rendezvous *r = calloc(1, sizeof *r);
  char directory[PATH_MAX - 64], fresh[PATH_MAX];
  int rc;

  if (r == NULL) {
    return sip_err_set(err, UV_ENOMEM, "leave a note for other terminals: no memory");
  }
  r->fd = -1;
  rc = directory_path(directory, sizeof directory, err);
  if (rc < 0) {
    goto cleanup;
  }
  if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
    rc = sip_err_errno(err, errno, "make %s", directory);
    goto cleanup;
  }
  rc = directory_check(directory, err);
  if (rc < 0) {
    goto cleanup;
  }
  (void)snprintf(r->path, sizeof r->path, "%s/%ld%s", directory, (long)getpid(), SUFFIX);
  (void)snprintf(fresh, sizeof fresh, "%s/%ld.new", directory, (long)getpid());
  r->fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (r->fd < 0) {
    rc = sip_err_errno(err, errno, "open %s", fresh);
    goto cleanup;
  }
  rc = note_write(r->fd, fresh, note, err);
  if (rc == 0 && rename(fresh, r->path) != 0) {
    rc = sip_err_errno(err, errno, "rename %s", fresh);
  }
  if (rc < 0) {
    (void)unlink(fresh); /* already failing: the first error is the one to tell */
    goto cleanup;
  }
  *out = r;
  r = NULL; /* handed over */
cleanup:
  if (r != NULL) {
    r->path[0] = '\0';
    sip_rendezvous_remove(r);
  }
  return rc;
}

void sip_rendezvous_remove(struct sip_rendezvous *r)
{
  if (r == NULL) {
    return;
  }
  if (r->path[0] != '\0') {
    (void)unlink(r->path); /* a note that stays behind has no lock, so nobody believes it */
  }
  if (r->fd >= 0) {
    (void)close(r->fd);
  }
  free(r);
}

static void note_field(const char *text, const char *name, char *out, size_t size)
{
  size_t len = strlen(name);

  for (const char *line = text; line != NULL && *line != '\0';) {
    const char *end = strchr(line, '\n');

    if (strncmp(line, name, len) == 0 && line[len] == ' ' && end != NULL) {
      (void)snprintf(out, size, "%.*s", (int)(end - line - (ptrdiff_t)len - 1), line + len + 1);
      return;
    }
    line = end != NULL ? end + 1 : NULL;
  }
}

/** Reads the note at `name` when its process lives; removes it when not. @return whether it lives
 */
static bool note_read(int directory, const char *name, struct sip_rendezvous_note *note,
                      struct timespec *at)
{
  char text[sizeof *note + 64];
  int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  bool lives = false;
  struct stat st;
  ssize_t got;

  if (fd < 0) {
    return false;
  }
  if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
    (void)unlinkat(directory, name, 0); /* its process is gone */
  } else if (errno == EWOULDBLOCK && fstat(fd, &st) == 0 && st.st_uid == geteuid()) {
    got = read(fd, text, sizeof text - 1);
    if (got > 0) {
      text[got] = '\0';
      *note = (struct sip_rendezvous_note){ .pid = strtol(name, NULL, 10) };
      note_field(text, "broker", note->broker, sizeof note->broker);
      note_field(text, "http", note->http, sizeof note->http);
      note_field(text, "script", note->script, sizeof note->script);
      *at = st.st_mtim;
      lives = note->broker[0] != '\0';
    }
  }
  (void)close(fd); /* read only */
  return lives;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
  return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

int sip_rendezvous_find(struct sip_rendezvous_note *out, struct sip_err *err)
{
  struct timespec newest = { 0 }, at = { 0 };
  char path[PATH_MAX - 64];
  const struct dirent *entry;
  int count = 0, rc;
  DIR *directory;

  rc = directory_path(path, sizeof path, err);
  if (rc < 0) {
    return rc;
  }
  directory = opendir(path);
  if (directory == NULL) {
    int saved = errno;

    return saved == ENOENT ? 0 : sip_err_errno(err, saved, "open %s", path);
  }
  rc = directory_check(path, err);
  while (rc == 0 && (entry = readdir(directory)) != NULL) {
    size_t len = strlen(entry->d_name);
    struct sip_rendezvous_note note;

    if (len > sizeof SUFFIX - 1 && strcmp(entry->d_name + len - (sizeof SUFFIX - 1), SUFFIX) == 0 &&
        note_read(dirfd(directory), entry->d_name, &note, &at)) {
      if (count == 0 || later(&at, &newest)) {
        *out = note;
        newest = at;
      }
      count++;
    }
  }
  (void)closedir(directory); /* read only */
  return rc < 0 ? rc : count;
}
