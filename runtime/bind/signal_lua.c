/* signal_lua.c - what tasks of one script wait on for each other; channel, semaphore and join are
 * made of it.
 *
 * signal() -> object with
 *   wait(timeout?) -> true | nil, message, "ETIMEDOUT" or "ECANCELED"
 *   wake(n?)       -> wakes the n longest waiting tasks (default all), returns how many
 * Loop thread only. A waiter lives in a userdata on its task's stack; the signal is reached from
 * there, so it cannot be collected while somebody waits. */
#include "bind/sleep_lua.h"
#include "core/list.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>

static const char SIGNAL[] = "sipeat.signal";

struct waiter {
  struct sip_wait wait;
  struct sip_list link;
};

static void signal_cancel(struct sip_wait *wait)
{
  sip_list_remove(&SIP_CONTAINER(wait, struct waiter, wait)->link);
}

static int signal_finish(lua_State *L, struct sip_wait *wait)
{
  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "wait");
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_wait(lua_State *L)
{
  struct sip_list *waiters = luaL_checkudata(L, 1, SIGNAL);
  uint64_t timeout_ms = sip_opt_duration_ms(L, 2, SIP_FOREVER);
  struct waiter *waiter;

  lua_settop(L, 2);
  waiter = lua_newuserdatauv(L, sizeof *waiter, 0);
  sip_wait_init(&waiter->wait, signal_cancel, signal_finish);
  sip_list_push(waiters, &waiter->link);
  return sip_await(L, &waiter->wait, timeout_ms);
}

lua_Integer sip_signal_wake(struct sip_list *waiters, lua_Integer limit)
{
  struct sip_list *node;
  lua_Integer woken = 0;

  while (woken < limit && (node = sip_list_shift(waiters)) != NULL) {
    sip_wake(&SIP_CONTAINER(node, struct waiter, link)->wait, 0);
    woken++;
  }
  return woken;
}

struct sip_list *sip_check_signal(lua_State *L, int arg)
{
  return luaL_checkudata(L, arg, SIGNAL);
}

static int l_wake(lua_State *L)
{
  struct sip_list *waiters = sip_check_signal(L, 1);

  lua_pushinteger(L, sip_signal_wake(waiters, luaL_optinteger(L, 2, LUA_MAXINTEGER)));
  return 1;
}

static int signal_gc(lua_State *L)
{
  struct sip_list *waiters = luaL_checkudata(L, 1, SIGNAL);

  while (sip_list_shift(waiters) != NULL) { /* lua_close collects in any order */
  }
  return 0;
}

int sip_l_signal(lua_State *L)
{
  static const luaL_Reg methods[] = { { "wait", l_wait }, { "wake", l_wake }, { NULL, NULL } };
  struct sip_list *waiters = lua_newuserdatauv(L, sizeof *waiters, 0);

  sip_list_init(waiters);
  if (sip_class_begin(L, SIGNAL)) {
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushcfunction(L, signal_gc);
    lua_setfield(L, -2, "__gc");
    sip_class_end(L, SIGNAL);
  }
  lua_setmetatable(L, -2);
  return 1;
}
