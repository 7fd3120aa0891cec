#ifndef SIP_BIND_SLEEP_LUA_H
#define SIP_BIND_SLEEP_LUA_H
/* sleep_lua.h - the waits of sipeat.core.task. Loop thread. */
#include "core/list.h"

#include <lua.h>

int sip_l_sleep(lua_State *L);  /* sleep_lua.c: sleep(duration) */
int sip_l_signal(lua_State *L); /* signal_lua.c: signal() -> object with wait and wake */

/** The signal that is the argument, as the list of its waiters; throws when it is none. */
struct sip_list *sip_check_signal(lua_State *L, int arg);

/** Wakes the `limit` longest waiting tasks. Never throws. @return how many */
lua_Integer sip_signal_wake(struct sip_list *waiters, lua_Integer limit);

#endif
