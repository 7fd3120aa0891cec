#ifndef SIP_SERIAL_DESCRIBE_LUA_H
#define SIP_SERIAL_DESCRIBE_LUA_H
/* describe_lua.h - functions of sipeat.core.serial about protocols. Loop thread. */
#include <lua.h>

int sip_l_serial_protocols(lua_State *L);
int sip_l_serial_describe(lua_State *L);

#endif
