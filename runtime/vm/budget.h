#ifndef SIP_VM_BUDGET_H
#define SIP_VM_BUDGET_H
/* budget.h - what a script may spend before it is stopped: time without waiting, and for an event
 * also VM instructions and gross memory.
 *
 * A count hook costs a call for each instruction, so none is installed while all is well. A
 * watchdog thread looks at the clock; it signals the loop thread when a slice (the stretch from
 * resume to wait) is old enough to be counted, or over its time; both are the thread's CPU time, so
 * that an event does not pay for a machine that is short of it. What is over gets a hook that
 * raises, out of loops around pcall too: at once, then every few thousand instructions so that
 * what unwinds can clean up, and in the end at each instruction. The same use of lua_sethook in a
 * signal handler is made by the stand-alone interpreter (lua.c). A slice that cannot be stopped,
 * since one C function does not return, ends the process. */
#include <lua.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The process ends with it when a C function that a script called does not return. */
enum { SIP_BUDGET_EXIT_STUCK = 6 };

enum sip_over { SIP_OVER_NOTHING, SIP_OVER_INSTRUCTIONS, SIP_OVER_MEMORY, SIP_OVER_TIME };

/* What an event may spend. 0: no limit (for slice_ms: the worker's). */
struct sip_limits {
  uint64_t instructions;
  size_t memory_bytes; /* allocated, whether or not it was freed again */
  uint64_t slice_ms;   /* the longest stretch without waiting */
};

/* Who an account is for; borrowed until it is closed. */
struct sip_place {
  const char *group, *topic; /* topic NULL: no event */
  int32_t partition;
  uint32_t slot; /* the partition's number for the mark; 0: it goes unmarked */
  int64_t offset;
};

/* What runs, for whoever finds this process dead; in memory that outlives it. */
struct sip_mark {
  volatile int64_t offset;
  volatile uint32_t slot; /* 0: nothing */
};

/* What one attempt of an event has spent: shared by its task and those that it spawned. */
struct sip_account {
  struct sip_account *next_free;
  struct sip_limits limits;
  struct sip_place place;
  size_t refs;
  uint64_t instructions; /* of slices that were long enough to be counted */
  size_t memory_left;
  enum sip_over over;
  unsigned raised; /* how often it was told to stop */
  bool counting;
  char where[72]; /* file and line at which it was over */
};

struct sip_budget {
  uint64_t limit_ms, hard_ms;      /* of a slice; what is left beyond it before the process ends */
  pthread_t loop_thread, watchdog; /* written before the watchdog starts */
  clockid_t cpu_clock;             /* of the loop thread; likewise */
  sem_t rested;                    /* posted to wake a watchdog that went to rest */
  _Atomic uint64_t serial;         /* of slices: odd while one runs */
  _Atomic uint64_t slice_limit_ms; /* of the running slice */
  _Atomic uint64_t count, stop, force, tell; /* serial of the slice that is to be … */
  _Atomic bool resting, stopping;            /* resting: the watchdog waits on `rested` */
  _Atomic bool told;                         /* `report` is filled in */
  _Atomic(lua_State *) executing; /* what runs now; read by the signal handler on the same thread */
  struct sip_account *account;    /* whose slice runs; loop thread, as all below */
  struct sip_account nobody;      /* of slices that belong to no event */
  struct sip_account *free_accounts;
  struct sip_mark *mark, no_mark; /* borrowed, or no_mark of its own */
  size_t spendable;    /* bytes that the slice may still allocate; read by the allocator */
  size_t set_aside;    /* what was spendable before sip_budget_spare */
  bool sparing;        /* since then */
  uint64_t allocated;  /* bytes, in all slices together */
  _Atomic bool hooked; /* the slice was given a hook */
  bool started;
  char report[512]; /* what runs, for the line that says why the process ends */
};

/** Starts the watchdog; the caller's thread is the loop thread. @return 0 or a negative errno */
int sip_budget_init(struct sip_budget *budget, uint64_t limit_ms, uint64_t hard_ms);
void sip_budget_deinit(struct sip_budget *budget);

/** Around everything that runs Lua. Nests: the outer limits count. `account` NULL: nobody's. */
bool sip_budget_enter(struct sip_budget *budget, lua_State *L, struct sip_account *account);
void sip_budget_leave(struct sip_budget *budget, lua_State *L, bool entered);

/** Inside of a slice: what is allocated from now on is the program's own, not the account's, until
 *  it is `false` again or the slice ends. */
void sip_budget_spare(struct sip_budget *budget, bool on);

/** Tells which coroutine runs inside of the slice now. @return the one before */
lua_State *sip_budget_switch(struct sip_budget *budget, lua_State *L);

/** The allocator asks for more than is spendable: the account is over. @return whether this one is
 *  still given, for what is on its way to the next instruction */
bool sip_budget_overspend(struct sip_budget *budget, size_t bytes);

/** With one reference, or NULL for want of memory. */
struct sip_account *sip_account_new(struct sip_budget *budget, const struct sip_limits *limits,
                                    const struct sip_place *place);

/** NULL is fine. */
void sip_account_unref(struct sip_budget *budget, struct sip_account *account);

/** Its event has ended: what else it pays for has no limits any more, unless it was over them. */
void sip_account_close(struct sip_account *account);

/** Name and text of a failure, for an account that is over. */
const char *sip_over_code(enum sip_over over);
void sip_account_describe(const struct sip_account *account, char *text, size_t size);

#endif
