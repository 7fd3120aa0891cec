#ifndef SIP_VM_TASK_H
#define SIP_VM_TASK_H
/* task.h - coroutines that wait without blocking the loop.
 *
 * A task is a pooled coroutine; a wait is what it is suspended on. There is one lua_resume in the
 * program, in the idle drain of task.c. Loop thread only. See STYLE.md section 7 for how an
 * awaitable is added.
 *
 *   sip_wake    from any callback on the loop's thread; never touches Lua; the first call wins
 *   cancel(w)   stop the source; called at most once, on timeout or kill; must not wake and must
 * not push finish(L,w) push results, return their number; runs inside the resume, where throwing is
 * legal; `w` is not used afterwards. w->status is what sip_wake gave, UV_ETIMEDOUT or UV_ECANCELED
 */
#include "core/base.h"
#include "core/list.h"
#include "vm/budget.h"

#include <limits.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct sip_vm;
struct sip_task;
struct sip_trace;
struct sip_wait;

enum { SIP_PENDING = INT_MAX }; /* status of a wait that nobody has woken */

typedef void (*sip_wait_cancel_fn)(struct sip_wait *wait);
typedef int (*sip_wait_finish_fn)(lua_State *L, struct sip_wait *wait);

struct sip_wait {
  int status;                /* SIP_PENDING, or what it was woken with */
  struct sip_task *task;     /* borrowed: who waits; NULL before the await and after the wake */
  sip_wait_cancel_fn cancel; /* may be NULL: nothing to stop */
  sip_wait_finish_fn finish;
};

void sip_wait_init(struct sip_wait *wait, sip_wait_cancel_fn cancel, sip_wait_finish_fn finish);

/** Last thing a C function does: `return sip_await(L, &x->wait, ms)`. Throws outside of a task. A
 * wait that was woken already does not suspend. At `timeout_ms` (SIP_FOREVER: never): cancel, then
 * finish with UV_ETIMEDOUT. The stack of the C function stays as it is for finish: index 1 is still
 * its first argument. */
int sip_await(lua_State *L, struct sip_wait *wait, uint64_t timeout_ms);

/** Any callback on the loop thread. Ignored unless the wait is pending. */
void sip_wake(struct sip_wait *wait, int status);

/** How a task ended, called in the drain once its coroutine is dead. LUA_OK: `nresults` values are
 * on top of `L`. Otherwise the error message with traceback is the string on top. Must not throw:
 * only functions marked '-' in the Lua manual, such as lua_toboolean, and lua_tolstring on strings.
 */
typedef void (*sip_task_end_fn)(struct sip_task *task, lua_State *L, int status, int nresults,
                                void *arg);

/** Takes a function and `nargs` arguments off the stack of `L` (the vm's main state or any
 * coroutine) and makes a task of them, which first runs in the next drain. `on_end` may be NULL: an
 * error is then logged. The event id and the deadline are inherited from the task that runs now, if
 * any. Throws when memory is out, so: inside a protected call, or use sip_task_start. The task is
 * owned by the scheduler until it has ended. */
struct sip_task *sip_task_spawn(lua_State *L, int nargs, sip_task_end_fn on_end, void *arg);

/** As sip_task_spawn for callbacks: never throws; the function is at registry reference
 * `function_ref`, and `push` (may be NULL) pushes its arguments in protected mode and returns their
 * number.
 *  @return 0 or UV_ENOMEM, with `err` filled; `on_end` is not called then */
typedef int (*sip_task_push_fn)(lua_State *L, void *arg);
int sip_task_start(struct sip_vm *vm, int function_ref, sip_task_push_fn push,
                   sip_task_end_fn on_end, void *arg, struct sip_task **out);

/** As sip_task_start, for a function of C that pushes by itself what it needs, which is one
 * protected call less: its arguments are `number`, `arg` as a light userdata, and the value at a
 * registry reference as it is now. */
struct sip_task_own {
  int function_ref, value_ref; /* value_ref: LUA_NOREF is nil */
  lua_Integer number;
  bool timed; /* sip_task_began_ns is asked for */
};
int sip_task_start_own(struct sip_vm *vm, const struct sip_task_own *own, sip_task_end_fn on_end,
                       void *arg, struct sip_task **out);

/** In such a function: what it allocates from now on is not the event's to pay, until it is `false`
 * again, or throws. */
void sip_task_spare(lua_State *L, bool on);

/** When a task began that was to be timed, and, in its on_end, when it has ended: as of uv_hrtime.
 * What ends and what begins next share a reading of the clock, so that a task begins a few
 * microseconds too early: when that which its predecessor's on_end does was not done yet. */
uint64_t sip_task_began_ns(const struct sip_task *task);
uint64_t sip_task_ended_ns(const struct sip_task *task);

/** An on_end does something that takes longer: what begins after it reads the clock anew. */
void sip_task_time_passes(struct sip_vm *vm);

/** Cancels what the task waits on and wakes it with UV_ECANCELED; it unwinds by itself, so its
 * <close> variables run. Every later await answers UV_ECANCELED at once, and after a few of them
 * throws, so that a loop that ignores the answer ends too. Harmless on a task that is ending. */
void sip_task_kill(struct sip_task *task);

/** Whether it was asked to stop: a binding then starts nothing, and awaits to get its UV_ECANCELED.
 */
bool sip_task_killed(const struct sip_task *task);

/** The task that is running on `L`, or NULL on the main state. */
struct sip_task *sip_task_current(lua_State *L);

/** The event that this task works on, for log lines: copied, at most 63 bytes. "" when none. */
void sip_task_set_event_id(struct sip_task *task, const char *event_id, size_t len);
const char *sip_task_event_id(const struct sip_task *task);

/** The trace that the task and those that it spawns work in, or NULL. Set takes the reference. */
void sip_task_set_trace(struct sip_task *task, struct sip_trace *trace);
const struct sip_trace *sip_task_trace(const struct sip_task *task);

/** It works for no event any more: no id, no trace, and no budget but the worker's. */
void sip_task_leave_event(struct sip_task *task);

/** What the task, and those that it spawns, may spend from its next slice on. `place` is borrowed
 *  until the account is closed. @return 0, or UV_ENOMEM: then it has no limits */
int sip_task_open_account(struct sip_task *task, const struct sip_limits *limits,
                          const struct sip_place *place);

/** What the event that it works for is over. */
enum sip_over sip_task_over(const struct sip_task *task);

/** In its on_end: what it spawned and still runs has no limits any more. @return what it was over,
 *  and then `text` says where */
enum sip_over sip_task_close_account(struct sip_task *task, char *text, size_t size);

/** Tasks that have not ended. */
size_t sip_task_count(struct sip_vm *vm);

/** The n-th of them, from 0, in the order of their start, or NULL. */
struct sip_task *sip_task_at(struct sip_vm *vm, size_t n);

/** Its coroutine: to look at, as a traceback does. */
lua_State *sip_task_state(const struct sip_task *task);

/** What a task was started with; NULL: with another on_end, or there is no task. */
void *sip_task_arg(const struct sip_task *task, sip_task_end_fn on_end);

/** Kills every task. Their unwinding needs turns of the loop; sip_vm_free waits for it. */
void sip_task_kill_all(struct sip_vm *vm);

#endif
