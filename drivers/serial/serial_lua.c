/* serial_lua.c - module sipeat.core.serial: the primitives under sipeat.serial (stdlib/serial.lua).
 *
 * open{port, protocol?, settings?, simulate?, baud?, bits?, parity?, stop?, dtr?, rts?, rs485?,
 * flow?, settle_ms?, reopen?, patient?} -> line   waits for the first attempt, unless patient
 * line:command(name, fields, timeout_ms) -> fields of the result      waits
 * line:next(timeout_ms) -> a note {name, ticket?, …}                   waits
 * line:state() -> table; line:close()
 * list() -> ports; protocols() -> list; describe(protocol, bytes, from_host) -> count, text
 * checksum(name, bytes) -> bytes
 * Each failure of the world is nil, message, code. Loop thread. */
#include "serial/serial_lua.h"

#include "serial/list_lua.h"
#include "serial/note_lua.h"
#include "serial/protocols_lua.h"
#include "serial/raw.h"
#include "serial/serial.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char LINE[] = "sipeat.serial.line", OP[] = "sipeat.serial.op";
static const char SERVICE; /* its address is the key */
static struct service *const STOPPED =
  (struct service *)&SERVICE; /* its value after the stop; never followed */

/* What a state has of the driver. */
struct service {
  struct sip_serial *serial; /* counted; NULL until needed */
  struct sip_list handles;   /* open ones */
};

/* A line as Lua sees it; lives as long as its box. */
struct handle {
  struct sip_list link;         /* in the service's list */
  struct sip_serial_line *line; /* NULL once closed */
  struct sip_list commands;     /* ops that wait for a result */
  struct op *next, *opening;    /* borrowed: who waits for a note, and for the first attempt */
  uint64_t ticket;              /* the last one given */
};

/* One wait. */
struct op {
  struct sip_wait wait;
  struct sip_list link;
  struct handle *handle; /* borrowed; NULL: it waits no more */
  uint64_t ticket;
  struct sip_note *note; /* what it waited for */
};

/* --- lifetimes --- */

static void op_detach(struct op *op)
{
  sip_list_remove(&op->link);
  if (op->handle != NULL) {
    if (op->handle->next == op) {
      op->handle->next = NULL;
    }
    if (op->handle->opening == op) {
      op->handle->opening = NULL;
    }
    op->handle = NULL;
  }
}

static void op_wake(struct op *op, int status)
{
  op_detach(op);
  sip_wake(&op->wait, status);
}

static int op_gc(lua_State *L)
{
  struct op **box = luaL_checkudata(L, 1, OP), *op = *box;

  *box = NULL;
  if (op != NULL) {
    op_detach(op);
    free(op->note);
    free(op);
  }
  return 0;
}

static void op_cancel(struct sip_wait *wait)
{
  op_detach(SIP_CONTAINER(wait, struct op, wait));
}

/* A wait in a box on top of the stack. */
static struct op *op_new(lua_State *L, struct handle *handle, sip_wait_finish_fn finish)
{
  struct op **box = sip_box_new(L, OP, op_gc), *op = calloc(1, sizeof *op);

  if (op == NULL) {
    luaL_error(L, "serial: not enough memory");
    return NULL; /* not reached */
  }
  *box = op;
  sip_list_init(&op->link);
  op->handle = handle;
  sip_wait_init(&op->wait, op_cancel, finish);
  return op;
}

static void handle_close(struct handle *handle)
{
  struct sip_list *node;

  sip_list_remove(&handle->link);
  sip_serial_close(handle->line);
  handle->line = NULL;
  while ((node = sip_list_shift(&handle->commands)) != NULL) {
    op_wake(SIP_CONTAINER(node, struct op, link), SIP_ECLOSED);
  }
  if (handle->next != NULL) {
    op_wake(handle->next, SIP_ECLOSED);
  }
  if (handle->opening != NULL) {
    op_wake(handle->opening, SIP_ECLOSED);
  }
}

