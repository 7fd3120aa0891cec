/* exchange_lua.c - one request in Lua: what the handler of a server gets, in a task of its own.
 *
 * exchange:head() -> method, path, query | nil   :target() :id() :remote() :client() :secure()
 * :proxied() :body()
 * :headers() -> table   :header(name) -> value | nil   :takes_gzip()
 * :multipart(max_parts) -> list of {name, filename, type, body} | nil, message, code
 * :take(limiter) -> true | nil, milliseconds until the client may ask again
 * :respond(status, headers, body, type)   :stream(status, headers, type)
 * :write(bytes) waits while the client is slow   :finish()   each -> true | nil, message, code
 * `headers` is a table of texts, numbers and lists of texts; `type` is the content type when they
 * have none. A task that streams is stopped when its client is gone. Loop thread. */
#include "core/log.h"
#include "http/bindings_lua.h"
#include "http/gzip.h"
#include "http/limiter.h"
#include "http/multipart.h"
#include "http/server.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char EXCHANGE[] = "sipeat.http.exchange";

enum { MAX_HEADERS = 128, MAX_NUMBERS = 8, NUMBER_BYTES = 32 };

/* Lives as long as its task. The box in Lua is anchored meanwhile, and empty afterwards: without
 * a finalizer it costs the collector nothing. */
struct request {
  struct sip_vm *vm; /* borrowed: outlives every task */
  struct sip_exchange *exchange;
  struct sip_task *task; /* borrowed */
  struct request **box;  /* borrowed: anchored by `ref` */
  int ref;
  struct sip_wait wait;
  bool waiting, streaming;
};

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

static void request_free(struct request *request)
{
  if (request->box != NULL) {
    *request->box = NULL;
    luaL_unref(sip_vm_state(request->vm), LUA_REGISTRYINDEX, request->ref);
  }
  sip_exchange_release(request->exchange); /* answers with 500 when nobody has */
  free(request);
}

static void request_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct request *request = arg;

  (void)nresults;
  if (status != LUA_OK && !request->streaming) {
    sip_log(SIP_LOG_ERROR, "http", sip_task_event_id(task), "%s",
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not enough memory");
  }
  request_free(request);
}

/* The metatable is the upvalue of every method. */
static struct request *check_request(lua_State *L)
{
  struct request **box = lua_touserdata(L, 1);

  if (box == NULL || !lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(1))) {
    box = luaL_checkudata(L, 1, EXCHANGE); /* says what it is instead */
  }
  lua_pop(L, 1);
  if (*box == NULL) {
    luaL_error(L, "http: the request has ended");
  }
  return *box;
}

/* --- what was asked --- */

static int l_head(lua_State *L)
{
  struct sip_exchange *exchange = check_request(L)->exchange;
  const char *path = sip_exchange_target(exchange);
  size_t len;

  if (path[0] != '/' && (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0)) {
    path = strstr(path, "://") + 3; /* the absolute form of RFC 9112 section 3.2.2 */
    path += strcspn(path, "/?#");
  }
  len = strcspn(path, "?#");
  lua_pushstring(L, sip_exchange_method(exchange));
  lua_pushlstring(L, path, len);
  if (path[len] != '?') {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, path + len + 1, strcspn(path + len + 1, "#"));
  }
  return 3;
}

static int l_target(lua_State *L)
{
  lua_pushstring(L, sip_exchange_target(check_request(L)->exchange));
  return 1;
}

static int l_id(lua_State *L)
{
  lua_pushstring(L, sip_exchange_id(check_request(L)->exchange));
  return 1;
}

static int push_origin(lua_State *L, const struct sip_origin *origin)
{
  char text[48];

  sip_origin_show(origin, text, sizeof text);
  lua_pushstring(L, text);
  return 1;
}

static int l_remote(lua_State *L)
{
  return push_origin(L, sip_exchange_remote(check_request(L)->exchange));
}

static int l_client(lua_State *L)
{
  return push_origin(L, sip_exchange_client(check_request(L)->exchange));
}

static int l_secure(lua_State *L)
{
  lua_pushboolean(L, sip_exchange_is_secure(check_request(L)->exchange));
  return 1;
}

static int l_proxied(lua_State *L)
{
  lua_pushboolean(L, sip_exchange_is_proxied(check_request(L)->exchange));
  return 1;
}

static int l_headers(lua_State *L)
{
  sip_push_headers(L, sip_exchange_headers(check_request(L)->exchange));
  return 1;
}

