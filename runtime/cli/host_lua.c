/* host_lua.c - sipeat.core.host: what stdlib/service.lua asks of the program that runs it.
 *
 *   status()         table: phase, script, version, generation, uptime_ms, connected, refused …
 *   workers()        what the other workers say, for the sums of service.lua
 *   set_http(addr)   where the server listens
 *   set_console(path)  what signs in to the console once, for the banner of dev
 *   reload()         awaits a reload -> version | nil, message, code
 *   tap()            watches what flows do (tap_lua.c)
 *   create_topic(name, partitions)  on the embedded broker -> true | nil, message, code
 * Loop thread. */
#include "cli/host_state.h"

#include "bind/flow_lua.h"
#include "cli/push.h"
#include "cli/tap_lua.h"
#include "cli/worker.h"
#include "kafka/embedded.h"
#include "modules.h"
#include "vm/task.h"

#include <lauxlib.h>
#include <stdio.h>

static const char HOST_KEY; /* its address names the service */

static struct sip_host *host_of(lua_State *L)
{
  return sip_vm_service(L, &HOST_KEY);
}

/** workers() -> flows of all other workers, their bytes, their tasks, whether all are connected */
static int l_workers(lua_State *L)
{
  const struct sip_host *host = host_of(L);
  size_t count = sip_workers_count(host->workers), bytes = 0, tasks = 0;
  lua_Integer flows = 0;
  bool connected = true;
  struct sip_worker_status *status = lua_newuserdatauv(L, sizeof *status, 0);

  lua_newtable(L);
  for (size_t n = 0; n < count; n++) {
    sip_workers_status(host->workers, n, status);
    bytes += status->memory_bytes;
    tasks += status->tasks;
    connected = connected && status->connected;
    for (size_t i = 0; i < status->flow_count; i++) {
      sip_flow_push_status(L, &status->flows[i]);
      lua_rawseti(L, -2, ++flows);
    }
  }
  lua_pushinteger(L, (lua_Integer)bytes);
  lua_pushinteger(L, (lua_Integer)tasks);
  lua_pushboolean(L, connected);
  return 4;
}

static int l_status(lua_State *L)
{
  static const char *const phases[] = { "starting", "running", "draining", "stopped" };
  const struct sip_host *host = host_of(L);

  lua_newtable(L);
  sip_push_text(L, "phase", phases[host->phase]);
  sip_push_text(L, "program", SIP_VERSION);
  sip_push_text(L, "script", host->options->script);
  sip_push_text(L, "http", host->http);
  sip_push_number(L, "uptime_ms", uv_now(&host->loop) - host->started_ms);
  sip_push_number(L, "memory_bytes", sip_vm_memory_bytes(host->vm));
  sip_push_number(L, "tasks", sip_task_count(host->vm));
  sip_push_number(L, "workers", (uint64_t)host->options->workers);
  sip_push_number(L, "reloads", host->reloads);
  sip_push_number(L, "refused", host->refused);
  sip_push_flag(L, "may_embed", host->options->embedded);
  sip_push_flag(L, "connected", sip_modules_connected(host->vm));
  if (host->script != NULL) {
    sip_push_text(L, "version", sip_script_version(host->script));
    sip_push_number(L, "generation", sip_script_number(host->script));
  }
  if (host->reload_error.code != 0) {
    sip_push_text(L, "reload_error", host->reload_error.message);
  }
  return 1;
}

static int l_set_http(lua_State *L)
{
  struct sip_host *host = host_of(L);

  (void)snprintf(host->http, sizeof host->http, "%s", luaL_checkstring(L, 1));
  return 0;
}

static int l_set_console(lua_State *L)
{
  struct sip_host *host = host_of(L);

  (void)snprintf(host->console, sizeof host->console, "%s", luaL_checkstring(L, 1));
  return 0;
}

static void reload_cancel(struct sip_wait *wait)
{
  sip_list_remove(&SIP_CONTAINER(wait, struct sip_reload_wait, wait)->node);
}

static int reload_finish(lua_State *L, struct sip_wait *wait)
{
  const struct sip_host *host = host_of(L);

  if (wait->status == UV_ECANCELED || wait->status == UV_ETIMEDOUT) {
    return sip_push_error(L, wait->status, "reload");
  }
  if (wait->status < 0) {
    return sip_push_err(L, &host->reload_error);
  }
  lua_pushstring(L, sip_script_version(host->script));
  return 1;
}

static int l_reload(lua_State *L)
{
  struct sip_host *host = host_of(L);
  struct sip_reload_wait *wait;

  if (host->phase != SIP_HOST_RUNNING) {
    return sip_push_error(L, SIP_EBUSY, "reload: the program is starting or stopping");
  }
  lua_settop(L, 0);
  wait = lua_newuserdatauv(L, sizeof *wait, 0); /* the suspended stack keeps it */
  sip_wait_init(&wait->wait, reload_cancel, reload_finish);
  sip_list_init(&wait->node);
  sip_list_push(&host->reload_next, &wait->node);
  sip_host_reload(host);
  return sip_await(L, &wait->wait, SIP_FOREVER);
}

/** A broker in this process makes a topic; one elsewhere is asked over Kafka. */
static int l_create_topic(lua_State *L)
{
  struct sip_host *host = host_of(L);
  const char *name = luaL_checkstring(L, 1);
  lua_Integer partitions = luaL_checkinteger(L, 2);
  struct sip_err err = { 0 };

  if (host->embedded == NULL) {
    return sip_push_error(L, SIP_ENOTFOUND, "create topic: no broker in this process");
  }
  if (partitions < 1 || partitions > INT16_MAX ||
      sip_embedded_broker_create_topic(host->embedded, name, (int)partitions, &err) < 0) {
    return err.code != 0 ? sip_push_err(L, &err)
                         : sip_push_error(L, UV_EINVAL, "create topic: partitions");
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_tap(lua_State *L)
{
  return sip_push_tap(L, host_of(L)->tap);
}

static int open_host(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "status", l_status },
    { "workers", l_workers },
    { "set_http", l_set_http },
    { "set_console", l_set_console },
    { "reload", l_reload },
    { "tap", l_tap },
    { "create_topic", l_create_topic },
    { NULL, NULL },
  };

  luaL_newlib(L, functions);
  return 1;
}

int sip_host_provide(struct sip_host *host, struct sip_err *err)
{
  int rc = sip_vm_set_service(host->vm, &HOST_KEY, host);

  if (rc < 0) {
    return sip_err_set(err, rc, "no room for another service of the script engine");
  }
  return sip_vm_provide(host->vm, "sipeat.core.host", open_host, err);
}
