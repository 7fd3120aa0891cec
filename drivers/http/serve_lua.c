/* serve_lua.c - the usual request, in C: a route without parameters and demands, whose handler
 * answers with a status and one body.
 *
 * serve{served, class, guard, encode, since, tracing, dispatch, ended} -> the function of a request
 *   served[1][method][path] is a route; class is the metatable of requests; guard handles errors;
 *   encode and since are those of json and metrics; while tracing.on, and for all that is not
 *   usual, dispatch(exchange) does the whole, or ended(exchange, request, route, began, ok, result,
 *   message) what follows the handler.
 * request_index(methods, makers) -> the __index of requests: a method, or a field that
 *   makers[field](request) makes when it is first asked for. Loop thread. */
#include "http/bindings_lua.h"
#include "http/server.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* Upvalues of serve, in the order of its argument. */
enum { SERVED = 1, CLASS, GUARD, ENCODE, SINCE, TRACING, DISPATCH, ENDED };

/* The stack of serve. */
enum { EXCHANGE = 1, ROUTE, METHOD, TARGET, REQUEST, HANDLES_ERRORS, RESULT, MESSAGE };

enum { REQUEST_FIELDS = 5, OK = 200, NO_CONTENT = 204 };

/* A body up to here is a field of the request from the start: to copy it costs less than to be
 * asked for it. */
enum { SMALL_BYTES = 4096 };

/* What a usual answer consists of. */
struct plain {
  lua_Integer status; /* 0: none is given */
  const char *type;   /* of the body; NULL: there is none */
  bool json;          /* its value is on top of the stack */
  struct sip_slice body;
};

static int serve_done(lua_State *L, int status, lua_KContext context)
{
  (void)L, (void)status, (void)context;
  return 0;
}

/* One field of an answer, name and value on top of the stack. @return whether it is usual */
static bool read_field(lua_State *L, struct plain *plain)
{
  const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
  bool first = plain->type == NULL;

  if (strcmp(name, "status") == 0) {
    plain->status = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
    return plain->status >= 200 && plain->status <= 599;
  }
  if (strcmp(name, "json") == 0) {
    plain->type = "application/json";
    plain->json = true;
    return first;
  }
  if (strcmp(name, "text") == 0) {
    plain->type = "text/plain; charset=utf-8";
  } else if (strcmp(name, "html") == 0) {
    plain->type = "text/html; charset=utf-8";
  } else if (strcmp(name, "body") == 0) {
    plain->type = "application/octet-stream";
  } else {
    return false;
  }
  if (lua_type(L, -1) != LUA_TSTRING) {
    return false;
  }
  plain->body.data = lua_tolstring(L, -1, &plain->body.len); /* the answer holds it */
  return first;
}

/* The handler's result, if it is a usual answer. May leave the text of the body on the stack. */
static bool read_answer(lua_State *L, struct plain *plain)
{
  *plain = (struct plain){ .body = { "", 0 } };
  if (lua_type(L, RESULT) != LUA_TTABLE || lua_getmetatable(L, RESULT)) {
    return false;
  }
  lua_pushnil(L);
  while (lua_next(L, RESULT) != 0) {
    if (!read_field(L, plain)) {
      return false;
    }
    lua_pop(L, 1);
  }
  if (plain->json) {
    lua_pushvalue(L, lua_upvalueindex(ENCODE));
    lua_getfield(L, RESULT, "json");
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING) {
      return false; /* what is wrong with it is said by whoever does it again */
    }
    plain->body.data = lua_tolstring(L, -1, &plain->body.len);
  }
  if (plain->status == 0) {
    plain->status = plain->type == NULL ? NO_CONTENT : OK;
  }
  return true;
}

/* A route keeps its series, once it was answered so. @return false when there is more to do */
static bool answer(lua_State *L, lua_KContext began_ns)
{
  struct sip_header type = { .name = { "content-type", 12 } };
  struct plain plain;
  struct sip_err err;

  if (lua_getfield(L, ROUTE, "measured") != LUA_TTABLE || !read_answer(L, &plain) ||
      lua_rawgeti(L, MESSAGE + 1, plain.status) != LUA_TUSERDATA) {
    return false;
  }
  if (plain.type != NULL) {
    type.value = (struct sip_slice){ plain.type, strlen(plain.type) };
  }
  if (sip_exchange_respond(sip_exchange_of(L, EXCHANGE), (unsigned)plain.status, &type,
                           plain.type != NULL, &plain.body, &err) < 0 &&
      err.code != UV_ECONNRESET) {
    return false;
  }
  lua_pushvalue(L, lua_upvalueindex(SINCE));
  lua_insert(L, -2);
  lua_pushnumber(L, (double)began_ns / 1e9);
  lua_call(L, 2, 0);
  return true;
}

