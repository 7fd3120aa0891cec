/* describe_lua.c - the protocols of this program, and their frames in words. Loop thread.
 *
 *   protocols()                          list of {name, title, proof, line = {baud, bits, parity,
 *                                        stop}, settings = names, commands = names}
 *   describe(protocol, bytes, from_host) how many bytes the first frame takes (0: needs more), and
 *                                        the frame in words; "noise" is a byte that is no frame */
#include "serial/describe_lua.h"

#include "serial/party.h"

#include <lauxlib.h>

enum { WORDS_BYTES = 512 };

static void push_names(lua_State *L, const char *field, const char *const *names)
{
  lua_Integer count = 0;

  lua_newtable(L);
  for (; names != NULL && *names != NULL; names++) {
    lua_pushstring(L, *names);
    lua_rawseti(L, -2, ++count);
  }
  lua_setfield(L, -2, field);
}

static void push_line(lua_State *L, const struct sip_line_settings *line)
{
  static const char *const parities[] = { "none", "even", "odd" };

  lua_createtable(L, 0, 4);
  lua_pushinteger(L, line->baud);
  lua_setfield(L, -2, "baud");
  lua_pushinteger(L, line->bits);
  lua_setfield(L, -2, "bits");
  lua_pushinteger(L, line->stop);
  lua_setfield(L, -2, "stop");
  lua_pushstring(L, parities[line->parity]);
  lua_setfield(L, -2, "parity");
  lua_setfield(L, -2, "line");
}

int sip_l_serial_protocols(lua_State *L)
{
  lua_Integer count = 0;

  lua_newtable(L);
  for (const struct sip_protocol *const *p = sip_protocols; *p != NULL; p++) {
    lua_createtable(L, 0, 6);
    lua_pushstring(L, (*p)->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, (*p)->title);
    lua_setfield(L, -2, "title");
    lua_pushstring(L, (*p)->proof);
    lua_setfield(L, -2, "proof");
    push_line(L, &(*p)->line);
    push_names(L, "settings", (*p)->settings);
    push_names(L, "commands", (*p)->commands);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

int sip_l_serial_describe(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  size_t size, used;
  const char *bytes = luaL_checklstring(L, 2, &size);
  const struct sip_protocol *protocol = sip_protocol_find(name);
  char words[WORDS_BYTES] = "";

  if (protocol == NULL) {
    return luaL_argerror(L, 1, lua_pushfstring(L, "no protocol is called %s", name));
  }
  if (protocol->describe == NULL) {
    lua_pushinteger(L, (lua_Integer)size);
    lua_pushliteral(L, "");
    return 2;
  }
  used = protocol->describe((const uint8_t *)bytes, size, lua_toboolean(L, 3), words, sizeof words);
  lua_pushinteger(L, (lua_Integer)used);
  if (used == 0) {
    return 1;
  }
  lua_pushstring(L, words);
  return 2;
}
