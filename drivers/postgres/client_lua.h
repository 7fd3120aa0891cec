#ifndef SIP_POSTGRES_CLIENT_LUA_H
#define SIP_POSTGRES_CLIENT_LUA_H
/* client_lua.h - module sipeat.core.postgres. Loop thread. */
#include "core/err.h"

struct sip_vm;

/** Makes the module available to `require`. @return 0 or a negative code */
int sip_postgres_lua_start(struct sip_vm *vm, struct sip_err *err);

/** Closes every database that is still open; nothing is opened after it. */
void sip_postgres_lua_stop(struct sip_vm *vm);

#endif
