/* luatest.c - runs one Lua test file in the whole runtime: luatest FILE. Exit 0 when every test
 * passed.
 *
 * require "sipeat.luatest" offers test, eq, ok, has, fails, broker, flows, server; each test runs
 * as a part of the file's task and may wait. broker() starts an embedded Kafka broker for this file
 * and gives its address; flows(f) runs the flows that f declares, instead of those before;
 * server(script, ...) starts a program of tests/support until the end of this file and gives the
 * first line that it prints; journal() opens a journal in a directory of its own, once, and gives
 * its file. luatest_sweep is the same with allocations that fail on demand: arm(n), disarm(). */
#include "bind/journal_lua.h"
#include "core/log.h"
#include "journal/shared.h"
#include "kafka/embedded.h"
#include "modules.h"
#include "support/alloc_fault.h"
#include "support/process.h"
#include "vm/script.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char LIBRARY[] =
  "local M = { passed = 0, failed = 0 }\n"
  "local function show(v, depth)\n"
  "  if type(v) == 'string' then return string.format('%q', v) end\n"
  "  if type(v) ~= 'table' or depth > 6 then return tostring(v) end\n"
  "  local keys, out = {}, {}\n"
  "  for k in pairs(v) do keys[#keys + 1] = k end\n"
  "  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)\n"
  "  for _, k in ipairs(keys) do out[#out + 1] = tostring(k) .. ' = ' .. show(v[k], depth + 1) "
  "end\n"
  "  return '{ ' .. table.concat(out, ', ') .. ' }'\n"
  "end\n"
  "local function same(a, b)\n"
  "  if type(a) == 'number' and type(b) == 'number' then return a == b and math.type(a) == "
  "math.type(b) end\n"
  "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
  "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
  "  for k in pairs(b) do if a[k] == nil then return false end end\n"
  "  return true\n"
  "end\n"
  "function M.eq(actual, expected, what)\n"
  "  if not same(actual, expected) then\n"
  "    error((what and what .. ': ' or '') .. 'got ' .. show(actual, 0) .. ', expected ' .. "
  "show(expected, 0), 2)\n"
  "  end\n"
  "end\n"
  "function M.ok(value, what) if not value then error(what or ('not true: ' .. tostring(value)), "
  "2) end return value end\n"
  "function M.has(text, part)\n"
  "  if type(text) ~= 'string' or not text:find(part, 1, true) then\n"
  "    error('got ' .. show(text, 0) .. ', which lacks ' .. show(part, 0), 2)\n"
  "  end\n"
  "end\n"
  "function M.fails(f, part, ...)\n"
  "  local ok, err = pcall(f, ...)\n"
  "  if ok then error('did not raise', 2) end\n"
  "  if part and not tostring(err):find(part, 1, true) then error('raised ' .. tostring(err) .. ', "
  "which lacks ' .. part, 2) end\n"
  "  return err\n"
  "end\n"
  "function M.test(name, f)\n"
  "  local ok, err = xpcall(f, function(e) return debug.traceback(tostring(e), 2) end)\n"
  "  if ok then M.passed = M.passed + 1 else M.failed = M.failed + 1 end\n"
  "  print((ok and 'ok       ' or 'not ok   ') .. name .. (ok and '' or '\\n' .. err))\n"
  "end\n"
  "return M\n";

static const char luatest_key; /* its address is the key of the broker's slot */

static int luatest_broker(lua_State *L)
{
  struct sip_embedded_broker **broker = sip_vm_service(L, &luatest_key);
  struct sip_kafka_settings *settings = NULL;
  struct sip_err err = { 0 };
  int rc = *broker != NULL ? 0 : sip_embedded_broker_start(broker, 0, &err);

  if (rc == 0) {
    rc = sip_kafka_settings_new(&settings, &err);
  }
  if (rc == 0) {
    rc = sip_embedded_broker_settings(sip_embedded_broker_address(*broker), settings, &err);
  }
  if (rc == 0) {
    rc = sip_modules_configure_kafka(sip_vm_of(L), settings, &err);
  }
  sip_kafka_settings_free(settings);
  if (rc < 0) {
    return luaL_error(L, "broker: %s", err.message);
  }
  lua_pushstring(L, sip_embedded_broker_address(*broker));
  return 1;
}

/* flows(f): what f declares replaces the flows that run, as a saved script does. */
static int luatest_flows(lua_State *L)
{
  struct sip_vm *vm = sip_vm_of(L);
  struct sip_err err = { 0 };

  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  if (sip_modules_begin(vm, &err) < 0) {
    return luaL_error(L, "flows: %s", err.message);
  }
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    sip_modules_rollback(vm);
    return lua_error(L);
  }
  if (sip_modules_commit(vm, &err) < 0) {
    return luaL_error(L, "flows: %s", err.message);
  }
  return 0;
}

static struct sip_journal_shared *journal; /* NULL until journal() */
static char journal_directory[] = "/tmp/sipeat-luatest-XXXXXX";

static void luatest_on_journal_failed(void *arg, const struct sip_err *err)
{
  (void)arg; /* whoever wrote is told */
  (void)err;
}

