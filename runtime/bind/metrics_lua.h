#ifndef SIP_BIND_METRICS_LUA_H
#define SIP_BIND_METRICS_LUA_H
/* metrics_lua.h - what a state counts. Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_metrics;
struct sip_metrics_shard;
struct sip_vm;

/** The state counts for this process, together with other workers. Before its first metric; without
 *  it, a state counts for itself. @return 0 or a negative code */
int sip_metrics_lua_attach(struct sip_vm *vm, struct sip_metrics *metrics, struct sip_err *err);

/** The shard of the state, made at the first call; lives until the state is closed.
 *  @return 0 or a negative code */
int sip_metrics_lua_shard(struct sip_metrics_shard **out, struct sip_vm *vm, struct sip_err *err);

/** Module sipeat.core.metrics. */
int sip_open_metrics(lua_State *L);

#endif
