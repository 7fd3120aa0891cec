/* httpd_lua.c - module sipeat.core.httpd: servers whose requests are handled by tasks
 * (exchange_lua.c). stdlib/http.lua routes them.
 *
 * listen{host, port, handler, max_head_bytes?, max_body_bytes?, header_timeout_ms?,
 * body_timeout_ms?, idle_timeout_ms?, max_connections?, max_per_client?, rate_per_s?, rate_burst?,
 * proxies?, tls_cert?, tls_key?} -> server | nil, message, code
 * server:address(), :port(), :connections(), :stop(grace_ms) (waits)
 * limiter(per_s, burst) -> limiter: a token bucket for each client
 * body_limits{{method, path, bytes}, …} replaces those that were set before
 * gzip(text) -> text   serve{…} -> handler, request_index(…): see serve_lua.c. Loop thread. */
#include "core/log.h"
#include "http/bindings_lua.h"
#include "http/body_limits.h"
#include "http/gzip.h"
#include "http/limiter.h"
#include "http/server.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char SERVER[] = "sipeat.http.server";

/* Lives until its box is collected and its server has ended. */
struct server_box {
  struct sip_list link; /* in the worker's list while `server` is set */
  struct sip_server *server;
  struct sip_vm *vm; /* borrowed: outlives every box */
  struct sip_wait wait;
  bool waiting, stopping, boxed;
  int handler_ref; /* LUA_NOREF once the server has ended */
};

static void server_on_request(struct sip_exchange *exchange, void *arg)
{
  struct server_box *box = arg;

  sip_exchange_lua_start(box->vm, box->handler_ref, exchange);
}

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

enum { MAX_PROXIES = 64 };

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
  options->max_head_bytes = get_number(L, "max_head_bytes", options->max_head_bytes, 1 << 20);
  options->max_body_bytes = get_number(L, "max_body_bytes", options->max_body_bytes, 1LL << 40);
  options->header_timeout_ms =
    get_number(L, "header_timeout_ms", options->header_timeout_ms, week_ms);
  options->body_timeout_ms = get_number(L, "body_timeout_ms", options->body_timeout_ms, week_ms);
  options->idle_timeout_ms = get_number(L, "idle_timeout_ms", options->idle_timeout_ms, week_ms);
  options->max_connections =
    (unsigned)get_number(L, "max_connections", options->max_connections, 1 << 20);
  options->max_per_client =
    (unsigned)get_number(L, "max_per_client", options->max_per_client, 1 << 20);
  lua_getfield(L, 1, "rate_per_s");
  lua_getfield(L, 1, "rate_burst");
  options->rate_per_s = luaL_optnumber(L, -2, 0);
  options->rate_burst = luaL_optnumber(L, -1, 1);
  luaL_argcheck(L, options->rate_per_s >= 0 && options->rate_burst >= 1, 1, "a rate out of range");
  lua_getfield(L, 1, "tls_cert");
  lua_getfield(L, 1, "tls_key");
  options->tls_cert = luaL_optstring(L, -2, NULL);
  options->tls_key = luaL_optstring(L, -1, NULL);
  lua_pop(L, 4); /* the options table keeps the texts */
}

/* Proxies of the options, into `out`. @return 0, or UV_EINVAL */
static int get_proxies(lua_State *L, struct sip_network *out, struct sip_server_options *options,
                       struct sip_err *err)
{
  lua_Integer count;
  int rc = 0;

  lua_getfield(L, 1, "proxies");
  if (lua_isnil(L, -1)) {
    return 0;
  }
  luaL_checktype(L, -1, LUA_TTABLE);
  count = luaL_len(L, -1);
  luaL_argcheck(L, count <= MAX_PROXIES, 1, "more than 64 proxies");
  for (lua_Integer i = 0; i < count && rc == 0; i++) {
    lua_geti(L, -1, i + 1);
    rc = sip_network_parse(&out[i], luaL_checkstring(L, -1), err);
    lua_pop(L, 1);
  }
  options->proxies = out;
  options->proxy_count = (size_t)count;
  return rc;
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
  struct sip_network proxies[MAX_PROXIES];
  struct server_box **holder, *box;
  struct sip_err err = { 0 };
  int rc;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  get_options(L, &options);
  if (get_proxies(L, proxies, &options, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushfstring(L, "%s:%d", options.host, (int)options.port);
  sip_permit(L, SIP_PERMIT_PORT, lua_tostring(L, -1));
  lua_settop(L, 1);
  options.body_limits = sip_http_state_body_limits(L);
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

/* --- limits --- */

/* body_limits{{method, path, bytes}, …} */
static int l_body_limits(lua_State *L)
{
  struct sip_body_limits *limits = sip_http_state_body_limits(L);
  lua_Integer count;

  luaL_checktype(L, 1, LUA_TTABLE);
  count = luaL_len(L, 1);
  if (limits == NULL) {
    return 0; /* the program is shutting down */
  }
  sip_body_limits_clear(limits);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_geti(L, 1, i);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_geti(L, -1, 1);
    lua_geti(L, -2, 2);
    lua_geti(L, -3, 3);
    if (sip_body_limits_add(limits, luaL_checkstring(L, -3), luaL_checkstring(L, -2),
                            (uint64_t)luaL_checkinteger(L, -1)) < 0) {
      return luaL_error(L, "http: out of memory");
    }
    lua_pop(L, 4);
  }
  return 0;
}

static int limiter_gc(lua_State *L)
{
  struct sip_limiter **box = luaL_checkudata(L, 1, SIP_LIMITER_CLASS);

  sip_limiter_free(*box);
  *box = NULL;
  return 0;
}

static int l_limiter(lua_State *L)
{
  lua_Number per_s = luaL_checknumber(L, 1), burst = luaL_checknumber(L, 2);
  struct sip_limiter **box;

  luaL_argcheck(L, per_s > 0, 1, "a rate above 0");
  luaL_argcheck(L, burst >= 1, 2, "a burst of 1 or more");
  box = sip_box_new(L, SIP_LIMITER_CLASS, limiter_gc);
  if (sip_limiter_new(box, per_s, burst) < 0) {
    return luaL_error(L, "http: out of memory");
  }
  return 1;
}

static int l_gzip(lua_State *L)
{
  struct sip_slice text;
  luaL_Buffer buffer;
  size_t bound;
  long len;

  text.data = luaL_checklstring(L, 1, &text.len);
  bound = sip_gzip_bound(text.len);
  len = sip_gzip(luaL_buffinitsize(L, &buffer, bound), bound, &text, 9);
  if (len < 0) {
    return luaL_error(L, "http: out of memory");
  }
  luaL_pushresultsize(&buffer, (size_t)len);
  return 1;
}

int sip_open_httpd(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "listen", l_listen }, { "limiter", l_limiter }, { "body_limits", l_body_limits },
    { "gzip", l_gzip },     { "serve", sip_l_serve }, { "request_index", sip_l_request_index },
    { NULL, NULL }
  };

  luaL_newlib(L, functions);
  return 1;
}
