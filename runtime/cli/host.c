/* host.c - opens the parts of a running program in order, runs its loop, and closes them in order.
 *
 * A signal drains: the flows finish what is in flight, notices are sent, then all is closed; what
 * is not finished within the limit is not committed, so it is delivered again later. Main thread.
 */
#include "cli/host.h"

#include "cli/cli.h"
#include "cli/host_state.h"
#include "cli/lua_call.h"
#include "cli/push.h"
#include "cli/terminal_lua.h"
#include "cli/watch.h"
#include "cli/worker.h"
#include "core/log.h"
#include "core/metrics.h"
#include "flow/deaths.h"
#include "flow/tap.h"
#include "journal/shared.h"
#include "kafka/settings.h"
#include "modules.h"
#include "serial/serial.h"
#include "vm/task.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
  FLUSH_MIN_MS = 500, /* for notices, when the drain took all the time there was */
  SLICE_MS = 5000,    /* longest that a script may hold the loop, at load too */
  LEAVE_MS = 2000,    /* to commit and leave the groups after the drain's own limit */
  HURRY_MS = 2000,    /* for the same after a second signal */
};

/* --- the end --- */

static uint64_t host_left_ms(const struct sip_host *host)
{
  uint64_t left = uv_timer_get_due_in(&host->drain_timer);

  return left > FLUSH_MIN_MS ? left : FLUSH_MIN_MS;
}

static void host_on_flushed(void *arg, int result, const struct sip_err *err)
{
  struct sip_host *host = arg;

  if (result < 0) {
    sip_log(SIP_LOG_WARN, "host", NULL, "%s", err->message);
  }
  host->phase = SIP_HOST_STOPPED;
}

static int push_flush(lua_State *L, void *arg)
{
  lua_pushinteger(L, (lua_Integer)host_left_ms(arg));
  return 1;
}

/** The flows have ended; what they told others about it is sent. */
static void host_flush(void *arg)
{
  struct sip_host *host = arg;
  struct sip_err err = { 0 };

  if (host->phase != SIP_HOST_DRAINING || host->flushing) {
    return;
  }
  host->flushing = true;
  if (host->hurried) {
    host->phase = SIP_HOST_STOPPED;
  } else if (sip_call_start(host->vm, "sipeat.service", "flush", push_flush, host, host_on_flushed,
                            host, NULL, &err) < 0) {
    host_on_flushed(host, err.code, &err);
  }
}

static void host_on_drain_limit(uv_timer_t *timer)
{
  struct sip_host *host = timer->data;

  if (!host->flushing) {
    sip_log(SIP_LOG_WARN, "host", NULL,
            "the groups could not be left in time: what is not committed is delivered again");
    host_flush(host);
  } else {
    host->phase = SIP_HOST_STOPPED;
  }
}

void sip_host_stop(struct sip_host *host)
{
  bool ran = host->phase == SIP_HOST_RUNNING;
  struct sip_err err = { 0 };

  if (host->phase >= SIP_HOST_DRAINING) {
    return;
  }
  host->phase = ran ? SIP_HOST_DRAINING : SIP_HOST_STOPPED;
  sip_notify_send(&host->notify, "STOPPING=1\nSTATUS=finishing what is in flight");
  if (host->watch != NULL) {
    sip_watch_close(host->watch);
    host->watch = NULL;
  }
  if (!ran) {
    sip_task_kill_all(host->vm); /* what starts up now is of no use any more */
    return;
  }
  sip_workers_stop(host->workers, host->options->drain_ms);
  if (host->samples != NULL) {
    sip_task_kill(host->samples);
  }
  (void)uv_timer_start(&host->drain_timer, host_on_drain_limit, host->options->drain_ms + LEAVE_MS,
                       0); /* has a callback: cannot fail */
  if (sip_modules_drain(host->vm, host->options->drain_ms, host_flush, host, &err) < 0) {
    sip_log(SIP_LOG_ERROR, "host", NULL, "%s", err.message);
    host_flush(host);
  }
}

