/* note_lua.c - notes as tables, and tables as notes. Loop thread. */
#include "serial/note_lua.h"

#include "vm/lazy.h"

#include <lauxlib.h>
#include <string.h>

static bool add_field(lua_State *L, struct sip_note *note, const char *name, int arg)
{
  lua_Integer number;
  const char *text;
  size_t size;
  int is_integer;

  switch (lua_type(L, -1)) {
  case LUA_TBOOLEAN:
    return sip_note_bool(note, name, lua_toboolean(L, -1) != 0);
  case LUA_TSTRING:
    text = lua_tolstring(L, -1, &size);
    return sip_note_bytes(note, name, text, size);
  case LUA_TNUMBER:
    number = lua_tointegerx(L, -1, &is_integer);
    luaL_argcheck(L, is_integer, arg, "a number in it is no integer");
    return sip_note_int(note, name, number);
  default:
    luaL_argerror(L, arg, "its values are integers, booleans and strings");
    return false; /* not reached */
  }
}

void sip_check_note(lua_State *L, int arg, struct sip_note *note)
{
  luaL_checktype(L, arg, LUA_TTABLE);
  sip_lazy_fill(L, arg);
  lua_pushnil(L);
  while (lua_next(L, arg) != 0) {
    luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, arg, "its keys are names");
    if (!add_field(L, note, lua_tostring(L, -2), arg)) {
      luaL_argerror(L, arg, "it has more than 16 fields");
    }
    lua_pop(L, 1);
  }
}

void sip_push_note(lua_State *L, const struct sip_note *note)
{
  lua_createtable(L, 0, (int)note->count + 2);
  if (strcmp(note->name, "result") != 0) {
    lua_pushstring(L, note->name);
    lua_setfield(L, -2, "name");
    if (note->ticket != 0) {
      lua_pushinteger(L, (lua_Integer)note->ticket);
      lua_setfield(L, -2, "ticket");
    }
  }
  for (unsigned i = 0; i < note->count; i++) {
    const struct sip_value *field = &note->fields[i];

    if (field->kind == SIP_VALUE_TEXT) {
      lua_pushlstring(L, field->text, field->size);
    } else if (field->kind == SIP_VALUE_BOOL) {
      lua_pushboolean(L, field->number != 0);
    } else {
      lua_pushinteger(L, (lua_Integer)field->number);
    }
    lua_setfield(L, -2, field->name);
  }
}
