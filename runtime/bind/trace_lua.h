#ifndef SIP_BIND_TRACE_LUA_H
#define SIP_BIND_TRACE_LUA_H
/* trace_lua.h - what the bindings share about spans that wait to be sent. Loop thread. */
#include <lua.h>
#include <stdint.h>

struct sip_trace;

/** After a span was put there: tells who sends them, if that is worth it by now. Does not throw for
 *  what that does. Needs two free places on the stack. */
void sip_trace_announce(lua_State *L, uint64_t now_ns);

/** Pushes the id of a trace, and that of the span that is around it or nil. */
void sip_trace_push_ids(lua_State *L, const struct sip_trace *trace);

/** put of sipeat.core.trace (trace_encode_lua.c). */
int sip_trace_l_put(lua_State *L);

#endif
