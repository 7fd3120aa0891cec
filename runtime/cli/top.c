/* top.c - `sipeat top` and `sipeat tap`: their options, and which program they look at; the work is
 * in stdlib/command_top.lua and stdlib/command_tap.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"
#include "cli/rendezvous.h"

#include <stddef.h>

struct top_args {
  const char *http, *group;
  uint64_t every_ms;
  int64_t max;
  bool json, once, failed;
};

#define AT(field) offsetof(struct top_args, field)

#define HTTP_OPTION                                                                                \
  {                                                                                                \
    .name = "http", .value = "HOST:PORT",                                                          \
    .help =                                                                                        \
      "where the program serves (SIPEAT_HTTP; default: the sipeat with a broker inside that "      \
      "runs here, else 127.0.0.1:3000)",                                                           \
    .kind = SIP_OPTION_TEXT, .offset = AT(http)                                                    \
  }

/* The option, the setting, a program with a broker inside, or where a program serves by default. */
static void push_http(lua_State *L, const struct top_args *args)
{
  const char *chosen = sip_settings_text(args->http, "SIPEAT_HTTP", NULL);
  struct sip_rendezvous_note note = { 0 };

  if (chosen == NULL && sip_rendezvous_find(&note, NULL) > 0 && note.http[0] != '\0') {
    chosen = note.http;
  }
  sip_push_text(L, "http", chosen != NULL ? chosen : "127.0.0.1:3000");
}

static void push(lua_State *L, void *arg)
{
  const struct top_args *args = arg;

  lua_newtable(L);
  push_http(L, args);
  sip_push_text(L, "group", args->group);
  sip_push_duration(L, "every", args->every_ms);
  if (args->max > 0) {
    sip_push_number(L, "max", args->max);
  }
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "once", args->once);
  sip_push_flag(L, "failed", args->failed);
}

static int run(const struct sip_usage *usage, const char *module, const struct sip_option *own,
               int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct top_args args = { .every_ms = 1000 };
  struct sip_option_group groups[] = {
    { "options", own, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, module, &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 2, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.group = operand < argc ? argv[operand] : NULL;
  return sip_command_run(&command);
}

int sip_verb_top(int argc, char **argv)
{
  static const struct sip_option options[] = {
    HTTP_OPTION,
    { .name = "every",
      .value = "TIME",
      .help = "between two looks (default 1s)",
      .kind = SIP_OPTION_DURATION,
      .offset = AT(every_ms) },
    { .name = "once", .help = "one look, then end", .kind = SIP_OPTION_ON, .offset = AT(once) },
    { .name = "json", .help = "one JSON object a look", .kind = SIP_OPTION_ON, .offset = AT(json) },
    { 0 },
  };
  static const struct sip_usage usage = {
    .command = "sipeat top",
    .synopsis = "[options]",
    .text = "Shows what a running program does: rates, lag, what is in flight, and its slowest "
            "handlers,\nfrom its /metrics. Ctrl-C ends it.",
    .examples = "  sipeat top --http 10.0.0.7:3000\n  sipeat top --once --json",
  };

  return run(&usage, "sipeat.command_top", options, argc, argv);
}

int sip_verb_tap(int argc, char **argv)
{
  static const struct sip_option options[] = {
    HTTP_OPTION,
    { .name = "failed",
      .help = "only attempts that did not end well",
      .kind = SIP_OPTION_ON,
      .offset = AT(failed) },
    { .name = "max",
      .letter = 'n',
      .value = "N",
      .help = "end after so many",
      .kind = SIP_OPTION_NUMBER,
      .offset = AT(max),
      .min = 1,
      .max = 1000000000 },
    { .name = "json", .help = "one JSON object a line", .kind = SIP_OPTION_ON, .offset = AT(json) },
    { 0 },
  };
  static const struct sip_usage usage = {
    .command = "sipeat tap",
    .synopsis = "[FLOW] [options]",
    .text = "Shows the attempts of a running program's handlers as they end: outcome, duration, "
            "type, id, place,\nkey, and why one failed. FLOW is a consumer group; without it, all. "
            "The program has to run on this\nmachine. Data of events is not shown. Ctrl-C ends it.",
    .examples = "  sipeat tap orders --failed\n  sipeat tap --json -n 100",
    .max_operands = 1,
    .operand = "FLOW",
  };

  return run(&usage, "sipeat.command_tap", options, argc, argv);
}
