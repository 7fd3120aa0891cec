#ifndef SIP_CLI_TERMINAL_LUA_H
#define SIP_CLI_TERMINAL_LUA_H
/* terminal_lua.h - sipeat.core.terminal: what the verbs that are written in Lua need. Loop thread.
 *
 *   write(text)        to standard output, buffered -> true | nil, message, code
 *   flush()            -> true | nil, message, code ("EPIPE": the reader has gone)
 *   note(text)         a line to standard error
 *   status(text)       rewrites one line of a terminal: progress; "" removes it
 *   ring()             the bell of the terminal behind standard error
 *   is_terminal(name)  "stdin", "stdout" or "stderr"
 *   ask(prompt)        a line from standard input, or nil at its end; blocks
 *   open(path)         reader | nil, message, code; "-" is standard input
 *   reader:poll()      a line without its end; nil at the end; nil, message, code ("TOO_BIG",
 *                      "ECANCELED"); or true, call again: first before it waits, then after it
 *   reader:progress()  bytes handed out, and the file's size or nil
 *   reader:close()
 *   create(path, append?)  writer | nil, message, code; truncates unless `append`
 *   writer:write(text)     -> true | nil, message, code; it is in the file then
 *   writer:close()         -> true | nil, message, code */
#include <lua.h>

int sip_open_terminal(lua_State *L);

int sip_l_create_file(lua_State *L);

#endif
