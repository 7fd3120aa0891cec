#ifndef SIP_BIND_JOURNAL_LUA_H
#define SIP_BIND_JOURNAL_LUA_H
/* journal_lua.h - gives a worker's scripts the journal. Loop thread. */
#include "core/err.h"

#include <lua.h>
#include <stdbool.h>

struct sip_journal_shared;
struct sip_vm;

/** Called once when the journal cannot be written any more: nothing may be begun, and the process
 * is to end. Loop thread. */
typedef void (*sip_journal_failed_fn)(void *arg, const struct sip_err *err);

/** Names the journal of the process; it is opened when a script wants it.
 *  @return 0 or a negative code */
int sip_journal_lua_attach(struct sip_vm *vm, struct sip_journal_shared *shared,
                           sip_journal_failed_fn on_failed, void *arg, struct sip_err *err);

/** As the script's want(), for what is no script. After attach. */
void sip_journal_lua_want(struct sip_vm *vm);

/** After a script was loaded: opens the journal if the script wants it and it is not open.
 *  @param recovers  whether this worker is to take up what was left
 *  @return 0 or a negative code */
int sip_journal_lua_open(struct sip_vm *vm, bool *recovers, struct sip_err *err);

/** What was written is made durable as the loop turns; nothing more is written. */
void sip_journal_lua_stop(struct sip_vm *vm);

int sip_open_journal(lua_State *L); /* sipeat.core.journal */

#endif
