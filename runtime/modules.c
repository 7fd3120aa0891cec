/* modules.c - which modules this program has. */
#include "modules.h"

#include "bind/bind.h"
#include "bind/flow_lua.h"
#include "flow/engine.h"
#include "http/http_lua.h"
#include "kafka/kafka_lua.h"
#include "sqlite/sqlite_lua.h"
#include "vm/vm.h"

#include <lauxlib.h>

/* Protected: calls one of the functions of stdlib/background.lua that follow a script's versions.
 */
static int call_background(lua_State *L)
{
  const char *function = lua_touserdata(L, 1);

  lua_getglobal(L, "require");
  lua_pushliteral(L, "sipeat.background");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, function);
  lua_call(L, 0, 0);
  return 0;
}

static int background(struct sip_vm *vm, const char *function, struct sip_err *err)
{
  lua_State *L = sip_vm_state(vm);

  if (!lua_checkstack(L, 3)) {
    return sip_err_set(err, UV_ENOMEM, "background %s: no memory for the stack", function);
  }
  lua_pushcfunction(L, call_background);
  lua_pushlightuserdata(L, (void *)function); /* a string would need memory, which may throw */
  return sip_vm_call(vm, 1, 0, err);
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
  return rc;
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

bool sip_modules_connected(struct sip_vm *vm)
{
  return sip_kafka_lua_connected(vm);
}

int sip_modules_begin(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);

  if (rc == 0) {
    rc = background(vm, "begin", err);
  }
  if (rc == 0) {
    sip_engine_begin(engine);
  }
  return rc;
}

int sip_modules_commit(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);
  int started;

  if (rc < 0) {
    return rc;
  }
  rc = sip_engine_commit(engine, err);
  started = background(vm, "commit", rc < 0 ? NULL : err); /* the first failure is the one told */
  return rc < 0 ? rc : started;
}

void sip_modules_rollback(struct sip_vm *vm)
{
  struct sip_engine *engine = NULL;

  (void)background(vm, "rollback", NULL);            /* sets one variable */
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
    (void)background(vm, "stop", NULL); /* what it cannot stop is stopped with the state */
    sip_engine_drain(engine, limit_ms, on_done, arg);
  }
  return rc;
}

void sip_modules_stop(struct sip_vm *vm)
{
  sip_flow_lua_stop(vm); /* before the driver whose sources it holds */
  sip_kafka_lua_stop(vm);
  sip_http_lua_stop(vm);
  sip_sqlite_lua_stop(vm);
}
