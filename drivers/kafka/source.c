/* source.c - one group member: events of librdkafka in, records out.
 *
 * What the queue gives is sorted at once: records wait in `ready` (at most SOURCE_READY_MAX) until
 * the owner takes them, rebalances and errors are handled. A tick polls once a second even when
 * nothing comes, because librdkafka counts polls against max.poll.interval.ms. */
#include "kafka/source.h"

#include "core/base.h"
#include "core/log.h"
#include "kafka/errors.h"
#include "kafka/pace.h"
#include "kafka/source_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  SOURCE_READY_MAX = 1024,
  SOURCE_READY_BYTES = 16 << 20,
  SOURCE_EVENTS_PER_TURN = 2048,
  SOURCE_TICK_MS = 1000,
  SOURCE_SOON_MS = 20,
  SOURCE_CLOSE_MS =
    5000, /* librdkafka itself would wait for a dead coordinator up to session.timeout.ms */
  SOURCE_TELL_AGAIN_MS = 60000,
  FETCHED_PART = 8,          /* what librdkafka fetches ahead, for each byte that is polled ahead */
  FETCHED_KB_MIN = 8 * 1024, /* for a fetch of several partitions */
  FETCHED_KB_MAX = 64 * 1024 /* its own default */
};

struct source_record {
  struct sip_list node; /* in source->ready until taken */
  struct sip_source *source;
  rd_kafka_event_t *event;           /* owned: holds the message */
  const rd_kafka_message_t *message; /* borrowed from the event */
  size_t header_count;
};

/* Of every source. What is fetched ahead lasts until librdkafka has looked again whether there is
 * room, for which pace.c cares before 2.2, and an answer of a broker far away is there; more of it
 * would only fill the memory. Bytes are bounded by queued.max.messages.kbytes. */
static const struct sip_client_property source_properties[] = {
  { "enable.auto.offset.store", "false", true },
  { "enable.auto.commit", "false", true }, /* source_commit.c does it */
  { "enable.partition.eof", "true", true },
  { "queued.min.messages", "50000", false },
#if RD_KAFKA_VERSION >= 0x020200ff
  { "fetch.queue.backoff.ms", "20", false },
#endif
};

static const struct sip_client_property member_properties[] = {
  { "partition.assignment.strategy", "cooperative-sticky", false },
  /* How soon a topic that was missing, or a new one that fits a pattern, is found. */
  { "topic.metadata.refresh.interval.ms", "5000", false },
};

enum {
  SOURCE_PROPERTIES = sizeof source_properties / sizeof source_properties[0],
  MEMBER_PROPERTIES = sizeof member_properties / sizeof member_properties[0]
};

static uint64_t source_hash(const char *text)
{
  uint64_t hash = 14695981039346656037u; /* FNV-1a */

  for (; text != NULL && *text != '\0'; text++) {
    hash = (hash ^ (unsigned char)*text) * 1099511628211u;
  }
  return hash;
}

void sip_source_tell(struct sip_source *source, rd_kafka_resp_err_t res, const char *topic,
                     const struct sip_err *err, bool fatal)
{
  uint64_t now = uv_now(source->tick.loop), hash = source_hash(topic);
  struct source_notice *oldest = &source->notices[0];

  for (size_t i = 0; i < SOURCE_NOTICES; i++) {
    struct source_notice *notice = &source->notices[i];

    if (notice->at_ms != 0 && notice->res == res && notice->topic_hash == hash &&
        now - notice->at_ms < SOURCE_TELL_AGAIN_MS) {
      return;
    }
    if (notice->at_ms < oldest->at_ms) {
      oldest = notice;
    }
  }
  *oldest = (struct source_notice){ .res = res, .topic_hash = hash, .at_ms = now == 0 ? 1 : now };
  source->sink.on_error(source->owner, err, fatal);
}

static void source_drop(struct source_record *record)
{
  struct sip_source *source = record->source;

  rd_kafka_event_destroy(record->event);
  sip_list_unshift(&source->spare, &record->node);
  source->outstanding--;
  if (source->closing) {
    sip_source_advance_close(source);
  }
}

void sip_source_drop_ready(struct sip_source *source, const rd_kafka_topic_partition_list_t *list)
{
  struct sip_list keep;
  struct sip_list *node;

  sip_list_init(&keep);
  while ((node = sip_list_shift(&source->ready)) != NULL) {
    struct source_record *record = SIP_CONTAINER(node, struct source_record, node);

    if (list == NULL ||
        rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)list,
                                           rd_kafka_topic_name(record->message->rkt),
                                           record->message->partition) != NULL) {
      source->ready_count--;
      source->ready_bytes -= record->message->len + record->message->key_len;
      source_drop(record);
    } else {
      sip_list_push(&keep, node);
    }
  }
  sip_list_move(&source->ready, &keep);
}

