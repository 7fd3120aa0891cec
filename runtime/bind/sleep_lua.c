/* sleep_lua.c - task.sleep: suspend the calling task.
 *
 * sleep(duration) -> true | nil, message, "ECANCELED"
 * Loop thread only. The wait's own deadline is the alarm, so there is no handle and nothing to
 * free. */
#include "bind/sleep_lua.h"

#include "vm/task.h"
#include "vm/vm.h"

static int sleep_finish(lua_State *L, struct sip_wait *wait)
{
  if (wait->status == UV_ETIMEDOUT) {
    lua_pushboolean(L, 1);
    return 1;
  }
  return sip_push_error(L, wait->status, "sleep");
}

int sip_l_sleep(lua_State *L)
{
  uint64_t ms = sip_check_duration_ms(L, 1);
  struct sip_wait *wait;

  lua_settop(L, 1);
  wait = lua_newuserdatauv(L, sizeof *wait, 0); /* the suspended stack keeps it */
  sip_wait_init(wait, NULL, sleep_finish);
  return sip_await(L, wait, ms);
}
