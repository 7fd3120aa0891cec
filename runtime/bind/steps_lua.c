/* steps_lua.c - module sipeat.core.steps: the usual way of a step, which most of all steps take.
 *
 * performer(catch, succeed, handled, parent) -> perform(run, step, record): what perform of
 * stdlib/steps.lua does, for a run that has a journal and no replay's world, and a step that has
 * neither a time limit nor a lifetime and no local effect. A result with the metatable `handled`,
 * and one that is no plain data, is left to succeed(run, step, record, value); `parent` is the key
 * of a ctx under which a child of it finds it. Answers "done"; "failed" or "cancelled" and the
 * failure. Loop thread. */
#include "bind/bind.h"
#include "bind/json_lua.h"

#include <lauxlib.h>
#include <stdbool.h>

enum { RUN = 1, STEP, RECORD, ARGS, CONTEXT, BEFORE, RESULTS }; /* places in the stack */
enum upvalue {
  JSON = 1,
  CATCH,
  SUCCEED,
  HANDLED,
  PARENT,
  NAMES /* of fields, from here on; the order is that of `names` */
};
enum name {
  F_ARGS = NAMES,
  F_CTX,
  F_DATA,
  F_DATA_TEXT,
  F_DOUBT,
  F_JOURNAL,
  F_KEY,
  F_NAME,
  F_PART,
  F_PLACES,
  F_QUOTED,
  F_RESULT,
  F_RESULTS,
  F_RUN,
  F_STATUS,
  F_TEXT,
  S_DONE,
  S_INTENT,
  S_KEEP,
  S_OUTCOME,
  UPVALUES = S_OUTCOME
};
static const char *const names[] = { "args",    "ctx",    "data",    "data_text", "doubt",
                                     "journal", "key",    "name",    "part",      "places",
                                     "quoted",  "result", "results", "run",       "status",
                                     "text",    "done",   "intent",  "keep",      "outcome" };

static void push_field(lua_State *L, int table, enum name name)
{
  lua_pushvalue(L, lua_upvalueindex((int)name));
  (void)lua_rawget(L, table);
}

/* The value is on the top of the stack, and popped. */
static void set_field(lua_State *L, int table, enum name name)
{
  lua_pushvalue(L, lua_upvalueindex((int)name));
  lua_insert(L, -2);
  lua_rawset(L, table);
}

static struct sip_json_state *state_of(lua_State *L)
{
  return lua_touserdata(L, lua_upvalueindex(JSON));
}

/* Pushes the step's ctx: see context.step. */
static void push_context(lua_State *L)
{
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, lua_upvalueindex(PARENT));
  push_field(L, RUN, F_CTX);
  lua_rawset(L, -3);
  lua_pushvalue(L, lua_upvalueindex(F_KEY));
  push_field(L, RECORD, F_KEY);
  lua_rawset(L, -3);
  lua_pushvalue(L, lua_upvalueindex(F_RESULTS));
  push_field(L, RUN, F_RESULTS);
  lua_rawset(L, -3);
  push_field(L, STEP, F_PART);
  lua_setmetatable(L, -2);
}

/* Calls run.journal:keep(phase, place of the step, record, later, run.text, run.quoted). */
static void call_keep(lua_State *L, enum name phase, bool later, int results, lua_KFunction after)
{
  int top = lua_gettop(L);

  luaL_checkstack(L, LUA_MINSTACK, "steps");
  push_field(L, RUN, F_JOURNAL);
  lua_pushvalue(L, lua_upvalueindex(S_KEEP));
  (void)lua_gettable(L, top + 1);
  lua_insert(L, top + 1);
  lua_pushvalue(L, lua_upvalueindex((int)phase));
  push_field(L, RUN, F_PLACES);
  push_field(L, STEP, F_NAME);
  (void)lua_rawget(L, -2);
  lua_remove(L, -2);
  lua_pushvalue(L, RECORD);
  lua_pushboolean(L, later);
  push_field(L, RUN, F_TEXT);
  push_field(L, RUN, F_QUOTED);
  lua_callk(L, lua_gettop(L) - top - 1, results, 0, after);
}

static int after_outcome(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  lua_pushvalue(L, lua_upvalueindex(S_DONE));
  return 1;
}

static int after_succeed(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L) - RESULTS + 1;
}