static void source_on_error(struct sip_source *source, rd_kafka_event_t *event)
{
  rd_kafka_resp_err_t res = rd_kafka_event_error(event);
  rd_kafka_topic_partition_t *about = rd_kafka_event_topic_partition(event);
  const char *topic = about == NULL ? NULL : about->topic;
  bool fatal = rd_kafka_event_error_is_fatal(event) != 0;
  char why[512];
  struct sip_err err;

  if (res == RD_KAFKA_RESP_ERR__PARTITION_EOF && about != NULL) {
    sip_source_on_eof(source, about);
    rd_kafka_topic_partition_destroy(about);
    return;
  }
  source->removed = source->removed || res == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
  (void)snprintf(why, sizeof why, "%s", rd_kafka_event_error_string(event));
  if (fatal) { /* the event says no more than that it is */
    res = rd_kafka_fatal_error(source->client.rk, why, sizeof why);
  }
  (void)sip_kafka_err(&err, res, why, "group %s%s%s%s%s", source->group,
                      source->instance == NULL ? "" : ", instance ",
                      source->instance == NULL ? "" : source->instance,
                      topic == NULL ? "" : ", topic ", topic == NULL ? "" : topic);
  sip_source_tell(source, res, topic, &err, fatal);
  if (about != NULL) {
    rd_kafka_topic_partition_destroy(about);
  }
}

static const rd_kafka_headers_t *message_headers(const rd_kafka_message_t *message)
{
  rd_kafka_headers_t *headers = NULL;

  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return NULL; /* there are none */
  }
  return headers;
}

static size_t message_header_count(const rd_kafka_message_t *message)
{
  const rd_kafka_headers_t *headers = message_headers(message);

  return headers == NULL ? 0 : rd_kafka_header_cnt(headers);
}

/* Keeps one message; takes the event over. */
static void source_on_message(struct sip_source *source, rd_kafka_event_t *event)
{
  const rd_kafka_message_t *message = rd_kafka_event_message_next(event);
  struct source_record *record;
  struct sip_err err;

  if (message == NULL || message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (message != NULL) {
      (void)sip_kafka_err(&err, message->err, NULL, "group %s", source->group);
      sip_source_tell(source, message->err,
                      message->rkt == NULL ? NULL : rd_kafka_topic_name(message->rkt), &err, false);
    }
    rd_kafka_event_destroy(event);
    return;
  }
  if (source->at_eof != NULL &&
      !sip_source_on_record(source, message->partition, message->offset)) {
    rd_kafka_event_destroy(event);
    return;
  }
  record = SIP_CONTAINER(sip_list_shift(&source->spare), struct source_record, node);
  record->event = event;
  record->message = message;
  record->header_count = message_header_count(message); /* now, while the message is in the cache */
  sip_list_push(&source->ready, &record->node);
  source->ready_count++;
  source->ready_bytes += message->len + message->key_len;
  source->outstanding++;
  if (source->at_eof != NULL) {
    sip_source_after_record(source, message->partition, message->offset);
  }
}

/* librdkafka looks for a group's coordinator also where no group has a part in it. */
static bool source_needs_no_group(const struct sip_source *source, rd_kafka_event_t *event)
{
  return source->topic != NULL &&
         rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
}

static void source_on_event(struct sip_source *source, rd_kafka_event_t *event)
{
  switch (rd_kafka_event_type(event)) {
  case RD_KAFKA_EVENT_FETCH:
    source_on_message(source, event);
    return;
  case RD_KAFKA_EVENT_REBALANCE:
    sip_source_on_rebalance(source, event);
    return;
  case RD_KAFKA_EVENT_ERROR:
    if (!source_needs_no_group(source, event)) {
      source_on_error(source, event);
    }
    break;
  case RD_KAFKA_EVENT_OFFSET_COMMIT:
    sip_source_on_committed(source, event);
    sip_source_look_at_leaving(source);
    break;
  default:
    break;
  }
  rd_kafka_event_destroy(event);
}

static bool source_has_enough(const struct sip_source *source)
{
  return source->ready_count >= source->ready_max || source->ready_bytes >= source->ready_bytes_max;
}

/* @return whether a record is there for what a poll may give */
static bool source_has_spare(struct sip_source *source)
{
  struct source_record *record;

  if (!sip_list_empty(&source->spare)) {
    return true;
  }
  record = malloc(sizeof *record);
  if (record == NULL) {
    return false;
  }
  record->source = source;
  sip_list_push(&source->spare, &record->node);
  return true;
}

