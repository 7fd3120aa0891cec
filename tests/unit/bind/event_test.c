/* event_test.c - events that are made in C against those of stdlib/record.lua: the same fields, or
 * left to it. */
#include "bind/bind.h"
#include "bind/event_lua.h"
#include "core/json.h"
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

/* Arguments: a record and a path. The key as stdlib/flow.lua finds it: nil, or its text; "broken"
 * when Lua has to say what that is. */
static const char KEY[] =
  "local events = require 'sipeat.record'\n"
  "return function(record, path)\n"
  "  local event = events.from_record(record)\n"
  "  local ok, value = pcall(function() return event.data end)\n"
  "  if not ok then return 'broken' end\n"
  "  for name in path:gmatch('[^.]+') do\n"
  "    value = type(value) == 'table' and value[name] or nil\n"
  "  end\n"
  "  return (type(value) == 'string' or type(value) == 'number') and tostring(value) or nil\n"
  "end\n";

static const char *const key_values[] = { "\"m-1\"",
                                          "\"\"",
                                          "\"a\\u0000b\\n\\ud83d\\ude00\"",
                                          "\"\xc3\xa9\"",
                                          "0",
                                          "-0",
                                          "-0.0",
                                          "17",
                                          "1.0",
                                          "1.5",
                                          "1e3",
                                          "1e400",
                                          "9007199254740993",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "-9223372036854775808",
                                          "1e-7",
                                          "true",
                                          "false",
                                          "null",
                                          "[]",
                                          "{}",
                                          "[\"x\"]",
                                          "{\"x\":\"deeper\"}",
                                          "\"first\",\"x\":\"second\"",
                                          "\"first\",\"\\u0078\":\"third\"",
                                          "}",
                                          "" };

/* What of a body is written around a value. */
static const char *const key_bodies[] = {
  "{\"type\":\"t\",\"id\":\"i\",\"data\":{\"a\":1,\"x\":%s}}",
  "{\"type\":\"t\",\"data\":{\"x\":{\"x\":%s},\"y\":2}}",
  " { \"x\" : %s , \"z\" : 1 } ",
  "{\"type\":\"t\",\"data\":[{\"x\":%s}]}",
  "{\"type\":\"t\",\"data\":5,\"x\":%s}",
  "{\"x\":1,\"type\":\"t\",\"data\":{\"y\":1},\"data\":{\"x\":%s}}",
  "{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"s\",\"type\":\"t\",\"data\":{\"x\":%s}}",
};

static const char *const key_headers[][5] = {
  { NULL },
  { "event-type", "t", NULL },
  { "event-type", "t", "event-id", "i" },
  { "event-type", "t", "content-type", "text/plain" },
  { "ce_specversion", "1.0", "ce_id", "i" },
};

/* Stack: the function of KEY at 1. @return whether C knew the key, or that there is none */
static bool compare_key(lua_State *L, const struct sip_source_ops *ops,
                        const struct sip_record *record, const char *path)
{
  struct sip_slice keys[SIP_JSON_KEYS], found = { NULL, 0 };
  size_t count = sip_json_path_split(path, strlen(path), keys, SIP_JSON_KEYS);
  enum sip_event_key answer = sip_event_find_key(L, ops, record, keys, count, &found);

  if (answer == SIP_EVENT_KEY_UNKNOWN) {
    return false;
  }
  lua_settop(L, 1);
  lua_pushlstring(L, answer == SIP_EVENT_KEY_FOUND ? found.data : "", found.len);
  lua_pushvalue(L, 1);
  push_record_table(L, record);
  lua_pushstring(L, path);
  lua_call(L, 2, 1);
  if (answer == SIP_EVENT_KEY_NONE ? !lua_isnil(L, -1) : !lua_rawequal(L, -1, -2)) {
    luaL_error(L, "%s of %s: got %s %s, expected %s", path, record->value.data,
               answer == SIP_EVENT_KEY_NONE ? "none" : "key", lua_tostring(L, -2),
               luaL_tolstring(L, -1, NULL));
  }
  return true;
}

/* Protected. Every value in every place, with all kinds of headers. */
static int compare_keys(lua_State *L)
{
  static const struct sip_source_ops ops = { .header_count = header_count, .header = header_at };
  static const char *const paths[] = { "x", "x.x", "x.x.x", "nothing", "a.x" };
  int known = 0, all = 0;

  for (size_t b = 0; b < sizeof key_bodies / sizeof key_bodies[0]; b++) {
    for (size_t v = 0; v < sizeof key_values / sizeof key_values[0]; v++) {
      for (size_t h = 0; h < sizeof key_headers / sizeof key_headers[0]; h++) {
        struct example example = { "k", NULL, { NULL }, 0 };
        struct sip_record record;
        char body[300];

        (void)snprintf(body, sizeof body, key_bodies[b], key_values[v]);
        example.value = body;
        memcpy(example.headers, key_headers[h], 4 * sizeof *example.headers);
        record = record_of(&example);
        for (size_t p = 0; p < sizeof paths / sizeof paths[0]; p++) {
          known += compare_key(L, &ops, &record, paths[p]);
          all++;
        }
      }
    }
  }
  CHECK(known > all / 2 && known < all);
  return 0;
}

static void keys_are_those_that_lua_finds(struct sip_vm *vm)
{
  static const struct sip_source_ops ops = { .header_count = header_count, .header = header_at };
  static const struct example tombstone = { "k", NULL, { NULL }, 0 };
  static const struct example plain = { "k", "{\"type\":\"t\",\"data\":{\"x\":17}}", { NULL }, 0 };
  struct sip_record record = record_of(&plain);
  struct sip_slice path = { "x", 1 }, found = { NULL, 0 };
  lua_State *L = sip_vm_state(vm);
  struct sip_err err = { 0 };

  CHECK_INT(luaL_loadstring(L, KEY), LUA_OK);
  CHECK_INT(sip_vm_call(vm, 0, 1, &err), 0);
  lua_pushcfunction(L, compare_keys);
  lua_insert(L, -2);
  if (sip_vm_call(vm, 1, 0, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  CHECK_INT(sip_event_find_key(L, &ops, &record, &path, 1, &found), SIP_EVENT_KEY_FOUND);
  CHECK_INT(found.len, 2);
  CHECK(memcmp(found.data, "17", 2) == 0);
  record = record_of(&tombstone);
  CHECK_INT(sip_event_find_key(L, &ops, &record, &path, 1, &found), SIP_EVENT_KEY_NONE);
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
  keys_are_those_that_lua_finds(vm);
  sip_vm_free(vm);
  SIP_TEST_END(&loop);
  return 0;
}
