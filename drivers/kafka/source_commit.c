/* source_commit.c - how far the partitions of a group are: commits with metadata, and their ends.
 *
 * librdkafka's own way (storing offsets, committing them at an interval) loses the metadata in
 * 2.0.2, so commits are explicit, one at a time. librdkafka commits whatever it is given, whoever
 * owns it: only what is ours is kept here, and it is forgotten when it goes. */
#include "kafka/errors.h"
#include "kafka/source_state.h"

#include <stdlib.h>
#include <string.h>

static rd_kafka_topic_partition_t *owned_find(struct sip_source *source, const char *topic,
                                              int32_t partition)
{
  rd_kafka_topic_partition_list_t *owned = source->owned;

  for (int i = 0; i < owned->cnt; i++) { /* the owner mostly goes through them in order */
    int at = (source->owned_at + i) % owned->cnt;

    if (owned->elems[at].partition == partition && strcmp(owned->elems[at].topic, topic) == 0) {
      source->owned_at = at + 1;
      return &owned->elems[at];
    }
  }
  return NULL;
}

/* `metadata` is handed over: malloc is what librdkafka's rd_malloc is. */
static void elem_set(rd_kafka_topic_partition_t *elem, int64_t offset, char *metadata)
{
  free(elem->metadata);
  elem->metadata = metadata;
  elem->metadata_size = metadata == NULL ? 0 : strlen(metadata);
  elem->offset = offset;
}

void sip_source_store(struct sip_source *source, const struct sip_partition *partition,
                      int64_t next_offset, const char *metadata)
{
  rd_kafka_topic_partition_t *elem = NULL;

  if (!source->closing && !source->transactional) {
    elem = owned_find(source, partition->topic, partition->partition);
  }
  if (elem != NULL) { /* without memory for the metadata the offset alone has to do */
    elem_set(elem, next_offset, metadata == NULL || metadata[0] == '\0' ? NULL : strdup(metadata));
  }
}

bool sip_source_commits(const struct sip_source *source,
                        const rd_kafka_topic_partition_list_t *only)
{
  for (int i = 0; i < source->owned->cnt; i++) {
    const rd_kafka_topic_partition_t *elem = &source->owned->elems[i];

    if (elem->offset >= 0 && (only == NULL || rd_kafka_topic_partition_list_find(
                                                only, elem->topic, elem->partition) != NULL)) {
      return true;
    }
  }
  return source->commits > 0;
}

/* A commit that is sent while the group makes a new generation is answered after it, with
 * ILLEGAL_GENERATION, and then librdkafka gives up all that it has as lost: it is sent later. */
void sip_source_commit(struct sip_source *source)
{
  rd_kafka_topic_partition_list_t *list;

  if (source->commits > 0) {
    source->commit_again = true;
    return;
  }
  if (sip_client_unsettled(&source->client)) {
    sip_source_tick_soon(source);
    return;
  }
  source->commit_again = false;
  /* With the assignment lost, they are somebody else's already. */
  if (!sip_source_commits(source, NULL) || rd_kafka_assignment_lost(source->client.rk) != 0) {
    return;
  }
  list = rd_kafka_topic_partition_list_new(source->owned->cnt);
  for (int i = 0; i < source->owned->cnt; i++) {
    rd_kafka_topic_partition_t *elem = &source->owned->elems[i], *copy;

    if (elem->offset >= 0) {
      copy = rd_kafka_topic_partition_list_add(list, elem->topic, elem->partition);
      copy->offset = elem->offset;
      copy->metadata = elem->metadata; /* handed over */
      copy->metadata_size = elem->metadata_size;
      elem->metadata = NULL;
      elem_set(elem, RD_KAFKA_OFFSET_INVALID, NULL);
    }
  }
  /* Fails only on a handle without a group. The answer comes on the queue that is polled. */
  if (rd_kafka_commit_queue(source->client.rk, list, source->client.queue, NULL, NULL) ==
      RD_KAFKA_RESP_ERR_NO_ERROR) {
    source->commits++;
  }
  rd_kafka_topic_partition_list_destroy(list);
}

/* The member is none of the group's any more: what it had is lost, and a revocation follows. */
static bool is_lost(rd_kafka_resp_err_t res)
{
  return res == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
         res == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID || res == RD_KAFKA_RESP_ERR__FATAL;
}

/* These pass by themselves, and others tell of them. A generation that ended while the commit was
 * on its way is one of them: where no revocation follows, the member keeps the partition in the
 * next one (librdkafka revokes all, unless it is rebalancing already). */
