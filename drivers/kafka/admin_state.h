#ifndef SIP_KAFKA_ADMIN_STATE_H
#define SIP_KAFKA_ADMIN_STATE_H
/* admin_state.h - what admin.c, admin_topics.c and admin_groups.c share. One thread at a time. */
#include "kafka/admin.h"
#include "kafka/refusal.h"

#include <librdkafka/rdkafka.h>

struct sip_kafka_admin {
  rd_kafka_t *rk;
  rd_kafka_queue_t *queue;             /* where admin answers come */
  struct sip_kafka_settings *settings; /* for the clients that act for a group */
  int timeout_ms;
  struct sip_refusal refusal;
  char reason[256]; /* the newest connection failure, for errors that say only "timed out" */
};

/** A client with these settings. `group` NULL: a producer. @return NULL with `err` filled */
rd_kafka_t *sip_admin_client(struct sip_kafka_admin *admin, const char *group, struct sip_err *err);

/** As sip_kafka_err, with the newest connection failure as the reason where librdkafka has none to
 * give. */
int sip_admin_err(struct sip_kafka_admin *admin, struct sip_err *err, rd_kafka_resp_err_t res,
                  const char *why, const char *what, const char *name);

/** Waits for the answer of an admin request. @return NULL with `err` filled; the caller destroys
 * the event */
rd_kafka_event_t *sip_admin_wait(struct sip_kafka_admin *admin, const char *what, const char *name,
                                 struct sip_err *err);

struct sip_admin_range {
  int64_t low, high; /* -1 each when they cannot be had */
};

/** The ranges of the partitions of `list`, in its order: two requests to each leader. The caller
 * frees them. @return NULL when memory is out */
struct sip_admin_range *sip_admin_ranges(struct sip_kafka_admin *admin,
                                         const rd_kafka_topic_partition_list_t *list);

/** Sets the offsets in `list` to those of the same partitions in `from`; RD_KAFKA_OFFSET_INVALID
 * where it has none. Fast when both are in the same order. */
void sip_admin_take_offsets(rd_kafka_topic_partition_list_t *list,
                            const rd_kafka_topic_partition_list_t *from);

/** The partitions of `topic`, or of all topics but Kafka's own with NULL, sorted. NULL with `err`.
 */
rd_kafka_topic_partition_list_t *sip_admin_partitions(struct sip_kafka_admin *admin,
                                                      const char *topic, struct sip_err *err);

/** Asks for what the group has committed in the partitions of `list`, and puts it there. */
int sip_admin_committed(struct sip_kafka_admin *admin, const char *group,
                        rd_kafka_topic_partition_list_t *list, struct sip_err *err);

/** Turns committed offsets into what the caller sees: all partitions with `all`, else those of
 * topics in which there are some. */
int sip_admin_report(struct sip_kafka_admin *admin,
                     const rd_kafka_topic_partition_list_t *committed, bool all,
                     struct sip_kafka_offset_list **out, struct sip_err *err);

/** The offsets for a time, or RD_KAFKA_OFFSET_BEGINNING or _END, of the partitions of `list`. */
rd_kafka_resp_err_t sip_admin_offsets_for(struct sip_kafka_admin *admin,
                                          rd_kafka_topic_partition_list_t *list, int64_t at);

#endif
