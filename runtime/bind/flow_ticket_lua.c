/* flow_ticket_lua.c - what an event looks like to the script's side: record, ticket, verdict.
 *
 * start(number, event?, ctx?) and dispatch(record, ticket, kept, trouble) run in a task of their
 * own: start, when there is one, for the first time, and dispatch when something was kept or went
 * wrong. Without an event the record has to be read by the script; ctx = {number, event}
 * with the flow's `context` as its metatable. record = {topic, partition,
 * offset, timestamp, timestamp_type, key?, value?, headers = {{name, value?}…}}; once something is
 * kept, it is nil and `kept` is what was kept. trouble (when its task died, or an output was not
 * written) = {kind = "crash" | "output", code, message, was_read, outputs = bits, lost = {{number,
 * topic, key?, value?, headers?}…}, unknown}: the outputs that failed; `unknown`: and more of them.
 * In a transactional flow nothing that it emitted is there then; when that is not for its own
 * trouble, the kind is "aborted". They answer
 *   true, dead, notify   the event is terminal once its outputs are acknowledged; then, with
 *                        `notify`, finish(kept) is called in a task of its own; drop(kept) when it
 *                        leaves without an end and something is kept
 *   milliseconds         it wants to be dispatched again after them; others of its key wait
 *   anything else        it was stopped: the event stays uncommitted
 *
 * ticket:emit(topic, key?, value?, headers?, partition?, timestamp?, again?) -> true, number | nil,
 * message, code. Waits while the producer's queue is full. Outputs count from 1 on; `again` is the
 * number of the one that is repeated. Bit n of `outputs` stands for output n + 1, bit 7 for all
 * from 8 on. ticket:has_emitted() -> were there any. ticket:keep(value), ticket:stopped() -> was
 * the task asked to stop. For the metrics: ticket:handles(type) as the handler is called, where
 * start did not read the event; ticket:ends_as("parked" | "left"); ticket:fails(message).
 * ticket:span() takes over the span of the attempt.
 *
 * A ticket is an object, and a number in the way that costs least: emit(number, …) is as
 * ticket:emit; open(number) -> record, ticket, monotonic ms of the start makes what dispatch gets.
 * emitter(f) -> the method emit of a ctx, which leaves to f what is not simple. starter and
 * keyer: see flow_start_lua.c and flow_key_lua.c. Loop thread. */
#include "bind/flow_lua.h"
#include "bind/json_lua.h"
#include "bind/trace_lua.h"
#include "core/log.h"
#include "core/trace.h"
#include "flow/flow.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

enum { HEADER_LIMIT = 1024, STACK_HEADERS = 32 };
static const char TICKET[] = "sipeat.flow.ticket";

/* --- from an event to Lua --- */

static void push_slice(lua_State *L, const struct sip_slice *slice)
{
  if (slice->data == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, slice->data, slice->len);
  }
}

static void push_header(lua_State *L, const struct sip_header *header)
{
  lua_createtable(L, 2, 0);
  lua_pushstring(L, header->name);
  lua_rawseti(L, -2, 1);
  push_slice(L, &header->value);
  lua_rawseti(L, -2, 2);
}