static void source_poll(struct sip_source *source)
{
  size_t before = source->ready_count;
  int count = 0;

  while (!source->closing && !source_has_enough(source)) {
    rd_kafka_event_t *event;

    if (!source_has_spare(source)) {
      break; /* the tick tries again */
    }
    event = sip_client_poll(&source->client);
    if (event == NULL) {
      break;
    }
    source_on_event(source, event);
    if (++count == SOURCE_EVENTS_PER_TURN) {
      sip_client_again(&source->client);
      break;
    }
  }
  if (count > 0) {
    sip_kafka_took();
  }
  if (!source->closing && source->ready_count > 0 && source->ready_count != before) {
    source->sink.on_readable(source->owner);
  }
  if (!source->closing && source->ready_count == 0) {
    sip_source_tell_ends(source);
  }
}

static void source_on_events(struct sip_client *client)
{
  struct sip_source *source = SIP_CONTAINER(client, struct sip_source, client);

  if (source->closing) {
    sip_source_advance_close(source);
  } else {
    source_poll(source);
  }
}

static void source_on_tick(uv_timer_t *tick)
{
  struct sip_source *source = SIP_CONTAINER(tick, struct sip_source, tick);

  sip_source_commit(source); /* what is stored, and what could not be committed */
  if (!source->closing && source->topic != NULL) {
    sip_source_continue_direct(source);
  } else if (!source->closing) {
    sip_source_continue_rebalance(source);
    sip_source_look_at_leaving(source);
  }
  source_on_events(&source->client);
}

void sip_source_cluster(const struct sip_list *node, char *id, size_t size)
{
  const struct sip_source *source = SIP_CONTAINER(node, struct sip_source, node);
  char *cluster = rd_kafka_clusterid(source->client.rk, 0);

  (void)snprintf(id, size, "%s", cluster == NULL ? "" : cluster);
  if (cluster != NULL) {
    rd_kafka_mem_free(source->client.rk, cluster);
  }
}

void sip_source_close_all(struct sip_list *sources)
{
  while (!sip_list_empty(sources)) {
    sip_source_close(SIP_CONTAINER(sources->next, struct sip_source, node));
  }
}

static int source_subscribe(struct sip_source *source, const struct sip_source_spec *spec,
                            struct sip_err *err)
{
  rd_kafka_topic_partition_list_t *topics =
    rd_kafka_topic_partition_list_new((int)spec->topic_count);
  rd_kafka_resp_err_t res;