static int handle_gc(lua_State *L)
{
  struct handle **box = luaL_checkudata(L, 1, LINE), *handle = *box;

  *box = NULL;
  if (handle != NULL) {
    handle_close(handle);
    free(handle);
  }
  return 0;
}

/* --- from the thread --- */

static void handle_on_result(void *arg, struct sip_note *result)
{
  struct handle *handle = arg;

  for (struct sip_list *n = handle->commands.next; n != &handle->commands; n = n->next) {
    struct op *op = SIP_CONTAINER(n, struct op, link);

    if (op->ticket == result->ticket) {
      op->note = result;
      op_wake(op, 0);
      return;
    }
  }
  result->name = "late"; /* whoever asked has gone: it is news for whoever listens */
  sip_serial_keep(handle->line, result);
}

static void handle_on_change(void *arg)
{
  struct handle *handle = arg;
  struct sip_serial_state state;

  if (handle->opening != NULL) {
    sip_serial_state(handle->line, &state);
    if (state.attempts > 0) {
      op_wake(handle->opening, 0);
    }
  }
  if (handle->next != NULL) {
    struct sip_note *note = sip_serial_next(handle->line);

    if (note != NULL) {
      handle->next->note = note;
      op_wake(handle->next, 0);
    }
  }
}

/* --- open --- */

static struct service *service_of(lua_State *L)
{
  struct service *service = sip_vm_service(L, &SERVICE);

  if (service == STOPPED) {
    luaL_error(L, "serial: the program is ending");
  }
  if (service == NULL) {
    service = calloc(1, sizeof *service);
    if (service == NULL || sip_vm_set_service(sip_vm_of(L), &SERVICE, service) < 0) {
      free(service);
      luaL_error(L, "serial: not enough memory");
      return NULL; /* not reached */
    }
    sip_list_init(&service->handles);
  }
  return service;
}

static const char *text_field(lua_State *L, const char *key)
{
  const char *text;

  (void)lua_getfield(L, 1, key);
  text = luaL_optstring(L, -1, NULL);
  lua_pop(L, 1); /* the table keeps it */
  return text;
}

static unsigned number_field(lua_State *L, const char *key, unsigned otherwise)
{
  lua_Integer number;

  (void)lua_getfield(L, 1, key);
  number = luaL_optinteger(L, -1, (lua_Integer)otherwise);
  luaL_argcheck(L, number >= 0 && number <= INT32_MAX, 1, key);
  lua_pop(L, 1);
  return (unsigned)number;
}

