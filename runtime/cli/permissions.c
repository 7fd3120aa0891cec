/* permissions.c - `sipeat run --permissions FILE`: what a script declares and what it uses;
 * stdlib/command_permissions.lua writes it. The script is loaded and not run. */
#include "cli/permissions.h"

#include "cli/command.h"
#include "cli/load_lua.h"
#include "cli/push.h"
#include "modules.h"
#include "vm/vm.h"

#include <lauxlib.h>

/* begin(): what the script registers while it loads is kept aside, and never starts */
static int l_begin(lua_State *L)
{
  struct sip_err err = { 0 };

  if (sip_modules_begin(sip_vm_of(L), &err) < 0) {
    return luaL_error(L, "%s", err.message);
  }
  return 0;
}

static void push(lua_State *L, void *arg)
{
  lua_newtable(L);
  sip_push_text(L, "file", arg);
  lua_pushcfunction(L, l_begin);
  lua_setfield(L, -2, "begin");
  lua_pushcfunction(L, sip_l_load_script);
  lua_setfield(L, -2, "load");
  lua_pushcfunction(L, sip_l_loaded_files);
  lua_setfield(L, -2, "files");
}

int sip_show_permissions(struct sip_settings *settings, const char *file)
{
  struct sip_command command = {
    "sipeat run --permissions", "sipeat.command_permissions", settings, false, push, (void *)file,
  };

  return sip_command_run(&command);
}
