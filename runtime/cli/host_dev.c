/* host_dev.c - what `sipeat dev` adds: a database that is gone afterwards, endpoints that lead to
 * the capture page instead of out of the machine, and a banner. Main thread. */
#include "cli/host_state.h"

#include "bind/flow_lua.h"
#include "cli/lua_call.h"
#include "flow/engine.h"
#include "kafka/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char CONTACTS[] = "sipeat.contact.events";

static int set_default(const char *name, struct sip_err *err, const char *format, const char *a)
{
  const char *given = getenv(name);
  char value[512];

  if (given != NULL && given[0] != '\0') {
    return 0;
  }
  (void)snprintf(value, sizeof value, format, a);
  if (setenv(name, value, 1) != 0) {
    return sip_err_errno(err, errno, "set the environment variable %s", name);
  }
  return 0;
}

int sip_host_dev_open(struct sip_host *host, struct sip_err *err)
{
  static const struct {
    const char *name, *format;
    bool scratch; /* the format's %s is the temporary directory, else the server's address */
  } defaults[] = {
    { "DISCORD_WEBHOOK", "http://%s/capture/discord/webhooks/1/dev", false },
    { "STRIPE_API_URL", "http://%s/capture/stripe", false },
    { "STRIPE_SECRET_KEY", "sk_test_capture", false },
    { "SLACK_WEBHOOK", "http://%s/capture/slack/services/T1/B1/dev", false },
    { "SLACK_API_URL", "http://%s/capture/slack/api", false },
    { "SLACK_BOT_TOKEN", "xoxb-capture", false },
    { "SMS_URL", "http://%s/capture/sms", false },
    { "SMS_ACCOUNT", "AC1", false },
    { "SMS_TOKEN", "capture", false },
    { "SMS_FROM", "+15005550006", false },
    { "PUSH_URL", "http://%s/capture/push", false },
    { "PUSH_TOKEN", "capture", false },
    { "ANALYTICS_URL", "http://%s/capture/analytics", false },
    { "ANALYTICS_WRITE_KEY", "capture", false },
    { "SMTP_URL", "capture:", false },
    { "MAIL_FROM", "sipeat@example.org", false },
    { "SALES_EMAIL", "sales@example.org", false },
    { "SIPEAT_DB", "%s/sipeat.db", true },
    { "SIPEAT_OUTBOX", "%s/outbox.db", true },
    { "SIPEAT_JOURNAL", "%s/journal.db", true },
  };
  int rc = 0;

  (void)snprintf(host->scratch, sizeof host->scratch, "/tmp/sipeat-dev-XXXXXX");
  if (mkdtemp(host->scratch) == NULL) {
    rc = sip_err_errno(err, errno, "make a directory in /tmp");
    host->scratch[0] = '\0';
    return rc;
  }
  for (size_t i = 0; rc == 0 && i < sizeof defaults / sizeof defaults[0]; i++) {
    rc = set_default(defaults[i].name, err, defaults[i].format,
                     defaults[i].scratch ? host->scratch : host->http);
  }
  return rc;
}

void sip_host_dev_close(struct sip_host *host)
{
  static const char *const files[] = { "sipeat.db",         "sipeat.db-wal",  "sipeat.db-shm",
                                       "sipeat.db-journal", "outbox.db",      "outbox.db-wal",
                                       "outbox.db-shm",     "outbox.db-lock", "journal.db",
                                       "journal.db-wal",    "journal.db-shm", "journal.db.lock" };
  char path[128];

  if (host->scratch[0] == '\0') {
    return;
  }
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", host->scratch, files[i]);
    (void)unlink(path); /* most of them are not there */
  }
  (void)rmdir(host->scratch); /* what a script put there stays */
  host->scratch[0] = '\0';
}

enum { FLOWS_LOOKED_AT = 32 };

static size_t dev_flows(const struct sip_host *host, struct sip_flow_status *flows)
{
  struct sip_engine *engine = NULL;

  if (sip_flow_lua_engine(&engine, host->vm, NULL) < 0) {
    return 0;
  }
  return sip_engine_status(engine, flows, FLOWS_LOOKED_AT);
}

const char *sip_host_dev_only_topic(const struct sip_host *host)
{
  struct sip_flow_status flows[FLOWS_LOOKED_AT];
  size_t count = dev_flows(host, flows);

  return count == 1 && flows[0].topic[0] != '^' ? flows[0].topic : NULL;
}

/** The topic to try things with: of the contact flow, else of any flow; NULL without flows. */
static const char *banner_topic(const struct sip_host *host)
{
  struct sip_flow_status flows[FLOWS_LOOKED_AT];
  size_t count = dev_flows(host, flows);
  const char *topic = NULL;

  for (size_t i = 0; i < count && i < FLOWS_LOOKED_AT; i++) {
    if (strcmp(flows[i].topic, CONTACTS) == 0) {
      return CONTACTS;
    }
    if (topic == NULL && flows[i].topic[0] != '^') { /* a pattern is no topic */
      topic = flows[i].topic;
    }
  }
  return topic;
}

/** What to type next. `program` as it was typed: it may not be on the PATH. */
static void banner_next(const struct sip_host *host, const char *program)
{
  const char *topic = banner_topic(host);

  if (topic == NULL) {
    return;
  }
  (void)printf("\n  In another terminal:\n");
  if (strcmp(topic, CONTACTS) == 0) {
    (void)printf("    %s publish contact.created --data "
                 "'{\"name\": \"Ada\", \"email\": \"ada@example.org\", \"message\": \"Hello\"}'\n",
                 program);
  } else {
    (void)printf("    %s publish TYPE --topic %s --data '{…}'\n", program, topic);
  }
  (void)printf("    %s consume %s --from-beginning\n", program, topic);
  (void)printf("    %s topic list\n", program);
}

void sip_host_dev_banner(const struct sip_host *host)
{
  const char *brokers = sip_kafka_settings_brokers(host->kafka);
  const char *webhook = getenv("DISCORD_WEBHOOK");
  bool captured = webhook != NULL && strstr(webhook, "/capture/discord/") != NULL;
  struct sip_err err = { 0 };
  bool site = sip_call_wait(host->vm, "sipeat.service", "has_site", NULL, NULL, &err) > 0;

  (void)printf("\n  sipeat %s runs %s\n\n", SIP_VERSION, host->options->script);
  if (site) {
    (void)printf("  site     http://%s/   the script's own pages\n", host->http);
  }
  (void)printf("  page     http://%s/%s   what would have left this machine%s\n", host->http,
               site ? "capture" : "", captured ? "" : " (Discord is real: DISCORD_WEBHOOK is set)");
  if (host->console[0] != '\0') {
    (void)printf("  console  http://%s%s\n", host->http, host->console);
  }
  (void)printf("  broker   %s%s\n", brokers,
               host->embedded != NULL ? "   inside, in memory only" : "");
  if (host->options->watch) {
    (void)printf("  edit     save %s, or a module beside it, and it is loaded again\n",
                 host->options->script);
  }
  if (host->options->samples != NULL) {
    (void)printf("  samples  one event of %s every %.1f s\n", host->options->samples,
                 (double)host->options->every_ms / 1000);
  }
  banner_next(host, program_invocation_name);
  (void)printf("\n  Ctrl-C stops it.\n\n");
  (void)fflush(stdout); /* a closed standard output does not stop a server */
}
