#ifndef SIP_FLOW_PORT_H
#define SIP_FLOW_PORT_H
/* port.h - what the flow engine needs of a log of events; the Kafka driver fills it in and
 * modules.c connects the two.
 *
 * All calls and callbacks are on the loop thread, none blocks. A source is one member of one
 * consumer group. */
#include "core/base.h"
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_source; /* opaque: the driver's */

/* One event as it came. All pointers are borrowed from the driver until ops->release. */
struct sip_record {
  const char *topic; /* NUL-terminated */
  int32_t partition;
  int64_t offset;
  int64_t timestamp_ms;   /* since 1970-01-01 UTC; -1 when the broker gave none */
  bool log_append_time;   /* the broker's time of writing instead of the producer's */
  struct sip_slice key;   /* data NULL: no key */
  struct sip_slice value; /* data NULL: tombstone */
  void *message;          /* the driver's handle */
};

struct sip_header {
  const char *name;       /* NUL-terminated */
  struct sip_slice value; /* data NULL: null */
};

struct sip_partition {
  const char *topic; /* borrowed for the call */
  int32_t partition;
};

/* A partition that comes, and what the group committed of it. */
struct sip_assigned {
  struct sip_partition name;
  int64_t next_offset;       /* -1: nothing */
  struct sip_slice metadata; /* borrowed for the call; what ops->store was given, or another program
                                wrote */
};

enum sip_start_at { SIP_START_BEGINNING, SIP_START_END, SIP_START_TIME };

struct sip_source_spec {
  const char *group;
  const char *const *topics; /* names, or patterns that begin with ^ */
  size_t topic_count;
  enum sip_start_at start_at;       /* for partitions of which the group has no offset */
  int64_t start_ms;                 /* with SIP_START_TIME: ms since 1970-01-01 UTC */
  size_t ahead_events, ahead_bytes; /* what it may have polled and the owner not taken; 0: as the
                                       driver likes */
  const char *instance; /* static membership: who this member is across restarts; NULL: as the
                           settings say, mostly nobody */
  bool transactional;   /* `store` does nothing: offsets go with a transaction */
  bool has_siblings;    /* other workers of this process are members too */
};

/* What the source tells its owner. */
struct sip_source_sink {
  void (*on_readable)(void *owner); /* records wait: call take until it gives 0 */
  void (*on_assigned)(void *owner, const struct sip_assigned *partitions, size_t count);
  /* The partitions are about to go. Unless `lost`, they stay ours until the owner calls
   * ops->give_back: first store what is finished. Several revokes never overlap. */
  void (*on_revoked)(void *owner, const struct sip_partition *partitions, size_t count, bool lost);
  /* `fatal`: this source delivers nothing more and must be closed; with SIP_EFENCED another member
   * has taken its place, and opening it again would only chase that away. Otherwise the driver goes
   * on trying by itself. */
  void (*on_error)(void *owner, const struct sip_err *err, bool fatal);
  void (*on_closed)(void *owner); /* after ops->close: the source is gone */
  /* Every record below `offset` was taken, and when the broker was asked, there was none from there
   * on. Between the last record and that offset there may be a gap. NULL: the owner does not
   * care. */
  void (*on_end)(void *owner, const struct sip_partition *partition, int64_t offset);
};

struct sip_source_ops {
  /** @return 0, or a negative code with `err`: nothing was opened */
  int (*open)(void *driver, const struct sip_source_spec *spec, const struct sip_source_sink *sink,
              void *owner, struct sip_source **out, struct sip_err *err);
  /** Takes up to `max` records, which the owner releases one by one, in any order. @return how many
   */
  size_t (*take)(struct sip_source *source, struct sip_record *records, size_t max);
  void (*release)(struct sip_record *record);
  size_t (*header_count)(const struct sip_record *record);
  struct sip_header (*header)(const struct sip_record *record, size_t index);
  void (*pause)(struct sip_source *source, const struct sip_partition *partition);
  void (*resume)(struct sip_source *source, const struct sip_partition *partition);
  /** `next_offset` is the first one not finished. Committed within a second, or by commit; what
   *  cannot be is tried again. Stale partitions are ignored.
   *  @param metadata  UTF-8, committed with it; copied; NULL: none */
  void (*store)(struct sip_source *source, const struct sip_partition *partition,
                int64_t next_offset, const char *metadata);
  /** Commits what was stored, in the background. */
  void (*commit)(struct sip_source *source);
  /** The offset behind the partition's last record, as it was last heard of; -1: not heard yet. */
  int64_t (*end)(struct sip_source *source, const struct sip_partition *partition);
  /** Answer to on_revoked: commits what was stored, then lets the partitions go. */
  void (*give_back)(struct sip_source *source);
  /** Commits what was stored, leaves the group; on_closed follows. No other callback comes in
   * between, except on_revoked, which need not be answered then. */
  void (*close)(struct sip_source *source);
};

