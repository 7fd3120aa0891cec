/* console.c - `sipeat console`: its options; the work is in stdlib/command_console.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <stddef.h>
#include <unistd.h>

struct console_args {
  const char *http, *state, *broker;
  struct sip_tls_settings tls;
};

#define AT(field) offsetof(struct console_args, field)

static const struct sip_option options[] = {
  { .name = "http",
    .value = "HOST:PORT",
    .help = "where it listens (default 127.0.0.1:8080)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(http) },
  { .name = "state",
    .value = "DIR",
    .help = "where users and the audit are (SIPEAT_STATE; default .sipeat if it has them, else "
            "in memory)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(state) },
  { .name = "broker",
    .value = "LIST",
    .help = "as --brokers",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(broker) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat console",
  .synopsis = "[options]",
  .text =
    "Serves the web console for a Kafka cluster: topics, messages, groups, brokers and dead "
    "letters.\n"
    "It runs no script. On an address of this machine it prints a link that signs in once; others "
    "sign\n"
    "in as \"sipeat user add\" says. Ctrl-C ends it.",
  .examples = "  sipeat console --broker localhost:9092\n"
              "  sipeat console -b kafka:9092 --http 0.0.0.0:8080 --state /var/lib/sipeat",
};

static void push(lua_State *L, void *arg)
{
  struct console_args *args = arg;
  char state[4096], place[4096];
  const char *file =
    sip_settings_access(sip_settings_state(args->state, state, sizeof state), place, sizeof place);

  lua_newtable(L);
  sip_push_text(L, "http", args->http != NULL ? args->http : "127.0.0.1:8080");
  sip_push_tls(L, &args->tls);
  if (args->state == NULL && access(file, F_OK) != 0) {
    file = ":memory:"; /* nobody has named a place: none is made */
  }
  sip_push_text(L, "access", file);
}

int sip_verb_console(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct console_args args = { 0 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "https", sip_tls_options, &args.tls },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage.command, "sipeat.command_console", &settings, SIP_COMMAND_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 4, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  if (settings.brokers == NULL) {
    settings.brokers = args.broker;
  }
  return sip_command_run(&command);
}