  for (size_t i = 0; i < spec->topic_count; i++) {
    rd_kafka_topic_partition_list_add(topics, spec->topics[i], RD_KAFKA_PARTITION_UA);
  }
  res = rd_kafka_subscribe(source->client.rk, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  return res == RD_KAFKA_RESP_ERR_NO_ERROR
           ? 0
           : sip_kafka_err(err, res, NULL, "group %s: subscribe to %s%s", spec->group,
                           spec->topics[0], spec->topic_count > 1 ? " and others" : "");
}

static void source_discard(struct sip_client *client)
{
  sip_source_free(SIP_CONTAINER(client, struct sip_source, client));
}

void sip_source_free(struct sip_source *source)
{
  struct sip_list *node;

  while ((node = sip_list_shift(&source->spare)) != NULL) {
    free(SIP_CONTAINER(node, struct source_record, node));
  }
  free(source->group);
  free(source->instance);
  free(source->topic);
  free(source->spans);
  free(source->at_eof);
  if (source->owned != NULL) {
    rd_kafka_topic_partition_list_destroy(source->owned);
    rd_kafka_topic_partition_list_destroy(source->ends);
    rd_kafka_topic_partition_list_destroy(source->known);
  }
  free(source);
}

int sip_source_create(struct sip_source **out, struct sip_kafka *kafka, const char *group,
                      const struct sip_client_property *properties, size_t count,
                      const struct sip_source_sink *sink, void *owner, struct sip_err *err)
{
  struct sip_client_property all[SOURCE_PROPERTIES + SIP_SOURCE_OWN_MAX];
  struct sip_client_spec client = { .type = RD_KAFKA_CONSUMER,
                                    .events = RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_FETCH |
                                              RD_KAFKA_EVENT_OFFSET_COMMIT,
                                    .group = group,
                                    .properties = all,
                                    .property_count = SOURCE_PROPERTIES + count,
                                    .on_events = source_on_events };
  struct sip_source *source = calloc(1, sizeof *source);
  int rc;

  memcpy(all, source_properties, sizeof source_properties);
  memcpy(all + SOURCE_PROPERTIES, properties, count * sizeof *properties);
  if (source != NULL) {
    source->group = strdup(group);
  }
  if (source == NULL || source->group == NULL) {
    free(source);
    return sip_err_set(err, UV_ENOMEM, "group %s: out of memory", group);
  }
  sip_list_init(&source->node);
  sip_list_init(&source->ready);
  sip_list_init(&source->spare);
  source->ready_max = SOURCE_READY_MAX;
  source->ready_bytes_max = SOURCE_READY_BYTES;
  source->owned = rd_kafka_topic_partition_list_new(8);
  source->ends = rd_kafka_topic_partition_list_new(8);
  source->known = rd_kafka_topic_partition_list_new(8);
  source->sink = *sink;
  source->owner = owner;
  rc = sip_client_open(&source->client, kafka, &client, err);
  if (rc < 0) {
    sip_source_free(source);
    return rc;
  }
  *out = source;
  return 0;
}

void sip_source_start(struct sip_source *source)
{
  struct sip_kafka *kafka = source->client.kafka;

  (void)uv_timer_init(sip_kafka_loop(kafka), &source->tick); /* always 0 */
  (void)uv_timer_start(&source->tick, source_on_tick, SOURCE_TICK_MS,
                       SOURCE_TICK_MS); /* the callback is set */
  sip_list_push(sip_kafka_sources(kafka), &source->node);
}

void sip_source_tick_soon(struct sip_source *source)
{
  if (uv_timer_get_due_in(&source->tick) > SOURCE_SOON_MS) {
    (void)uv_timer_start(&source->tick, source_on_tick, SOURCE_SOON_MS,
                         uv_timer_get_repeat(&source->tick)); /* the callback is set */
  }
}

/* Whether another member of this process is that one already. */
static bool source_is_taken(struct sip_kafka *kafka, const char *group, const char *instance)
{
  struct sip_list *sources = sip_kafka_sources(kafka);

  for (struct sip_list *node = sources->next; node != sources; node = node->next) {
    const struct sip_source *other = SIP_CONTAINER(node, struct sip_source, node);

    if (other->instance != NULL && strcmp(other->group, group) == 0 &&
        strcmp(other->instance, instance) == 0) {
      return true;
    }
  }
  return false;
}

/* The name of a static member: what the flow or the settings say, and a number when one group has
 * several members here. @param out  256 bytes; "" when it is none */
static void source_instance(struct sip_kafka *kafka, const struct sip_source_spec *spec, char *out)
{
  const struct sip_kafka_settings *settings = sip_kafka_settings(kafka); /* NULL: none yet */
  const char *name = spec->instance;

  if (name == NULL && settings != NULL) {
    name = sip_kafka_settings_get(settings, "group.instance.id");
  }
  (void)snprintf(out, 256, "%.240s", name == NULL ? "" : name);
  for (int i = 2; out[0] != '\0' && source_is_taken(kafka, spec->group, out); i++) {
    (void)snprintf(out, 256, "%.240s-%d", name, i);
  }
}

static int source_open(void *driver, const struct sip_source_spec *spec,
                       const struct sip_source_sink *sink, void *owner, struct sip_source **out,
                       struct sip_err *err)
{
  struct sip_client_property properties[SIP_SOURCE_OWN_MAX];
  size_t count = MEMBER_PROPERTIES;
  struct sip_source *source = NULL;
  char instance[256], fetched[24];
  int rc;

