/* script_test.c - loading scripts: what a failure says, generations side by side, the limit at
 * load. */
#include "vm/script.h"

#include "support/test.h"
#include "vm/script_tree.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <unistd.h>

static char directory[] = "/tmp/sipeat-script-XXXXXX";
static char path[128], module_path[128], module2_path[128];

static void write_file(const char *name, const char *content)
{
  FILE *file = fopen(name, "w");

  CHECK(file != NULL);
  CHECK(fputs(content, file) >= 0);
  CHECK_INT(fclose(file), 0);
}

static struct sip_script *load(struct sip_vm *vm, const char *content, struct sip_err *err)
{
  struct sip_script *script = NULL;

  memset(err, 0, sizeof *err);
  write_file(path, content);
  if (sip_script_load(&script, vm, path, 0, err) < 0) {
    CHECK(script == NULL);
    CHECK(err->code < 0);
  }
  CHECK(sip_script_current(vm) == NULL);
  return script;
}

static void failures_name_file_line_and_excerpt(struct sip_vm *vm)
{
  struct sip_err err;

  CHECK(load(vm, "local a = 1\nlocal b = = 2\nreturn a\n", &err) == NULL);
  CHECK_HAS(err.message, "script.lua:2: unexpected symbol near '='");
  CHECK_HAS(err.message, ">     2 | local b = = 2");
  CHECK_HAS(err.message, "      1 | local a = 1");
  CHECK(load(vm, "local function f()\n  error('broken')\nend\nf()\n", &err) == NULL);
  CHECK_HAS(err.message, "script.lua:2: broken");
  CHECK_HAS(err.message, ">     2 |   error('broken')");
  CHECK_HAS(err.message, "stack traceback:");
  CHECK_HAS(err.message, "script.lua:4: in main chunk");
  CHECK(load(vm, "error({})", &err) == NULL);
  CHECK(load(vm, "\033Lua", &err) == NULL);
  CHECK_HAS(err.message, "attempt to load a binary chunk");
#ifndef __SANITIZE_THREAD__ /* TSan holds signals back until the next library call, which this     \
                               loop never makes */
  CHECK(load(vm, "while true do end", &err) == NULL);
  CHECK_HAS(err.message, "too long without waiting");
#endif
  CHECK(load(vm, "require 'nowhere.at.all'", &err) == NULL);
  CHECK_HAS(err.message, "/nowhere/at/all.lua");
  write_file(module_path, "local x = 1\nlocal y = x.z.w\n");
  CHECK(load(vm, "require 'part'", &err) == NULL);
  CHECK_HAS(err.message, "part.lua:2: attempt to index a number value (local 'x')");
  CHECK_HAS(err.message, ">     2 | local y = x.z.w");
  write_file(module_path, "return require 'part'");
  CHECK(load(vm, "require 'part'", &err) == NULL);
  CHECK_HAS(err.message, "requires itself");
}

static void a_missing_script_is_named(struct sip_vm *vm)
{
  struct sip_script *script = NULL;
  struct sip_err err;

  CHECK_INT(sip_script_load(&script, vm, "/nowhere/x.lua", 0, &err), UV_ENOENT);
  CHECK_HAS(err.message, "/nowhere/x.lua");
  CHECK_INT(sip_script_load(&script, vm, "/tmp", 0, &err) < 0, 1);
  CHECK_HAS(err.message, "not a regular file");
}

static int read_value(lua_State *L)
{
  lua_getglobal(L, "shared_value");
  return 1;
}

static void generations_do_not_share_globals_or_modules(struct sip_vm *vm)
{
  struct sip_script *one, *two;
  const char *const *files;
  struct sip_err err;

  write_file(module_path, "return { version = 1 }");
  one = load(vm, "shared_value = require('part').version; assert(shared_value == 1)", &err);
  CHECK(one != NULL);
  write_file(module_path, "return { version = 2 }");
  two = load(vm,
             "assert(shared_value == nil); shared_value = require('part').version; "
             "assert(shared_value == 2)",
             &err);
  CHECK_STR(err.message, "");
  CHECK(two != NULL);
  CHECK(strcmp(sip_script_version(one), sip_script_version(two)) != 0);
  CHECK(sip_script_number(one) < sip_script_number(two));
  CHECK_INT(sip_script_files(two, &files), 2);
  CHECK_HAS(files[0], "script.lua");
  CHECK_HAS(files[1], "part.lua");
  lua_pushcfunction(sip_vm_state(vm), read_value);
  CHECK_INT(sip_vm_call(vm, 0, 1, &err), 0);
  CHECK(lua_isnil(sip_vm_state(vm), -1));
  lua_pop(sip_vm_state(vm), 1);
  sip_script_free(one);
  sip_script_free(two);
}

static void run_late(struct sip_vm *vm, int late, struct sip_err *err)
{
  lua_rawgeti(sip_vm_state(vm), LUA_REGISTRYINDEX, late);
  CHECK_INT(sip_vm_call(vm, 0, 1, err), 0);
}

