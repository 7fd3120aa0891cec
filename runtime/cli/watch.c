/* watch.c - notices saved files: inotify on their directories through libuv, and a look once a
 * second.
 *
 * Files are looked at on the work pool, since stat can block on a network file system. One scan
 * runs at a time; its results are dropped when the list has changed meanwhile. The watch is freed
 * when its last handle has closed. */
#include "cli/watch.h"

#include "core/base.h"
#include "core/file_mark.h"
#include "core/list.h"
#include "core/log.h"
#include "core/work.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  QUIET_MS = 100,     /* after the last event of a burst */
  BURST_MAX_MS = 400, /* a file that is written all the time is looked at all the same */
  POLL_MS = 1000,
  POLL_ALONE_MS = 300, /* when a directory cannot be watched */
};

struct file {
  char *path;
  struct sip_file_mark seen; /* zero: not seen yet */
};

struct directory {
  struct sip_list node; /* in watch->directories */
  uv_fs_event_t event;
  struct sip_watch *watch; /* borrowed: outlives its handles */
  char *path;
  bool wanted;
};

struct scan {
  struct sip_work work;
  struct sip_watch *watch; /* borrowed: waits for the scan */
  uint64_t generation;
  size_t count;
  struct sip_file_mark *found; /* in the same block */
  char **paths;                /* in the same block; the texts as well */
};

struct sip_watch {
  uv_loop_t *loop;
  sip_watch_fn on_saved;
  void *arg;
  uv_timer_t quiet, poll;
  struct sip_list directories;
  struct file *files;
  size_t file_count;
  uint64_t generation; /* of the list */
  uint64_t burst_since_ms;
  struct scan *scan; /* the one that runs, or NULL */
  size_t handles;    /* open ones, and the scan */
  bool scan_again, any_script, script_touched, closing;
};

static void watch_release(struct sip_watch *watch)
{
  if (--watch->handles > 0) {
    return;
  }
  for (size_t i = 0; i < watch->file_count; i++) {
    free(watch->files[i].path);
  }
  free(watch->files);
  free(watch);
}

static void timer_on_close(uv_handle_t *handle)
{
  watch_release(handle->data);
}

static void directory_on_close(uv_handle_t *handle)
{
  struct directory *directory = handle->data;
  struct sip_watch *watch = directory->watch;

  free(directory->path);
  free(directory);
  watch_release(watch);
}

/* --- looking --- */

static struct sip_file_mark mark_of(const char *path)
{
  struct stat st;

  if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
    return sip_file_mark_of(&st);
  }
  return (struct sip_file_mark){ 0 };
}

static void scan_run(struct sip_work *work)
{
  struct scan *scan = SIP_CONTAINER(work, struct scan, work);

  for (size_t i = 0; i < scan->count; i++) {
    scan->found[i] = mark_of(scan->paths[i]);
  }
}

/** Takes over what was found. @return whether a file has new content */
static bool watch_compare(struct sip_watch *watch, const struct scan *scan)
{
  bool changed = false;

  for (size_t i = 0; i < watch->file_count; i++) {
    struct sip_file_mark *seen = &watch->files[i].seen;

    if (scan->found[i].size > 0 && memcmp(seen, &scan->found[i], sizeof *seen) != 0) {
      changed = changed || seen->inode != 0; /* the first look at a file is no change */
      *seen = scan->found[i];
    }
  }
  return changed;
}

static void scan_done(struct sip_work *work, int status)
{
  struct scan *scan = SIP_CONTAINER(work, struct scan, work);
  struct sip_watch *watch = scan->watch;
  bool saved = false;

  watch->scan = NULL;
  if (!watch->closing && status == 0 && scan->generation == watch->generation) {
    saved = watch_compare(watch, scan) || (watch->any_script && watch->script_touched);
    watch->script_touched = false;
  }
  free(scan);
  if (!watch->closing && watch->scan_again) {
    watch->scan_again = false;
    sip_watch_look(watch);
  }
  if (saved) {
    watch->on_saved(watch->arg);
  }
  watch_release(watch);
}

/** One block: the scan, the marks, the pointers, the texts. */
static struct scan *scan_new(struct sip_watch *watch)
{
  size_t texts = 0;
  struct scan *scan;
  char *text;

