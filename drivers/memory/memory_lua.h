#ifndef SIP_MEMORY_LUA_H
#define SIP_MEMORY_LUA_H
/* memory_lua.h - the Lua module of this driver, sipeat.core.memory. Loop thread. */
#include "core/err.h"

struct sip_memory_log;
struct sip_vm;

/** Provides the module. @return 0 or a negative code */
int sip_memory_lua_start(struct sip_vm *vm, struct sip_err *err);

/** The log that it works on, borrowed until the state is freed; without one it throws.
 *  @return 0 or a negative code */
int sip_memory_lua_use(struct sip_vm *vm, struct sip_memory_log *log, struct sip_err *err);

#endif
