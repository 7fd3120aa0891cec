/* budget.c - the watchdog of slices, and the hooks that count and stop. The watchdog thread reads
 * atomics and sends signals; it never sees Lua. */
#include "vm/budget.h"

#include "core/log.h"
#include "vm/state.h"
#include "vm/task.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  TICK_MS = 10,
  REST_AFTER_TICKS = 100,
  COUNT_AFTER_MS = 10,  /* age from which the instructions of a slice are counted */
  COUNT_STEP = 1000,    /* instructions between two looks at the count */
  GRACE_STEP = 10000,   /* instructions that unwinding gets before it is stopped again */
  GRACE_STOPS = 64,     /* how often it gets them */
  FORCE_AFTER_MS = 250, /* time over the limit after which it gets no more */
  FROZEN_MS = 1000,     /* what a tick counts at most: if it took longer, nothing ran meanwhile */
  TELL_TICKS = 20,      /* what a slice that is stuck gets to say where */
  ALL_MASKS = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT,
};

/* The signal handler has no argument to find its budget by: one pointer per loop thread, set at
 * init. */
static _Thread_local struct sip_budget *thread_budget;

static int budget_signal(void)
{
  return SIGRTMIN + 4; /* a function call in glibc: not a constant */
}

/* --- accounts --- */

struct sip_account *sip_account_new(struct sip_budget *budget, const struct sip_limits *limits,
                                    const struct sip_place *place)
{
  struct sip_account *account = budget->free_accounts;

  if (account != NULL) {
    budget->free_accounts = account->next_free;
  } else {
    account = malloc(sizeof *account);
  }
  if (account != NULL) {
    account->limits = *limits;
    account->place = *place;
    account->refs = 1;
    account->instructions = 0;
    account->memory_left = limits->memory_bytes == 0 ? SIZE_MAX : limits->memory_bytes;
    account->over = SIP_OVER_NOTHING;
    account->raised = 0;
    account->counting = false;
    account->where[0] = '\0';
  }
  return account;
}

void sip_account_unref(struct sip_budget *budget, struct sip_account *account)
{
  if (account != NULL && --account->refs == 0) {
    account->next_free = budget->free_accounts;
    budget->free_accounts = account;
  }
}

void sip_account_close(struct sip_account *account)
{
  account->place.topic = NULL;
  account->place.slot = 0;
  if (account->over != SIP_OVER_NOTHING) {
    return;
  }
  account->limits = (struct sip_limits){ 0 };
  account->memory_left = SIZE_MAX;
  account->counting = false;
}

const char *sip_over_code(enum sip_over over)
{
  static const char *const codes[] = { "OK", "OVER_BUDGET", "OVER_MEMORY", "OVER_TIME" };

  return codes[over];
}

void sip_account_describe(const struct sip_account *account, char *text, size_t size)
{
  const char *colon = account->where[0] == '\0' ? "" : ": ";

  if (account->over == SIP_OVER_INSTRUCTIONS) {
    (void)snprintf(text, size,
                   "%s%sthe event is over its %llu instructions (endless loop? split the work, or "
                   "set budget.instructions of the flow)",
                   account->where, colon, (unsigned long long)account->limits.instructions);
  } else if (account->over == SIP_OVER_MEMORY) {
    (void)snprintf(text, size,
                   "%s%sthe event has allocated more than its %zu bytes (does something grow "
                   "without end? else set budget.memory of the flow)",
                   account->where, colon, account->limits.memory_bytes);
  } else {
    (void)snprintf(text, size,
                   "%s%sthe script ran for too long without waiting (endless loop? call task.sleep "
                   "or split the work)",
                   account->where, colon);
  }
}

/* --- hooks: loop thread --- */

static void budget_hook(struct sip_budget *budget, lua_State *L);

/* "file:12" of the innermost function that has lines. */
static void find_line(lua_State *L, char *out, size_t size)
{
  lua_Debug at;

  for (int level = 0; lua_getstack(L, level, &at) == 1; level++) {
    if (lua_getinfo(L, "Sl", &at) != 0 && at.currentline > 0) {
      (void)snprintf(out, size, "%s:%d", at.short_src, at.currentline);
      return;
    }
  }
}

