/* traceback.c - tracebacks at a bounded cost. Lua's own finds the last level by search, and each
 * look at a level walks there from the top: seconds for a stack that has overflowed. */
#include "vm/state.h"

#include <lauxlib.h>

enum {
  MOST_LEVELS = 2000, /* of a stack that Lua's own describes */
  FIRST_LEVELS = 22   /* what is told of one that is deeper: as many as Lua's own tells */
};

static void add_level(lua_State *L, luaL_Buffer *out, lua_State *of, lua_Debug *at)
{
  if (lua_getinfo(of, "Slnt", at) == 0) {
    return; /* fails only on a wrong letter */
  }
  lua_pushfstring(L, "\n\t%s:", at->short_src);
  luaL_addvalue(out);
  if (at->currentline > 0) {
    lua_pushfstring(L, "%d:", at->currentline);
    luaL_addvalue(out);
  }
  if (*at->namewhat != '\0') {
    lua_pushfstring(L, " in %s '%s'", at->namewhat, at->name);
  } else if (at->linedefined <= 0) {
    lua_pushstring(L, *at->what == 'C' ? " in ?" : " in main chunk");
  } else {
    lua_pushfstring(L, " in function <%s:%d>", at->short_src, at->linedefined);
  }
  luaL_addvalue(out);
}

void sip_traceback(lua_State *L, lua_State *of, const char *message, int level)
{
  luaL_Buffer out;
  lua_Debug at;

  if (lua_getstack(of, level + MOST_LEVELS, &at) == 0) {
    luaL_traceback(L, of, message, level);
    return;
  }
  luaL_buffinit(L, &out);
  if (message != NULL) {
    luaL_addstring(&out, message);
    luaL_addchar(&out, '\n');
  }
  luaL_addstring(&out, "stack traceback:");
  for (int i = 0; i < FIRST_LEVELS && lua_getstack(of, level + i, &at) == 1; i++) {
    add_level(L, &out, of, &at);
  }
  lua_pushfstring(L, "\n\t...\t(%d levels and more below)", MOST_LEVELS - FIRST_LEVELS);
  luaL_addvalue(&out);
  luaL_pushresult(&out);
}

/* As Lua's own: debug.traceback([thread,] [message [, level]]). */
int sip_debug_traceback(lua_State *L)
{
  lua_State *of = lua_tothread(L, 1);
  int arg = of == NULL ? 1 : 2;
  const char *message = lua_tostring(L, arg);

  of = of == NULL ? L : of;
  if (message == NULL && !lua_isnoneornil(L, arg)) {
    lua_pushvalue(L, arg); /* no text: untouched */
    return 1;
  }
  sip_traceback(L, of, message, (int)luaL_optinteger(L, arg + 1, of == L ? 1 : 0));
  return 1;
}