/* What runs is stopped and not committed; what has finished is. */
static void host_hurry(struct sip_host *host, int number)
{
  struct sip_err err = { 0 };

  host->hurried = true;
  host->exit_code = 128 + number;
  sip_workers_stop(host->workers, 0);
  sip_log(SIP_LOG_INFO, "host", NULL,
          "%s: stopping what is in flight (once more ends without a commit)", strsignal(number));
  if (host->flushing || sip_modules_drain(host->vm, 0, host_flush, host, &err) <
                          0) { /* the engine was there before */
    host->phase = SIP_HOST_STOPPED;
    return;
  }
  (void)uv_timer_start(&host->drain_timer, host_on_drain_limit, HURRY_MS, 0); /* has a callback */
}

static void host_on_signal(uv_signal_t *handle, int number)
{
  struct sip_host *host = handle->data;

  if (number == SIGHUP) {
    sip_host_reload(host);
    return;
  }
  if (host->hurried || (host->signal_number != 0 && host->phase != SIP_HOST_DRAINING)) {
    _exit(128 + number); /* asked three times, or not even running */
  }
  if (host->signal_number != 0) {
    host_hurry(host, number);
    return;
  }
  host->signal_number = number;
  sip_log(SIP_LOG_INFO, "host", NULL, "%s: finishing what is in flight (once more ends at once)",
          strsignal(number));
  sip_host_stop(host);
}

/* --- opening --- */

static int host_open_signals(struct sip_host *host, struct sip_err *err)
{
  static const int numbers[SIP_HOST_SIGNALS] = { SIGINT, SIGTERM, SIGHUP };

  for (size_t i = 0; i < SIP_HOST_SIGNALS; i++) {
    int rc = uv_signal_init(&host->loop, &host->signals[i]);

    if (rc == 0) {
      host->signals[i].data = host;
      host->signal_count++;
      rc = uv_signal_start(&host->signals[i], host_on_signal, numbers[i]);
    }
    if (rc < 0) {
      return sip_err_set(err, rc, "catch signals: %s", uv_strerror(rc));
    }
  }
  return 0;
}

static int host_open_loop(struct sip_host *host, struct sip_err *err)
{
  int rc = uv_loop_init(&host->loop);

  if (rc < 0) {
    return sip_err_set(err, rc, "start the event loop: %s", uv_strerror(rc));
  }
  host->loop_open = true;
  host->started_ms = uv_now(&host->loop);
  (void)uv_timer_init(&host->loop, &host->drain_timer); /* always 0 */
  host->drain_timer.data = host;
  host->drain_timer_open = true;
  rc = sip_notify_open(&host->notify, &host->loop, err);
  return rc < 0 ? rc : host_open_signals(host, err);
}

static int host_open_vm(struct sip_host *host, struct sip_err *err)
{
  const struct sip_vm_options options = { .memory_limit_bytes = host->options->memory_bytes,
                                          .slice_limit_ms = SLICE_MS,
                                          .hard_limit_ms = host->options->hard_limit_ms,
                                          .worker = 1,
                                          .workers = (int)host->options->workers };
  int rc = sip_vm_new(&host->vm, &host->loop, &options, err);

  if (rc == 0) {
    rc = sip_modules_start(host->vm, err);
  }
  if (rc == 0) {
    rc = sip_metrics_new(&host->metrics);
    rc = rc < 0 ? sip_err_set(err, rc, "metrics: no memory")
                : sip_modules_count(host->vm, host->metrics, err);
  }
  if (rc == 0) {
    rc = sip_tap_new(&host->tap);
    rc = rc < 0 ? sip_err_set(err, rc, "no memory to watch flows")
                : sip_modules_set_tap(host->vm, host->tap, err);
  }
  if (rc == 0) {
    rc = sip_serial_new(&host->serial, err);
  }
  if (rc == 0) {
    rc = sip_modules_configure_serial(host->vm, host->serial, err);
  }
  if (rc == 0) {
    rc = sip_vm_provide(host->vm, "sipeat.core.terminal", sip_open_terminal, err);
  }
  return rc < 0 ? rc : sip_host_provide(host, err);
}

