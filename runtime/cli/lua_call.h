#ifndef SIP_CLI_LUA_CALL_H
#define SIP_CLI_LUA_CALL_H
/* lua_call.h - calls one function of a compiled-in Lua module as a task, from C. Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_vm;
struct sip_task;

/** Pushes the arguments and returns their number; may throw. */
typedef int (*sip_call_push_fn)(lua_State *L, void *arg);

/** How it ended: `result` is what the function returned when that is an integer, else 0; negative
 * with `err` when it raised or returned nil, message, code. */
typedef void (*sip_call_done_fn)(void *arg, int result, const struct sip_err *err);

/** Starts require(module)[function](arguments…); `on_done` follows exactly once, from a later turn
 * of the loop.
 *  @param out_task  the task, valid until on_done; may be NULL
 *  @return 0, or a negative code: on_done is not called */
int sip_call_start(struct sip_vm *vm, const char *module, const char *function,
                   sip_call_push_fn push, void *push_arg, sip_call_done_fn on_done, void *arg,
                   struct sip_task **out_task, struct sip_err *err);

/** As sip_call_start, and turns the loop until it has ended: not from inside of a callback.
 *  @return what on_done would get */
int sip_call_wait(struct sip_vm *vm, const char *module, const char *function,
                  sip_call_push_fn push, void *push_arg, struct sip_err *err);

#endif
