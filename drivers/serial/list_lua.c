/* list_lua.c - the machine's serial ports as a table; looked for on the work pool. Loop thread. */
#include "serial/list_lua.h"

#include "core/work.h"
#include "serial/list.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char LISTING[] = "sipeat.serial.listing";

/* Freed by its box, or, while it works, by its end. */
struct listing {
  struct sip_work work;
  struct sip_wait wait;
  bool working, dropped;
  struct sip_port_info *ports; /* owned */
  int count;                   /* or a negative code */
  struct sip_err err;
};

static void listing_free(struct listing *listing)
{
  free(listing->ports);
  free(listing);
}

static int listing_gc(lua_State *L)
{
  struct listing **box = luaL_checkudata(L, 1, LISTING), *listing = *box;

  *box = NULL;
  if (listing != NULL && listing->working) {
    listing->dropped = true;
    sip_work_cancel(&listing->work);
  } else if (listing != NULL) {
    listing_free(listing);
  }
  return 0;
}

static void listing_run(struct sip_work *work)
{
  struct listing *listing = SIP_CONTAINER(work, struct listing, work);

  listing->count = sip_port_list(&listing->ports, &listing->err);
}

static void listing_on_done(struct sip_work *work, int status)
{
  struct listing *listing = SIP_CONTAINER(work, struct listing, work);

  listing->working = false;
  if (listing->dropped) {
    listing_free(listing);
  } else {
    sip_wake(&listing->wait, status);
  }
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

static int listing_finish(lua_State *L, struct sip_wait *wait)
{
  const struct listing *listing = SIP_CONTAINER(wait, struct listing, wait);

  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "serial list");
  }
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
  struct listing **box, *listing;
  int rc;

  lua_settop(L, 0);
  box = sip_box_new(L, LISTING, listing_gc); /* the suspended stack keeps it */
  listing = calloc(1, sizeof *listing);
  if (listing == NULL) {
    return luaL_error(L, "serial list: not enough memory");
  }
  *box = listing;
  sip_wait_init(&listing->wait, NULL, listing_finish);
  rc = sip_work_start(sip_vm_loop(L), &listing->work, listing_run, listing_on_done);
  if (rc < 0) {
    return sip_push_error(L, rc, "serial list");
  }
  listing->working = true;
  return sip_await(L, &listing->wait, SIP_FOREVER);
}
