/* load_lua.c - loading a script for a verb that wants what it declares, and runs none of it. Loop
 * thread. */
#include "cli/load_lua.h"

#include "vm/script.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char SCRIPT[] = "sipeat.cli.script";

/* A file that loads or has loaded. The box holds it; while it loads, the callback does too. */
struct load {
  struct sip_wait wait;
  struct sip_script *script;
  struct sip_err err;
  bool boxed, loading;
};

static void load_release(struct load *load)
{
  if (!load->boxed && !load->loading) {
    sip_script_free(load->script);
    free(load);
  }
}

static int load_gc(lua_State *L)
{
  struct load **box = luaL_checkudata(L, 1, SCRIPT), *load = *box;

  *box = NULL;
  if (load != NULL) {
    load->boxed = false;
    load_release(load);
  }
  return 0;
}

static void load_on_done(struct sip_script *script, const struct sip_err *err, void *arg)
{
  struct load *load = arg;

  load->script = script;
  load->loading = false;
  if (script == NULL) {
    load->err = *err;
  }
  if (load->boxed) {
    sip_wake(&load->wait, script == NULL ? UV_EINVAL : 0);
  }
  load_release(load);
}

static int load_finish(lua_State *L, struct sip_wait *wait)
{
  struct load *load = SIP_CONTAINER(wait, struct load, wait);

  if (load->err.code != 0) {
    return sip_push_err(L, &load->err);
  }
  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "load");
  }
  lua_settop(L, 2);
  return 1;
}

int sip_l_load_script(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  struct sip_err err = { 0 };
  struct load **box, *load;

  lua_settop(L, 1);
  box = sip_box_new(L, SCRIPT, load_gc);
  load = calloc(1, sizeof *load);
  if (load == NULL) {
    return luaL_error(L, "load %s: out of memory", path);
  }
  load->boxed = true;
  *box = load;
  sip_wait_init(&load->wait, NULL, load_finish);
  if (sip_script_load_start(sip_vm_of(L), path, 0, load_on_done, load, &err) < 0) {
    return sip_push_err(L, &err);
  }
  load->loading = true;
  return sip_await(L, &load->wait, SIP_FOREVER);
}

int sip_l_loaded_files(lua_State *L)
{
  struct load **box = luaL_checkudata(L, 1, SCRIPT);
  const char *const *files = NULL;
  size_t count;

  luaL_argcheck(L, *box != NULL && (*box)->script != NULL, 1, "it has not loaded");
  count = sip_script_files((*box)->script, &files);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushstring(L, files[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}
