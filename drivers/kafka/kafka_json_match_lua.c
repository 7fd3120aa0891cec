/* kafka_json_match_lua.c - a test of a value in JSON, from Lua: {kind, text, relation, path = {…},
 * number?}, where a step of the path is a name, an index from 0, or true for any item; relation is
 * one of "", =, !=, ~ (text in small letters), >, >=, <, <=; and number is what the text is as one.
 *
 * json_match(test) -> function(json) -> does it pass? Loop thread. */
#include "kafka/json_match.h"
#include "kafka/kafka_lua.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <string.h>

static const char JSON_MATCH[] = "sipeat.kafka.json_match";

/* In the order of enum sip_json_operator. */
static const char *const relations[] = { "", "=", "!=", "~", ">", ">=", "<", "<=" };

static struct sip_json_step check_step(lua_State *L, int arg)
{
  struct sip_json_step step = { .kind = SIP_STEP_ANY };

  if (lua_type(L, -1) == LUA_TSTRING) {
    step.kind = SIP_STEP_NAME;
    step.name.data = lua_tolstring(L, -1, &step.name.len); /* the path holds it */
  } else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0) {
    step.kind = SIP_STEP_INDEX;
    step.index = (uint64_t)lua_tointeger(L, -1);
  } else {
    luaL_argcheck(L, lua_isboolean(L, -1), arg, "a step is a name, an index or true");
  }
  return step;
}

static void check_path(lua_State *L, int arg, struct sip_json_step *steps, size_t *count)
{
  luaL_argcheck(L, lua_getfield(L, arg, "path") == LUA_TTABLE, arg, "a path is a list");
  *count = lua_rawlen(L, -1);
  luaL_argcheck(L, *count > 0 && *count <= SIP_JSON_MATCH_DEPTH, arg, "a path has 1 to 32 steps");
  for (size_t i = 0; i < *count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    steps[i] = check_step(L, arg);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void check_text(lua_State *L, int arg, int i, struct sip_slice *out)
{
  luaL_argcheck(L, lua_rawgeti(L, arg, i) == LUA_TSTRING, arg,
                "a test of JSON is {kind, text, relation, path =, number?}");
  out->data = lua_tolstring(L, -1, &out->len);
  lua_pop(L, 1); /* the test holds it */
}

static void check_number(lua_State *L, int arg, struct sip_json_match_spec *spec)
{
  int type = lua_getfield(L, arg, "number"), integral = 0;

  luaL_argcheck(L, type == LUA_TNUMBER || type == LUA_TNIL, arg, "number is no number");
  if (type == LUA_TNUMBER) {
    spec->numeric = true;
    spec->number.real = lua_tonumber(L, -1);
    spec->number.integer = lua_tointegerx(L, -1, &integral);
    spec->number.integral = integral;
  }
  lua_pop(L, 1);
}

int sip_l_check_json_match(lua_State *L, int arg, struct sip_json_match **out)
{
  struct sip_json_step steps[SIP_JSON_MATCH_DEPTH];
  struct sip_json_match_spec spec = { .steps = steps };
  struct sip_slice relation;
  size_t i = 0;

  arg = lua_absindex(L, arg);
  check_path(L, arg, steps, &spec.count);
  check_text(L, arg, 2, &spec.text);
  check_text(L, arg, 3, &relation);
  check_number(L, arg, &spec);
  while (i < sizeof relations / sizeof relations[0] && strcmp(relations[i], relation.data) != 0) {
    i++;
  }
  luaL_argcheck(L, i < sizeof relations / sizeof relations[0], arg, "there is no such relation");
  spec.relation = (enum sip_json_operator)i;
  return sip_json_match_new(out, &spec);
}

static int json_match_gc(lua_State *L)
{
  struct sip_json_match **box = luaL_checkudata(L, 1, JSON_MATCH);

  sip_json_match_free(*box);
  *box = NULL;
  return 0;
}

static int json_match_passes(lua_State *L)
{
  struct sip_json_match **box = lua_touserdata(L, lua_upvalueindex(1));
  struct sip_slice json;

  json.data = luaL_checklstring(L, 1, &json.len);
  lua_pushboolean(L, sip_json_match_passes(*box, &json));
  return 1;
}

int sip_l_json_match(lua_State *L)
{
  struct sip_json_match **box;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  box = sip_box_new(L, JSON_MATCH, json_match_gc);
  if (sip_l_check_json_match(L, 1, box) < 0) {
    return luaL_error(L, "json match: out of memory");
  }
  lua_pushcclosure(L, json_match_passes, 1);
  return 1;
}
