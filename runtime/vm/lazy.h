#ifndef SIP_VM_LAZY_H
#define SIP_VM_LAZY_H
/* lazy.h - tables that are filled when they are touched.
 *
 * A lazy table is a table with a metatable that says how to fill it. Lua's own operators reach it
 * through metamethods; the functions that look behind metatables (next, rawget, rawset, rawlen,
 * getmetatable, setmetatable) are replaced here by ones that fill the table first, so that a script
 * sees a plain table everywhere. C code that reads a table of a script's with lua_next or lua_raw…
 * calls sip_lazy_fill before. Loop thread. */
#include <lua.h>

/** Makes the table on the top of the stack, which is kept as a metatable, that of lazy tables:
 * `fill` puts all that is missing into the table at index 1 and takes its metatable away. It
 * returns nothing, may throw, and can be called again after it threw. */
void sip_lazy_class(lua_State *L, lua_CFunction fill);

/** Fills the value at `index` if it is a lazy table. Needs two slots of the stack. */
void sip_lazy_fill(lua_State *L, int index);

/** Replaces the globals that look behind metatables. */
void sip_lazy_open(lua_State *L);

#endif
