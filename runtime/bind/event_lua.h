#ifndef SIP_BIND_EVENT_LUA_H
#define SIP_BIND_EVENT_LUA_H
/* event_lua.h - events of the usual shapes, made from records without going through Lua. Loop
 * thread. */
#include "flow/port.h"

#include <lua.h>

/** Pushes the event of a record; or nil, when stdlib/record.lua has to read it, or to say why it
 * cannot be read. Throws without memory. @return whether there is one */
bool sip_event_push(lua_State *L, const struct sip_source_ops *ops,
                    const struct sip_record *record);

#endif
