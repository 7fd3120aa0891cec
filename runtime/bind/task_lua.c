/* task_lua.c - module sipeat.core.task: the primitives under sipeat.task (stdlib/task.lua).
 *
 * spawn(signal, f, ...) -> handle with kill(), ended() and error(); the signal's waiters wake when
 * f has ended sleep(duration), signal(), set_event_id(text), event_id() -> text,
 * parse_duration(text) -> ms or nil, guard(handler) -> a message handler that xpcall takes as it
 * is, catcher(guarded, class, sort_out) -> catch(f, ...), which answers true and what f gives, or,
 * when that is something of `class`, nil or false with more behind it, or f has raised, as
 * sort_out(ok, ...) does. over() -> code of the budget that the task's event is over, or nothing.
 * Loop thread only. */
#include "bind/bind.h"
#include "bind/sleep_lua.h"
#include "core/log.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char HANDLE[] = "sipeat.task.handle";

struct handle {
  struct sip_task *task;   /* borrowed from the scheduler; NULL once it has ended */
  struct sip_list *signal; /* borrowed from the box's user value; NULL without a box */
  char *error;             /* what ended the task, when it was an error that f could not catch */
  bool boxed;              /* a box points here still */
};

static void handle_free(struct handle *handle)
{
  free(handle->error);
  free(handle);
}

static void handle_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct handle *handle = arg;

  (void)nresults;
  if (status != LUA_OK) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not enough memory";

    sip_log(SIP_LOG_ERROR, "task", sip_task_event_id(task), "%s", text);
    handle->error = strdup(text); /* NULL for want of memory: error() then says so */
  }
  handle->task = NULL;
  if (handle->boxed) {
    (void)sip_signal_wake(handle->signal, LUA_MAXINTEGER);
  } else {
    handle_free(handle);
  }
}

static int handle_gc(lua_State *L)
{
  struct handle **box = luaL_checkudata(L, 1, HANDLE);
  struct handle *handle = *box;

  *box = NULL;
  if (handle != NULL) {
    handle->boxed = false;
    handle->signal = NULL;
    if (handle->task == NULL) {
      handle_free(handle);
    }
  }
  return 0;
}

static struct handle *check_handle(lua_State *L)
{
  struct handle **box = luaL_checkudata(L, 1, HANDLE);

  luaL_argcheck(L, *box != NULL, 1, "is closed");
  return *box;
}

static int l_kill(lua_State *L)
{
  struct handle *handle = check_handle(L);

  if (handle->task != NULL) {
    sip_task_kill(handle->task);
  }
  return 0;
}

static int l_ended(lua_State *L)
{
  lua_pushboolean(L, check_handle(L)->task == NULL);
  return 1;
}

static int l_error(lua_State *L)
{
  struct handle *handle = check_handle(L);

  lua_pushstring(L, handle->error == NULL ? "not enough memory" : handle->error);
  return 1;
}

static int l_spawn(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "kill", l_kill }, { "ended", l_ended }, { "error", l_error }, { NULL, NULL }
  };
  int nargs = lua_gettop(L) - 2;
  struct sip_list *signal = sip_check_signal(L, 1);
  struct handle **box, *handle;

  luaL_checktype(L, 2, LUA_TFUNCTION);
  box = sip_box_class(L, HANDLE, handle_gc, methods);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1); /* the signal lives as long as the box */
  handle = calloc(1, sizeof *handle);
  if (handle == NULL) {
    return luaL_error(L, "spawn: not enough memory");
  }
  handle->boxed = true;
  handle->signal = signal;
  *box = handle;
  lua_replace(L, 1); /* the box stays below what the task takes */
  handle->task = sip_task_spawn(L, nargs, handle_on_end, handle);
  return 1;
}

static int l_set_event_id(lua_State *L)
{
  struct sip_task *task = sip_task_current(L);
  size_t len;
  const char *id = luaL_checklstring(L, 1, &len);

  if (task != NULL && len == 0) {
    sip_task_leave_event(task);
  } else if (task != NULL) {
    sip_task_set_event_id(task, id, len);
  }
  return 0;
}

static int l_event_id(lua_State *L)
{
  struct sip_task *task = sip_task_current(L);

  lua_pushstring(L, task == NULL ? "" : sip_task_event_id(task));
  return 1;
}

static int l_parse_duration(lua_State *L)
{
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  uint64_t ms;

  if (!sip_parse_duration_ms(text, len, &ms)) {
    return 0;
  }
  lua_pushinteger(L, (lua_Integer)ms);
  return 1;
}

static int l_over(lua_State *L)
{
  const struct sip_task *task = sip_task_current(L);
  enum sip_over over = task == NULL ? SIP_OVER_NOTHING : sip_task_over(task);

  if (over == SIP_OVER_NOTHING) {
    return 0;
  }
  lua_pushstring(L, sip_over_code(over));
  return 1;
}

/* --- catch --- */

enum { CAUGHT = 1, CLASS, SORT_OUT }; /* upvalues */
enum { HANDLER = 1, OK, FIRST };      /* places in the stack */

static int catch_sorted(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L);
}

/* Whether the results are plainly no failure. */
static bool is_good(lua_State *L)
{
  bool good = lua_toboolean(L, FIRST) || lua_isnoneornil(L, FIRST + 1);

  if (good && lua_istable(L, FIRST) && lua_getmetatable(L, FIRST)) {
    good = lua_topointer(L, -1) != lua_topointer(L, lua_upvalueindex(CLASS));
    lua_pop(L, 1);
  }
  return good;
}

static int catch_after(lua_State *L, int status, lua_KContext context)
{
  bool ok = status == LUA_OK || status == LUA_YIELD;

  (void)context;
  if (ok && is_good(L)) {
    return lua_gettop(L) - HANDLER;
  }
  lua_pushboolean(L, ok);
  lua_replace(L, OK);
  lua_pushvalue(L, lua_upvalueindex(SORT_OUT));
  lua_replace(L, HANDLER);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, catch_sorted);
  return lua_gettop(L);
}

static int l_catch(lua_State *L)
{
  luaL_checkany(L, 1);
  lua_pushvalue(L, lua_upvalueindex(CAUGHT));
  lua_pushboolean(L, 1);
  lua_rotate(L, 1, FIRST - 1);
  return catch_after(L, lua_pcallk(L, lua_gettop(L) - FIRST, LUA_MULTRET, HANDLER, 0, catch_after),
                     0);
}

static int l_catcher(lua_State *L)
{
  luaL_argcheck(L, lua_iscfunction(L, CAUGHT), CAUGHT, "a guarded handler is needed");
  luaL_checktype(L, CLASS, LUA_TTABLE);
  luaL_checktype(L, SORT_OUT, LUA_TFUNCTION);
  lua_settop(L, SORT_OUT);
  lua_pushcclosure(L, l_catch, SORT_OUT);
  return 1;
}

int sip_open_task(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "spawn", l_spawn },       { "sleep", sip_l_sleep },
    { "signal", sip_l_signal }, { "set_event_id", l_set_event_id },
    { "event_id", l_event_id }, { "parse_duration", l_parse_duration },
    { "guard", sip_guard },     { "catcher", l_catcher },
    { "over", l_over },         { NULL, NULL },
  };

  luaL_newlib(L, functions);
  return 1;
}
