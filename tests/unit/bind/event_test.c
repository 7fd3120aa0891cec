/* event_test.c - events that are made in C against those of stdlib/record.lua: the same fields, or
 * left to it. */
#include "bind/bind.h"
#include "bind/event_lua.h"
#include "core/log.h"
#include "support/test.h"
#include "vm/vm.h"

#include <lauxlib.h>

enum { HEADERS_MAX = 8 };

struct example {
  const char *key, *value;
  const char *headers[2 * HEADERS_MAX]; /* name, value, … */
  int left;                             /* it is left to stdlib/record.lua */
};

static const struct example examples[] = {
  { "k",
    "{\"id\":\"e1\",\"type\":\"order.created\",\"data\":{\"a\":1,\"b\":[1,{}]}}",
    { NULL },
    0 },
  { NULL,
    " {\"eventType\":\"x\",\"eventId\":7,\"data\":[],\"version\":2,\"n\":null} ",
    { NULL },
    0 },
  { "k",
    "{\"type\":\"\",\"event_type\":\"y\",\"id\":null,\"event_id\":1.5,\"data\":{},\"source\":\"s\","
    "\"orderId\":\"o\",\"occurredAt\":\"2024-01-01T00:00:00Z\",\"data\":{\"late\":true}}",
    { NULL },
    0 },
  { "k", "{\"type\":\"t\",\"time\":1700000000000,\"data\":{}}", { NULL }, 0 },
  { "k", "{\"type\":\"t\",\"data\":3}", { NULL }, 0 },
  { "k", "{\"type\":5,\"data\":{}}", { NULL }, 0 },
  { "k", "{\"type\":\"\\u0074\",\"id\":\"\",\"data\":{}}", { NULL }, 0 },
  { "k",
    "{\"\\u0074ype\":\"t\",\"d\\u0061ta\":{\"a\":1},\"\\u0069\\u0064\":\"i\",\"\\u0069d\\n\":"
    "\"no\"}",
    { NULL },
    0 },
  { "k",
    "{\"typE\":\"a\",\"event_typ\":\"b\",\"eventId\":\"i\",\"event_id\":\"j\",\"event_type\":\"t\","
    "\"daTa\":1,\"Data\":2,\"specVersion\":3,\"data\":{},\"Id\":4,\"occurredAt\":5}",
    { NULL },
    0 },
  { "k", "{\"data\":{},\"data\":3,\"type\":\"t\"}", { NULL }, 0 },
  { "k", "{\"type\":\"t\",\"data\":{\"type\":\"u\",\"id\":\"no\"}}", { NULL }, 0 },
  { "k", "{\"\\u0073pecversion\":\"1.0\",\"type\":\"t\"}", { NULL }, 1 },
  { "k", "[1,2]", { NULL }, 0 },
  { "k", "null", { NULL }, 0 },
  { "k", "{\"n\":1}", { "event-type", "h", "event-id", "i", "other", "o" }, 0 },
  { "k", "{\"n\":1}", { "event-type", "h", "event-type", "last", "id", "i" }, 0 },
  { "k", "{\"n\":1}", { "event-type", "h" }, 0 },
  { "k", "{\"type\":\"h\",\"id\":\"b\",\"data\":{}}", { "type", "h" }, 0 },
  { "k", "{\"type\":\"other\",\"data\":{}}", { "type", "h" }, 0 },
  { "k", "{\"type\":\"t\",\"data\":{}}", { "event-id", "from-header" }, 0 },
  { "k", "no json", { "event-type", "h", "content-type", "text/plain" }, 0 },
  { "k", "{}", { "event-type", "h", "id", "i", "content-type", "Application/JSON" }, 0 },
  { "k", NULL, { "event-type", "h" }, 0 },
  { "k", NULL, { NULL }, 0 },
  { "k",
    "{}",
    { "event-type", "h", "id", "i", "traceparent",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    0 },
  { "k", "{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"s\",\"type\":\"t\"}", { NULL }, 1 },
  { "k", "{}", { "ce_specversion", "1.0", "ce_id", "i", "ce_type", "t", "ce_source", "s" }, 1 },
  { "k", "{}", { "content-type", "application/cloudevents+json" }, 1 },
  { "k", "{\"broken\"", { NULL }, 1 },
  { "k", "{}", { "event-type", "\xff" }, 1 },
};

/* Arguments: the event or nil, the record. Throws when the two ways tell different things; then
 * reads the event in the ways that scripts do. */
static const char COMPARE[] =
  "local events, json = require 'sipeat.record', require 'sipeat.json'\n"
  "local function same(a, b, path)\n"
  "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
  "    if a ~= b or math.type(a) ~= math.type(b) then\n"
  "      error(path .. ': ' .. tostring(a) .. ', expected ' .. tostring(b)) end\n"
  "    return\n"
  "  end\n"
  "  for k, v in pairs(a) do same(v, b[k], path .. '.' .. tostring(k)) end\n"
  "  for k, v in pairs(b) do same(a[k], v, path .. '.' .. tostring(k)) end\n"
  "end\n"
  "local NAMES = { 'type', 'id', 'key', 'value', 'topic', 'partition', 'offset', 'headers', "
  "'time',\n"
  "  'version', 'source', 'trace', 'attributes', 'data', 'nothing' }\n"
  "return function(made, record, again)\n"
  "  local read, why = events.from_record(record)\n"
  "  if not made then return end\n"
  "  assert(read, why)\n"
  "  for i = #NAMES, 1, -1 do same(made[NAMES[i]], read[NAMES[i]], NAMES[i]) end\n"
  "  same(select(1, events.data(made)), read.data, 'data()')\n"
  "  collectgarbage() same(made.value, read.value, 'value again')\n"
  "  assert(tostring(made) == tostring(read))\n"
  "  made.data = nil assert(made.data == nil)\n"
  "  local count, expected = 0, 0\n"
  "  for _, name in ipairs(NAMES) do\n"
  "    expected = expected + (read[name] ~= nil and 1 or 0) end\n"
  "  for k in pairs(again) do assert(type(k) == 'string', tostring(k)) count = count + 1 end\n"
  "  assert(count == expected, count .. ' fields, expected ' .. expected)\n"
  "  same(again, read, 'after pairs')\n"
  "end\n";

static size_t header_count(const struct sip_record *record)
{
  const struct example *example = record->message;
  size_t count = 0;

  while (count < HEADERS_MAX && example->headers[2 * count] != NULL) {
    count++;
  }
  return count;
}

static struct sip_header header_at(const struct sip_record *record, size_t index)
{
  const struct example *example = record->message;
  const char *value = example->headers[2 * index + 1];

  return (struct sip_header){ example->headers[2 * index], { value, strlen(value) } };
}

static struct sip_slice slice_of(const char *text)
{
  return (struct sip_slice){ text, text == NULL ? 0 : strlen(text) };
}

static struct sip_record record_of(const struct example *example)
{
  return (struct sip_record){ .topic = "t",
                              .partition = 3,
                              .offset = 7,
                              .timestamp_ms = 1700000000123,
                              .key = slice_of(example->key),
                              .value = slice_of(example->value),
                              .message = (void *)example };
}

static void push_record_table(lua_State *L, const struct sip_record *record)
{
  lua_newtable(L);
  lua_pushstring(L, record->topic);
  lua_setfield(L, -2, "topic");
  lua_pushinteger(L, record->partition);
  lua_setfield(L, -2, "partition");
  lua_pushinteger(L, record->offset);
  lua_setfield(L, -2, "offset");
  lua_pushinteger(L, record->timestamp_ms);
  lua_setfield(L, -2, "timestamp");
  lua_pushstring(L, record->key.data);
  lua_setfield(L, -2, "key");
  lua_pushstring(L, record->value.data);
  lua_setfield(L, -2, "value");
  lua_newtable(L);
  for (size_t i = 0; i < header_count(record); i++) {
    struct sip_header header = header_at(record, i);

    lua_newtable(L);
    lua_pushstring(L, header.name);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, header.value.data);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "headers");
}

