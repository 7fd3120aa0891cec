/* modules.c - which modules this program has. */
#include "modules.h"

#include "bind/bind.h"
#include "bind/flow_lua.h"
#include "bind/journal_lua.h"
#include "bind/metrics_lua.h"
#include "bind/pulse.h"
#include "core/log.h"
#include "crypto/crypto_lua.h"
#include "flow/deaths.h"
#include "flow/engine.h"
#include "http/bindings_lua.h"
#include "http/http_lua.h"
#include "journal/shared.h"
#include "kafka/kafka_lua.h"
#include "memory/log.h"
#include "memory/memory_lua.h"
#include "outbox/outbox_lua.h"
#include "postgres/client_lua.h"
#include "postgres/store.h"
#include "serial/serial_lua.h"
#include "sqlite/sqlite_lua.h"
#include "sqlite/store.h"
#include "vm/permissions.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

/* Lua modules that keep something for each version of a script: each has begin, commit, rollback.
 */
static const char *const versioned[] = { "sipeat.background", "sipeat.versions", "sipeat.durable",
                                         "sipeat.guard", "sipeat.http_routes" };

/* Protected: calls a function without arguments. Stack: module and name, as light userdata. */
static int call_function(lua_State *L)
{
  const char *module = lua_touserdata(L, 1), *function = lua_touserdata(L, 2);

  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, function);
  lua_call(L, 0, 0);
  return 0;
}

static int call(struct sip_vm *vm, const char *module, const char *function, struct sip_err *err)
{
  lua_State *L = sip_vm_state(vm);

  if (!lua_checkstack(L, 4)) {
    return sip_err_set(err, UV_ENOMEM, "%s %s: no memory for the stack", module, function);
  }
  lua_pushcfunction(L, call_function);
  lua_pushlightuserdata(L, (void *)module); /* a string would need memory, which may throw */
  lua_pushlightuserdata(L, (void *)function);
  return sip_vm_call(vm, 2, 0, err);
}

/** Calls it in each of them, also after a failure. @return 0, or the first failure */
static int call_versioned(struct sip_vm *vm, const char *function, struct sip_err *err)
{
  int rc = 0;

  for (size_t i = 0; i < sizeof versioned / sizeof versioned[0]; i++) {
    int one = call(vm, versioned[i], function, rc < 0 ? NULL : err);

    rc = rc < 0 ? rc : one;
  }
  return rc;
}

int sip_modules_start(struct sip_vm *vm, struct sip_err *err)
{
  int rc = sip_bind_start(vm, err);

  if (rc == 0) {
    rc = sip_http_lua_start(vm, err);
  }
  if (rc == 0) {
    rc = sip_kafka_lua_start(vm, err);
  }
  if (rc == 0) {
    rc = sip_sqlite_lua_start(vm, err);
  }
  if (rc == 0) {
    rc = sip_postgres_lua_start(vm, err);
  }
  if (rc == 0) {
    rc = sip_memory_lua_start(vm, err);
  }
  if (rc == 0) {
    rc = sip_serial_lua_start(vm, err);
  }
  if (rc == 0) {
    rc = sip_crypto_lua_start(vm, err);
  }
  return rc < 0 ? rc : sip_outbox_lua_start(vm, err);
}

/* open(real) of a stdlib module makes what scripts get in the place of `real`. */
static int open_fake(lua_State *L, lua_CFunction real, const char *fake)
{
  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushstring(L, fake);
  lua_call(L, 1, 1);
  lua_getfield(L, 1, "open");
  if (real != NULL) {
    lua_pushcfunction(L, real);
    lua_call(L, 0, 1);
  }
  lua_call(L, real != NULL ? 1 : 0, 1);
  return 1;
}

static int open_fake_flow(lua_State *L)
{
  return open_fake(L, sip_open_flow, "sipeat.testing_flow");
}

static int open_fake_http(lua_State *L)
{
  return open_fake(L, sip_open_http, "sipeat.testing_http");
}

static int open_fake_httpd(lua_State *L)
{
  return open_fake(L, NULL, "sipeat.testing_httpd");
}

static int open_fake_smtp(lua_State *L)
{
  return open_fake(L, sip_open_smtp, "sipeat.testing_smtp");
}

static int open_fake_serial(lua_State *L)
{
  return open_fake(L, sip_open_serial, "sipeat.testing_serial");
}

static int open_fake_kafka(lua_State *L)
{
  return open_fake(L, NULL, "sipeat.testing_kafka");
}

static int open_fake_outbox(lua_State *L)
{
  return open_fake(L, NULL, "sipeat.testing_outbox");
}

/* os.getenv knows only what a test sets, as everything else does. */
static int open_fake_sys(lua_State *L)
{
  (void)open_fake(L, sip_open_sys, "sipeat.testing_env");
  lua_getglobal(L, "os");
  lua_getfield(L, -2, "getenv");
  lua_setfield(L, -2, "getenv");
  lua_pop(L, 1);
  return 1;
}

