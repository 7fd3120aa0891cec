/* client_lua.c - module sipeat.core.http: requests that a task waits for. stdlib/http.lua checks
 * what it is given.
 *
 * start{method, url, headers = {{name, value}…}, body, timeout_ms, connect_timeout_ms,
 * max_body_bytes, redirects, ca_file, ca_dir, stream} -> call | nil, message, code call:all() ->
 * status, headers, body          call:head() -> status, headers call:read() -> bytes, or nil at the
 * end      call:close() each | nil, message, code. One task at a time: a second one gets "EBUSY".
 * Loop thread. */
#include "http/bindings_lua.h"
#include "http/client.h"
#include "http/percent.h"
#include "http/target.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

enum want { WANT_NOTHING, WANT_HEAD, WANT_DATA, WANT_END };

struct call {
  struct sip_wait wait;
  enum want want;             /* of the waiting task */
  struct sip_http_call *http; /* NULL once closed */
};

static const char CALL[] = "sipeat.http.call";

/* --- waiting --- */

static bool call_has(const struct call *call, enum want want)
{
  return sip_http_call_is_done(call->http, NULL) ||
         (want == WANT_HEAD && sip_http_call_has_head(call->http)) ||
         (want == WANT_DATA && sip_http_call_body(call->http).len > 0);
}

static void call_on_notify(struct sip_http_call *http, void *arg)
{
  struct call *call = arg;

  (void)http;
  if (call->want != WANT_NOTHING && call->http != NULL && call_has(call, call->want)) {
    sip_wake(&call->wait, 0);
  }
}

static void call_close(struct call *call)
{
  struct sip_http_call *http = call->http;

  call->http = NULL; /* first: nothing finds it from here on */
  sip_http_call_free(http);
}

static void call_cancel(struct sip_wait *wait)
{
  call_close(SIP_CONTAINER(wait, struct call, wait));
}

static int push_head(lua_State *L, const struct call *call)
{
  lua_pushinteger(L, sip_http_call_status(call->http));
  sip_push_headers(L, sip_http_call_headers(call->http));
  return 2;
}

static int push_chunk(lua_State *L, struct call *call)
{
  struct sip_slice body = sip_http_call_body(call->http);
  struct sip_buf taken = SIP_BUF_INIT;

  if (body.len == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, body.data, body.len); /* before the bytes are taken: it may throw */
  sip_http_call_take(call->http, &taken);
  sip_buf_deinit(&taken);
  return 1;
}

static int push_result(lua_State *L, struct call *call, enum want want)
{
  bool done = false;
  struct sip_err err = { 0 };
  struct sip_slice body = sip_http_call_body(call->http);

  done = sip_http_call_is_done(call->http, &err);
  if (done && err.code < 0 && !(want == WANT_DATA && body.len > 0)) {
    call_close(call);
    return sip_push_err(L, &err);
  }
  if (want == WANT_DATA) {
    return push_chunk(L, call);
  }
  (void)push_head(L, call);
  if (want == WANT_HEAD) {
    return 2;
  }
  lua_pushlstring(L, body.data == NULL ? "" : body.data, body.len);
  call_close(call);
  return 3;
}

static int call_finish(lua_State *L, struct sip_wait *wait)
{
  struct call *call = SIP_CONTAINER(wait, struct call, wait);
  enum want want = call->want;

  call->want = WANT_NOTHING;
  if (wait->status < 0 || call->http == NULL) {
    return sip_push_error(L, wait->status < 0 ? wait->status : SIP_ECLOSED, "http");
  }
  return push_result(L, call, want);
}

static int call_await(lua_State *L, enum want want)
{
  struct call **box = luaL_checkudata(L, 1, CALL), *call = *box;

  lua_settop(L, 1); /* the suspended stack keeps the box */
  if (call == NULL || call->http == NULL) {
    return sip_push_error(L, SIP_ECLOSED, "http");
  }
  if (call->want != WANT_NOTHING) {
    return sip_push_error(L, SIP_EBUSY, "http: another task waits for this call");
  }
  if (call_has(call, want)) {
    return push_result(L, call, want);
  }
  call->want = want;
  sip_wait_init(&call->wait, call_cancel, call_finish);
  return sip_await(L, &call->wait, SIP_FOREVER); /* the call has its own deadline */
}

static int l_all(lua_State *L)
{
  return call_await(L, WANT_END);
}

static int l_head(lua_State *L)
{
  return call_await(L, WANT_HEAD);
}

static int l_read(lua_State *L)
{
  return call_await(L, WANT_DATA);
}

static int l_close(lua_State *L)
{
  struct call **box = luaL_checkudata(L, 1, CALL), *call = *box;

  if (call != NULL && call->http != NULL) {
    call_close(call);
    if (call->want != WANT_NOTHING) {
      sip_wake(&call->wait, SIP_ECLOSED);
    }
  }
  return 0;
}

static int call_gc(lua_State *L)
{
  struct call **box = luaL_checkudata(L, 1, CALL), *call = *box;

  *box = NULL;
  if (call != NULL) { /* nobody waits: a waiting task's stack would hold the box */
    call_close(call);
    free(call);
  }
  return 0;
}

