/* push.c - options of a verb as fields of a Lua table. */
#include "cli/push.h"

void sip_push_text(lua_State *L, const char *name, const char *value)
{
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

void sip_push_number(lua_State *L, const char *name, int64_t value)
{
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

void sip_push_flag(lua_State *L, const char *name, bool value)
{
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

void sip_push_duration(lua_State *L, const char *name, uint64_t ms)
{
  lua_pushfstring(L, "%Ims", (LUAI_UACINT)ms);
  lua_setfield(L, -2, name);
}
