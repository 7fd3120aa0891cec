/* script_lua.c - module sipeat.core.script: what versions of a script are made of, and recalling
 * one (stdlib/versions.lua).
 *
 * loading() -> the tree of the generation that loads now, or nil. A tree has hash(), blob(),
 * release() and main(). open(blob) -> a tree | nil, message, code. recall(tree, shadow) -> the main
 * chunk of a generation of its own | nil, message, "SCRIPT"; shadow(name, env) gives what it gets
 * in place of a compiled-in module, or nil. builtin(name, env) -> the chunk of a compiled-in
 * module, to run in that environment. Loop thread. */
#include "bind/bind.h"
#include "vm/script_generation.h"
#include "vm/script_tree.h"
#include "vm/vm.h"

#include <lauxlib.h>

static int l_loading(lua_State *L)
{
  sip_generation_push_loading(L);
  return 1;
}

static int l_open(lua_State *L)
{
  size_t len;
  const char *blob = luaL_checklstring(L, 1, &len);
  struct sip_tree *tree = NULL;
  struct sip_tree **box = sip_tree_new_box(L);
  struct sip_err err = { 0 };

  if (sip_tree_unpack(&tree, blob, len, &err) < 0) {
    return sip_push_err(L, &err);
  }
  *box = tree;
  return 1;
}

static int l_recall(lua_State *L)
{
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (sip_generation_recall(L, 1, 2) < 0) {
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushliteral(L, "SCRIPT");
    return 3;
  }
  return 1;
}

static int l_builtin(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);

  luaL_checktype(L, 2, LUA_TTABLE);
  return sip_generation_builtin(L, name, 2) ? 1
                                            : luaL_error(L, "no module %s is compiled in", name);
}

int sip_open_script(lua_State *L)
{
  static const luaL_Reg functions[] = { { "loading", l_loading },
                                        { "open", l_open },
                                        { "recall", l_recall },
                                        { "builtin", l_builtin },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
