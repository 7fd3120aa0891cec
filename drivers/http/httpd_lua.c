/* httpd_lua.c - module sipeat.core.httpd: servers whose requests are handled by tasks.
 * stdlib/http.lua routes them.
 *
 * listen{host, port, handler, max_body_bytes?, header_timeout_ms?, body_timeout_ms?,
 * idle_timeout_ms?, max_connections?, max_per_client?} -> server | nil, message, code
 * server:address(), :port(), :connections(), :stop(grace_ms) (waits)
 * handler(exchange) runs as a task of its own for each request:
 * exchange:head() -> method, target, remote   :headers() -> table   :body() -> bytes
 * exchange:respond(status, headers, body)     :stream(status, headers)
 * exchange:write(bytes) waits while the client is slow   :finish()   each -> true | nil, message,
 * code A task that streams is stopped when its client is gone. Loop thread. */
#include "core/log.h"
#include "http/bindings_lua.h"
#include "http/server.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char SERVER[] = "sipeat.http.server";
static const char EXCHANGE[] = "sipeat.http.exchange";

/* Lives until its box is collected and its server has ended. */
struct server_box {
  struct sip_list link; /* in the worker's list while `server` is set */
  struct sip_server *server;
  struct sip_vm *vm; /* borrowed: outlives every box */
  struct sip_wait wait;
  bool waiting, stopping, boxed;
  int handler_ref; /* LUA_NOREF once the server has ended */
};

/* Lives until its box is collected and its task has ended. */
struct request {
  struct sip_exchange *exchange; /* NULL once the task has ended */
  struct sip_task *task;         /* borrowed; NULL once it has ended */
  struct sip_wait wait;
  bool waiting, boxed, streaming;
};

/* --- requests --- */

static void request_drop(struct request *request)
{
  if (!request->boxed && request->exchange == NULL) {
    free(request);
  }
}

static int request_gc(lua_State *L)
{
  struct request **box = luaL_checkudata(L, 1, EXCHANGE), *request = *box;

  *box = NULL;
  if (request != NULL) {
    request->boxed = false;
    request_drop(request);
  }
  return 0;
}

static void request_on_notify(struct sip_exchange *exchange, void *arg)
{
  struct request *request = arg;
  bool gone = sip_exchange_is_gone(exchange);

  if (request->waiting) {
    request->waiting = false;
    sip_wake(&request->wait, gone ? UV_ECONNRESET : 0);
  }
  if (gone && request->streaming && request->task != NULL) {
    sip_task_kill(request->task); /* nobody reads any more: what it waits for is of no use */
  }
}

static void request_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct request *request = arg;
  struct sip_exchange *exchange = request->exchange;

  (void)nresults;
  if (status != LUA_OK && !request->streaming) {
    sip_log(SIP_LOG_ERROR, "http", sip_task_event_id(task), "%s",
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not enough memory");
  }
  request->task = NULL;
  request->exchange = NULL;
  sip_exchange_release(exchange);
  request_drop(request);
}

static int push_request(lua_State *L, void *arg);

static void server_on_request(struct sip_exchange *exchange, void *arg)
{
  struct server_box *box = arg;
  struct request *request = calloc(1, sizeof *request);

  if (request != NULL) {
    request->exchange = exchange;
    sip_exchange_set_notify(exchange, request_on_notify, request);
    if (sip_task_start(box->vm, box->handler_ref, push_request, request_on_end, request,
                       &request->task) == 0) {
      return;
    }
    request->exchange = NULL;
    request_drop(request);
  }
  sip_exchange_release(exchange); /* answers with 500 */
}

static struct request *check_request(lua_State *L)
{
  struct request **box = luaL_checkudata(L, 1, EXCHANGE);

  if (*box == NULL || (*box)->exchange == NULL) {
    luaL_error(L, "http: the request has ended");
  }
  return *box;
}

static int l_head(lua_State *L)
{
  struct sip_exchange *exchange = check_request(L)->exchange;

  lua_pushstring(L, sip_exchange_method(exchange));
  lua_pushstring(L, sip_exchange_target(exchange));
  lua_pushstring(L, sip_exchange_remote(exchange));
  return 3;
}

static int l_headers(lua_State *L)
{
  sip_push_headers(L, sip_exchange_headers(check_request(L)->exchange));
  return 1;
}

static int l_body(lua_State *L)
{
  struct sip_slice body = sip_exchange_body(check_request(L)->exchange);

  lua_pushlstring(L, body.data == NULL ? "" : body.data, body.len);
  return 1;
}

