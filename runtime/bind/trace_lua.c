/* trace_lua.c - module sipeat.core.trace: the trace that the running task works in.
 *
 * A context is two texts, as the headers traceparent and tracestate have them; the second may be
 * nil. start(ratio, parent_based) switches tracing on in this worker; stop() off.
 *   begin(parent?, state?, keep?)  works in that trace from now on, or in a new one when there is
 *                           none or it is malformed -> is it recorded; `keep`: see core/trace.h
 *   enter()                 a span below the context becomes the context -> trace id, id of its
 *                           parent or nil, its own id, wall ns, monotonic ns; nothing, and nothing
 *                           changed, when the work is not recorded
 *   set(parent?, state?)    the context as it was before, as current gave it; nil: none
 *   current() -> parent, state | nothing      headers() -> the same, of what has a span
 *   put(span): see trace_encode_lua.c
 *   recording() -> boolean   valid(text) -> boolean   now() -> wall ns, monotonic ns
 * Spans wait in C until somebody fetches them (core/spans.h):
 *   export(f)  f() is called when some are worth being fetched; nil: all are thrown away
 *   take() -> list of texts, how many were dropped | nothing: there are none, and the next one is
 *             told at once
 *   each(on)   spans of events are made in Lua, too, where somebody looks at them
 * All but start, stop and valid, and these three, do nothing outside of a task. Loop thread. */
#include "bind/trace_lua.h"
#include "bind/bind.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/trace.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

static const char exporter_key; /* its address: of the function in the registry */

static int push_context(lua_State *L, const struct sip_trace *trace)
{
  lua_pushlstring(L, trace->parent, SIP_TRACE_BYTES);
  if (trace->state_len == 0) {
    return 1;
  }
  lua_pushlstring(L, trace->state, trace->state_len);
  return 2;
}

static struct sip_slice slice_of(lua_State *L, int arg)
{
  struct sip_slice slice = { NULL, 0 };

  slice.data = luaL_optlstring(L, arg, NULL, &slice.len);
  return slice;
}

static const struct sip_trace *current(lua_State *L)
{
  const struct sip_task *task = sip_task_current(L);

  return task == NULL ? NULL : sip_task_trace(task);
}

static int l_start(lua_State *L)
{
  struct sip_vm *vm = sip_vm_of(L);
  lua_Number ratio = luaL_checknumber(L, 1);

  luaL_argcheck(L, ratio >= 0 && ratio <= 1, 1, "from 0 to 1");
  if (sip_tracer_start(sip_vm_tracer(vm), sip_vm_random(vm), ratio, lua_toboolean(L, 2)) < 0) {
    return luaL_error(L, "no random numbers");
  }
  return 0;
}

static int l_stop(lua_State *L)
{
  sip_vm_tracer(sip_vm_of(L))->on = false;
  return 0;
}

static int l_begin(lua_State *L)
{
  struct sip_slice parent = slice_of(L, 1), state = slice_of(L, 2);
  struct sip_task *task = sip_task_current(L);
  struct sip_trace *trace;

  if (task == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  trace = sip_tracer_begin(sip_vm_tracer(sip_vm_of(L)), &parent, &state, lua_toboolean(L, 3));
  sip_task_set_trace(task, trace);
  lua_pushboolean(L, trace != NULL && trace->sampled);
  return 1;
}

static int push_now(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)sip_clock_machine_ns());
  lua_pushinteger(L, (lua_Integer)uv_hrtime());
  return 2;
}

static int l_now(lua_State *L)
{
  return push_now(L);
}

void sip_trace_push_ids(lua_State *L, const struct sip_trace *trace)
{
  lua_pushlstring(L, trace->parent + SIP_TRACE_ID_AT, SIP_TRACE_ID_BYTES);
  if (trace->has_span) {
    lua_pushlstring(L, trace->parent + SIP_TRACE_SPAN_AT, SIP_TRACE_SPAN_BYTES);
  } else {
    lua_pushnil(L);
  }
}