int sip_modules_start_fakes(struct sip_vm *vm, struct sip_memory_log *log, struct sip_err *err)
{
  static const struct {
    const char *name;
    lua_CFunction open;
  } fakes[] = {
    { "sipeat.core.flow", open_fake_flow },     { "sipeat.core.http", open_fake_http },
    { "sipeat.core.smtp", open_fake_smtp },     { "sipeat.core.kafka", open_fake_kafka },
    { "sipeat.core.outbox", open_fake_outbox }, { "sipeat.core.sys", open_fake_sys },
    { "sipeat.core.httpd", open_fake_httpd },   { "sipeat.core.serial", open_fake_serial },
  };
  struct sip_engine *engine = NULL;
  int rc = sip_modules_start(vm, err);

  if (rc == 0) {
    rc = sip_memory_lua_use(vm, log, err);
  }
  for (size_t i = 0; rc == 0 && i < sizeof fakes / sizeof fakes[0]; i++) {
    rc = sip_vm_provide(vm, fakes[i].name, fakes[i].open, err); /* in the place of the other one */
  }
  if (rc == 0) {
    rc = sip_flow_lua_engine(&engine, vm, err);
  }
  if (rc == 0) {
    sip_engine_set_port(engine, sip_memory_log_port(log));
  }
  return rc;
}

int sip_modules_count(struct sip_vm *vm, struct sip_metrics *metrics, struct sip_err *err)
{
  struct sip_metrics_shard *shard = NULL;
  int rc = sip_metrics_lua_attach(vm, metrics, err);

  rc = rc < 0 ? rc : sip_metrics_lua_shard(&shard, vm, err);
  rc = rc < 0 ? rc : sip_kafka_lua_count(vm, shard, err);
  return rc < 0 ? rc : sip_pulse_start(vm, err);
}

int sip_modules_configure_kafka(struct sip_vm *vm, const struct sip_kafka_settings *settings,
                                struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_kafka_lua_configure(vm, settings, err);

  if (rc == 0) {
    rc = sip_flow_lua_engine(&engine, vm, err);
  }
  if (rc == 0) {
    sip_engine_set_port(engine, sip_kafka_lua_port(vm));
  }
  return rc;
}

int sip_modules_configure_outbox(struct sip_vm *vm, struct sip_outbox *outbox, bool path_is_fixed,
                                 struct sip_err *err)
{
  struct sip_outlet way_in = { NULL, NULL };
  int rc = sip_outbox_lua_attach(vm, outbox, path_is_fixed, &sip_kafka_lua_port(vm)->patient,
                                 &way_in, err);

  if (rc == 0) {
    sip_kafka_lua_set_outbox(vm, &way_in);
  }
  return rc;
}

int sip_modules_configure_serial(struct sip_vm *vm, struct sip_serial *serial, struct sip_err *err)
{
  return sip_serial_lua_attach(vm, serial, err);
}

int sip_modules_set_deaths(struct sip_vm *vm, struct sip_deaths *deaths, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);

  if (rc == 0 && deaths != NULL) {
    sip_engine_set_deaths(engine, deaths);
    sip_vm_set_mark(vm, sip_deaths_mark(deaths));
  }
  return rc;
}

int sip_modules_set_tap(struct sip_vm *vm, struct sip_tap *tap, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);

  if (rc == 0) {
    sip_engine_set_tap(engine, tap);
  }
  return rc;
}

bool sip_modules_connected(struct sip_vm *vm)
{
  return sip_kafka_lua_connected(vm);
}

int sip_modules_begin(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);

  sip_permissions_begin(vm);
  if (rc == 0) {
    rc = call_versioned(vm, "begin", err);
  }
  if (rc == 0) {
    sip_engine_begin(engine);
  }
  return rc;
}

struct sip_journal_shared *sip_modules_journal(const char *place)
{
  bool is_server =
    strncmp(place, "postgres://", 11) == 0 || strncmp(place, "postgresql://", 13) == 0;

  return sip_journal_shared_new(
    is_server ? sip_postgres_store_operations() : sip_sqlite_store_operations(), place);
}

int sip_modules_commit(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);
  struct sip_err late = { 0 };

  if (rc == 0) {
    rc = sip_outbox_lua_open(vm, err); /* before its flows take events */
  }
  if (rc == 0) {
    rc = sip_engine_commit(engine, err);
  }
  if (rc < 0) {
    sip_permissions_rollback(vm);
    (void)call_versioned(vm, "rollback", NULL); /* forgets; needs no memory */
    return rc;
  }
  sip_permissions_commit(vm);
  if (call_versioned(vm, "commit", &late) < 0) { /* memory is out; the flows are the new ones */
    sip_log(SIP_LOG_ERROR, "host", NULL, "routes or timers of the new version: %s", late.message);
  }
  return 0;
}

void sip_modules_rollback(struct sip_vm *vm)
{
  struct sip_engine *engine = NULL;

  sip_permissions_rollback(vm);
  (void)call_versioned(vm, "rollback", NULL);        /* forgets; needs no memory */
  if (sip_flow_lua_engine(&engine, vm, NULL) == 0) { /* fails only before the first load */
    sip_engine_rollback(engine);
  }
}

int sip_modules_drain(struct sip_vm *vm, uint64_t limit_ms, void (*on_done)(void *arg), void *arg,
                      struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);

  if (rc == 0) {
    (void)call(vm, "sipeat.background", "stop",
               NULL); /* what it cannot stop is stopped with the state */
    sip_engine_drain(engine, limit_ms, on_done, arg);
  }
  return rc;
}

void sip_modules_stop(struct sip_vm *vm)
{
  sip_pulse_stop(vm);
  sip_flow_lua_stop(vm); /* before the driver whose sources it holds */
  sip_serial_lua_stop(vm);
  sip_journal_lua_stop(vm);
  sip_outbox_lua_stop(vm);
  sip_kafka_lua_stop(vm);
  sip_http_lua_stop(vm);
  sip_sqlite_lua_stop(vm);
  sip_postgres_lua_stop(vm);
}
