/* event_record_lua.c - events of records that Lua has as tables, { topic, partition, offset,
 * timestamp, key, value, headers = { { name, value }… } }, as consumers and readers give them.
 *
 * The record is shown to sip_event_push as if a log had given it. Its bytes are borrowed from the
 * strings of the table, which stays on the stack. Loop thread. */
#include "bind/event_lua.h"

#include <lauxlib.h>

enum { HEADERS = 32 }; /* a record with more of them is read in Lua */

struct table {
  struct sip_header headers[HEADERS];
  size_t count;
};

static size_t table_header_count(const struct sip_record *record)
{
  const struct table *table = record->message;

  return table->count;
}

static struct sip_header table_header(const struct sip_record *record, size_t index)
{
  const struct table *table = record->message;

  return table->headers[index];
}

static const struct sip_source_ops table_ops = {
  .header_count = table_header_count,
  .header = table_header,
};

/* The text of a field of the record at 1; nothing when it is none. The record holds it. */
static struct sip_slice text_field(lua_State *L, const char *name)
{
  struct sip_slice text = { NULL, 0 };

  if (lua_getfield(L, 1, name) == LUA_TSTRING) {
    text.data = lua_tolstring(L, -1, &text.len);
  }
  lua_pop(L, 1);
  return text;
}

static int64_t number_field(lua_State *L, const char *name)
{
  int64_t value;

  (void)lua_getfield(L, 1, name);
  value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

/* Reads the header on top of the stack. false: it is of another shape. */
static bool read_header(lua_State *L, struct sip_header *header)
{
  bool plain = lua_istable(L, -1) && lua_rawgeti(L, -1, 1) == LUA_TSTRING;

  if (!plain) {
    return false;
  }
  header->name = lua_tostring(L, -1);
  header->value = (struct sip_slice){ NULL, 0 };
  if (lua_rawgeti(L, -2, 2) == LUA_TSTRING) {
    header->value.data = lua_tolstring(L, -1, &header->value.len);
  }
  lua_pop(L, 2);
  return true;
}

static bool read_headers(lua_State *L, struct table *table)
{
  size_t count = 0;

  if (lua_getfield(L, 1, "headers") == LUA_TTABLE) {
    count = lua_rawlen(L, -1);
  }
  if (count > HEADERS) {
    return false;
  }
  for (table->count = 0; table->count < count; table->count++) {
    (void)lua_rawgeti(L, -1, (lua_Integer)table->count + 1);
    if (!read_header(L, &table->headers[table->count])) {
      return false;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return true;
}

int sip_l_event_of(lua_State *L)
{
  struct sip_record record = { 0 };
  struct table table;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  record.topic = text_field(L, "topic").data;
  if (record.topic == NULL || !read_headers(L, &table)) {
    lua_pushnil(L);
    return 1;
  }
  record.partition = (int32_t)number_field(L, "partition");
  record.offset = number_field(L, "offset");
  record.timestamp_ms = number_field(L, "timestamp");
  record.key = text_field(L, "key");
  record.value = text_field(L, "value");
  record.message = &table;
  (void)sip_event_push(L, &table_ops, &record); /* nil when it is none */
  return 1;
}
