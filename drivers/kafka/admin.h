#ifndef SIP_KAFKA_ADMIN_H
#define SIP_KAFKA_ADMIN_H
/* admin.h - topics and groups: list, show, create, delete, reset.
 *
 * Every function blocks (up to its timeout for each request): call it before a loop runs, or from
 * the work pool. An admin may be used by one thread at a time. librdkafka's mock cluster, which the
 * embedded broker is, has no admin requests: topics are then made by asking for them (4
 * partitions), groups are seen through their committed offsets, and what cannot be had fails with
 * UV_ENOTSUP, "_UNSUPPORTED_FEATURE". */
#include "core/err.h"
#include "kafka/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_kafka_admin;

/** @return 0 or a negative code. Does not connect yet. `timeout_ms` is for each request; 0: 10,000
 */
int sip_kafka_admin_open(struct sip_kafka_admin **out, const struct sip_kafka_settings *settings,
                         int timeout_ms, struct sip_err *err);
void sip_kafka_admin_close(struct sip_kafka_admin *admin); /* accepts NULL */

struct sip_kafka_config {
  const char *name, *value;
};

struct sip_kafka_new_topic {
  const char *name;
  int partitions;  /* 0: the broker's default */
  int replication; /* 0: the broker's default */
  const struct sip_kafka_config *config;
  size_t config_count;
};

/** Creates the topic and waits until its partitions have leaders. `*partitions` is how many it has:
 * on an embedded broker not always as many as wanted. @return 0, SIP_EEXISTS, SIP_EAUTH, UV_EINVAL,
 * UV_ETIMEDOUT, SIP_EKAFKA */
int sip_kafka_admin_create_topic(struct sip_kafka_admin *admin,
                                 const struct sip_kafka_new_topic *topic, int *partitions,
                                 struct sip_err *err);

/** @return 0, SIP_ENOTFOUND, UV_ENOTSUP, … */
int sip_kafka_admin_delete_topic(struct sip_kafka_admin *admin, const char *name,
                                 struct sip_err *err);

struct sip_kafka_partition_info {
  int32_t id, leader; /* leader -1: none */
  int replicas, in_sync;
  int64_t low,
    high; /* first offset and the one that comes next; -1 when not asked for or not known */
};

struct sip_kafka_topic_info {
  char *name;
  struct sip_kafka_partition_info *partitions;
  size_t partition_count;
};

struct sip_kafka_topic_list {
  struct sip_kafka_topic_info *topics; /* by name */
  size_t count;
};

/** All topics, or only the one called `name` (SIP_ENOTFOUND when it is missing). With `offsets`,
 * low and high of each partition that has a leader are asked for. The caller frees the list. */
int sip_kafka_admin_topics(struct sip_kafka_admin *admin, const char *name, bool offsets,
                           struct sip_kafka_topic_list **out, struct sip_err *err);
void sip_kafka_topic_list_free(struct sip_kafka_topic_list *list); /* accepts NULL */

/** Sets `low` of each partition of the topic to the offset of its first record from that time on,
 * in ms since 1970-01-01 UTC; -1 where there is none. UV_ENOTSUP on an embedded broker. */
int sip_kafka_admin_offsets_at(struct sip_kafka_admin *admin, const char *name, int64_t ms,
                               struct sip_kafka_topic_list **out, struct sip_err *err);

struct sip_kafka_group_info {
  char *name;
  char *state; /* "Stable", "Empty", …; "unknown" on an embedded broker */
  size_t members;
};

struct sip_kafka_group_list {
  struct sip_kafka_group_info *groups; /* by name */
  size_t count;
};

/** All groups, or only `name`, which then is there even when the cluster does not know it (state
 * "Dead"). Without a name, UV_ENOTSUP on an embedded broker. */
int sip_kafka_admin_groups(struct sip_kafka_admin *admin, const char *name,
                           struct sip_kafka_group_list **out, struct sip_err *err);
void sip_kafka_group_list_free(struct sip_kafka_group_list *list); /* accepts NULL */

/** As groups, of each of these names, in their order. */
int sip_kafka_admin_groups_named(struct sip_kafka_admin *admin, char *const *names, size_t count,
                                 struct sip_kafka_group_list **out, struct sip_err *err);

