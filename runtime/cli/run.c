/* run.c - `sipeat run` and `sipeat dev`: their options. */
#include "cli/cli.h"
#include "cli/host.h"

#include <stdio.h>
#include <string.h>

static const char DEFAULT_HTTP[] = "127.0.0.1:3000";

#define AT(field) offsetof(struct sip_host_options, field)

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
    .drain_ms = 10000,
    .every_ms = 2000,
  };
  struct sip_option_group groups[] = {
    { "options", own, &options },
    { "program", shared_options, &options },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 4, argc, argv, &operand);
  struct sip_err err = { 0 };

  if (code != SIP_GO_ON) {
    return code;
  }
  if (sip_settings_load(&settings, &err) < 0) {
    return sip_settings_refused(usage->command, &err);
  }
  options.script = argv[operand];
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
