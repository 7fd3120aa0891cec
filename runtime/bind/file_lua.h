#ifndef SIP_BIND_FILE_LUA_H
#define SIP_BIND_FILE_LUA_H
/* file_lua.h - whole files, read and written on the work pool. Part of sipeat.core.sys. */
#include <lua.h>

int sip_l_read_file(lua_State *L);  /* read_file(path) -> text | nil, message, code */
int sip_l_write_file(lua_State *L); /* write_file(path, text) -> true | nil, message, code */
int sip_l_list_files(
  lua_State *L); /* list_files(directory) -> names of files | nil, message, code */

#endif
