#ifndef SIP_KAFKA_SOURCE_STATE_H
#define SIP_KAFKA_SOURCE_STATE_H
/* source_state.h - a source's fields, for source.c and source_rebalance.c only. Loop thread. */
#include "core/list.h"
#include "core/work.h"
#include "flow/port.h"
#include "kafka/client.h"

#include <stdbool.h>

struct source_notice {
  rd_kafka_resp_err_t res;
  uint64_t topic_hash, at_ms; /* at_ms 0: empty */
};

enum { SOURCE_NOTICES = 8 };

/* A close goes through these in order; source_close.c says why. */
enum source_close {
  CLOSE_NOT,
  CLOSE_COMMITTING,
  CLOSE_JOINING,
  CLOSE_UNSUBSCRIBED,
  CLOSE_LEAVING,
  CLOSE_ENDED
};

struct sip_source {
  struct sip_client client;
  struct sip_list node; /* in sip_kafka_sources */
  struct sip_source_sink sink;
  void *owner;            /* borrowed: until on_closed */
  char *group, *instance; /* instance: NULL unless a static member */
  enum sip_start_at start_at;
  int64_t start_ms;

  struct sip_list ready; /* struct source_record: polled, not yet taken */
  size_t ready_count, ready_bytes;
  size_t ready_max, ready_bytes_max; /* polling stops there */
  size_t outstanding; /* records that exist, ready ones included; the client cannot end before they
                         are gone */
  struct sip_list spare; /* records to be used again: one is there before each poll, so that no
                            message is lost when memory is out */

  /* Partitions that are ours. offset: what is to be committed, RD_KAFKA_OFFSET_INVALID: nothing;
   * metadata goes with it. */
  rd_kafka_topic_partition_list_t *owned;
  int owned_at;         /* where the last one was found */
  size_t commits;       /* on their way */
  bool commit_again;    /* asked for meanwhile */
  uint64_t leave_by_ms; /* the partitions of the open revocation go, committed or not; 0: they are
                           not given back yet */
  rd_kafka_topic_partition_list_t *known; /* topics at their first lookup: offset is how many
                                             partitions there were. The lookup's. */
  rd_kafka_topic_partition_list_t *ends; /* partitions that were read to their end, and where it is:
                                            told once the owner has taken all records */

  rd_kafka_event_t *rebalance; /* owned: the assignment or revocation that is not answered yet */
  bool rebalance_begun;        /* the owner was told, or the partitions taken */
  bool in_revoke, given_back;  /* give_back within on_revoked is answered after it */
  struct sip_work lookup;      /* what the group committed is looked up on the pool */
  bool looking_up;
  int lookup_rc;
  struct sip_err lookup_err;

  char *topic;                   /* read directly, without the group; NULL: subscribed */
  struct sip_source_span *spans; /* directly, by partition: owned */
  size_t span_count;
  bool only_spans;
  bool assigned; /* directly: the partitions are known and taken */
  bool *at_eof;  /* directly: partitions that gave their last record, by number */
  size_t partition_count, eof_count;
  rd_kafka_topic_partition_list_t
    *found; /* directly: what the lookup found, until it is assigned */
  rd_kafka_resp_err_t found_res;

  uv_timer_t tick;               /* keeps polling while nothing comes, and limits the close */
  rd_kafka_queue_t *close_queue; /* where the group's last events come */
  uint64_t close_by_ms;          /* when the step of the close that runs now gives up */
  enum source_close close_step;
  bool assigned_once; /* librdkafka has had an assignment */
  bool removed;       /* a partition went from the cluster while it was read */
  bool closing, destroying;
  bool transactional; /* offsets go with a transaction */
  struct source_notice notices[SOURCE_NOTICES];
};

/** Takes an assignment or revocation over from the event queue. */
void sip_source_on_rebalance(struct sip_source *source, rd_kafka_event_t *event);

/** Answers what is not answered, whatever it is: the source is closing. */
void sip_source_settle(struct sip_source *source);

/** source_close.c: struct sip_source_ops.close, and its going on at each event and tick. */
void sip_source_close(struct sip_source *source);

/** Tries again what failed for want of memory or of an answer. */
void sip_source_continue_rebalance(struct sip_source *source);

/** struct sip_source_ops.give_back */
void sip_source_give_back(struct sip_source *source);

/* --- source_commit.c --- */

/** struct sip_source_ops.store and .commit */
void sip_source_store(struct sip_source *source, const struct sip_partition *partition,
                      int64_t next_offset, const char *metadata);
void sip_source_commit(struct sip_source *source);

/** The answer to a commit; the event stays the caller's. */
void sip_source_on_committed(struct sip_source *source, rd_kafka_event_t *event);

/** Whether something is stored and not committed, of the partitions of that list; NULL: of any. */
bool sip_source_commits(const struct sip_source *source,
                        const rd_kafka_topic_partition_list_t *only);

/** A partition was read to its end; the owner is told when it has taken what was polled. */
void sip_source_on_eof(struct sip_source *source, const rd_kafka_topic_partition_t *end);
void sip_source_tell_ends(struct sip_source *source);

/** Partitions come, and go: NULL is all of them. */
void sip_source_own(struct sip_source *source, const rd_kafka_topic_partition_list_t *list);
void sip_source_disown(struct sip_source *source, const rd_kafka_topic_partition_list_t *list);

/** source_rebalance.c: lets partitions go that were given back, once they are committed or late. */
void sip_source_look_at_leaving(struct sip_source *source);

/** Lets go of the partitions of `list`; everything with the eager protocol. */
void sip_source_unassign(struct sip_source *source, const rd_kafka_topic_partition_list_t *list);

/** Drops records of these partitions that the owner has not taken. */
void sip_source_drop_ready(struct sip_source *source, const rd_kafka_topic_partition_list_t *list);

enum { SIP_SOURCE_OWN_MAX = 6 };

/** Everything that opening has in common; subscribe or assign, then sip_source_start.
 * @param properties  what this kind of source sets besides; up to SIP_SOURCE_OWN_MAX
 * @return 0 or a negative code */
int sip_source_create(struct sip_source **out, struct sip_kafka *kafka, const char *group,
                      const struct sip_client_property *properties, size_t count,
                      const struct sip_source_sink *sink, void *owner, struct sip_err *err);
void sip_source_start(struct sip_source *source);

/** What waits for librdkafka's threads is looked at again in some milliseconds. */
void sip_source_tick_soon(struct sip_source *source);
void sip_source_free(struct sip_source *source);

/** How many partitions a topic has. Blocks. */
rd_kafka_resp_err_t sip_source_count(struct sip_source *source, const char *topic, int *count);

/** source_direct.c: looks the partitions up, unless they are known. */
void sip_source_continue_direct(struct sip_source *source);
void sip_source_on_direct_eof(struct sip_source *source, int32_t partition);

/** A record came. @return false when it lies beyond the end of its span: it is not given */
bool sip_source_on_record(struct sip_source *source, int32_t partition, int64_t offset);

/** The record was kept; perhaps it is the last one of its span. */
void sip_source_after_record(struct sip_source *source, int32_t partition, int64_t offset);

/** Tells the owner, unless the same was told within a minute. */
void sip_source_tell(struct sip_source *source, rd_kafka_resp_err_t res, const char *topic,
                     const struct sip_err *err, bool fatal);

/** source_close.c: goes on with a close that waited for something. */
void sip_source_advance_close(struct sip_source *source);

#endif
