/* consume.c - `sipeat consume`: its options; the work is in stdlib/command_consume.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

struct consume_args {
  const char *topic;
  int64_t max;
  uint64_t timeout_ms;
  bool from_beginning, json;
};

#define AT(field) offsetof(struct consume_args, field)

static const struct sip_option options[] = {
  { .name = "from-beginning",
    .help = "every record that is there, then the new ones (default: new ones only)",
    .kind = SIP_OPTION_ON,
    .offset = AT(from_beginning) },
  { .name = "max",
    .letter = 'n',
    .value = "N",
    .help = "end after N records",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(max),
    .min = 1,
    .max = INT64_MAX },
  { .name = "timeout",
    .value = "TIME",
    .help = "end when nothing has come for so long (default: wait for ever)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(timeout_ms) },
  { .name = "json",
    .help = "one JSON object a line; what is no UTF-8 is given as Base64",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat consume",
  .synopsis = "TOPIC [options]",
  .text = "Prints the records of a topic, one a line: partition and offset, key, headers, value. "
          "It joins\n"
          "no group and commits nothing, so flows do not notice. Ctrl-C ends it.",
  .examples = "  sipeat consume sipeat.contact.events --from-beginning --max 10\n"
              "  sipeat consume orders-dlt --from-beginning --timeout 5s --json | jq .headers",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "TOPIC",
};

static void push(lua_State *L, void *arg)
{
  const struct consume_args *args = arg;

  lua_newtable(L);
  sip_push_text(L, "topic", args->topic);
  if (args->max > 0) {
    sip_push_number(L, "max", args->max);
  }
  if (args->timeout_ms > 0) {
    sip_push_duration(L, "timeout", args->timeout_ms);
  }
  sip_push_flag(L, "from_beginning", args->from_beginning);
  sip_push_flag(L, "json", args->json);
}

int sip_verb_consume(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct consume_args args = { 0 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    "sipeat consume", "sipeat.command_consume", &settings, SIP_COMMAND_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.topic = argv[operand];
  return sip_command_run(&command);
}
