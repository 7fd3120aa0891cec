/* headers_lua.c - header fields to and from Lua. Loop thread. */
#include "http/bindings_lua.h"
#include "http/header.h"

#include <lauxlib.h>

enum { MAX_HEADERS = 256 };

static const char *separator_of(const struct sip_slice *name)
{
  if (sip_header_is(name, "set-cookie")) {
    return "\n";
  }
  return sip_header_is(name, "cookie") ? "; " : ", ";
}

void sip_push_headers(lua_State *L, const struct sip_header_list *list)
{
  struct sip_header header;
  size_t at = 0;

  lua_createtable(L, 0, list->count > 64 ? 64 : (int)list->count);
  while (sip_header_list_next(list, &at, &header)) {
    lua_pushlstring(L, header.name.data, header.name.len);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TSTRING) { /* stack: table, name, value before */
      lua_pushstring(L, separator_of(&header.name));
      lua_pushlstring(L, header.value.data, header.value.len);
      lua_concat(L, 3);
    } else {
      lua_pop(L, 1);
      lua_pushlstring(L, header.value.data, header.value.len);
    }
    lua_rawset(L, -3);
  }
}

size_t sip_check_headers(lua_State *L, int arg, const struct sip_header **out)
{
  struct sip_header *headers;
  lua_Integer count;

  *out = NULL;
  if (lua_isnoneornil(L, arg)) {
    lua_pushnil(L);
    return 0;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  count = luaL_len(L, arg);
  luaL_argcheck(L, count <= MAX_HEADERS, arg, "more than 256 headers");
  headers = lua_newuserdatauv(L, (size_t)count * sizeof *headers + 1, 0);
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, arg, i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_geti(L, -1, 1);
    lua_geti(L, -2, 2);
    headers[i].name.data = luaL_checklstring(L, -2, &headers[i].name.len);
    headers[i].value.data = luaL_checklstring(L, -1, &headers[i].value.len);
    lua_pop(L, 3); /* the pairs stay in the list */
  }
  *out = headers;
  return (size_t)count;
}
