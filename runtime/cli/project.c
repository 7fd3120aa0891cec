/* project.c - `sipeat project list|show|rebuild`: their options; the work is in
 * stdlib/command_project.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/load_lua.h"
#include "cli/push.h"

#include <stddef.h>

struct project_args {
  const char *action, *file, *name;
  bool json, fresh, partial;
};

#define AT(field) offsetof(struct project_args, field)

static const struct sip_option list_options[] = {
  { .name = "json",
    .help = "one JSON object a projection",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { 0 },
};

static const struct sip_option show_options[] = {
  { .name = "json", .help = "one JSON object", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option rebuild_options[] = {
  { .name = "fresh",
    .help = "begin anew, also when a rebuild was left on its way",
    .kind = SIP_OPTION_ON,
    .offset = AT(fresh) },
  { .name = "partial",
    .help = "build it of what the topics still have, when their first records are gone",
    .kind = SIP_OPTION_ON,
    .offset = AT(partial) },
  { .name = "json",
    .help = "progress and outcome as JSON objects",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { 0 },
};

static const struct sip_usage list_usage = {
  .command = "sipeat project list",
  .synopsis = "FILE [options]",
  .text = "Shows the projections that a script declares, how far each is, and who follows it.",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "FILE",
};

static const struct sip_usage show_usage = {
  .command = "sipeat project show",
  .synopsis = "FILE NAME [options]",
  .text = "Shows a projection with its partitions.",
  .min_operands = 2,
  .max_operands = 2,
  .operand = "FILE NAME",
};

static const struct sip_usage rebuild_usage = {
  .command = "sipeat project rebuild",
  .synopsis = "FILE NAME [options]",
  .text =
    "Reads all events into new tables beside the live ones and swaps them at the end. It goes\n"
    "on where it was when it is stopped or killed. docs/projections.md says how.",
  .min_operands = 2,
  .max_operands = 2,
  .operand = "FILE NAME",
};

static void push(lua_State *L, void *arg)
{
  const struct project_args *args = arg;

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "file", args->file);
  sip_push_text(L, "name", args->name);
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "fresh", args->fresh);
  sip_push_flag(L, "partial", args->partial);
  lua_pushcfunction(L, sip_l_load_script);
  lua_setfield(L, -2, "load");
}

static int run(const struct sip_usage *usage, const struct sip_option *options, const char *action,
               int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct project_args args = { .action = action };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_project", &settings, true, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.file = argv[operand];
  args.name = operand + 1 < argc ? argv[operand + 1] : NULL;
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

static int rebuild(int argc, char **argv)
{
  return run(&rebuild_usage, rebuild_options, "rebuild", argc, argv);
}

int sip_verb_project(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "list", "the projections of a script, and how far they are", list },
    { "show", "one of them, with its partitions", show },
    { "rebuild", "build its tables anew and swap them in", rebuild },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat project", "Read models that a script makes of events.", verbs,
                          argc, argv);
}