static void push_header_list(lua_State *L, const struct sip_header *headers, size_t count)
{
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    push_header(L, &headers[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_headers(lua_State *L, const struct sip_source_ops *ops,
                         const struct sip_record *record)
{
  size_t count = ops->header_count(record);

  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(record, i);

    push_header(L, &header);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

void sip_flow_push_record(lua_State *L, const struct sip_source_ops *ops,
                          const struct sip_record *record)
{
  lua_createtable(L, 0, 8);
  lua_pushstring(L, record->topic);
  lua_setfield(L, -2, "topic");
  lua_pushinteger(L, record->partition);
  lua_setfield(L, -2, "partition");
  lua_pushinteger(L, record->offset);
  lua_setfield(L, -2, "offset");
  lua_pushinteger(L, record->timestamp_ms);
  lua_setfield(L, -2, "timestamp");
  lua_pushstring(L, record->log_append_time ? "LogAppendTime" : "CreateTime");
  lua_setfield(L, -2, "timestamp_type");
  push_slice(L, &record->key);
  lua_setfield(L, -2, "key");
  push_slice(L, &record->value);
  lua_setfield(L, -2, "value");
  push_headers(L, ops, record);
  lua_setfield(L, -2, "headers");
}

static void push_lost(lua_State *L, const struct sip_event *event)
{
  lua_Integer count = 0;

  lua_newtable(L);
  for (struct sip_list *node = event->lost.next; node != &event->lost; node = node->next) {
    const struct sip_lost_output *lost = SIP_CONTAINER(node, struct sip_lost_output, link);

    lua_createtable(L, 5, 0);
    lua_pushinteger(L, (lua_Integer)lost->slot + 1);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, lost->output.topic);
    lua_rawseti(L, -2, 2);
    push_slice(L, &lost->output.key);
    lua_rawseti(L, -2, 3);
    push_slice(L, &lost->output.value);
    lua_rawseti(L, -2, 4);
    if (lost->output.header_count > 0) {
      push_header_list(L, lost->output.headers, lost->output.header_count);
      lua_rawseti(L, -2, 5);
    }
    lua_rawseti(L, -2, ++count);
  }
}

static void push_trouble(lua_State *L, const struct sip_event *event)
{
  static const char *const kinds[] = { "", "output", "crash", "aborted", "held" };

  if (event->trouble == SIP_NO_TROUBLE) {
    lua_pushnil(L);
    return;
  }
  lua_createtable(L, 0, 4);
  lua_pushstring(L, kinds[event->trouble]);
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, event->why == NULL ? "UNKNOWN" : event->why->name);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, event->why == NULL ? "no memory to say why" : event->why->message);
  lua_setfield(L, -2, "message");
  lua_pushinteger(L, event->failed_outputs);
  lua_setfield(L, -2, "outputs");
  lua_pushboolean(L, event->was_read);
  lua_setfield(L, -2, "was_read");
  if (event->trouble == SIP_TROUBLE_HELD) {
    lua_pushinteger(L, event->held_after);
    lua_setfield(L, -2, "after");
  }
  push_lost(L, event);
  lua_setfield(L, -2, "lost");
  lua_pushboolean(L, event->is_lost_unknown);
  lua_setfield(L, -2, "unknown");
}

static int ticket_gc(lua_State *L)
{
  struct sip_event **box = luaL_checkudata(L, 1, TICKET);

  if (*box != NULL) {
    (*box)->box = NULL;
    *box = NULL;
  }
  return 0;
}

/* The event of the ticket at index 1. */
static struct sip_event *check_event(lua_State *L)
{
  struct sip_event *event;

  if (lua_isinteger(L, 1)) {
    const struct sip_engine *engine = sip_flow_lua_find(L);

    event =
      engine == NULL ? NULL : sip_ticket_event(&engine->tickets, (uint64_t)lua_tointeger(L, 1));
  } else {
    event = *(struct sip_event **)luaL_checkudata(L, 1, TICKET);
  }
  if (event == NULL) {
    luaL_error(L, "the event has ended: emit while its handler runs");
  }
  return event;
}

/* --- emit --- */

enum emit_argument { TOPIC = 2, KEY, VALUE, HEADERS, PARTITION, TIMESTAMP, AGAIN };

/* The headers of the table, in `few` or in a block that stays on the stack. */
static const struct sip_header *read_headers(lua_State *L, struct sip_header *few, size_t *count)
{
  struct sip_header *headers = few;

  *count = 0;
  if (lua_isnil(L, HEADERS)) {
    return NULL;
  }
  luaL_checktype(L, HEADERS, LUA_TTABLE);
  *count = (size_t)lua_rawlen(L, HEADERS);
  luaL_argcheck(L, *count <= HEADER_LIMIT, HEADERS, "more than 1024 headers");
  if (*count > STACK_HEADERS) {
    headers = lua_newuserdatauv(L, *count * sizeof *headers, 0);
  }
  for (size_t i = 0; i < *count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, HEADERS, (lua_Integer)i + 1) == LUA_TTABLE, HEADERS,
                  "a header is {name, value}");
    luaL_argcheck(L, lua_rawgeti(L, -1, 1) == LUA_TSTRING, HEADERS, "a header's name is text");
    headers[i].name = lua_tostring(L, -1); /* the table holds it */
    headers[i].value = (struct sip_slice){ NULL, 0 };
    if (lua_rawgeti(L, -2, 2) != LUA_TNIL) {
      luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, HEADERS, "a header's value is text or nil");
      headers[i].value.data = lua_tolstring(L, -1, &headers[i].value.len);
    }
    lua_pop(L, 3);
  }
  return headers;
}

