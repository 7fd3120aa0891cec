/* task.c - the scheduler: who is ready, who waits, and the one place that resumes a coroutine.
 *
 * Loop thread only. Callbacks put tasks on the ready list; the idle watcher drains it, and is
 * stopped while it is empty. Ended tasks keep their coroutine and timer in a pool. */
#include "vm/task.h"

#include "core/log.h"
#include "vm/state.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum {
  POOL_LIMIT = 1024,      /* ended tasks that are kept */
  AWAITS_AFTER_KILL = 16, /* answers of ECANCELED before an await throws */
  EVENT_ID_BYTES = 64
};

struct sip_task {
  struct sip_vm *vm; /* borrowed: outlives every task */
  lua_State *L;      /* the coroutine, anchored in the registry by `ref` */
  int ref;
  int nargs;              /* of the first resume */
  struct sip_wait *wait;  /* borrowed: what it is suspended on */
  struct sip_list link;   /* in all or pool */
  struct sip_list ready;  /* in the ready list, or alone */
  struct sip_timer timer; /* the deadline of `wait` */
  sip_task_end_fn on_end;
  void *arg;                   /* borrowed: on_end's */
  struct sip_account *account; /* counted: who pays; NULL: nobody */
  struct sip_trace *trace;     /* counted: what it works in; NULL: no trace */
  int awaits_after_kill;
  bool killed;
  bool timed;        /* began_ns is wanted */
  uint64_t began_ns; /* when it was first resumed; 0: not yet */
  char event_id[EVENT_ID_BYTES];
};

static void task_on_drain(uv_idle_t *idle);

static void task_queue(struct sip_task *task)
{
  struct sip_scheduler *tasks = &task->vm->tasks;

  assert(sip_list_empty(&task->ready));
  if (sip_list_empty(&tasks->ready)) {
    (void)uv_idle_start(&tasks->idle, task_on_drain); /* fails only without a callback */
  }
  sip_list_push(&tasks->ready, &task->ready);
}

/* --- waits --- */

void sip_wait_init(struct sip_wait *wait, sip_wait_cancel_fn cancel, sip_wait_finish_fn finish)
{
  wait->status = SIP_PENDING;
  wait->task = NULL;
  wait->cancel = cancel;
  wait->finish = finish;
}

void sip_wake(struct sip_wait *wait, int status)
{
  struct sip_task *task = wait->task;

  assert(status != SIP_PENDING);
  if (wait->status != SIP_PENDING) {
    return;
  }
  wait->status = status;
  if (task != NULL) {
    wait->task = NULL;
    sip_timer_stop(&task->timer);
    task_queue(task);
  }
}

static void wait_cancel(struct sip_wait *wait, int status)
{
  if (wait->status == SIP_PENDING) {
    if (wait->cancel != NULL) {
      wait->cancel(wait);
    }
    sip_wake(wait, status);
  }
}

static void task_on_timeout(uv_timer_t *timer)
{
  struct sip_task *task = timer->data;

  if (task->wait != NULL) {
    wait_cancel(task->wait, UV_ETIMEDOUT);
  }
}

static int task_after_wait(lua_State *L, int status, lua_KContext context)
{
  struct sip_wait *wait = (struct sip_wait *)context;

  (void)status;
  return wait->finish(L, wait);
}

