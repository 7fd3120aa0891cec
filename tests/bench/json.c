/* json.c - nanoseconds that an order event of 300 bytes costs: sipeat's JSON, lua-cjson, and cJSON
 * where it is installed (libcjson-dev). Prints a table; asserts nothing.
 *
 *   cmake --build build/release --target bench_json && build/release/tests/bench_json
 *
 * CPU time, best of nine rounds, garbage collection included. With the name of a row as argument
 * only that one is run, for a profiler. */
#include "core/json_text.h"
#include "modules.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef HAVE_CJSON
#include <cjson/cJSON.h>
#endif

enum { TIMES = 50000, ROUNDS = 9 };

static const char EVENT[] =
  "{\"id\":\"0b7e41cc-6a1f-4a0e-9f0e-3c1f8f7a2b11\",\"orderId\":\"o-1048576\",\"customerId\":"
  "\"c-88213\",\"machineId\":\"vm-0417\",\"status\":\"paid\",\"currency\":\"EUR\",\"total\":19.99,"
  "\"quantity\":3,\"paid\":true,\"note\":null,\"items\":[{\"sku\":\"cola\",\"price\":1.5},{\"sku\":"
  "\"water\",\"price\":1.25}],\"at\":\"2024-05-17T12:30:00Z\",\"source\":\"app\"}";

static const char LUA[] =
  "local text, n = ...\n"
  "local json, cjson = require 'sipeat.json', require 'cjson'\n"
  "local out\n"
  "local function five(v)\n"
  "  return { orderId = v.orderId, machineId = v.machineId, total = v.total,\n"
  "    quantity = v.quantity, status = v.status }\n"
  "end\n"
  "local FIVE = five(json.decode(text))\n"
  "local function fields(read)\n"
  "  return function()\n"
  "    for _ = 1, n do\n"
  "      local v = read(text)\n"
  "      out = v.orderId, v.machineId, v.total, v.quantity, v.status\n"
  "    end\n"
  "  end\n"
  "end\n"
  "local function each(f, value)\n"
  "  return function() for _ = 1, n do out = f(value) end end\n"
  "end\n"
  "local function through(read, write)\n"
  "  return function() for _ = 1, n do out = write(five(read(text))) end end\n"
  "end\n"
  "return {\n"
  "  { 'lazy, nothing read', each(json.lazy, text) },\n"
  "  { 'lazy, five fields read', fields(json.lazy) },\n"
  "  { 'decode', each(json.decode, text) },\n"
  "  { 'lua-cjson decode', each(cjson.decode, text) },\n"
  "  { 'encode of five fields', each(json.encode, FIVE) },\n"
  "  { 'lua-cjson encode of five fields', each(cjson.encode, FIVE) },\n"
  "  { 'lazy to a table of five, encoded', through(json.lazy, json.encode) },\n"
  "  { 'lua-cjson, the same', through(cjson.decode, cjson.encode) },\n"
  "}\n";

