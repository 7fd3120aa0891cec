/* budget.c - the watchdog of slices. The watchdog thread reads atomics and sends signals; it never
 * sees Lua. */
#include "vm/budget.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { TICK_MS = 50, REST_AFTER_TICKS = 20 };

/* The signal handler has no argument to find its budget by: one pointer per loop thread, set at
 * init. */
static _Thread_local struct sip_budget *thread_budget;

static int budget_signal(void)
{
  return SIGRTMIN + 4; /* a function call in glibc: not a constant */
}

static uint64_t monotonic_ms(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void budget_hook(lua_State *L, lua_Debug *ar)
{
  (void)ar;
  luaL_error(L, "the script ran for too long without waiting (endless loop? call task.sleep or "
                "split the work)");
}

static void budget_on_signal(int number)
{
  struct sip_budget *budget = thread_budget;
  lua_State *L;

  (void)number;
  if (budget == NULL || atomic_load(&budget->tripped) != atomic_load(&budget->serial)) {
    return; /* the slice ended in the meantime */
  }
  L = atomic_load(&budget->executing);
  if (L != NULL) {
    lua_sethook(L, budget_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
}

static void watchdog_look(struct sip_budget *budget)
{
  uint64_t serial = atomic_load(&budget->serial);
  uint64_t started = atomic_load(&budget->started_at_ms);

  if (started == 0 || monotonic_ms() - started < atomic_load(&budget->slice_limit_ms)) {
    return;
  }
  atomic_store(&budget->tripped, serial);
  if (atomic_load(&budget->serial) ==
      serial) { /* sent at each tick: the coroutine may have changed */
    (void)pthread_kill(budget->loop_thread, budget_signal());
  }
}

static void *watchdog_main(void *arg)
{
  struct sip_budget *budget = arg;
  struct timespec tick = { 0, TICK_MS * 1000000L };
  uint64_t seen = 0;
  int idle_ticks = 0;

  while (!atomic_load(&budget->stopping)) {
    uint64_t serial = atomic_load(&budget->serial);

    watchdog_look(budget);
    idle_ticks = serial == seen && atomic_load(&budget->started_at_ms) == 0 ? idle_ticks + 1 : 0;
    seen = serial;
    if (idle_ticks < REST_AFTER_TICKS) {
      (void)nanosleep(&tick, NULL); /* woken early: one look more */
      continue;
    }
    idle_ticks = 0;
    atomic_store(&budget->resting, true);
    while (atomic_load(&budget->serial) == seen && !atomic_load(&budget->stopping) &&
           sem_wait(&budget->rested) < 0 && errno == EINTR) {
    }
    atomic_store(&budget->resting, false);
  }
  return NULL;
}

int sip_budget_init(struct sip_budget *budget, uint64_t limit_ms)
{
  struct sigaction action;
  sigset_t all, before;
  int rc;

  memset(budget, 0, sizeof *budget);
  budget->limit_ms = limit_ms;
  budget->loop_thread = pthread_self();
  thread_budget = budget;
  memset(&action, 0, sizeof action);
  action.sa_handler = budget_on_signal;
  action.sa_flags = SA_RESTART;
  if (sigaction(budget_signal(), &action, NULL) < 0 || sem_init(&budget->rested, 0, 0) < 0) {
    return -errno;
  }
  (void)sigfillset(&all); /* signals of the process are for the loop thread */
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  rc = pthread_create(&budget->watchdog, NULL, watchdog_main, budget);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc != 0) {
    (void)sem_destroy(&budget->rested);
    return -rc;
  }
  (void)pthread_setname_np(budget->watchdog, "sip-watchdog"); /* a name is a comfort */
  budget->started = true;
  return 0;
}

void sip_budget_deinit(struct sip_budget *budget)
{
  if (!budget->started) {
    return;
  }
  atomic_store(&budget->stopping, true);
  (void)sem_post(&budget->rested); /* fails only on overflow, when it is awake anyway */
  (void)pthread_join(budget->watchdog, NULL);
  (void)sem_destroy(&budget->rested);
  budget->started = false;
  thread_budget = NULL;
}

bool sip_budget_enter(struct sip_budget *budget, lua_State *L, uint64_t limit_ms)
{
  if (atomic_load_explicit(&budget->started_at_ms, memory_order_relaxed) != 0) {
    return false;
  }
  atomic_store_explicit(&budget->executing, L, memory_order_relaxed);
  atomic_store_explicit(&budget->slice_limit_ms, limit_ms == 0 ? budget->limit_ms : limit_ms,
                        memory_order_relaxed);
  atomic_fetch_add(&budget->serial, 1);
  atomic_store(&budget->started_at_ms, monotonic_ms());
  if (atomic_load(&budget->resting)) {
    (void)sem_post(&budget->rested);
  }
  return true;
}

void sip_budget_leave(struct sip_budget *budget, lua_State *L, bool entered)
{
  if (!entered) {
    return;
  }
  atomic_store(&budget->started_at_ms, 0);
  atomic_store(&budget->executing, NULL);
  if (atomic_load(&budget->tripped) == atomic_fetch_add(&budget->serial, 1)) {
    lua_sethook(L, NULL, 0, 0);
  }
}

lua_State *sip_budget_switch(struct sip_budget *budget, lua_State *L)
{
  lua_State *before = atomic_exchange_explicit(&budget->executing, L, memory_order_relaxed);

  if (before != NULL && atomic_load(&budget->tripped) == atomic_load(&budget->serial)) {
    lua_sethook(L, budget_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
  return before;
}