struct sip_kafka_offset_info {
  char *topic;
  int32_t partition;
  int64_t committed; /* -1: none */
  int64_t low, high;
  int64_t lag; /* records that are not finished: high - committed, or high - low without a commit */
  int64_t target; /* of a reset: where it goes; -1 otherwise */
};

struct sip_kafka_offset_list {
  struct sip_kafka_offset_info *offsets; /* by topic and partition */
  size_t count;
};

/** Where each of the groups stands in each partition of which it has a committed offset, and in all
 * partitions of those topics: `(*out)[i]` is of the i-th group, and empty when that never
 * committed. The caller frees the array and what is in it. */
int sip_kafka_admin_group_offsets(struct sip_kafka_admin *admin,
                                  const struct sip_kafka_group_list *groups,
                                  struct sip_kafka_offset_list ***out, struct sip_err *err);
void sip_kafka_offset_lists_free(struct sip_kafka_offset_list **lists, size_t count); /* likewise */
void sip_kafka_offset_list_free(struct sip_kafka_offset_list *list); /* accepts NULL */

enum sip_kafka_reset_to { SIP_RESET_BEGINNING, SIP_RESET_END, SIP_RESET_OFFSET, SIP_RESET_TIME };

/** Moves the group in all partitions of `topic`; `value` is the offset, or ms since 1970-01-01 UTC.
 * Offsets outside of what the topic has are moved to its nearest end. The group must have no
 * running members (SIP_EBUSY). `*out`, which may be NULL, gets where the group stands then. */
int sip_kafka_admin_reset_group(struct sip_kafka_admin *admin, const char *group, const char *topic,
                                enum sip_kafka_reset_to to, int64_t value,
                                struct sip_kafka_offset_list **out, struct sip_err *err);

/** What a reset would do: where the group stands in `topic`, and `target`. Changes nothing. */
int sip_kafka_admin_reset_plan(struct sip_kafka_admin *admin, const char *group, const char *topic,
                               enum sip_kafka_reset_to to, int64_t value,
                               struct sip_kafka_offset_list **out, struct sip_err *err);

struct sip_kafka_member {
  char *id, *client_id, *host;
  struct sip_kafka_offset_info *partitions; /* topic and partition count */
  size_t partition_count;
};

struct sip_kafka_member_list {
  char *protocol; /* how partitions are assigned; "" when there are no members */
  struct sip_kafka_member *members;
  size_t count;
};

/** Who is in the group, and which partitions each has. UV_ENOTSUP on an embedded broker. */
int sip_kafka_admin_members(struct sip_kafka_admin *admin, const char *group,
                            struct sip_kafka_member_list **out, struct sip_err *err);
void sip_kafka_member_list_free(struct sip_kafka_member_list *list); /* accepts NULL */

struct sip_kafka_broker {
  int32_t id;
  char *host;
  int port;
  size_t leaders, replicas; /* partitions */
};

struct sip_kafka_cluster {
  char *id;           /* "" when it is not known */
  int32_t controller; /* -1: not known */
  bool embedded;
  struct sip_kafka_broker *brokers; /* by id */
  size_t count;
};

int sip_kafka_admin_cluster(struct sip_kafka_admin *admin, struct sip_kafka_cluster **out,
                            struct sip_err *err);
void sip_kafka_cluster_free(struct sip_kafka_cluster *cluster); /* accepts NULL */

struct sip_kafka_setting {
  char *name, *value; /* value: NULL when it is not told */
  const char *source; /* "topic", "broker", "default" or "other"; static */
  bool is_default, read_only, sensitive;
};

struct sip_kafka_setting_list {
  struct sip_kafka_setting *settings; /* by name */
  size_t count;
};

/** The configuration of a topic, or of the broker with that id. UV_ENOTSUP on an embedded broker.
 */
int sip_kafka_admin_configuration(struct sip_kafka_admin *admin, bool of_broker, const char *name,
                                  struct sip_kafka_setting_list **out, struct sip_err *err);
void sip_kafka_setting_list_free(struct sip_kafka_setting_list *list); /* accepts NULL */

#endif
