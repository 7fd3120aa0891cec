#ifndef SIP_FLOW_FLOW_H
#define SIP_FLOW_FLOW_H
/* flow.h - one flow, as the files of flow/ and its binding share it. Loop thread only. */
#include "core/clock.h"
#include "core/list.h"
#include "core/trace.h"
#include "flow/engine.h"
#include "flow/holds.h"
#include "flow/lane.h"
#include "flow/meter.h"
#include "flow/tap.h"
#include "flow/watermark.h"

#include <lua.h>
#include <uv.h>

struct sip_task;
struct sip_transaction;

enum { SIP_TAKE_BATCH = 128, SIP_OUTPUT_SLOTS = 8 };

enum sip_partition_phase {
  SIP_PARTITION_OURS,
  SIP_PARTITION_LEAVING, /* revoked: what runs may finish and still be stored */
  SIP_PARTITION_GONE     /* somebody else's: nothing is stored any more */
};

struct sip_flow_partition {
  struct sip_list link; /* in the flow's partitions or leaving; alone once gone */
  char *topic;          /* owned */
  int32_t partition;
  uint64_t log; /* a number for both, for the lanes */
  enum sip_partition_phase phase;
  struct sip_watermark mark;
  struct sip_holds holds;    /* keys that are held back; times of the loop's clock */
  int64_t started;           /* the highest offset that was ever started, or -1 */
  int64_t batch_end;         /* of a transaction: the first offset behind its batch, or 0 */
  uint64_t rewinds_until_ms; /* records that were taken may come again; 0: they may not */
  int64_t end;     /* nothing lay below it that was not taken, when the source said so; or -1 */
  size_t bytes;    /* of those events */
  size_t events;   /* taken and not freed: the last one frees a partition that is gone */
  unsigned paused; /* reasons: enum sip_pause */
  bool unstored;   /* something finished since the source was told */
  struct sip_deaths *deaths; /* borrowed from the engine, with the next two; NULL: not asked yet */
  uint32_t slot;
  bool suspicious;       /* an event of it ran when a process died */
  uint64_t delay_ms;     /* of a retry topic, or 0 */
  struct sip_list later; /* events of a retry topic that are not due, the first one first */
  size_t later_events, later_bytes;
  struct sip_meter_partition meter;
};

/* Why a partition is paused: it goes on when none is left. */
enum sip_pause {
  SIP_PAUSE_FULL = 1,    /* the flow is full */
  SIP_PAUSE_CRAMMED = 2, /* what is finished beyond its watermark does not fit into a commit */
  SIP_PAUSE_CROWDS = 4,  /* it holds what the others need */
  SIP_PAUSE_DUE = 8,     /* enough that is not due waits */
};

/* Why an event is dispatched again, besides a retry that the script asked for. */
enum sip_trouble {
  SIP_NO_TROUBLE,
  SIP_TROUBLE_OUTPUT,
  SIP_TROUBLE_CRASH,
  SIP_TROUBLE_ABORTED, /* what it had emitted is gone: it emits it again */
  SIP_TROUBLE_HELD     /* its key is held back */
};

/* What the script's dispatch function said when its task ended. */
enum sip_verdict {
  SIP_VERDICT_NONE,     /* nothing: stopped, or dead */
  SIP_VERDICT_AGAIN,    /* dispatch it again after delay_ms */
  SIP_VERDICT_FINISHED, /* terminal once its outputs are written */
  SIP_VERDICT_DEAD      /* as finished, and counted as a dead letter */
};

/* The argument of a report: which output it was, without an allocation for each. The last slot
 * stands for all outputs from there on. */
struct sip_output_slot {
  struct sip_event *event; /* borrowed: the event that it is part of */
};

/* An output that was not written, as it was, so that it can be emitted again: one block. */
struct sip_lost_output {
  struct sip_list link;
  unsigned slot;
  struct sip_output output;    /* points behind this struct */
  struct sip_header headers[]; /* output.header_count */
};

