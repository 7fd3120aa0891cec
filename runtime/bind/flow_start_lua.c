/* flow_start_lua.c - the first run of an event's handler, in the way that costs least.
 *
 * starter(handlers, full, ended, caught, lanes?) -> start(number, event?, ctx?), for the engine
 * (see flow_ticket_lua.c). handlers: type -> function. An event of such a type, while lanes.count
 * is 0, goes to its handler at once; when that ends well and has asked for nothing that the flow
 * must know of, start answers true. Everything else is Lua's: full(number, event, ctx) is start for
 * all other events, and ended(number, ctx, ok, first, second, third) answers for a handler that
 * raised what caught(error) made of it, or whose results need a look.
 *
 * An event that is recorded has a span (flow/span.c): begin_span(number) -> does it, and
 * end_span(number, event). Loop thread. */
#include "bind/flow_lua.h"
#include "bind/trace_lua.h"
#include "core/trace.h"
#include "flow/flow.h"
#include "vm/task.h"

#include <lauxlib.h>
#include <stdbool.h>

enum { HANDLERS = 1, FULL, ENDED, CAUGHT, LANES, UPVALUES = LANES }; /* upvalues */
enum { TICKET = 1, EVENT, CONTEXT, HANDLER, RESULTS };               /* places in the stack */

static int start_done(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L);
}

/* Whether the results are no failure, as far as that is plain, and the ctx has no job. */
static bool went_well(lua_State *L)
{
  int first = lua_type(L, RESULTS); /* LUA_TNONE without results */
  bool well;

  if (first == LUA_TTABLE ||
      (first != LUA_TNONE && !lua_toboolean(L, RESULTS) && !lua_isnoneornil(L, RESULTS + 1))) {
    return false;
  }
  well = lua_rawgeti(L, CONTEXT, SIP_FLOW_CONTEXT_TICKET) != LUA_TNIL;
  lua_pop(L, 1);
  return well;
}

static struct sip_slice field_of(lua_State *L, int table, const char *name)
{
  struct sip_slice text = { NULL, 0 };

  lua_pushstring(L, name);
  if (lua_rawget(L, table) == LUA_TSTRING) {
    text.data = lua_tolstring(L, -1, &text.len);
  }
  lua_pop(L, 1); /* the event holds it */
  return text;
}

/* The event of the ticket at index 1, if it has a span or may have one. */
static struct sip_event *event_of(lua_State *L)
{
  const struct sip_engine *engine = sip_flow_lua_find(L);

  return engine == NULL || !lua_isinteger(L, TICKET)
           ? NULL
           : sip_ticket_event(&engine->tickets, (uint64_t)lua_tointeger(L, TICKET));
}

/* Stack: ticket, event table, … */
static void end_span(lua_State *L)
{
  struct sip_event *event = event_of(L);

  if (event != NULL && event->span != NULL && lua_istable(L, EVENT)) {
    sip_event_end_span(event, field_of(L, EVENT, "id"), field_of(L, EVENT, "type"));
    sip_trace_announce(L, event->span_wall_ns + (uv_hrtime() - event->span_began_ns));
  }
}

static bool begin_span(lua_State *L)
{
  struct sip_event *event = event_of(L);

  return event != NULL && sip_event_begin_span(event);
}

static int l_begin_span(lua_State *L)
{
  lua_pushboolean(L, begin_span(L));
  return 1;
}

static int l_end_span(lua_State *L)
{
  lua_settop(L, EVENT);
  end_span(L);
  return 0;
}

/* Whether it is recorded, which takes spans. */
static bool is_recorded(lua_State *L)
{
  const struct sip_task *task = sip_task_current(L);
  const struct sip_trace *trace = task == NULL ? NULL : sip_task_trace(task);

  return trace != NULL && trace->sampled;
}

static int start_ended(lua_State *L, int status, lua_KContext context)
{
  bool ok = status == LUA_OK || status == LUA_YIELD;

  if (ok && went_well(L)) {
    if (context != 0) {
      end_span(L);
    }
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_settop(L, RESULTS + 2);
  lua_pushvalue(L, TICKET);
  lua_replace(L, EVENT);
  lua_pushvalue(L, lua_upvalueindex(ENDED));
  lua_replace(L, TICKET);
  lua_pushboolean(L, ok);
  lua_replace(L, HANDLER); /* stack: ended, number, ctx, ok, first, second, third */
  lua_callk(L, RESULTS + 1, LUA_MULTRET, 0, start_done);
  return lua_gettop(L);
}

/* Pushes the handler of the event, if it may run now; else nil. */
static void push_handler(lua_State *L, bool recorded)
{
  bool free = lua_isnil(L, lua_upvalueindex(LANES));

  if (!free) {
    lua_getfield(L, lua_upvalueindex(LANES), "count");
    free = lua_tointeger(L, -1) == 0;
    lua_pop(L, 1);
  }
  if (free && lua_istable(L, EVENT) && (!recorded || begin_span(L))) {
    lua_pushliteral(L, "type");
    lua_rawget(L, EVENT);
    (void)lua_rawget(L, lua_upvalueindex(HANDLERS));
  } else {
    lua_pushnil(L);
  }
}

static int l_start(lua_State *L)
{
  bool recorded = is_recorded(L);

  lua_settop(L, CONTEXT);
  push_handler(L, recorded);
  if (lua_isnil(L, -1)) {
    lua_pushvalue(L, lua_upvalueindex(FULL));
    lua_replace(L, HANDLER);
    lua_insert(L, TICKET);
    lua_callk(L, CONTEXT, LUA_MULTRET, 0, start_done);
    return lua_gettop(L);
  }
  lua_pushvalue(L, lua_upvalueindex(CAUGHT));
  lua_insert(L, HANDLER); /* the message handler stays below the call */
  lua_pushvalue(L, EVENT);
  lua_pushvalue(L, CONTEXT);
  return start_ended(L, lua_pcallk(L, 2, LUA_MULTRET, HANDLER, recorded, start_ended), recorded);
}

void sip_flow_span_functions(lua_State *L)
{
  static const luaL_Reg functions[] = { { "begin_span", l_begin_span },
                                        { "end_span", l_end_span },
                                        { NULL, NULL } };

  luaL_setfuncs(L, functions, 0);
}

int sip_flow_l_starter(lua_State *L)
{
  luaL_checktype(L, HANDLERS, LUA_TTABLE);
  for (int i = FULL; i <= CAUGHT; i++) {
    luaL_checktype(L, i, LUA_TFUNCTION);
  }
  lua_settop(L, UPVALUES);
  lua_pushcclosure(L, l_start, UPVALUES);
  return 1;
}