static int push_outcome(lua_State *L, int rc, const struct sip_err *err)
{
  if (rc < 0) {
    return sip_push_err(L, err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_respond(lua_State *L)
{
  struct request *request = check_request(L);
  lua_Integer status = luaL_checkinteger(L, 2);
  const struct sip_header *headers;
  struct sip_err err = { 0 };
  struct sip_slice body;
  size_t count;

  lua_settop(L, 4);
  body.data = luaL_optlstring(L, 4, "", &body.len);
  count = sip_check_headers(L, 3, &headers);
  luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status is 200 to 599");
  return push_outcome(
    L, sip_exchange_respond(request->exchange, (unsigned)status, headers, count, &body, &err),
    &err);
}

static int l_stream(lua_State *L)
{
  struct request *request = check_request(L);
  lua_Integer status = luaL_checkinteger(L, 2);
  const struct sip_header *headers;
  struct sip_err err = { 0 };
  size_t count;
  int rc;

  lua_settop(L, 3);
  count = sip_check_headers(L, 3, &headers);
  luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status is 200 to 599");
  rc = sip_exchange_stream(request->exchange, (unsigned)status, headers, count, &err);
  request->streaming = rc == 0;
  return push_outcome(L, rc, &err);
}

static int l_abort(lua_State *L)
{
  sip_exchange_abort(check_request(L)->exchange);
  return 0;
}

static int l_gone(lua_State *L)
{
  lua_pushboolean(L, sip_exchange_is_gone(check_request(L)->exchange));
  return 1;
}

static void write_cancel(struct sip_wait *wait)
{
  SIP_CONTAINER(wait, struct request, wait)->waiting = false;
}

static int write_result(lua_State *L, int status)
{
  if (status == UV_ECONNRESET) {
    lua_pushnil(L);
    lua_pushliteral(L, "http server: the client hung up");
    lua_pushliteral(L, "ECONNRESET");
    return 3;
  }
  if (status < 0) {
    return sip_push_error(L, status, "http server: write");
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int write_finish(lua_State *L, struct sip_wait *wait)
{
  return write_result(L, wait->status);
}

static int l_write(lua_State *L)
{
  struct request *request = check_request(L);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  int rc;

  lua_settop(L, 2);
  if (request->waiting) {
    return sip_push_error(L, SIP_EBUSY, "http server: another task is writing");
  }
  rc = sip_exchange_write(request->exchange, data, len);
  if (rc != 1) {
    return write_result(L, rc);
  }
  request->waiting = true;
  sip_wait_init(&request->wait, write_cancel, write_finish);
  return sip_await(L, &request->wait,
                   SIP_FOREVER); /* a client that takes nothing is cut off in the end */
}

static int l_finish(lua_State *L)
{
  sip_exchange_end(check_request(L)->exchange);
  lua_pushboolean(L, 1);
  return 1;
}

static int push_request(lua_State *L, void *arg)
{
  static const luaL_Reg methods[] = { { "head", l_head },     { "headers", l_headers },
                                      { "body", l_body },     { "respond", l_respond },
                                      { "stream", l_stream }, { "write", l_write },
                                      { "finish", l_finish }, { "abort", l_abort },
                                      { "gone", l_gone },     { NULL, NULL } };
  struct request **box = sip_box_class(L, EXCHANGE, request_gc, methods);

  *box = arg;
  (*box)->boxed = true; /* nothing throws from here to the end of the push */
  return 1;
}

/* --- servers --- */

static void box_ended(struct server_box *box)
{
  sip_list_remove(&box->link);
  box->server = NULL;
  luaL_unref(sip_vm_state(box->vm), LUA_REGISTRYINDEX, box->handler_ref);
  box->handler_ref = LUA_NOREF;
  if (box->waiting) {
    box->waiting = false;
    sip_wake(&box->wait, 0);
  }
  if (!box->boxed) {
    free(box);
  }
}

static int server_gc(lua_State *L)
{
  struct server_box **holder = luaL_checkudata(L, 1, SERVER), *box = *holder;

  *holder = NULL;
  if (box != NULL) {
    box->boxed = false; /* a running server goes on without its object */
    if (box->server == NULL) {
      free(box);
    }
  }
  return 0;
}

void sip_httpd_lua_stop_all(struct sip_list *servers)
{
  while (!sip_list_empty(servers)) {
    struct server_box *box = SIP_CONTAINER(servers->next, struct server_box, link);

    sip_server_free(box->server);
    box_ended(box);
  }
}

static uint64_t get_number(lua_State *L, const char *key, uint64_t fallback, lua_Integer max)
{
  lua_Integer number;

  lua_getfield(L, 1, key);
  number = luaL_optinteger(L, -1, (lua_Integer)fallback);
  luaL_argcheck(L, number >= 0 && number <= max, 1, "a number of the options is out of range");
  lua_pop(L, 1);
  return (uint64_t)number;
}

static void get_options(lua_State *L, struct sip_server_options *options)
{
  static const lua_Integer week_ms = 7LL * 24 * 3600 * 1000;

  sip_server_options_init(options);
  lua_getfield(L, 1, "host");
  options->host = luaL_optstring(L, -1, options->host);
  lua_pop(L, 1); /* the options table keeps it */
  options->port = (uint16_t)get_number(L, "port", 0, 65535);
  options->max_body_bytes = get_number(L, "max_body_bytes", options->max_body_bytes, 1LL << 40);
  options->header_timeout_ms =
    get_number(L, "header_timeout_ms", options->header_timeout_ms, week_ms);
  options->body_timeout_ms = get_number(L, "body_timeout_ms", options->body_timeout_ms, week_ms);
  options->idle_timeout_ms = get_number(L, "idle_timeout_ms", options->idle_timeout_ms, week_ms);
  options->max_connections =
    (unsigned)get_number(L, "max_connections", options->max_connections, 1 << 20);
  options->max_per_client =
    (unsigned)get_number(L, "max_per_client", options->max_per_client, 1 << 20);
}

static struct server_box *check_server(lua_State *L)
{
  struct server_box **holder = luaL_checkudata(L, 1, SERVER);

  return *holder;
}

static int l_address(lua_State *L)
{
  struct server_box *box = check_server(L);

  lua_pushstring(L, box == NULL || box->server == NULL ? "" : sip_server_address(box->server));
  return 1;
}

static int l_port(lua_State *L)
{
  struct server_box *box = check_server(L);

  lua_pushinteger(L, box == NULL || box->server == NULL ? 0 : sip_server_port(box->server));
  return 1;
}

static int l_connections(lua_State *L)
{
  struct server_box *box = check_server(L);
  size_t count = box == NULL || box->server == NULL ? 0 : sip_server_connections(box->server);

  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

static void server_on_stopped(void *arg)
{
  box_ended(arg);
}

static void stop_cancel(struct sip_wait *wait)
{
  SIP_CONTAINER(wait, struct server_box, wait)->waiting = false; /* the stop itself goes on */
}

static int stop_finish(lua_State *L, struct sip_wait *wait)
{
  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "http server: stop");
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_stop(lua_State *L)
{
  struct server_box *box = check_server(L);
  lua_Integer grace_ms = luaL_optinteger(L, 2, 0);

  luaL_argcheck(L, grace_ms >= 0, 2, "a time of 0 or more");
  lua_settop(L, 1);
  if (box == NULL || box->server == NULL) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if (box->stopping) {
    return sip_push_error(L, SIP_EBUSY, "http server: it is stopping already");
  }
  box->stopping = true;
  box->waiting = true;
  sip_wait_init(&box->wait, stop_cancel, stop_finish);
  sip_server_stop(box->server, (uint64_t)grace_ms, server_on_stopped, box);
  return sip_await(L, &box->wait, SIP_FOREVER); /* the grace is its deadline */
}

static int l_listen(lua_State *L)
{
  static const luaL_Reg methods[] = { { "address", l_address },
                                      { "port", l_port },
                                      { "connections", l_connections },
                                      { "stop", l_stop },
                                      { NULL, NULL } };
  struct sip_list *servers = sip_http_state_servers(L);
  struct sip_server_options options;
  struct server_box **holder, *box;
  struct sip_err err = { 0 };
  int rc;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  get_options(L, &options);
  if (servers == NULL) {
    return sip_push_error(L, SIP_ECLOSED, "http server: the program is shutting down");
  }
  holder = sip_box_class(L, SERVER, server_gc, methods);
  lua_getfield(L, 1, "handler");
  luaL_checktype(L, -1, LUA_TFUNCTION);
  box = calloc(1, sizeof *box);
  if (box == NULL) {
    return luaL_error(L, "http server: out of memory");
  }
  box->handler_ref = LUA_NOREF;
  box->boxed = true;
  sip_list_init(&box->link);
  *holder = box;
  box->vm = sip_vm_of(L);
  box->handler_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  rc = sip_server_start(&box->server, sip_vm_loop(L), &options, server_on_request, box, &err);
  if (rc < 0) {
    luaL_unref(L, LUA_REGISTRYINDEX, box->handler_ref);
    box->handler_ref = LUA_NOREF;
    return sip_push_err(L, &err);
  }
  sip_list_push(servers, &box->link);
  return 1;
}

int sip_open_httpd(lua_State *L)
{
  static const luaL_Reg functions[] = { { "listen", l_listen }, { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
