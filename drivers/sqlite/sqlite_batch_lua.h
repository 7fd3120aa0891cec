#ifndef SIP_SQLITE_BATCH_LUA_H
#define SIP_SQLITE_BATCH_LUA_H
/* sqlite_batch_lua.h - values of Lua as parameters, and batches of statements. Loop thread; throws
 * what luaL_error does. */
#include <lua.h>

struct sip_sqlite_job;

/** Binds the value at `index`. */
void sip_sqlite_bind_value(lua_State *L, int index, struct sip_sqlite_job *job);

/** batch() -> an empty batch */
int sip_l_sqlite_batch(lua_State *L);

/** Throws unless there is a batch with something in it at `index`. */
void sip_sqlite_check_batch(lua_State *L, int index);

/** Takes the job out of that batch, which gets `empty` for it. Does not throw. */
struct sip_sqlite_job *sip_sqlite_take_batch(lua_State *L, int index, struct sip_sqlite_job *empty);

#endif
