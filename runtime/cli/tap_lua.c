/* tap_lua.c - the attempts of this process's flows for stdlib/service_tap.lua.
 *
 * tap() -> watch, or nothing for want of memory; watch:take() -> {at_ms, ms, outcome, group, type,
 * topic, partition, offset, id?, key?, why?}…, missed; watch:close(). Loop thread. */
#include "cli/tap_lua.h"

#include "cli/push.h"
#include "flow/tap.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { TAKE = 64 };

static const char WATCH[] = "sipeat.watch";

struct watch {
  struct sip_tap *tap; /* borrowed from the host, which outlives the state */
  uint64_t cursor;
  struct sip_tap_entry entries[TAKE];
};

static int watch_gc(lua_State *L)
{
  struct watch **box = luaL_checkudata(L, 1, WATCH);

  if (*box != NULL) {
    sip_tap_close((*box)->tap);
    free(*box);
    *box = NULL;
  }
  return 0;
}

static void push_entry(lua_State *L, const struct sip_tap_entry *entry)
{
  lua_createtable(L, 0, 12);
  lua_pushinteger(L, entry->at_ms);
  lua_setfield(L, -2, "at_ms");
  lua_pushnumber(L, (double)entry->took_ns / 1e6);
  lua_setfield(L, -2, "ms");
  sip_push_text(L, "outcome", sip_attempt_name(entry->how));
  sip_push_text(L, "group", entry->group);
  sip_push_text(L, "type", entry->type);
  sip_push_text(L, "topic", entry->topic);
  lua_pushinteger(L, entry->partition);
  lua_setfield(L, -2, "partition");
  lua_pushinteger(L, entry->offset);
  lua_setfield(L, -2, "offset");
  sip_push_text(L, "id", entry->id[0] == '\0' ? NULL : entry->id);
  sip_push_text(L, "key", entry->key[0] == '\0' ? NULL : entry->key);
  sip_push_text(L, "why", entry->why[0] == '\0' ? NULL : entry->why);
}

static int l_take(lua_State *L)
{
  struct watch *watch = *(struct watch **)luaL_checkudata(L, 1, WATCH);
  uint64_t missed = 0;
  size_t count;

  if (watch == NULL) {
    return luaL_error(L, "the watch is closed");
  }
  count = sip_tap_take(watch->tap, &watch->cursor, watch->entries, TAKE, &missed);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    push_entry(L, &watch->entries[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushinteger(L, (lua_Integer)missed);
  return 2;
}

int sip_push_tap(lua_State *L, struct sip_tap *tap)
{
  static const luaL_Reg methods[] = { { "take", l_take }, { "close", watch_gc }, { NULL, NULL } };
  struct watch **box = sip_box_class(L, WATCH, watch_gc, methods);
  struct watch *watch = calloc(1, sizeof *watch);

  if (watch == NULL || sip_tap_open(tap, &watch->cursor) < 0) {
    free(watch);
    return 0;
  }
  watch->tap = tap;
  *box = watch;
  return 1;
}
