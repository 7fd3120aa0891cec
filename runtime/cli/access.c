/* access.c - `sipeat user …`, `sipeat token …` and `sipeat audit`: their options; the work is in
 * stdlib/command_access.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <stddef.h>
#include <string.h>

struct access_args {
  const char *action, *name, *state;
  const char *role, *password_file; /* user, token */
  uint64_t expires_ms;              /* token */
  const char *who, *what, *since;   /* audit */
  int64_t max;
  bool json;
};

#define AT(field) offsetof(struct access_args, field)

#define ROLE_OPTION(about)                                                                         \
  {                                                                                                \
    .name = "role", .value = "ROLE", .help = (about), .kind = SIP_OPTION_TEXT, .offset = AT(role)  \
  }

#define PASSWORD_OPTION                                                                            \
  {                                                                                                \
    .name = "password-file", .value = "FILE",                                                      \
    .help = "the first line of this file, \"-\" for standard input, instead of asking",            \
    .kind = SIP_OPTION_TEXT, .offset = AT(password_file)                                           \
  }

static const struct sip_option place_options[] = {
  { .name = "state",
    .value = "DIR",
    .help = "where access.db is, as of sipeat run (SIPEAT_STATE; the file itself: SIPEAT_ACCESS)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(state) },
  { .name = "json", .help = "one JSON object a line", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option no_options[] = { { 0 } };

static const struct sip_option user_add_options[] = {
  ROLE_OPTION("viewer, operator or admin (default viewer)"), PASSWORD_OPTION, { 0 }
};

static const struct sip_option user_password_options[] = { PASSWORD_OPTION, { 0 } };

static const struct sip_option token_add_options[] = {
  ROLE_OPTION("viewer, operator or admin (default viewer)"),
  { .name = "expires",
    .value = "TIME",
    .help = "how long it counts (default 90d)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(expires_ms) },
  { 0 },
};

static const struct sip_option audit_options[] = {
  { .name = "who",
    .value = "NAME",
    .help = "only what this user did",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(who) },
  { .name = "what",
    .value = "CHANGE",
    .help = "only these changes: user, or user.add",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(what) },
  { .name = "since",
    .value = "TIME",
    .help = "only since then: 2026-01-31T12:00:00Z, or 2h ago as 2h",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(since) },
  { .name = "max",
    .letter = 'n',
    .value = "N",
    .help = "the newest N (default 100)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(max),
    .min = 1,
    .max = 1000 },
  { 0 },
};

static void push(lua_State *L, void *arg)
{
  const struct access_args *args = arg;
  char state[2048], place[4096];

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "name", args->name);
  sip_push_text(
    L, "file",
    sip_settings_access(sip_settings_state(args->state, state, sizeof state), place, sizeof place));
  sip_push_login(L, "login");
  sip_push_text(L, "role", args->role);
  sip_push_text(L, "password_file", args->password_file);
  sip_push_text(L, "who", args->who);
  sip_push_text(L, "what", args->what);
  sip_push_text(L, "since", args->since);
  if (args->expires_ms > 0) {
    sip_push_number(L, "expires_ms", (int64_t)args->expires_ms);
  }
  if (args->max > 0) {
    sip_push_number(L, "max", args->max);
  }
  sip_push_flag(L, "json", args->json);
}

static int run(const struct sip_usage *usage, const char *action, const struct sip_option *own,
               int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct access_args args = { .action = action };
  struct sip_option_group groups[] = {
    { "options", own, &args },
    { "place", place_options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_access", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.name = operand < argc ? argv[operand] : NULL;
  return sip_command_run(&command);
}

#define VERB(function, typed, did, options, operands, about)                                       \
  static int function(int argc, char **argv)                                                       \
  {                                                                                                \
    static const struct sip_usage usage = {                                                        \
      .command = "sipeat " typed,                                                                  \
      .synopsis = (operands) == 1 ? "NAME [options]" : "[options]",                                \
      .text = (about),                                                                             \
      .min_operands = (operands),                                                                  \
      .max_operands = (operands),                                                                  \
      .operand = "NAME",                                                                           \
    };                                                                                             \
                                                                                                   \
    return run(&usage, did, options, argc, argv);                                                  \
  }

VERB(user_add, "user add", "user_add", user_add_options, 1,
     "Adds a user, and asks for the password twice. It is kept as an Argon2id hash. A password is\n"
     "never an argument: others on the machine could read it.")
VERB(user_list, "user list", "user_list", no_options, 0, "Lists the users.")
VERB(user_role, "user role", "user_role", user_add_options, 1,
     "Gives a user another role (--role), and ends the sessions.")
VERB(user_password, "user password", "user_password", user_password_options, 1,
     "Gives a user another password, and ends the sessions.")
VERB(user_remove, "user remove", "user_remove", no_options, 1,
     "Removes a user, and ends the sessions.")
VERB(token_add, "token add", "token_add", token_add_options, 1,
     "Makes a token for a program, and shows it once. It is sent as Authorization: Bearer TOKEN.")
VERB(token_list, "token list", "token_list", no_options, 0,
     "Lists the tokens: their role, end, and last use.")
VERB(token_remove, "token remove", "token_remove", no_options, 1,
     "Removes a token; it counts no more at once.")

int sip_verb_user(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "add", "add a user", user_add },
    { "list", "list the users", user_list },
    { "role", "give a user another role", user_role },
    { "password", "give a user another password", user_password },
    { "remove", "remove a user", user_remove },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat user", "Those who may sign in to the console.", verbs, argc,
                          argv);
}

int sip_verb_token(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "add", "make a token, and show it once", token_add },
    { "list", "list the tokens", token_list },
    { "remove", "remove a token", token_remove },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat token", "Tokens, with which programs use the console's API.",
                          verbs, argc, argv);
}

VERB(audit, "audit", "audit", audit_options, 0,
     "Lists what was changed, the newest first: when, by whom, over which way, and with what.")

int sip_verb_audit(int argc, char **argv)
{
  return audit(argc, argv);
}
