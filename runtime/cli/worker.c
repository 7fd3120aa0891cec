/* worker.c - the other workers: what the main thread asks of them, and what each does on its own
 * thread.
 *
 * What both sides touch is under the mutex of the set; each side is woken by a wakeup on its loop.
 * Everything below "the worker's own" belongs to the worker's thread. */
#include "cli/worker.h"

#include "bind/flow_lua.h"
#include "bind/journal_lua.h"
#include "cli/lua_call.h"
#include "core/log.h"
#include "core/wakeup.h"
#include "flow/deaths.h"
#include "kafka/settings.h"
#include "modules.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE_MS = 5000, LEAVE_MS = 2000, FLUSH_MS = 500, LOOK_MS = 200 };

enum state { STARTING, RUNNING, LOADING, LOADED, REFUSED, ENDED };
enum wanted { WANT_LOAD = 1, WANT_COMMIT = 2, WANT_ROLLBACK = 4, WANT_STOP = 8 };

struct worker {
  struct sip_workers *all; /* borrowed */
  int index;               /* 2, 3 … */
  uv_thread_t thread;
  bool has_thread;
  /* under the mutex */
  struct sip_wakeup *wakeup; /* NULL before its loop runs and after */
  unsigned wanted;
  uint64_t limit_ms; /* with WANT_STOP */
  enum state state;
  int failed;         /* the code that ended it */
  struct sip_err err; /* with `failed`, or with REFUSED */
  char version[17];   /* with LOADED */
  struct sip_worker_status status;
  /* the worker's own */
  uv_loop_t loop;
  uv_timer_t look, limit;
  struct sip_vm *vm;
  struct sip_script *script, *loaded;
  struct sip_deaths *deaths;
  bool is_ready, is_loading, is_stopping, is_flushing, is_stopped;
};

struct sip_workers {
  struct sip_host *host; /* borrowed: outlives the workers, which read its settings only */
  void (*on_change)(struct sip_host *host);
  struct sip_wakeup *wakeup; /* of the main loop */
  uv_mutex_t mutex;
  size_t count;
  struct worker list[];
};

/* --- the worker's side --- */

static void worker_say(struct worker *worker, enum state state, int failed,
                       const struct sip_err *err)
{
  struct sip_workers *all = worker->all;

  uv_mutex_lock(&all->mutex);
  worker->state = state;
  if (failed < 0) {
    worker->failed = failed;
  }
  if (err != NULL) {
    worker->err = *err;
  }
  if (state == LOADED) {
    (void)snprintf(worker->version, sizeof worker->version, "%s",
                   sip_script_version(worker->loaded));
  }
  sip_wakeup_send(all->wakeup);
  uv_mutex_unlock(&all->mutex);
}

static void worker_look(uv_timer_t *timer)
{
  struct worker *worker = timer->data;
  struct sip_worker_status *status = &worker->status;
  struct sip_engine *engine = NULL;

  if (sip_flow_lua_engine(&engine, worker->vm, NULL) < 0) {
    return;
  }
  uv_mutex_lock(&worker->all->mutex);
  status->connected = sip_modules_connected(worker->vm);
  status->memory_bytes = sip_vm_memory_bytes(worker->vm);
  status->tasks = sip_task_count(worker->vm);
  status->flow_count = sip_engine_status(engine, status->flows, SIP_WORKER_FLOWS);
  if (status->flow_count > SIP_WORKER_FLOWS) {
    status->flow_count = SIP_WORKER_FLOWS;
  }
  for (size_t i = 0; i < status->flow_count; i++) {
    (void)snprintf(status->groups[i], sizeof status->groups[i], "%s", status->flows[i].group);
    status->flows[i].topic = NULL; /* borrowed from the engine */
  }
  uv_mutex_unlock(&worker->all->mutex);
}

static void worker_on_flushed(void *arg, int result, const struct sip_err *err)
{
  struct worker *worker = arg;

  if (result < 0) {
    sip_log(SIP_LOG_WARN, "host", NULL, "worker %d: %s", worker->index, err->message);
  }
  worker->is_stopped = true;
}

static int push_flush(lua_State *L, void *arg)
{
  const struct worker *worker = arg;
  uint64_t left_ms = uv_timer_get_due_in(&worker->limit);

  lua_pushfstring(L, "%dms", (int)(left_ms > FLUSH_MS ? left_ms : FLUSH_MS));
  return 1;
}

static void worker_on_drained(void *arg)
{
  struct worker *worker = arg;
  struct sip_err err = { 0 };

  if (worker->is_flushing) {
    return;
  }
  worker->is_flushing = true;
  if (sip_call_start(worker->vm, "sipeat.queues", "flush", push_flush, worker, worker_on_flushed,
                     worker, NULL, &err) < 0) {
    worker_on_flushed(worker, err.code, &err);
  }
}