static bool is_passing(rd_kafka_resp_err_t res)
{
  return res == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
         res == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || res == RD_KAFKA_RESP_ERR__WAIT_COORD ||
         sip_kafka_err_is_coordinator(res) || sip_kafka_err_is_connection(res);
}

/* Whether the open rebalance takes it away. */
static bool is_leaving(const struct sip_source *source, const rd_kafka_topic_partition_t *elem)
{
  const rd_kafka_topic_partition_list_t *list =
    source->leave_by_ms == 0 ? NULL : rd_kafka_event_topic_partition_list(source->rebalance);

  return list != NULL &&
         rd_kafka_topic_partition_list_find(list, elem->topic, elem->partition) != NULL;
}

/* Keeps for the next time what was not committed, unless there is something newer. */
static void commit_failed(struct sip_source *source, const rd_kafka_topic_partition_t *failed,
                          rd_kafka_resp_err_t res)
{
  rd_kafka_topic_partition_t *elem = owned_find(source, failed->topic, failed->partition);
  bool too_large = res == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
  struct sip_err err;

  /* Not before it has left is there another generation. */
  if (elem == NULL || is_lost(res) ||
      (res == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION && is_leaving(source, elem))) {
    return;
  }
  if (elem->offset < 0) {
    elem_set(elem, failed->offset,
             failed->metadata == NULL || too_large
               ? NULL
               : strndup(failed->metadata, failed->metadata_size)); /* it has no end of its own */
  }
  if (!is_passing(res)) {
    (void)sip_kafka_err(&err, res, NULL, "group %s: commit offset %lld of %s partition %d%s",
                        source->group, (long long)failed->offset, failed->topic,
                        (int)failed->partition,
                        too_large ? " (the broker's offset.metadata.max.bytes is below 4096: what "
                                    "is finished beyond it is not kept)"
                                  : "");
    sip_source_tell(source, res, failed->topic, &err, false);
  }
}

void sip_source_on_committed(struct sip_source *source, rd_kafka_event_t *event)
{
  rd_kafka_resp_err_t all = rd_kafka_event_error(event);
  const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

  source->commits--;
  for (int i = 0; list != NULL && i < list->cnt; i++) {
    if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      all = RD_KAFKA_RESP_ERR_NO_ERROR; /* it is that of one of them */
    }
  }
  for (int i = 0; list != NULL && i < list->cnt; i++) {
    rd_kafka_resp_err_t res = list->elems[i].err;

    res = res == RD_KAFKA_RESP_ERR_NO_ERROR ? all : res;
    if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
      commit_failed(source, &list->elems[i], res);
    }
  }
  if (source->commit_again) {
    sip_source_commit(source);
  }
}

void sip_source_on_eof(struct sip_source *source, const rd_kafka_topic_partition_t *end)
{
  if (source->topic != NULL) {
    sip_source_on_direct_eof(source, end->partition);
  } else if (source->sink.on_end != NULL) {
    (void)rd_kafka_topic_partition_list_del(source->ends, end->topic, end->partition);
    rd_kafka_topic_partition_list_add(source->ends, end->topic, end->partition)->offset =
      end->offset;
  }
}

void sip_source_tell_ends(struct sip_source *source)
{
  while (source->ends->cnt > 0) {
    rd_kafka_topic_partition_t *end = &source->ends->elems[source->ends->cnt - 1];
    struct sip_partition name = { end->topic, end->partition };

    source->sink.on_end(source->owner, &name, end->offset);
    (void)rd_kafka_topic_partition_list_del_by_idx(source->ends, source->ends->cnt - 1); /* 1 */
  }
}

void sip_source_own(struct sip_source *source, const rd_kafka_topic_partition_list_t *list)
{
  for (int i = 0; i < list->cnt; i++) {
    if (owned_find(source, list->elems[i].topic, list->elems[i].partition) == NULL) {
      rd_kafka_topic_partition_list_add(source->owned, list->elems[i].topic,
                                        list->elems[i].partition)
        ->offset = RD_KAFKA_OFFSET_INVALID;
    }
  }
}

void sip_source_disown(struct sip_source *source, const rd_kafka_topic_partition_list_t *list)
{
  if (list == NULL) {
    while (source->owned->cnt > 0) {
      (void)rd_kafka_topic_partition_list_del_by_idx(source->owned, source->owned->cnt - 1); /* 1 */
    }
  }
  for (int i = 0; list != NULL && i < list->cnt; i++) {
    (void)rd_kafka_topic_partition_list_del(source->owned, list->elems[i].topic,
                                            list->elems[i].partition); /* 0: was not ours */
    (void)rd_kafka_topic_partition_list_del(source->ends, list->elems[i].topic,
                                            list->elems[i].partition);
  }
  source->owned_at = 0;
}
