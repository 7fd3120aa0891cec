/* key.c - `sipeat key new`: its options; the work is in stdlib/command_key.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

static const struct sip_usage usage = {
  .command = "sipeat key new",
  .synopsis = "[NAME]",
  .text =
    "Prints a new pair of keys as two lines: whoever has the one with \"seal\" closes fields of\n"
    "events, only whoever has the one with \"open\" reads them. NAME stands in what they seal;\n"
    "without one it is the date and something random.",
  .examples =
    "  sipeat key new >> seal.keys          # with a umask that lets nobody else read it\n"
    "  grep ' seal ' seal.keys              # what those who only seal need",
  .max_operands = 1,
  .operand = "NAME",
};

static void push(lua_State *L, void *arg)
{
  lua_newtable(L);
  sip_push_text(L, "name", arg);
}

static int make(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct sip_option_group groups[] = { { "log", sip_log_options, &settings } };
  struct sip_command command = {
    "sipeat key new", "sipeat.command_key", &settings, false, push, NULL,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 1, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  command.arg = operand < argc ? argv[operand] : NULL;
  return sip_command_run(&command);
}

int sip_verb_key(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "new", "print a new pair of keys", make },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat key", "Keys that seal and open fields of events.", verbs, argc,
                          argv);
}
