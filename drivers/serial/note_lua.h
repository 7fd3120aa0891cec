#ifndef SIP_SERIAL_NOTE_LUA_H
#define SIP_SERIAL_NOTE_LUA_H
/* note_lua.h - notes as tables. Loop thread. */
#include "serial/party.h"

#include <lua.h>

/** Fills `note` from the table at `arg`: its texts are borrowed from the table. Throws. */
void sip_check_note(lua_State *L, int arg, struct sip_note *note);

/** Pushes {name, ticket, fields}; of a result only its fields. */
void sip_push_note(lua_State *L, const struct sip_note *note);

#endif
