#ifndef SIP_BIND_FLOW_LUA_H
#define SIP_BIND_FLOW_LUA_H
/* flow_lua.h - the flow engine of a state. Loop thread. */
#include "core/base.h"
#include "core/err.h"

#include <lua.h>
#include <stdbool.h>

struct sip_engine;
struct sip_event;
struct sip_flow;
struct sip_flow_binding;
struct sip_flow_status;
struct sip_record;
struct sip_source_ops;
struct sip_vm;

/** The engine of this state, made at the first call and owned by the state's bindings until
 * sip_flow_lua_stop. */
int sip_flow_lua_engine(struct sip_engine **out, struct sip_vm *vm, struct sip_err *err);

/** Drains at once (turning the loop until the flows are closed) and frees the engine. Before the
 * drivers stop. */
void sip_flow_lua_stop(struct sip_vm *vm);

/** What the engine calls to show an event to the script: flow_ticket_lua.c. Static storage. */
const struct sip_flow_binding *sip_flow_ticket_binding(void);

/** The engine if it was made, and is not freed yet; else NULL. */
struct sip_engine *sip_flow_lua_find(lua_State *L);

/** Pushes what stdlib's flow.status gives for one flow. Throws. */
void sip_flow_push_status(lua_State *L, const struct sip_flow_status *status);

/** Puts the functions that take a ticket into the table on top of the stack. */
void sip_flow_ticket_functions(lua_State *L);

/** Where a ctx that has no job yet keeps the number of its event, and the event: items of an array
 * cost least. stdlib/flow_context.lua has the same numbers. */
enum { SIP_FLOW_CONTEXT_TICKET = 1, SIP_FLOW_CONTEXT_EVENT = 2 };

/** A record as Lua's side of a flow reads it (flow_ticket_lua.c). Throws. */
void sip_flow_push_record(lua_State *L, const struct sip_source_ops *ops,
                          const struct sip_record *record);

/** sip_key_of_fn, and keyer of sipeat.core.flow (flow_key_lua.c). */
bool sip_flow_key_of(struct sip_flow *flow, struct sip_event *event, struct sip_slice *key);
int sip_flow_l_keyer(lua_State *L);

/** starter of sipeat.core.flow, and whether the value on top of the stack is what it gave
 * (flow_start_lua.c). */
int sip_flow_l_starter(lua_State *L);
bool sip_flow_is_start(lua_State *L);

/** Puts begin_span and end_span into the table on top of the stack (flow_start_lua.c). */
void sip_flow_span_functions(lua_State *L);

#endif
