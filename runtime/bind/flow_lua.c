/* flow_lua.c - module sipeat.core.flow: how stdlib/flow.lua declares flows, and what an event looks like to it.
 *
 * register{group, topics, from, from_ms, order, concurrency, max_events, max_bytes, dispatch, key_of} throws when it
 * is wrong. dispatch(record, ticket) returns true when the event is terminal. record = {topic, partition, offset,
 * timestamp, timestamp_type, key, value, headers = {{name, value}…}, redelivery = {kind, code, message, count}};
 * ticket:keep(value) and ticket:emit(topic, key, value, headers?, partition?, timestamp?) -> true | nil, message, code. Loop thread. */
#include "bind/flow_lua.h"

#include "bind/bind.h"
#include "core/log.h"
#include "flow/flow.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

enum { TOPIC_LIMIT = 64, HEADER_LIMIT = 128 };
static const char TICKET[] = "sipeat.flow.ticket";
static const char service; /* its address is the key */

/* --- from an event to Lua --- */

static void push_slice(lua_State *L, const struct sip_slice *slice)
{
  if (slice->data == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, slice->data, slice->len);
  }
}

static void push_headers(lua_State *L, const struct sip_source_ops *ops, const struct sip_record *record)
{
  size_t count = ops->header_count(record);

  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(record, i);

    lua_createtable(L, 2, 0);
    lua_pushstring(L, header.name);
    lua_rawseti(L, -2, 1);
    push_slice(L, &header.value);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_record(lua_State *L, const struct sip_source_ops *ops, const struct sip_record *record)
{
  lua_createtable(L, 0, 9);
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

static void push_redelivery(lua_State *L, const struct sip_event *event)
{
  lua_createtable(L, 0, 4);
  lua_pushstring(L, event->redelivery == SIP_AFTER_CRASH ? "crash" : "output");
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, event->failure == NULL ? "UNKNOWN" : event->failure->name);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, event->failure == NULL ? "it failed before" : event->failure->message);
  lua_setfield(L, -2, "message");
  lua_pushinteger(L, event->redeliveries);
  lua_setfield(L, -2, "count");
  if (event->kept_ref != LUA_NOREF) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, event->kept_ref);
    lua_setfield(L, -2, "kept");
  }
}

static int ticket_gc(lua_State *L)
{
  struct sip_event **box = luaL_checkudata(L, 1, TICKET);

  if (*box != NULL) {
    (*box)->ticket = NULL;
    *box = NULL;
  }
  return 0;
}

static int l_emit(lua_State *L);
static int l_keep(lua_State *L);

/* Runs protected, on the new task's coroutine. */
static int push_event(lua_State *L, void *arg)
{
  static const luaL_Reg methods[] = { { "emit", l_emit }, { "keep", l_keep }, { NULL, NULL } };
  struct sip_event *event = arg;
  struct sip_event **box;

  push_record(L, event->flow->engine->port->source, &event->record);
  if (event->redelivery != SIP_FIRST_TIME) {
    push_redelivery(L, event);
    lua_setfield(L, -2, "redelivery");
  }
  box = sip_box_class(L, TICKET, ticket_gc, methods);
  if (event->ticket != NULL) {
    *event->ticket = NULL;
  }
  *box = event;
  event->ticket = box;
  return 2;
}

/* Protected: the keyer and a record table to a string or nil. */
static int call_keyer(lua_State *L)
{
  struct sip_flow *flow = lua_touserdata(L, 1);
  const struct sip_record *record = lua_touserdata(L, 2);

  lua_rawgeti(L, LUA_REGISTRYINDEX, flow->spec.keyer_ref);
  push_record(L, flow->engine->port->source, record);
  lua_call(L, 1, 1);
  return 1;
}

static bool key_of(struct sip_flow *flow, const struct sip_record *record, struct sip_slice *key)
{
  lua_State *L = sip_vm_state(flow->vm);
  struct sip_err err;

  if (!lua_checkstack(L, 8)) {
    return false;
  }
  lua_pushcfunction(L, call_keyer);
  lua_pushlightuserdata(L, flow);
  lua_pushlightuserdata(L, (void *)record);
  if (sip_vm_call(flow->vm, 2, 1, &err) < 0) {
    sip_log(SIP_LOG_WARN, "flow", NULL, "%s: no key from offset %lld, the record's own is taken: %s", record->topic,
            (long long)record->offset, err.message);
    return false;
  }
  if (lua_type(L, -1) != LUA_TSTRING) {
    lua_pop(L, 1);
    return false;
  }
  key->data = lua_tolstring(L, -1, &key->len);
  return true;
}

/* --- emit --- */