/* One event from its taking to its end. */
struct sip_event {
  struct sip_output_slot slots[SIP_OUTPUT_SLOTS]; /* each points here: set when it is made */
  uint32_t place;                                 /* among the engine's tickets */
  uint64_t ticket;          /* by which the script names it; 0: does not run */
  struct sip_record record; /* released with the event */
  struct sip_list ready;    /* in runnable or delayed, or alone */
  struct sip_list all;      /* in the flow's events, or spare */
  struct sip_list lost;     /* outputs that were not written, of those in failed_outputs */
  struct sip_watermark_member mark;
  struct sip_lane_member member;        /* from here on all is zero when it is taken */
  struct sip_flow *flow;                /* borrowed: outlives its events; NULL once abandoned */
  struct sip_flow_partition *partition; /* counted */
  struct sip_task *task;                /* borrowed; NULL unless running */
  struct sip_event **box; /* borrowed: the script's, emptied when the task has ended */
  int kept_ref;           /* registry: what the script keeps of this event; LUA_NOREF: nothing */
  enum sip_verdict verdict;
  bool notify;         /* the script's finish function is to be called at the end */
  bool in_batch, held; /* see flow/transaction.h */
  enum sip_trouble trouble;
  struct sip_err *why;     /* owned: the trouble's; NULL without one, or without memory for it */
  size_t outputs;          /* emitted and not reported */
  uint64_t emitted;        /* outputs so far: the index of the next one */
  unsigned failed_outputs; /* a bit for each slot */
  bool is_lost_unknown;    /* of those, `lost` has not all */
  bool was_read;           /* the script has read the record, and lives */
  uint64_t taken_ms;       /* loop time */
  uint64_t started_ms;     /* loop time of its last start */
  struct sip_trace *trace; /* counted: what it came with, or a new one; NULL: not traced */
  struct sip_trace *span;  /* owned: of the attempt that runs, when it is span.c's; else NULL */
  uint64_t span_wall_ns, span_began_ns; /* when it began */
  struct sip_meter_type *type; /* borrowed from the flow; NULL: this attempt is not measured */
  uint64_t began_ns;           /* with a type: when the handler was called, as of uv_hrtime */
  char *failure;               /* owned: why the attempt failed, while somebody watches; or NULL */
  bool parked;                 /* it ends in the journal, for a person to look at */
  unsigned deaths;             /* processes that died while it ran */
  bool was_alone;              /* once is enough */
  int64_t held_after;          /* with SIP_TROUBLE_HELD: the offset of the dead letter before it */
  bool is_opening; /* its start, which pushes the event by itself, has not done so yet */
  bool is_delayed;
  bool is_later;     /* in its partition's later ones */
  uint64_t delay_ms; /* with SIP_VERDICT_AGAIN */
  uint64_t due_ms;   /* when it is delayed */
};

enum sip_source_state {
  SIP_SOURCE_NONE, /* not opened, or to be opened again */
  SIP_SOURCE_OPEN,
  SIP_SOURCE_CLOSING, /* until on_closed */
};

struct sip_flow {
  struct sip_list link; /* in the engine's flows */
  struct sip_engine *engine;
  struct sip_vm *vm;
  char *group, **topics, *key_header, *instance; /* owned; no header, no instance: NULL */
  size_t topic_count;
  struct sip_flow_spec spec;           /* source.group and topics point at the two above */
  struct sip_outlet outlet;            /* where its outputs go; set when it opens */
  struct sip_transaction *transaction; /* owned; NULL: outputs leave one by one */
  struct sip_source *source; /* owned by the driver; NULL before open and after on_closed */
  enum sip_source_state state;
  struct sip_lanes lanes;
  struct sip_list partitions, events, runnable, delayed, spare;
  struct sip_list leaving;         /* partitions that were revoked and still run */
  struct sip_flow_partition *last; /* borrowed: of the last record taken, or NULL */
  const char *last_topic; /* borrowed: as that record has it, in the batch; NULL: not known */
  struct sip_record batch[SIP_TAKE_BATCH]; /* taken and, for want of memory, not accepted yet */
  size_t batch_at, batch_count;
  size_t partition_count, running, taken_events, taken_bytes;
  size_t later_events, later_bytes;  /* of these: in retry topics, and not due */
  size_t mean_bytes;                 /* of the last records, roughly */
  struct sip_timer timer;            /* one for everything below; open while the flow lives */
  uint64_t full_since_ms;            /* 0: there is room */
  uint64_t drain_by_ms, leave_by_ms; /* 0: no such limit runs */
  uint64_t fail_at_ms, reopen_at_ms, retry_take_at_ms, pump_at_ms; /* 0: not wanted */
  size_t crowded;                         /* partitions that are paused alone */
  uint64_t look_at_ms;                    /* at them; 0: there are none */
  uint64_t commit_at_ms, committed_at_ms; /* 0: nothing to commit; the last time */
  size_t unstored;                        /* events finished since then */
  struct sip_ranges beyond;               /* kept between commits for its memory */
  bool held;                              /* partitions are paused */
  bool assigned, draining, timer_open;
  bool fenced;   /* another member has its place: it is not opened again */
  bool has_jobs; /* events of it had a job at their first attempt: others will */
  uint64_t taken, finished, dead, unfinished, redelivered, skipped;
  struct sip_latency latency;
  struct sip_meter_flow meter;
  char error[256];
};

