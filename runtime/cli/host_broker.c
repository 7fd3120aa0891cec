/* host_broker.c - which broker the program talks to: the one that is named, or one in this process.
 * Main thread. */
#include "cli/host_state.h"

#include "core/log.h"
#include "kafka/embedded.h"
#include "kafka/settings.h"
#include "modules.h"
#include "outbox/outbox.h"

#include <stdio.h>

static void leave_note(struct sip_host *host, const char *address)
{
  struct sip_rendezvous_note note = { 0 };
  struct sip_err err = { 0 };

  (void)snprintf(note.broker, sizeof note.broker, "%s", address);
  (void)snprintf(note.http, sizeof note.http, "%s", host->http);
  (void)snprintf(note.script, sizeof note.script, "%s", host->options->script);
  if (sip_rendezvous_leave(&host->note, &note, &err) < 0) {
    sip_log(SIP_LOG_WARN, "broker", NULL,
            "other terminals must name this broker with -b %s, since no note can be left: %s",
            address, err.message);
  }
}

static int start_embedded(struct sip_host *host, struct sip_err *err)
{
  const char *address;
  int rc;

  if (!host->options->embedded) {
    return sip_err_set(
      err, SIP_ECONFIG,
      "no broker: name one with -b or KAFKA_BROKERS (--no-embedded forbids the one "
      "in this process)");
  }
  rc = sip_embedded_broker_start(&host->embedded, 0, err);
  if (rc < 0) {
    return rc;
  }
  address = sip_embedded_broker_address(host->embedded);
  rc = sip_embedded_broker_settings(address, host->kafka, err);
  if (rc < 0) {
    return rc;
  }
  sip_log(
    SIP_LOG_WARN, "broker", NULL,
    "no broker is named, so one runs inside at %s: it keeps events in memory only, until this "
    "process ends",
    address);
  leave_note(host, address);
  return 0;
}

static int open_outbox(struct sip_host *host, struct sip_err *err)
{
  const char *chosen = sip_settings_text(host->options->outbox, "SIPEAT_OUTBOX", NULL);
  const struct sip_outbox_settings settings = {
    .path = chosen != NULL ? chosen : SIP_DEFAULT_OUTBOX,
    .max_bytes = (uint64_t)1 << 30, /* as in stdlib/outbox.lua */
    .when_full = SIP_OUTBOX_REFUSE,
  };
  int rc = sip_outbox_new(&host->outbox, &settings, err);

  return rc < 0 ? rc : sip_modules_configure_outbox(host->vm, host->outbox, chosen != NULL, err);
}

int sip_host_broker_open(struct sip_host *host, struct sip_settings *settings, struct sip_err *err)
{
  int rc = sip_settings_kafka(settings, &host->kafka, err);

  if (rc == 0 && sip_kafka_settings_brokers(host->kafka) == NULL) {
    rc = start_embedded(host, err);
  } else if (rc == 0) {
    sip_log(SIP_LOG_INFO, "broker", NULL, "using %s", sip_kafka_settings_brokers(host->kafka));
  }
  if (rc == 0) {
    rc = sip_modules_configure_kafka(host->vm, host->kafka, err);
  }
  return rc < 0 ? rc : open_outbox(host, err);
}

void sip_host_broker_close(struct sip_host *host)
{
  sip_outbox_free(host->outbox);
  host->outbox = NULL;
  sip_rendezvous_remove(host->note);
  host->note = NULL;
  sip_embedded_broker_stop(host->embedded);
  host->embedded = NULL;
  sip_kafka_settings_free(host->kafka);
  host->kafka = NULL;
}
