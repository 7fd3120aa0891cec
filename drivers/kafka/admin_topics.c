/* admin_topics.c - topics: metadata, creation, deletion. Blocks; one thread at a time. */
#include "kafka/admin_state.h"
#include "kafka/errors.h"

#include <stdlib.h>
#include <string.h>

enum { TOPIC_POLL_MS = 50 };

/* Metadata of one topic, or of all with name NULL. NULL with `err` filled. */
static const struct rd_kafka_metadata *topic_metadata(struct sip_kafka_admin *admin,
                                                      const char *what, const char *name,
                                                      struct sip_err *err)
{
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_topic_t *topic = NULL;
  rd_kafka_resp_err_t res;

  if (name != NULL) {
    topic = rd_kafka_topic_new(admin->rk, name, NULL);
    if (topic == NULL) {
      (void)sip_admin_err(admin, err, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, NULL, what, name);
      return NULL;
    }
  }
  res = rd_kafka_metadata(admin->rk, name == NULL, topic, &metadata, admin->timeout_ms);
  if (topic != NULL) {
    rd_kafka_topic_destroy(topic);
  }
  if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    (void)sip_admin_err(admin, err, res, NULL, what, name);
    return NULL;
  }
  return metadata;
}

/* Partitions with a leader of a topic that exists or is being made; asking makes it on a broker
 * that does so.
 * @return how many, 0 when there is none yet, negative with `err` */
static int topic_ask(struct sip_kafka_admin *admin, const char *name, struct sip_err *err)
{
  const struct rd_kafka_metadata *metadata = topic_metadata(admin, "create topic", name, err);
  int count = 0;

  if (metadata == NULL) {
    return err->code;
  }
  if (metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    count = metadata->topics[0].partition_cnt;
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
      if (metadata->topics[0].partitions[i].leader < 0) {
        count = 0;
      }
    }
  }
  rd_kafka_metadata_destroy(metadata);
  return count;
}

static int topic_await(struct sip_kafka_admin *admin, const char *name, int *partitions,
                       struct sip_err *err)
{
  for (int waited_ms = 0; waited_ms <= admin->timeout_ms; waited_ms += TOPIC_POLL_MS) {
    int count = topic_ask(admin, name, err);
    rd_kafka_event_t *event;

    if (count != 0) {
      if (count > 0 && partitions != NULL) {
        *partitions = count;
      }
      return count < 0 ? count : 0;
    }
    /* Nothing comes on this queue now: it serves as a pause. */
    event = rd_kafka_queue_poll(admin->queue, TOPIC_POLL_MS);
    if (event != NULL) {
      rd_kafka_event_destroy(event);
    }
  }
  return sip_admin_err(admin, err, RD_KAFKA_RESP_ERR__TIMED_OUT,
                       "its partitions have no leader yet", "create topic", name);
}

/* True when the topic is there. */
static bool topic_exists(struct sip_kafka_admin *admin, const char *name)
{
  struct sip_kafka_topic_list *list = NULL;
  bool exists = false;

  if (sip_kafka_admin_topics(admin, NULL, false, &list, NULL) < 0) {
    return false;
  }
  for (size_t i = 0; i < list->count; i++) {
    exists = exists || strcmp(list->topics[i].name, name) == 0;
  }
  sip_kafka_topic_list_free(list);
  return exists;
}

/* Sends CreateTopics. @return 0, or a negative code with `err` */
static int topic_request(struct sip_kafka_admin *admin, const struct sip_kafka_new_topic *topic,
                         struct sip_err *err)
{
  char why[256];
  int partitions = topic->partitions == 0 ? -1 : topic->partitions;
  rd_kafka_NewTopic_t *request = rd_kafka_NewTopic_new(
    topic->name, partitions, topic->replication == 0 ? -1 : topic->replication, why, sizeof why);
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;
  const rd_kafka_topic_result_t **results;
  rd_kafka_AdminOptions_t *options;
  rd_kafka_event_t *event;
  size_t count = 0;
  int rc = 0;

