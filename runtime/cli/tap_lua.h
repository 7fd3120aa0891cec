#ifndef SIP_CLI_TAP_LUA_H
#define SIP_CLI_TAP_LUA_H
/* tap_lua.h - watching the flows of this process. Loop thread. */
#include <lua.h>

struct sip_tap;

/** Pushes a watch (tap_lua.c), which is collected before the tap is freed. Throws.
 *  @return 1; 0 without memory: nothing is pushed */
int sip_push_tap(lua_State *L, struct sip_tap *tap);

#endif