  if (spec->topic_count == 0 || spec->group[0] == '\0') {
    return sip_err_set(err, UV_EINVAL, "kafka consumer: a group and at least one topic are needed");
  }
  memcpy(properties, member_properties, sizeof member_properties);
  /* A member hears of a rebalance with its next heartbeat, and the others wait for it: so do
   * workers for each other at every start. */
  properties[count++] = (struct sip_client_property){ "heartbeat.interval.ms",
                                                      spec->has_siblings ? "250" : "1000", false };
  properties[count++] =
    (struct sip_client_property){ "auto.offset.reset",
                                  spec->start_at == SIP_START_END ? "latest" : "earliest", true };
  if (spec->ahead_bytes > 0 && spec->ahead_bytes >> 10 < FETCHED_KB_MAX / FETCHED_PART) {
    size_t kb = (spec->ahead_bytes >> 10) * FETCHED_PART;

    (void)snprintf(fetched, sizeof fetched, "%zu", kb < FETCHED_KB_MIN ? FETCHED_KB_MIN : kb);
    properties[count++] =
      (struct sip_client_property){ "queued.max.messages.kbytes", fetched, false };
  }
  source_instance(driver, spec, instance);
  if (instance[0] != '\0') {
    properties[count++] = (struct sip_client_property){ "group.instance.id", instance, true };
  }
  rc = sip_source_create(&source, driver, spec->group, properties, count, sink, owner, err);
  if (rc < 0) {
    return rc;
  }
  source->instance = instance[0] == '\0' ? NULL : strdup(instance);
  if (instance[0] != '\0' && source->instance == NULL) {
    sip_client_destroy(&source->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE, source_discard);
    return sip_err_set(err, UV_ENOMEM, "group %s: out of memory", spec->group);
  }
  if (spec->ahead_events > 0 && spec->ahead_events < SOURCE_READY_MAX) {
    source->ready_max = spec->ahead_events;
  }
  if (spec->ahead_bytes > 0) {
    source->ready_bytes_max = spec->ahead_bytes;
  }
  source->start_at = spec->start_at;
  source->start_ms = spec->start_ms;
  source->transactional = spec->transactional;
  rc = source_subscribe(source, spec, err);
  if (rc < 0) {
    sip_client_destroy(&source->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE, source_discard);
    return rc;
  }
  sip_source_start(source);
  *out = source;
  return 0;
}

static size_t source_take(struct sip_source *source, struct sip_record *records, size_t max)
{
  bool full = source_has_enough(source);
  size_t count = 0;

  while (count < max && !sip_list_empty(&source->ready)) {
    struct source_record *taken =
      SIP_CONTAINER(sip_list_shift(&source->ready), struct source_record, node);
    const rd_kafka_message_t *message = taken->message;
    struct sip_record *record = &records[count++];
    rd_kafka_timestamp_type_t type;

    source->ready_count--;
    source->ready_bytes -= message->len + message->key_len;
    record->topic = rd_kafka_topic_name(message->rkt);
    record->partition = message->partition;
    record->offset = message->offset;
    record->timestamp_ms = rd_kafka_message_timestamp(message, &type);
    record->log_append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    record->key = (struct sip_slice){ message->key, message->key_len };
    record->value = (struct sip_slice){ message->payload, message->len };
    record->message = taken;
  }
  if (full && count > 0) {
    sip_client_again(&source->client); /* polling had stopped */
  }
  return count;
}

static void source_release(struct sip_record *record)
{
  source_drop(record->message);
  record->message = NULL;
}

static size_t source_header_count(const struct sip_record *record)
{
  return ((const struct source_record *)record->message)->header_count;
}

static struct sip_header source_header(const struct sip_record *record, size_t index)
{
  const struct source_record *taken = record->message;
  const rd_kafka_headers_t *headers = message_headers(taken->message);
  struct sip_header header = { NULL, { NULL, 0 } };
  const void *data = NULL;

  if (headers != NULL && rd_kafka_header_get_all(headers, index, &header.name, &data,
                                                 &header.value.len) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    header.value.data = data;
  }
  return header;
}

static void source_switch(struct sip_source *source, const struct sip_partition *partition, bool on)
{
  rd_kafka_topic_partition_list_t *list;

  if (source->closing) {
    return;
  }
  list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, partition->topic, partition->partition);
  /* A partition that is not ours any more answers with an error of its own, which does not matter.
   */
  if (on) {
    (void)rd_kafka_resume_partitions(source->client.rk, list);
  } else {
    (void)rd_kafka_pause_partitions(source->client.rk, list);
  }
  rd_kafka_topic_partition_list_destroy(list);
}

static void source_pause(struct sip_source *source, const struct sip_partition *partition)
{
  source_switch(source, partition, false);
}

static void source_resume(struct sip_source *source, const struct sip_partition *partition)
{
  source_switch(source, partition, true);
}

/* As the last answer to a fetch said: nobody is asked. */
static int64_t source_end(struct sip_source *source, const struct sip_partition *partition)
{
  int64_t low, high;

  return rd_kafka_get_watermark_offsets(source->client.rk, partition->topic, partition->partition,
                                        &low, &high) == RD_KAFKA_RESP_ERR_NO_ERROR
           ? high
           : -1;
}

const struct sip_source_ops *sip_source_operations(void)
{
  static const struct sip_source_ops operations = {
    .open = source_open,
    .take = source_take,
    .release = source_release,
    .header_count = source_header_count,
    .header = source_header,
    .pause = source_pause,
    .resume = source_resume,
    .store = sip_source_store,
    .commit = sip_source_commit,
    .end = source_end,
    .give_back = sip_source_give_back,
    .close = sip_source_close,
  };

  return &operations;
}
