/* flow_key_lua.c - the key of a record in a flow that takes it out of the event's data.
 *
 * keyer(path, f) -> what register takes as key_of: `path` leads below the data, and f(record) tells
 * the same key wherever it is not found here: in records that stdlib/record.lua has to read, in
 * what is broken, in numbers with decimals. Loop thread. */
#include "bind/event_lua.h"
#include "bind/flow_lua.h"
#include "core/json.h"
#include "core/log.h"
#include "flow/flow.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

/* A path, in a userdata that is upvalue 1 of l_key. */
struct path {
  size_t count;
  struct sip_slice keys[SIP_JSON_KEYS]; /* in `text` */
  char text[];
};

/* The key function as Lua calls it: upvalue 2 does it. */
static int l_key(lua_State *L)
{
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_call(L, 1, LUA_MULTRET);
  return lua_gettop(L);
}

int sip_flow_l_keyer(lua_State *L)
{
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  struct path *path;

  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  path = lua_newuserdatauv(L, sizeof *path + len, 0);
  memcpy(path->text, text, len);
  path->count = sip_json_path_split(path->text, len, path->keys, SIP_JSON_KEYS);
  luaL_argcheck(L, path->count > 0, 1, "no path");
  lua_insert(L, 2); /* stack: text, path, f */
  lua_pushcclosure(L, l_key, 2);
  return 1;
}

/* Without Lua, if the key function has a path. */
static enum sip_event_key find_key(lua_State *L, const struct sip_flow *flow,
                                   const struct sip_event *event, struct sip_slice *key)
{
  enum sip_event_key found = SIP_EVENT_KEY_UNKNOWN;
  int top = lua_gettop(L);

  lua_rawgeti(L, LUA_REGISTRYINDEX, flow->spec.keyer_ref);
  if (lua_tocfunction(L, -1) == l_key && lua_getupvalue(L, -1, 1) != NULL) {
    const struct path *path = lua_touserdata(L, -1);

    found = sip_event_find_key(L, sip_flow_ops(flow), &event->record, path->keys, path->count, key);
  }
  lua_settop(L, top);
  return found;
}

/* Protected: the script's key function and a record to a string or nil. What it gives beside the
 * key is kept, so that it need not be made twice. */
static int call_keyer(lua_State *L)
{
  struct sip_flow *flow = lua_touserdata(L, 1);
  struct sip_event *event = lua_touserdata(L, 2);

  lua_rawgeti(L, LUA_REGISTRYINDEX, flow->spec.keyer_ref);
  sip_flow_push_record(L, sip_flow_ops(flow), &event->record);
  lua_call(L, 1, 2);
  if (!lua_isnil(L, -1)) {
    lua_pushvalue(L, -1);
    event->kept_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_pop(L, 1);
  return 1;
}

bool sip_flow_key_of(struct sip_flow *flow, struct sip_event *event, struct sip_slice *key)
{
  lua_State *L = sip_vm_state(flow->vm);
  enum sip_event_key found;
  struct sip_err err;

  if (!lua_checkstack(L, LUA_MINSTACK)) {
    return false;
  }
  found = find_key(L, flow, event, key);
  if (found != SIP_EVENT_KEY_UNKNOWN) {
    lua_pushnil(L); /* the value that the caller pops */
    lua_pop(L, found == SIP_EVENT_KEY_NONE);
    return found == SIP_EVENT_KEY_FOUND;
  }
  lua_pushcfunction(L, call_keyer);
  lua_pushlightuserdata(L, flow);
  lua_pushlightuserdata(L, event);
  if (sip_vm_call(flow->vm, 2, 1, &err) < 0) {
    sip_log(SIP_LOG_WARN, "flow", NULL,
            "%s partition %d offset %lld: no key, so the record's own is taken: %s",
            event->record.topic, (int)event->record.partition, (long long)event->record.offset,
            err.message);
    return false;
  }
  if (lua_type(L, -1) != LUA_TSTRING) {
    lua_pop(L, 1);
    return false;
  }
  key->data = lua_tolstring(L, -1, &key->len);
  return true;
}
