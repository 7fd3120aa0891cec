#ifndef SIP_BIND_SLEEP_LUA_H
#define SIP_BIND_SLEEP_LUA_H
/* sleep_lua.h - the waits of sipeat.core.task. Loop thread. */
#include <lua.h>

int sip_l_sleep(lua_State *L);  /* sleep_lua.c: sleep(duration) */
int sip_l_signal(lua_State *L); /* signal_lua.c: signal() -> object with wait and wake */

#endif
