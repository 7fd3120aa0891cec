/* kafka_sieve_lua.c - a reader's sieve, from Lua: {from_ms?, until_ms?, {kind, text, name?}…} with
 * kind one of key, key~, header, header=, header~, text, text~ and json. Loop thread. */
#include "kafka/kafka_lua.h"
#include "kafka/sieve.h"

#include <lauxlib.h>
#include <string.h>

enum { TEST_LIMIT = 32 };

/* In the order of enum sip_sieve_kind. */
static const char *const kinds[] = { "key",   "key~", "header", "header=", "header~",
                                     "text~", "text", "json",   NULL };

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

void sip_l_check_sieve(lua_State *L, int arg, struct sip_sieve **out)
{
  struct sip_sieve_test tests[TEST_LIMIT];
  int64_t from_ms, until_ms;
  size_t count;

  if (lua_isnoneornil(L, arg)) {
    return;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  count = lua_rawlen(L, arg);
  luaL_argcheck(L, count <= TEST_LIMIT, arg, "a sieve has at most 32 tests");
  lua_pushvalue(L, arg);
  from_ms = get_ms(L, "from_ms", INT64_MIN);
  until_ms = get_ms(L, "until_ms", INT64_MAX);
  for (size_t i = 0; i < count; i++) {
    struct sip_slice kind;

    luaL_argcheck(L, lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TTABLE, arg,
                  "a test of a sieve is {kind, text, name?}");
    kind = get_text(L, 1, arg);
    tests[i].kind = kind_of(L, &kind, arg);
    tests[i].text = get_text(L, 2, arg);
    tests[i].name = get_text(L, 3, arg);
    lua_pop(L, 1); /* the sieve keeps the test */
  }
  if (sip_sieve_new(out, from_ms, until_ms, tests, count) < 0) {
    luaL_error(L, "kafka reader: out of memory");
  }
  lua_pop(L, 1);
}
