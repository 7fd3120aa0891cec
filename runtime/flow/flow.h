#ifndef SIP_FLOW_FLOW_H
#define SIP_FLOW_FLOW_H
/* flow.h - one flow, as the files of flow/ and its binding share it. Loop thread only. */
#include "core/list.h"
#include "flow/engine.h"
#include "flow/lane.h"
#include "flow/watermark.h"

#include <lua.h>
#include <uv.h>

struct sip_task;

enum sip_partition_phase {
  SIP_PARTITION_OURS,
  SIP_PARTITION_LEAVING, /* revoked: what runs may finish and still be stored */
  SIP_PARTITION_GONE     /* somebody else's: nothing is stored any more */
};

struct sip_flow_partition {
  struct sip_list link; /* in the flow's partitions; alone once gone */
  char *topic;          /* owned */
  int32_t partition;
  enum sip_partition_phase phase;
  struct sip_watermark mark;
  size_t events; /* taken and not freed: the last one frees a partition that is gone */
  bool paused;
};

enum sip_redelivery { SIP_FIRST_TIME, SIP_AFTER_CRASH, SIP_AFTER_OUTPUT };

/* One event from its taking to its end. */
struct sip_event {
  struct sip_lane_member member;
  struct sip_list ready; /* in runnable or delayed, or alone */
  struct sip_list all;   /* in the flow's events */
  struct sip_flow *flow; /* borrowed: outlives its events */
  struct sip_flow_partition *partition; /* counted */
  struct sip_record record;             /* released with the event */
  uint64_t sequence;
  struct sip_task *task;     /* borrowed; NULL unless running */
  struct sip_event **ticket; /* borrowed: the script's box, emptied when the task has ended */
  size_t outputs;            /* emitted and not reported */
  bool settled;          /* the task said that it is terminal */
  int kept_ref;          /* registry: what the script wants back when an output fails; LUA_NOREF */
  enum sip_redelivery redelivery;
  uint32_t redeliveries;
  uint64_t due_ms;         /* when delayed */
  struct sip_err *failure; /* owned: why it is redelivered, or of a failed output */
};

struct sip_flow {
  struct sip_list link; /* in the engine's flows */
  struct sip_engine *engine;
  struct sip_vm *vm;
  char *group, **topics; /* owned */
  size_t topic_count;
  struct sip_flow_spec spec; /* source.group and topics point at the two above */
  struct sip_source *source; /* owned by the driver; NULL before open and after on_closed */
  struct sip_lanes lanes;
  struct sip_list partitions, events, runnable, delayed, spare;
  struct sip_list leaving; /* partitions that were revoked and still run */
  size_t partition_count, running, taken_events, taken_bytes;
  uv_timer_t timer;        /* delayed events, pausing, limits; one per flow */
  uint64_t full_since_ms;  /* 0: there is room */
  uint64_t drain_by_ms, leave_by_ms; /* 0: no such limit runs */
  bool held;               /* partitions are paused */
  bool assigned, draining, closing, registered, timer_open;
  uint64_t taken, finished, unfinished, redelivered;
  char error[256];
};

/** A flow that is not open yet; takes over the references in `spec`. */
int sip_flow_new(struct sip_flow **out, struct sip_engine *engine, const struct sip_flow_spec *spec,
                 struct sip_err *err);
void sip_flow_free(struct sip_flow *flow); /* never opened, or closed */
int sip_flow_open(struct sip_flow *flow, struct sip_err *err);
bool sip_flow_same(const struct sip_flow *a, const struct sip_flow *b);

/** Takes over the functions and limits of `from`. */
void sip_flow_replace(struct sip_flow *flow, struct sip_flow *from);
void sip_flow_drain(struct sip_flow *flow, uint64_t limit_ms);

/* --- event.c --- */

/** A record from the source; takes it over in any case. */
void sip_flow_accept(struct sip_flow *flow, const struct sip_record *record);

/** Starts what may run. */
void sip_flow_pump(struct sip_flow *flow);

/** Frees an event that does not run, without an outcome. */
void sip_event_drop(struct sip_event *event);

/** The report of an output of this event. */
void sip_event_on_report(void *arg, int status, int32_t partition, int64_t offset, const struct sip_err *err);

/** Stops every running task of the flow, and no longer waits for outputs on their way. */
void sip_flow_kill_running(struct sip_flow *flow);

/** Something ended: room, leaving partitions and the drain are looked at again. (flow.c) */
void sip_flow_after_event(struct sip_flow *flow);

/** An event was delayed: the timer is set. (flow.c) */
void sip_flow_set_timer(struct sip_flow *flow);

void sip_flow_partition_unref(struct sip_flow_partition *partition);

/* --- engine.c --- */
void sip_engine_on_flow_closed(struct sip_flow *flow);
void sip_engine_on_room(struct sip_engine *engine);

/* --- ticket, filled in by bind/flow_lua.c --- */

/** Pushes dispatch's arguments for an event: record table and ticket. Runs protected. */
typedef int (*sip_push_event_fn)(lua_State *L, void *event);

/** Key of a record by the script's keyer. Protected by itself. @return true when `key` was set (valid until the
 *  stack is popped by the caller: one value is left on the vm's main state then) */
typedef bool (*sip_key_of_fn)(struct sip_flow *flow, const struct sip_record *record, struct sip_slice *key);

struct sip_engine {
  struct sip_vm *vm;           /* borrowed */
  const struct sip_port *port; /* borrowed; NULL until it is set */
  struct sip_list flows, pending;
  struct sip_list room_waiters; /* bind: emits that wait for the producer's queue */
  sip_push_event_fn push_event;
  sip_key_of_fn key_of;
  void (*wake_room)(struct sip_list *waiters);
  bool loading, draining;
  void (*on_drained)(void *arg);
  void *drained_arg;
  uv_idle_t *notifier; /* owned: calls on_drained from a later turn */
};

#endif
