#include "sqlite/sqlite_lua.h"

int sip_sqlite_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  (void)vm;
  (void)err;
  return 0;
}

void sip_sqlite_lua_stop(struct sip_vm *vm)
{
  (void)vm;
}