int sip_await(lua_State *L, struct sip_wait *wait, uint64_t timeout_ms)
{
  struct sip_task *task = sip_vm_of(L)->tasks.running;

  if (task == NULL || task->L != L || !lua_isyieldable(L)) {
    wait_cancel(wait, UV_ECANCELED);
    return luaL_error(
      L,
      task == NULL || task->L != L
        ? "this call waits, and so needs a task: use it in a handler or in task.spawn, and not "
          "inside of coroutine.create or coroutine.wrap"
        : "this call waits, and cannot do so inside of a metamethod, an iterator in C or a sort");
  }
  if (sip_task_over(task) != SIP_OVER_NOTHING) {
    wait_cancel(wait, UV_ECANCELED);
    return luaL_error(L, "the event is over its budget and may not wait");
  }
  if (task->killed) {
    wait_cancel(wait, UV_ECANCELED);
    if (++task->awaits_after_kill > AWAITS_AFTER_KILL) {
      return luaL_error(L, "the task was stopped and goes on waiting");
    }
  }
  if (wait->status != SIP_PENDING) {
    return wait->finish(L, wait);
  }
  wait->task = task;
  task->wait = wait;
  if (timeout_ms != SIP_FOREVER) {
    sip_timer_start(&task->timer, task_on_timeout, timeout_ms);
  }
  return lua_yieldk(L, 0, (lua_KContext)wait, task_after_wait);
}

/* --- tasks --- */

static void task_on_close(uv_handle_t *handle)
{
  struct sip_task *task = handle->data;

  task->vm->tasks.handles--;
  free(task);
}

static void task_discard(struct sip_task *task)
{
  luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->ref);
  sip_timer_close(&task->timer, task_on_close);
}

/* Protected: makes a coroutine and leaves its registry reference. */
static int task_make_coroutine(lua_State *L)
{
  struct sip_task *task = lua_touserdata(L, 1);

  task->L = lua_newthread(L);
  task->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static struct sip_task *task_new(struct sip_vm *vm)
{
  struct sip_task *task = calloc(1, sizeof *task);
  lua_State *L = vm->L;

  if (task == NULL) {
    return NULL;
  }
  task->vm = vm;
  sip_list_init(&task->ready);
  sip_list_init(&task->link);
  if (!lua_checkstack(L, 4)) {
    free(task);
    return NULL;
  }
  lua_pushcfunction(L, task_make_coroutine);
  lua_pushlightuserdata(L, task);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    lua_pop(L, 1);
    free(task);
    return NULL;
  }
  sip_timer_init(&task->timer, &vm->clock);
  task->timer.uv.data = task;
  vm->tasks.handles++;
  return task;
}

static struct sip_task *task_take(struct sip_vm *vm)
{
  struct sip_list *node = sip_list_shift(&vm->tasks.pool);
  struct sip_task *task;

  if (node != NULL) {
    vm->tasks.pooled--;
    task = SIP_CONTAINER(node, struct sip_task, link);
  } else {
    task = task_new(vm);
  }
  if (task != NULL) {
    task->wait = NULL;
    task->killed = false;
    task->awaits_after_kill = 0;
    task->account = NULL;
    task->trace = NULL;
    task->timed = false;
    task->began_ns = 0;
    task->event_id[0] = '\0';
  }
  return task;
}

static void task_pay(struct sip_task *task, struct sip_account *account)
{
  if (account != NULL) {
    account->refs++;
  }
  sip_account_unref(&task->vm->budget, task->account);
  task->account = account;
}

/* The coroutine's stack holds the function and its arguments. */
static void task_begin(struct sip_task *task, int nargs, sip_task_end_fn on_end, void *arg)
{
  struct sip_scheduler *tasks = &task->vm->tasks;

  task->nargs = nargs;
  task->on_end = on_end;
  task->arg = arg;
  if (tasks->running != NULL) {
    memcpy(task->event_id, tasks->running->event_id, sizeof task->event_id);
    task_pay(task, tasks->running->account);
    sip_task_set_trace(task, sip_trace_ref(tasks->running->trace));
  }
  task->killed = tasks->closing; /* born during the shutdown: its first await answers ECANCELED */
  sip_list_push(&tasks->all, &task->link);
  tasks->count++;
  task_queue(task);
}

static void task_recycle(struct sip_task *task)
{
  struct sip_scheduler *tasks = &task->vm->tasks;

  lua_settop(task->L, 0);
  if (tasks->pooled < POOL_LIMIT && !tasks->closing) {
    sip_list_unshift(&tasks->pool, &task->link);
    tasks->pooled++;
  } else {
    task_discard(task);
  }
}

