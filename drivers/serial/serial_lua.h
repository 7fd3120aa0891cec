#ifndef SIP_SERIAL_SERIAL_LUA_H
#define SIP_SERIAL_SERIAL_LUA_H
/* serial_lua.h - module sipeat.core.serial. Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_serial;
struct sip_vm;

/** luaopen of the module, for tests of scripts, which have no ports. */
int sip_open_serial(lua_State *L);

int sip_serial_lua_start(struct sip_vm *vm, struct sip_err *err);

/** The process's serial thread, for a state that is not the only one; counted. Without it, the
 *  first line starts a thread. @return 0 or a negative code */
int sip_serial_lua_attach(struct sip_vm *vm, struct sip_serial *serial, struct sip_err *err);

/** Closes the lines of the state. */
void sip_serial_lua_stop(struct sip_vm *vm);

#endif
