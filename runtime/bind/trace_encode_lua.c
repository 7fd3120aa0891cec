/* trace_encode_lua.c - put of sipeat.core.trace: a span of stdlib/tracing.lua as core/spans.h has
 * them.
 *
 * put(span) -> true when it waits, or was dropped for want of room; false when a text in it is not
 * UTF-8 or memory is out. Loop thread. */
#include "bind/trace_lua.h"
#include "core/json_text.h"
#include "core/trace.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum { SPAN = 1, STATUS_ERROR = 2 };

static int add_string(struct sip_buf *buf, lua_State *L, int index)
{
  size_t len;
  const char *text = lua_tolstring(L, index, &len);

  return sip_json_add_string(buf, text, len);
}

static int add_double(struct sip_buf *buf, double value)
{
  char text[SIP_JSON_NUMBER_BYTES];

  if (isnan(value)) {
    return sip_buf_adds(buf, "{\"doubleValue\":\"NaN\"}");
  } else if (isinf(value)) {
    return sip_buf_addf(buf, "{\"doubleValue\":\"%sInfinity\"}", value > 0 ? "" : "-");
  }
  return sip_buf_addf(buf, "{\"doubleValue\":%.*s}", (int)sip_json_print_real(text, value), text);
}

/* The value on top of the stack. */
static int add_value(struct sip_buf *buf, lua_State *L)
{
  int rc;

  if (lua_isinteger(L, -1)) {
    return sip_buf_addf(buf, "{\"intValue\":\"%lld\"}", (long long)lua_tointeger(L, -1));
  } else if (lua_type(L, -1) == LUA_TNUMBER) {
    return add_double(buf, lua_tonumber(L, -1));
  } else if (lua_type(L, -1) == LUA_TBOOLEAN) {
    return sip_buf_addf(buf, "{\"boolValue\":%s}", lua_toboolean(L, -1) ? "true" : "false");
  }
  (void)luaL_tolstring(L, -1, NULL);
  rc = sip_buf_adds(buf, "{\"stringValue\":");
  rc = rc < 0 ? rc : add_string(buf, L, -1);
  lua_pop(L, 1);
  return rc < 0 ? rc : sip_buf_adds(buf, "}");
}

/* The table on top of the stack, which is popped: ,"attributes":[…], or nothing when it is empty.
 */
static int add_attributes(struct sip_buf *buf, lua_State *L)
{
  const char *before = ",\"attributes\":[{\"key\":";
  int rc = 0, table = lua_gettop(L);
  bool any = false;

  lua_pushnil(L);
  while (rc == 0 && lua_next(L, table) != 0) {
    lua_pushvalue(L, -2);
    (void)luaL_tolstring(L, -1, NULL);
    rc = sip_buf_adds(buf, before);
    rc = rc < 0 ? rc : add_string(buf, L, -1);
    lua_pop(L, 2);
    rc = rc < 0 ? rc : sip_buf_adds(buf, ",\"value\":");
    rc = rc < 0 ? rc : add_value(buf, L);
    rc = rc < 0 ? rc : sip_buf_adds(buf, "}");
    lua_pop(L, 1);
    before = ",{\"key\":";
    any = true;
  }
  lua_settop(L, table - 1);
  return rc < 0 || !any ? rc : sip_buf_adds(buf, "]");
}

/* A field that is a text, when it is there. */
static int add_field(struct sip_buf *buf, lua_State *L, const char *field, const char *key)
{
  int rc = 0;

  if (lua_getfield(L, -1, field) != LUA_TNIL) {
    rc = sip_buf_adds(buf, key);
    rc = rc < 0 ? rc : add_string(buf, L, -1);
  }
  lua_pop(L, 1);
  return rc;
}

/* A field that is an integer: as it is, or as a text. */
static int add_integer(struct sip_buf *buf, lua_State *L, const char *field, const char *format)
{
  lua_Integer value;

  lua_getfield(L, -1, field);
  value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return sip_buf_addf(buf, format, (long long)value);
}