struct room {
  struct sip_wait wait;
  struct sip_list link;
};

static int l_emit(lua_State *L);

static void room_cancel(struct sip_wait *wait)
{
  sip_list_remove(&SIP_CONTAINER(wait, struct room, wait)->link);
}

static int room_finish(lua_State *L, struct sip_wait *wait)
{
  if (wait->status < 0 && wait->status != UV_ETIMEDOUT) {
    return sip_push_error(L, wait->status, "emit");
  }
  lua_settop(L, AGAIN);
  return l_emit(L); /* once more: may wait again */
}

static void wake_room(struct sip_list *waiters)
{
  struct sip_list *node;

  while ((node = sip_list_shift(waiters)) != NULL) {
    sip_wake(&SIP_CONTAINER(node, struct room, link)->wait, 0);
  }
}

static int wait_for_room(lua_State *L, struct sip_engine *engine)
{
  enum { LOOK_AGAIN_MS = 100 }; /* reports of others' records make room too */
  struct room *room;

  lua_settop(L, AGAIN);
  room = lua_newuserdatauv(L, sizeof *room, 0); /* the suspended stack keeps it */
  sip_wait_init(&room->wait, room_cancel, room_finish);
  sip_list_init(&room->link);
  sip_list_push(&engine->room_waiters, &room->link);
  return sip_await(L, &room->wait, LOOK_AGAIN_MS);
}

static void read_slice(lua_State *L, int arg, struct sip_slice *out)
{
  if (!lua_isnil(L, arg)) {
    out->data = luaL_checklstring(L, arg, &out->len);
  }
}

static int l_emit(lua_State *L)
{
  struct sip_event *event = check_event(L);
  const struct sip_outlet *outlet = &event->flow->outlet;
  struct sip_header few[STACK_HEADERS];
  struct sip_output output = { 0 };
  struct sip_err err = { 0 };
  lua_Integer again;
  int rc;

  lua_settop(L, AGAIN);
  output.topic = luaL_checkstring(L, TOPIC);
  sip_permit(L, SIP_PERMIT_TOPIC, output.topic);
  read_slice(L, KEY, &output.key);
  read_slice(L, VALUE, &output.value);
  output.headers = read_headers(L, few, &output.header_count);
  output.partition = (int32_t)luaL_optinteger(L, PARTITION, -1);
  output.timestamp_ms = luaL_optinteger(L, TIMESTAMP, 0);
  again = luaL_optinteger(L, AGAIN, 0);
  luaL_argcheck(L, again >= 0 && (uint64_t)again <= event->emitted, AGAIN, "no such output");
  rc = outlet->ops->send(outlet->driver, &output, sip_event_on_report,
                         sip_event_slot(event, again == 0 ? event->emitted : (uint64_t)again - 1),
                         &err);
  if (rc == SIP_EQUEUEFULL) {
    return wait_for_room(L, event->flow->engine);
  }
  if (rc < 0) {
    return sip_push_err(L, &err);
  }
  event->outputs++;
  event->emitted += again == 0;
  lua_pushboolean(L, 1);
  lua_pushinteger(L, again == 0 ? (lua_Integer)event->emitted : again);
  return 2;
}