/** How one output ended: `status` 0 or negative with `err`; partition and offset of the written
 * record. */
typedef void (*sip_report_fn)(void *arg, int status, int32_t partition, int64_t offset,
                              const struct sip_err *err);

struct sip_output {
  const char *topic;
  struct sip_slice key, value; /* copied */
  const struct sip_header *headers;
  size_t header_count;
  int32_t partition;    /* -1: by the key */
  int64_t timestamp_ms; /* 0: now */
};

struct sip_producer_ops {
  /** Queues one record; `on_report` follows exactly once, on the loop thread, later than this call.
   *  @return 0; SIP_EQUEUEFULL: wait for a report, then repeat; another negative code with `err`:
   * refused for good */
  int (*send)(void *driver, const struct sip_output *output, sip_report_fn on_report, void *arg,
              struct sip_err *err);
  /** Only inside of a report of a failure: the record that was not written, borrowed until the
   * report returns, with the time and the partition left out. @return NULL when it is not known
   * any more. The function itself may be NULL: it is never known. */
  const struct sip_output *(*lost)(void *driver);
};

/* A way out for outputs: `driver` is passed to ops->send. */
struct sip_outlet {
  const struct sip_producer_ops *ops; /* NULL: there is none */
  void *driver;                       /* borrowed */
};

struct sip_transactor; /* opaque: the driver's: a producer whose outputs leave in transactions */

struct sip_next_offset {
  struct sip_partition partition;
  int64_t offset; /* the first one that is not finished */
};

/* What a transactor tells its owner; never from inside of one of its operations. */
struct sip_transactor_sink {
  /* A transaction is open, the first one or the next: what is sent from now on belongs to it.
   * Nothing of one that was aborted is on its way any more. */
  void (*on_open)(void *owner);
  void (*on_committed)(void *owner); /* on_open follows at once */
  /* The open transaction cannot be committed: answer with ops->roll_back. */
  void (*on_broken)(void *owner, const struct sip_err *err);
  /* Fenced, or of no use for another reason: answer with ops->close, and join the group anew. */
  void (*on_lost)(void *owner, const struct sip_err *err);
  void (*on_closed)(void *owner); /* after ops->close: it is gone, all reports have come */
};

struct sip_transactor_ops {
  /** on_open follows. @return 0, or a negative code with `err`: nothing was opened */
  int (*open)(void *driver, const char *group, const struct sip_transactor_sink *sink, void *owner,
              struct sip_transactor **out, struct sip_err *err);
  /** As struct sip_producer_ops; SIP_EQUEUEFULL also while no transaction is open. */
  int (*send)(struct sip_transactor *transactor, const struct sip_output *output,
              sip_report_fn on_report, void *arg, struct sip_err *err);
  /** All that was sent was reported. Commits it together with the offsets, in the name of the
   * member that `source` is now. */
  void (*commit)(struct sip_transactor *transactor, struct sip_source *source,
                 const struct sip_next_offset *offsets, size_t count);
  void (*roll_back)(struct sip_transactor *transactor);
  /** Aborts what is open, within seconds. */
  void (*close)(struct sip_transactor *transactor);
  /** How long a transaction may be open before the log ends it by itself. */
  uint64_t (*limit_ms)(const struct sip_transactor *transactor);
};

/* What modules.c hands to the engine. */
struct sip_port {
  const struct sip_source_ops *source;
  void *driver;               /* borrowed: passed to source->open and transactor->open */
  struct sip_outlet producer; /* idempotent */
  struct sip_outlet patient;  /* likewise, and a record never fails for want of time */
  struct sip_outlet outbox;   /* through the local disk; its ops may be NULL */
  const struct sip_transactor_ops *transactor; /* NULL: the log has no transactions */
};

#endif
