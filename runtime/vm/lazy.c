/* lazy.c - tables that are filled when they are touched: the globals that must know of them. */
#include "vm/lazy.h"

#include <lauxlib.h>
#include <stdbool.h>

static const char fill_key; /* its address is the key of the filler in a metatable */

void sip_lazy_class(lua_State *L, lua_CFunction fill)
{
  lua_pushcfunction(L, fill);
  lua_rawsetp(L, -2, &fill_key);
}

/* Pushes the metatable and the filler of a lazy table; false, and nothing, for all else. */
static bool push_filler(lua_State *L, int index)
{
  if (!lua_getmetatable(L, index)) {
    return false;
  }
  if (lua_rawgetp(L, -1, &fill_key) == LUA_TFUNCTION) {
    return true;
  }
  lua_pop(L, 2);
  return false;
}

void sip_lazy_fill(lua_State *L, int index)
{
  index = lua_absindex(L, index);
  if (push_filler(L, index)) {
    luaL_checkstack(L, 2, NULL);
    lua_pushvalue(L, index); /* stack: metatable, filler, table */
    lua_call(L, 1, 0);
    lua_pop(L, 1);
  }
}

static int l_next(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  sip_lazy_fill(L, 1);
  if (lua_next(L, 1)) {
    return 2;
  }
  lua_pushnil(L);
  return 1;
}

static int l_rawget(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  sip_lazy_fill(L, 1);
  lua_rawget(L, 1);
  return 1;
}

static int l_rawset(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  luaL_checkany(L, 3);
  lua_settop(L, 3);
  sip_lazy_fill(L, 1);
  lua_rawset(L, 1);
  return 1;
}

static int l_rawlen(lua_State *L)
{
  int type = lua_type(L, 1);

  luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
  if (type == LUA_TTABLE) {
    sip_lazy_fill(L, 1);
  }
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
  return 1;
}

static int l_getmetatable(lua_State *L)
{
  luaL_checkany(L, 1);
  if (push_filler(L, 1) || !lua_getmetatable(L, 1)) { /* what is filled lazily has none */
    lua_pushnil(L);
    return 1;
  }
  (void)luaL_getmetafield(L, 1, "__metatable");
  return 1; /* the field, or the metatable itself */
}

static int l_setmetatable(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_type(L, 2) == LUA_TTABLE) {
    lua_pushstring(L, "__gc");
    if (lua_rawget(L, 2) != LUA_TNIL) {
      return luaL_error(L, "scripts may not set __gc; close resources with a <close> variable");
    }
    lua_pop(L, 1);
  } else if (!lua_isnil(L, 2)) {
    luaL_typeerror(L, 2, "nil or table");
  }
  sip_lazy_fill(L, 1);
  if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
    return luaL_error(L, "cannot change a protected metatable");
  }
  lua_settop(L, 2);
  lua_setmetatable(L, 1);
  return 1;
}

void sip_lazy_open(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "next", l_next },
    { "rawget", l_rawget },
    { "rawset", l_rawset },
    { "rawlen", l_rawlen },
    { "getmetatable", l_getmetatable },
    { "setmetatable", l_setmetatable },
    { NULL, NULL },
  };

  lua_pushglobaltable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
