#ifndef SIP_CRYPTO_LUA_H
#define SIP_CRYPTO_LUA_H
/* crypto_lua.h - the Lua module of this driver, sipeat.core.crypto. Loop thread. */
#include "core/err.h"

struct sip_vm;

/** Provides the module. @return 0 or a negative code */
int sip_crypto_lua_start(struct sip_vm *vm, struct sip_err *err);

#endif
