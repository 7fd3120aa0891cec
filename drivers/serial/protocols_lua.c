/* protocols_lua.c - what sipeat.core.serial says of protocols, without a line. Loop thread. */
#include "serial/protocols_lua.h"

#include "serial/check.h"
#include "serial/party.h"

#include <lauxlib.h>

const char *const sip_serial_parities[] = { "none", "even", "odd", "mark", "space", NULL };

static void set_names(lua_State *L, const char *name, const char *const *names)
{
  lua_newtable(L);
  for (lua_Integer i = 0; names != NULL && names[i] != NULL; i++) {
    lua_pushstring(L, names[i]);
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -2, name);
}

static void push_protocol(lua_State *L, const struct sip_protocol *protocol)
{
  lua_createtable(L, 0, 10);
  lua_pushstring(L, protocol->name);
  lua_setfield(L, -2, "name");
  lua_pushstring(L, protocol->title);
  lua_setfield(L, -2, "title");
  lua_pushstring(L, protocol->proof);
  lua_setfield(L, -2, "proof");
  set_names(L, "settings", protocol->settings);
  set_names(L, "commands", protocol->commands);
  lua_pushinteger(L, protocol->line.baud);
  lua_setfield(L, -2, "baud");
  lua_pushinteger(L, protocol->line.bits);
  lua_setfield(L, -2, "bits");
  lua_pushinteger(L, protocol->line.stop);
  lua_setfield(L, -2, "stop");
  lua_pushstring(L, sip_serial_parities[protocol->line.parity]);
  lua_setfield(L, -2, "parity");
}

int sip_l_serial_protocols(lua_State *L)
{
  lua_newtable(L);
  for (lua_Integer i = 0; sip_protocols[i] != NULL; i++) {
    push_protocol(L, sip_protocols[i]);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

int sip_l_serial_describe(lua_State *L)
{
  const struct sip_protocol *protocol = sip_protocol_find(luaL_checkstring(L, 1));
  char text[512] = "";
  size_t size, taken;
  const char *bytes = luaL_checklstring(L, 2, &size);

  luaL_argcheck(L, protocol != NULL, 1, "there is no such protocol");
  taken = size == 0 ? 0
                    : protocol->describe((const uint8_t *)bytes, size, lua_toboolean(L, 3) != 0,
                                         text, sizeof text);
  lua_pushinteger(L, (lua_Integer)taken);
  lua_pushstring(L, text);
  return 2;
}

int sip_l_serial_checksum(lua_State *L)
{
  enum sip_check_kind kind = SIP_CHECK_NONE;
  uint8_t check[SIP_CHECK_MOST];
  struct sip_err err = { 0 };
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);

  if (sip_check_find(&kind, luaL_checkstring(L, 1), &err) < 0) {
    return luaL_argerror(L, 1, err.message);
  }
  size = sip_check_make(kind, (const uint8_t *)bytes, size, check);
  lua_pushlstring(L, (const char *)check, size);
  return 1;
}
