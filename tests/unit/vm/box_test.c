/* box_test.c - boxes when memory runs out while their class is made. */
#include "support/test.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static int countdown; /* the allocation that fails; 0: none */
static int collected;

static void *allocate(void *arg, void *old, size_t old_size, size_t size)
{
  (void)arg;
  if (size == 0) {
    free(old);
    return NULL;
  }
  if (countdown > 0 && (old == NULL || size > old_size) && --countdown == 0) {
    countdown = 1; /* and so do all behind it: the collector's second try too */
    return NULL;
  }
  return realloc(old, size);
}

static int box_gc(lua_State *L)
{
  void **box = lua_touserdata(L, 1);

  collected += *box != NULL;
  *box = NULL;
  return 0;
}

static int box_make(lua_State *L)
{
  void **box = sip_box_new(L, "test.box", box_gc);

  *box = &collected;
  return 1;
}

/* Each allocation of the first box fails, and the second box is collected all the same. */
static void a_class_is_never_half_made(void)
{
  int failures = 0;

  for (int at = 1;; at++) {
    lua_State *L = lua_newstate(allocate, NULL);
    bool failed;

    CHECK(L != NULL);
    CHECK(lua_checkstack(L, 8));
    countdown = at;
    lua_pushcfunction(L, box_make);
    failed = lua_pcall(L, 0, 1, 0) != LUA_OK;
    countdown = 0;
    lua_settop(L, 0);
    collected = 0;
    lua_pushcfunction(L, box_make);
    CHECK_INT(lua_pcall(L, 0, 1, 0), LUA_OK);
    lua_close(L);
    CHECK_INT(collected, failed ? 1 : 2);
    failures += failed;
    if (!failed) {
      break;
    }
  }
  CHECK(failures > 5);
}

int main(void)
{
  a_class_is_never_half_made();
  return 0;
}