struct sip_task *sip_task_spawn(lua_State *L, int nargs, sip_task_end_fn on_end, void *arg)
{
  struct sip_vm *vm = sip_vm_of(L);
  struct sip_task *task;

  luaL_checktype(L, -nargs - 1, LUA_TFUNCTION);
  task = task_take(vm);
  if (task == NULL) {
    luaL_error(L, "no memory for a task");
    return NULL;
  }
  if (!lua_checkstack(task->L, nargs + 1)) {
    task_recycle(task);
    luaL_error(L, "too many arguments for a task");
    return NULL;
  }
  lua_xmove(L, task->L, nargs + 1);
  task_begin(task, nargs, on_end, arg);
  return task;
}

struct task_start {
  sip_task_push_fn push;
  void *arg;
  int function_ref, nargs;
};

/* Protected; runs on the task's coroutine: index 1 is the struct task_start, above which stands
 * what is given back. */
static int task_push_start(lua_State *L)
{
  struct task_start *start = lua_touserdata(L, 1);

  lua_rawgeti(L, LUA_REGISTRYINDEX, start->function_ref);
  start->nargs = start->push == NULL ? 0 : start->push(L, start->arg);
  return start->nargs + 1;
}

int sip_task_start(struct sip_vm *vm, int function_ref, sip_task_push_fn push,
                   sip_task_end_fn on_end, void *arg, struct sip_task **out)
{
  struct task_start start = { push, arg, function_ref, 0 };
  struct sip_task *task = task_take(vm);

  if (task == NULL) {
    return UV_ENOMEM;
  }
  lua_pushcfunction(task->L, task_push_start);
  lua_pushlightuserdata(task->L, &start);
  if (lua_pcall(task->L, 1, LUA_MULTRET, 0) != LUA_OK) {
    task_recycle(task);
    return UV_ENOMEM;
  }
  task_begin(task, start.nargs, on_end, arg);
  if (out != NULL) {
    *out = task;
  }
  return 0;
}

int sip_task_start_own(struct sip_vm *vm, const struct sip_task_own *own, sip_task_end_fn on_end,
                       void *arg, struct sip_task **out)
{
  enum { NARGS = 3 };
  struct sip_task *task = task_take(vm);

  if (task == NULL) {
    return UV_ENOMEM;
  }
  lua_rawgeti(task->L, LUA_REGISTRYINDEX, own->function_ref); /* as the next, cannot throw */
  lua_pushinteger(task->L, own->number);
  lua_pushlightuserdata(task->L, arg);
  lua_rawgeti(task->L, LUA_REGISTRYINDEX, own->value_ref);
  task->timed = own->timed;
  task_begin(task, NARGS, on_end, arg);
  *out = task;
  return 0;
}

void sip_task_spare(lua_State *L, bool on)
{
  sip_budget_spare(&sip_vm_of(L)->budget, on);
}

/* The time of the moment between two slices is read once. */
static uint64_t tasks_now_ns(struct sip_scheduler *tasks)
{
  if (tasks->now_ns == 0) {
    tasks->now_ns = uv_hrtime();
  }
  return tasks->now_ns;
}

uint64_t sip_task_began_ns(const struct sip_task *task)
{
  return task->began_ns;
}

uint64_t sip_task_ended_ns(const struct sip_task *task)
{
  return tasks_now_ns(&task->vm->tasks);
}

void sip_task_time_passes(struct sip_vm *vm)
{
  vm->tasks.now_ns = 0;
}

void sip_task_kill(struct sip_task *task)
{
  task->killed = true;
  if (task->wait != NULL) {
    wait_cancel(task->wait, UV_ECANCELED);
  }
}

bool sip_task_killed(const struct sip_task *task)
{
  return task->killed;
}

struct sip_task *sip_task_current(lua_State *L)
{
  struct sip_task *task = sip_vm_of(L)->tasks.running;

  return task;
}

