/* file_lua.c - whole files, read and written on the work pool; the names in a directory.
 *
 * write_file is atomic and durable: a file beside it is written and fsynced, then renamed, then the
 * directory is fsynced. A missing directory is made, one level deep. A killed task leaves the job
 * to finish alone; the job is freed by its `done`. */
#include "bind/file_lua.h"

#include "core/buf.h"
#include "core/work.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char JOB[] = "sipeat.file.job";
static const size_t FILE_LIMIT_BYTES = (size_t)256 << 20;

struct job {
  struct sip_work work;
  struct sip_wait wait;
  char *path;
  struct sip_buf data; /* read, or to be written */
  struct sip_err err;
  int rc;
  bool boxed, running;
};

static void job_free(struct job *job)
{
  if (job->boxed || job->running) {
    return;
  }
  sip_buf_deinit(&job->data);
  free(job->path);
  free(job);
}

static int job_gc(lua_State *L)
{
  struct job **box = luaL_checkudata(L, 1, JOB);
  struct job *job = *box;

  *box = NULL;
  if (job != NULL) {
    job->boxed = false;
    job_free(job);
  }
  return 0;
}

static int read_all(int fd, struct job *job)
{
  for (;;) {
    ssize_t n;

    if (sip_buf_reserve(&job->data, 65536) < 0) {
      return sip_err_set(&job->err, UV_ENOMEM, "read %s: not enough memory", job->path);
    }
    n = read(fd, job->data.data + job->data.len, 65536);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return sip_err_errno(&job->err, errno, "read %s", job->path);
    }
    if (n == 0) {
      return 0;
    }
    job->data.len += (size_t)n;
    if (job->data.len > FILE_LIMIT_BYTES) {
      return sip_err_set(&job->err, SIP_ETOOBIG, "read %s: more than 256 MiB", job->path);
    }
  }
}

static void job_read(struct sip_work *work)
{
  struct job *job = SIP_CONTAINER(work, struct job, work);
  int fd = open(job->path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) {
    job->rc = sip_err_errno(&job->err, errno, "open %s", job->path);
    return;
  }
  job->rc = read_all(fd, job);
  (void)close(fd); /* nothing was written */
}

/* Names of regular files, each with its NUL. */
static int list_all(DIR *directory, struct job *job)
{
  struct dirent *entry;

  for (errno = 0; (entry = readdir(directory)) != NULL; errno = 0) {
    struct stat about;

    if (fstatat(dirfd(directory), entry->d_name, &about, 0) < 0 || !S_ISREG(about.st_mode)) {
      continue; /* gone meanwhile, or no file */
    }
    if (sip_buf_add(&job->data, entry->d_name, strlen(entry->d_name) + 1) < 0) {
      return sip_err_set(&job->err, UV_ENOMEM, "list %s: not enough memory", job->path);
    }
  }
  return errno == 0 ? 0 : sip_err_errno(&job->err, errno, "list %s", job->path);
}

static void job_list(struct sip_work *work)
{
  struct job *job = SIP_CONTAINER(work, struct job, work);
  DIR *directory = opendir(job->path);

  if (directory == NULL) {
    job->rc = sip_err_errno(&job->err, errno, "list %s", job->path);
    return;
  }
  job->rc = list_all(directory, job);
  (void)closedir(directory); /* nothing was written */
}

static int write_all(int fd, struct job *job)
{
  size_t done = 0;

  while (done < job->data.len) {
    ssize_t n = write(fd, job->data.data + done, job->data.len - done);

    if (n < 0 && errno != EINTR) {
      return sip_err_errno(&job->err, errno, "write %s", job->path);
    }
    done += n > 0 ? (size_t)n : 0;
  }
  if (fsync(fd) < 0) {
    return sip_err_errno(&job->err, errno, "fsync %s", job->path);
  }
  return 0;
}

static int sync_directory(struct job *job)
{
  char copy[4096];
  int fd, rc = 0;

  (void)snprintf(copy, sizeof copy, "%s", job->path); /* its length was checked by l_write_file */
  fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return sip_err_errno(&job->err, errno, "open the directory of %s", job->path);
  }
  if (fsync(fd) < 0) {
    rc = sip_err_errno(&job->err, errno, "fsync the directory of %s", job->path);
  }
  (void)close(fd); /* synced above */
  return rc;
}

