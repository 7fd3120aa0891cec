/* group.c - `sipeat group list|show|reset`: their options; the work is in
 * stdlib/command_group.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

struct group_args {
  const char *action, *name, *topic, *to;
  bool json, yes;
};

#define AT(field) offsetof(struct group_args, field)

static const struct sip_option list_options[] = {
  { .name = "json", .help = "one JSON object a group", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option show_options[] = {
  { .name = "json", .help = "one JSON object", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option reset_options[] = {
  { .name = "topic",
    .letter = 't',
    .value = "TOPIC",
    .help = "of which topic",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(topic) },
  { .name = "to",
    .value = "WHERE",
    .help = "beginning, end, offset:N, or a time such as 2026-01-31T12:00:00Z",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(to) },
  { .name = "yes", .help = "do not ask", .kind = SIP_OPTION_ON, .offset = AT(yes) },
  { 0 },
};

static const struct sip_usage list_usage = {
  .command = "sipeat group list",
  .synopsis = "[options]",
  .text = "Lists the consumer groups with their state and number of members.",
};

static const struct sip_usage show_usage = {
  .command = "sipeat group show",
  .synopsis = "NAME [options]",
  .text =
    "Shows a group's members, and for each partition what is committed and how far behind it is.",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "NAME",
};

static const struct sip_usage reset_usage = {
  .command = "sipeat group reset",
  .synopsis = "NAME --topic TOPIC --to WHERE [--yes]",
  .text =
    "Sets the group's offsets in a topic, after its name was typed once more. Refused while the\n"
    "group has members: stop them first.",
  .examples = "  sipeat group reset sipeat-contact --topic sipeat.contact.events --to beginning\n"
              "  sipeat group reset sipeat-contact --topic sipeat.contact.events --to "
              "2026-01-31T12:00:00Z",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "NAME",
};

static void push(lua_State *L, void *arg)
{
  const struct group_args *args = arg;

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "name", args->name);
  sip_push_text(L, "topic", args->topic);
  sip_push_text(L, "to", args->to);
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "yes", args->yes);
}

static int run(const struct sip_usage *usage, const struct sip_option *options, const char *action,
               int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct group_args args = { .action = action };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_group", &settings, SIP_COMMAND_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.name = argv[operand];
  if (options == reset_options && (args.topic == NULL || args.to == NULL)) {
    return sip_usage_error(usage, "--%s is missing", args.topic == NULL ? "topic" : "to");
  }
  return sip_command_run(&command);
}

static int list(int argc, char **argv)
{
  return run(&list_usage, list_options, "list", argc, argv);
}

static int show(int argc, char **argv)
{
  return run(&show_usage, show_options, "show", argc, argv);
}

static int reset(int argc, char **argv)
{
  return run(&reset_usage, reset_options, "reset", argc, argv);
}

int sip_verb_group(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "list", "list the consumer groups", list },
    { "show", "show a group's members, offsets and lag", show },
    { "reset", "set a group's offsets", reset },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat group", "Consumer groups of the broker.", verbs, argc, argv);
}