  if (request == NULL) {
    return sip_err_set(err, UV_EINVAL, "create topic %s: %s", topic->name, why);
  }
  for (size_t i = 0; res == RD_KAFKA_RESP_ERR_NO_ERROR && i < topic->config_count; i++) {
    res = rd_kafka_NewTopic_set_config(request, topic->config[i].name, topic->config[i].value);
  }
  options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
  (void)rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, NULL, 0);
  (void)rd_kafka_AdminOptions_set_operation_timeout(options, admin->timeout_ms, NULL, 0);
  rd_kafka_CreateTopics(admin->rk, &request, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_NewTopic_destroy(request);
  event = sip_admin_wait(admin, "create topic", topic->name, err);
  if (event == NULL) {
    return err->code;
  }
  results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  if (count == 1 && rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rc = sip_admin_err(admin, err, rd_kafka_topic_result_error(results[0]),
                       rd_kafka_topic_result_error_string(results[0]), "create topic", topic->name);
  }
  rd_kafka_event_destroy(event);
  return rc;
}

int sip_kafka_admin_create_topic(struct sip_kafka_admin *admin,
                                 const struct sip_kafka_new_topic *topic, int *partitions,
                                 struct sip_err *err)
{
  struct sip_err local;
  int rc;

  err = err == NULL ? &local : err;
  if (!sip_kafka_is_embedded(admin->rk, admin->timeout_ms)) {
    rc = topic_request(admin, topic, err);
  } else if (topic_exists(admin, topic->name)) {
    return sip_admin_err(admin, err, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, NULL, "create topic",
                         topic->name);
  } else {
    rc = 0; /* it makes a topic that is asked for */
  }
  return rc < 0 ? rc : topic_await(admin, topic->name, partitions, err);
}

int sip_kafka_admin_delete_topic(struct sip_kafka_admin *admin, const char *name,
                                 struct sip_err *err)
{
  rd_kafka_DeleteTopic_t *request;
  const rd_kafka_topic_result_t **results;
  rd_kafka_AdminOptions_t *options;
  struct sip_err local;
  rd_kafka_event_t *event;
  size_t count = 0;
  int rc = 0;

  err = err == NULL ? &local : err;
  if (sip_kafka_is_embedded(admin->rk, admin->timeout_ms)) {
    return sip_kafka_err(err, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, NULL, "delete topic %s",
                         name);
  }
  request = rd_kafka_DeleteTopic_new(name);
  options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_DELETETOPICS);
  (void)rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, NULL, 0);
  (void)rd_kafka_AdminOptions_set_operation_timeout(options, admin->timeout_ms, NULL, 0);
  rd_kafka_DeleteTopics(admin->rk, &request, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_DeleteTopic_destroy(request);
  event = sip_admin_wait(admin, "delete topic", name, err);
  if (event == NULL) {
    return err->code;
  }
  results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
  if (count == 1 && rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rc = sip_admin_err(admin, err, rd_kafka_topic_result_error(results[0]),
                       rd_kafka_topic_result_error_string(results[0]), "delete topic", name);
  }
  rd_kafka_event_destroy(event);
  return rc;
}

void sip_kafka_topic_list_free(struct sip_kafka_topic_list *list)
{
  if (list == NULL) {
    return;
  }
  for (size_t i = 0; i < list->count; i++) {
    free(list->topics[i].name);
    free(list->topics[i].partitions);
  }
  free(list->topics);
  free(list);
}

static int topic_compare(const void *a, const void *b)
{
  return strcmp(((const struct sip_kafka_topic_info *)a)->name,
                ((const struct sip_kafka_topic_info *)b)->name);
}

static int topic_fill(struct sip_kafka_topic_info *info, const struct rd_kafka_metadata_topic *from)
{
  info->name = strdup(from->topic);
  info->partitions = calloc((size_t)from->partition_cnt + 1, sizeof *info->partitions);
  if (info->name == NULL || info->partitions == NULL) {
    return UV_ENOMEM;
  }
  info->partition_count = (size_t)from->partition_cnt;
  for (int i = 0; i < from->partition_cnt; i++) {
    info->partitions[i] =
      (struct sip_kafka_partition_info){ .id = from->partitions[i].id,
                                         .leader = from->partitions[i].leader,
                                         .replicas = from->partitions[i].replica_cnt,
                                         .in_sync = from->partitions[i].isr_cnt,
                                         .low = -1,
                                         .high = -1 };
  }
  return 0;
}

/* The partitions of the list that have a leader. */
static rd_kafka_topic_partition_list_t *topic_partitions(const struct sip_kafka_topic_list *list)
{
  rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(16);

  for (size_t i = 0; i < list->count; i++) {
    for (size_t p = 0; p < list->topics[i].partition_count; p++) {
      if (list->topics[i].partitions[p].leader >= 0) {
        rd_kafka_topic_partition_list_add(partitions, list->topics[i].name,
                                          list->topics[i].partitions[p].id);
      }
    }
  }
  return partitions;
}

