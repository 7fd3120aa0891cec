/* modules.c - which modules this program has. */
#include "modules.h"

#include "bind/bind.h"
#include "bind/flow_lua.h"
#include "flow/engine.h"
#include "http/http_lua.h"
#include "kafka/kafka_lua.h"
#include "sqlite/sqlite_lua.h"

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
    sip_engine_begin(engine);
  }
  return rc;
}

int sip_modules_commit(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = NULL;
  int rc = sip_flow_lua_engine(&engine, vm, err);

  return rc < 0 ? rc : sip_engine_commit(engine, err);
}

void sip_modules_rollback(struct sip_vm *vm)
{
  struct sip_engine *engine = NULL;

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