  for (size_t i = 0; i < watch->file_count; i++) {
    texts += strlen(watch->files[i].path) + 1;
  }
  scan = calloc(1, sizeof *scan + watch->file_count * (sizeof *scan->found + sizeof *scan->paths) +
                     texts);
  if (scan == NULL) {
    return NULL;
  }
  scan->watch = watch;
  scan->generation = watch->generation;
  scan->count = watch->file_count;
  scan->found = (struct sip_file_mark *)(scan + 1);
  scan->paths = (char **)(scan->found + scan->count);
  text = (char *)(scan->paths + scan->count);
  for (size_t i = 0; i < scan->count; i++) {
    size_t len = strlen(watch->files[i].path) + 1;

    memcpy(text, watch->files[i].path, len);
    scan->paths[i] = text;
    text += len;
  }
  return scan;
}

void sip_watch_look(struct sip_watch *watch)
{
  struct scan *scan;

  if (watch->scan != NULL) {
    watch->scan_again = true;
    return;
  }
  scan = scan_new(watch);
  if (scan == NULL || sip_work_start(watch->loop, &scan->work, scan_run, scan_done) < 0) {
    free(scan); /* no memory now: the next poll looks again */
    return;
  }
  watch->scan = scan;
  watch->handles++;
}

static void quiet_on_timer(uv_timer_t *timer)
{
  sip_watch_look(timer->data);
}

static void poll_on_timer(uv_timer_t *timer)
{
  struct sip_watch *watch = timer->data;

  if (watch->scan == NULL) {
    sip_watch_look(watch);
  }
}

/* --- events of directories --- */

static bool has_suffix(const char *name, const char *suffix)
{
  size_t len = strlen(name), suffix_len = strlen(suffix);

  return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/** Whether a name in that directory can be about one of our files. */
static bool watch_concerns(struct sip_watch *watch, const struct directory *directory,
                           const char *name)
{
  size_t len = strlen(directory->path);

  if (name == NULL || strncmp(name, "..", 2) == 0) {
    return true; /* no name, or the symbolic link that Kubernetes swaps for a new configuration */
  }
  if (watch->any_script && has_suffix(name, ".lua")) {
    watch->script_touched = true;
    return true;
  }
  for (size_t i = 0; i < watch->file_count; i++) {
    const char *path = watch->files[i].path;

    if (strncmp(path, directory->path, len) == 0 && path[len] == '/' &&
        strcmp(path + len + 1, name) == 0) {
      return true;
    }
  }
  return false;
}

static void directory_on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
  struct directory *directory = event->data;
  struct sip_watch *watch = directory->watch;
  uint64_t now = uv_now(watch->loop);

  (void)events;
  if (watch->closing || status < 0 || !watch_concerns(watch, directory, name)) {
    return;
  }
  if (!uv_is_active((uv_handle_t *)&watch->quiet)) {
    watch->burst_since_ms = now;
  } else if (now - watch->burst_since_ms + QUIET_MS > BURST_MAX_MS) {
    return; /* the timer that runs is the last one of this burst */
  }
  (void)uv_timer_start(&watch->quiet, quiet_on_timer, QUIET_MS,
                       0); /* has a callback: cannot fail */
}

static struct directory *directory_find(struct sip_watch *watch, const char *path, size_t len)
{
  for (struct sip_list *n = watch->directories.next; n != &watch->directories; n = n->next) {
    struct directory *directory = SIP_CONTAINER(n, struct directory, node);

    if (strncmp(directory->path, path, len) == 0 && directory->path[len] == '\0') {
      return directory;
    }
  }
  return NULL;
}

/** @return false when the directory cannot be watched, so that polling has to do */
static bool directory_want(struct sip_watch *watch, const char *path, size_t len)
{
  struct directory *directory = directory_find(watch, path, len);
  int rc;

  if (directory != NULL) {
    directory->wanted = true;
    return true;
  }
  directory = calloc(1, sizeof *directory);
  if (directory == NULL || (directory->path = strndup(path, len)) == NULL) {
    free(directory);
    return false;
  }
  (void)uv_fs_event_init(watch->loop, &directory->event); /* always 0 */
  watch->handles++;
  directory->event.data = directory;
  directory->watch = watch;
  directory->wanted = true;
  sip_list_init(&directory->node);
  rc = uv_fs_event_start(&directory->event, directory_on_event, directory->path, 0);
  if (rc < 0) {
    sip_log(SIP_LOG_WARN, "watch", NULL,
            "watch %s: %s; looking at the files %d times a second instead", directory->path,
            uv_strerror(rc), 1000 / POLL_ALONE_MS);
    uv_close((uv_handle_t *)&directory->event, directory_on_close);
    return false;
  }
  sip_list_push(&watch->directories, &directory->node);
  return true;
}