static int l_header(lua_State *L)
{
  struct sip_exchange *exchange = check_request(L)->exchange;
  struct sip_slice value;

  if (!sip_header_list_find(sip_exchange_headers(exchange), luaL_checkstring(L, 2), &value)) {
    return 0;
  }
  lua_pushlstring(L, value.data, value.len);
  return 1;
}

static int l_takes_gzip(lua_State *L)
{
  struct sip_exchange *exchange = check_request(L)->exchange;
  struct sip_slice value;

  lua_pushboolean(L,
                  sip_header_list_find(sip_exchange_headers(exchange), "accept-encoding", &value) &&
                    sip_gzip_accepted(&value));
  return 1;
}

static int l_body(lua_State *L)
{
  struct sip_slice body = sip_exchange_body(check_request(L)->exchange);

  lua_pushlstring(L, body.data == NULL ? "" : body.data, body.len);
  return 1;
}

static void push_slice(lua_State *L, const char *key, const struct sip_slice *text)
{
  if (text->data != NULL) {
    lua_pushlstring(L, text->data, text->len);
    lua_setfield(L, -2, key);
  }
}

static int l_multipart(lua_State *L)
{
  struct sip_exchange *exchange = check_request(L)->exchange;
  lua_Integer max = luaL_checkinteger(L, 2), count = 0;
  struct sip_slice type = { "", 0 }, body = sip_exchange_body(exchange);
  struct sip_multipart reader;
  struct sip_err err = { 0 };
  struct sip_part part;
  int rc;

  (void)sip_header_list_find(sip_exchange_headers(exchange), "content-type", &type);
  body.data = body.data == NULL ? "" : body.data;
  lua_newtable(L);
  rc = sip_multipart_init(&reader, &type, &body, &err);
  while (rc == 0 && (rc = sip_multipart_next(&reader, &part, &err)) == 1) {
    if (++count > max) {
      rc = sip_err_set(&err, SIP_ETOOBIG, "multipart: more than %d parts", (int)max);
      break;
    }
    lua_createtable(L, 0, 4);
    push_slice(L, "name", &part.name);
    push_slice(L, "filename", &part.filename);
    push_slice(L, "type", &part.type);
    push_slice(L, "body", &part.body);
    lua_rawseti(L, -2, count);
    rc = 0;
  }
  return rc < 0 ? sip_push_err(L, &err) : 1;
}

static int l_take(lua_State *L)
{
  struct request *request = check_request(L);
  struct sip_limiter **limiter = luaL_checkudata(L, 2, SIP_LIMITER_CLASS);
  struct sip_origin client = sip_origin_client(sip_exchange_client(request->exchange));
  uint64_t wait_ms = sip_limiter_take(*limiter, &client, uv_now(sip_vm_loop(L)));

  if (wait_ms > 0) {
    lua_pushnil(L);
    lua_pushinteger(L, (lua_Integer)wait_ms);
    return 2;
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* --- answers --- */

/* Fields of an answer; the texts are borrowed from the table of headers, or are numbers here. */
struct fields {
  size_t count, numbers;
  bool typed;
  struct sip_header list[MAX_HEADERS];
  char number[MAX_NUMBERS][NUMBER_BYTES];
};

static struct sip_slice write_number(lua_State *L, char *place)
{
  int len = lua_isinteger(L, -1)
              ? snprintf(place, NUMBER_BYTES, "%lld", (long long)lua_tointeger(L, -1))
              : snprintf(place, NUMBER_BYTES, "%.14g", lua_tonumber(L, -1));

  return (struct sip_slice){ place, (size_t)len };
}

/* stack: …, name, value; the name is text */
static void add_field(lua_State *L, struct fields *fields, int arg)
{
  struct sip_header *header = &fields->list[fields->count];

  luaL_argcheck(L, fields->count < MAX_HEADERS, arg, "more than 128 headers");
  luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, arg, "a header's name is a text");
  header->name.data = lua_tolstring(L, -2, &header->name.len);
  if (lua_type(L, -1) == LUA_TNUMBER) {
    luaL_argcheck(L, fields->numbers < MAX_NUMBERS, arg, "more than 8 headers that are numbers");
    header->value = write_number(L, fields->number[fields->numbers++]);
  } else if (lua_type(L, -1) == LUA_TSTRING) {
    header->value.data = lua_tolstring(L, -1, &header->value.len);
  } else {
    luaL_error(L, "header %s is a %s, not a text", header->name.data, luaL_typename(L, -1));
  }
  fields->typed = fields->typed || sip_header_is(&header->name, "content-type");
  fields->count++;
}

/* The table of headers at `arg`, and the content type at `type_arg`. */
static void get_fields(lua_State *L, struct fields *fields, int arg, int type_arg)
{
  struct sip_header *header;

  fields->count = fields->numbers = 0;
  fields->typed = false;
  if (!lua_isnil(L, arg)) {
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, arg) != 0) {
      if (lua_type(L, -1) != LUA_TTABLE) {
        add_field(L, fields, arg);
        lua_pop(L, 1);
        continue;
      }
      for (lua_Integer i = 1, n = luaL_len(L, -1); i <= n; i++) {
        lua_pushvalue(L, -2);
        lua_rawgeti(L, -2, i);
        add_field(L, fields, arg);
        lua_pop(L, 2); /* the list keeps the text */
      }
      lua_pop(L, 1);
    }
  }
  if (!fields->typed && !lua_isnil(L, type_arg)) {
    luaL_argcheck(L, fields->count < MAX_HEADERS, arg, "more than 128 headers");
    header = &fields->list[fields->count++];
    header->name = (struct sip_slice){ "content-type", 12 };
    header->value.data = luaL_checklstring(L, type_arg, &header->value.len);
  }
}

