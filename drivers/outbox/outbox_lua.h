#ifndef SIP_OUTBOX_OUTBOX_LUA_H
#define SIP_OUTBOX_OUTBOX_LUA_H
/* outbox_lua.h - the Lua module of this driver, sipeat.core.outbox, and the way in for the flow
 * engine. Loop thread. */
#include "core/err.h"

#include <stdbool.h>

struct sip_outbox;
struct sip_outlet;
struct sip_vm;

/** Provides the module to `require`. @return 0 or a negative code */
int sip_outbox_lua_start(struct sip_vm *vm, struct sip_err *err);

/** Connects the state to the process's outbox (borrowed until stop), and the outbox to the broker:
 * records go `onward`, or stay when its ops are NULL. `path_is_fixed`: a script does not change it.
 * `*way_in` is what takes records.
 *  @return 0 or a negative code */
int sip_outbox_lua_attach(struct sip_vm *vm, struct sip_outbox *outbox, bool path_is_fixed,
                          const struct sip_outlet *onward, struct sip_outlet *way_in,
                          struct sip_err *err);

/** Opens the file when the script that has just loaded wants it, or when there is one that may hold
 * records. @return 0, or a negative code when it cannot be opened */
int sip_outbox_lua_open(struct sip_vm *vm, struct sip_err *err);

/** Puts nothing more in and sends nothing more; call before the driver that it sends to stops. */
void sip_outbox_lua_stop(struct sip_vm *vm);

#endif
