#ifndef SIP_VM_BUDGET_H
#define SIP_VM_BUDGET_H
/* budget.h - stops a script that runs for too long without yielding.
 *
 * A count hook costs a call for each instruction, so none is installed while all is well. A
 * watchdog thread looks at the clock; when a slice is over its limit it signals the loop thread,
 * and the handler installs a hook that raises at each instruction until the coroutine has unwound,
 * through loops around pcall too. The same use of lua_sethook in a signal handler is made by the
 * stand-alone interpreter (lua.c). */
#include <lua.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sip_budget {
  uint64_t limit_ms;               /* of a slice; loop thread */
  pthread_t loop_thread, watchdog; /* written before the watchdog starts */
  sem_t rested;                    /* posted to wake a watchdog that went to rest */
  _Atomic uint64_t started_at_ms;  /* monotonic; 0 while no slice runs */
  _Atomic uint64_t slice_limit_ms; /* of the running slice */
  _Atomic uint64_t serial;         /* counts slices */
  _Atomic uint64_t tripped;        /* serial of the slice that is over its limit */
  _Atomic bool resting, stopping;  /* resting: the watchdog waits on `rested` */
  _Atomic(lua_State *) executing; /* what runs now; read by the signal handler on the same thread */
  bool started;
};

/** Starts the watchdog; the caller's thread is the loop thread. @return 0 or a negative errno */
int sip_budget_init(struct sip_budget *budget, uint64_t limit_ms);
void sip_budget_deinit(struct sip_budget *budget);

/** Around everything that runs Lua. Nests: the outer limit counts. */
bool sip_budget_enter(struct sip_budget *budget, lua_State *L, uint64_t limit_ms);
void sip_budget_leave(struct sip_budget *budget, lua_State *L, bool entered);

/** Tells which coroutine runs inside of the slice now. @return the one before */
lua_State *sip_budget_switch(struct sip_budget *budget, lua_State *L);

#endif