/* --- flow.c --- */

/** A flow that is not open yet; takes over the references in `spec`. */
int sip_flow_new(struct sip_flow **out, struct sip_engine *engine, const struct sip_flow_spec *spec,
                 struct sip_err *err);

/** Never opened, or closed. */
void sip_flow_free(struct sip_flow *flow);

/** As free, but the references stay the caller's. */
void sip_flow_release(struct sip_flow *flow);
int sip_flow_open(struct sip_flow *flow, struct sip_err *err);
bool sip_flow_same(const struct sip_flow *a, const struct sip_flow *b);

/** Takes over the functions and limits of `from`. */
void sip_flow_replace(struct sip_flow *flow, struct sip_flow *from);
void sip_flow_drain(struct sip_flow *flow, uint64_t limit_ms);

/** Something ended: room, leaving partitions and the drain are looked at again. */
void sip_flow_after_event(struct sip_flow *flow);

/** A moment was set at which something is due. */
void sip_flow_set_timer(struct sip_flow *flow);

/** Closes the source; what waited is dropped, and what runs is no longer stored. Without a drain,
 *  the source is opened again after a while. */
void sip_flow_fail(struct sip_flow *flow);

/** The transaction of the flow, which was asked to close, is gone. */
void sip_flow_on_transaction_closed(struct sip_flow *flow);

const struct sip_source_ops *sip_flow_ops(const struct sip_flow *flow);

uint64_t sip_flow_now_ms(const struct sip_flow *flow);

/** Sets the references of its functions to LUA_NOREF. */
void sip_flow_spec_forget(struct sip_flow_spec *spec);

/** Gives its functions back. */
void sip_flow_spec_unref(lua_State *L, const struct sip_flow_spec *spec);

/* --- partition.c --- */

void sip_flow_on_assigned(void *flow, const struct sip_assigned *partitions, size_t count);
void sip_flow_on_revoked(void *flow, const struct sip_partition *partitions, size_t count,
                         bool lost);

/** Of a record below those that were taken: whether it is one of them, given again after a
 *  rebalance. */
bool sip_flow_is_rewound(struct sip_flow *flow, const struct sip_flow_partition *partition);

/** The partition of that name, or NULL when it is not ours. */
struct sip_flow_partition *sip_flow_partition_of(struct sip_flow *flow, const char *topic,
                                                 int32_t number);

/** Adds or takes away a reason to pause it. */
void sip_flow_pause(struct sip_flow *flow, struct sip_flow_partition *partition,
                    enum sip_pause reason, bool on);

/** Frees it if it is gone and none of its events is left. */
void sip_flow_partition_unref(struct sip_flow_partition *partition);

/** Pauses or resumes all partitions. */
void sip_flow_hold(struct sip_flow *flow, bool hold);

/** Gives revoked partitions back once nothing runs on them, or when their time is up. */
void sip_flow_look_at_leaving(struct sip_flow *flow);

/** Drops what waits, of one partition or of all (NULL): with SIP_DROP_ALL everything; with
 *  SIP_DROP_AHEAD only what lies ahead of the last event that was started, what waits for longer
 *  than there is time, and what the watermark will not reach: the rest is run, for what was
 * finished behind it comes again otherwise. */
enum sip_drop { SIP_DROP_ALL, SIP_DROP_AHEAD };
void sip_flow_drop_waiting(struct sip_flow *flow, const struct sip_flow_partition *partition,
                           enum sip_drop what);

/** The source is gone, and with it all partitions. */
void sip_flow_forget_partitions(struct sip_flow *flow);

/* --- share.c --- */

/** How much of a limit the source may have polled ahead. */
size_t sip_flow_ahead_of(size_t limit);

/** What may still be taken. */
size_t sip_flow_free_events(const struct sip_flow *flow);
size_t sip_flow_free_bytes(const struct sip_flow *flow);

