/* flow_lua.c - module sipeat.core.flow: how stdlib/flow.lua declares flows.
 *
 * register{group, topics, from, from_ms, order, concurrency, max_events, max_bytes, instructions,
 * memory_bytes, slice_ms, deaths, hold_dead_ms, instance, transactional, batch_events, batch_ms,
 * key_header, outbox, retries, start?, context?, dispatch, finish, key_of} throws when something is
 * wrong. start, dispatch and finish, and the functions emit and open: see flow_ticket_lua.c.
 * key_of(record)
 * -> text or nil, and what is to be kept. status() -> flows, ready. Loop thread. */
#include "bind/flow_lua.h"

#include "bind/bind.h"
#include "bind/metrics_lua.h"
#include "flow/flow.h"
#include "vm/permissions.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { TOPIC_LIMIT = 64 };
static const char service; /* its address is the key */

/* --- register --- */

static lua_Integer field_integer(lua_State *L, const char *name, lua_Integer fallback,
                                 lua_Integer least)
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

/* A limit; nil: none. */
static uint64_t field_limit(lua_State *L, const char *name)
{
  lua_Integer value;

  lua_getfield(L, 1, name);
  value = luaL_optinteger(L, -1, 0);
  lua_pop(L, 1);
  if (value < 0) {
    luaL_error(L, "flow: %s is out of range", name);
  }
  return (uint64_t)value;
}

static int ref_function(lua_State *L, const char *name)
{
  if (lua_getfield(L, 1, name) == LUA_TNIL) {
    return LUA_NOREF;
  }
  if (!lua_isfunction(L, -1)) {
    return luaL_error(L, "flow: %s is a function, got %s", name, luaL_typename(L, -1));
  }
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Protected, so that what was taken can be given back: the options and the spec. */
static int ref_functions(lua_State *L)
{
  struct sip_flow_spec *spec = lua_touserdata(L, 2);

  spec->start_ref = ref_function(L, "start");
  lua_rawgeti(L, LUA_REGISTRYINDEX, spec->start_ref);
  if (!lua_isnil(L, -1) && !sip_flow_is_start(L)) {
    return luaL_error(L, "flow: start is what starter gives");
  }
  if (lua_getfield(L, 1, "context") == LUA_TTABLE) {
    spec->context_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  spec->dispatch_ref = ref_function(L, "dispatch");
  spec->finish_ref = ref_function(L, "finish");
  spec->drop_ref = ref_function(L, "drop");
  spec->keyer_ref = ref_function(L, "key_of");
  if (spec->dispatch_ref == LUA_NOREF) {
    return luaL_error(L, "flow: dispatch is required");
  }
  return 0;
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
    sip_permit(L, SIP_PERMIT_TOPIC, topics[*count]);
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
  struct sip_err err = { 0 };

  sip_flow_spec_forget(&spec);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (sip_flow_lua_engine(&engine, sip_vm_of(L), &err) < 0) {
    return luaL_error(L, "%s", err.message);
  }
  lua_getfield(L, 1, "group");
  spec.source.group = luaL_checkstring(L, -1);
  sip_permit(L, SIP_PERMIT_GROUP, spec.source.group);
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
  spec.limits.instructions = field_limit(L, "instructions");
  spec.limits.memory_bytes = (size_t)field_limit(L, "memory_bytes");
  spec.limits.slice_ms = field_limit(L, "slice_ms");
  spec.hold_dead_ms = field_limit(L, "hold_dead_ms");
  lua_getfield(L, 1, "instance");
  spec.source.instance = luaL_optstring(L, -1, NULL);
  lua_getfield(L, 1, "transactional");
  spec.source.transactional = lua_toboolean(L, -1);
  spec.batch_events = (uint32_t)field_integer(L, "batch_events", 1000, 1);
  spec.batch_ms = (uint64_t)field_integer(L, "batch_ms", 100, 1);
  spec.deaths = (uint32_t)field_integer(L, "deaths", 0, 0);
  lua_getfield(L, 1, "key_header");
  spec.key_header = luaL_optstring(L, -1, NULL);
  lua_getfield(L, 1, "outbox");
  spec.outbox = lua_toboolean(L, -1);
  lua_getfield(L, 1, "retries");
  spec.retries = lua_toboolean(L, -1);
  lua_pushcfunction(L, ref_functions);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, &spec);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    sip_flow_spec_unref(L, &spec);
    return lua_error(L);
  }
  if (sip_engine_register(engine, &spec, &err) < 0) {
    sip_flow_spec_unref(L, &spec);
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

/* { [longest ms of a bucket] = how many }, of those that have any. */
static void push_latency(lua_State *L, const struct sip_latency *latency)
{
  lua_newtable(L);
  for (unsigned i = 0; i < SIP_LATENCY_BUCKETS; i++) {
    if (latency->counts[i] > 0) {
      lua_pushinteger(L, latency->counts[i]);
      lua_rawseti(L, -2, (lua_Integer)sip_latency_limit_ms(i));
    }
  }
}

void sip_flow_push_status(lua_State *L, const struct sip_flow_status *status)
{
  lua_createtable(L, 0, 12);
  lua_pushstring(L, status->group);
  lua_setfield(L, -2, "group");
  lua_pushstring(L, status->topic); /* nil: of another worker */
  lua_setfield(L, -2, "topic");
  lua_pushboolean(L, status->assigned);
  lua_setfield(L, -2, "assigned");
  lua_pushboolean(L, status->draining);
  lua_setfield(L, -2, "draining");
  lua_pushboolean(L, status->outbox);
  lua_setfield(L, -2, "outbox");
  if (status->error[0] != '\0') {
    lua_pushstring(L, status->error);
    lua_setfield(L, -2, "error");
  }
  set_count(L, "partitions", status->partitions);
  set_count(L, "running", status->running);
  set_count(L, "waiting", status->waiting);
  set_count(L, "later", status->later);
  set_count(L, "bytes", status->bytes);
  set_count(L, "taken", status->taken);
  set_count(L, "finished", status->finished);
  set_count(L, "dead", status->dead);
  set_count(L, "unfinished", status->unfinished);
  set_count(L, "redelivered", status->redelivered);
  set_count(L, "skipped", status->skipped);
  set_count(L, "committed", status->committed);
  set_count(L, "aborted", status->aborted);
  push_latency(L, &status->latency);
  lua_setfield(L, -2, "latency");
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
    sip_flow_push_status(L, &status[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushboolean(L, sip_engine_ready(engine));
  return 2;
}

struct sip_engine *sip_flow_lua_find(lua_State *L)
{
  return sip_vm_service(L, &service);
}

/* What each event costs to be measured is left out on demand. */
static int flow_metrics(struct sip_engine *engine, struct sip_vm *vm, struct sip_err *err)
{
  const char *wanted = getenv("SIPEAT_METRICS");
  struct sip_metrics_shard *shard = NULL;
  int rc;

  if (wanted != NULL && strcmp(wanted, "off") == 0) {
    return 0;
  }
  rc = sip_metrics_lua_shard(&shard, vm, err);

  return rc < 0 ? rc : sip_engine_set_metrics(engine, shard, err);
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
    engine->binding = sip_flow_ticket_binding();
    rc = flow_metrics(engine, vm, err);
    rc = rc < 0 ? rc : sip_vm_set_service(vm, &service, engine);
    if (rc < 0) {
      sip_engine_free(engine);
      return err == NULL || err->code != 0 ? rc : sip_err_set(err, rc, "too many services");
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
  static const luaL_Reg functions[] = { { "register", l_register },
                                        { "status", l_status },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  sip_flow_ticket_functions(L);
  return 1;
}
