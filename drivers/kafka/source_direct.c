/* source_direct.c - reading one topic without a group: the partitions are looked up on the work
 * pool and assigned. */
#include "core/base.h"
#include "kafka/errors.h"
#include "kafka/source.h"
#include "kafka/source_state.h"

#include <stdlib.h>
#include <string.h>

enum { DIRECT_TIMEOUT_MS = 10000 };

static const struct sip_client_property direct_properties[] = {
  { "auto.offset.reset", "earliest", true },
  { "fetch.wait.max.ms", "100", false }, /* how late the end of a topic is noticed */
};

rd_kafka_resp_err_t sip_source_count(struct sip_source *source, const char *topic, int *count)
{
  rd_kafka_topic_t *handle = rd_kafka_topic_new(source->client.rk, topic, NULL);
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;

  if (handle != NULL) {
    res = rd_kafka_metadata(source->client.rk, 0, handle, &metadata, DIRECT_TIMEOUT_MS);
    rd_kafka_topic_destroy(handle);
  }
  if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return res;
  }
  if (metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt == 0) {
    res = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
  }
  if (metadata->topic_cnt == 1 && metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    res = metadata->topics[0].err;
  }
  if (res == RD_KAFKA_RESP_ERR_NO_ERROR) {
    *count = metadata->topics[0].partition_cnt;
  }
  rd_kafka_metadata_destroy(metadata);
  return res;
}

/* Adds the partitions of the topic to `list`; they are numbered from 0 on. Blocks. */
static rd_kafka_resp_err_t direct_partitions(struct sip_source *source,
                                             rd_kafka_topic_partition_list_t *list)
{
  int count = 0;
  rd_kafka_resp_err_t res = sip_source_count(source, source->topic, &count);

  for (int i = 0; i < count; i++) {
    rd_kafka_topic_partition_list_add(list, source->topic, i)->offset =
      source->start_at == SIP_START_END ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
  }
  return res;
}

static const struct sip_source_span *span_of(const struct sip_source *source, int32_t partition)
{
  return (size_t)partition < source->span_count ? &source->spans[partition] : NULL;
}

/* The offsets that were given count more than what start_at found; what is not wanted goes. */
static void direct_apply_spans(const struct sip_source *source,
                               rd_kafka_topic_partition_list_t *list)
{
  for (int i = list->cnt - 1; i >= 0; i--) {
    rd_kafka_topic_partition_t *one = &list->elems[i];
    const struct sip_source_span *span = span_of(source, one->partition);

    if (span != NULL && span->from >= 0) {
      one->offset = span->from;
    }
    if (span == NULL
          ? source->only_spans
          : span->left_out || (span->to >= 0 && one->offset >= 0 && one->offset >= span->to)) {
      (void)rd_kafka_topic_partition_list_del_by_idx(list, i); /* it is there */
    }
  }
}

/* Pool thread. */
static void direct_run(struct sip_work *work)
{
  struct sip_source *source = SIP_CONTAINER(work, struct sip_source, lookup);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

  source->found_res = direct_partitions(source, list);
  if (source->found_res == RD_KAFKA_RESP_ERR_NO_ERROR && source->start_at == SIP_START_TIME &&
      !sip_kafka_is_embedded(source->client.rk, DIRECT_TIMEOUT_MS)) {
    for (int i = 0; i < list->cnt; i++) {
      list->elems[i].offset = source->start_ms;
    }
    source->found_res = rd_kafka_offsets_for_times(source->client.rk, list, DIRECT_TIMEOUT_MS);
  }
  source->partition_count = (size_t)list->cnt;
  direct_apply_spans(source, list);
  source->found = list;
}

static void direct_assign(struct sip_source *source, struct sip_err *err)
{
  source->at_eof = calloc(source->partition_count + 1, sizeof *source->at_eof);
  if (source->at_eof == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "read %s: out of memory", source->topic);
    source->sink.on_error(source->owner, err, true);
    return;
  }
  for (size_t i = 0; i < source->partition_count;
       i++) { /* those that are not read are at their end */
    source->at_eof[i] =
      rd_kafka_topic_partition_list_find(source->found, source->topic, (int32_t)i) == NULL;
    source->eof_count += source->at_eof[i];
  }
  source->assigned = true;
  source->found_res = rd_kafka_assign(source->client.rk, source->found);
  if (source->found_res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    (void)sip_kafka_err(err, source->found_res, NULL, "read %s", source->topic);
    source->sink.on_error(source->owner, err, true);
  } else if (sip_source_at_end(source)) {
    source->sink.on_readable(source->owner);
  }
}