/** Nothing more may be taken: it holds all it may, or the partition of the last record does. */
bool sip_flow_is_full(const struct sip_flow *flow);

/** After it was full: whether to go on, which is at half of what it may hold. */
bool sip_flow_has_room(const struct sip_flow *flow);

/** Pauses partitions that crowd the others out. @return whether there were any */
bool sip_flow_pause_crowding(struct sip_flow *flow);

/** Lets those go on that do no longer. */
void sip_flow_look_at_crowding(struct sip_flow *flow);

/* --- commit.c --- */

/** Something of the partition finished: it is committed soon. */
void sip_flow_touch(struct sip_flow *flow, struct sip_flow_partition *partition);

/** Tells the source how far the partition is, if it does not know. */
void sip_flow_store(struct sip_flow *flow, struct sip_flow_partition *partition);

/** Commits what is finished, in the background. */
void sip_flow_commit(struct sip_flow *flow);

/** Reads what was committed of the partition, before anything of it comes. */
void sip_flow_restore(struct sip_flow *flow, struct sip_flow_partition *partition,
                      const struct sip_assigned *assigned);

void sip_flow_on_end(void *flow, const struct sip_partition *partition, int64_t offset);

/* --- held.c --- */

/** The event became a dead letter: its key is held back, if the flow wants that. Still in its lane.
 */
void sip_flow_hold_back(struct sip_event *event);

/** The event that its key is held back after, or -1: then it may run. */
int64_t sip_flow_held_after(struct sip_event *event);

/** Times of holds from one clock to the other: the loop's, and seconds that last. */
void sip_flow_holds_out(const struct sip_flow *flow, const struct sip_holds *holds,
                        struct sip_holds *out);
void sip_flow_holds_in(const struct sip_flow *flow, struct sip_holds *holds);

/* --- event.c --- */

/** A record from the source. @return 0: it was taken over (or released, when it is not ours);
 *  UV_ENOMEM: it was not, and has to be offered again */
int sip_flow_accept(struct sip_flow *flow, const struct sip_record *record);

/** Starts what may run. */
void sip_flow_pump(struct sip_flow *flow);

/** Frees the memory of one that was put among the spare ones. */
void sip_event_free(struct sip_event *event);

/** Frees an event that does not run, without an outcome. */
void sip_event_drop(struct sip_event *event);

/** A terminal event whose transaction is committed: it is counted, told to the script, and freed.
 */
void sip_event_committed(struct sip_event *event);

/** Dispatches an event that neither runs nor waits anywhere. */
void sip_event_start(struct sip_event *event);

/** Takes note of what will be told when it is dispatched again; the first trouble counts. */
void sip_event_remember(struct sip_event *event, enum sip_trouble trouble, int code,
                        const char *name, const char *message);

/** Why the attempt that runs has failed: for who watches. Without memory, it is not said. */
void sip_event_note_failure(struct sip_event *event, const char *text);

/** The handler of the event, which is of that type, is called, at `began_ns` of uv_hrtime: what
 *  follows is measured. */
void sip_event_note_type(struct sip_event *event, const char *text, size_t len, uint64_t began_ns);

/** When the event has to be finished, for its partition or its flow is leaving: loop time, 0 when
 *  that is over, UINT64_MAX when there is no such limit. */
uint64_t sip_event_leaves_at_ms(const struct sip_event *event);

/** The event whose attempt that task is; NULL: of none, or NULL was given. */
struct sip_event *sip_event_of(const struct sip_task *task);

/** A start that pushes the event by itself has done so. */
void sip_event_opened(struct sip_event *event);

/** The slot that stands for the output of that index. */
struct sip_output_slot *sip_event_slot(struct sip_event *event, uint64_t index);

/** The report of an output; `arg` is its slot. */
void sip_event_on_report(void *arg, int status, int32_t partition, int64_t offset,
                         const struct sip_err *err);

/** Stops every running task of the flow, and no longer waits for outputs on their way. */
void sip_flow_kill_running(struct sip_flow *flow);

/* --- span.c --- */

/** A span of the attempt that runs, which is recorded, and its task works in it from now on. false:
 *  its spans are to be made in Lua. */
bool sip_event_begin_span(struct sip_event *event);

/** It has ended well; of an event of that id and type. The task works in what was around it. */
void sip_event_end_span(struct sip_event *event, struct sip_slice id, struct sip_slice type);

/** Somebody else goes on with it, or it is not told. */
void sip_event_drop_span(struct sip_event *event);