/* Opens a file beside the one to be written; makes its directory when only that is missing. */
static int open_beside(struct job *job, char *beside, size_t size)
{
  for (int n = 0;; n++) {
    char copy[4096];
    int fd;

    (void)snprintf(beside, size, "%s.XXXXXX", job->path); /* the length was checked */
    fd = mkostemp(beside, O_CLOEXEC);
    if (fd >= 0) {
      return fd;
    }
    if (errno != ENOENT || n > 0) {
      return sip_err_errno(&job->err, errno, "create %s", beside);
    }
    (void)snprintf(copy, sizeof copy, "%s", job->path);
    if (mkdir(dirname(copy), 0777) < 0 && errno != EEXIST) {
      return sip_err_errno(&job->err, errno, "make the directory of %s", job->path);
    }
  }
}

static void job_write(struct sip_work *work)
{
  struct job *job = SIP_CONTAINER(work, struct job, work);
  char beside[4096];
  int fd = open_beside(job, beside, sizeof beside);

  if (fd < 0) {
    job->rc = fd;
    return;
  }
  job->rc = write_all(fd, job);
  if (close(fd) < 0 && job->rc == 0) {
    job->rc = sip_err_errno(&job->err, errno, "close %s", beside);
  }
  if (job->rc == 0 && rename(beside, job->path) < 0) {
    job->rc = sip_err_errno(&job->err, errno, "rename %s to %s", beside, job->path);
  }
  if (job->rc < 0) {
    (void)unlink(beside); /* the first failure is the one to tell */
    return;
  }
  job->rc = sync_directory(job);
}

static void job_on_done(struct sip_work *work, int status)
{
  struct job *job = SIP_CONTAINER(work, struct job, work);

  job->running = false;
  if (job->boxed) {
    sip_wake(&job->wait, status);
  }
  job_free(job);
}

static void job_cancel(struct sip_wait *wait)
{
  sip_work_cancel(&SIP_CONTAINER(wait, struct job, wait)->work);
}

static int push_names(lua_State *L, const struct sip_buf *names)
{
  size_t at = 0;

  lua_newtable(L);
  for (lua_Integer i = 1; at < names->len; i++) {
    lua_pushstring(L, names->data + at);
    lua_rawseti(L, -2, i);
    at += strlen(names->data + at) + 1;
  }
  return 1;
}

static int job_finish(lua_State *L, struct sip_wait *wait)
{
  struct job *job = SIP_CONTAINER(wait, struct job, wait);

  if (wait->status < 0) {
    return sip_push_error(L, wait->status, job->path);
  }
  if (job->rc < 0) {
    return sip_push_err(L, &job->err);
  }
  if (job->work.run == job_list) {
    return push_names(L, &job->data);
  }
  if (job->work.run == job_write) {
    lua_pushboolean(L, 1);
  } else {
    lua_pushlstring(L, job->data.data == NULL ? "" : job->data.data, job->data.len);
  }
  return 1;
}

static int job_start(lua_State *L, const char *path, const char *data, size_t len,
                     sip_work_run_fn run)
{
  struct job **box = sip_box_new(L, JOB, job_gc);
  struct job *job = calloc(1, sizeof *job);
  int rc;

  if (job == NULL) {
    return luaL_error(L, "%s: not enough memory", path);
  }
  job->boxed = true;
  *box = job;
  job->path = strdup(path);
  if (job->path == NULL || sip_buf_add(&job->data, data, len) < 0) {
    return luaL_error(L, "%s: not enough memory", path);
  }
  sip_wait_init(&job->wait, job_cancel, job_finish);
  rc = sip_work_start(sip_vm_loop(L), &job->work, run, job_on_done);
  if (rc < 0) {
    return sip_push_error(L, rc, path);
  }
  job->running = true;
  return sip_await(L, &job->wait, SIP_FOREVER);
}

int sip_l_read_file(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);

  lua_settop(L, 1);
  sip_permit(L, SIP_PERMIT_READ, path);
  return job_start(L, path, "", 0, job_read);
}

int sip_l_list_files(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);

  lua_settop(L, 1);
  sip_permit(L, SIP_PERMIT_READ, path);
  return job_start(L, path, "", 0, job_list);
}

int sip_l_write_file(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);

  luaL_argcheck(L, strlen(path) < 4000, 1, "a path of at most 4000 bytes");
  lua_settop(L, 2);
  sip_permit(L, SIP_PERMIT_WRITE, path);
  return job_start(L, path, data, len, job_write);
}
