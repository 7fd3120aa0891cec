#ifndef SIP_VM_STATE_H
#define SIP_VM_STATE_H
/* state.h - what the files of vm/ share about a worker. Nobody else includes it. */
#include "core/clock.h"
#include "core/list.h"
#include "core/random.h"
#include "core/trace.h"
#include "vm/budget.h"
#include "vm/leak.h"
#include "vm/permissions.h"
#include "vm/vm.h"

enum { SIP_VM_SERVICES = 32 };

struct sip_task;

struct sip_scheduler {
  uv_idle_t idle;           /* runs the drain while `ready` is not empty */
  struct sip_list ready;    /* tasks to resume */
  struct sip_list all;      /* every task that has not ended */
  struct sip_list pool;     /* ended tasks, kept with their coroutines */
  size_t count, pooled;     /* lengths of `all` and `pool` */
  size_t handles;           /* open handles: the idle watcher and one timer per task */
  struct sip_task *running; /* borrowed; NULL outside of a resume */
  uint64_t now_ns;          /* when the last slice ended, as of uv_hrtime; 0: nobody has asked */
  bool closing;
};

struct sip_vm {
  lua_State *L;
  uv_loop_t *loop; /* borrowed from the host */
  struct sip_clock clock;
  struct sip_random random;
  struct sip_tracer tracer;
  size_t memory_bytes, memory_limit_bytes;
  int gc_pause; /* per cent: how far memory grows before it is collected again */
  int worker, workers;
  struct sip_scheduler tasks;
  struct sip_budget budget;
  struct sip_leak leak;
  struct sip_permissions *permissions;
  struct sip_script *loading; /* borrowed from the load in progress */
  uint64_t generations;
  struct {
    const void *key;
    void *value; /* borrowed from the binding */
  } services[SIP_VM_SERVICES];
};

/** Lets the collector wait for as long as memory is small. Called once in a while. */
void sip_vm_pace_collector(struct sip_vm *vm);

/** The scheduler of a new state. @return 0 or a libuv code */
int sip_tasks_init(struct sip_vm *vm);

/** Kills all tasks, waits for them, closes the handles. Turns the loop. */
void sip_tasks_deinit(struct sip_vm *vm);

/** Puts `require`, the safe libraries and our replacements into the globals. Throws. */
void sip_open_libraries(lua_State *L);

/** `require` for compiled-in modules, and with upvalue 1 a generation's table, also for files. */
int sip_require(lua_State *L);

/** luaL_traceback at a bounded cost, however deep the stack is. Throws. */
void sip_traceback(lua_State *L, lua_State *of, const char *message, int level);
int sip_debug_traceback(lua_State *L);

#endif
