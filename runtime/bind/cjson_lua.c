/* cjson_lua.c - module "cjson": lua-cjson as scripts know it, which takes lazy tables too.
 *
 * lua-cjson reads tables behind their metatables, so they are filled before. Nothing of ours uses
 * it: sipeat.json is exact where it is not. Loop thread. */
#include "bind/bind.h"
#include "vm/lazy.h"

#include <lauxlib.h>
#include <lua-cjson.h>

enum { DEPTH = 1000 }; /* lua-cjson's own limit */

/* Fills the value on the top of the stack and all that is in it. */
static void fill_all(lua_State *L, int depth)
{
  if (lua_type(L, -1) != LUA_TTABLE) {
    return;
  } else if (depth == DEPTH) {
    luaL_error(L, "Cannot serialise, excessive depth (%d)", depth + 1);
  }
  luaL_checkstack(L, 4, "cjson");
  sip_lazy_fill(L, -1);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    fill_all(L, depth + 1);
    lua_pop(L, 1);
  }
}

/* encode(value): upvalue 1 is lua-cjson's. */
static int l_encode(lua_State *L)
{
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  fill_all(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

static int l_new(lua_State *L);

/* The module is on the top of the stack. */
static void adapt(lua_State *L)
{
  lua_getfield(L, -1, "encode");
  lua_pushcclosure(L, l_encode, 1);
  lua_setfield(L, -2, "encode");
  lua_getfield(L, -1, "new");
  lua_pushcclosure(L, l_new, 1);
  lua_setfield(L, -2, "new");
}

/* new(): upvalue 1 is lua-cjson's. */
static int l_new(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 0, 1);
  adapt(L);
  return 1;
}

int sip_open_cjson(lua_State *L)
{
  lua_pushcfunction(L, luaopen_cjson);
  lua_call(L, 0, 1);
  adapt(L);
  return 1;
}
