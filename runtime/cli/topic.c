/* topic.c - `sipeat topic create|list|show|delete`: their options; the work is in
 * stdlib/command_topic.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <string.h>

enum { MAX_CONFIGS = 32 };

struct topic_args {
  const char *action, *name;
  const char *configs[MAX_CONFIGS]; /* "name=value" */
  size_t config_count;
  int64_t partitions, replication;
  bool json, yes, internal;
};

#define AT(field) offsetof(struct topic_args, field)

static int add_config(void *target, const char *value, struct sip_err *err)
{
  struct topic_args *args = target;

  if (strchr(value, '=') == NULL || value[0] == '=') {
    return sip_err_set(err, UV_EINVAL, "takes name=value, such as retention.ms=86400000");
  }
  if (args->config_count == MAX_CONFIGS) {
    return sip_err_set(err, SIP_ETOOBIG, "was given more than %d times", MAX_CONFIGS);
  }
  args->configs[args->config_count++] = value;
  return 0;
}

static const struct sip_option create_options[] = {
  { .name = "partitions",
    .letter = 'p',
    .value = "N",
    .help = "how many (default: the broker's own)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(partitions),
    .min = 1,
    .max = 10000 },
  { .name = "replication",
    .letter = 'r',
    .value = "N",
    .help = "copies of each (default: the broker's own)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(replication),
    .min = 1,
    .max = 100 },
  { .name = "config",
    .letter = 'c',
    .value = "NAME=VALUE",
    .help = "a setting of the topic; may be repeated",
    .kind = SIP_OPTION_CALL,
    .call = add_config },
  { 0 },
};

static const struct sip_option list_options[] = {
  { .name = "json", .help = "one JSON object a topic", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { .name = "internal",
    .help = "also Kafka's own topics",
    .kind = SIP_OPTION_ON,
    .offset = AT(internal) },
  { 0 },
};

static const struct sip_option show_options[] = {
  { .name = "json", .help = "one JSON object", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option delete_options[] = {
  { .name = "yes", .help = "do not ask", .kind = SIP_OPTION_ON, .offset = AT(yes) },
  { 0 },
};

static const struct sip_usage create_usage = {
  .command = "sipeat topic create",
  .synopsis = "NAME [options]",
  .text = "Creates a topic.",
  .examples = "  sipeat topic create orders --partitions 12 --config retention.ms=604800000",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "NAME",
};

static const struct sip_usage list_usage = {
  .command = "sipeat topic list",
  .synopsis = "[options]",
  .text = "Lists the topics, with the number of their partitions and copies.",
};

static const struct sip_usage show_usage = {
  .command = "sipeat topic show",
  .synopsis = "NAME [options]",
  .text = "Shows each partition of a topic: its leader, and its first and next offset; then the "
          "settings that are not the default.",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "NAME",
};

static const struct sip_usage delete_usage = {
  .command = "sipeat topic delete",
  .synopsis = "NAME [--yes]",
  .text = "Deletes a topic with all its records, after its name was typed once more.",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "NAME",
};

static void push(lua_State *L, void *arg)
{
  const struct topic_args *args = arg;

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "name", args->name);
  if (args->partitions > 0) {
    sip_push_number(L, "partitions", args->partitions);
  }
  if (args->replication > 0) {
    sip_push_number(L, "replication", args->replication);
  }
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "yes", args->yes);
  sip_push_flag(L, "internal", args->internal);
  lua_newtable(L);
  for (size_t i = 0; i < args->config_count; i++) {
    const char *sign = strchr(args->configs[i], '=');

    lua_pushlstring(L, args->configs[i], (size_t)(sign - args->configs[i]));
    lua_pushstring(L, sign + 1);
    lua_settable(L, -3);
  }
  lua_setfield(L, -2, "config");
}

static int run(const struct sip_usage *usage, const struct sip_option *options, const char *action,
               int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct topic_args args = { .action = action };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_topic", &settings, SIP_COMMAND_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.name = argv[operand];
  return sip_command_run(&command);
}

static int create(int argc, char **argv)
{
  return run(&create_usage, create_options, "create", argc, argv);
}

static int list(int argc, char **argv)
{
  return run(&list_usage, list_options, "list", argc, argv);
}

static int show(int argc, char **argv)
{
  return run(&show_usage, show_options, "show", argc, argv);
}

static int remove_topic(int argc, char **argv)
{
  return run(&delete_usage, delete_options, "delete", argc, argv);
}

int sip_verb_topic(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "create", "create a topic", create },
    { "list", "list the topics", list },
    { "show", "show a topic's partitions and offsets", show },
    { "delete", "delete a topic with its records", remove_topic },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat topic", "Topics of the broker.", verbs, argc, argv);
}