void sip_task_set_event_id(struct sip_task *task, const char *event_id, size_t len)
{
  if (len >= sizeof task->event_id) {
    len = sizeof task->event_id - 1;
  }
  memcpy(task->event_id, event_id, len);
  task->event_id[len] = '\0';
}

void sip_task_set_trace(struct sip_task *task, struct sip_trace *trace)
{
  sip_trace_unref(task->trace);
  task->trace = trace;
}

const struct sip_trace *sip_task_trace(const struct sip_task *task)
{
  return task->trace;
}

void sip_task_leave_event(struct sip_task *task)
{
  task->event_id[0] = '\0';
  sip_task_set_trace(task, NULL);
  task_pay(task, NULL);
}

int sip_task_open_account(struct sip_task *task, const struct sip_limits *limits,
                          const struct sip_place *place)
{
  struct sip_budget *budget = &task->vm->budget;
  struct sip_account *account = sip_account_new(budget, limits, place);

  task_pay(task, account);
  sip_account_unref(budget, account);
  return account == NULL ? UV_ENOMEM : 0;
}

enum sip_over sip_task_over(const struct sip_task *task)
{
  return task->account == NULL ? SIP_OVER_NOTHING : task->account->over;
}

enum sip_over sip_task_close_account(struct sip_task *task, char *text, size_t size)
{
  struct sip_account *account = task->account;

  if (account == NULL) {
    return SIP_OVER_NOTHING;
  }
  if (account->over != SIP_OVER_NOTHING) {
    sip_account_describe(account, text, size);
  }
  sip_account_close(account);
  return account->over;
}

const char *sip_task_event_id(const struct sip_task *task)
{
  return task->event_id;
}

size_t sip_task_count(struct sip_vm *vm)
{
  return vm->tasks.count;
}

struct sip_task *sip_task_at(struct sip_vm *vm, size_t n)
{
  struct sip_list *node = vm->tasks.all.next;

  while (n > 0 && node != &vm->tasks.all) {
    node = node->next;
    n--;
  }
  return node == &vm->tasks.all ? NULL : SIP_CONTAINER(node, struct sip_task, link);
}

void *sip_task_arg(const struct sip_task *task, sip_task_end_fn on_end)
{
  return task != NULL && task->on_end == on_end ? task->arg : NULL;
}

lua_State *sip_task_state(const struct sip_task *task)
{
  return task->L;
}

/* --- the drain --- */

/* Protected, on the main state: index 1 is the dead coroutine's task. Returns message and traceback
 * as a string. */
static int task_describe_error(lua_State *L)
{
  struct sip_task *task = lua_touserdata(L, 1);
  const char *message;

  lua_pushvalue(task->L, -1); /* the error value stays where it is */
  lua_xmove(task->L, L, 1);
  message = luaL_tolstring(L, -1, NULL);
  if (strstr(message, "\nstack traceback:") == NULL) {
    sip_traceback(L, task->L, message, 0);
  }
  return 1;
}

/* Leaves the description, or the bare error value when there is no memory for it, on top of the
 * task's stack. */
static void task_fail(struct sip_task *task)
{
  lua_State *L = task->vm->L;

  if (lua_checkstack(task->L, 2) && lua_checkstack(L, 4)) {
    lua_pushcfunction(L, task_describe_error);
    lua_pushlightuserdata(L, task);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
      lua_xmove(L, task->L, 1);
    } else {
      lua_pop(L, 1);
    }
  }
}

