/* reload.c - loads the script, at the start and again when it was saved.
 *
 * A new version is loaded beside the one that runs. Only when it has loaded and its flows were
 * taken over does it replace the old one; otherwise the old one goes on as if nothing had happened.
 * Main thread. */
#include "cli/host_state.h"
#include "cli/watch.h"
#include "cli/worker.h"
#include "core/log.h"
#include "modules.h"
#include "vm/task.h"

#include <stdio.h>
#include <string.h>

/** Makes a loaded version the one that runs. @return 0, or negative: the old one goes on */
static int host_take_over(struct sip_host *host, struct sip_script *script, struct sip_err *err)
{
  int rc = sip_host_journal_recover(host, err);

  if (rc == 0) {
    rc = sip_modules_commit(host->vm, err);
  }
  if (rc < 0) {
    return rc;
  }
  sip_script_free(host->script);
  host->script = script;
  return 0;
}

int sip_host_load(struct sip_host *host, struct sip_err *err)
{
  struct sip_script *script = NULL;
  int rc = sip_modules_begin(host->vm, err);

  if (rc == 0) {
    rc = sip_script_load(&script, host->vm, host->options->script, 0, err);
  }
  if (rc < 0) {
    sip_modules_rollback(host->vm);
    return rc;
  }
  rc = host_take_over(host, script, err);
  if (rc < 0) {
    sip_script_free(script);
    return rc;
  }
  sip_log(SIP_LOG_INFO, "host", NULL, "%s: version %s runs", host->options->script,
          sip_script_version(script));
  return 0;
}

static void reload_watch(struct sip_host *host)
{
  const char *const *files = NULL;
  struct sip_err err = { 0 };
  size_t count;

  if (host->watch == NULL) {
    return;
  }
  sip_watch_any_script(host->watch, host->reload_error.code != 0);
  count = sip_script_files(host->script, &files);
  if (sip_watch_files(host->watch, files, sip_script_marks(host->script), count, &err) < 0) {
    sip_log(SIP_LOG_WARN, "reload", NULL, "%s", err.message);
  }
}

void sip_host_notify(struct sip_host *host)
{
  char status[192];

  if (host->reload_error.code != 0) {
    (void)snprintf(status, sizeof status, "version %s goes on, a newer one was refused: %s",
                   sip_script_version(host->script), host->reload_error.message);
    status[strcspn(status, "\n")] = '\0'; /* a line of the protocol */
  } else {
    (void)snprintf(status, sizeof status, "version %s runs", sip_script_version(host->script));
  }
  sip_notify_ready(&host->notify, status);
}

static void reload_wake(struct sip_host *host, int status)
{
  struct sip_list *node;

  while ((node = sip_list_shift(&host->reload_waits)) != NULL) {
    sip_wake(&SIP_CONTAINER(node, struct sip_reload_wait, node)->wait, status);
  }
}

void sip_host_reload_cancel(struct sip_host *host)
{
  sip_list_move(&host->reload_waits, &host->reload_next);
  reload_wake(host, UV_ECANCELED);
}

static void reload_refused(struct sip_host *host, const struct sip_err *err)
{
  host->refused++;
  host->reload_error = *err;
  sip_log(SIP_LOG_ERROR, "reload", NULL, "refused, the old version goes on: %s", err->message);
}

/** What was loaded here and by all other workers takes over. @return 0 or a negative code */
static int reload_commit(struct sip_host *host, struct sip_script *script, struct sip_err *err)
{
  int rc = script == NULL ? err->code : 0;

  if (rc == 0) {
    rc = sip_workers_loaded(host->workers, sip_script_version(script), err);
  }
  if (rc < 0) {
    sip_modules_rollback(host->vm);
  } else {
    rc = host_take_over(host, script, err);
  }
  if (rc < 0) {
    sip_script_free(script);
  }
  sip_workers_settle(host->workers, rc == 0);
  return rc;
}

void sip_host_reload_settle(struct sip_host *host)
{
  struct sip_script *script = host->reload_script;
  struct sip_err failed = host->reload_failed;
  double took_ms;

  if (!host->reload_loaded || sip_workers_loading(host->workers)) {
    return;
  }
  host->reloading = host->reload_loaded = false;
  host->reload_script = NULL;
  if (host->phase != SIP_HOST_RUNNING) {
    sip_script_free(script); /* it stops: nothing new begins */
    sip_modules_rollback(host->vm);
    sip_host_reload_cancel(host);
    return;
  }
  if (reload_commit(host, script, &failed) < 0) {
    reload_refused(host, &failed);
  } else {
    took_ms = (double)(uv_hrtime() - host->reload_began_ns) / 1e6;
    host->reloads++;
    host->reload_error = (struct sip_err){ 0 };
    sip_log(SIP_LOG_INFO, "reload", NULL, "version %s runs (loaded in %.1f ms)",
            sip_script_version(script), took_ms);
  }
  reload_watch(host);
  sip_host_notify(host);
  reload_wake(host, host->reload_error.code);
  if (host->reload_again) {
    host->reload_again = false;
    sip_host_reload(host);
  }
}

static void reload_on_loaded(struct sip_script *script, const struct sip_err *err, void *arg)
{
  struct sip_host *host = arg;

  host->reload_loaded = true;
  host->reload_script = script;
  host->reload_failed = *err;
  sip_host_reload_settle(host);
}

void sip_host_reload(struct sip_host *host)
{
  struct sip_err err = { 0 };
  char state[64];

  if (host->phase != SIP_HOST_RUNNING) {
    sip_log(SIP_LOG_INFO, "reload", NULL, "not now: the program is %s",
            host->phase == SIP_HOST_STARTING ? "starting" : "stopping");
    return;
  }
  if (host->reloading) {
    host->reload_again = true;
    return;
  }
  host->reload_began_ns = uv_hrtime();
  sip_list_move(&host->reload_waits, &host->reload_next);
  if (sip_modules_begin(host->vm, &err) < 0 ||
      sip_script_load_start(host->vm, host->options->script, 0, reload_on_loaded, host, &err) < 0) {
    sip_modules_rollback(host->vm);
    reload_refused(host, &err);
    reload_watch(host);
    reload_wake(host, err.code);
    return;
  }
  host->reloading = true;
  (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
                 (unsigned long long)(host->reload_began_ns / 1000));
  sip_notify_send(&host->notify, state);
  sip_workers_load(host->workers);
}

void sip_host_on_saved(void *host)
{
  sip_host_reload(host);
}