static int push_service(lua_State *L, void *arg)
{
  const struct sip_host *host = arg;
  char place[4096];

  lua_newtable(L);
  lua_pushstring(L, host->options->http);
  lua_setfield(L, -2, "http");
  sip_push_tls(L, &host->options->tls);
  lua_pushboolean(L, host->options->dev);
  lua_setfield(L, -2, "dev");
  lua_pushstring(
    L, sip_settings_access(host->options->dev ? "off" : host->options->state, place, sizeof place));
  lua_setfield(L, -2, "access");
  return 1;
}

static void host_on_samples_done(void *arg, int result, const struct sip_err *err)
{
  struct sip_host *host = arg;

  host->samples = NULL;
  if (result < 0) {
    sip_log(SIP_LOG_ERROR, "samples", NULL, "%s", err->message);
    host->exit_code = SIP_EXIT_FAILED;
    sip_host_stop(host);
  }
}

static int push_samples(lua_State *L, void *arg)
{
  const struct sip_host *host = arg;

  lua_pushstring(L, host->options->samples);
  lua_pushinteger(L, (lua_Integer)host->options->every_ms);
  lua_pushstring(L, sip_host_dev_only_topic(host));
  return 3;
}

static int host_open_watch(struct sip_host *host, struct sip_err *err)
{
  const char *const *files = NULL;
  size_t count = sip_script_files(host->script, &files);
  int rc = sip_watch_new(&host->watch, &host->loop, sip_host_on_saved, host, err);

  return rc < 0 ? rc
                : sip_watch_files(host->watch, files, sip_script_marks(host->script), count, err);
}

/** @return 0, or the exit code after what is wrong was logged */
static int host_refused(struct sip_host *host, const struct sip_err *err, int code)
{
  if (host->signal_number != 0) {
    return SIP_EXIT_OK; /* stopped while it started */
  }
  sip_log(SIP_LOG_ERROR, "host", NULL, "%s", err->message);
  return code;
}

/** An embedded broker has nothing left to tell after a death. */
static void host_open_deaths(const struct sip_host *host, struct sip_vm *vm,
                             struct sip_deaths **deaths)
{
  struct sip_err err = { 0 };

  if (host->embedded != NULL || strcmp(host->options->state, "off") == 0) {
    return;
  }
  if (sip_deaths_open(deaths, host->options->state, sip_kafka_settings_brokers(host->kafka), &err) <
        0 ||
      sip_modules_set_deaths(vm, *deaths, &err) < 0) {
    sip_log(SIP_LOG_WARN, "host", NULL,
            "an event that takes the process with it will not be recognised: %s", err.message);
  }
}

int sip_host_attach(const struct sip_host *host, struct sip_vm *vm, struct sip_deaths **deaths,
                    struct sip_err *err)
{
  bool chosen = sip_settings_text(host->options->outbox, "SIPEAT_OUTBOX", NULL) != NULL;

  int rc = sip_modules_configure_serial(vm, host->serial, err);

  rc = rc < 0 ? rc : sip_modules_set_tap(vm, host->tap, err);
  host_open_deaths(host, vm, deaths);
  return rc < 0 ? rc : sip_modules_configure_outbox(vm, host->outbox, chosen, err);
}

/** Another worker has answered. One that ended by an error takes the others with it. */
static void host_on_worker(struct sip_host *host)
{
  struct sip_err err = { 0 };

  if (host->phase == SIP_HOST_RUNNING && sip_workers_failed(host->workers, &err) < 0) {
    sip_log(SIP_LOG_ERROR, "host", NULL, "%s; the others stop with it", err.message);
    host->exit_code = SIP_EXIT_FAILED;
    sip_host_stop(host);
  }
  sip_host_reload_settle(host);
}

