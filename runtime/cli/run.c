/* run.c - `sipeat run` and `sipeat dev`: their options. */
#include "cli/cli.h"
#include "cli/host.h"
#include "cli/permissions.h"
#include "vm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char DEFAULT_HTTP[] = "127.0.0.1:3000";

#define AT(field) offsetof(struct sip_host_options, field)

/* "64mb", "1gb": as stdlib/opts.lua takes sizes. */
/* stdlib/journal_retention.lua reads it, in whichever state has the journal. */
static int take_keep(void *target, const char *value, struct sip_err *err)
{
  uint64_t ms;

  (void)target;
  if (!sip_parse_duration_ms(value, strlen(value), &ms) || ms == 0) {
    return sip_err_set(err, UV_EINVAL, "%s is no time such as 7d or 12h", value);
  }
  return setenv("SIPEAT_JOURNAL_KEEP", value, 1) == 0
           ? 0
           : sip_err_errno(err, errno, "set SIPEAT_JOURNAL_KEEP");
}

/* stdlib/tracing.lua reads it in each worker. */
static int take_trace_ratio(void *target, const char *value, struct sip_err *err)
{
  char *end;
  double ratio = strtod(value, &end);

  (void)target;
  if (end == value || *end != '\0' || !(ratio >= 0 && ratio <= 1)) {
    return sip_err_set(err, UV_EINVAL, "%s is no ratio from 0 to 1, such as 0.01", value);
  }
  if (setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", 1) < 0 ||
      setenv("OTEL_TRACES_SAMPLER_ARG", value, 1) < 0) {
    return sip_err_errno(err, errno, "set OTEL_TRACES_SAMPLER_ARG");
  }
  return 0;
}

static int take_memory(void *target, const char *value, struct sip_err *err)
{
  static const struct {
    const char *unit;
    uint64_t bytes;
  } units[] = { { "kb", 1 << 10 }, { "mb", 1 << 20 }, { "gb", 1 << 30 } };
  struct sip_host_options *options = target;
  char *end;
  double number = strtod(value, &end);

  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (end != value && number >= 1 && number <= 1 << 20 && strcasecmp(end, units[i].unit) == 0) {
      options->memory_bytes = (uint64_t)(number * (double)units[i].bytes);
      return 0;
    }
  }
  return sip_err_set(err, UV_EINVAL, "%s is no size; use kb, mb or gb, as in 512mb", value);
}