/** The span of a record that is sent in the context `trace`, which is recorded. `parent`: the
 *  header traceparent that the record takes along. */
struct sip_send {
  char parent[SIP_TRACE_BYTES + 1];
  uint64_t wall_ns, began_ns;
};

void sip_send_begin(struct sip_send *send, struct sip_tracer *tracer,
                    const struct sip_trace *trace);
void sip_send_end(const struct sip_send *send, struct sip_tracer *tracer,
                  const struct sip_trace *trace, const char *topic);

/* --- suspicion.c --- */

/** Once the event is taken: whether processes died while it ran, and too many. */
void sip_event_suspect(struct sip_event *event);

/** Before it begins: true while it, or another one, is to run alone; the flow is pumped again. */
bool sip_event_has_to_wait(struct sip_event *event);

/** It has come to its end: what is said of it is forgotten. */
void sip_event_trust(struct sip_event *event);

/* --- engine.c --- */
void sip_engine_on_flow_closed(struct sip_flow *flow);
void sip_engine_on_room(struct sip_engine *engine);

/* --- lost.c --- */

/** Inside of the report that the output of that slot was not written: keeps it, unless the outlet
 *  does not know it or memory is out; then the handler has to run again. */
void sip_event_keep_lost(struct sip_event *event, unsigned slot);
void sip_event_forget_lost(struct sip_event *event);

/* --- ticket.c: a number by which a script names an event that runs --- */

struct sip_ticket_place {
  struct sip_event *event; /* borrowed; NULL: the place is free */
  uint32_t next_free;
};

/* Where events stand. One keeps its place as long as its memory lives, and a ticket is that place
 * with the number of the run, so one that is kept for too long finds nothing. */
struct sip_tickets {
  struct sip_ticket_place *places; /* owned */
  uint32_t count, capacity, first_free;
  uint64_t runs;
};

void sip_tickets_init(struct sip_tickets *tickets);
void sip_tickets_deinit(struct sip_tickets *tickets);

/** A place for a new event. @return 0 or UV_ENOMEM */
int sip_ticket_enter(struct sip_tickets *tickets, struct sip_event *event);

/** The event is about to be freed, or is left alone for good. */
void sip_ticket_leave(struct sip_tickets *tickets, struct sip_event *event);

/** Gives an event that starts a ticket of its own; event->ticket = 0 takes it back. */
void sip_ticket_give(struct sip_tickets *tickets, struct sip_event *event);

/** The event that runs with that ticket, or NULL. */
struct sip_event *sip_ticket_event(const struct sip_tickets *tickets, uint64_t ticket);

/* --- filled in by bind/flow_lua.c --- */

/** Key of a record by the script's key function. @return true when `key` was set; then one value is
 *  left on the vm's main state, which the caller pops when it is done with the key */
typedef bool (*sip_key_of_fn)(struct sip_flow *flow, struct sip_event *event,
                              struct sip_slice *key);

struct sip_flow_binding {
  int (*push_event)(lua_State *L, void *event); /* dispatch's arguments; runs protected */
  int (*push_kept)(lua_State *L, void *event);  /* finish's argument; runs protected */
  void (*read_verdict)(lua_State *L, int nresults, struct sip_event *event); /* must not throw */
  sip_key_of_fn key_of;
  void (*wake_room)(struct sip_list *waiters); /* the producer may have room again */
};

struct sip_engine {
  struct sip_vm *vm;                      /* borrowed */
  const struct sip_port *port;            /* borrowed; NULL until it is set */
  const struct sip_flow_binding *binding; /* borrowed: static */
  struct sip_list flows, pending;
  struct sip_tickets tickets;
  struct sip_list room_waiters; /* the binding's: emits that wait for the producer's queue */
  bool loading, draining;
  bool ending; /* from the drain on: no flow is opened any more */
  void (*on_drained)(void *arg);
  void *drained_arg;
  struct sip_deaths *deaths; /* borrowed; NULL: deaths are not looked for */
  struct sip_meter *meter;   /* owned; NULL: nobody counts */
  struct sip_tap *tap;       /* borrowed; NULL: nobody can watch */
  struct sip_event *alone;   /* borrowed: nothing else begins until this one has ended … */
  uint64_t alone_until_ms;   /* … or this moment, in loop time */
  uv_idle_t *notifier;       /* owned: calls on_drained from a later turn */
  bool notifier_open;
};

#endif
