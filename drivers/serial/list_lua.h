#ifndef SIP_SERIAL_LIST_LUA_H
#define SIP_SERIAL_LIST_LUA_H
/* list_lua.h - serial.list() of the module sipeat.core.serial. Loop thread. */
#include <lua.h>

/** list() -> {{path, by_id?, by_path?, vid?, pid?, serial?, driver?, holder?, description?}, …} |
 *  nil, message, code. Waits for the work pool. */
int sip_l_serial_list(lua_State *L);

#endif
