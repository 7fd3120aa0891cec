/* list_lua.c - the machine's serial ports as a table; looked for on the work pool. Loop thread. */
#include "serial/list_lua.h"

#include "serial/list.h"
#include "vm/job.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

struct listing {
  struct sip_job base;
  struct sip_port_info *ports; /* owned */
  int count;                   /* or a negative code */
  struct sip_err err;
};

static void listing_free(struct sip_job *base)
{
  struct listing *listing = (struct listing *)base;

  free(listing->ports);
  free(listing);
}

static void listing_run(struct sip_job *base)
{
  struct listing *listing = (struct listing *)base;

  listing->count = sip_port_list(&listing->ports, &listing->err);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
  if (text[0] != '\0') {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
  }
}

static void push_port(lua_State *L, const struct sip_port_info *port)
{
  lua_createtable(L, 0, 9);
  set_text(L, "path", port->path);
  set_text(L, "by_id", port->by_id);
  set_text(L, "by_path", port->by_path);
  set_text(L, "description", port->description);
  set_text(L, "driver", port->driver);
  set_text(L, "serial", port->serial);
  set_text(L, "holder", port->holder);
  if (port->vid >= 0) {
    lua_pushinteger(L, port->vid);
    lua_setfield(L, -2, "vid");
    lua_pushinteger(L, port->pid);
    lua_setfield(L, -2, "pid");
  }
}

static int listing_finish(lua_State *L, struct sip_job *base)
{
  const struct listing *listing = (const struct listing *)base;

  if (listing->count < 0) {
    return sip_push_err(L, &listing->err);
  }
  lua_createtable(L, listing->count, 0);
  for (int i = 0; i < listing->count; i++) {
    push_port(L, &listing->ports[i]);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

int sip_l_serial_list(lua_State *L)
{
  static const struct sip_job_kind kind = { "serial list", sizeof(struct listing), listing_run,
                                            listing_finish, listing_free };
  struct listing *listing;

  lua_settop(L, 0);
  listing = sip_job_new(L, &kind);
  return sip_job_await(L, &listing->base);
}