/* --- ctx:emit in the way that costs least --- */

enum context_argument { CONTEXT = 1, CONTEXT_HEADERS = 5 };

/* The arguments of an emit that are as they mostly are. */
struct plain {
  struct sip_output output; /* without a value of type table */
  int value;                /* its type */
};

static bool is_none_or(int type, int wanted)
{
  return type <= LUA_TNIL || type == wanted;
}

/* @return its type; a string goes into `out` */
static int read_text(lua_State *L, int index, struct sip_slice *out)
{
  int type = lua_type(L, index);

  if (type == LUA_TSTRING) {
    out->data = lua_tolstring(L, index, &out->len);
  }
  return type;
}

/* @return false: they want a closer look */
static bool read_plain(lua_State *L, struct plain *out)
{
  struct sip_slice topic;
  int key;

  if (read_text(L, TOPIC, &topic) != LUA_TSTRING || topic.len == 0 ||
      !lua_isnoneornil(L, CONTEXT_HEADERS)) {
    return false;
  }
  out->output = (struct sip_output){ .topic = topic.data, .partition = -1 };
  key = read_text(L, KEY, &out->output.key);
  out->value = read_text(L, VALUE, &out->output.value);
  return is_none_or(key, LUA_TSTRING) &&
         (is_none_or(out->value, LUA_TSTRING) || out->value == LUA_TTABLE);
}

/* The event of a ctx that has no job yet; NULL: it has. */
static struct sip_event *plain_event(lua_State *L, const struct sip_task *task)
{
  struct sip_event *event = sip_event_of(task); /* mostly it is this one */
  const struct sip_engine *engine;
  uint64_t ticket;

  if (!lua_istable(L, CONTEXT)) {
    return NULL;
  }
  ticket = lua_rawgeti(L, CONTEXT, SIP_FLOW_CONTEXT_TICKET) == LUA_TNUMBER
             ? (uint64_t)lua_tointeger(L, -1)
             : 0;
  lua_pop(L, 1);
  if (ticket == 0) {
    return NULL;
  }
  if (event == NULL || event->ticket != ticket) {
    engine = sip_flow_lua_find(L);
    event = engine == NULL ? NULL : sip_ticket_event(&engine->tickets, ticket);
  }
  return event;
}

/* Upvalue 2 of emit is the state of JSON, or NULL when that module came later. */
static bool write_json(lua_State *L, struct sip_slice *out)
{
  struct sip_json_state *state = lua_touserdata(L, lua_upvalueindex(2));

  return state != NULL && sip_json_write(L, state, VALUE, out);
}

/* The headers with which a trace goes on, from that span. */
static size_t trace_headers(const struct sip_trace *trace, const char *parent,
                            struct sip_header *out)
{
  out[0] = (struct sip_header){ "traceparent", { parent, SIP_TRACE_BYTES } };
  out[1] = (struct sip_header){ "tracestate", { trace->state, trace->state_len } };
  return trace->state_len > 0 ? 2 : 1;
}

static bool emit_plainly(lua_State *L)
{
  struct sip_tracer *tracer = sip_vm_tracer(sip_vm_of(L));
  const struct sip_task *task = sip_task_current(L);
  const struct sip_trace *trace;
  struct sip_header headers[2];
  struct sip_event *event;
  struct sip_output *output;
  struct plain plain;
  struct sip_send send;
  struct sip_err err;
  bool recorded;

  if (!read_plain(L, &plain) || (event = plain_event(L, task)) == NULL ||
      event->flow->transaction != NULL) { /* there it leaves after the handler */
    return false;
  }
  output = &plain.output;
  trace = sip_task_trace(task);
  recorded = trace != NULL && trace->sampled;
  if (recorded && tracer->in_lua) {
    return false;
  } else if (recorded) {
    sip_send_begin(&send, tracer, trace);
  }
  if (trace != NULL) {
    output->headers = headers;
    output->header_count = trace_headers(trace, recorded ? send.parent : trace->parent, headers);
  }
  if (plain.value == LUA_TTABLE && !write_json(L, &output->value)) {
    return false;
  }
  sip_permit(L, SIP_PERMIT_TOPIC, output->topic);
  if (event->flow->outlet.ops->send(event->flow->outlet.driver, output, sip_event_on_report,
                                    sip_event_slot(event, event->emitted), &err) < 0) {
    return false;
  }
  event->outputs++;
  event->emitted++;
  if (recorded) {
    sip_send_end(&send, tracer, trace, output->topic);
    sip_trace_announce(L, send.wall_ns);
  }
  return true;
}