/* --- starting --- */

static struct sip_slice get_text(lua_State *L, const char *key)
{
  struct sip_slice text = { NULL, 0 };

  lua_getfield(L, 1, key);
  if (!lua_isnil(L, -1)) {
    text.data = luaL_checklstring(L, -1, &text.len);
  }
  lua_pop(L, 1); /* the options table keeps it */
  return text;
}

static uint64_t get_number(lua_State *L, const char *key, uint64_t fallback)
{
  uint64_t number = fallback;

  lua_getfield(L, 1, key);
  if (!lua_isnil(L, -1)) {
    lua_Integer integer = luaL_checkinteger(L, -1);

    luaL_argcheck(L, integer >= 0, 1, "a number of the options is negative");
    number = (uint64_t)integer;
  }
  lua_pop(L, 1);
  return number;
}

static void get_request(lua_State *L, struct sip_http_request *request)
{
  static const uint64_t DEFAULT_MS = 30000;

  luaL_checktype(L, 1, LUA_TTABLE);
  request->method = get_text(L, "method");
  request->url = get_text(L, "url");
  request->body = get_text(L, "body");
  request->transfer.timeout_ms = get_number(L, "timeout_ms", DEFAULT_MS);
  request->transfer.connect_timeout_ms = get_number(L, "connect_timeout_ms", DEFAULT_MS);
  luaL_argcheck(L, request->transfer.timeout_ms > 0 && request->transfer.connect_timeout_ms > 0, 1,
                "a timeout of 0");
  request->transfer.ca_file = get_text(L, "ca_file").data;
  request->transfer.ca_dir = get_text(L, "ca_dir").data;
  request->max_body_bytes = get_number(L, "max_body_bytes", UINT64_MAX);
  request->redirects = (unsigned)get_number(L, "redirects", 0);
  lua_getfield(L, 1, "stream");
  request->stream = lua_toboolean(L, -1);
  lua_pop(L, 1);
  lua_getfield(L, 1, "headers");
  request->header_count = sip_check_headers(L, lua_gettop(L), &request->headers);
}

/* libcurl, below the loop. */
static bool may_follow(void *arg, const char *place)
{
  return sip_permitted(arg, SIP_PERMIT_HOST, place);
}

/* What is no URL is refused when the call starts. */
static void permit_host(lua_State *L, struct sip_http_request *request)
{
  char place[300];

  if (sip_target_place(&request->url, "http,https", place, sizeof place, NULL) == 0) {
    sip_permit(L, SIP_PERMIT_HOST, place);
  }
  request->may = may_follow;
  request->may_arg = sip_vm_of(L);
}

/* permit(url): as a request to it asks; for what stands in for requests */
static int l_permit(lua_State *L)
{
  struct sip_slice url;
  char place[300];

  url.data = luaL_checklstring(L, 1, &url.len);
  if (sip_target_place(&url, "http,https,smtp,smtps", place, sizeof place, NULL) == 0) {
    sip_permit(L, SIP_PERMIT_HOST, place);
  }
  return 0;
}

static int l_start(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "all", l_all }, { "head", l_head }, { "read", l_read }, { "close", l_close }, { NULL, NULL }
  };
  struct sip_http_request request = { 0 };
  struct sip_multi *multi = NULL;
  struct sip_err err = { 0 };
  struct call **box, *call;

  lua_settop(L, 1);
  get_request(L, &request);
  permit_host(L, &request);
  box = sip_box_class(L, CALL, call_gc, methods);
  call = calloc(1, sizeof *call);
  if (call == NULL) {
    return luaL_error(L, "http: out of memory");
  }
  *box = call;
  if (sip_http_state_multi(L, &multi, &err) < 0 ||
      sip_http_call_start(&call->http, multi, &request, call_on_notify, call, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return 1;
}

/* encode(text) -> text with everything but letters, digits and "-._~" percent-encoded */
static int l_encode(lua_State *L)
{
  struct sip_slice text;
  luaL_Buffer buffer;

  text.data = luaL_checklstring(L, 1, &text.len);
  luaL_argcheck(L, text.len < SIZE_MAX / 4, 1, "too long");
  luaL_pushresultsize(&buffer,
                      sip_percent_encode(luaL_buffinitsize(L, &buffer, text.len * 3), &text));
  return 1;
}

/* decode(text, plus) -> text, or nil when it is not well-formed */
static int l_decode(lua_State *L)
{
  struct sip_slice text;
  luaL_Buffer buffer;
  long len;

  text.data = luaL_checklstring(L, 1, &text.len);
  len = sip_percent_decode(luaL_buffinitsize(L, &buffer, text.len), &text, lua_toboolean(L, 2));
  luaL_pushresultsize(&buffer, len < 0 ? 0 : (size_t)len);
  if (len < 0) {
    lua_pushnil(L);
  }
  return 1;
}

int sip_open_http(lua_State *L)
{
  static const luaL_Reg functions[] = { { "start", l_start },
                                        { "encode", l_encode },
                                        { "decode", l_decode },
                                        { "permit", l_permit },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
