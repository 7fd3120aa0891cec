#ifndef SIP_BIND_BIND_H
#define SIP_BIND_BIND_H
/* bind.h - the Lua modules over core, vm and flow: sipeat.core.task, .log, .sys, .flow,
 * .json, .event, .script, .journal, .steps, .metrics, .trace; and cjson. Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_vm;

/** Provides the modules. @return 0 or a negative code */
int sip_bind_start(struct sip_vm *vm, struct sip_err *err);

int sip_open_task(lua_State *L);   /* task_lua.c */
int sip_open_log(lua_State *L);    /* log_lua.c */
int sip_open_sys(lua_State *L);    /* sys_lua.c: clocks, random ids, hashes, environment */
int sip_open_flow(lua_State *L);   /* flow_lua.c */
int sip_open_json(lua_State *L);   /* json_lua.c */
int sip_open_event(lua_State *L);  /* event_lua.c */
int sip_open_script(lua_State *L); /* script_lua.c: versions of the script */
int sip_open_steps(lua_State *L);  /* steps_lua.c */
int sip_open_trace(lua_State *L);  /* trace_lua.c: the trace that a task works in */
int sip_open_cjson(lua_State *L);  /* cjson_lua.c: lua-cjson, which takes lazy tables too */

#endif