/* Stack of emit: ticket, topic, key, value, headers, partition, timestamp. */
static size_t read_headers(lua_State *L, struct sip_header *headers)
{
  size_t count = 0;

  if (lua_isnil(L, 5)) {
    return 0;
  }
  luaL_checktype(L, 5, LUA_TTABLE);
  for (lua_Integer i = 1; lua_rawgeti(L, 5, i) == LUA_TTABLE; i++, count++) {
    if (count == HEADER_LIMIT) {
      luaL_error(L, "emit: more than %d headers", HEADER_LIMIT);
    }
    luaL_checkstack(L, 4, NULL); /* the strings stay on the stack until the record is queued */
    lua_rawgeti(L, -1, 1);
    headers[count].name = luaL_checkstring(L, -1);
    lua_rawgeti(L, -2, 2);
    headers[count].value = (struct sip_slice){ NULL, 0 };
    if (!lua_isnil(L, -1)) {
      headers[count].value.data = luaL_checklstring(L, -1, &headers[count].value.len);
    }
  }
  lua_pop(L, 1);
  return count;
}

struct room {
  struct sip_wait wait;
  struct sip_list link;
};

static void room_cancel(struct sip_wait *wait)
{
  sip_list_remove(&SIP_CONTAINER(wait, struct room, wait)->link);
}

static int room_finish(lua_State *L, struct sip_wait *wait)
{
  if (wait->status < 0 && wait->status != UV_ETIMEDOUT) {
    return sip_push_error(L, wait->status, "emit");
  }
  lua_settop(L, 7);
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

  lua_settop(L, 7);
  room = lua_newuserdatauv(L, sizeof *room, 0);
  sip_wait_init(&room->wait, room_cancel, room_finish);
  sip_list_push(&engine->room_waiters, &room->link);
  return sip_await(L, &room->wait, LOOK_AGAIN_MS);
}

static int l_emit(lua_State *L)
{
  struct sip_event **box = luaL_checkudata(L, 1, TICKET);
  struct sip_header headers[HEADER_LIMIT];
  struct sip_output output = { .partition = -1 };
  struct sip_event *event = *box;
  struct sip_err err;
  int rc;

  lua_settop(L, 7);
  if (event == NULL) {
    return luaL_error(L, "emit: the event has ended; emit while its handler runs");
  }
  output.topic = luaL_checkstring(L, 2);
  if (!lua_isnil(L, 3)) {
    output.key.data = luaL_checklstring(L, 3, &output.key.len);
  }
  if (!lua_isnil(L, 4)) {
    output.value.data = luaL_checklstring(L, 4, &output.value.len);
  }
  output.partition = (int32_t)luaL_optinteger(L, 6, -1);
  output.timestamp_ms = luaL_optinteger(L, 7, 0);
  output.header_count = read_headers(L, headers);
  output.headers = headers;
  rc = event->flow->engine->port->producer->send(event->flow->engine->port->driver, &output, sip_event_on_report, event,
                                                 &err);
  if (rc == SIP_EQUEUEFULL) {
    return wait_for_room(L, event->flow->engine);
  }
  if (rc < 0) {
    return sip_push_err(L, &err);
  }
  event->outputs++;
  lua_pushboolean(L, 1);
  return 1;
}

