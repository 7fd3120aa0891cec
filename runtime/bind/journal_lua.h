#ifndef SIP_BIND_JOURNAL_LUA_H
#define SIP_BIND_JOURNAL_LUA_H
/* journal_lua.h - gives a worker's scripts the journal. Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_journal;
struct sip_vm;

/** From now on sipeat.core.journal writes there; the journal is borrowed until NULL is set.
 *  @return 0 or a negative code */
int sip_journal_lua_set(struct sip_vm *vm, struct sip_journal *journal, struct sip_err *err);

int sip_open_journal(lua_State *L); /* sipeat.core.journal */

#endif