static int luatest_journal(lua_State *L)
{
  struct sip_vm *vm = sip_vm_of(L);
  char place[64];
  struct sip_err err = { 0 };
  bool recovers;
  int rc;

  luaL_argcheck(L, journal == NULL, 1, "a journal is open");
  if (mkdtemp(journal_directory) == NULL) {
    return luaL_error(L, "journal: no directory for it");
  }
  (void)snprintf(place, sizeof place, "%s/journal.db", journal_directory);
  journal = sip_modules_journal(place);
  rc = journal == NULL ? sip_err_set(&err, UV_ENOMEM, "no memory")
                       : sip_journal_lua_attach(vm, journal, luatest_on_journal_failed, NULL, &err);
  if (rc == 0) {
    sip_journal_lua_want(vm);
    rc = sip_journal_lua_open(vm, &recovers, &err);
  }
  if (rc < 0) {
    return luaL_error(L, "journal: %s", err.message);
  }
  lua_pushstring(L, place);
  return 1;
}

static void journal_remove(void)
{
  static const char *const names[] = { "journal.db", "journal.db.lock", "journal.db-wal",
                                       "journal.db-shm" };
  char path[64];

  if (journal != NULL) {
    sip_journal_shared_free(journal);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
      (void)snprintf(path, sizeof path, "%s/%s", journal_directory, names[i]);
      (void)unlink(path); /* some of them are not there */
    }
    (void)rmdir(journal_directory); /* what else is in it was put there by the test */
  }
}

/* Programs that server() started; they end with this one. */
static struct sip_process servers[16];
static size_t server_count;

static int luatest_server(lua_State *L)
{
  const char *script = luaL_checkstring(L, 1);

  luaL_argcheck(L, server_count < sizeof servers / sizeof servers[0], 1, "too many servers");
  sip_process_start(&servers[server_count], __FILE__, script, luaL_optstring(L, 2, NULL),
                    luaL_optstring(L, 3, NULL));
  lua_pushstring(L, servers[server_count++].line);
  return 1;
}

/* In luatest_sweep only. */
#pragma weak alloc_fault_arm
#pragma weak alloc_fault_disarm

/* arm(n, more): the n-th allocation from now on fails, and that many behind it */
static int luatest_arm(lua_State *L)
{
  alloc_fault_arm((uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_optinteger(L, 2, 0));
  return 0;
}

/* disarm() -> whether one did */
static int luatest_disarm(lua_State *L)
{
  lua_pushboolean(L, alloc_fault_disarm());
  return 1;
}

static int luatest_open(lua_State *L)
{
  if (luaL_loadbufferx(L, LIBRARY, sizeof LIBRARY - 1, "=luatest", "t") != LUA_OK) {
    return lua_error(L);
  }
  lua_call(L, 0, 1);
  lua_pushcfunction(L, luatest_broker);
  lua_setfield(L, -2, "broker");
  lua_pushcfunction(L, luatest_flows);
  lua_setfield(L, -2, "flows");
  lua_pushcfunction(L, luatest_server);
  lua_setfield(L, -2, "server");
  lua_pushcfunction(L, luatest_journal);
  lua_setfield(L, -2, "journal");
  if (alloc_fault_arm != NULL) {
    lua_pushcfunction(L, luatest_arm);
    lua_setfield(L, -2, "arm");
    lua_pushcfunction(L, luatest_disarm);
    lua_setfield(L, -2, "disarm");
  }
  return 1;
}

/* Leaves the numbers of passed and failed tests. */
static int luatest_counts(lua_State *L)
{
  lua_getglobal(L, "require");
  lua_pushliteral(L, "sipeat.luatest");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "passed");
  lua_getfield(L, -2, "failed");
  return 2;
}

int main(int argc, char **argv)
{
  static const uint64_t LIMIT_MS = 110000, SOAK_LIMIT_MS = 7000000;
  struct sip_vm_options options = { .slice_limit_ms = 2000 };
  struct sip_script *script = NULL;
  struct sip_err err = { 0 };
  struct sip_vm *vm = NULL;
  struct sip_embedded_broker *broker = NULL;
  long passed = 0, failed = 1;
  uint64_t limit_ms = getenv("SIPEAT_SOAK") != NULL ? SOAK_LIMIT_MS : LIMIT_MS;
  uv_loop_t loop;

  if (argc != 2) {
    (void)fprintf(stderr, "usage: luatest FILE\n");
    return 2;
  }
  (void)signal(SIGPIPE, SIG_IGN); /* as the program itself does */
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  sip_log_setup(2, SIP_LOG_AUTO, getenv("LUATEST_DEBUG") != NULL ? SIP_LOG_DEBUG : SIP_LOG_WARN);
  if (uv_loop_init(&loop) < 0 || sip_vm_new(&vm, &loop, &options, &err) < 0 ||
      sip_vm_provide(vm, "sipeat.luatest", luatest_open, &err) < 0 ||
      sip_vm_set_service(vm, &luatest_key, &broker) < 0 || sip_modules_start(vm, &err) < 0) {
    (void)fprintf(stderr, "luatest: %s\n", err.message);
    return 1;
  }
  if (sip_script_load(&script, vm, argv[1], limit_ms, &err) < 0) {
    (void)fprintf(stderr, "luatest: %s\n", err.message);
  } else {
    lua_pushcfunction(sip_vm_state(vm), luatest_counts);
    if (sip_vm_call(vm, 0, 2, &err) == 0) {
      passed = (long)lua_tointeger(sip_vm_state(vm), -2);
      failed = (long)lua_tointeger(sip_vm_state(vm), -1);
    }
  }
  sip_script_free(script);
  sip_modules_stop(vm);
  sip_vm_free(vm);
  sip_embedded_broker_stop(broker);
  if (uv_loop_close(&loop) != 0) {
    (void)fprintf(stderr, "luatest: the loop does not close: a handle is left open\n");
    failed++;
  }
  journal_remove();
  while (server_count > 0) {
    sip_process_stop(&servers[--server_count]);
  }
  (void)printf("%ld passed, %ld failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