static unsigned check_status(lua_State *L)
{
  lua_Integer status = luaL_checkinteger(L, 2);

  luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status is 200 to 599");
  return (unsigned)status;
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
  unsigned status = check_status(L);
  struct sip_err err; /* set on failure */
  struct fields fields;
  struct sip_slice body;

  lua_settop(L, 5);
  body.data = luaL_optlstring(L, 4, "", &body.len);
  get_fields(L, &fields, 3, 5);
  return push_outcome(
    L, sip_exchange_respond(request->exchange, status, fields.list, fields.count, &body, &err),
    &err);
}

static int l_stream(lua_State *L)
{
  struct request *request = check_request(L);
  unsigned status = check_status(L);
  struct sip_err err = { 0 };
  struct fields fields;
  int rc;

  lua_settop(L, 4);
  get_fields(L, &fields, 3, 4);
  rc = sip_exchange_stream(request->exchange, status, fields.list, fields.count, &err);
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

/* --- the task --- */

/* Protected: pushes the box. */
static int push_request(lua_State *L, void *arg)
{
  static const luaL_Reg methods[] = { { "head", l_head },       { "target", l_target },
                                      { "id", l_id },           { "remote", l_remote },
                                      { "client", l_client },   { "secure", l_secure },
                                      { "proxied", l_proxied }, { "headers", l_headers },
                                      { "header", l_header },   { "takes_gzip", l_takes_gzip },
                                      { "body", l_body },       { "multipart", l_multipart },
                                      { "take", l_take },       { "respond", l_respond },
                                      { "stream", l_stream },   { "write", l_write },
                                      { "finish", l_finish },   { "abort", l_abort },
                                      { "gone", l_gone },       { NULL, NULL } };
  struct request *request = arg, **box = lua_newuserdatauv(L, sizeof *box, 0);

  *box = NULL;
  if (sip_class_begin(L, EXCHANGE)) {
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); /* scripts do not see it */
    lua_pushvalue(L, -1);
    luaL_setfuncs(L, methods, 1);
    sip_class_end(L, EXCHANGE);
  }
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  request->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  request->box = box; /* nothing throws from here to the end of the push */
  *box = request;
  return 1;
}

struct sip_exchange *sip_exchange_of(lua_State *L, int index)
{
  struct request **box = lua_touserdata(L, index);

  return (*box)->exchange;
}

void sip_exchange_lua_start(struct sip_vm *vm, int handler_ref, struct sip_exchange *exchange)
{
  struct request *request = calloc(1, sizeof *request);
  const char *id = sip_exchange_id(exchange);

  if (request == NULL) {
    sip_exchange_release(exchange); /* answers with 500 */
    return;
  }
  request->vm = vm;
  request->exchange = exchange;
  sip_exchange_set_notify(exchange, request_on_notify, request);
  if (sip_task_start(vm, handler_ref, push_request, request_on_end, request, &request->task) < 0) {
    request_free(request);
    return;
  }
  sip_task_set_event_id(request->task, id, strlen(id));
}