static void task_end(struct sip_task *task, int status, int nresults)
{
  struct sip_scheduler *tasks = &task->vm->tasks;

  if (status != LUA_OK) {
    task_fail(task);
    nresults = 1;
  }
  sip_list_remove(&task->link);
  tasks->count--;
  if (task->on_end != NULL) {
    task->on_end(task, task->L, status, nresults, task->arg);
  } else if (status != LUA_OK && !task->killed) {
    const char *text = lua_type(task->L, -1) == LUA_TSTRING ? lua_tostring(task->L, -1)
                                                            : "no memory for the message";

    sip_log(SIP_LOG_ERROR, "task", task->event_id, "%s", text);
  }
  if (status != LUA_OK) {
    bool entered = sip_budget_enter(&task->vm->budget, task->L, task->account);

    (void)lua_resetthread(
      task->L); /* closes <close> variables; what they raise was told or is of no use any more */
    sip_budget_leave(&task->vm->budget, task->L, entered);
  }
  task_pay(task, NULL);
  sip_task_set_trace(task, NULL);
  if (status == LUA_OK) {
    task_recycle(task);
  } else {
    task_discard(task); /* one that died of a hook runs no hooks any more */
  }
}

static void task_resume(struct sip_task *task)
{
  struct sip_vm *vm = task->vm;
  int nresults = 0, nargs = task->nargs, status;
  bool entered;

  task->nargs = 0;
  task->wait = NULL;
  if (task->timed && task->began_ns == 0) {
    task->began_ns = tasks_now_ns(&vm->tasks);
  }
  vm->tasks.running = task;
  entered = sip_budget_enter(&vm->budget, task->L, task->account);
  status = lua_resume(task->L, NULL, nargs, &nresults);
  sip_budget_leave(&vm->budget, task->L, entered);
  vm->tasks.running = NULL;
  sip_task_time_passes(vm);
  if (status != LUA_YIELD) {
    task_end(task, status, nresults);
  } else if (task->wait == NULL) { /* coroutine.yield: let the others run */
    lua_pop(task->L, nresults);
    task_queue(task);
  }
}

static void task_on_drain(uv_idle_t *idle)
{
  struct sip_vm *vm = idle->data;
  struct sip_list batch, *node;

  sip_task_time_passes(vm);
  sip_list_init(&batch);
  sip_list_move(
    &batch, &vm->tasks.ready); /* what becomes ready meanwhile is for the next turn, after I/O */
  while ((node = sip_list_shift(&batch)) != NULL) {
    task_resume(SIP_CONTAINER(node, struct sip_task, ready));
  }
  sip_vm_pace_collector(vm);
  if (sip_list_empty(&vm->tasks.ready)) {
    (void)uv_idle_stop(&vm->tasks.idle); /* always 0 */
  }
}

/* --- life of the scheduler --- */

int sip_tasks_init(struct sip_vm *vm)
{
  struct sip_scheduler *tasks = &vm->tasks;

  sip_list_init(&tasks->ready);
  sip_list_init(&tasks->all);
  sip_list_init(&tasks->pool);
  (void)uv_idle_init(vm->loop, &tasks->idle); /* always 0 */
  tasks->idle.data = vm;
  tasks->handles = 1;
  return 0;
}

void sip_task_kill_all(struct sip_vm *vm)
{
  struct sip_list *node, *next;

  for (node = vm->tasks.all.next; node != &vm->tasks.all; node = next) {
    next = node->next; /* a kill wakes, and ends nothing at once */
    sip_task_kill(SIP_CONTAINER(node, struct sip_task, link));
  }
}

static void tasks_on_close(uv_handle_t *handle)
{
  struct sip_vm *vm = handle->data;

  vm->tasks.handles--;
}

void sip_tasks_deinit(struct sip_vm *vm)
{
  struct sip_scheduler *tasks = &vm->tasks;
  struct sip_list *node;

  if (tasks->handles == 0) {
    return;
  }
  tasks->closing = true;
  while (tasks->count > 0) {
    sip_task_kill_all(vm); /* again: an unwinding task may have started others */
    (void)uv_run(vm->loop, UV_RUN_ONCE);
  }
  while ((node = sip_list_shift(&tasks->pool)) != NULL) {
    task_discard(SIP_CONTAINER(node, struct sip_task, link));
  }
  uv_close((uv_handle_t *)&tasks->idle, tasks_on_close);
  while (tasks->handles > 0) {
    (void)uv_run(vm->loop, UV_RUN_ONCE);
  }
}
