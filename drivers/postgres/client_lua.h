#ifndef SIP_POSTGRES_CLIENT_LUA_H
#define SIP_POSTGRES_CLIENT_LUA_H
/* client_lua.h - module sipeat.core.postgres. Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_pg_job;
struct sip_pg_pool;
struct sip_pg_tx;
struct sip_vm;

/** Makes the module available to `require`. @return 0 or a negative code */
int sip_postgres_lua_start(struct sip_vm *vm, struct sip_err *err);

/** Closes every database that is still open; nothing is opened after it. */
void sip_postgres_lua_stop(struct sip_vm *vm);

/** Binds the value at `index` as the next parameter, the `number`-th. Throws for what is no value.
 * @return 0, or SIP_EDATA for a text that PostgreSQL cannot hold */
int sip_pg_lua_bind(lua_State *L, int index, struct sip_pg_job *job, int number,
                    struct sip_err *err);

/** tx:run("batch", list), without the word: see client_batch_lua.c. */
int sip_pg_lua_batch(lua_State *L, struct sip_pg_pool *pool, struct sip_pg_tx *tx);

#endif