/* true, false, or `otherwise` where there is nothing. */
static int flag_field(lua_State *L, const char *key, int otherwise)
{
  int flag = otherwise;

  if (lua_getfield(L, 1, key) != LUA_TNIL) {
    flag = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  return flag;
}

static const struct sip_protocol *protocol_field(lua_State *L)
{
  const char *name = text_field(L, "protocol");
  const struct sip_protocol *protocol = name == NULL ? &sip_protocol_raw : sip_protocol_find(name);

  luaL_argcheck(L, protocol != NULL, 1, "there is no such protocol");
  return protocol;
}

static void read_port(lua_State *L, const struct sip_protocol *protocol,
                      struct sip_port_settings *port)
{
  static const char *const flows[] = { "none", "hard", "soft", NULL };
  const char *name = text_field(L, "port");
  struct sip_line_settings *line = &port->line;

  memset(port, 0, sizeof *port);
  name = name == NULL ? "" : name;
  luaL_argcheck(L, strlen(name) < sizeof port->name, 1, "the name of the port is too long");
  memcpy(port->name, name, strlen(name) + 1);
  if (name[0] != '\0') { /* else: a simulated board */
    sip_permit(L, SIP_PERMIT_PORT, name);
  }
  *line = protocol->line;
  line->baud = number_field(L, "baud", line->baud);
  line->bits = number_field(L, "bits", line->bits);
  line->stop = number_field(L, "stop", line->stop);
  (void)lua_getfield(L, 1, "parity");
  line->parity = (enum sip_parity)luaL_checkoption(L, -1, sip_serial_parities[line->parity],
                                                   sip_serial_parities);
  lua_pop(L, 1);
  line->dtr = flag_field(L, "dtr", line->dtr);
  line->rts = flag_field(L, "rts", line->rts);
  port->rs485 = flag_field(L, "rs485", 0) != 0;
  (void)lua_getfield(L, 1, "flow");
  port->flow = (enum sip_flow)luaL_checkoption(L, -1, "none", flows);
  lua_pop(L, 1);
}

/* stack: options, box of the line, box of the operation */
static int open_finish(lua_State *L, struct sip_wait *wait)
{
  struct handle *handle = *(struct handle **)luaL_checkudata(L, 2, LINE);
  struct sip_serial_state state = { 0 };
  int status = wait->status;

  if (handle->line == NULL) {
    return sip_push_error(L, SIP_ECLOSED, "serial");
  }
  sip_serial_state(handle->line, &state);
  if (status < 0 || !state.up) {
    handle_close(handle);
    return status < 0 ? sip_push_error(L, status, "serial") : sip_push_err(L, &state.err);
  }
  lua_pushvalue(L, 2);
  return 1;
}

static int l_command(lua_State *L);
static int l_next(lua_State *L);
static int l_state(lua_State *L);
static int l_traffic(lua_State *L);
static int l_close(lua_State *L);

static struct handle *handle_new(lua_State *L)
{
  static const luaL_Reg methods[] = { { "command", l_command }, { "next", l_next },
                                      { "state", l_state },     { "traffic", l_traffic },
                                      { "close", l_close },     { NULL, NULL } };
  struct handle **box = sip_box_class(L, LINE, handle_gc, methods);
  struct handle *handle = calloc(1, sizeof *handle);

  if (handle == NULL) {
    luaL_error(L, "serial: not enough memory");
    return NULL; /* not reached */
  }
  sip_list_init(&handle->link);
  sip_list_init(&handle->commands);
  *box = handle;
  return handle;
}

static int l_open(lua_State *L)
{
  static const struct sip_serial_callbacks callbacks = { handle_on_result, handle_on_change };
  struct service *service = service_of(L);
  struct sip_note settings = { .name = "settings" };
  struct sip_serial_options options = { .settings = &settings };
  struct sip_port_settings port;
  struct sip_err err = { 0 };
  struct handle *handle;
  struct op *op;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  options.protocol = protocol_field(L);
  options.port = &port;
  read_port(L, options.protocol, &port);
  options.settle_ms = number_field(L, "settle_ms", 0);
  options.simulate = flag_field(L, "simulate", 0) != 0;
  options.reopen = flag_field(L, "reopen", 1) != 0;
  options.patient = flag_field(L, "patient", 0) != 0;
  handle = handle_new(L);
  op = op_new(L, handle, open_finish);
  if (lua_getfield(L, 1, "settings") != LUA_TNIL) {
    sip_check_note(L, 4, &settings); /* borrowed from the table, which the options keep */
  }
  lua_settop(L, 3);
  if ((service->serial == NULL && sip_serial_new(&service->serial, &err) < 0) ||
      sip_serial_open(&handle->line, service->serial, sip_vm_loop(L), &options, &callbacks, handle,
                      &err) < 0) {
    return sip_push_err(L, &err);
  }
  sip_list_push(&service->handles, &handle->link);
  if (options.patient) {
    lua_settop(L, 2);
    return 1;
  }
  handle->opening = op;
  return sip_await(L, &op->wait, SIP_FOREVER); /* each attempt ends by itself */
}

/* --- methods --- */

static struct handle *check_handle(lua_State *L)
{
  struct handle **box = luaL_checkudata(L, 1, LINE);

  return *box != NULL && (*box)->line != NULL ? *box : NULL;
}

static int push_closed(lua_State *L)
{
  struct sip_err err = { 0 };

  (void)sip_err_set(&err, SIP_ECLOSED, "serial: the line is closed");
  return sip_push_err(L, &err);
}

static uint64_t check_timeout(lua_State *L, int arg)
{
  lua_Integer ms = luaL_optinteger(L, arg, -1);

  return ms < 0 ? SIP_FOREVER : (uint64_t)ms;
}

/* Takes the note out of the operation at `index` and pushes what it says. */
static int push_outcome(lua_State *L, int index)
{
  struct op *op = *(struct op **)luaL_checkudata(L, index, OP);
  const struct sip_note *note = op->note;
  const struct sip_value *message, *name;
  struct sip_err err = { 0 };

  if (note->ticket == 0 || strcmp(note->name, "refused") != 0) {
    sip_push_note(L, note);
    return 1;
  }
  message = sip_note_find(note, "message");
  name = sip_note_find(note, "name");
  (void)sip_err_named(&err, (int)sip_note_number(note, "code", UV_EINVAL),
                      name == NULL ? "EINVAL" : name->text, "serial: %s",
                      message == NULL ? note->name : message->text);
  return sip_push_err(L, &err);
}

static void release_op(lua_State *L, int index)
{
  lua_pushcfunction(L, op_gc); /* now, not when the collector gets to it */
  lua_pushvalue(L, index);
  lua_call(L, 1, 0);
}

/* stack: line, name, fields, timeout, operation */
static int command_finish(lua_State *L, struct sip_wait *wait)
{
  struct sip_err err = { 0 };
  int status = wait->status, count;

  if (status == 0) {
    count = push_outcome(L, 5);
  } else {
    (void)sip_err_set(&err, status, "%s: %s", lua_tostring(L, 2),
                      status == UV_ETIMEDOUT
                        ? "no result in time (it may still come: next() then gives it, as late)"
                      : status == SIP_ECLOSED ? "the line was closed"
                                              : uv_strerror(status));
    count = sip_push_err(L, &err);
  }
  release_op(L, 5);
  return count;
}

static int l_command(lua_State *L)
{
  struct handle *handle = check_handle(L);
  struct sip_note command = { .name = luaL_checkstring(L, 2) };
  uint64_t timeout_ms = check_timeout(L, 4);
  struct sip_err err = { 0 };
  struct sip_task *task = sip_task_current(L);
  struct op *op;

  lua_settop(L, 4);
  if (handle == NULL) {
    return push_closed(L);
  }
  if (!lua_isnil(L, 3)) {
    sip_check_note(L, 3, &command);
  }
  op = op_new(L, handle, command_finish);
  op->ticket = command.ticket = ++handle->ticket;
  if (task == NULL || !sip_task_killed(task)) { /* a task that was stopped moves nothing */
    if (sip_serial_command(handle->line, &command, &err) < 0) {
      return sip_push_err(L, &err);
    }
    sip_list_push(&handle->commands, &op->link);
  }
  return sip_await(L, &op->wait, timeout_ms);
}

/* stack: line, timeout, operation */
static int next_finish(lua_State *L, struct sip_wait *wait)
{
  int status = wait->status, count;

  count = status == 0 ? push_outcome(L, 3) : sip_push_error(L, status, "serial next");
  release_op(L, 3);
  return count;
}

static int l_next(lua_State *L)
{
  struct handle *handle = check_handle(L);
  uint64_t timeout_ms = check_timeout(L, 2);
  struct op *op;

  lua_settop(L, 2);
  if (handle == NULL) {
    return push_closed(L);
  }
  if (handle->next != NULL) {
    return sip_push_error(L, SIP_EBUSY, "serial next: another task waits here");
  }
  op = op_new(L, handle, next_finish);
  op->note = sip_serial_next(handle->line);
  if (op->note != NULL) {
    op_detach(op);
    return push_outcome(L, 3);
  }
  handle->next = op;
  return sip_await(L, &op->wait, timeout_ms);
}

static void set_number(lua_State *L, const char *name, uint64_t number)
{
  lua_pushinteger(L, (lua_Integer)number);
  lua_setfield(L, -2, name);
}

static int l_state(lua_State *L)
{
  struct handle *handle = check_handle(L);
  struct service *service = sip_vm_service(L, &SERVICE);
  struct sip_serial_state state = { 0 };

  lua_createtable(L, 0, 10);
  if (handle != NULL) {
    sip_serial_state(handle->line, &state);
  }
  lua_pushboolean(L, state.up);
  lua_setfield(L, -2, "up");
  lua_pushboolean(L, handle == NULL);
  lua_setfield(L, -2, "closed");
  set_number(L, "opened", state.opened);
  set_number(L, "lost", state.lost);
  set_number(L, "bytes_in", state.bytes_in);
  set_number(L, "bytes_out", state.bytes_out);
  set_number(L, "dropped", state.dropped);
  lua_pushstring(L, state.path);
  lua_setfield(L, -2, "path");
  lua_pushboolean(L, service != STOPPED && service->serial != NULL &&
                       sip_serial_is_realtime(service->serial));
  lua_setfield(L, -2, "realtime");
  if (!state.up && state.err.code < 0) {
    lua_pushstring(L, state.err.message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, state.err.name);
    lua_setfield(L, -2, "code");
  }
  return 1;
}

/* traffic() -> {{at_ms, out, bytes}…}: what passed last, oldest first */
static int l_traffic(lua_State *L)
{
  struct handle *handle = check_handle(L);
  struct sip_serial_traffic *list = lua_newuserdatauv(L, SIP_SERIAL_TRAFFIC * sizeof *list, 0);
  size_t count = handle == NULL ? 0 : sip_serial_traffic(handle->line, list);

  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 3);
    set_number(L, "at_ms", (uint64_t)list[i].at_ms);
    lua_pushboolean(L, list[i].out);
    lua_setfield(L, -2, "out");
    lua_pushlstring(L, (const char *)list[i].bytes, list[i].size);
    lua_setfield(L, -2, "bytes");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_close(lua_State *L)
{
  struct handle *handle = check_handle(L);

  if (handle != NULL) {
    handle_close(handle);
  }
  return 0;
}

/* --- module --- */

int sip_open_serial(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open", l_open },
                                        { "list", sip_l_serial_list },
                                        { "protocols", sip_l_serial_protocols },
                                        { "describe", sip_l_serial_describe },
                                        { "checksum", sip_l_serial_checksum },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}

int sip_serial_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  return sip_vm_provide(vm, "sipeat.core.serial", sip_open_serial, err);
}

int sip_serial_lua_attach(struct sip_vm *vm, struct sip_serial *serial, struct sip_err *err)
{
  struct service *service = calloc(1, sizeof *service);

  if (service == NULL || sip_vm_set_service(vm, &SERVICE, service) < 0) {
    free(service);
    return sip_err_set(err, UV_ENOMEM, "serial: out of memory");
  }
  sip_list_init(&service->handles);
  service->serial = sip_serial_ref(serial);
  return 0;
}

void sip_serial_lua_stop(struct sip_vm *vm)
{
  struct service *service = sip_vm_service(sip_vm_state(vm), &SERVICE);

  if (service == NULL || service == STOPPED) {
    return;
  }
  while (!sip_list_empty(&service->handles)) {
    handle_close(SIP_CONTAINER(service->handles.next, struct handle, link));
  }
  (void)sip_vm_set_service(vm, &SERVICE, STOPPED); /* replacing cannot fail */
  sip_serial_unref(service->serial);
  free(service);
}
