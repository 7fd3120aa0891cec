/* lock.c - lock files, flock and TIOCEXCL of ports, and who holds one. */
#include "serial/lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_S = 5 }; /* from the lock file to the open port */

/* --- who --- */

static void name_process(long pid, char *text, size_t size)
{
  char path[64], name[64] = "";
  FILE *file;

  if (pid == (long)getpid()) {
    (void)snprintf(text, size, "this process");
    return;
  }
  (void)snprintf(path, sizeof path, "/proc/%ld/comm", pid);
  file = fopen(path, "re");
  if (file != NULL) {
    if (fgets(name, sizeof name, file) != NULL) {
      name[strcspn(name, "\n")] = '\0';
    }
    (void)fclose(file); /* read only */
  }
  (void)snprintf(text, size, "%s (process %ld)", name[0] == '\0' ? "another program" : name, pid);
}

/* The process that has the lock of flock(2), from lines as
 * "1: FLOCK  ADVISORY  WRITE 1234 00:18:5 0 EOF"; 0: none is seen. */
static long flock_holder(const struct stat *info)
{
  FILE *file = fopen("/proc/locks", "re");
  char line[256];
  long pid, found = 0;
  unsigned high, low;
  unsigned long inode;

  if (file == NULL) {
    return 0;
  }
  while (found == 0 && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &high, &low, &inode) == 4 &&
        high == major(info->st_dev) && low == minor(info->st_dev) && inode == info->st_ino) {
      found = pid;
    }
  }
  (void)fclose(file); /* read only */
  return found;
}

enum open_state { OPEN_NO, OPEN_YES, OPEN_UNSEEN };

/* Whether one of the process's descriptors is the port; unseen: it is another user's, or gone. */
static enum open_state has_open(const char *process, const char *path)
{
  char folder[64], name[sizeof folder + 256], target[PATH_MAX];
  enum open_state found = OPEN_NO;
  struct dirent *entry;
  DIR *dir;

  (void)snprintf(folder, sizeof folder, "/proc/%.20s/fd", process);
  dir = opendir(folder);
  if (dir == NULL) {
    return OPEN_UNSEEN;
  }
  while (found == OPEN_NO && (entry = readdir(dir)) != NULL) {
    ssize_t size;

    (void)snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
    size = readlink(name, target, sizeof target - 1);
    target[size < 0 ? 0 : size] = '\0';
    found = strcmp(target, path) == 0 ? OPEN_YES : OPEN_NO;
  }
  (void)closedir(dir); /* read only */
  return found;
}

static long open_holder(const char *path)
{
  DIR *dir = opendir("/proc");
  struct dirent *entry;
  long found = 0;

  if (dir == NULL) {
    return 0;
  }
  while (found == 0 && (entry = readdir(dir)) != NULL) {
    if (isdigit((unsigned char)entry->d_name[0]) && has_open(entry->d_name, path) == OPEN_YES) {
      found = strtol(entry->d_name, NULL, 10);
    }
  }
  (void)closedir(dir); /* read only */
  return found;
}

void sip_lock_holder(const char *path, char *text, size_t size)
{
  struct stat info;
  long pid = stat(path, &info) == 0 ? flock_holder(&info) : 0;

  if (pid == 0) {
    pid = open_holder(path);
  }
  text[0] = '\0';
  if (pid > 0) {
    name_process(pid, text, size);
  }
}

int sip_lock_busy(const char *path, struct sip_err *err)
{
  char holder[128];

  sip_lock_holder(path, holder, sizeof holder);
  return sip_err_set(err, SIP_EBUSY,
                     "open %s: %s has it (two programs on one port would mix their bytes: stop one "
                     "of them)",
                     path, holder[0] == '\0' ? "another program" : holder);
}

/* --- the lock file --- */

/* A process that lives and has the number, but has not opened the port seconds later, is another
 * one: in a container the next run often has the number of the last. */
static bool is_another(long pid, const char *path, const char *port)
{
  char process[24];
  struct stat info;

  (void)snprintf(process, sizeof process, "%ld", pid);
  return stat(path, &info) == 0 && info.st_mtime + GRACE_S < time(NULL) &&
         has_open(process, port) == OPEN_NO;
}

/* Who made the lock file of the port; 0: nobody who lives. */
static long file_holder(const char *path, const char *port)
{
  FILE *file = fopen(path, "re");
  long pid = 0;

  if (file == NULL) {
    return 0;
  }
  if (fscanf(file, "%ld", &pid) != 1 || pid <= 0 || pid > INT_MAX) {
    pid = 0;
  }
  (void)fclose(file); /* read only */
  if (pid == 0 || (kill((pid_t)pid, 0) < 0 && errno != EPERM)) {
    return 0;
  }
  return is_another(pid, path, port) ? 0 : pid;
}

/* Makes the file with our number in it, all at once. @return 0 or an errno */
static int file_make(const char *path)
{
  char text[16], draft[sizeof((struct sip_lock *)NULL)->path + 16];
  int fd, failed = 0;

  (void)snprintf(draft, sizeof draft, "%s.%ld", path, (long)gettid());
  fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return errno;
  }
  (void)snprintf(text, sizeof text, "%10ld\n", (long)getpid()); /* the shape that others read */
  if (write(fd, text, 11) != 11) {
    failed = errno == 0 ? EIO : errno;
  }
  (void)close(fd); /* what matters was written */
  if (failed == 0 && link(draft, path) < 0) {
    failed = errno;
  }
  (void)unlink(draft);
  return failed;
}

int sip_lock_take(struct sip_lock *lock, const char *directory, const char *path,
                  struct sip_err *err)
{
  const char *base = strrchr(path, '/');
  char holder[128];
  int failed = 0;

  (void)snprintf(lock->path, sizeof lock->path, "%s/LCK..%s", directory,
                 base == NULL ? path : base + 1);
  for (int round = 0; round < 2; round++) {
    long pid;

    failed = file_make(lock->path);
    if (failed != EEXIST) {
      break;
    }
    pid = file_holder(lock->path, path);
    if (pid != 0) {
      name_process(pid, holder, sizeof holder);
      failed = sip_err_set(err, SIP_EBUSY, "open %s: %s has it, says %s", path, holder, lock->path);
      lock->path[0] = '\0';
      return failed;
    }
    (void)unlink(lock->path); /* of a process that is gone */
  }
  if (failed != 0) { /* no such directory, or not for us: flock is left */
    lock->path[0] = '\0';
  }
  return 0;
}

void sip_lock_release(struct sip_lock *lock)
{
  if (lock->path[0] != '\0') {
    (void)unlink(lock->path); /* who cannot remove it is seen to be gone */
    lock->path[0] = '\0';
  }
}

int sip_lock_descriptor(int fd, const char *path, bool exclusive, struct sip_err *err)
{
  if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    return errno == EWOULDBLOCK ? sip_lock_busy(path, err)
                                : sip_err_errno(err, errno, "lock %s", path);
  }
  if (exclusive && ioctl(fd, TIOCEXCL) < 0) {
    return sip_err_errno(err, errno, "open %s for us alone", path);
  }
  return 0;
}
