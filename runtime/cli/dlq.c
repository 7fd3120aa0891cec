/* dlq.c - `sipeat dlq list|show|replay`: their options; the work is in stdlib/command_dlq.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <string.h>

struct dlq_args {
  const char *action, *topic, *place, *reason, *type, *group, *since, *rate, *dir;
  int64_t max, limit;
  bool json, parked, dry_run, again;
};

#define AT(field) offsetof(struct dlq_args, field)

static const struct sip_option filter_options[] = {
  { .name = "reason",
    .value = "CODE",
    .help = "only those with this code, such as NO_STOCK or ETIMEDOUT",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(reason) },
  { .name = "type",
    .value = "TYPE",
    .help = "only events of this type",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(type) },
  { .name = "group",
    .value = "GROUP",
    .help = "only those of this consumer group",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(group) },
  { .name = "since",
    .value = "TIME",
    .help = "only those that failed since then: 2026-01-31T12:00:00Z, or 2h ago as 2h",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(since) },
  { .name = "max",
    .letter = 'n',
    .value = "N",
    .help = "at most N: the newest are listed, the oldest are replayed",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(max),
    .min = 1,
    .max = INT64_MAX },
  { .name = "parked",
    .help = "letters that could not be written, in files of this machine",
    .kind = SIP_OPTION_ON,
    .offset = AT(parked) },
  { .name = "dir",
    .value = "DIRECTORY",
    .help = "where these files are (default: SIPEAT_PARK_DIR, or sipeat-parked)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(dir) },
  { 0 },
};

static const struct sip_option json_options[] = {
  { .name = "json", .help = "one JSON object a line", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option replay_options[] = {
  { .name = "dry-run",
    .help = "show what would be replayed, and change nothing",
    .kind = SIP_OPTION_ON,
    .offset = AT(dry_run) },
  { .name = "rate",
    .value = "RATE",
    .help = "no faster than that, such as 100/s",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(rate) },
  { .name = "limit",
    .value = "N",
    .help = "refuse events that were replayed N times (default: 3)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(limit),
    .min = 1,
    .max = INT64_MAX },
  { .name = "again",
    .help = "also letters that were replayed before",
    .kind = SIP_OPTION_ON,
    .offset = AT(again) },
  { 0 },
};

static const struct sip_usage list_usage = {
  .command = "sipeat dlq list",
  .synopsis = "[TOPIC] [options]",
  .text =
    "Lists the dead-letter topics, with the number of letters, their reasons and types; or the\n"
    "letters of one of them, the newest last.",
  .examples = "  sipeat dlq list\n"
              "  sipeat dlq list orders-dlt --reason NO_STOCK --since 2h",
  .max_operands = 1,
};

static const struct sip_usage show_usage = {
  .command = "sipeat dlq show",
  .synopsis = "TOPIC PARTITION:OFFSET [options]",
  .text =
    "Shows everything about one letter: its headers, the stack trace, and the body, which is "
    "read\n"
    "from its file when it is parked. A parked letter is named as the list does: parked:NAME.",
  .examples = "  sipeat dlq show orders-dlt 3:17",
  .min_operands = 1,
  .max_operands = 2,
  .operand = "TOPIC",
};

static const struct sip_usage replay_usage = {
  .command = "sipeat dlq replay",
  .synopsis = "[TOPIC] [options]",
  .text =
    "Sends letters back to the topics they came from, with key, value, headers and time as they\n"
    "were. Each letter is replayed once, also when this is stopped and repeated.",
  .examples = "  sipeat dlq replay orders-dlt --reason ETIMEDOUT --dry-run\n"
              "  sipeat dlq replay orders-dlt --reason ETIMEDOUT --rate 100/s",
  .max_operands = 1,
};

static void push(lua_State *L, void *arg)
{
  const struct dlq_args *args = arg;

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "topic", args->topic);
  sip_push_text(L, "place", args->place);
  sip_push_text(L, "reason", args->reason);
  sip_push_text(L, "type", args->type);
  sip_push_text(L, "group", args->group);
  sip_push_text(L, "since", args->since);
  sip_push_text(L, "rate", args->rate);
  sip_push_text(L, "dir", args->dir);
  if (args->max > 0) {
    sip_push_number(L, "max", args->max);
  }
  if (args->limit > 0) {
    sip_push_number(L, "limit", args->limit);
  }
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "parked", args->parked);
  sip_push_flag(L, "dry_run", args->dry_run);
  sip_push_flag(L, "again", args->again);
}

static bool is_parked(const struct dlq_args *args, const char *topic)
{
  return args->parked || strncmp(topic, "parked:", 7) == 0;
}

static int run(const struct sip_usage *usage, const char *action, const struct sip_option *filters,
               const struct sip_option *options, int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct dlq_args args = { .action = action };
  struct sip_option_group groups[] = {
    { "which letters", filters, &args },
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_dlq", &settings, SIP_COMMAND_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 4, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  /* Files are looked at without a broker. */
  command.broker = action[0] == 'r' || !is_parked(&args, operand < argc ? argv[operand] : "");
  args.topic = operand < argc ? argv[operand] : NULL;
  args.place = operand + 1 < argc ? argv[operand + 1] : NULL;
  return sip_command_run(&command);
}

static int list(int argc, char **argv)
{
  return run(&list_usage, "list", filter_options, json_options, argc, argv);
}

static int show(int argc, char **argv)
{
  static const struct sip_option options[] = {
    { .name = "dir",
      .value = "DIRECTORY",
      .help = "where parked letters are (default: SIPEAT_PARK_DIR, or sipeat-parked)",
      .kind = SIP_OPTION_TEXT,
      .offset = AT(dir) },
    { 0 },
  };

  return run(&show_usage, "show", options, json_options, argc, argv);
}

static int replay(int argc, char **argv)
{
  return run(&replay_usage, "replay", filter_options, replay_options, argc, argv);
}

int sip_verb_dlq(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "list", "list dead-letter topics, or the letters of one", list },
    { "show", "show everything about one letter", show },
    { "replay", "send letters back to where they came from", replay },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat dlq", "Dead letters: events that could not be processed.", verbs,
                          argc, argv);
}
