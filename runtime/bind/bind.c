/* bind.c - provides the Lua modules over core, vm, flow and journal. */
#include "bind/bind.h"

#include "bind/journal_lua.h"
#include "bind/metrics_lua.h"
#include "vm/permissions.h"
#include "vm/vm.h"

int sip_bind_start(struct sip_vm *vm, struct sip_err *err)
{
  static const struct {
    const char *name;
    lua_CFunction open;
  } modules[] = {
    { "sipeat.core.task", sip_open_task },
    { "sipeat.core.log", sip_open_log },
    { "sipeat.core.sys", sip_open_sys },
    { "sipeat.core.flow", sip_open_flow },
    { "sipeat.core.json", sip_open_json },
    { "cjson", sip_open_cjson },
    { "sipeat.core.event", sip_open_event },
    { "sipeat.core.journal", sip_open_journal },
    { "sipeat.core.script", sip_open_script },
    { "sipeat.core.steps", sip_open_steps },
    { "sipeat.core.metrics", sip_open_metrics },
    { "sipeat.core.trace", sip_open_trace },
    { "sipeat.core.permissions", sip_open_permissions },
  };
  int rc = 0;

  for (size_t i = 0; rc == 0 && i < sizeof modules / sizeof modules[0]; i++) {
    rc = sip_vm_provide(vm, modules[i].name, modules[i].open, err);
  }
  return rc;
}
