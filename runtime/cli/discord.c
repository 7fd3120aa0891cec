/* discord.c - `sipeat discord test`: its options; the work is in stdlib/command_discord.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

struct discord_args {
  uint64_t timeout_ms;
  bool json;
};

#define AT(field) offsetof(struct discord_args, field)

static const struct sip_option options[] = {
  { .name = "timeout",
    .value = "TIME",
    .help = "patience with one message, pauses for rate limits included (default 30s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(timeout_ms) },
  { .name = "json",
    .help = "one JSON object a message",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat discord test",
  .synopsis = "[options]",
  .text =
    "Sends five sample messages to the webhook in DISCORD_WEBHOOK (environment, .env.local or\n"
    ".env) and says for each what came back.",
};

static void push(lua_State *L, void *arg)
{
  const struct discord_args *args = arg;

  lua_newtable(L);
  sip_push_duration(L, "timeout", args->timeout_ms);
  sip_push_flag(L, "json", args->json);
}

static int test(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct discord_args args = { .timeout_ms = 30000 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    "sipeat discord test", "sipeat.command_discord", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 2, argc, argv, &operand);

  return code != SIP_GO_ON ? code : sip_command_run(&command);
}

int sip_verb_discord(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "test", "send sample messages to the webhook", test },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat discord", "Tries the Discord webhook.", verbs, argc, argv);
}
