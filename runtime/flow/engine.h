#ifndef SIP_FLOW_ENGINE_H
#define SIP_FLOW_ENGINE_H
/* engine.h - a worker's flows: which there are, starting, replacing and draining them.
 *
 * A flow takes events from one consumer group, keeps their order per key, runs the script's
 * dispatch function for each in a task, and lets the committed offset follow the lowest event that
 * is not terminal. Loop thread only. */
#include "flow/latency.h"
#include "flow/port.h"
#include "vm/budget.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_deaths;
struct sip_engine;
struct sip_metrics_shard;
struct sip_tap;
struct sip_vm;

enum sip_order { SIP_ORDER_KEY, SIP_ORDER_PARTITION, SIP_ORDER_NONE };

/* A flow as a script declares it; copied by sip_engine_register, except for the references, which
 * are handed over. bind/flow_lua.c says what the functions get and answer. */
struct sip_flow_spec {
  struct sip_source_spec source;
  enum sip_order order;
  uint32_t concurrency;     /* events that run at once, at least 1 */
  uint32_t max_events;      /* taken and not finished, at least concurrency */
  size_t max_bytes;         /* of keys and values taken and not finished */
  uint32_t batch_events;    /* of a transaction, with source.transactional; at least 1 */
  uint64_t batch_ms;        /* likewise: a batch takes events for so long */
  uint64_t hold_dead_ms;    /* how long a key is held back after a dead letter; 0: it is not */
  const char *key_header;   /* the header that holds the key; NULL: none does */
  struct sip_limits limits; /* of one attempt */
  uint32_t deaths;          /* processes that may die while an event runs; 0: any number */
  bool outbox;              /* outputs go through the local disk */
  bool retries;             /* some of the topics are retry topics: due.h */
  int start_ref;            /* registry: runs an event for the first time, which it pushes by itself
                               (sip_task_start_own); LUA_NOREF: dispatch does */
  int context_ref;          /* registry: metatable of what start gets beside the event */
  int dispatch_ref;         /* registry: runs an event */
  int finish_ref;           /* registry: told of the terminal state; LUA_NOREF: nobody is */
  int
    drop_ref; /* registry: told of what is kept of an event that leaves unfinished; or LUA_NOREF */
  int keyer_ref; /* registry: key of a record; LUA_NOREF: the record's own */
};

struct sip_flow_status {
  const char *group; /* borrowed until the next change */
  const char *topic; /* borrowed likewise: the first one, or a pattern */
  bool assigned;     /* the group has answered since the source was opened */
  bool draining;
  bool outbox;                         /* its outputs do not wait for a broker */
  size_t partitions, running, waiting; /* waiting: taken and not running */
  size_t later;                        /* of these: in retry topics, and not due */
  size_t bytes;                        /* of the keys and values of what is taken and not later */
  uint64_t taken, finished, dead;      /* finished counts the dead ones too */
  uint64_t unfinished;                 /* given back without an outcome: they come again */
  uint64_t redelivered;                /* dispatched again, for any reason */
  uint64_t skipped;                    /* came again though it was finished, and was passed */
  uint64_t committed, aborted;         /* transactions */
  struct sip_latency latency;          /* of finished ones: from taken to ended */
  char error[256];                     /* the source's last error, "" since events came again */
};

/** @return 0 or a negative code */
int sip_engine_new(struct sip_engine **out, struct sip_vm *vm, struct sip_err *err);

/** Only when no flow is left (after a drain). NULL is fine. */
void sip_engine_free(struct sip_engine *engine);

/** Before the first commit. `port` is borrowed until free. */
void sip_engine_set_port(struct sip_engine *engine, const struct sip_port *port);

/** Who knows which events ran when a process died; borrowed until free. NULL: nobody. */
void sip_engine_set_deaths(struct sip_engine *engine, struct sip_deaths *deaths);

/** Where its flows count; the shard is borrowed until free. @return 0 or a negative code */
int sip_engine_set_metrics(struct sip_engine *engine, struct sip_metrics_shard *shard,
                           struct sip_err *err);

/** Who is shown the attempts of its flows; borrowed until free. NULL: nobody. */
void sip_engine_set_tap(struct sip_engine *engine, struct sip_tap *tap);

/** A load begins: what is registered from now on belongs to it. */
void sip_engine_begin(struct sip_engine *engine);

/** Called by sipeat.core.flow while a script loads. Two flows with one group and the same topics
 *  are an error. @return 0 or a negative code: nothing was taken over then */
int sip_engine_register(struct sip_engine *engine, const struct sip_flow_spec *spec,
                        struct sip_err *err);

/** The load succeeded: new flows open, those of the same group and topics go on with the new
 *  functions (what runs ends on the old ones), and those that are gone drain and close.
 *  @return 0; or a negative code when one could not be opened (UV_ECANCELED: a drain has begun):
 *  then all is as it was before, and what was registered is forgotten */
int sip_engine_commit(struct sip_engine *engine, struct sip_err *err);

/** The load failed: what it registered is forgotten. */
void sip_engine_rollback(struct sip_engine *engine);

/** Flows that were registered since begin. */
size_t sip_engine_pending(const struct sip_engine *engine);

/** Stops taking, lets what runs finish for at most `limit_ms`, stops the rest (uncommitted: it
 *  comes again), commits, leaves the groups. `on_done` follows, not from inside of this call.
 *  Called again, it shortens the limit (0: stop at once), and the first `on_done` counts. */
void sip_engine_drain(struct sip_engine *engine, uint64_t limit_ms, void (*on_done)(void *arg),
                      void *arg);

/** Fills up to `max` entries. @return how many flows there are */
size_t sip_engine_status(const struct sip_engine *engine, struct sip_flow_status *out, size_t max);

/** Every flow has an assignment (which may be empty), and no drain is under way. */
bool sip_engine_ready(const struct sip_engine *engine);

#endif
