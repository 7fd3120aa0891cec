/* log_lua.c - module sipeat.core.log: write(level, module, text, fields?), enabled(level).
 *
 * Levels are "debug", "info", "warn", "error". `fields` is a table of names to values, shown by
 * tostring. */
#include "bind/bind.h"
#include "core/log.h"
#include "vm/lazy.h"
#include "vm/task.h"

#include <lauxlib.h>

enum { FIELD_LIMIT = 32 };

static enum sip_log_level check_level(lua_State *L)
{
  enum sip_log_level level = SIP_LOG_INFO;
  const char *name = luaL_checkstring(L, 1);

  if (!sip_log_parse_level(name, &level)) {
    luaL_argerror(L, 1, "one of debug, info, warn, error");
  }
  return level;
}

static int l_enabled(lua_State *L)
{
  lua_pushboolean(L, sip_log_on(check_level(L)));
  return 1;
}

static int l_write(lua_State *L)
{
  enum sip_log_level level = check_level(L);
  const char *module = luaL_checkstring(L, 2);
  const char *text = luaL_tolstring(L, 3, NULL);
  struct sip_log_field fields[FIELD_LIMIT];
  struct sip_task *task = sip_task_current(L);
  size_t count = 0;

  if (!sip_log_on(level)) {
    return 0;
  }
  if (!lua_isnoneornil(L, 4)) {
    luaL_checktype(L, 4, LUA_TTABLE);
    sip_lazy_fill(L, 4);
    luaL_checkstack(L, 2 * FIELD_LIMIT + 4, NULL);
    lua_pushnil(L);
    while (count < FIELD_LIMIT && lua_next(L, 4) != 0) { /* stack: …, key, value */
      fields[count].value = luaL_tolstring(L, -1, NULL);
      lua_remove(L, -2); /* …, key, text of value: kept on the stack until the line is written */
      lua_pushvalue(L, -2);
      fields[count].key = luaL_tolstring(L, -1, NULL);
      lua_remove(L, -2);
      lua_pushvalue(L, -3); /* the key again, for lua_next */
      count++;
    }
  }
  sip_log_fields(level, module, task == NULL ? NULL : sip_task_event_id(task), fields, count, text);
  return 0;
}

int sip_open_log(lua_State *L)
{
  static const luaL_Reg functions[] = { { "write", l_write },
                                        { "enabled", l_enabled },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