static double now_ns(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void fail(const char *what)
{
  (void)fprintf(stderr, "bench: %s\n", what);
  exit(1);
}

/* --- C; each returns something that depends on its work --- */

static size_t bench_scan(void)
{
  static struct sip_json json;

  sip_json_init(&json);
  for (int i = 0; i < TIMES; i++) {
    if (sip_json_scan(&json, EVENT, sizeof EVENT - 1, NULL) != 0) {
      fail("the event is refused");
    }
  }
  return json.count;
}

static size_t bench_path(void)
{
  static const struct sip_slice path[] = { { "machineId", 9 } };
  const struct sip_json_token *found = NULL;
  static struct sip_json json;
  size_t sum = 0;

  sip_json_init(&json);
  for (int i = 0; i < TIMES; i++) {
    (void)sip_json_path(&json, EVENT, sizeof EVENT - 1, path, 1, &found, NULL);
    sum += found->len;
  }
  return sum;
}

#ifdef HAVE_CJSON
static const char *const FIVE[] = { "orderId", "machineId", "total", "quantity", "status" };

static size_t bench_cjson_parse(void)
{
  size_t sum = 0;

  for (int i = 0; i < TIMES; i++) {
    cJSON *root = cJSON_ParseWithLength(EVENT, sizeof EVENT - 1);

    for (size_t k = 0; k < sizeof FIVE / sizeof FIVE[0]; k++) {
      sum += (size_t)cJSON_GetObjectItemCaseSensitive(root, FIVE[k])->type;
    }
    cJSON_Delete(root);
  }
  return sum;
}

static size_t bench_cjson_print(void)
{
  size_t sum = 0;

  for (int i = 0; i < TIMES; i++) {
    cJSON *root = cJSON_CreateObject();
    char *text;

    (void)cJSON_AddStringToObject(root, "orderId", "o-1048576");
    (void)cJSON_AddStringToObject(root, "machineId", "vm-0417");
    (void)cJSON_AddNumberToObject(root, "total", 19.99);
    (void)cJSON_AddNumberToObject(root, "quantity", 3);
    (void)cJSON_AddStringToObject(root, "status", "paid");
    text = cJSON_PrintUnformatted(root);
    sum += strlen(text);
    cJSON_free(text);
    cJSON_Delete(root);
  }
  return sum;
}
#endif

/* Only the row of this name is run, if there is one. */
static const char *only;

static bool wanted(const char *name)
{
  return only == NULL || strcmp(only, name) == 0;
}

static void row(const char *name, double best)
{
  if (wanted(name)) {
    (void)printf("%-36s %8.0f ns\n", name, best / TIMES);
  }
}

static void time_c(const char *name, size_t (*run)(void))
{
  double best = 1e18;

  for (int round = 0; wanted(name) && round < ROUNDS; round++) {
    double from = now_ns(), took;

    if (run() == 0) {
      fail(name);
    }
    took = now_ns() - from;
    best = took < best ? took : best;
  }
  row(name, best);
}

/* The function of the row is on the top of the stack. */
static void time_lua(struct sip_vm *vm, const char *name)
{
  lua_State *L = sip_vm_state(vm);
  struct sip_err err = { 0 };
  double best = 1e18;

  for (int round = 0; wanted(name) && round < ROUNDS; round++) {
    double from = now_ns(), took;

    lua_pushvalue(L, -1);
    if (sip_vm_call(vm, 0, 0, &err) < 0) {
      fail(err.message);
    }
    took = now_ns() - from;
    best = took < best ? took : best;
  }
  row(name, best);
}

static void bench_lua(struct sip_vm *vm)
{
  lua_State *L = sip_vm_state(vm);
  struct sip_err err = { 0 };

  if (luaL_loadstring(L, LUA) != LUA_OK) {
    fail(lua_tostring(L, -1));
  }
  lua_pushlstring(L, EVENT, sizeof EVENT - 1);
  lua_pushinteger(L, TIMES);
  if (sip_vm_call(vm, 2, 1, &err) < 0) {
    fail(err.message);
  }
  for (lua_Integer i = 1; lua_geti(L, -1, i) == LUA_TTABLE; i++) {
    lua_geti(L, -1, 1);
    lua_geti(L, -2, 2); /* stack: rows, row, name, function */
    time_lua(vm, lua_tostring(L, -2));
    lua_pop(L, 3);
  }
  lua_pop(L, 2);
}

int main(int argc, char **argv)
{
  static const struct sip_vm_options options;
  struct sip_vm *vm = NULL;
  struct sip_err err = { 0 };
  uv_loop_t loop;

  only = argc > 1 ? argv[1] : NULL;
  if (uv_loop_init(&loop) < 0 || sip_vm_new(&vm, &loop, &options, &err) < 0 ||
      sip_modules_start(vm, &err) < 0) {
    fail(err.message);
  }
  (void)printf("one event of %zu bytes\n", sizeof EVENT - 1);
  time_c("scan", bench_scan);
  time_c("scan and one key path", bench_path);
  bench_lua(vm);
#ifdef HAVE_CJSON
  time_c("cJSON parse, five fields read", bench_cjson_parse);
  time_c("cJSON build and print of five fields", bench_cjson_print);
#endif
  sip_modules_stop(vm);
  sip_vm_free(vm);
  return uv_loop_close(&loop) == 0 ? 0 : 1;
}
