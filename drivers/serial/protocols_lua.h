#ifndef SIP_SERIAL_PROTOCOLS_LUA_H
#define SIP_SERIAL_PROTOCOLS_LUA_H
/* protocols_lua.h - functions of the module sipeat.core.serial that need no line. Loop thread. */
#include <lua.h>

/** In the order of enum sip_parity, ended by NULL. */
extern const char *const sip_serial_parities[];

/** protocols() -> list of {name, title, proof, settings, commands, baud, bits, stop, parity} */
int sip_l_serial_protocols(lua_State *L);

/** describe(protocol, bytes, from_host) -> how many bytes its first frame took, text */
int sip_l_serial_describe(lua_State *L);

/** checksum(name, bytes) -> the bytes of the check */
int sip_l_serial_checksum(lua_State *L);

#endif