static int after_slow_emit(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L);
}

/* ctx:emit(topic, key, value, headers). Upvalue 1 does it in every case, and what fails here is not
 * begun. */
static int l_context_emit(lua_State *L)
{
  if (emit_plainly(L)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_settop(L, CONTEXT_HEADERS);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_callk(L, CONTEXT_HEADERS, LUA_MULTRET, 0, after_slow_emit);
  return lua_gettop(L);
}

/* emitter(f) -> the method emit of a ctx; f is the one that is never in a hurry. */
static int l_emitter(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushlightuserdata(L, sip_json_state(L));
  lua_pushcclosure(L, l_context_emit, 2);
  return 1;
}

/* --- the other methods --- */

static int l_keep(lua_State *L)
{
  struct sip_event *event = check_event(L);

  luaL_checkany(L, 2);
  lua_settop(L, 2);
  luaL_unref(L, LUA_REGISTRYINDEX, event->kept_ref);
  event->kept_ref = LUA_NOREF; /* luaL_ref may throw */
  event->kept_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static int l_stopped(lua_State *L)
{
  struct sip_event **box = luaL_checkudata(L, 1, TICKET);

  lua_pushboolean(L, *box == NULL || (*box)->task == NULL || sip_task_killed((*box)->task));
  return 1;
}

/* The event's type is on top of the stack, and goes. */
static void note_type(lua_State *L, struct sip_event *event)
{
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);

  if (text != NULL) {
    sip_event_note_type(event, text, len, uv_hrtime());
  }
  lua_pop(L, 1);
}

/* The handler is called now, for an event of that type. */
static int l_handles(lua_State *L)
{
  lua_settop(L, 2);
  note_type(L, check_event(L));
  return 0;
}

/* The attempt has failed: why. */
static int l_fails(lua_State *L)
{
  struct sip_event *event = check_event(L);

  sip_event_note_failure(event, luaL_checkstring(L, 2));
  return 0;
}

/* How the attempt ends when the answer does not say so: "parked", or "left" to somebody else. */
static int l_ends_as(lua_State *L)
{
  struct sip_event *event = check_event(L);
  static const char *const names[] = { "parked", "left", NULL };

  if (luaL_checkoption(L, 2, NULL, names) == 0) {
    event->parked = true;
  } else {
    event->type = NULL;
  }
  return 0;
}

/* The span of the attempt, which is the script's from now on: trace id, id of its parent or nil,
 * its own, wall ns, monotonic ns, and what is around it. Nothing without one. */
static int l_span(lua_State *L)
{
  struct sip_event *event = check_event(L);
  const struct sip_trace *trace = event->trace, *span = event->span;

  if (span == NULL) {
    return 0;
  }
  sip_trace_push_ids(L, trace);
  lua_pushlstring(L, span->parent + SIP_TRACE_SPAN_AT, SIP_TRACE_SPAN_BYTES);
  lua_pushinteger(L, (lua_Integer)event->span_wall_ns);
  lua_pushinteger(L, (lua_Integer)event->span_began_ns);
  lua_pushlstring(L, trace->parent, SIP_TRACE_BYTES);
  lua_pushlstring(L, trace->state, trace->state_len);
  sip_event_drop_span(event);
  return 7;
}

static int l_has_emitted(lua_State *L)
{
  lua_pushboolean(L, check_event(L)->emitted > 0);
  return 1;
}

/* How many of its key wait behind it; nil when it has no key, and nobody waits. */
static int l_followers(lua_State *L)
{
  long count = sip_lane_followers(&check_event(L)->member);

  if (count < 0) {
    return 0;
  }
  lua_pushinteger(L, count);
  return 1;
}

static void push_ticket(lua_State *L, struct sip_event *event)
{
  static const luaL_Reg methods[] = { { "emit", l_emit },
                                      { "keep", l_keep },
                                      { "stopped", l_stopped },
                                      { "followers", l_followers },
                                      { "has_emitted", l_has_emitted },
                                      { "handles", l_handles },
                                      { "ends_as", l_ends_as },
                                      { "fails", l_fails },
                                      { "span", l_span },
                                      { NULL, NULL } };
  struct sip_event **box = sip_box_class(L, TICKET, ticket_gc, methods);

  if (event->box != NULL) {
    *event->box = NULL; /* of a start that failed */
  }
  *box = event;
  event->box = box;
}

static int l_open(lua_State *L)
{
  struct sip_event *event = check_event(L);

  event->flow->has_jobs = true;
  sip_flow_push_record(L, sip_flow_ops(event->flow), &event->record);
  push_ticket(L, event);
  lua_pushinteger(L, (lua_Integer)event->started_ms);
  return 3;
}

void sip_flow_ticket_functions(lua_State *L)
{
  static const luaL_Reg functions[] = { { "emit", l_emit },
                                        { "open", l_open },
                                        { "keep", l_keep },
                                        { "emitter", l_emitter },
                                        { "starter", sip_flow_l_starter },
                                        { "keyer", sip_flow_l_keyer },
                                        { NULL, NULL } };

  luaL_setfuncs(L, functions, 0);
  sip_flow_span_functions(L);
}

/* --- what the engine calls --- */

static int push_kept(lua_State *L, void *arg)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, ((struct sip_event *)arg)->kept_ref);
  return 1;
}

