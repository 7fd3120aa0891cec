#ifndef SIP_CLI_COMMAND_H
#define SIP_CLI_COMMAND_H
/* command.h - verbs whose work is written in Lua: one task, in a state of its own, on a loop of its
 * own.
 *
 * The first SIGINT or SIGTERM stops the task, which then ends in order; the second ends the
 * process. Main thread. */
#include "cli/settings.h"

#include <lua.h>

enum sip_command_broker {
  SIP_COMMAND_NO_BROKER,   /* false: not used */
  SIP_COMMAND_BROKER,      /* true: the settings', else the embedded one of a running sipeat */
  SIP_COMMAND_MAYBE_BROKER /* the same, and the verb goes on when there is none */
};

struct sip_command {
  const char *name;   /* "sipeat publish", for messages */
  const char *module; /* "sipeat.command_publish": has a function run(options) -> exit code */
  struct sip_settings *settings; /* borrowed; loaded by sip_command_run */
  enum sip_command_broker broker;
  void (*push)(lua_State *L, void *arg); /* pushes the table of options; may throw */
  void *arg;
};

/** The options get a field `broker` with the address that is used, and `embedded_http` with the
 * address of the process that runs it when it is an embedded one. @return an exit code */
int sip_command_run(const struct sip_command *command);

#endif
