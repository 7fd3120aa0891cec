#ifndef SIP_HTTP_LUA_H
#define SIP_HTTP_LUA_H
/* http_lua.h - the Lua modules of this driver. Loop thread. */
#include "core/err.h"

struct sip_vm;

/** Provides the driver's modules to `require`; opens nothing yet. @return 0 or a negative code */
int sip_http_lua_start(struct sip_vm *vm, struct sip_err *err);

/** Stops the engines: open operations end with UV_ECANCELED, no callback starts work afterwards,
 * and the rest closes in the loop's next turns. Call before sip_vm_free. Harmless when nothing was
 * opened. */
void sip_http_lua_stop(struct sip_vm *vm);

#endif
