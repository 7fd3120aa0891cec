#ifndef SIP_CLI_LOAD_LUA_H
#define SIP_CLI_LOAD_LUA_H
/* load_lua.h - loading a script for a verb. Loop thread. */
#include <lua.h>

/** load(path) -> what keeps the file loaded until it is closed | nil, message, code */
int sip_l_load_script(lua_State *L);

/** files(loaded) -> the paths of the files that were read, the script first */
int sip_l_loaded_files(lua_State *L);

#endif