static void on_stop(lua_State *L, lua_Debug *ar)
{
  struct sip_budget *budget = &sip_vm_of(L)->budget;
  struct sip_account *account = budget->account;
  char text[256];

  (void)ar;
  if (account->over == SIP_OVER_NOTHING) {
    lua_sethook(L, NULL, 0, 0); /* left on a coroutine by another slice */
    return;
  }
  if (account->where[0] == '\0') {
    find_line(L, account->where, sizeof account->where);
  }
  account->raised += account->raised < GRACE_STOPS;
  budget_hook(budget, L);
  sip_account_describe(account, text, sizeof text);
  lua_pushstring(L, text);
  (void)lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
  struct sip_budget *budget = &sip_vm_of(L)->budget;
  struct sip_account *account = budget->account;

  (void)ar;
  if (!account->counting) {
    lua_sethook(L, NULL, 0, 0); /* left on a coroutine by another slice */
    return;
  }
  account->instructions += COUNT_STEP;
  if (account->instructions > account->limits.instructions) {
    account->counting = false;
    account->over = SIP_OVER_INSTRUCTIONS;
    budget_hook(budget, L);
  }
}

/* Gives the coroutine the hook that its account calls for; one that it has goes on counting. Also
 * in the signal handler. */
static void budget_hook(struct sip_budget *budget, lua_State *L)
{
  const struct sip_account *account = budget->account;
  lua_Hook hook = account->over == SIP_OVER_NOTHING ? on_count : on_stop;
  int mask = LUA_MASKCOUNT, count = COUNT_STEP;

  if (hook == on_stop && (account->raised == 0 || account->raised == GRACE_STOPS)) {
    mask = ALL_MASKS;
    count = 1;
  } else if (hook == on_stop) {
    count = GRACE_STEP;
  }
  atomic_store_explicit(&budget->hooked, true, memory_order_relaxed);
  if (lua_gethook(L) != hook || lua_gethookmask(L) != mask || lua_gethookcount(L) != count) {
    lua_sethook(L, hook, mask, count);
  }
}

bool sip_budget_overspend(struct sip_budget *budget, size_t bytes)
{
  enum { SLACK_BYTES = 1 << 20 }; /* for unwinding */
  struct sip_account *account = budget->account;
  lua_State *L = atomic_load_explicit(&budget->executing, memory_order_relaxed);

  if (account->over == SIP_OVER_NOTHING && L != NULL) {
    account->over = SIP_OVER_MEMORY;
    account->counting = false;
    budget->spendable += SLACK_BYTES;
    budget_hook(budget, L);
  } else if (bytes > budget->spendable && L != NULL) {
    account->raised = GRACE_STOPS; /* each refusal costs a full collection */
    budget_hook(budget, L);
  }
  return bytes <= budget->spendable;
}

/* --- the signal, on the loop thread --- */

struct report {
  char *text;
  size_t size, len;
};

static void report_add(struct report *report, const char *text)
{
  while (*text != '\0' && report->len + 1 < report->size) {
    report->text[report->len++] = *text++;
  }
  report->text[report->len] = '\0';
}

static void report_number(struct report *report, int64_t value)
{
  char digits[24], *at = digits + sizeof digits;
  uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

  *--at = '\0';
  do {
    *--at = (char)('0' + left % 10);
    left /= 10;
  } while (left > 0);
  if (value < 0) {
    *--at = '-';
  }
  report_add(report, at);
}

/* What runs, where: only functions that are safe in a signal handler, and lua_getinfo, which reads.
 */
static void report_write(struct sip_budget *budget, lua_State *L)
{
  struct sip_vm *vm = SIP_CONTAINER(budget, struct sip_vm, budget);
  struct report report = { budget->report, sizeof budget->report, 0 };
  const struct sip_place *place = &budget->account->place;
  lua_Debug at;

  if (place->topic != NULL) {
    report_add(&report, place->topic);
    report_add(&report, " partition ");
    report_number(&report, place->partition);
    report_add(&report, " offset ");
    report_number(&report, place->offset);
    report_add(&report, " of group ");
    report_add(&report, place->group);
  } else {
    report_add(&report, "no event");
  }
  if (vm->tasks.running != NULL && sip_task_event_id(vm->tasks.running)[0] != '\0') {
    report_add(&report, ", id ");
    report_add(&report, sip_task_event_id(vm->tasks.running));
  }
  for (int level = 0; L != NULL && lua_getstack(L, level, &at) == 1; level++) {
    if (lua_getinfo(L, "Sl", &at) != 0 && at.currentline > 0) {
      report_add(&report, ", at ");
      report_add(&report, at.short_src);
      report_add(&report, ":");
      report_number(&report, at.currentline);
      break;
    }
  }
}

