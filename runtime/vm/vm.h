#ifndef SIP_VM_VM_H
#define SIP_VM_VM_H
/* vm.h - one worker's Lua state: capped allocator, libraries, modules compiled in, and the loop
 * that it runs on.
 *
 * Loop thread only. Everything that a worker owns hangs on struct sip_vm; there is no other mutable
 * state. */
#include "core/err.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct luaL_Reg;
struct sip_clock;
struct sip_mark;
struct sip_place;
struct sip_random;
struct sip_tracer;
struct sip_vm;

struct sip_vm_options {
  size_t memory_limit_bytes; /* 0: 1 GiB. Lua gets "not enough memory" beyond it */
  uint64_t slice_limit_ms;   /* longest stretch a script may run without yielding; 0: 10,000 */
  uint64_t hard_limit_ms;    /* beyond it, what cannot be stopped ends the process; 0: 30,000 */
  int worker, workers;       /* which one of how many, from 1; 0: the only one */
};

/** A state with the safe standard libraries and every module that sip_vm_provide and the embedded
 * stdlib offer. */
int sip_vm_new(struct sip_vm **out, uv_loop_t *loop, const struct sip_vm_options *options,
               struct sip_err *err);

/** Kills the tasks and runs the loop until they have unwound, closes the state, and lets the loop
 * run empty. Drivers must have been stopped before. Accepts NULL. */
void sip_vm_free(struct sip_vm *vm);

/** The main state: for set-up and for calls that do not yield. Functions that throw only inside of
 * a protected call. */
lua_State *sip_vm_state(struct sip_vm *vm);

struct sip_vm *sip_vm_of(lua_State *L);
uv_loop_t *sip_vm_loop(lua_State *L);

/** The time that its tasks and flows live in: the machine's, unless it is made virtual. */
struct sip_clock *sip_vm_clock(struct sip_vm *vm);

/** Where its ids and other random bytes come from. */
struct sip_random *sip_vm_random(struct sip_vm *vm);

/** Which of its work is traced; off at first. */
struct sip_tracer *sip_vm_tracer(struct sip_vm *vm);

/** Which worker it is, from 1. @param workers  how many there are */
int sip_vm_worker(lua_State *L, int *workers);
size_t sip_vm_memory_bytes(const struct sip_vm *vm);

/** Makes `require(name)` call `open` (a C module, name such as "sipeat.core.http"). `name` is
 * static storage. */
int sip_vm_provide(struct sip_vm *vm, const char *name, lua_CFunction open, struct sip_err *err);

/** A slot for an engine that a binding needs to find again from a lua_State: `key` is the address
 * of a static object of the binding, `value` is borrowed. NULL value removes. Get returns NULL when
 * it was never set. */
int sip_vm_set_service(struct sip_vm *vm, const void *key, void *value);
void *sip_vm_service(lua_State *L, const void *key);

/** Where it is noted which event's slice runs (budget.h), for as long as the state lives; NULL:
 *  nowhere. */
void sip_vm_set_mark(struct sip_vm *vm, struct sip_mark *mark);

/** Which event the calls belong to that follow, until NULL: for the mark and the watchdog. */
void sip_vm_set_place(struct sip_vm *vm, const struct sip_place *place);

/** lua_pcall of the function and `nargs` arguments on top of the main state, with traceback and
 * within the slice limit. On failure nothing is left on the stack and `err` has the message with
 * file, line and traceback. */
int sip_vm_call(struct sip_vm *vm, int nargs, int nresults, struct sip_err *err);

/* --- boxes (STYLE.md section 6): a full userdata holding one pointer, metatable set before
 * anything is acquired --- */

/** Pushes the metatable of a class. True: it is new and has but its name; fill it, then call
 * sip_class_end. One whose making fails in between (memory) is made anew at the next use, and not
 * found half made. */
bool sip_class_begin(lua_State *L, const char *name);

/** Registers the metatable on top of the stack, which it leaves there. */
void sip_class_end(lua_State *L, const char *name);

/** Pushes a box with one pointer (NULL) and one user value, whose metatable `name` has `gc` as __gc
 * and __close. The metatable is made at first use; its __index is itself. */
void *sip_box_new(lua_State *L, const char *name, lua_CFunction gc);

/** As sip_box_new for a class with methods (set once, when the metatable is made). */
void *sip_box_class(lua_State *L, const char *name, lua_CFunction gc,
                    const struct luaL_Reg *methods);

/* --- results and arguments --- */

/** Pushes nil, message, name: the three values of a failure of the world. Returns 3. */
int sip_push_err(lua_State *L, const struct sip_err *err);

/** As sip_push_err for a bare code: message "<what>: <text of code>". Returns 3. */
int sip_push_error(lua_State *L, int code, const char *what);

/** A duration argument, a string with a unit: "200ms", "1.5s", "5m", "3d". Throws naming the
 * argument, with a hint on a bare number. */
uint64_t sip_check_duration_ms(lua_State *L, int arg);
uint64_t sip_opt_duration_ms(lua_State *L, int arg, uint64_t fallback_ms);

/** "200ms", "2s", "1.5m", "1h", "3d" to milliseconds; false when it is none. */
bool sip_parse_duration_ms(const char *text, size_t len, uint64_t *out_ms);

/** guard(handler) -> a message handler for xpcall that leaves a stop alone; wrapped once, instead
 *  of at each call of xpcall. */
int sip_guard(lua_State *L);

#endif