/* keep(value): comes back as redelivery.kept when an output was not written. */
static int l_keep(lua_State *L)
{
  struct sip_event **box = luaL_checkudata(L, 1, TICKET);

  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (*box == NULL) {
    return luaL_error(L, "keep: the event has ended");
  }
  luaL_unref(L, LUA_REGISTRYINDEX, (*box)->kept_ref);
  (*box)->kept_ref = LUA_NOREF;
  (*box)->kept_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* --- register --- */

static lua_Integer field_integer(lua_State *L, const char *name, lua_Integer fallback, lua_Integer least)
{
  lua_Integer value;

  lua_getfield(L, 1, name);
  value = luaL_optinteger(L, -1, fallback);
  lua_pop(L, 1);
  if (value < least || value > UINT32_MAX) {
    luaL_error(L, "flow: %s is out of range", name);
  }
  return value;
}

static int field_function(lua_State *L, const char *name)
{
  if (lua_getfield(L, 1, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return LUA_NOREF;
  }
  luaL_checktype(L, -1, LUA_TFUNCTION);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void read_topics(lua_State *L, const char **topics, size_t *count)
{
  lua_getfield(L, 1, "topics"); /* stays on the stack, and with it its strings */
  luaL_checktype(L, -1, LUA_TTABLE);
  for (*count = 0; lua_rawgeti(L, -1, (lua_Integer)*count + 1) == LUA_TSTRING; (*count)++) {
    if (*count == TOPIC_LIMIT) {
      luaL_error(L, "flow: more than %d topics; use a pattern", TOPIC_LIMIT);
    }
    topics[*count] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (*count == 0) {
    luaL_error(L, "flow: no topic");
  }
}

static int l_register(lua_State *L)
{
  static const char *const orders[] = { "key", "partition", "none", NULL };
  static const char *const starts[] = { "beginning", "end", "time", NULL };
  const char *topics[TOPIC_LIMIT];
  struct sip_flow_spec spec = { 0 };
  struct sip_engine *engine;
  struct sip_err err;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (sip_flow_lua_engine(&engine, sip_vm_of(L), &err) < 0) {
    return luaL_error(L, "%s", err.message);
  }
  lua_getfield(L, 1, "group");
  spec.source.group = luaL_checkstring(L, -1);
  read_topics(L, topics, &spec.source.topic_count);
  spec.source.topics = topics;
  lua_getfield(L, 1, "from");
  spec.source.start_at = (enum sip_start_at)luaL_checkoption(L, -1, "beginning", starts);
  lua_getfield(L, 1, "from_ms");
  spec.source.start_ms = luaL_optinteger(L, -1, 0);
  lua_getfield(L, 1, "order");
  spec.order = (enum sip_order)luaL_checkoption(L, -1, "key", orders);
  spec.concurrency = (uint32_t)field_integer(L, "concurrency", 64, 1);
  spec.max_events = (uint32_t)field_integer(L, "max_events", 4096, spec.concurrency);
  spec.max_bytes = (size_t)field_integer(L, "max_bytes", 64 << 20, 1);
  spec.dispatch_ref = field_function(L, "dispatch");
  if (spec.dispatch_ref == LUA_NOREF) {
    return luaL_error(L, "flow: no dispatch function");
  }
  spec.keyer_ref = field_function(L, "key_of");
  if (sip_engine_register(engine, &spec, &err) < 0) {
    luaL_unref(L, LUA_REGISTRYINDEX, spec.dispatch_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, spec.keyer_ref);
    return luaL_error(L, "%s", err.message);
  }
  return 0;
}

/* --- status --- */

static void set_count(lua_State *L, const char *name, uint64_t value)
{
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

static int l_status(lua_State *L)
{
  struct sip_engine *engine = sip_vm_service(L, &service);
  struct sip_flow_status *status;
  size_t count;

  lua_newtable(L);
  if (engine == NULL) {
    lua_pushboolean(L, 1);
    return 2;
  }
  count = sip_engine_status(engine, NULL, 0);
  status = lua_newuserdatauv(L, (count + 1) * sizeof *status, 0);
  lua_insert(L, -2); /* stack: statuses, table */
  (void)sip_engine_status(engine, status, count);
  for (size_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 10);
    lua_pushstring(L, status[i].group);
    lua_setfield(L, -2, "group");
    lua_pushboolean(L, status[i].assigned);
    lua_setfield(L, -2, "assigned");
    lua_pushboolean(L, status[i].draining);
    lua_setfield(L, -2, "draining");
    if (status[i].error[0] != '\0') {
      lua_pushstring(L, status[i].error);
      lua_setfield(L, -2, "error");
    }
    set_count(L, "partitions", status[i].partitions);
    set_count(L, "running", status[i].running);
    set_count(L, "waiting", status[i].waiting);
    set_count(L, "taken", status[i].taken);
    set_count(L, "finished", status[i].finished);
    set_count(L, "unfinished", status[i].unfinished);
    set_count(L, "redelivered", status[i].redelivered);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushboolean(L, sip_engine_ready(engine));
  return 2;
}

int sip_flow_lua_engine(struct sip_engine **out, struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = sip_vm_service(sip_vm_state(vm), &service);
  int rc = 0;

  if (engine == NULL) {
    rc = sip_engine_new(&engine, vm, err);
    if (rc < 0) {
      return rc;
    }
    engine->push_event = push_event;
    engine->key_of = key_of;
    engine->wake_room = wake_room;
    rc = sip_vm_set_service(vm, &service, engine);
    if (rc < 0) {
      sip_engine_free(engine);
      return sip_err_set(err, rc, "too many services");
    }
  }
  *out = engine;
  return 0;
}

static void stop_on_done(void *arg)
{
  *(bool *)arg = true;
}

void sip_flow_lua_stop(struct sip_vm *vm)
{
  struct sip_engine *engine = sip_vm_service(sip_vm_state(vm), &service);
  bool done = false;

  if (engine == NULL) {
    return;
  }
  sip_engine_drain(engine, 0, stop_on_done, &done);
  while (!done) {
    (void)uv_run(sip_vm_loop(sip_vm_state(vm)), UV_RUN_ONCE);
  }
  (void)sip_vm_set_service(vm, &service, NULL);
  sip_engine_free(engine);
}

int sip_open_flow(lua_State *L)
{
  static const luaL_Reg functions[] = { { "register", l_register }, { "status", l_status }, { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