static void direct_done(struct sip_work *work, int status)
{
  struct sip_source *source = SIP_CONTAINER(work, struct sip_source, lookup);
  struct sip_err err;

  (void)status; /* nobody cancels it */
  source->looking_up = false;
  if (source->closing) {
    sip_source_advance_close(source);
  } else if (source->found_res == RD_KAFKA_RESP_ERR_NO_ERROR) {
    direct_assign(source, &err);
  } else {
    bool passing = sip_kafka_err_is_connection(source->found_res);

    (void)sip_kafka_err(&err, source->found_res, NULL, "read %s", source->topic);
    source->assigned = !passing; /* the tick tries again what passes by itself */
    sip_source_tell(source, source->found_res, NULL, &err, !passing);
  }
  rd_kafka_topic_partition_list_destroy(source->found);
  source->found = NULL;
}

void sip_source_continue_direct(struct sip_source *source)
{
  if (!source->assigned && !source->looking_up) {
    source->looking_up = sip_work_start(sip_kafka_loop(source->client.kafka), &source->lookup,
                                        direct_run, direct_done) == 0;
  }
}

void sip_source_on_direct_eof(struct sip_source *source, int32_t partition)
{
  if (source->at_eof == NULL || (size_t)partition >= source->partition_count ||
      source->at_eof[partition]) {
    return;
  }
  source->at_eof[partition] = true;
  source->eof_count++;
  if (source->eof_count == source->partition_count) {
    source->sink.on_readable(source->owner);
  }
}

/* Nothing more of the partition is wanted: it is not fetched any further. */
static void direct_end(struct sip_source *source, int32_t partition)
{
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

  rd_kafka_topic_partition_list_add(list, source->topic, partition);
  (void)rd_kafka_pause_partitions(source->client.rk, list); /* else: more is fetched than needed */
  rd_kafka_topic_partition_list_destroy(list);
  sip_source_on_direct_eof(source, partition);
}

bool sip_source_on_record(struct sip_source *source, int32_t partition, int64_t offset)
{
  const struct sip_source_span *span = span_of(source, partition);

  if (span != NULL && span->to >= 0 && offset >= span->to) {
    direct_end(source, partition);
    return false;
  }
  if ((size_t)partition < source->partition_count && source->at_eof[partition]) {
    source->at_eof[partition] = false;
    source->eof_count--;
  }
  return true;
}

void sip_source_after_record(struct sip_source *source, int32_t partition, int64_t offset)
{
  const struct sip_source_span *span = span_of(source, partition);

  if (span != NULL && offset + 1 == span->to) {
    direct_end(source, partition);
  }
}

bool sip_source_at_end(const struct sip_source *source)
{
  return source->at_eof != NULL && source->eof_count == source->partition_count;
}

static void direct_discard(struct sip_client *client)
{
  sip_source_free(SIP_CONTAINER(client, struct sip_source, client));
}

int sip_source_open_direct(struct sip_kafka *kafka, const struct sip_source_direct *spec,
                           const struct sip_source_sink *sink, void *owner, struct sip_source **out,
                           struct sip_err *err)
{
  struct sip_source *source = NULL;
  int rc =
    sip_source_create(&source, kafka, "sipeat-reader", direct_properties,
                      sizeof direct_properties / sizeof direct_properties[0], sink, owner, err);

  if (rc < 0) {
    return rc;
  }
  source->topic = strdup(spec->topic);
  if (source->topic != NULL && spec->span_count > 0) {
    source->spans = calloc(spec->span_count, sizeof *source->spans);
  }
  if (source->topic == NULL || (spec->span_count > 0 && source->spans == NULL)) {
    sip_client_destroy(&source->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE, direct_discard);
    return sip_err_set(err, UV_ENOMEM, "read %s: out of memory", spec->topic);
  }
  if (spec->span_count > 0) {
    memcpy(source->spans, spec->spans, spec->span_count * sizeof *source->spans);
  }
  source->span_count = spec->span_count;
  source->only_spans = spec->only_spans;
  source->start_at = spec->start_at;
  source->start_ms = spec->start_ms;
  sip_source_start(source);
  sip_source_continue_direct(source);
  *out = source;
  return 0;
}