static void worker_on_limit(uv_timer_t *timer)
{
  struct worker *worker = timer->data;

  worker->is_stopped = true; /* what is not committed is delivered again */
}

static void worker_stop(struct worker *worker, uint64_t limit_ms)
{
  struct sip_err err = { 0 };

  worker->is_stopping = true;
  (void)uv_timer_start(&worker->limit, worker_on_limit, limit_ms + LEAVE_MS,
                       0); /* has a callback */
  if (sip_modules_drain(worker->vm, limit_ms, worker_on_drained, worker, &err) < 0) {
    sip_log(SIP_LOG_ERROR, "host", NULL, "worker %d: %s", worker->index, err.message);
    worker->is_stopped = true;
  }
}

static void worker_on_loaded(struct sip_script *script, const struct sip_err *err, void *arg)
{
  struct worker *worker = arg;

  worker->is_loading = false;
  worker->loaded = script;
  worker_say(worker, script == NULL ? REFUSED : LOADED, 0, script == NULL ? err : NULL);
}

static void worker_load(struct worker *worker)
{
  struct sip_err err = { 0 };

  if (sip_modules_begin(worker->vm, &err) < 0 ||
      sip_script_load_start(worker->vm, worker->all->host->options->script, 0, worker_on_loaded,
                            worker, &err) < 0) {
    worker_say(worker, REFUSED, 0, &err);
    return;
  }
  worker->is_loading = true;
}

static void worker_on_journal_failed(void *arg, const struct sip_err *err)
{
  worker_say(arg, RUNNING, err->code, err); /* and the others stop with it */
}

static int worker_attach(struct worker *worker, struct sip_err *err)
{
  const struct sip_host *host = worker->all->host;
  int rc = sip_host_attach(host, worker->vm, &worker->deaths, err);

  return rc < 0 || host->journal == NULL
           ? rc
           : sip_journal_lua_attach(worker->vm, host->journal, worker_on_journal_failed, worker,
                                    err);
}

/* The main thread's state was first, and has taken up what was left in the journal. */
static int worker_commit(struct worker *worker, struct sip_err *err)
{
  bool recovers = false;
  int rc = sip_journal_lua_open(worker->vm, &recovers, err);

  return rc < 0 ? rc : sip_modules_commit(worker->vm, err);
}

static void worker_settle(struct worker *worker, bool commit)
{
  struct sip_err err = { 0 };

  if (!commit || worker->loaded == NULL) {
    sip_modules_rollback(worker->vm);
    sip_script_free(worker->loaded);
  } else if (worker_commit(worker, &err) < 0) { /* the main thread's did not fail */
    sip_script_free(worker->loaded);
    worker->loaded = NULL;
    worker_say(worker, RUNNING, err.code, &err);
    return;
  } else {
    sip_script_free(worker->script);
    worker->script = worker->loaded;
  }
  worker->loaded = NULL;
  worker_say(worker, RUNNING, 0, NULL);
}

static void worker_on_wake(void *arg)
{
  struct worker *worker = arg;
  unsigned wanted;
  uint64_t limit_ms;

  if (!worker->is_ready) {
    return; /* it starts: what is asked waits */
  }
  uv_mutex_lock(&worker->all->mutex);
  wanted = worker->wanted;
  limit_ms = worker->limit_ms;
  worker->wanted = 0;
  uv_mutex_unlock(&worker->all->mutex);
  if ((wanted & (WANT_COMMIT | WANT_ROLLBACK)) != 0 && !worker->is_loading) {
    worker_settle(worker, (wanted & WANT_COMMIT) != 0);
  }
  if ((wanted & WANT_STOP) != 0) {
    worker_stop(worker, limit_ms);
  } else if ((wanted & WANT_LOAD) != 0 && !worker->is_stopping && !worker->is_loading) {
    worker_load(worker);
  }
}

/* The members of a static group differ by their names. */
static int worker_configure(struct worker *worker, struct sip_err *err)
{
  const struct sip_kafka_settings *given = worker->all->host->kafka;
  const char *instance = sip_kafka_settings_get(given, "group.instance.id");
  struct sip_kafka_settings *settings = NULL;
  char name[256];
  int rc = sip_kafka_settings_copy(&settings, given, err);

  if (rc == 0 && instance != NULL && instance[0] != '\0') {
    (void)snprintf(name, sizeof name, "%.200s-w%d", instance, worker->index);
    rc = sip_kafka_settings_set(settings, "group.instance.id", name, err);
  }
  if (rc == 0) {
    rc = sip_modules_configure_kafka(worker->vm, settings, err);
  }
  sip_kafka_settings_free(settings);
  return rc;
}

