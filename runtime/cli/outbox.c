/* outbox.c - `sipeat outbox list|show|retry|discard`: their options; the work is in
 * stdlib/command_outbox.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <stddef.h>
#include <unistd.h>

struct outbox_args {
  const char *action, *file;
  int64_t seq, max; /* seq 0: none was given */
  bool json, yes, all;
};

#define AT(field) offsetof(struct outbox_args, field)

#define FILE_OPTION                                                                                \
  {                                                                                                \
    .name = "outbox", .value = "FILE",                                                             \
    .help = "the outbox's file (SIPEAT_OUTBOX; default sipeat-outbox.db)",                         \
    .kind = SIP_OPTION_TEXT, .offset = AT(file)                                                    \
  }

static const struct sip_option list_options[] = {
  FILE_OPTION,
  { .name = "json",
    .help = "one JSON object for the outbox, then one a refused record",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { .name = "max",
    .value = "N",
    .help = "refused records at most (default 100)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(max),
    .min = 1,
    .max = 1000000 },
  { 0 },
};

static const struct sip_option show_options[] = {
  FILE_OPTION,
  { .name = "json", .help = "one JSON object", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option retry_options[] = {
  FILE_OPTION,
  { .name = "all", .help = "every refused record", .kind = SIP_OPTION_ON, .offset = AT(all) },
  { 0 },
};

static const struct sip_option discard_options[] = {
  FILE_OPTION,
  { .name = "all", .help = "every refused record", .kind = SIP_OPTION_ON, .offset = AT(all) },
  { .name = "yes", .help = "do not ask", .kind = SIP_OPTION_ON, .offset = AT(yes) },
  { 0 },
};

static const struct sip_usage list_usage = {
  .command = "sipeat outbox list",
  .synopsis = "[options]",
  .text = "Shows how much waits for the broker, and the records that it has refused for good.",
};

static const struct sip_usage show_usage = {
  .command = "sipeat outbox show",
  .synopsis = "NUMBER [options]",
  .text = "Shows a refused record: why, its headers, its key and its value.",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "NUMBER",
};

static const struct sip_usage retry_usage = {
  .command = "sipeat outbox retry",
  .synopsis = "NUMBER|--all [options]",
  .text = "Puts a refused record back, behind those that wait. A program that runs sends it.",
  .max_operands = 1,
};

static const struct sip_usage discard_usage = {
  .command = "sipeat outbox discard",
  .synopsis = "NUMBER|--all [options]",
  .text = "Deletes a refused record, after its number (or \"all\") was typed once more.",
  .max_operands = 1,
};

static void push(lua_State *L, void *arg)
{
  const struct outbox_args *args = arg;
  const char *file = sip_settings_text(args->file, "SIPEAT_OUTBOX", SIP_DEFAULT_OUTBOX);

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "file", file);
  sip_push_flag(L, "missing", access(file, F_OK) != 0);
  if (args->seq > 0) {
    sip_push_number(L, "seq", args->seq);
  }
  sip_push_number(L, "max", args->max);
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "yes", args->yes);
}

static int run(const struct sip_usage *usage, const struct sip_option *options, const char *action,
               int argc, char **argv)
{
  static const struct sip_option number = {
    .name = "NUMBER", .kind = SIP_OPTION_NUMBER, .min = 1, .max = INT64_MAX
  };
  struct sip_settings settings = { 0 };
  struct outbox_args args = { .action = action, .max = 100 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_outbox", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  struct sip_err err = { 0 };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 2, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  if (operand < argc && sip_option_number(&number, argv[operand], &args.seq, &err) < 0) {
    return sip_usage_error(usage, "NUMBER %s", err.message);
  }
  if (usage->min_operands == 0 && options != list_options && (args.seq > 0) == args.all) {
    return sip_usage_error(usage, "give the number of a record, or --all");
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

static int retry(int argc, char **argv)
{
  return run(&retry_usage, retry_options, "retry", argc, argv);
}

static int discard(int argc, char **argv)
{
  return run(&discard_usage, discard_options, "discard", argc, argv);
}

int sip_verb_outbox(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "list", "what waits, and what the broker has refused", list },
    { "show", "show a refused record", show },
    { "retry", "put refused records back", retry },
    { "discard", "delete refused records", discard },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat outbox", "Records that wait on this machine for the broker.",
                          verbs, argc, argv);
}
