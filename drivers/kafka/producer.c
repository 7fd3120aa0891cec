/* producer.c - records out, reports back, on the loop.
 *
 * A lane is one librdkafka client. There is one that takes records; after a fatal error it is set
 * aside, ends when its last report has come, and the next record opens another. */
#include "kafka/producer.h"

#include "core/base.h"
#include "core/list.h"
#include "core/log.h"
#include "core/metrics.h"
#include "kafka/client.h"
#include "kafka/errors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
  PRODUCER_EVENTS_PER_TURN = 64 /* each may carry thousands of reports */
};

static const struct sip_client_property producer_properties[] = {
  { "enable.idempotence", "true", true },
  { "acks", "all", true },
  { "partitioner", "murmur2_random", false },
  { "queue.buffering.max.kbytes", "65536", false },
  /* A topic that was missing is looked for again that often. */
  { "topic.metadata.refresh.interval.ms", "10000", false },
  /* How long a topic may be missing before its records fail; the stock 30 s is for clusters that
     are slow to tell. */
  { "topic.metadata.propagation.max.ms", "10000", false },
  /* Only of a patient one, so the last: a record that waits as long as it takes is not overtaken by
     the one behind it. */
  { "message.timeout.ms", "0", true },
};

/* What one record's report needs; librdkafka carries the pointer. Of most reports, which have the
 * function that is usual, it carries the argument itself instead, marked by its lowest bit, which
 * the addresses of structures leave free. */
struct report {
  sip_report_fn fn;
  void *arg;
};

struct lane {
  struct sip_client client;
  struct sip_list node; /* in producer->lanes */
  struct sip_producer *producer;
  rd_kafka_topic_t
    *topic; /* owned: of the last record, which mostly is that of the next; or NULL */
  const rd_kafka_topic_t *counted; /* borrowed: of the last report, only to compare */
  struct sip_series *sent;         /* borrowed: where its records are counted; or NULL */
  size_t pending;
  bool retired;  /* takes no records; ends with its last report */
  bool flushing; /* a flush is on the pool: not yet to be destroyed */
  bool destroying;
  struct sip_work flush;
  int flush_ms;
};

struct sip_producer {
  struct sip_kafka *kafka; /* borrowed: outlives its clients */
  struct sip_list lanes;
  struct lane *current; /* NULL until the first record, and after a fatal error */
  size_t pending;
  struct report common; /* of records whose reports have no argument: made once; fn NULL: not yet */
  sip_report_fn usual; /* of reports whose argument is carried; another only while there are none */
  size_t usual_pending;
  bool patient;
  bool closing;
  const rd_kafka_message_t *failed; /* borrowed: while its report is told */
  struct sip_output lost;           /* what it was, once somebody has asked */
  struct sip_header *lost_headers;  /* owned: its headers */
};

int sip_producer_new(struct sip_producer **out, struct sip_kafka *kafka, bool patient)
{
  struct sip_producer *producer = calloc(1, sizeof *producer);

  if (producer == NULL) {
    return UV_ENOMEM;
  }
  producer->kafka = kafka;
  producer->patient = patient;
  sip_list_init(&producer->lanes);
  *out = producer;
  return 0;
}

void sip_producer_free(struct sip_producer *producer)
{
  if (producer != NULL) {
    free(producer->lost_headers);
  }
  free(producer);
}

size_t sip_producer_pending(const struct sip_producer *producer)
{
  return producer->pending;
}

static void lane_on_destroyed(struct sip_client *client)
{
  struct lane *lane = SIP_CONTAINER(client, struct lane, client);

  sip_list_remove(&lane->node);
  free(lane);
}

static void lane_set_topic(struct lane *lane, rd_kafka_topic_t *topic)
{
  if (lane->topic != NULL) {
    rd_kafka_topic_destroy(lane->topic);
  }
  lane->topic = topic;
}

static void lane_end_if_idle(struct lane *lane)
{
  if (lane->retired && lane->pending == 0 && !lane->flushing && !lane->destroying) {
    lane->destroying = true;
    lane_set_topic(lane, NULL);
    sip_client_destroy(&lane->client, 0, lane_on_destroyed);
  }
}

static void lane_retire(struct lane *lane)
{
  lane->retired = true;
  if (lane->producer->current == lane) {
    lane->producer->current = NULL;
  }
}

static bool is_marked(const void *carried)
{
  return ((uintptr_t)carried & 1) != 0;
}

