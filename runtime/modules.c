/* modules.c - which modules this program has. */
#include "modules.h"

#include "bind/bind.h"
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

void sip_modules_stop(struct sip_vm *vm)
{
  sip_kafka_lua_stop(vm);
  sip_http_lua_stop(vm);
  sip_sqlite_lua_stop(vm);
}
