/* memory_lua.c - module sipeat.core.memory: the log of events in memory, for tests.
 *
 * append(topic, key?, value?, headers?, timestamp_ms?) -> offset | nil, message, code; headers is a
 * list of {name, value?}. records(topic, from?) -> list of {topic, partition, offset, timestamp,
 * key?, value?, headers}. topics() -> names. create(topic) -> true | nil, message, code.
 * committed(group, topic) -> offset, -1: nothing. matches(pattern, topic) -> boolean, as a flow's
 * pattern does. Loop thread. */
#include "memory/memory_lua.h"

#include "memory/log.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <regex.h>

enum { HEADER_LIMIT = 1024 };

static const char STATE_KEY; /* its address is the service's key */

static struct sip_memory_log *log_of(lua_State *L)
{
  struct sip_memory_log *log = sip_vm_service(L, &STATE_KEY);

  if (log == NULL) {
    luaL_error(L, "there is no log of events in memory: this is no test");
  }
  return log;
}

static struct sip_slice opt_slice(lua_State *L, int arg)
{
  struct sip_slice slice = { NULL, 0 };

  if (!lua_isnoneornil(L, arg)) {
    slice.data = luaL_checklstring(L, arg, &slice.len);
  }
  return slice;
}

/* Pushes the block that the headers of the list at `arg` are in; their texts stay the list's. */
static const struct sip_header *read_headers(lua_State *L, int arg, size_t *count)
{
  struct sip_header *headers;

  *count = 0;
  if (lua_isnoneornil(L, arg)) {
    return NULL;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  *count = (size_t)luaL_len(L, arg);
  luaL_argcheck(L, *count <= HEADER_LIMIT, arg, "too many headers");
  headers = lua_newuserdatauv(L, (*count + 1) * sizeof *headers, 0);
  for (size_t i = 0; i < *count; i++) {
    luaL_argcheck(L, lua_geti(L, arg, (lua_Integer)i + 1) == LUA_TTABLE, arg,
                  "a list of { name, value }");
    (void)lua_geti(L, -1, 1);
    headers[i].name = luaL_checkstring(L, -1);
    (void)lua_geti(L, -2, 2);
    headers[i].value = opt_slice(L, -1);
    lua_pop(L, 3);
  }
  return headers;
}

static int l_append(lua_State *L)
{
  struct sip_memory_log *log = log_of(L);
  struct sip_output output = { .partition = -1 };
  struct sip_err err = { 0 };
  int64_t offset;

  lua_settop(L, 5);
  output.topic = luaL_checkstring(L, 1);
  output.key = opt_slice(L, 2);
  output.value = opt_slice(L, 3);
  output.timestamp_ms = luaL_optinteger(L, 5, 0);
  output.headers = read_headers(L, 4, &output.header_count);
  if (sip_memory_log_append(log, &output, &offset, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushinteger(L, offset);
  return 1;
}

static void push_slice(lua_State *L, const struct sip_slice *slice)
{
  if (slice->data == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, slice->data, slice->len);
  }
}

static void push_record(lua_State *L, const struct sip_memory_topic *topic, size_t offset)
{
  const struct sip_memory_record *record = sip_memory_topic_record(topic, offset);

  lua_createtable(L, 0, 7);
  lua_pushstring(L, sip_memory_topic_name(topic));
  lua_setfield(L, -2, "topic");
  lua_pushinteger(L, 0);
  lua_setfield(L, -2, "partition");
  lua_pushinteger(L, (lua_Integer)offset);
  lua_setfield(L, -2, "offset");
  lua_pushinteger(L, record->timestamp_ms);
  lua_setfield(L, -2, "timestamp");
  push_slice(L, &record->key);
  lua_setfield(L, -2, "key");
  push_slice(L, &record->value);
  lua_setfield(L, -2, "value");
  lua_createtable(L, (int)record->header_count, 0);
  for (size_t i = 0; i < record->header_count; i++) {
    lua_createtable(L, 2, 0);
    lua_pushstring(L, record->headers[i].name);
    lua_rawseti(L, -2, 1);
    push_slice(L, &record->headers[i].value);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "headers");
}

static int l_records(lua_State *L)
{
  const struct sip_memory_topic *topic = sip_memory_log_find(log_of(L), luaL_checkstring(L, 1));
  lua_Integer from = luaL_optinteger(L, 2, 0), count = 0;

  luaL_argcheck(L, from >= 0, 2, "an offset");
  lua_newtable(L);
  for (size_t at = (size_t)from; topic != NULL && at < sip_memory_topic_count(topic); at++) {
    push_record(L, topic, at);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int l_topics(lua_State *L)
{
  const struct sip_memory_topic *topic = NULL;
  lua_Integer count = 0;

  lua_newtable(L);
  while ((topic = sip_memory_log_next(log_of(L), topic)) != NULL) {
    lua_pushstring(L, sip_memory_topic_name(topic));
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int l_create(lua_State *L)
{
  struct sip_err err = { 0 };

  if (sip_memory_log_create(log_of(L), luaL_checkstring(L, 1), &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_committed(lua_State *L)
{
  lua_pushinteger(
    L, sip_memory_log_committed(log_of(L), luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
  return 1;
}

static int l_matches(lua_State *L)
{
  const char *pattern = luaL_checkstring(L, 1), *topic = luaL_checkstring(L, 2);
  regex_t compiled;

  luaL_argcheck(L, regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) == 0, 1, "no pattern");
  lua_pushboolean(L, regexec(&compiled, topic, 0, NULL, 0) == 0);
  regfree(&compiled);
  return 1;
}

static int open_memory(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "append", l_append }, { "records", l_records },     { "topics", l_topics },
    { "create", l_create }, { "committed", l_committed }, { "matches", l_matches },
    { NULL, NULL }
  };

  luaL_newlib(L, functions);
  return 1;
}

int sip_memory_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  return sip_vm_provide(vm, "sipeat.core.memory", open_memory, err);
}

int sip_memory_lua_use(struct sip_vm *vm, struct sip_memory_log *log, struct sip_err *err)
{
  if (sip_vm_set_service(vm, &STATE_KEY, log) < 0) {
    return sip_err_set(err, UV_ENOSPC, "too many services");
  }
  return 0;
}
