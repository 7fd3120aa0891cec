#ifndef SIP_BIND_EVENT_LUA_H
#define SIP_BIND_EVENT_LUA_H
/* event_lua.h - events of the usual shapes, made from records without going through Lua. Loop
 * thread. */
#include "flow/port.h"

#include <lua.h>

/** Pushes the event of a record; or nil, when stdlib/record.lua has to read it, or to say why it
 * cannot be read. Throws without memory. Needs ten slots of the stack. @return whether there is one
 */
bool sip_event_push(lua_State *L, const struct sip_source_ops *ops,
                    const struct sip_record *record);

/** of(record) -> event | nil: the same for a record that Lua has; nil: stdlib/record.lua has to. */
int sip_l_event_of(lua_State *L);

enum sip_event_key {
  SIP_EVENT_KEY_UNKNOWN, /* Lua has to look */
  SIP_EVENT_KEY_NONE,    /* there is nothing, or what is no key */
  SIP_EVENT_KEY_FOUND
};

/** The text or number at a path below the data of a record's event, as text, without making the
 * event. Does not throw.
 * @param out  borrowed until JSON is read or written again; set when it is found */
enum sip_event_key sip_event_find_key(lua_State *L, const struct sip_source_ops *ops,
                                      const struct sip_record *record, const struct sip_slice *path,
                                      size_t count, struct sip_slice *out);

#endif
