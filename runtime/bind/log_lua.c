/* log_lua.c - module sipeat.core.log: write(level, module, text, fields?), enabled(level),
 * recent().
 *
 * Levels are "debug", "info", "warn", "error". `fields` is a table of names to values, shown by
 * tostring. recent() -> the process's last warnings and errors, newest first: {at_ms, level,
 * module, event_id?, message}. */
#include "bind/bind.h"
#include "core/log.h"
#include "core/trace.h"
#include "vm/lazy.h"
#include "vm/task.h"

#include <lauxlib.h>
#include <string.h>

enum { FIELD_LIMIT = 32, TRACE_FIELDS = 2 };

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

/* The ids of the trace that the task works in, as fields. */
struct ids {
  char trace[SIP_TRACE_ID_BYTES + 1], span[SIP_TRACE_SPAN_BYTES + 1];
};

static size_t add_ids(struct sip_log_field *fields, struct ids *ids, const struct sip_task *task)
{
  const struct sip_trace *trace = task == NULL ? NULL : sip_task_trace(task);

  if (trace == NULL) {
    return 0;
  }
  memcpy(ids->trace, trace->parent + SIP_TRACE_ID_AT, SIP_TRACE_ID_BYTES);
  ids->trace[SIP_TRACE_ID_BYTES] = '\0';
  memcpy(ids->span, trace->parent + SIP_TRACE_SPAN_AT, SIP_TRACE_SPAN_BYTES);
  ids->span[SIP_TRACE_SPAN_BYTES] = '\0';
  fields[0] = (struct sip_log_field){ "trace_id", ids->trace };
  fields[1] = (struct sip_log_field){ "span_id", ids->span };
  return trace->has_span ? 2 : 1;
}

static int l_write(lua_State *L)
{
  enum sip_log_level level = check_level(L);
  const char *module = luaL_checkstring(L, 2);
  const char *text = luaL_tolstring(L, 3, NULL);
  struct sip_log_field fields[FIELD_LIMIT + TRACE_FIELDS];
  struct sip_task *task = sip_task_current(L);
  size_t count = 0;
  struct ids ids;

  if (!sip_log_on(level) && level < SIP_LOG_WARN) {
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
  count += add_ids(fields + count, &ids, task);
  sip_log_fields(level, module, task == NULL ? NULL : sip_task_event_id(task), fields, count, text);
  return 0;
}

static void set_text(lua_State *L, const char *name, const char *text)
{
  if (text[0] != '\0') {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
  }
}

static int l_recent(lua_State *L)
{
  struct sip_log_kept *lines = lua_newuserdatauv(L, SIP_LOG_KEPT * sizeof *lines, 0);
  size_t count = sip_log_recent(lines, SIP_LOG_KEPT);

  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, lines[i].at_ms);
    lua_setfield(L, -2, "at_ms");
    set_text(L, "level", lines[i].level == SIP_LOG_WARN ? "warn" : "error");
    set_text(L, "module", lines[i].module);
    set_text(L, "event_id", lines[i].event_id);
    set_text(L, "message", lines[i].text);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

int sip_open_log(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "write", l_write }, { "recent", l_recent }, { "enabled", l_enabled }, { NULL, NULL }
  };

  luaL_newlib(L, functions);
  return 1;
}
