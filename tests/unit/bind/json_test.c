/* json_test.c - each allocation of sipeat.core.json fails once: nothing is lost, and a lazy table
 * whose filling was broken off is filled by the next touch. */
#include "bind/bind.h"
#include "vm/lazy.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>

#include "support/test.h"

/* Gives memory until `left` is used up; then nothing, until it is set anew. */
struct faults {
  long left;
  bool failed;
};

static void *faulty(void *arg, void *old, size_t old_size, size_t size)
{
  struct faults *faults = arg;
  bool grows = old == NULL || size > old_size;

  if (size == 0) {
    free(old);
    return NULL;
  }
  if (grows && faults->left == 0) {
    faults->failed = true;
    return NULL;
  }
  faults->left -= grows && faults->left > 0;
  return realloc(old, size);
}

/* Two functions of the module: one makes a value and keeps it, one looks at all of what is kept. */
static const char SCENARIO[] =
  "local json = ...\n"
  "local text = '{\"a\":\"a text of more than forty bytes is not interned by Lua\","
  "\"b\":{\"c\":[1,{\"d\":\"\\\\u00e9\"},[]],\"x\":null},\"a\\\\\"\":1.5,\"e\":{},\"f\":12}'\n"
  "local kept\n"
  "local function make()\n"
  "  kept = nil\n"
  "  kept = json.lazy(text)\n"
  "  return kept.b.c[2].d\n"
  "end\n"
  "local function look()\n"
  "  local v = kept or json.lazy(text)\n"
  "  assert(v.b.c[2].d == '\\u{e9}' and #v.b.c == 3 and v.f == 12)\n"
  "  local n = 0\n"
  "  for _ in pairs(v) do n = n + 1 end\n"
  "  for _ in pairs(v.b) do n = n + 1 end\n"
  "  assert(n == 7 and v['a\"'] == 1.5 and v.missing == nil)\n"
  "  assert(getmetatable(v) == nil and rawget(v, 'f') == 12)\n"
  "  assert(#json.encode(v) == #json.encode(json.decode(text)))\n"
  "  assert(#json.encode(json.lazy(text)) == #text)\n"
  "end\n"
  "return make, look\n";

static lua_State *open_state(struct faults *faults)
{
  lua_State *L = lua_newstate(faulty, faults);

  CHECK(L != NULL);
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  lua_pop(L, 1);
  sip_lazy_open(L);
  CHECK_INT(luaL_loadstring(L, SCENARIO), LUA_OK);
  lua_pushcfunction(L, sip_open_json);
  lua_call(L, 0, 1);
  CHECK_INT(lua_pcall(L, 1, 2, 0), LUA_OK);
  return L; /* stack: make, look */
}

/* The n-th allocation of the function at `index` fails. @return false when it did not need as many
 */
static bool fail_at(lua_State *L, struct faults *faults, int index, long n)
{
  int status;

  faults->failed = false;
  lua_pushvalue(L, index);
  faults->left = n;
  status = lua_pcall(L, 0, 0, 0);
  faults->left = -1;
  if (status != LUA_OK) {
    CHECK(faults->failed);
    CHECK_HAS(lua_tostring(L, -1), "not enough memory");
  }
  lua_settop(L, 2);
  return faults->failed;
}

int main(void)
{
  struct faults faults = { -1, false };
  lua_State *L = open_state(&faults);
  long sweeps = 0;

  for (int index = 1; index <= 2; index++) {
    for (long n = 0; fail_at(L, &faults, index, n); n++) {
      lua_pushvalue(L, 2); /* what is there now can still be read */
      if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        SIP_TEST_FAIL("after allocation %ld: %s", n, lua_tostring(L, -1));
      }
      lua_pushvalue(L, 1); /* and the next look begins with nothing read */
      CHECK_INT(lua_pcall(L, 0, 0, 0), LUA_OK);
      sweeps++;
    }
  }
  CHECK(sweeps > 10);
  lua_close(L);
  (void)printf("ok\n");
  return 0;
}