/* @return what librdkafka carries; NULL without memory */
static void *producer_report(struct sip_producer *producer, sip_report_fn fn, void *arg)
{
  struct report *report = &producer->common;

  if (arg != NULL && !is_marked(arg) && (producer->usual == fn || producer->usual_pending == 0)) {
    producer->usual = fn;
    producer->usual_pending++;
    return (char *)arg + 1;
  }
  if (arg != NULL || (report->fn != NULL && report->fn != fn)) {
    report = malloc(sizeof *report);
    if (report == NULL) {
      return NULL;
    }
  }
  *report = (struct report){ fn, arg };
  return report;
}

/* What was carried, which is over then. */
static struct report producer_take_report(struct sip_producer *producer, void *carried)
{
  struct report report;

  if (is_marked(carried)) {
    producer->usual_pending--;
    return (struct report){ producer->usual, (char *)carried - 1 };
  }
  report = *(struct report *)carried;
  if (carried != &producer->common) {
    free(carried);
  }
  return report;
}

/* @return how many, or a negative code without memory for them */
static ssize_t lost_headers(const rd_kafka_message_t *message, struct sip_header **out)
{
  rd_kafka_headers_t *headers = NULL;
  size_t count, size;
  const void *data;

  *out = NULL;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return 0; /* there are none */
  }
  count = rd_kafka_header_cnt(headers);
  *out = calloc(count + 1, sizeof **out);
  if (*out == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < count; i++) {
    if (rd_kafka_header_get_all(headers, i, &(*out)[i].name, &data, &size) !=
        RD_KAFKA_RESP_ERR_NO_ERROR) {
      return (ssize_t)i; /* no such header */
    }
    (*out)[i].value = (struct sip_slice){ data, size };
  }
  return (ssize_t)count;
}

static const struct sip_output *producer_lost(void *driver)
{
  struct sip_producer *producer = driver;
  const rd_kafka_message_t *message = producer->failed;
  ssize_t count;

  if (message == NULL) {
    return NULL;
  }
  free(producer->lost_headers); /* of an earlier one */
  count = lost_headers(message, &producer->lost_headers);
  if (count < 0) {
    return NULL;
  }
  producer->lost = (struct sip_output){
    .topic = rd_kafka_topic_name(message->rkt),
    .key = { message->key, message->key_len },
    .value = { message->payload, message->len },
    .headers = producer->lost_headers,
    .header_count = (size_t)count,
    .partition = -1,
  };
  return &producer->lost;
}

static void lane_count(struct lane *lane, const rd_kafka_message_t *message, const char *error)
{
  struct sip_kafka_metrics *metrics = sip_kafka_metrics(lane->producer->kafka);
  struct sip_series *series = lane->sent;

  if (error[0] != '\0') {
    series = sip_kafka_metrics_sent(metrics, rd_kafka_topic_name(message->rkt), error);
  } else if (message->rkt != lane->counted) {
    series = sip_kafka_metrics_sent(metrics, rd_kafka_topic_name(message->rkt), "");
    lane->counted = message->rkt;
    lane->sent = series;
  }
  if (series != NULL) {
    sip_series_add(series, 1);
  }
}

static void lane_report(struct lane *lane, const rd_kafka_message_t *message)
{
  struct report report = producer_take_report(lane->producer, message->_private);
  struct sip_err err; /* set on failure: clearing it would cost more than the rest */
  int rc = 0;

  lane->pending--;
  lane->producer->pending--;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    /* Not rd_kafka_message_errstr, which takes a payload for text. */
    rc = sip_kafka_err(&err, message->err, NULL, "send to %s", rd_kafka_topic_name(message->rkt));
  }
  lane_count(lane, message, rc < 0 ? err.name : "");
  lane->producer->failed = rc < 0 ? message : NULL;
  report.fn(report.arg, rc, message->partition, message->offset, &err);
  lane->producer->failed = NULL;
}

static void lane_on_error(struct lane *lane, rd_kafka_event_t *event)
{
  rd_kafka_resp_err_t res = rd_kafka_event_error(event);

  if (rd_kafka_event_error_is_fatal(event)) {
    sip_log(SIP_LOG_ERROR, "kafka", NULL,
            "producer: %s (%s): what it held fails, the next record gets a new one",
            rd_kafka_event_error_string(event), rd_kafka_err2name(res));
    lane_retire(lane);
  } else if (!sip_kafka_err_is_connection(res)) {
    sip_log(SIP_LOG_WARN, "kafka", NULL, "producer: %s", rd_kafka_event_error_string(event));
  }
}

