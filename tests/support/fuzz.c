/* fuzz.c - a runtime whose Lua is being fuzzed: the lines that it reaches count as coverage. */
#include "support/fuzz.h"

#include "modules.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

enum { COUNTER_BITS = 14 };

/* libFuzzer looks at this section after each input. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[1 << COUNTER_BITS];

static void count_line(lua_State *L, lua_Debug *ar)
{
  uint64_t place;

  if (lua_getinfo(L, "Sl", ar) != 0) {
    place = (uint64_t)(uintptr_t)ar->source + (uint64_t)ar->currentline;
    counters[place * 0x9e3779b97f4a7c15u >> (64 - COUNTER_BITS)]++;
  }
}

struct sip_vm *fuzz_start(const char *c_file)
{
  static const struct sip_vm_options options;
  static uv_loop_t loop;
  static struct sip_vm *vm; /* reachable at the end, so nothing is leaked */
  struct sip_err err = { 0 };
  char path[4096];
  lua_State *L;

  (void)snprintf(path, sizeof path, "%.*s.lua", (int)strlen(c_file) - 2, c_file);
  FUZZ_CHECK(uv_loop_init(&loop) == 0, "no loop");
  FUZZ_CHECK(sip_vm_new(&vm, &loop, &options, &err) == 0, "%s", err.message);
  FUZZ_CHECK(sip_modules_start(vm, &err) == 0, "%s", err.message);
  L = sip_vm_state(vm);
  FUZZ_CHECK(luaL_loadfile(L, path) == LUA_OK, "%s", lua_tostring(L, -1));
  FUZZ_CHECK(sip_vm_call(vm, 0, 1, &err) == 0, "%s", err.message);
  FUZZ_CHECK(lua_isfunction(L, 1), "%s returns no function", path);
  return vm;
}

void fuzz_call(struct sip_vm *vm, const uint8_t *data, size_t size)
{
  lua_State *L = sip_vm_state(vm);
  struct sip_err err = { 0 };

  lua_sethook(L, count_line, LUA_MASKLINE, 0); /* the watchdog may have taken it away */
  lua_pushvalue(L, 1);
  (void)lua_pushlstring(L, (const char *)data, size);
  FUZZ_CHECK(sip_vm_call(vm, 1, 0, &err) == 0, "%s", err.message);
}
