/* sqlite_batch_lua.c - batches: many runs of few statements, collected here and done in one job.
 *
 *   batch() -> b
 *   b:add(sql, values...) -> bytes | nil, message, "TOO_BIG"   what it takes in memory now; over
 * the bound of bytes or of different statements nothing was added: run it, and add again b:len() ->
 * how often add was called since it was run; db:run("batch", b) empties it
 *
 * Loop thread. */
#include "sqlite/sqlite_batch_lua.h"

#include "sqlite/sqlite.h"
#include "vm/vm.h"

#include <lauxlib.h>

static const char BATCH[] = "sipeat.sqlite.batch";

void sip_sqlite_bind_value(lua_State *L, int index, struct sip_sqlite_job *job)
{
  struct sip_sqlite_value value = { .type = SIP_SQLITE_NULL };
  const char *bytes;
  size_t len;
  int rc;

  switch (lua_type(L, index)) {
  case LUA_TBOOLEAN:
    value.type = SIP_SQLITE_INTEGER;
    value.as.integer = lua_toboolean(L, index);
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, index)) {
      value.type = SIP_SQLITE_INTEGER;
      value.as.integer = lua_tointeger(L, index);
    } else {
      value.type = SIP_SQLITE_REAL;
      value.as.real = lua_tonumber(L, index);
    }
    break;
  case LUA_TSTRING:
    value.type = SIP_SQLITE_TEXT;
    break;
  case LUA_TTABLE:
    value.type = SIP_SQLITE_BLOB;
    break;
  case LUA_TLIGHTUSERDATA: /* the null of JSON */
    luaL_argcheck(L, lua_touserdata(L, index) == NULL, index, "is no value of SQL");
    break;
  case LUA_TNIL:
    break;
  default:
    luaL_argerror(L, index, "is no value of SQL (nil, boolean, number, text, sql.blob)");
  }
  if (value.type == SIP_SQLITE_TEXT || value.type == SIP_SQLITE_BLOB) {
    if (value.type == SIP_SQLITE_BLOB) {
      luaL_argcheck(L, lua_rawgeti(L, index, 1) == LUA_TSTRING, index,
                    "is a table that is no sql.blob");
    } else {
      lua_pushvalue(L, index);
    }
    bytes = lua_tolstring(L, -1, &len);
    rc = sip_sqlite_job_bind_bytes(job, value.type, bytes, len);
    lua_pop(L, 1);
  } else {
    rc = sip_sqlite_job_bind(job, &value);
  }
  luaL_argcheck(L, rc != SIP_ETOOBIG, index, "more than 999 values");
  if (rc < 0) {
    luaL_error(L, "sql: not enough memory");
  }
}

/* --- the batch --- */

static int batch_gc(lua_State *L)
{
  struct sip_sqlite_job **box = luaL_checkudata(L, 1, BATCH);
  struct sip_sqlite_job *job = *box;

  *box = NULL;
  sip_sqlite_job_free(job);
  return 0;
}

static struct sip_sqlite_job *check_batch(lua_State *L, int index)
{
  struct sip_sqlite_job *job = *(struct sip_sqlite_job **)luaL_checkudata(L, index, BATCH);

  luaL_argcheck(L, job != NULL, index, "the batch was closed");
  return job;
}

static int l_add(lua_State *L)
{
  struct sip_sqlite_job *job = check_batch(L, 1);
  int top = lua_gettop(L), rc = 0;
  size_t len;
  const char *sql = luaL_checklstring(L, 2, &len);

  luaL_argcheck(L, len > 0, 2, "an empty statement");
  sip_sqlite_job_unbind(job); /* what a call left that threw */
  for (int i = 3; i <= top; i++) {
    sip_sqlite_bind_value(L, i, job);
  }
  if (job->step_count > 0 && sip_sqlite_job_bytes(job) > SIP_SQLITE_MAX_BATCH_BYTES) {
    rc = SIP_ETOOBIG;
  } else {
    rc = sip_sqlite_job_step(job, sql, len);
  }
  if (rc == SIP_ETOOBIG) {
    sip_sqlite_job_unbind(job);
    return sip_push_error(L, rc, "sql: the batch is full");
  } else if (rc < 0) {
    return luaL_error(L, "sql: not enough memory");
  }
  lua_pushinteger(L, (lua_Integer)sip_sqlite_job_bytes(job));
  return 1;
}

static int l_len(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)check_batch(L, 1)->step_count);
  return 1;
}

int sip_l_sqlite_batch(lua_State *L)
{
  static const luaL_Reg methods[] = { { "add", l_add }, { "len", l_len }, { NULL, NULL } };
  struct sip_sqlite_job **box = sip_box_class(L, BATCH, batch_gc, methods);

  *box = sip_sqlite_job_new(SIP_SQLITE_BATCH);
  if (*box == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  return 1;
}

void sip_sqlite_check_batch(lua_State *L, int index)
{
  luaL_argcheck(L, check_batch(L, index)->step_count > 0, index, "an empty batch");
}

struct sip_sqlite_job *sip_sqlite_take_batch(lua_State *L, int index, struct sip_sqlite_job *empty)
{
  struct sip_sqlite_job **box = luaL_checkudata(L, index, BATCH), *job = *box;

  *box = empty;
  return job;
}