static void watch_directories(struct sip_watch *watch)
{
  struct sip_list *n, *next;
  bool all = true;

  for (n = watch->directories.next; n != &watch->directories; n = n->next) {
    SIP_CONTAINER(n, struct directory, node)->wanted = false;
  }
  for (size_t i = 0; i < watch->file_count; i++) {
    const char *slash = strrchr(watch->files[i].path, '/');

    if (slash != NULL && slash != watch->files[i].path) {
      all =
        directory_want(watch, watch->files[i].path, (size_t)(slash - watch->files[i].path)) && all;
    }
  }
  for (n = watch->directories.next; n != &watch->directories; n = next) {
    struct directory *directory = SIP_CONTAINER(n, struct directory, node);

    next = n->next;
    if (!directory->wanted) {
      sip_list_remove(n);
      uv_close((uv_handle_t *)&directory->event, directory_on_close);
    }
  }
  uv_timer_set_repeat(&watch->poll, all ? POLL_MS : POLL_ALONE_MS);
  (void)uv_timer_again(&watch->poll); /* has a callback and a period: cannot fail */
}

/* --- public --- */

int sip_watch_new(struct sip_watch **out, uv_loop_t *loop, sip_watch_fn on_saved, void *arg,
                  struct sip_err *err)
{
  struct sip_watch *watch = calloc(1, sizeof *watch);

  if (watch == NULL) {
    return sip_err_set(err, UV_ENOMEM, "watch files: no memory");
  }
  watch->loop = loop;
  watch->on_saved = on_saved;
  watch->arg = arg;
  sip_list_init(&watch->directories);
  (void)uv_timer_init(loop, &watch->quiet); /* always 0 */
  (void)uv_timer_init(loop, &watch->poll);
  watch->quiet.data = watch;
  watch->poll.data = watch;
  watch->handles = 2;
  (void)uv_timer_start(&watch->poll, poll_on_timer, POLL_MS, POLL_MS);
  *out = watch;
  return 0;
}

int sip_watch_files(struct sip_watch *watch, const char *const *files,
                    const struct sip_file_mark *marks, size_t count, struct sip_err *err)
{
  struct file *list = calloc(count + 1, sizeof *list);
  size_t n;

  for (n = 0; list != NULL && n < count; n++) {
    list[n].path = strdup(files[n]);
    if (list[n].path == NULL) {
      break;
    }
    list[n].seen = marks[n];
    for (size_t i = 0; i < watch->file_count; i++) {
      if (strcmp(watch->files[i].path, files[n]) == 0) {
        list[n].seen = watch->files[i].seen;
      }
    }
  }
  if (list == NULL || n < count) {
    for (size_t i = 0; list != NULL && i < n; i++) {
      free(list[i].path);
    }
    free(list);
    return sip_err_set(err, UV_ENOMEM, "watch %zu files: no memory", count);
  }
  for (size_t i = 0; i < watch->file_count; i++) {
    free(watch->files[i].path);
  }
  free(watch->files);
  watch->files = list;
  watch->file_count = count;
  watch->generation++;
  watch_directories(watch);
  sip_watch_look(watch);
  return 0;
}

void sip_watch_any_script(struct sip_watch *watch, bool any)
{
  watch->any_script = any;
  watch->script_touched = false;
}

void sip_watch_close(struct sip_watch *watch)
{
  struct sip_list *node;

  if (watch == NULL || watch->closing) {
    return;
  }
  watch->closing = true;
  while ((node = sip_list_shift(&watch->directories)) != NULL) {
    uv_close((uv_handle_t *)&SIP_CONTAINER(node, struct directory, node)->event,
             directory_on_close);
  }
  if (watch->scan != NULL) {
    sip_work_cancel(&watch->scan->work);
  }
  uv_close((uv_handle_t *)&watch->quiet, timer_on_close);
  uv_close((uv_handle_t *)&watch->poll, timer_on_close);
}