/* Stack: EXCHANGE to HANDLES_ERRORS, and what the handler gave. */
static int serve_after(lua_State *L, int status, lua_KContext began_ns)
{
  bool ok = status == LUA_OK || status == LUA_YIELD;

  lua_settop(L, MESSAGE);
  if (ok && answer(L, began_ns)) {
    return 0;
  }
  lua_settop(L, MESSAGE);
  lua_pushvalue(L, lua_upvalueindex(ENDED));
  lua_pushvalue(L, EXCHANGE);
  lua_pushvalue(L, REQUEST);
  lua_pushvalue(L, ROUTE);
  lua_pushnumber(L, (double)began_ns / 1e9);
  lua_pushboolean(L, ok);
  lua_pushvalue(L, RESULT);
  lua_pushvalue(L, MESSAGE);
  lua_callk(L, 7, 0, 0, serve_done);
  return 0;
}

static void push_body(lua_State *L, const struct sip_exchange *exchange)
{
  struct sip_slice body = sip_exchange_body(exchange);

  if (body.len > 0 && body.len <= SMALL_BYTES) {
    lua_pushlstring(L, body.data, body.len);
    lua_setfield(L, REQUEST, "body");
  }
}

/* Finds the route, of which the request is for nothing but its path. */
static bool find_route(lua_State *L)
{
  lua_rawgeti(L, lua_upvalueindex(SERVED), 1);
  lua_pushvalue(L, METHOD);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    return false;
  }
  lua_pushvalue(L, TARGET);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    return false;
  }
  lua_replace(L, ROUTE);
  if (lua_getfield(L, ROUTE, "demands") != LUA_TNIL && lua_toboolean(L, -1)) {
    return false;
  }
  lua_getfield(L, lua_upvalueindex(TRACING), "on");
  if (lua_toboolean(L, -1)) {
    return false;
  }
  lua_settop(L, TARGET);
  return true;
}

static int serve(lua_State *L)
{
  const struct sip_exchange *exchange = sip_exchange_of(L, EXCHANGE);
  lua_KContext began_ns = (lua_KContext)uv_hrtime();

  lua_settop(L, EXCHANGE);
  lua_pushnil(L); /* the place of the route */
  lua_pushstring(L, sip_exchange_method(exchange));
  lua_pushstring(L, sip_exchange_target(exchange));
  if (!find_route(L)) {
    lua_settop(L, EXCHANGE);
    lua_pushvalue(L, lua_upvalueindex(DISPATCH));
    lua_insert(L, EXCHANGE);
    lua_callk(L, 1, 0, 0, serve_done);
    return 0;
  }
  lua_createtable(L, 0, REQUEST_FIELDS);
  lua_pushvalue(L, EXCHANGE);
  lua_setfield(L, REQUEST, "exchange");
  lua_pushvalue(L, TARGET);
  lua_setfield(L, REQUEST, "path");
  lua_pushvalue(L, METHOD);
  lua_setfield(L, REQUEST, "method");
  push_body(L, exchange);
  lua_pushvalue(L, lua_upvalueindex(CLASS));
  lua_setmetatable(L, REQUEST);
  lua_pushvalue(L, lua_upvalueindex(GUARD));
  lua_getfield(L, ROUTE, "handler");
  lua_pushvalue(L, REQUEST);
  return serve_after(L, lua_pcallk(L, 1, 2, HANDLES_ERRORS, began_ns, serve_after), began_ns);
}

/* Upvalues of the requests' __index. */
enum { METHODS = 1, MAKERS };

static int request_index(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(METHODS)) != LUA_TNIL) {
    return 1;
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(MAKERS)) == LUA_TNIL) {
    return 1;
  }
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

int sip_l_request_index(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushcclosure(L, request_index, MAKERS);
  return 1;
}

int sip_l_serve(lua_State *L)
{
  static const char *const names[] = { "served", "class",   "guard",    "encode",
                                       "since",  "tracing", "dispatch", "ended" };

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    luaL_argcheck(L, lua_getfield(L, 1, names[i]) != LUA_TNIL, 1, names[i]);
  }
  lua_pushcclosure(L, serve, ENDED);
  return 1;
}