/* What the next reports are about was last touched when it was sent, thousands of records ago, so
 * it is fetched into the cache a few reports before its turn. */
static void lane_on_reports(struct lane *lane, rd_kafka_event_t *event)
{
  enum { REPORTS = 64, AHEAD = 4 };
  const rd_kafka_message_t *messages[REPORTS];
  size_t count;

  while ((count = rd_kafka_event_message_array(event, messages, REPORTS)) > 0) {
    for (size_t i = 0; i < count; i++) {
      if (i + AHEAD < count) {
        __builtin_prefetch(messages[i + AHEAD]->_private);
      }
      lane_report(lane, messages[i]);
    }
  }
}

static void lane_on_events(struct sip_client *client)
{
  struct lane *lane = SIP_CONTAINER(client, struct lane, client);

  for (int i = 0; i < PRODUCER_EVENTS_PER_TURN; i++) {
    rd_kafka_event_t *event = sip_client_poll(client);

    if (event == NULL) {
      lane_end_if_idle(lane);
      return;
    }
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
      lane_on_reports(lane, event);
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
      lane_on_error(lane, event);
    }
    rd_kafka_event_destroy(event);
  }
  sip_client_again(client);
}

static int producer_open_lane(struct sip_producer *producer, struct sip_err *err)
{
  const struct sip_client_spec spec = {
    .type = RD_KAFKA_PRODUCER,
    .events = RD_KAFKA_EVENT_DR,
    .properties = producer_properties,
    .property_count =
      sizeof producer_properties / sizeof producer_properties[0] - (producer->patient ? 0 : 1),
    .on_events = lane_on_events,
  };
  struct lane *lane = calloc(1, sizeof *lane);
  int rc;

  if (lane == NULL) {
    return sip_err_set(err, UV_ENOMEM, "kafka producer: out of memory");
  }
  lane->producer = producer;
  rc = sip_client_open(&lane->client, producer->kafka, &spec, err);
  if (rc < 0) {
    free(lane);
    return rc;
  }
  sip_list_init(&lane->node);
  sip_list_push(&producer->lanes, &lane->node);
  producer->current = lane;
  return 0;
}

static int producer_headers(rd_kafka_headers_t **out, const struct sip_output *output,
                            struct sip_err *err)
{
  rd_kafka_headers_t *headers;

  *out = NULL;
  if (output->header_count == 0) {
    return 0;
  }
  headers = rd_kafka_headers_new(output->header_count);
  for (size_t i = 0; i < output->header_count; i++) {
    const struct sip_header *header = &output->headers[i];
    rd_kafka_resp_err_t res = rd_kafka_header_add(headers, header->name, -1, header->value.data,
                                                  (ssize_t)header->value.len);

    if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
      rd_kafka_headers_destroy(headers);
      return sip_kafka_err(err, res, NULL, "send to %s: header %s", output->topic, header->name);
    }
  }
  *out = headers;
  return 0;
}

int sip_kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct sip_output *output,
                      void *opaque, rd_kafka_resp_err_t *res, bool *fatal, struct sip_err *err)
{
  rd_kafka_headers_t *headers = NULL;
  rd_kafka_vu_t vus[8];
  rd_kafka_error_t *error;
  size_t count = 0;
  int rc = producer_headers(&headers, output, err);

  *res = RD_KAFKA_RESP_ERR__INVALID_ARG;
  *fatal = false;
  if (rc < 0) {
    return rc;
  }
  vus[count++] = topic != NULL
                   ? (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic }
                   : (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = output->topic };
  vus[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = output->partition };
  vus[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY };
  vus[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_VALUE,
                                  .u.mem = { (void *)output->value.data, output->value.len } };
  vus[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_KEY,
                                  .u.mem = { (void *)output->key.data, output->key.len } };
  vus[count++] =
    (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = output->timestamp_ms };
  vus[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque };
  if (headers != NULL) {
    vus[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers };
  }
  error = rd_kafka_produceva(rk, vus, count);
  if (error == NULL) {
    return 0; /* librdkafka owns the headers now */
  }
  if (headers != NULL) {
    rd_kafka_headers_destroy(headers);
  }
  *res = rd_kafka_error_code(error);
  *fatal = rd_kafka_error_is_fatal(error) || *res == RD_KAFKA_RESP_ERR__FATAL;
  return sip_kafka_err_object(err, error, "send to %s", output->topic);
}

