/* flow_start_lua.c - the first run of an event's handler, in the way that costs least.
 *
 * starter(handlers, full, ended, caught, lanes?) -> start(number, event?, ctx?), for the engine
 * (see flow_ticket_lua.c), which has it make the event and the ctx by itself. handlers: type ->
 * function. An event of such a type, while lanes.count is 0, goes to its handler at once; when that
 * ends well and has asked for nothing that the flow must know of, start answers true. Everything
 * else is Lua's: full(number, event, ctx) is start for all other events, and ended(number, ctx, ok,
 * first, second, third) answers for a handler that raised what caught(error) made of it, or whose
 * results need a look.
 *
 * An event that is recorded has a span (flow/span.c): begin_span(number) -> does it, and
 * end_span(number, event). Loop thread. */
#include "bind/event_lua.h"
#include "bind/flow_lua.h"
#include "bind/trace_lua.h"
#include "core/trace.h"
#include "flow/flow.h"
#include "vm/task.h"

#include <lauxlib.h>
#include <stdbool.h>

enum { HANDLERS = 1, FULL, ENDED, CAUGHT, LANES, COUNT, TYPE, ID, UPVALUES = ID }; /* upvalues */

/* Places in the stack. The engine calls with the first three: ARGUMENT is the event as a light
 * userdata. Somebody else gives ticket, event and ctx, which are put to their places. HANDLER is
 * what is told of errors; the function above it leaves its results. */
enum { TICKET = 1, ARGUMENT, CLASS, EVENT, CONTEXT, HANDLER, RESULTS };