/* Pushes the text of the value on the top; false and nothing when it is a matter of succeed. */
static bool push_text(lua_State *L)
{
  struct sip_slice text;

  if (lua_isnil(L, -1)) {
    lua_pushliteral(L, "null");
    return true;
  }
  if (lua_istable(L, -1) && lua_getmetatable(L, -1)) {
    bool handled = lua_rawequal(L, -1, lua_upvalueindex(HANDLED));

    lua_pop(L, 1);
    if (handled) {
      return false;
    }
  }
  if (!sip_json_write(L, state_of(L), lua_gettop(L), &text)) {
    return false;
  }
  lua_pushlstring(L, text.data, text.len);
  return true;
}

/* stack: …, whether it has succeeded, its result or the failure */
static int after_run(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  if (!lua_toboolean(L, RESULTS)) {
    lua_pushliteral(L, "failed");
    lua_replace(L, RESULTS);
    return 2;
  }
  if (!push_text(L)) {
    lua_pushvalue(L, lua_upvalueindex(SUCCEED));
    lua_replace(L, RESULTS);
    for (int i = RUN; i <= RECORD; i++) {
      lua_pushvalue(L, i);
    }
    lua_rotate(L, RESULTS + 1, 3);
    lua_callk(L, 4, LUA_MULTRET, 0, after_succeed);
    return after_succeed(L, LUA_OK, 0);
  }
  push_field(L, RUN, F_RESULTS);
  push_field(L, STEP, F_NAME);
  sip_json_push_lazy(L, state_of(L), -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  set_field(L, RECORD, F_RESULT);
  lua_pushvalue(L, lua_upvalueindex(S_DONE));
  set_field(L, RECORD, F_STATUS);
  lua_pushnil(L);
  set_field(L, RECORD, F_DOUBT);
  call_keep(L, S_OUTCOME, true, 0, after_outcome);
  return after_outcome(L, LUA_OK, 0);
}

/* stack: …, whether the intent is durable, the failure */
static int after_announce(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  if (!lua_toboolean(L, RESULTS)) {
    lua_pushvalue(L, BEFORE);
    set_field(L, RECORD, F_STATUS);
    lua_pushliteral(L, "cancelled");
    lua_replace(L, RESULTS);
    return 2;
  }
  lua_settop(L, BEFORE);
  lua_pushvalue(L, lua_upvalueindex(CATCH));
  push_field(L, STEP, F_RUN);
  lua_pushvalue(L, ARGS);
  lua_pushvalue(L, CONTEXT);
  lua_callk(L, 3, 2, 0, after_run);
  return after_run(L, LUA_OK, 0);
}

/* Pushes the step's own copy of its arguments, of which many are the event's data. */
static void push_args(lua_State *L)
{
  push_field(L, RUN, F_DATA);
  push_field(L, RUN, F_DATA_TEXT);
  if (!lua_rawequal(L, -1, ARGS) || !sip_json_push_twin(L, state_of(L), -2, ARGS)) {
    sip_json_push_lazy(L, state_of(L), ARGS);
  }
}

static int l_perform(lua_State *L)
{
  for (int i = RUN; i <= RECORD; i++) {
    luaL_checktype(L, i, LUA_TTABLE);
  }
  lua_settop(L, RECORD);
  push_field(L, RECORD, F_ARGS);
  luaL_argcheck(L, lua_type(L, ARGS) == LUA_TSTRING, RECORD, "a record with args is needed");
  push_args(L);
  lua_replace(L, ARGS);
  lua_settop(L, ARGS);
  push_context(L);
  push_field(L, RECORD, F_STATUS);
  lua_pushvalue(L, lua_upvalueindex(S_INTENT));
  set_field(L, RECORD, F_STATUS);
  call_keep(L, S_INTENT, false, 2, after_announce);
  return after_announce(L, LUA_OK, 0);
}

static int l_performer(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_checkstring(L, 4);
  lua_settop(L, 4);
  luaL_argcheck(L, sip_json_state(L) != NULL, 1, "the module json comes first");
  lua_pushlightuserdata(L, sip_json_state(L));
  lua_insert(L, 1);
  luaL_checkstack(L, LUA_MINSTACK, "steps");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_pushstring(L, names[i]);
  }
  lua_pushcclosure(L, l_perform, UPVALUES);
  return 1;
}

int sip_open_steps(lua_State *L)
{
  static const luaL_Reg functions[] = { { "performer", l_performer }, { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