/* Protected: the comparing function at 1. */
static int compare(lua_State *L)
{
  static const struct sip_source_ops ops = { .header_count = header_count, .header = header_at };

  for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
    struct sip_record record = record_of(&examples[i]);
    bool made;

    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    made = sip_event_push(L, &ops, &record);
    CHECK_INT(lua_gettop(L), 3);
    if (made == (examples[i].left != 0)) {
      return luaL_error(L, "example %d is %s", (int)i, made ? "made" : "left");
    }
    push_record_table(L, &record);
    (void)sip_event_push(L, &ops, &record);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
      return luaL_error(L, "example %d: %s", (int)i, lua_tostring(L, -1));
    }
  }
  return 0;
}

static void data_that_is_broken_is_refused_when_it_is_touched(struct sip_vm *vm)
{
  static const char script[] =
    "local made, events = ..., require 'sipeat.record'\n"
    "local data, message, code = events.data(made)\n"
    "assert(data == nil and message:find('json decode', 1, true) and code == 'BAD_DATA')\n"
    "local ok, why = pcall(function() return made.data end)\n"
    "assert(not ok and why.kind == 'permanent' and why.code == 'BAD_DATA')\n"
    "assert(not pcall(pairs, made) and made.type == 'h' and made.value == '{')\n";
  static const struct sip_source_ops ops = { .header_count = header_count, .header = header_at };
  static const struct example broken = { "k", "{", { "event-type", "h", "id", "i" }, 0 };
  struct sip_record record = record_of(&broken);
  lua_State *L = sip_vm_state(vm);
  struct sip_err err = { 0 };

  CHECK_INT(luaL_loadstring(L, script), LUA_OK);
  CHECK(sip_event_push(L, &ops, &record));
  if (sip_vm_call(vm, 1, 0, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
}

int main(void)
{
  struct sip_vm *vm = NULL;
  struct sip_err err = { 0 };
  uv_loop_t loop;
  lua_State *L;

  sip_log_setup(2, SIP_LOG_AUTO, SIP_LOG_ERROR);
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_vm_new(&vm, &loop, NULL, &err), 0);
  CHECK_INT(sip_bind_start(vm, &err), 0);
  L = sip_vm_state(vm);
  CHECK_INT(luaL_loadstring(L, COMPARE), LUA_OK);
  if (sip_vm_call(vm, 0, 1, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  lua_pushcfunction(L, compare);
  lua_insert(L, -2);
  if (sip_vm_call(vm, 1, 0, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  data_that_is_broken_is_refused_when_it_is_touched(vm);
  sip_vm_free(vm);
  SIP_TEST_END(&loop);
  return 0;
}