static int add_events(struct sip_buf *buf, lua_State *L)
{
  const char *before = ",\"events\":[";
  int rc = 0, list;
  lua_Integer n;

  lua_getfield(L, SPAN, "events");
  list = lua_gettop(L);
  for (n = 1; rc == 0 && lua_rawgeti(L, list, n) == LUA_TTABLE; n++) {
    rc = sip_buf_adds(buf, before);
    rc = rc < 0 ? rc : add_integer(buf, L, "at_ns", "{\"timeUnixNano\":\"%lld\"");
    rc = rc < 0 ? rc : add_field(buf, L, "name", ",\"name\":");
    if (rc == 0) {
      lua_getfield(L, -1, "attributes");
      rc = add_attributes(buf, L);
    }
    rc = rc < 0 ? rc : sip_buf_adds(buf, "}");
    lua_settop(L, list);
    before = ",";
  }
  lua_settop(L, list - 1);
  return rc < 0 || n == 1 ? rc : sip_buf_adds(buf, "]");
}

/* What was left out, and how it ended. */
static int add_end(struct sip_buf *buf, lua_State *L)
{
  lua_Integer more;
  int rc;

  lua_getfield(L, SPAN, "count");
  lua_getfield(L, SPAN, "limit");
  more = lua_tointeger(L, -2) - lua_tointeger(L, -1);
  lua_pop(L, 2);
  rc = more > 0 ? sip_buf_addf(buf, ",\"droppedAttributesCount\":%lld", (long long)more) : 0;
  if (rc == 0 && lua_getfield(L, SPAN, "error") != LUA_TNIL) {
    rc = sip_buf_addf(buf, ",\"status\":{\"code\":%d,\"message\":", STATUS_ERROR);
    rc = rc < 0 ? rc : add_string(buf, L, -1);
    rc = rc < 0 ? rc : sip_buf_adds(buf, "}");
  }
  lua_settop(L, SPAN);
  return rc < 0 ? rc : sip_buf_adds(buf, "}");
}

static int add_span(struct sip_buf *buf, lua_State *L)
{
  int rc = add_field(buf, L, "trace_id", "{\"traceId\":");

  rc = rc < 0 ? rc : add_field(buf, L, "id", ",\"spanId\":");
  rc = rc < 0 ? rc : add_field(buf, L, "parent_id", ",\"parentSpanId\":");
  rc = rc < 0 ? rc : add_field(buf, L, "before_state", ",\"traceState\":");
  rc = rc < 0 ? rc : add_field(buf, L, "name", ",\"flags\":1,\"name\":");
  rc = rc < 0 ? rc : add_integer(buf, L, "kind", ",\"kind\":%lld");
  rc = rc < 0 ? rc : add_integer(buf, L, "start_ns", ",\"startTimeUnixNano\":\"%lld\"");
  rc = rc < 0 ? rc : add_integer(buf, L, "end_ns", ",\"endTimeUnixNano\":\"%lld\"");
  if (rc == 0) {
    lua_getfield(L, SPAN, "attributes");
    rc = add_attributes(buf, L);
  }
  rc = rc < 0 ? rc : add_events(buf, L);
  return rc < 0 ? rc : add_end(buf, L);
}

int sip_trace_l_put(lua_State *L)
{
  struct sip_spans *spans = &sip_vm_tracer(sip_vm_of(L))->spans;
  lua_Integer end_ns;
  int rc = 0;

  luaL_checktype(L, SPAN, LUA_TTABLE);
  lua_settop(L, SPAN);
  luaL_checkstack(L, LUA_MINSTACK, "put");
  lua_getfield(L, SPAN, "end_ns");
  end_ns = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (sip_spans_room(spans)) {
    rc = sip_spans_keep(spans, add_span(&spans->text, L), (uint64_t)end_ns);
    lua_settop(L, SPAN);
    sip_trace_announce(L, (uint64_t)end_ns);
  }
  lua_pushboolean(L, rc == 0);
  return 1;
}