static int l_enter(lua_State *L)
{
  const struct sip_trace *trace = current(L);
  char span[SIP_TRACE_SPAN_BYTES];
  struct sip_trace *child;

  if (trace == NULL || !trace->sampled) {
    return 0;
  }
  sip_trace_push_ids(L, trace);
  sip_tracer_span(sip_vm_tracer(sip_vm_of(L)), span);
  lua_pushlstring(L, span, sizeof span);
  child = sip_trace_child(trace, span);
  if (child == NULL) {
    return luaL_error(L, "no memory for a span");
  }
  sip_task_set_trace(sip_task_current(L), child);
  return 3 + push_now(L);
}

static int l_set(lua_State *L)
{
  struct sip_slice parent = slice_of(L, 1), state = slice_of(L, 2);
  struct sip_task *task = sip_task_current(L);
  struct sip_trace *trace = NULL;

  if (task == NULL) {
    return 0;
  }
  if (parent.data != NULL) {
    bool sampled = parent.len == SIP_TRACE_BYTES && parent.data[SIP_TRACE_BYTES - 1] == '1';

    trace = sip_trace_new(&parent, &state, sampled);
  }
  sip_task_set_trace(task, trace);
  return 0;
}

static int l_current(lua_State *L)
{
  const struct sip_trace *trace = current(L);

  return trace == NULL ? 0 : push_context(L, trace);
}

static int l_headers(lua_State *L)
{
  const struct sip_trace *trace = current(L);

  return trace == NULL || !trace->has_span ? 0 : push_context(L, trace);
}

static int l_recording(lua_State *L)
{
  const struct sip_trace *trace = current(L);

  lua_pushboolean(L, trace != NULL && trace->sampled);
  return 1;
}

/* --- spans that wait --- */

static struct sip_spans *spans_of(lua_State *L)
{
  return &sip_vm_tracer(sip_vm_of(L))->spans;
}

void sip_trace_announce(lua_State *L, uint64_t now_ns)
{
  struct sip_spans *spans = spans_of(L);

  if (!sip_spans_due(spans, now_ns)) {
    return;
  }
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &exporter_key) == LUA_TFUNCTION &&
      lua_pcall(L, 0, 0, 0) == LUA_OK) {
    return;
  }
  sip_log(SIP_LOG_WARN, "trace", NULL, "spans wait: %s",
          lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "nobody fetches them");
  lua_pop(L, 1);
  spans->idle = false; /* it is told again when there are many */
}

static int l_export(lua_State *L)
{
  struct sip_spans *spans = spans_of(L);

  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
  }
  lua_settop(L, 1);
  spans->wanted = !lua_isnil(L, 1);
  spans->idle = true;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &exporter_key);
  return 0;
}

static int l_take(lua_State *L)
{
  struct sip_spans *spans = spans_of(L);
  size_t count = spans->count;

  spans->idle = count == 0 && spans->dropped == 0;
  if (spans->idle) {
    return 0;
  }
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    struct sip_slice text = sip_spans_at(spans, i);

    lua_pushlstring(L, text.data, text.len);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushinteger(L, (lua_Integer)spans->dropped);
  sip_spans_clear(spans);
  return 2;
}

static int l_each(lua_State *L)
{
  sip_vm_tracer(sip_vm_of(L))->in_lua = lua_toboolean(L, 1);
  return 0;
}

static int l_valid(lua_State *L)
{
  size_t len = 0;
  const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;

  lua_pushboolean(L, sip_trace_is_parent(text, len));
  return 1;
}

int sip_open_trace(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "start", l_start },
    { "stop", l_stop },
    { "begin", l_begin },
    { "enter", l_enter },
    { "set", l_set },
    { "current", l_current },
    { "headers", l_headers },
    { "recording", l_recording },
    { "valid", l_valid },
    { "now", l_now },
    { "put", sip_trace_l_put },
    { "export", l_export },
    { "take", l_take },
    { "each", l_each },
    { NULL, NULL },
  };

  luaL_newlib(L, functions);
  return 1;
}