static int worker_open(struct worker *worker, struct sip_err *err)
{
  const struct sip_host *host = worker->all->host;
  const struct sip_vm_options options = { .memory_limit_bytes = host->options->memory_bytes,
                                          .slice_limit_ms = SLICE_MS,
                                          .hard_limit_ms = host->options->hard_limit_ms,
                                          .worker = worker->index,
                                          .workers = (int)host->options->workers };
  int rc = sip_vm_new(&worker->vm, &worker->loop, &options, err);

  if (rc == 0) {
    rc = sip_modules_start(worker->vm, err);
  }
  if (rc == 0) {
    rc = sip_modules_count(worker->vm, host->metrics, err);
  }
  if (rc == 0) {
    rc = worker_configure(worker, err);
  }
  if (rc == 0) {
    rc = worker_attach(worker, err);
  }
  if (rc == 0) {
    rc = sip_modules_begin(worker->vm, err);
  }
  if (rc == 0) {
    rc = sip_script_load(&worker->script, worker->vm, host->options->script, 0, err);
  }
  return rc < 0 ? rc : worker_commit(worker, err);
}

static int worker_open_loop(struct worker *worker, struct sip_err *err)
{
  struct sip_wakeup *wakeup = NULL;
  int rc = uv_loop_init(&worker->loop);

  if (rc < 0) {
    return sip_err_set(err, rc, "start the event loop: %s", uv_strerror(rc));
  }
  (void)uv_timer_init(&worker->loop, &worker->look); /* always 0 */
  (void)uv_timer_init(&worker->loop, &worker->limit);
  worker->look.data = worker->limit.data = worker;
  rc = sip_wakeup_new(&wakeup, &worker->loop, worker_on_wake, worker);
  uv_mutex_lock(&worker->all->mutex);
  worker->wakeup = wakeup;
  uv_mutex_unlock(&worker->all->mutex);
  return rc < 0 ? sip_err_set(err, rc, "start a worker: %s", uv_strerror(rc)) : 0;
}

