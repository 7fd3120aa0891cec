/* outbox_lua.c - module sipeat.core.outbox: settings and state of the process's outbox.
 *
 * configure{path?, max_bytes, when_full} -> true | nil, message, code
 * want(): the script that loads uses it, so that it is opened, or the script refused
 * status() -> table, or nil when this program has no outbox: path, open, queued, queued_bytes,
 *   refused, refused_bytes, oldest_age_ms, put, sent, turned_away, refusals, dropped, repeated,
 *   commits, trouble. See sipeat.outbox in docs/outbox.md. Loop thread. */
#include "outbox/outbox_lua.h"

#include "outbox/outbox.h"
#include "vm/permissions.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char service; /* its address is the key */

struct attached {
  struct sip_outbox *outbox; /* borrowed */
  struct sip_outbox_client *client;
  bool path_is_fixed, wanted;
};

static struct attached *attached_of(lua_State *L)
{
  return sip_vm_service(L, &service);
}

static int l_configure(lua_State *L)
{
  static const char *const policies[] = { "refuse", "wait", "drop_oldest", NULL };
  struct attached *attached = attached_of(L);
  struct sip_outbox_settings settings;
  struct sip_err err;
  const char *path;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (attached == NULL) { /* a verb, or a test: there is nothing to set */
    lua_pushboolean(L, 1);
    return 1;
  }
  settings = sip_outbox_settings(attached->outbox);
  lua_getfield(L, 1, "path");
  path = luaL_optstring(L, -1, NULL);
  if (path != NULL && !attached->path_is_fixed) {
    sip_permit(L, SIP_PERMIT_WRITE, path);
    settings.path = path;
  }
  lua_getfield(L, 1, "max_bytes");
  settings.max_bytes = (uint64_t)luaL_checkinteger(L, -1);
  lua_getfield(L, 1, "when_full");
  settings.when_full = (enum sip_outbox_when_full)luaL_checkoption(L, -1, NULL, policies);
  if (sip_outbox_configure(attached->outbox, &settings, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_want(lua_State *L)
{
  struct attached *attached = attached_of(L);

  if (attached != NULL) {
    attached->wanted = true;
  }
  return 0;
}

static void set(lua_State *L, const char *name, uint64_t value)
{
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

static void set_age(lua_State *L, int64_t oldest_at_ms)
{
  uv_timeval64_t now = { 0 };
  int64_t age_ms;

  (void)uv_gettimeofday(&now); /* fails only without its argument */
  age_ms = now.tv_sec * 1000 + now.tv_usec / 1000 - oldest_at_ms;
  set(L, "oldest_age_ms", oldest_at_ms == 0 || age_ms < 0 ? 0 : (uint64_t)age_ms);
}

static int l_status(lua_State *L)
{
  struct attached *attached = attached_of(L);
  struct sip_outbox_status status;

  if (attached == NULL) {
    lua_pushnil(L);
    return 1;
  }
  sip_outbox_status(attached->outbox, &status);
  lua_createtable(L, 0, 16);
  lua_pushstring(L, status.path);
  lua_setfield(L, -2, "path");
  lua_pushboolean(L, status.open);
  lua_setfield(L, -2, "open");
  set(L, "queued", status.queued);
  set(L, "queued_bytes", status.queued_bytes);
  set(L, "refused", status.refused);
  set(L, "refused_bytes", status.refused_bytes);
  set_age(L, status.oldest_at_ms);
  set(L, "put", status.put);
  set(L, "sent", status.sent);
  set(L, "turned_away", status.turned_away);
  set(L, "refusals", status.refusals);
  set(L, "dropped", status.dropped);
  set(L, "repeated", status.repeated);
  set(L, "commits", status.commits);
  if (status.trouble.code < 0) {
    lua_pushstring(L, status.trouble.message);
    lua_setfield(L, -2, "trouble");
  }
  return 1;
}

static int luaopen_outbox(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "configure", l_configure }, { "want", l_want }, { "status", l_status }, { NULL, NULL }
  };

  luaL_newlib(L, functions);
  return 1;
}

int sip_outbox_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  return sip_vm_provide(vm, "sipeat.core.outbox", luaopen_outbox, err);
}

int sip_outbox_lua_attach(struct sip_vm *vm, struct sip_outbox *outbox, bool path_is_fixed,
                          const struct sip_outlet *onward, struct sip_outlet *way_in,
                          struct sip_err *err)
{
  struct attached *attached = calloc(1, sizeof *attached);
  int rc;

  if (attached == NULL) {
    return sip_err_set(err, UV_ENOMEM, "outbox: out of memory");
  }
  attached->outbox = outbox;
  attached->path_is_fixed = path_is_fixed;
  rc = sip_outbox_attach(&attached->client, outbox, sip_vm_loop(sip_vm_state(vm)), onward, err);
  if (rc < 0) {
    free(attached);
    return rc;
  }
  rc = sip_vm_set_service(vm, &service, attached);
  if (rc < 0) {
    sip_outbox_detach(attached->client);
    free(attached);
    return sip_err_set(err, rc, "outbox: out of memory");
  }
  *way_in = (struct sip_outlet){ sip_outbox_operations(), attached->client };
  return 0;
}

int sip_outbox_lua_open(struct sip_vm *vm, struct sip_err *err)
{
  struct attached *attached = attached_of(sip_vm_state(vm));
  int rc;

  if (attached == NULL || (!attached->wanted && !sip_outbox_left(attached->outbox))) {
    return 0;
  }
  rc = sip_outbox_open(attached->outbox, err);
  /* What another program's outbox holds is that one's concern. */
  return rc == SIP_EBUSY && !attached->wanted ? 0 : rc;
}

void sip_outbox_lua_stop(struct sip_vm *vm)
{
  struct attached *attached = attached_of(sip_vm_state(vm));

  (void)sip_vm_set_service(vm, &service, NULL); /* removing allocates nothing */
  if (attached != NULL) {
    sip_outbox_detach(attached->client);
    free(attached);
  }
}
