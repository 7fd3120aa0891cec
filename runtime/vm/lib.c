/* lib.c - the globals that scripts see: Lua's own libraries less what blocks, escapes or crashes,
 * and `require`.
 *
 * Left out: io, dofile, loadfile, package, most of os and debug, string.dump, binary chunks.
 * Changed: setmetatable refuses __gc (no budget holds there) and, as all that look behind
 * metatables do, knows of lazy tables (lazy.c); xpcall does not run its handler on a stop (nor does
 * it there); coroutine.resume, close and wrap tell the watchdog what runs; debug.traceback costs
 * little on a stack that has overflowed (traceback.c). */
#include "vm/lazy.h"
#include "vm/script_files.h"
#include "vm/script_generation.h"
#include "vm/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* coroutine.resume, close and wrap: upvalue 1 is Lua's own function (resume for wrap), upvalue 2
 * (of a wrapped one) the coroutine. */
static int switched_resume(lua_State *L, lua_State *co, int nargs)
{
  struct sip_budget *budget = &sip_vm_of(L)->budget;
  lua_State *before = sip_budget_switch(budget, co);

  lua_call(L, nargs, LUA_MULTRET); /* Lua's own catches what the coroutine raises */
  (void)sip_budget_switch(budget, before);
  return lua_gettop(L);
}

static int l_resume(lua_State *L)
{
  lua_State *co = lua_tothread(L, 1);

  luaL_argexpected(L, co != NULL, 1, "coroutine");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  return switched_resume(L, co, lua_gettop(L) - 1);
}

static int l_close(lua_State *L)
{
  struct sip_budget *budget = &sip_vm_of(L)->budget;
  lua_State *co = lua_tothread(L, 1), *before;
  int status;

  luaL_argexpected(L, co != NULL, 1, "coroutine");
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  before = sip_budget_switch(budget, co);
  status = lua_pcall(L, 1, LUA_MULTRET, 0); /* Lua's own raises when the coroutine runs */
  (void)sip_budget_switch(budget, before);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static int l_wrapped(lua_State *L)
{
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  int nresults;

  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 2);
  nresults = switched_resume(L, co, lua_gettop(L) - 1);
  if (lua_toboolean(L, 1)) {
    return nresults - 1;
  }
  if (lua_type(L, 2) == LUA_TSTRING) { /* with the place of the caller, as Lua's own wrap does */
    luaL_where(L, 1);
    lua_pushvalue(L, 2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int l_wrap(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1)); /* Lua's resume */
  lua_pushvalue(L, lua_upvalueindex(2)); /* Lua's create */
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  lua_pushcclosure(L, l_wrapped, 2);
  return 1;
}

/* --- xpcall --- */

/* A message handler that is not run on a stop: it is raised in a hook, and no hook runs in there
 * that could stop the handler. Upvalue 1 is the handler. */
static int guarded_handler(lua_State *L)
{
  lua_settop(L, 1);
  if (sip_vm_of(L)->budget.account->over == SIP_OVER_NOTHING) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
  }
  return 1;
}

int sip_guard(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushcclosure(L, guarded_handler, 1);
  return 1;
}

static int xpcall_after(lua_State *L, int status, lua_KContext below)
{
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  return lua_gettop(L) - (int)below;
}

/* As Lua's own, with a handler that is guarded. One in C always returns. */
static int l_xpcall(lua_State *L)
{
  int nargs = lua_gettop(L) - 2;

  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (!lua_iscfunction(L, 2)) {
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, guarded_handler, 1);
    lua_replace(L, 2);
  }
  lua_pushboolean(L, 1); /* the first result, when there is no error */
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  return xpcall_after(L, lua_pcallk(L, nargs, LUA_MULTRET, 2, 2, xpcall_after), 2);
}