/* The context of this continuation is where the results begin. */
static int start_done(lua_State *L, int status, lua_KContext results)
{
  (void)status;
  return lua_gettop(L) - (int)results + 1;
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

/* The ticket is at index 1, the event's table at `table`. */
static void end_span(lua_State *L, int table)
{
  struct sip_event *event = event_of(L);

  if (event != NULL && event->span != NULL && lua_istable(L, table)) {
    sip_event_end_span(event, field_of(L, table, "id"), field_of(L, table, "type"));
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
  lua_settop(L, 2);
  end_span(L, 2);
  return 0;
}

/* Whether it is recorded, which takes spans. */
static bool is_recorded(lua_State *L)
{
  const struct sip_task *task = sip_task_current(L);
  const struct sip_trace *trace = task == NULL ? NULL : sip_task_trace(task);

  return trace != NULL && trace->sampled;
}

static int start_ended(lua_State *L, int status, lua_KContext recorded)
{
  enum { LOOKED_AT = 3, ENDED_ARGS = 3 + LOOKED_AT, END = RESULTS + LOOKED_AT };
  bool ok = status == LUA_OK || status == LUA_YIELD;

  if (ok && went_well(L)) {
    if (recorded != 0) {
      end_span(L, EVENT);
    }
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_settop(L, END - 1);
  lua_pushvalue(L, lua_upvalueindex(ENDED));
  lua_pushvalue(L, TICKET);
  lua_pushvalue(L, CONTEXT);
  lua_pushboolean(L, ok);
  for (int i = 0; i < LOOKED_AT; i++) {
    lua_pushvalue(L, RESULTS + i);
  }
  lua_callk(L, ENDED_ARGS, LUA_MULTRET, END, start_done);
  return start_done(L, LUA_OK, END);
}

/* A field of an event's table: its name is an upvalue. @return its type */
static int push_field(lua_State *L, int name)
{
  lua_pushvalue(L, lua_upvalueindex(name));
  return lua_rawget(L, EVENT);
}

/* The ctx of an event that has no job. */
static void push_context(lua_State *L, const struct sip_flow *flow)
{
  enum { FIELDS = 5 }; /* of one that gets a job */

  lua_createtable(L, 2, flow->has_jobs ? FIELDS : 0);
  lua_pushvalue(L, TICKET);
  lua_rawseti(L, -2, SIP_FLOW_CONTEXT_TICKET);
  lua_pushvalue(L, EVENT);
  lua_rawseti(L, -2, SIP_FLOW_CONTEXT_EVENT);
  lua_pushvalue(L, CLASS);
  lua_setmetatable(L, -2);
}

/* Makes the event that the engine calls for, and its ctx, and takes its id down for the log.
 * @return whether it is of a usual shape */
static bool open_event(lua_State *L, struct sip_event *event)
{
  struct sip_slice id;
  bool is_usual;

  sip_task_spare(L, true);
  is_usual = sip_event_push(L, sip_flow_ops(event->flow), &event->record);
  if (is_usual && !lua_isnil(L, CLASS)) {
    push_context(L, event->flow);
  } else {
    lua_settop(L, CONTEXT);
  }
  sip_task_spare(L, false);
  sip_event_opened(event);
  event->was_read = is_usual;
  if (is_usual && push_field(L, ID) == LUA_TSTRING) {
    id.data = lua_tolstring(L, -1, &id.len);
    sip_task_set_event_id(event->task, id.data, id.len);
  }
  lua_settop(L, CONTEXT);
  return is_usual;
}

/* Puts what somebody else than the engine has given to its places. @return whether there is an
 * event */
static bool order_arguments(lua_State *L)
{
  lua_settop(L, CLASS); /* ticket, event, ctx */
  lua_settop(L, CONTEXT);
  lua_rotate(L, ARGUMENT, 2);
  return lua_istable(L, EVENT);
}

/* Pushes the type of the event; the handler's run is measured under its name. */
static void push_type(lua_State *L, struct sip_event *event)
{
  struct sip_slice type;

  if (push_field(L, TYPE) == LUA_TSTRING && event != NULL) {
    type.data = lua_tolstring(L, -1, &type.len);
    sip_event_note_type(event, type.data, type.len, sip_task_began_ns(event->task));
  }
}

/* Whether no event waits that this one would have to wait for. */
static bool is_free(lua_State *L)
{
  bool free = true;

  if (!lua_isnil(L, lua_upvalueindex(LANES))) {
    lua_pushvalue(L, lua_upvalueindex(COUNT));
    (void)lua_rawget(L, lua_upvalueindex(LANES));
    free = lua_tointeger(L, -1) == 0;
    lua_pop(L, 1);
  }
  return free;
}

static int start_full(lua_State *L)
{
  lua_settop(L, CONTEXT);
  lua_pushvalue(L, lua_upvalueindex(FULL));
  lua_pushvalue(L, TICKET);
  lua_pushvalue(L, EVENT);
  lua_pushvalue(L, CONTEXT);
  lua_callk(L, 3, LUA_MULTRET, CONTEXT + 1, start_done);
  return start_done(L, LUA_OK, CONTEXT + 1);
}

static int l_start(lua_State *L)
{
  bool recorded = is_recorded(L);
  struct sip_event *event = lua_touserdata(L, ARGUMENT);

  if (!(event != NULL ? open_event(L, event) : order_arguments(L))) {
    return start_full(L);
  }
  lua_pushvalue(L, lua_upvalueindex(CAUGHT));
  push_type(L, event);
  if (!is_free(L) || (recorded && !begin_span(L)) ||
      lua_rawget(L, lua_upvalueindex(HANDLERS)) == LUA_TNIL) {
    return start_full(L);
  }
  lua_pushvalue(L, EVENT);
  lua_pushvalue(L, CONTEXT);
  return start_ended(L, lua_pcallk(L, 2, LUA_MULTRET, HANDLER, recorded, start_ended), recorded);
}

bool sip_flow_is_start(lua_State *L)
{
  return lua_tocfunction(L, -1) == l_start;
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
  lua_settop(L, LANES);
  lua_pushliteral(L, "count");
  lua_pushliteral(L, "type");
  lua_pushliteral(L, "id");
  lua_pushcclosure(L, l_start, UPVALUES);
  return 1;
}