static int keep_late(lua_State *L)
{
  lua_settop(L, 1);
  *(int *)lua_touserdata(L, lua_upvalueindex(1)) = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* A module that is named belongs to the version from the start, whatever happens to its file. */
static void what_is_required_later_is_of_the_version_that_was_loaded(struct sip_vm *vm)
{
  lua_State *L = sip_vm_state(vm);
  struct sip_script *script, *same;
  const char *const *files;
  char version[17], hash[SIP_HASH_SIZE];
  struct sip_err err = { 0 };
  int late = LUA_NOREF;

  lua_pushlightuserdata(L, &late);
  lua_pushcclosure(L, keep_late, 1);
  lua_setglobal(L, "keep_late");
  write_file(module_path, "return { value = require 'part2' }");
  write_file(module2_path, "return 'before'");
  script = load(vm,
                "keep_late(function() return require ( \"part\" ).value end)\n"
                "-- require 'nowhere.at.all', require '../up', require 'part",
                &err);
  CHECK_STR(err.message, "");
  CHECK(script != NULL);
  CHECK_INT(sip_script_files(script, &files), 3);
  CHECK_HAS(files[1], "part.lua");
  CHECK_HAS(files[2], "part2.lua");
  (void)snprintf(version, sizeof version, "%s", sip_script_version(script));
  (void)snprintf(hash, sizeof hash, "%s", sip_tree_hash(sip_script_tree(script)));
  CHECK_INT(strncmp(version, hash, 16), 0);
  write_file(module2_path, "return 'after'");
  run_late(vm, late, &err);
  CHECK_STR(lua_tostring(L, -1), "before");
  CHECK_STR(sip_script_version(script), version);
  lua_pop(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, late);
  same = load(vm, "keep_late(function() return require 'part'.value end)", &err);
  CHECK(same != NULL);
  CHECK(strcmp(sip_script_version(same), version) != 0);
  sip_script_free(same); /* gone, and still it has what it was made of */
  CHECK_INT(unlink(module2_path), 0);
  run_late(vm, late, &err);
  CHECK_STR(lua_tostring(L, -1), "after");
  lua_pop(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, late);
  sip_script_free(script);
}

static void a_module_whose_name_is_made_up_joins_the_version_when_it_is_required(struct sip_vm *vm)
{
  lua_State *L = sip_vm_state(vm);
  struct sip_script *script;
  char version[17];
  struct sip_err err = { 0 };
  int late = LUA_NOREF;

  lua_pushlightuserdata(L, &late);
  lua_pushcclosure(L, keep_late, 1);
  lua_setglobal(L, "keep_late");
  write_file(module_path, "return 'made up'");
  script = load(vm, "local n = 'pa' keep_late(function() return require(n .. 'rt') end)", &err);
  CHECK(script != NULL);
  (void)snprintf(version, sizeof version, "%s", sip_script_version(script));
  run_late(vm, late, &err);
  CHECK_STR(lua_tostring(L, -1), "made up");
  lua_pop(L, 1);
  CHECK(strcmp(sip_script_version(script), version) != 0);
  CHECK(sip_tree_find(sip_script_tree(script), "part.lua") != NULL);
  luaL_unref(L, LUA_REGISTRYINDEX, late);
  sip_script_free(script);
}

static void memory_returns_after_many_loads(struct sip_vm *vm)
{
  struct sip_err err;
  size_t before = 0;

  for (int i = 0; i < 200; i++) {
    struct sip_script *script =
      load(vm, "local t = {} for i = 1, 1000 do t[i] = { i } end kept = t", &err);

    CHECK(script != NULL);
    sip_script_free(script);
    if (i % 50 == 9) {
      (void)lua_gc(sip_vm_state(vm), LUA_GCCOLLECT);
      (void)lua_gc(sip_vm_state(vm), LUA_GCCOLLECT);
      CHECK(before == 0 || sip_vm_memory_bytes(vm) < before + before / 20);
      before = sip_vm_memory_bytes(vm);
    }
  }
}

static void the_memory_limit_is_an_error_and_not_a_crash(uv_loop_t *loop)
{
  struct sip_vm_options options = { .memory_limit_bytes = (size_t)8 << 20 };
  struct sip_vm *vm = NULL;
  struct sip_err err;

  CHECK_INT(sip_vm_new(&vm, loop, &options, &err), 0);
  CHECK(load(vm, "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", &err) == NULL);
  CHECK_HAS(err.message, "not enough memory");
  sip_script_free(load(vm, "local ok = 1", &err));
  CHECK_STR(err.message, "");
  sip_vm_free(vm);
}

int main(void)
{
  struct sip_vm_options options = { .slice_limit_ms = 200 };
  struct sip_vm *vm = NULL;
  struct sip_err err;
  uv_loop_t loop;

  CHECK(mkdtemp(directory) != NULL);
  (void)snprintf(path, sizeof path, "%s/script.lua", directory);
  (void)snprintf(module_path, sizeof module_path, "%s/part.lua", directory);
  (void)snprintf(module2_path, sizeof module2_path, "%s/part2.lua", directory);
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_vm_new(&vm, &loop, &options, &err), 0);
  failures_name_file_line_and_excerpt(vm);
  a_missing_script_is_named(vm);
  generations_do_not_share_globals_or_modules(vm);
  what_is_required_later_is_of_the_version_that_was_loaded(vm);
  a_module_whose_name_is_made_up_joins_the_version_when_it_is_required(vm);
  memory_returns_after_many_loads(vm);
  sip_vm_free(vm);
  the_memory_limit_is_an_error_and_not_a_crash(&loop);
  (void)unlink(path);
  (void)unlink(module_path);
  (void)rmdir(directory);
  SIP_TEST_END(&loop);
  return 0;
}