static void budget_on_signal(int number)
{
  struct sip_budget *budget = thread_budget;
  struct sip_account *account;
  uint64_t serial;
  lua_State *L;

  (void)number;
  serial = budget == NULL ? 0 : atomic_load(&budget->serial);
  L = serial % 2 == 0 ? NULL : atomic_load(&budget->executing);
  if (L == NULL) {
    return; /* the slice ended in the meantime */
  }
  account = budget->account;
  if (atomic_load(&budget->tell) == serial) {
    report_write(budget, L);
    atomic_store(&budget->told, true);
  } else if (atomic_load(&budget->force) == serial) {
    account->raised = GRACE_STOPS;
    budget_hook(budget, L);
  } else if (atomic_load(&budget->stop) == serial && account->over == SIP_OVER_NOTHING) {
    account->over = SIP_OVER_TIME;
    account->counting = false;
    budget_hook(budget, L);
  } else if (atomic_load(&budget->count) == serial && account->over == SIP_OVER_NOTHING &&
             account->limits.instructions != 0 && !account->counting) {
    account->counting = true;
    budget_hook(budget, L);
  }
}

/* --- the watchdog's thread --- */

static uint64_t clock_ms(clockid_t clock)
{
  struct timespec now = { 0 };

  (void)clock_gettime(clock, &now); /* cannot fail for the clocks used here */
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void watchdog_tick(void)
{
  struct timespec tick = { 0, TICK_MS * 1000000L };

  (void)nanosleep(&tick, NULL); /* woken early: one look more */
}

/* The slice cannot be stopped: only the process can, and then the event is known. */
static void watchdog_give_up(struct sip_budget *budget, uint64_t serial, uint64_t age_ms)
{
  atomic_store(&budget->told, false);
  atomic_store(&budget->tell, serial);
  (void)pthread_kill(budget->loop_thread, budget_signal());
  for (int i = 0; i < TELL_TICKS && !atomic_load(&budget->told); i++) {
    watchdog_tick();
  }
  if (atomic_load(&budget->serial) != serial) {
    return; /* it came to its end after all */
  }
  sip_log(SIP_LOG_ERROR, "watchdog", NULL,
          "a call of the script has not returned for %.1f s and cannot be stopped, so the process "
          "ends with code %d: %s",
          (double)age_ms / 1000, SIP_BUDGET_EXIT_STUCK,
          atomic_load(&budget->told) ? budget->report : "it does not say where");
  _exit(SIP_BUDGET_EXIT_STUCK);
}

/* What a slice burns counts, so that it does not pay for a machine that is short of CPU time; what
 * it waits in a C function counts for the end, and before that as if it burnt it. */
static void watchdog_look(struct sip_budget *budget, uint64_t serial, uint64_t age_ms,
                          uint64_t burnt_ms)
{
  uint64_t limit_ms = atomic_load(&budget->slice_limit_ms);

  if (atomic_load(&budget->serial) != serial) {
    return;
  }
  if (age_ms >= limit_ms + budget->hard_ms) {
    watchdog_give_up(budget, serial, age_ms);
    return;
  }
  if (age_ms >= limit_ms + budget->hard_ms / 2) {
    burnt_ms = burnt_ms < limit_ms ? limit_ms : burnt_ms;
  }
  if (burnt_ms < COUNT_AFTER_MS) {
    return;
  }
  if (burnt_ms >= limit_ms + FORCE_AFTER_MS) {
    atomic_store(&budget->force, serial);
  } else if (burnt_ms >= limit_ms) {
    atomic_store(&budget->stop, serial);
  } else if (atomic_exchange(&budget->count, serial) == serial) {
    return; /* it counts */
  }
  (void)pthread_kill(budget->loop_thread, budget_signal()); /* at each tick: the coroutine may have
                                                               changed */
}

/* Waits until a slice begins. */
static void watchdog_rest(struct sip_budget *budget, uint64_t seen)
{
  atomic_store(&budget->resting, true);
  while (atomic_load(&budget->serial) == seen && !atomic_load(&budget->stopping) &&
         sem_wait(&budget->rested) < 0 && errno == EINTR) {
  }
  atomic_store(&budget->resting, false);
}

static void *watchdog_main(void *arg)
{
  struct sip_budget *budget = arg;
  uint64_t seen = 0, age_ms = 0, looked_ms = 0, burnt_before_ms = 0;
  int idle_ticks = 0;

  while (!atomic_load(&budget->stopping)) {
    uint64_t serial = atomic_load(&budget->serial), now_ms = clock_ms(CLOCK_MONOTONIC);
    uint64_t passed_ms = now_ms - looked_ms;

    looked_ms = now_ms;
    if (serial != seen) {
      seen = serial;
      age_ms = 0;
      burnt_before_ms = clock_ms(budget->cpu_clock);
      idle_ticks = 0;
    } else if (serial % 2 == 1) {
      age_ms += passed_ms > FROZEN_MS ? FROZEN_MS : passed_ms;
      watchdog_look(budget, serial, age_ms, clock_ms(budget->cpu_clock) - burnt_before_ms);
    } else if (++idle_ticks == REST_AFTER_TICKS) {
      idle_ticks = 0;
      watchdog_rest(budget, seen);
    }
    watchdog_tick();
  }
  return NULL;
}

/* --- life --- */

int sip_budget_init(struct sip_budget *budget, uint64_t limit_ms, uint64_t hard_ms)
{
  struct sigaction action;
  sigset_t all, before;
  int rc;

  memset(budget, 0, sizeof *budget);
  budget->limit_ms = limit_ms;
  budget->hard_ms = hard_ms;
  budget->spendable = SIZE_MAX;
  budget->account = &budget->nobody;
  budget->nobody.memory_left = SIZE_MAX;
  budget->mark = &budget->no_mark;
  budget->loop_thread = pthread_self();
  thread_budget = budget;
  memset(&action, 0, sizeof action);
  action.sa_handler = budget_on_signal;
  action.sa_flags = SA_RESTART;
  rc = pthread_getcpuclockid(budget->loop_thread, &budget->cpu_clock);
  if (rc != 0) {
    return -rc;
  }
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
  struct sip_account *account;

  while ((account = budget->free_accounts) != NULL) {
    budget->free_accounts = account->next_free;
    free(account);
  }
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

bool sip_budget_enter(struct sip_budget *budget, lua_State *L, struct sip_account *account)
{
  uint64_t serial = atomic_load_explicit(&budget->serial, memory_order_relaxed);
  uint64_t limit_ms;

  if (serial % 2 == 1) {
    return false;
  }
  budget->account = account = account == NULL ? &budget->nobody : account;
  budget->spendable = account->memory_left;
  budget->mark->offset = account->place.offset;
  budget->mark->slot = account->place.slot;
  limit_ms = account->limits.slice_ms;
  atomic_store_explicit(&budget->executing, L, memory_order_relaxed);
  atomic_store_explicit(&budget->slice_limit_ms, limit_ms == 0 ? budget->limit_ms : limit_ms,
                        memory_order_relaxed);
  atomic_store(&budget->serial, serial + 1); /* before the look at `resting`, in this order */
  if (atomic_load(&budget->resting)) {
    (void)sem_post(&budget->rested);
  }
  if (account->counting || account->over != SIP_OVER_NOTHING) {
    budget_hook(budget, L);
  }
  return true;
}

void sip_budget_spare(struct sip_budget *budget, bool on)
{
  if (on) {
    budget->set_aside = budget->spendable;
    budget->spendable = SIZE_MAX;
  } else {
    budget->allocated += SIZE_MAX - budget->spendable;
    budget->spendable = budget->set_aside;
  }
  budget->sparing = on;
}

void sip_budget_leave(struct sip_budget *budget, lua_State *L, bool entered)
{
  struct sip_account *account = budget->account;

  if (!entered) {
    return;
  }
  if (budget->sparing) { /* an error ended both */
    sip_budget_spare(budget, false);
  }
  atomic_store_explicit(&budget->serial,
                        atomic_load_explicit(&budget->serial, memory_order_relaxed) + 1,
                        memory_order_release);
  atomic_signal_fence(memory_order_seq_cst); /* from here on the handler leaves all alone */
  budget->mark->slot = 0;
  budget->allocated += account->memory_left - budget->spendable;
  account->memory_left = budget->spendable;
  budget->spendable = SIZE_MAX;
  budget->account = &budget->nobody;
  if (atomic_load_explicit(&budget->hooked, memory_order_relaxed)) {
    atomic_store_explicit(&budget->hooked, false, memory_order_relaxed);
    lua_sethook(L, NULL, 0, 0);
    budget->nobody = (struct sip_account){ .memory_left = SIZE_MAX };
  }
}

lua_State *sip_budget_switch(struct sip_budget *budget, lua_State *L)
{
  lua_State *before = atomic_load_explicit(&budget->executing, memory_order_relaxed);

  atomic_store_explicit(&budget->executing, L, memory_order_relaxed);
  atomic_signal_fence(memory_order_seq_cst);
  if (atomic_load_explicit(&budget->hooked, memory_order_relaxed)) {
    budget_hook(budget, L);
  }
  return before;
}
