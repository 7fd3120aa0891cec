/* box.c - boxes (a userdata with one pointer) and the values of a failure. */
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>

bool sip_class_begin(lua_State *L, const char *name)
{
  if (luaL_getmetatable(L, name) != LUA_TNIL) {
    return false;
  }
  lua_pop(L, 1);
  lua_createtable(L, 0, 8);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  return true;
}

void sip_class_end(lua_State *L, const char *name)
{
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, name);
}

void *sip_box_class(lua_State *L, const char *name, lua_CFunction gc,
                    const struct luaL_Reg *methods)
{
  void **box = lua_newuserdatauv(L, sizeof *box, 1);

  *box = NULL;
  if (sip_class_begin(L, name)) {
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    if (methods != NULL) {
      luaL_setfuncs(L, methods, 0);
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); /* scripts do not see it */
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    sip_class_end(L, name);
  }
  lua_setmetatable(L, -2);
  return box;
}

void *sip_box_new(lua_State *L, const char *name, lua_CFunction gc)
{
  return sip_box_class(L, name, gc, NULL);
}

int sip_push_err(lua_State *L, const struct sip_err *err)
{
  lua_pushnil(L);
  lua_pushstring(L, err->message);
  lua_pushstring(L, err->name);
  return 3;
}

int sip_push_error(lua_State *L, int code, const char *what)
{
  char text[160];

  if (code > -5000) {
    (void)uv_strerror_r(code, text, sizeof text);
  } else {
    (void)snprintf(text, sizeof text, "%s", sip_err_name(code));
  }
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", what, text);
  lua_pushstring(L, sip_err_name(code));
  return 3;
}
