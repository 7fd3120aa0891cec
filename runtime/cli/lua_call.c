/* lua_call.c - calls from C into the Lua library, each as a task that may wait. Loop thread. */
#include "cli/lua_call.h"

#include "vm/task.h"
#include "vm/vm.h"

#include <stdbool.h>
#include <stdlib.h>

struct call {
  struct sip_vm *vm;             /* borrowed */
  const char *module, *function; /* borrowed: until the task has begun */
  sip_call_push_fn push;
  void *push_arg;
  sip_call_done_fn on_done;
  void *arg;
  struct sip_task *task; /* borrowed */
};

static void call_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct call *call = arg;
  struct sip_err err = { 0 };
  int result = 0;

  (void)task;
  if (status != LUA_OK) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "raised no text";

    result = sip_err_set(&err, SIP_ESCRIPT, "%s", text);
  } else if (nresults >= 2 && !lua_toboolean(L, -nresults)) {
    const char *text =
      lua_type(L, 1 - nresults) == LUA_TSTRING ? lua_tostring(L, 1 - nresults) : "failed";
    const char *name = nresults >= 3 && lua_type(L, 2 - nresults) == LUA_TSTRING
                         ? lua_tostring(L, 2 - nresults)
                         : "FAILED";

    result = sip_err_named(&err, SIP_ESCRIPT, name, "%s", text);
  } else if (nresults >= 1 && lua_isinteger(L, -nresults)) {
    result = (int)lua_tointeger(L, -nresults);
  }
  call->on_done(call->arg, result, &err);
  free(call);
}

/** Protected. Stack: the call. */
static int call_spawn(lua_State *L)
{
  struct call *call = lua_touserdata(L, 1);
  int nargs;

  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushstring(L, call->module);
  lua_call(L, 1, 1);
  lua_getfield(L, 1, call->function);
  lua_remove(L, 1);
  nargs = call->push != NULL ? call->push(L, call->push_arg) : 0;
  call->task = sip_task_spawn(L, nargs, call_on_end, call);
  return 0;
}

int sip_call_start(struct sip_vm *vm, const char *module, const char *function,
                   sip_call_push_fn push, void *push_arg, sip_call_done_fn on_done, void *arg,
                   struct sip_task **out_task, struct sip_err *err)
{
  struct call *call = calloc(1, sizeof *call);
  lua_State *L = sip_vm_state(vm);
  int rc;

  if (call == NULL) {
    return sip_err_set(err, UV_ENOMEM, "%s.%s: no memory", module, function);
  }
  *call = (struct call){ vm, module, function, push, push_arg, on_done, arg, NULL };
  lua_pushcfunction(L, call_spawn);
  lua_pushlightuserdata(L, call);
  rc = sip_vm_call(vm, 1, 0, err);
  if (rc < 0) {
    free(call);
    return rc;
  }
  if (out_task != NULL) {
    *out_task = call->task;
  }
  return 0;
}

struct waiting {
  bool done;
  int result;
  struct sip_err *err;
};

static void waiting_on_done(void *arg, int result, const struct sip_err *err)
{
  struct waiting *waiting = arg;

  waiting->done = true;
  waiting->result = result;
  if (waiting->err != NULL) {
    *waiting->err = *err;
  }
}

int sip_call_wait(struct sip_vm *vm, const char *module, const char *function,
                  sip_call_push_fn push, void *push_arg, struct sip_err *err)
{
  struct waiting waiting = { false, 0, err };
  int rc =
    sip_call_start(vm, module, function, push, push_arg, waiting_on_done, &waiting, NULL, err);

  while (rc == 0 && !waiting.done) {
    (void)uv_run(sip_vm_loop(sip_vm_state(vm)), UV_RUN_ONCE);
  }
  return rc < 0 ? rc : waiting.result;
}
