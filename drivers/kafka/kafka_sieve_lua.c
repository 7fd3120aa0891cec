/* kafka_sieve_lua.c - a reader's sieve, from Lua: {from_ms?, until_ms?, {kind, text, name?}…} with
 * kind one of key, key~, header, header=, header~, text, text~, json, and path, which has the
 * fields of kafka_json_match_lua.c besides. Loop thread. */
#include "kafka/json_match.h"
#include "kafka/kafka_lua.h"
#include "kafka/sieve.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char TESTS[] = "sipeat.kafka.sieve.tests";

enum { TEST_LIMIT = 32 };

/* In the order of enum sip_sieve_kind. */
static const char *const kinds[] = { "key",   "key~", "header", "header=", "header~",
                                     "text~", "text", "json",   "path",    NULL };

static int64_t get_ms(lua_State *L, const char *name, int64_t fallback)
{
  int64_t ms;

  lua_getfield(L, -1, name);
  ms = luaL_optinteger(L, -1, fallback);
  lua_pop(L, 1);
  return ms;
}

/* The i-th text of the test on top, which keeps it. */
static struct sip_slice get_text(lua_State *L, int i, int arg)
{
  struct sip_slice text = { "", 0 };
  int type = lua_rawgeti(L, -1, i);

  luaL_argcheck(L, type == LUA_TSTRING || (i == 3 && type == LUA_TNIL), arg,
                "a test of a sieve is {kind, text, name?}");
  if (type == LUA_TSTRING) {
    text.data = lua_tolstring(L, -1, &text.len);
  }
  lua_pop(L, 1);
  return text;
}

static enum sip_sieve_kind kind_of(lua_State *L, const struct sip_slice *name, int arg)
{
  for (int i = 0; kinds[i] != NULL; i++) {
    if (strcmp(kinds[i], name->data) == 0) {
      return (enum sip_sieve_kind)i;
    }
  }
  luaL_argerror(L, arg, "there is no such test of a sieve");
  return SIP_SIEVE_JSON; /* not reached */
}

/* A test that Lua describes, still without owner. */
struct tests {
  struct sip_sieve_test list[TEST_LIMIT];
  size_t count;
};

static int tests_gc(lua_State *L)
{
  struct tests **box = luaL_checkudata(L, 1, TESTS);

  for (size_t i = 0; *box != NULL && i < (*box)->count; i++) {
    sip_json_match_free((*box)->list[i].json);
  }
  free(*box);
  *box = NULL;
  return 0;
}

/* Pushes the box that owns them until the sieve does: what follows may throw. */
static struct tests **push_tests(lua_State *L)
{
  struct tests **box = sip_box_new(L, TESTS, tests_gc);

  *box = calloc(1, sizeof **box);
  if (*box == NULL) {
    luaL_error(L, "kafka reader: out of memory");
  }
  return box;
}

/* The test on top of the stack, which the table around it keeps. */
static void read_test(lua_State *L, struct sip_sieve_test *test, int arg)
{
  struct sip_slice kind = get_text(L, 1, arg);

  test->kind = kind_of(L, &kind, arg);
  test->text = get_text(L, 2, arg);
  test->name = get_text(L, 3, arg);
  if (test->kind == SIP_SIEVE_JSON_AT && sip_l_check_json_match(L, -1, &test->json) < 0) {
    luaL_error(L, "kafka reader: out of memory");
  }
}

void sip_l_check_sieve(lua_State *L, int arg, struct sip_sieve **out)
{
  struct tests **box, *tests;
  int64_t from_ms, until_ms;
  size_t count;
  int rc;

  if (lua_isnoneornil(L, arg)) {
    return;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  count = lua_rawlen(L, arg);
  luaL_argcheck(L, count <= TEST_LIMIT, arg, "a sieve has at most 32 tests");
  box = push_tests(L);
  tests = *box;
  lua_pushvalue(L, arg);
  from_ms = get_ms(L, "from_ms", INT64_MIN);
  until_ms = get_ms(L, "until_ms", INT64_MAX);
  for (size_t i = 0; i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TTABLE, arg,
                  "a test of a sieve is {kind, text, name?}");
    tests->count++;
    read_test(L, &tests->list[i], arg);
    lua_pop(L, 1); /* the sieve keeps the test */
  }
  rc = sip_sieve_new(out, from_ms, until_ms, tests->list, count);
  tests->count = 0; /* taken over */
  if (rc < 0) {
    luaL_error(L, "kafka reader: out of memory");
  }
  lua_pop(L, 2);
}