/* What dispatch gets. Runs protected, on the new task's coroutine. */
static int push_event(lua_State *L, void *arg)
{
  struct sip_event *event = arg;

  if (event->kept_ref == LUA_NOREF ||
      (event->flow->transaction != NULL && event->trouble != SIP_NO_TROUBLE)) {
    sip_flow_push_record(L, sip_flow_ops(event->flow),
                         &event->record); /* it may be its outputs only */
  } else {
    lua_pushnil(L);
  }
  push_ticket(L, event);
  (void)push_kept(L, event); /* nil when nothing is kept: no table has LUA_NOREF */
  push_trouble(L, event);
  return 4;
}

static void read_verdict(lua_State *L, int nresults, struct sip_event *event)
{
  int first = -nresults;

  event->verdict = SIP_VERDICT_NONE;
  if (nresults < 1) {
    return;
  }
  if (lua_type(L, first) == LUA_TNUMBER) {
    lua_Number ms = lua_tonumber(L, first);

    event->verdict = SIP_VERDICT_AGAIN;
    event->delay_ms = ms > 0 && ms < 1e12 ? (uint64_t)ms : 0;
  } else if (lua_toboolean(L, first)) {
    event->verdict =
      nresults > 1 && lua_toboolean(L, first + 1) ? SIP_VERDICT_DEAD : SIP_VERDICT_FINISHED;
    event->notify = nresults > 2 && lua_toboolean(L, first + 2);
  }
}

const struct sip_flow_binding *sip_flow_ticket_binding(void)
{
  static const struct sip_flow_binding binding = {
    .push_event = push_event,
    .push_kept = push_kept,
    .read_verdict = read_verdict,
    .key_of = sip_flow_key_of,
    .wake_room = wake_room,
  };

  return &binding;
}
