/* publish.c - `sipeat publish`: its options; the work is in stdlib/command_publish.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <stdbool.h>

struct publish_args {
  const char *type, *data, *file, *topic, *key, *id;
  uint64_t timeout_ms;
  bool json;
};

#define AT(field) offsetof(struct publish_args, field)

static const struct sip_option options[] = {
  { .name = "data",
    .letter = 'd',
    .value = "JSON",
    .help = "the event's data",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(data) },
  { .name = "file",
    .letter = 'f',
    .value = "FILE",
    .help = "JSON lines, one event each; - reads standard input",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(file) },
  { .name = "topic",
    .letter = 't',
    .value = "TOPIC",
    .help = "where to; known for contact, request and machine.created",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(topic) },
  { .name = "key",
    .letter = 'k',
    .value = "KEY",
    .help = "the record's key: events of one key stay in order",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(key) },
  { .name = "id",
    .value = "ID",
    .help = "the event's id (default: a new UUID)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(id) },
  { .name = "timeout",
    .value = "TIME",
    .help = "how long to wait for the broker (default 30s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(timeout_ms) },
  { .name = "json",
    .help = "print topic, partition, offset and id as one JSON object a line",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat publish",
  .synopsis = "TYPE --data JSON [options]\n       sipeat publish --file FILE [options]",
  .text = "Puts events into a topic and waits until the broker has them. A line of a file is\n"
          "{\"type\": …, \"data\": …} with topic, key, id and headers if wanted, or\n"
          "{\"topic\": …, \"key\": …, \"value\": …}, which is sent as it is.",
  .examples =
    "  sipeat publish contact.created --data '{\"name\": \"Ada\"}'\n"
    "  sipeat publish order.created --topic orders --key o1 --data '{\"orderId\": \"o1\"}'\n"
    "  sipeat publish --file events.jsonl",
  .max_operands = 1,
};

static void push(lua_State *L, void *arg)
{
  const struct publish_args *args = arg;

  lua_newtable(L);
  sip_push_text(L, "type", args->type);
  sip_push_text(L, "data", args->data);
  sip_push_text(L, "file", args->file);
  sip_push_text(L, "topic", args->topic);
  sip_push_text(L, "key", args->key);
  sip_push_text(L, "id", args->id);
  sip_push_duration(L, "timeout", args->timeout_ms);
  sip_push_flag(L, "json", args->json);
}

int sip_verb_publish(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct publish_args args = { .timeout_ms = 30000 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    "sipeat publish", "sipeat.command_publish", &settings, SIP_COMMAND_BROKER, push, &args
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.type = argv[operand];
  if (args.file != NULL && (args.type != NULL || args.data != NULL || args.id != NULL)) {
    return sip_usage_error(&usage, "--file brings types, data and ids of its own");
  }
  if (args.file == NULL && args.type == NULL) {
    return sip_usage_error(&usage, "TYPE or --file is missing");
  }
  if (args.file == NULL && args.data == NULL) {
    return sip_usage_error(&usage, "--data is missing");
  }
  return sip_command_run(&command);
}