/* What has neither headers nor a time of its own goes by the plainer call. @return false when it
 * was not taken, and the other one says why */
static bool lane_produce_plainly(struct lane *lane, const struct sip_output *output, void *report)
{
  return lane->topic != NULL && output->header_count == 0 && output->timestamp_ms == 0 &&
         rd_kafka_produce(lane->topic, output->partition, RD_KAFKA_MSG_F_COPY,
                          (void *)output->value.data, output->value.len, output->key.data,
                          output->key.len, report) == 0;
}

static int lane_produce(struct lane *lane, const struct sip_output *output, void *report,
                        struct sip_err *err)
{
  rd_kafka_resp_err_t res;
  bool fatal;
  int rc;

  if (lane->topic == NULL || strcmp(rd_kafka_topic_name(lane->topic), output->topic) != 0) {
    /* NULL, when there can be no such topic: sending by name says why. */
    lane_set_topic(lane, rd_kafka_topic_new(lane->client.rk, output->topic, NULL));
  }
  if (lane_produce_plainly(lane, output, report)) {
    return 0;
  }
  rc = sip_kafka_produce(lane->client.rk, lane->topic, output, report, &res, &fatal, err);
  if (fatal) {
    lane_retire(lane);
    sip_client_again(&lane->client);
  }
  return rc;
}

int sip_producer_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                      void *arg, struct sip_err *err)
{
  struct sip_producer *producer = driver;
  struct lane *lane;
  void *report;
  int rc;

  if (producer->closing) {
    return sip_err_set(err, SIP_ECLOSED, "send to %s: the producer is closed", output->topic);
  }
  report = producer_report(producer, on_report, arg);
  if (report == NULL) {
    return sip_err_set(err, UV_ENOMEM, "send to %s: out of memory", output->topic);
  }
  for (int attempt = 0;; attempt++) { /* a client that just failed is replaced once */
    rc = producer->current != NULL ? 0 : producer_open_lane(producer, err);
    lane = producer->current;
    if (rc == 0) {
      rc = lane_produce(lane, output, report, err);
    }
    if (rc == 0 || lane == NULL || !lane->retired || attempt > 0) {
      break;
    }
  }
  if (rc < 0) {
    (void)producer_take_report(producer, report);
    return rc;
  }
  lane->pending++;
  producer->pending++;
  return 0;
}

static void lane_run_flush(struct sip_work *work)
{
  struct lane *lane = SIP_CONTAINER(work, struct lane, flush);

  (void)rd_kafka_flush(lane->client.rk, lane->flush_ms); /* what is left is purged next */
}

static void lane_on_flushed(struct sip_work *work, int status)
{
  struct lane *lane = SIP_CONTAINER(work, struct lane, flush);

  (void)status; /* nobody cancels it */
  lane->flushing = false;
  if (lane->pending > 0) {
    if (!lane->producer->patient) {
      sip_log(SIP_LOG_WARN, "kafka", NULL, "not acknowledged before the end: %zu records",
              lane->pending);
    }
    (void)rd_kafka_purge(lane->client.rk,
                         RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                           RD_KAFKA_PURGE_F_NON_BLOCKING); /* its reports arrive as events */
  }
  sip_client_again(&lane->client);
}

void sip_producer_close(struct sip_producer *producer, uint64_t flush_ms)
{
  struct sip_list *next;

  producer->closing = true;
  producer->current = NULL;
  for (struct sip_list *at = producer->lanes.next; at != &producer->lanes; at = next) {
    struct lane *lane = SIP_CONTAINER(at, struct lane, node);

    next = at->next;
    if (lane->destroying) {
      continue;
    }
    lane->retired = true;
    lane->flush_ms = flush_ms > INT32_MAX ? INT32_MAX : (int)flush_ms;
    if (lane->pending > 0 && sip_work_start(sip_kafka_loop(producer->kafka), &lane->flush,
                                            lane_run_flush, lane_on_flushed) == 0) {
      lane->flushing = true;
    }
    lane_end_if_idle(lane);
  }
}

const struct sip_producer_ops *sip_producer_operations(void)
{
  static const struct sip_producer_ops operations = { .send = sip_producer_send,
                                                      .lost = producer_lost };

  return &operations;
}
