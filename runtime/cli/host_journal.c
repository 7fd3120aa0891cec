/* host_journal.c - the journal of the process: where it is, when it is opened, and the end when it
 * cannot be written. Main thread, but for on_failed of a worker. */
#include "bind/journal_lua.h"
#include "cli/cli.h"
#include "cli/host_state.h"
#include "cli/lua_call.h"
#include "core/log.h"
#include "journal/shared.h"
#include "modules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Writes --journal, SIPEAT_JOURNAL, or journal.db in the directory of the state; "" for none. */
static int journal_place(const struct sip_host *host, char *place, size_t size, struct sip_err *err)
{
  const char *state = host->options->state;
  const char *chosen = sip_settings_text(host->options->journal, "SIPEAT_JOURNAL", NULL);
  int len;

  place[0] = '\0';
  if (chosen == NULL && strcmp(state, "off") == 0) {
    return 0;
  }
  if (chosen != NULL) {
    len = snprintf(place, size, "%s", strcmp(chosen, "none") == 0 ? "" : chosen);
  } else if (mkdir(state, 0700) < 0 && errno != EEXIST) {
    return sip_err_set(err, uv_translate_sys_error(errno), "make the directory %s: %s", state,
                       strerror(errno));
  } else {
    len = snprintf(place, size, "%s/journal.db", state);
  }
  return len < (int)size ? 0 : sip_err_set(err, UV_ENAMETOOLONG, "the journal's place is too long");
}

static void host_on_journal_failed(void *arg, const struct sip_err *err)
{
  struct sip_host *host = arg;

  (void)err; /* the journal has logged it */
  host->exit_code = SIP_EXIT_JOURNAL;
  sip_host_stop(host);
}

int sip_host_journal_open(struct sip_host *host, struct sip_err *err)
{
  char place[4096], line[160];
  int rc = journal_place(host, place, sizeof place, err);

  if (rc < 0 || place[0] == '\0') {
    return rc;
  }
  host->journal = sip_modules_journal(place);
  if (host->journal != NULL && host->http[0] != '\0') { /* where `sipeat chains` can ask */
    (void)snprintf(line, sizeof line, "http %s\n", host->http);
    (void)sip_journal_shared_note(host->journal, line, NULL); /* written when it is opened */
  }
  return host->journal == NULL
           ? sip_err_set(err, UV_ENOMEM, "journal: not enough memory")
           : sip_journal_lua_attach(host->vm, host->journal, host_on_journal_failed, host, err);
}

static void host_on_recovered(void *arg, int result, const struct sip_err *err)
{
  (void)arg;
  if (result < 0) {
    sip_log(SIP_LOG_ERROR, "journal", NULL, "%s", err->message);
  }
}

int sip_host_journal_recover(struct sip_host *host, struct sip_err *err)
{
  bool recovers = false;
  int rc = sip_journal_lua_open(host->vm, &recovers, err);

  if (rc < 0 || !recovers) {
    return rc;
  }
  if (host->phase == SIP_HOST_STARTING) {
    rc = sip_call_wait(host->vm, "sipeat.durable", "recover", NULL, NULL, err);
    return rc < 0 ? rc : 0;
  }
  return sip_call_start(host->vm, "sipeat.durable", "recover", NULL, NULL, host_on_recovered, host,
                        NULL, err);
}