/* load(chunk, name?, mode?, env?): text only, and by no name of the program's own files. */
static int l_load(lua_State *L)
{
  const char *name = lua_tostring(L, 2);

  luaL_argcheck(L, name == NULL || strncmp(name, "@stdlib/", 8) != 0, 2,
                "a name of the program's own files");
  lua_settop(L, 4);
  lua_pushliteral(L, "t");
  lua_replace(L, 3);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (lua_isnil(L, 5)) {
    lua_settop(L, 4); /* a nil environment would be one */
  }
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static void keep_only(lua_State *L, const char *library, const char *const *names)
{
  lua_getglobal(L, library);
  lua_newtable(L);
  for (; *names != NULL; names++) {
    lua_getfield(L, -2, *names);
    lua_setfield(L, -2, *names);
  }
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  lua_setglobal(L, library);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_insert(L, -2);
  lua_setfield(L, -2, library);
  lua_pop(L, 1);
}

static void change_coroutine(lua_State *L)
{
  lua_getglobal(L, LUA_COLIBNAME);
  lua_getfield(L, -1, "resume");
  lua_pushvalue(L, -1);
  lua_getfield(L, -3, "create"); /* stack: coroutine, resume, resume, create */
  lua_pushcclosure(L, l_wrap, 2);
  lua_setfield(L, -3, "wrap");
  lua_pushcclosure(L, l_resume, 1);
  lua_setfield(L, -2, "resume");
  lua_getfield(L, -1, "close");
  lua_pushcclosure(L, l_close, 1);
  lua_setfield(L, -2, "close"); /* runs its <close> variables */
  lua_pop(L, 1);
}

/* os.time() and os.date(format) in the worker's time. Upvalue 1: Lua's own. */
static int l_os_time(lua_State *L)
{
  if (lua_isnoneornil(L, 1)) {
    lua_pushinteger(L, (lua_Integer)(sip_clock_wall_ms(&sip_vm_of(L)->clock) / 1000));
    return 1;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

static int l_os_date(lua_State *L)
{
  lua_settop(L, 2);
  if (lua_isnil(L, 1)) {
    lua_pushliteral(L, "%c");
    lua_replace(L, 1);
  }
  if (lua_isnil(L, 2)) {
    lua_pushinteger(L, (lua_Integer)(sip_clock_wall_ms(&sip_vm_of(L)->clock) / 1000));
    lua_replace(L, 2);
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

static int l_os_getenv(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);

  sip_permit(L, SIP_PERMIT_ENV, name);
  lua_pushstring(L, getenv(name));
  return 1;
}

static void change_os(lua_State *L)
{
  lua_getglobal(L, LUA_OSLIBNAME);
  lua_pushcfunction(L, l_os_getenv);
  lua_setfield(L, -2, "getenv");
  lua_getfield(L, -1, "time");
  lua_pushcclosure(L, l_os_time, 1);
  lua_setfield(L, -2, "time");
  lua_getfield(L, -1, "date");
  lua_pushcclosure(L, l_os_date, 1);
  lua_setfield(L, -2, "date");
  lua_pop(L, 1);
}

static const char *const os_names[] = { "clock", "date", "difftime", "getenv", "time", NULL };
static const char *const debug_names[] = { "traceback", "getinfo", NULL };

void sip_open_libraries(lua_State *L)
{
  static const luaL_Reg libraries[] = {
    { LUA_GNAME, luaopen_base },
    { LUA_COLIBNAME, luaopen_coroutine },
    { LUA_TABLIBNAME, luaopen_table },
    { LUA_OSLIBNAME, luaopen_os },
    { LUA_STRLIBNAME, luaopen_string },
    { LUA_MATHLIBNAME, luaopen_math },
    { LUA_UTF8LIBNAME, luaopen_utf8 },
    { LUA_DBLIBNAME, luaopen_debug },
    { NULL, NULL },
  };

  for (const luaL_Reg *library = libraries; library->func != NULL; library++) {
    luaL_requiref(L, library->name, library->func, 1);
    lua_pop(L, 1);
  }
  keep_only(L, LUA_OSLIBNAME, os_names);
  change_os(L);
  keep_only(L, LUA_DBLIBNAME, debug_names);
  lua_getglobal(L, LUA_DBLIBNAME);
  lua_pushcfunction(L, sip_debug_traceback);
  lua_setfield(L, -2, "traceback");
  lua_pop(L, 1);
  change_coroutine(L);
  lua_getglobal(L, LUA_STRLIBNAME);
  lua_pushnil(L);
  lua_setfield(L, -2, "dump");
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_setglobal(L, "dofile");
  lua_pushnil(L);
  lua_setglobal(L, "loadfile");
  lua_getglobal(L, "load");
  lua_pushcclosure(L, l_load, 1);
  lua_setglobal(L, "load");
  sip_lazy_open(L);
  lua_pushcfunction(L, l_xpcall);
  lua_setglobal(L, "xpcall");
  lua_pushnil(L);
  lua_pushcclosure(L, sip_require, 1);
  lua_setglobal(L, "require");
}

/* --- require: compiled-in modules first, so that a file cannot stand in for one --- */

static int require_after(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  /* stack: name, loaded table, result */
  if (lua_isnil(L, 3)) {
    lua_pushboolean(L, 1);
    lua_replace(L, 3);
  }
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 3);
  lua_rawset(L, 2);
  return 1;
}

/* stack: name, loaded table, function */
static int require_run(lua_State *L)
{
  lua_pushvalue(L, 1);
  lua_pushboolean(L, 0); /* false: it is being loaded */
  lua_rawset(L, 2);
  lua_pushvalue(L, 1);
  lua_callk(L, 1, 1, 0, require_after);
  return require_after(L, LUA_OK, 0);
}

/* Looks `name` (index 1) up in the table at index 2. True: the module is on the stack. */
static bool require_find(lua_State *L, const char *name)
{
  lua_pushvalue(L, 1);
  if (lua_rawget(L, 2) == LUA_TNIL) {
    lua_pop(L, 1);
    return false;
  }
  if (lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1)) {
    luaL_error(
      L, "module '%s' requires itself, directly or through others, or failed to load before", name);
  }
  return true;
}

/* What a generation gets in place of a compiled-in module, on the stack; false, and nothing: it
 * gets the module. Stack: name. */
static bool require_shadow(lua_State *L, int generation, const char *name)
{
  if (lua_isnil(L, generation) || lua_getfield(L, generation, "shadow") == LUA_TNIL) {
    lua_settop(L, 1);
    return false;
  }
  lua_getfield(L, generation, "loaded");
  lua_replace(L, 2);
  if (require_find(L, name)) {
    return true;
  }
  lua_getfield(L, generation, "shadow");
  lua_pushvalue(L, 1);
  lua_getfield(L, generation, "env");
  lua_call(L, 2, 1);
  if (lua_isnil(L, -1)) {
    lua_settop(L, 1);
    return false;
  }
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -2);
  lua_rawset(L, 2);
  return true;
}

int sip_require(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);

  lua_settop(L, 1);
  if (require_shadow(L, lua_upvalueindex(1), name)) {
    return 1;
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (require_find(L, name)) {
    return 1;
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (lua_getfield(L, 3, name) == LUA_TFUNCTION) {
    lua_remove(L, 3);
    return require_run(L);
  }
  lua_settop(L, 2);
  if (sip_generation_builtin(L, name, 0)) {
    return require_run(L);
  }
  lua_settop(L, 1);
  if (lua_isnil(L, lua_upvalueindex(1))) {
    return luaL_error(L, "module '%s' is not compiled in", name);
  }
  lua_getfield(L, lua_upvalueindex(1), "loaded");
  if (require_find(L, name)) {
    return 1;
  }
  sip_script_load_module(L, lua_upvalueindex(1), name); /* pushes the chunk, or raises */
  return require_run(L);
}
