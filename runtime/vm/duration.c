/* duration.c - durations as people write them: a number and a unit. */
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *unit;
  double ms;
} units[] = { { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
              { "h", 3600000 }, { "d", 86400000 }, { "w", 604800000 } };

bool sip_parse_duration_ms(const char *text, size_t len, uint64_t *out_ms)
{
  char number[32];
  size_t digits = strspn(text, "0123456789.");
  double value;
  char *end;

  if (digits == 0 || digits >= sizeof number || digits >= len || strlen(text) != len) {
    return false;
  }
  memcpy(number, text, digits);
  number[digits] = '\0';
  value = strtod(number, &end);
  if (*end != '\0') {
    return false;
  }
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcmp(text + digits, units[i].unit) == 0) {
      double ms = value * units[i].ms;

      if (ms > 3.2e12) { /* 100 years */
        return false;
      }
      *out_ms = (uint64_t)(ms + 0.5);
      return true;
    }
  }
  return false;
}

uint64_t sip_check_duration_ms(lua_State *L, int arg)
{
  size_t len;
  const char *text;
  uint64_t ms = 0;

  if (lua_type(L, arg) == LUA_TNUMBER) {
    luaL_argerror(L, arg, "a duration needs a unit, as in \"200ms\", \"5s\" or \"3d\"");
  }
  text = luaL_checklstring(L, arg, &len);
  if (!sip_parse_duration_ms(text, len, &ms)) {
    luaL_argerror(
      L, arg,
      lua_pushfstring(L, "\"%s\" is no duration; use ms, s, m, h, d or w, as in \"200ms\"", text));
  }
  return ms;
}

uint64_t sip_opt_duration_ms(lua_State *L, int arg, uint64_t fallback_ms)
{
  return lua_isnoneornil(L, arg) ? fallback_ms : sip_check_duration_ms(L, arg);
}
