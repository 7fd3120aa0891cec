/* client_batch_lua.c - many statements of a transaction in one wait: all of them go down the
 * connection's pipeline, one behind the other, and what the first of them that fails says is what
 * the batch says. Loop thread. */
#include "postgres/client_lua.h"

#include "postgres/client.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { BATCH_STATEMENTS = 1000000 };

static const char BATCH[] = "sipeat.postgres.batch";

struct batch {
  struct sip_wait wait;
  size_t count, left; /* statements, and those that are not through yet */
  struct sip_pg_job *jobs[];
};

static void batch_drop(struct batch *batch)
{
  for (size_t i = 0; i < batch->count; i++) {
    sip_pg_job_free(batch->jobs[i]);
    batch->jobs[i] = NULL;
  }
}

static int batch_gc(lua_State *L)
{
  struct batch **box = luaL_checkudata(L, 1, BATCH);
  struct batch *batch = *box;

  *box = NULL;
  if (batch != NULL) {
    batch_drop(batch);
    free(batch);
  }
  return 0;
}

static void batch_cancel(struct sip_wait *wait)
{
  batch_drop(SIP_CONTAINER(wait, struct batch, wait));
}

static void batch_on_done(struct sip_pg_job *job, void *arg)
{
  struct batch *batch = arg;

  (void)job;
  batch->left--;
  if (batch->left == 0) {
    sip_wake(&batch->wait, 0);
  }
}

/* stack: self, list, box */
static int batch_finish(lua_State *L, struct sip_wait *wait)
{
  struct batch **box = luaL_checkudata(L, 3, BATCH), *batch = *box;
  struct sip_err err = { .code = wait->status };
  int status = wait->status;

  for (size_t i = 0; i < batch->count && err.code == 0; i++) {
    err = batch->jobs[i]->err;
  }
  lua_pushcfunction(L, batch_gc); /* now, not when the collector gets to it */
  lua_pushvalue(L, 3);
  lua_call(L, 1, 0);
  if (status < 0) {
    return sip_push_error(L, status, "sql");
  }
  if (err.code != 0) {
    return sip_push_err(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* The statement {n =, text, values …} that is on top of the stack. @return 0 or a negative code */
static int read_statement(lua_State *L, struct sip_pg_job *job, struct sip_err *err)
{
  int list = lua_gettop(L), rc;
  lua_Integer count;
  const char *text;
  size_t len;

  lua_getfield(L, list, "n");
  count = luaL_checkinteger(L, -1);
  (void)lua_rawgeti(L, list, 1);
  text = luaL_checklstring(L, -1, &len);
  rc = sip_pg_job_set_sql(job, text, len, err);
  lua_pop(L, 2);
  for (lua_Integer i = 2; i <= count && rc == 0; i++) {
    (void)lua_rawgeti(L, list, i);
    rc = sip_pg_lua_bind(L, list + 1, job, (int)i - 1, err);
    lua_pop(L, 1);
  }
  return rc;
}

static struct batch *batch_new(lua_State *L, size_t count)
{
  struct batch **box = sip_box_new(L, BATCH, batch_gc);
  struct batch *batch = calloc(1, sizeof *batch + count * sizeof batch->jobs[0]);

  if (batch == NULL) {
    luaL_error(L, "sql: not enough memory");
    return NULL; /* not reached */
  }
  *box = batch;
  sip_wait_init(&batch->wait, batch_cancel, batch_finish);
  for (size_t i = 0; i < count; i++) {
    batch->jobs[i] = sip_pg_job_new(SIP_PG_STATEMENT);
    if (batch->jobs[i] == NULL) {
      luaL_error(L, "sql: not enough memory");
      return NULL; /* not reached */
    }
    batch->count++;
  }
  return batch;
}

int sip_pg_lua_batch(lua_State *L, struct sip_pg_pool *pool, struct sip_pg_tx *tx)
{
  const struct sip_task *task = sip_task_current(L);
  struct sip_err err = { 0 };
  struct batch *batch;
  size_t count;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  count = (size_t)lua_rawlen(L, 2);
  luaL_argcheck(L, count > 0 && count <= BATCH_STATEMENTS, 2, "1 to 1,000,000 statements");
  batch = batch_new(L, count);
  for (size_t i = 0; i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 2, (lua_Integer)i + 1) == LUA_TTABLE, 2, "no statement");
    if (read_statement(L, batch->jobs[i], &err) < 0) {
      return sip_push_err(L, &err);
    }
    batch->jobs[i]->tx = tx;
    lua_settop(L, 3);
  }
  if (task != NULL && sip_task_killed(task)) {
    return sip_await(L, &batch->wait, SIP_FOREVER); /* not even begun */
  }
  batch->left = count + 1; /* whoever breaks at once does not wake it before all have begun */
  for (size_t i = 0; i < count; i++) {
    if (sip_pg_start(pool, batch->jobs[i], batch_on_done, batch, &err) < 0) {
      return sip_push_err(L, &err);
    }
  }
  batch->left--;
  if (batch->left == 0) {
    sip_wake(&batch->wait, 0);
  }
  return sip_await(L, &batch->wait, SIP_FOREVER);
}