/* Asks for low and high of all of them. */
static int topic_ranges(struct sip_kafka_admin *admin, struct sip_kafka_topic_list *list)
{
  rd_kafka_topic_partition_list_t *partitions = topic_partitions(list);
  struct sip_admin_range *ranges = sip_admin_ranges(admin, partitions);
  bool known = ranges != NULL;
  int at = 0;

  for (size_t i = 0; known && i < list->count; i++) {
    for (size_t p = 0; p < list->topics[i].partition_count; p++) {
      struct sip_kafka_partition_info *partition = &list->topics[i].partitions[p];

      if (partition->leader >= 0) {
        partition->low = ranges[at].low;
        partition->high = ranges[at++].high;
      }
    }
  }
  rd_kafka_topic_partition_list_destroy(partitions);
  free(ranges);
  return known ? 0 : UV_ENOMEM;
}

int sip_kafka_admin_topics(struct sip_kafka_admin *admin, const char *name, bool offsets,
                           struct sip_kafka_topic_list **out, struct sip_err *err)
{
  /* All topics are asked for even when one is wanted: asking for one makes it where brokers create
   * topics. */
  const struct rd_kafka_metadata *metadata = topic_metadata(admin, "list topics", NULL, err);
  struct sip_kafka_topic_list *list = NULL;
  int rc = 0;

  if (metadata == NULL) {
    return err == NULL ? SIP_EKAFKA : err->code;
  }
  list = calloc(1, sizeof *list);
  if (list != NULL) {
    list->topics = calloc((size_t)metadata->topic_cnt + 1, sizeof *list->topics);
  }
  if (list == NULL || list->topics == NULL) {
    rc = UV_ENOMEM;
  }
  for (int i = 0; rc == 0 && i < metadata->topic_cnt; i++) {
    if (name == NULL || strcmp(metadata->topics[i].topic, name) == 0) {
      rc = topic_fill(&list->topics[list->count++], &metadata->topics[i]);
    }
  }
  rd_kafka_metadata_destroy(metadata);
  if (rc < 0) {
    sip_kafka_topic_list_free(list);
    return sip_err_set(err, rc, "list topics: out of memory");
  }
  if (name != NULL && list->count == 0) {
    sip_kafka_topic_list_free(list);
    return sip_admin_err(admin, err, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, NULL, "topic", name);
  }
  qsort(list->topics, list->count, sizeof *list->topics, topic_compare);
  if (offsets && topic_ranges(admin, list) < 0) {
    sip_kafka_topic_list_free(list);
    return sip_err_set(err, UV_ENOMEM, "list topics: out of memory");
  }
  *out = list;
  return 0;
}

int sip_kafka_admin_offsets_at(struct sip_kafka_admin *admin, const char *name, int64_t ms,
                               struct sip_kafka_topic_list **out, struct sip_err *err)
{
  struct sip_kafka_topic_list *list = NULL;
  rd_kafka_topic_partition_list_t *partitions, *found;
  rd_kafka_resp_err_t res;
  int rc, at = 0;

  if (sip_kafka_is_embedded(admin->rk, admin->timeout_ms)) {
    return sip_kafka_err(err, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, NULL,
                         "offsets of %s at a time", name);
  }
  rc = sip_kafka_admin_topics(admin, name, false, &list, err);
  if (rc < 0) {
    return rc;
  }
  partitions = topic_partitions(list);
  found = rd_kafka_topic_partition_list_copy(partitions);
  res = sip_admin_offsets_for(admin, found, ms);
  sip_admin_take_offsets(partitions, found);
  rd_kafka_topic_partition_list_destroy(found);
  for (size_t p = 0; p < list->topics[0].partition_count; p++) {
    if (list->topics[0].partitions[p].leader >= 0) {
      int64_t offset = partitions->elems[at++].offset;

      list->topics[0].partitions[p].low = offset < 0 ? -1 : offset;
    }
  }
  rd_kafka_topic_partition_list_destroy(partitions);
  if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    sip_kafka_topic_list_free(list);
    return sip_admin_err(admin, err, res, NULL, "offsets of", name);
  }
  *out = list;
  return 0;
}