static int host_open(struct sip_host *host, struct sip_settings *settings, struct sip_err *err)
{
  if (host_open_loop(host, err) < 0 || host_open_vm(host, err) < 0) {
    return host_refused(host, err, SIP_EXIT_FAILED);
  }
  if (sip_call_wait(host->vm, "sipeat.service", "open", push_service, host, err) < 0) {
    return host_refused(host, err, SIP_EXIT_FAILED);
  }
  if (host->options->dev && sip_host_dev_open(host, err) < 0) {
    return host_refused(host, err, SIP_EXIT_FAILED);
  }
  if (sip_host_broker_open(host, settings, err) < 0) {
    return host_refused(host, err, err->code == SIP_ECONFIG ? SIP_EXIT_SETTINGS : SIP_EXIT_BROKER);
  }
  host_open_deaths(host, host->vm, &host->deaths);
  if (sip_host_journal_open(host, err) < 0) {
    return host_refused(host, err, SIP_EXIT_JOURNAL);
  }
  if (sip_host_load(host, err) < 0) {
    return host_refused(
      host, err, strncmp(err->name, "JOURNAL_", 8) == 0 ? SIP_EXIT_JOURNAL : SIP_EXIT_SCRIPT);
  }
  if (host->options->workers > 1 &&
      sip_workers_start(&host->workers, host, host_on_worker, err) < 0) {
    return host_refused(host, err, SIP_EXIT_FAILED);
  }
  if (host->options->watch && host_open_watch(host, err) < 0) {
    return host_refused(host, err, SIP_EXIT_FAILED);
  }
  return SIP_GO_ON;
}

/* --- running and closing --- */

static void host_run(struct sip_host *host)
{
  struct sip_err err = { 0 };

  if (host->phase != SIP_HOST_STARTING) {
    return; /* a signal came first */
  }
  host->phase = SIP_HOST_RUNNING;
  sip_host_notify(host);
  if (host->options->dev) {
    sip_host_dev_banner(host);
  }
  if (host->options->samples != NULL &&
      sip_call_start(host->vm, "sipeat.command_publish", "samples", push_samples, host,
                     host_on_samples_done, host, &host->samples, &err) < 0) {
    host_on_samples_done(host, err.code, &err);
  }
  while (host->phase != SIP_HOST_STOPPED || (!host->hurried && sip_workers_alive(host->workers))) {
    (void)uv_run(&host->loop, UV_RUN_ONCE);
  }
}

static void host_close(struct sip_host *host)
{
  int rc;

  if (!host->loop_open) {
    return;
  }
  host->phase = SIP_HOST_STOPPED;
  sip_workers_stop(host->workers, 0); /* asked before: they have had their time */
  while (sip_workers_alive(host->workers)) {
    (void)uv_run(&host->loop, UV_RUN_ONCE);
  }
  sip_workers_free(host->workers);
  host->workers = NULL;
  sip_watch_close(host->watch);
  sip_host_reload_cancel(host);
  for (size_t i = 0; i < host->signal_count; i++) {
    uv_close((uv_handle_t *)&host->signals[i], NULL);
  }
  if (host->drain_timer_open) {
    uv_close((uv_handle_t *)&host->drain_timer, NULL);
  }
  sip_notify_close(&host->notify);
  if (host->vm != NULL) {
    sip_modules_stop(host->vm);
    sip_script_free(host->script);
    sip_script_free(host->reload_script);
    sip_vm_free(host->vm); /* ends the tasks, and lets the loop run empty */
  }
  (void)uv_run(&host->loop, UV_RUN_DEFAULT);
  rc = uv_loop_close(&host->loop);
  assert(rc == 0); /* STYLE.md section 6: no handle is left open */
  (void)rc;
  sip_metrics_unref(host->metrics);
  sip_tap_free(host->tap);        /* after the engines of all workers */
  sip_serial_unref(host->serial); /* after the lines of all workers */
  host->serial = NULL;
  sip_deaths_close(host->deaths);
  host->deaths = NULL;
  sip_journal_shared_free(host->journal); /* after those that wrote to it */
  sip_host_broker_close(host);            /* after its clients */
  sip_host_dev_close(host);
}

int sip_host_run(struct sip_settings *settings, const struct sip_host_options *options)
{
  struct sip_host host = { .options = options, .exit_code = SIP_EXIT_OK };
  struct sip_err err = { 0 };
  int code;

  sip_list_init(&host.reload_waits);
  sip_list_init(&host.reload_next);
  code = host_open(&host, settings, &err);
  if (code == SIP_GO_ON) {
    host_run(&host);
    code = host.exit_code;
  }
  host_close(&host);
  return code;
}