static void worker_close(struct worker *worker)
{
  struct sip_wakeup *wakeup;
  int rc;

  uv_mutex_lock(&worker->all->mutex);
  wakeup = worker->wakeup;
  worker->wakeup = NULL;
  uv_mutex_unlock(&worker->all->mutex);
  sip_wakeup_close(wakeup);
  uv_close((uv_handle_t *)&worker->look, NULL);
  uv_close((uv_handle_t *)&worker->limit, NULL);
  if (worker->vm != NULL) {
    sip_modules_stop(worker->vm);
    sip_script_free(worker->script);
    sip_script_free(worker->loaded);
    sip_vm_free(worker->vm);
  }
  (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
  rc = uv_loop_close(&worker->loop);
  assert(rc == 0); /* no handle is left open */
  (void)rc;
  sip_deaths_close(worker->deaths);
}

static void worker_main(void *arg)
{
  struct worker *worker = arg;
  struct sip_err err = { 0 };
  int rc = worker_open_loop(worker, &err);

  if (rc == 0) {
    rc = worker_open(worker, &err);
  }
  if (rc == 0) {
    (void)uv_timer_start(&worker->look, worker_look, 0, LOOK_MS); /* has a callback */
    worker->is_ready = true;
    worker_say(worker, RUNNING, 0, NULL);
    worker_on_wake(worker); /* what was asked while it started */
    while (!worker->is_stopped) {
      (void)uv_run(&worker->loop, UV_RUN_ONCE);
    }
  }
  worker_close(worker);
  worker_say(worker, ENDED, rc, rc < 0 ? &err : NULL);
}

/* --- the main thread's side --- */

static void workers_want(struct sip_workers *workers, unsigned what, uint64_t limit_ms)
{
  if (workers == NULL) {
    return;
  }
  uv_mutex_lock(&workers->mutex);
  for (size_t i = 0; i < workers->count; i++) {
    struct worker *worker = &workers->list[i];

    worker->wanted |= what;
    worker->limit_ms = limit_ms;
    if (what == WANT_LOAD && worker->state != ENDED) {
      worker->state = LOADING;
    }
    if (worker->wakeup != NULL) {
      sip_wakeup_send(worker->wakeup);
    }
  }
  uv_mutex_unlock(&workers->mutex);
}

void sip_workers_load(struct sip_workers *workers)
{
  workers_want(workers, WANT_LOAD, 0);
}

void sip_workers_settle(struct sip_workers *workers, bool commit)
{
  workers_want(workers, commit ? WANT_COMMIT : WANT_ROLLBACK, 0);
}

void sip_workers_stop(struct sip_workers *workers, uint64_t limit_ms)
{
  workers_want(workers, WANT_STOP, limit_ms);
}

static bool workers_any(struct sip_workers *workers, enum state from, enum state to)
{
  bool any = false;

  if (workers == NULL) {
    return false;
  }
  uv_mutex_lock(&workers->mutex);
  for (size_t i = 0; i < workers->count; i++) {
    any = any || (workers->list[i].state >= from && workers->list[i].state <= to);
  }
  uv_mutex_unlock(&workers->mutex);
  return any;
}

bool sip_workers_loading(struct sip_workers *workers)
{
  return workers_any(workers, LOADING, LOADING);
}

bool sip_workers_alive(struct sip_workers *workers)
{
  return workers_any(workers, STARTING, REFUSED);
}

int sip_workers_loaded(struct sip_workers *workers, const char *version, struct sip_err *err)
{
  int rc = 0;

  if (workers == NULL) {
    return 0;
  }
  uv_mutex_lock(&workers->mutex);
  for (size_t i = 0; rc == 0 && i < workers->count; i++) {
    const struct worker *worker = &workers->list[i];

    if (worker->state == REFUSED) {
      rc = sip_err_named(err, worker->err.code, worker->err.name, "worker %d: %s", worker->index,
                         worker->err.message);
    } else if (worker->state != LOADED || strcmp(worker->version, version) != 0) {
      rc = sip_err_set(err, SIP_EBUSY, "worker %d: the script was saved while it was loaded",
                       worker->index);
    }
  }
  uv_mutex_unlock(&workers->mutex);
  return rc;
}

int sip_workers_failed(struct sip_workers *workers, struct sip_err *err)
{
  int rc = 0;

  if (workers == NULL) {
    return 0;
  }
  uv_mutex_lock(&workers->mutex);
  for (size_t i = 0; rc == 0 && i < workers->count; i++) {
    const struct worker *worker = &workers->list[i];

    if (worker->failed < 0) {
      rc = sip_err_named(err, worker->failed, worker->err.name, "worker %d ended: %s",
                         worker->index, worker->err.message);
    }
  }
  uv_mutex_unlock(&workers->mutex);
  return rc;
}

size_t sip_workers_count(const struct sip_workers *workers)
{
  return workers == NULL ? 0 : workers->count;
}

void sip_workers_status(struct sip_workers *workers, size_t n, struct sip_worker_status *out)
{
  uv_mutex_lock(&workers->mutex);
  *out = workers->list[n].status;
  uv_mutex_unlock(&workers->mutex);
  out->index = workers->list[n].index;
  for (size_t i = 0; i < out->flow_count; i++) {
    out->flows[i].group = out->groups[i];
  }
}

static void workers_on_wake(void *arg)
{
  struct sip_workers *workers = arg;

  workers->on_change(workers->host);
}

int sip_workers_start(struct sip_workers **out, struct sip_host *host,
                      void (*on_change)(struct sip_host *host), struct sip_err *err)
{
  size_t count = (size_t)host->options->workers - 1;
  struct sip_workers *workers = calloc(1, sizeof *workers + count * sizeof workers->list[0]);
  int rc;

  if (workers == NULL || uv_mutex_init(&workers->mutex) < 0) {
    free(workers);
    return sip_err_set(err, UV_ENOMEM, "no memory for %zu workers", count + 1);
  }
  workers->host = host;
  workers->on_change = on_change;
  workers->count = count;
  *out = workers;
  rc = sip_wakeup_new(&workers->wakeup, &host->loop, workers_on_wake, workers);
  for (size_t i = 0; i < count; i++) {
    struct worker *worker = &workers->list[i];

    worker->all = workers;
    worker->index = (int)i + 2;
    rc = rc < 0 ? rc : uv_thread_create(&worker->thread, worker_main, worker);
    worker->has_thread = rc == 0;
    if (rc < 0) {
      worker->state = ENDED; /* nobody else knows of it */
    }
  }
  if (rc < 0) {
    return sip_err_set(err, rc, "start %zu workers: %s", count + 1, uv_strerror(rc));
  }
  while (workers_any(workers, STARTING, STARTING) && host->phase == SIP_HOST_STARTING) {
    (void)uv_run(&host->loop, UV_RUN_ONCE);
  }
  return sip_workers_failed(workers, err);
}

void sip_workers_free(struct sip_workers *workers)
{
  if (workers == NULL) {
    return;
  }
  for (size_t i = 0; i < workers->count; i++) {
    if (workers->list[i].has_thread) {
      (void)uv_thread_join(&workers->list[i].thread);
    }
  }
  sip_wakeup_close(workers->wakeup);
  uv_mutex_destroy(&workers->mutex);
  free(workers);
}
