#ifndef SIP_CLI_SERIAL_PORT_H
#define SIP_CLI_SERIAL_PORT_H
/* serial_port.h - what `sipeat serial` asks of the file system about a port. Main thread. */
#include <lua.h>

/** facts(path) -> {exists, kind, path, mode, owner, group, readable, writable, user, member};
 * `kind` is "device", "terminal" (a pseudo-terminal) or "other", `path` without symbolic links,
 * `member` whether this user is in the file's group, `error` why it cannot be looked at. */
int sip_l_port_facts(lua_State *L);

#endif