static const struct sip_option shared_options[] = {
  { .name = "http",
    .value = "HOST:PORT",
    .help = "where to serve; \"off\" for nowhere (SIPEAT_HTTP; default 127.0.0.1:3000)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(http) },
  { .name = "no-watch",
    .help = "reload only on SIGHUP and POST /admin/reload",
    .kind = SIP_OPTION_OFF,
    .offset = AT(watch) },
  { .name = "outbox",
    .value = "FILE",
    .help = "keeps outputs until the broker has them (SIPEAT_OUTBOX; default sipeat-outbox.db)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(outbox) },
  { .name = "journal",
    .value = "PLACE",
    .help =
      "where chains are kept: a file, postgres://… or none (SIPEAT_JOURNAL; default in --state)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(journal) },
  { .name = "journal-keep",
    .value = "TIME",
    .help = "how long chains that have ended are kept (SIPEAT_JOURNAL_KEEP; default 7d)",
    .kind = SIP_OPTION_CALL,
    .call = take_keep },
  { .name = "workers",
    .value = "N",
    .help = "threads that handle events, each with consumers of its own (default 1)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(workers),
    .min = 1,
    .max = 64 },
  { .name = "memory",
    .value = "SIZE",
    .help = "what the script may hold, in each worker (default 1gb)",
    .kind = SIP_OPTION_CALL,
    .call = take_memory },
  { .name = "hard-limit",
    .value = "TIME",
    .help = "over its time, a call that cannot be stopped ends the process (default 30s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(hard_limit_ms) },
  { .name = "state",
    .value = "DIR",
    .help = "what is kept across restarts; \"off\" for nothing (SIPEAT_STATE; default .sipeat)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(state) },
  { .name = "trace-ratio",
    .value = "RATIO",
    .help = "how many of the traces that begin here are recorded (OTEL_TRACES_SAMPLER_ARG)",
    .kind = SIP_OPTION_CALL,
    .call = take_trace_ratio },
  { .name = "drain",
    .value = "TIME",
    .help = "what events in flight get to finish after a signal (default 10s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(drain_ms) },
  { 0 },
};

static const struct sip_option run_options[] = {
  { .name = "no-embedded",
    .help = "refuse to start without a broker, instead of running one inside",
    .kind = SIP_OPTION_OFF,
    .offset = AT(embedded) },
  { .name = "permissions",
    .help = "print what the script may reach and what it uses, and run nothing",
    .kind = SIP_OPTION_ON,
    .offset = AT(permissions) },
  { 0 },
};

static const struct sip_option dev_options[] = {
  { .name = "samples",
    .value = "FILE",
    .help = "publish the events of this file of JSON lines, again and again",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(samples) },
  { .name = "every",
    .value = "TIME",
    .help = "pause between two samples (default 2s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(every_ms) },
  { 0 },
};

static int run(const struct sip_usage *usage, const struct sip_option *own, bool dev, int argc,
               char **argv)
{
  struct sip_settings settings = { 0 };
  struct sip_host_options options = {
    .name = usage->command,
    .dev = dev,
    .embedded = true,
    .watch = true,
    .workers = 1,
    .memory_bytes = 1 << 30,
    .hard_limit_ms = 30000,
    .drain_ms = 10000,
    .every_ms = 2000,
  };
  struct sip_option_group groups[] = {
    { "options", own, &options },
    { "program", shared_options, &options },
    { "https", sip_tls_options, &options.tls },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  char place[4096];
  int operand = 0;
  int code = sip_options_parse(usage, groups, 5, argc, argv, &operand);
  struct sip_err err = { 0 };

  if (code != SIP_GO_ON) {
    return code;
  }
  if (options.permissions) {
    return sip_show_permissions(&settings, argv[operand]);
  }
  if (sip_settings_load(&settings, &err) < 0) {
    return sip_settings_refused(usage->command, &err);
  }
  if (options.hard_limit_ms == 0) {
    return sip_usage_error(usage, "--hard-limit must be longer than 0ms");
  }
  options.script = argv[operand];
  options.state = sip_settings_state(options.state, place, sizeof place);
  options.http = sip_settings_text(options.http, "SIPEAT_HTTP", DEFAULT_HTTP);
  if (dev && strcmp(options.http, "off") == 0) {
    return sip_usage_error(usage, "the page needs a server: --http off is for \"sipeat run\"");
  }
  if (options.every_ms == 0) {
    return sip_usage_error(usage, "--every must be longer than 0ms");
  }
  return sip_host_run(&settings, &options);
}

int sip_verb_run(int argc, char **argv)
{
  static const struct sip_usage usage = {
    .command = "sipeat run",
    .synopsis = "FILE [options]",
    .text =
      "Runs the script: its flows, routes and timers, until SIGINT or SIGTERM. It is loaded\n"
      "again when it, or a module beside it, is saved; a version that does not load is refused,\n"
      "and the old one goes on. \"sipeat-run FILE\" is short for this.",
    .examples = "  sipeat run pipeline.lua -b localhost:9092\n"
                "  KAFKA_BROKERS=a:9092,b:9092 sipeat-run pipeline.lua --no-embedded --no-watch",
    .min_operands = 1,
    .max_operands = 1,
    .operand = "FILE",
  };

  return run(&usage, run_options, false, argc, argv);
}

int sip_verb_dev(int argc, char **argv)
{
  static const struct sip_usage usage = {
    .command = "sipeat dev",
    .synopsis = "FILE [options]",
    .text =
      "Runs the script with nothing installed: a broker inside, and a page that shows what would\n"
      "have left the machine (Discord, mail, payments). What the environment or .env names is\n"
      "used as it is: a real broker, a real webhook.",
    .examples = "  sipeat dev hello.lua\n"
                "  sipeat dev scripts/pipeline.lua --samples scripts/samples.jsonl --every 500ms",
    .min_operands = 1,
    .max_operands = 1,
    .operand = "FILE",
  };

  return run(&usage, dev_options, true, argc, argv);
}
