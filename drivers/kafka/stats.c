/* stats.c - librdkafka's statistics as metrics: see stats.h.
 *
 * A text that says something is read once, and each of its figures goes to a series, which is kept.
 * What was kept from the text before it is dropped afterwards: so a partition that went to another
 * member, or a broker that left, is gone from the metrics by itself. */
#include "kafka/stats.h"

#include "core/json_text.h"
#include "core/log.h"
#include "core/metrics.h"

#include <stdlib.h>
#include <string.h>

enum {
  KEPT_MAX = 40000, /* series of one client */
  PARTITION_LIMIT = 10000,
  BROKER_LIMIT = 2000
};

enum figure {
  QUEUE_MESSAGES,
  QUEUE_BYTES,
  SENT_BYTES,
  RECEIVED_BYTES,
  REBALANCES,
  ASSIGNED,
  BROKER_UP,
  BROKER_ERRORS,
  BROKER_DISCONNECTS,
  BROKER_RTT,
  BROKER_QUEUE,
  LAG,
  FIGURES
};

struct sip_kafka_metrics {
  struct sip_metrics_shard *shard;     /* counted */
  struct sip_metric *figures[FIGURES]; /* the shard's, as the next */
  struct sip_metric *sent;
  struct sip_json json; /* kept for its memory */
};

struct kept {
  struct sip_series **list; /* owned */
  size_t count, cap;
};

struct sip_stats {
  struct sip_kafka_metrics *metrics; /* borrowed: outlives its clients */
  char *client, *group;              /* owned; group: NULL of a producer */
  struct kept kept;
};

/* --- declaring --- */

static const struct {
  enum sip_metric_kind kind;
  const char *name, *help;
  const char *labels[SIP_METRIC_LABELS];
  size_t limit;
} figures[FIGURES] = {
  [QUEUE_MESSAGES] = { SIP_GAUGE,
                       "sipeat_kafka_queue_messages",
                       "Records in a client's queue, not acknowledged yet.",
                       { "client" },
                       0 },
  [QUEUE_BYTES] = { SIP_GAUGE,
                    "sipeat_kafka_queue_bytes",
                    "Bytes of these records.",
                    { "client" },
                    0 },
  [SENT_BYTES] = { SIP_COUNTER,
                   "sipeat_kafka_sent_bytes",
                   "Bytes of requests sent to brokers.",
                   { "client" },
                   0 },
  [RECEIVED_BYTES] = { SIP_COUNTER,
                       "sipeat_kafka_received_bytes",
                       "Bytes of answers of brokers.",
                       { "client" },
                       0 },
  [REBALANCES] = { SIP_COUNTER,
                   "sipeat_kafka_rebalances",
                   "Times that the group's partitions were distributed anew.",
                   { "client", "group" },
                   0 },
  [ASSIGNED] = { SIP_GAUGE,
                 "sipeat_kafka_assigned_partitions",
                 "Partitions that this member of the group has.",
                 { "client", "group" },
                 0 },
  [BROKER_UP] = { SIP_GAUGE,
                  "sipeat_kafka_broker_up",
                  "1 while a connection to the broker is up or may be opened at once.",
                  { "client", "broker" },
                  BROKER_LIMIT },
  [BROKER_ERRORS] = { SIP_COUNTER,
                      "sipeat_kafka_broker_errors",
                      "Requests that failed or were not answered in time.",
                      { "client", "broker", "kind" },
                      BROKER_LIMIT },
  [BROKER_DISCONNECTS] = { SIP_COUNTER,
                           "sipeat_kafka_broker_disconnects",
                           "Connections lost.",
                           { "client", "broker" },
                           BROKER_LIMIT },
  [BROKER_RTT] = { SIP_GAUGE,
                   "sipeat_kafka_broker_rtt_seconds",
                   "Times from request to answer lately.",
                   { "client", "broker", "quantile" },
                   BROKER_LIMIT },
  [BROKER_QUEUE] = { SIP_GAUGE,
                     "sipeat_kafka_produce_queue_seconds",
                     "Times of records in the producer's queue lately.",
                     { "client", "broker", "quantile" },
                     BROKER_LIMIT },
  [LAG] = { SIP_GAUGE,
            "sipeat_partition_lag",
            "Records that the group has not finished yet.",
            { "group", "topic", "partition" },
            PARTITION_LIMIT },
};

int sip_kafka_metrics_new(struct sip_kafka_metrics **out, struct sip_metrics_shard *shard,
                          struct sip_err *err)
{
  static const char *const labels[] = { "messaging_destination_name", "error_type" };
  const struct sip_metric_spec sent = { .kind = SIP_COUNTER,
                                        .name = "messaging_client_sent_messages",
                                        .help = "Records acknowledged, or given up with an error.",
                                        .labels = labels,
                                        .label_count = 2,
                                        .limit = BROKER_LIMIT };
  struct sip_kafka_metrics *metrics = calloc(1, sizeof *metrics);
  int rc = metrics == NULL ? sip_err_set(err, UV_ENOMEM, "kafka metrics: no memory")
                           : sip_metric_declare(&metrics->sent, shard, &sent, err);

  for (size_t i = 0; rc == 0 && i < FIGURES; i++) {
    struct sip_metric_spec spec = { .kind = figures[i].kind,
                                    .name = figures[i].name,
                                    .help = figures[i].help,
                                    .labels = figures[i].labels,
                                    .limit = figures[i].limit,
                                    .merge = SIP_MERGE_SUM };

    while (spec.label_count < SIP_METRIC_LABELS && spec.labels[spec.label_count] != NULL) {
      spec.label_count++;
    }
    rc = sip_metric_declare(&metrics->figures[i], shard, &spec, err);
  }
  if (rc < 0) {
    free(metrics);
    return rc;
  }
  sip_json_init(&metrics->json);
  metrics->shard = sip_metrics_shard_ref(shard); /* it outlives the state that made it */
  *out = metrics;
  return 0;
}

void sip_kafka_metrics_free(struct sip_kafka_metrics *metrics)
{
  if (metrics != NULL) {
    sip_json_deinit(&metrics->json);
    sip_metrics_shard_unref(metrics->shard);
  }
  free(metrics);
}

struct sip_series *sip_kafka_metrics_sent(struct sip_kafka_metrics *metrics, const char *topic,
                                          const char *error)
{
  const struct sip_slice values[] = { { topic, strlen(topic) }, { error, strlen(error) } };

  return metrics == NULL ? NULL : sip_metric_series(metrics->sent, values);
}

/* --- one client --- */

struct sip_stats *sip_stats_new(struct sip_kafka_metrics *metrics, const rd_kafka_t *rk,
                                const char *group)
{
  const char *name = rd_kafka_name(rk), *number = strrchr(name, '#'); /* sipeat#consumer-1 */
  struct sip_stats *stats = metrics == NULL ? NULL : calloc(1, sizeof *stats);

  if (stats == NULL) {
    return NULL;
  }
  stats->metrics = metrics;
  stats->client = strdup(number == NULL ? name : number + 1);
  stats->group = group == NULL ? NULL : strdup(group);
  if (stats->client == NULL || (group != NULL && stats->group == NULL)) {
    sip_stats_free(stats);
    return NULL;
  }
  return stats;
}

static void kept_drop(struct kept *kept)
{
  for (size_t i = 0; i < kept->count; i++) {
    sip_series_forget(kept->list[i]);
  }
  free((void *)kept->list);
}

void sip_stats_free(struct sip_stats *stats)
{
  if (stats != NULL) {
    kept_drop(&stats->kept);
    free(stats->client);
    free(stats->group);
  }
  free(stats);
}

/* --- reading --- */

struct reading {
  struct sip_stats *stats;
  const char *text;
  struct kept kept; /* from this text */
};

static struct sip_slice slice(const char *text)
{
  return (struct sip_slice){ text, strlen(text) };
}

static void note(struct reading *reading, enum figure figure, const struct sip_slice *values,
                 double value)
{
  struct kept *kept = &reading->kept;
  struct sip_series *series;

  if (kept->count == kept->cap) {
    size_t cap = kept->cap == 0 ? 64 : kept->cap * 2;
    struct sip_series **list =
      kept->cap >= KEPT_MAX ? NULL
                            : (struct sip_series **)realloc((void *)kept->list, cap * sizeof *list);

    if (list == NULL) {
      return; /* the figure is left out */
    }
    kept->list = list;
    kept->cap = cap;
  }
  series = sip_metric_series(reading->stats->metrics->figures[figure], values);
  if (series != NULL) {
    sip_series_set(series, value);
    kept->list[kept->count++] = sip_series_keep(series);
  }
}

/* A field of an object; NULL: there is none. */
static struct sip_json_token *field(const struct reading *reading, struct sip_json_token *object,
                                    const char *name)
{
  struct sip_json_token *key = object == NULL || object->type != SIP_JSON_OBJECT
                                 ? NULL
                                 : sip_json_find(reading->text, object, name, strlen(name));

  return key == NULL ? NULL : key + 1;
}

static double number(const struct reading *reading, struct sip_json_token *object, const char *name)
{
  const struct sip_json_token *token = field(reading, object, name);
  struct sip_json_number value;

  if (token == NULL || token->type != SIP_JSON_NUMBER) {
    return 0;
  }
  value = sip_json_number(reading->text, token);
  return value.integral ? (double)value.integer : value.real;
}

static struct sip_slice text_of(const struct reading *reading, const struct sip_json_token *token)
{
  return token == NULL || token->type != SIP_JSON_STRING
           ? (struct sip_slice){ "", 0 }
           : (struct sip_slice){ reading->text + token->at, token->len };
}

static bool is_text(struct sip_slice text, const char *what)
{
  return text.len == strlen(what) && memcmp(text.data, what, text.len) == 0;
}

/* Microseconds of a window, by quantile. */
static void read_window(struct reading *reading, enum figure figure, struct sip_slice broker,
                        struct sip_json_token *window)
{
  static const struct {
    const char *name, *quantile;
  } quantiles[] = { { "p50", "0.5" }, { "p99", "0.99" } };

  if (number(reading, window, "cnt") <= 0) {
    return;
  }
  for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
    const struct sip_slice values[] = { slice(reading->stats->client), broker,
                                        slice(quantiles[i].quantile) };

    note(reading, figure, values, number(reading, window, quantiles[i].name) / 1e6);
  }
}

static void read_broker(struct reading *reading, struct sip_json_token *broker)
{
  static const struct {
    const char *name, *kind;
  } errors[] = { { "txerrs", "send" }, { "rxerrs", "receive" }, { "req_timeouts", "timeout" } };
  struct sip_slice state = text_of(reading, field(reading, broker, "state"));
  struct sip_slice values[] = { slice(reading->stats->client),
                                text_of(reading, field(reading, broker, "nodename")),
                                { NULL, 0 } };

  if (number(reading, broker, "nodeid") < 0) {
    return; /* an address of the settings, or the coordinator by another name */
  }
  note(reading, BROKER_UP, values, is_text(state, "UP") || is_text(state, "INIT") ? 1 : 0);
  note(reading, BROKER_DISCONNECTS, values, number(reading, broker, "disconnects"));
  for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
    values[2] = slice(errors[i].kind);
    note(reading, BROKER_ERRORS, values, number(reading, broker, errors[i].name));
  }
  read_window(reading, BROKER_RTT, values[1], field(reading, broker, "rtt"));
  if (reading->stats->group == NULL) {
    read_window(reading, BROKER_QUEUE, values[1], field(reading, broker, "int_latency"));
  }
}

/* What the group has not finished: from what it committed, or where the log begins, to its end. */
static void read_partition(struct reading *reading, struct sip_slice topic, struct sip_slice name,
                           struct sip_json_token *partition)
{
  double end = number(reading, partition, "hi_offset");
  double begin = number(reading, partition, "lo_offset");
  double committed = number(reading, partition, "committed_offset");
  const struct sip_slice values[] = { slice(reading->stats->group), topic, name };

  if (is_text(text_of(reading, field(reading, partition, "fetch_state")), "none") ||
      name.data[0] == '-' || end < 0) {
    return; /* somebody else's, librdkafka's own, or not known yet */
  }
  if (number(reading, partition, "ls_offset") > 0) {
    end = number(reading, partition, "ls_offset"); /* what a transaction has open is not there */
  }
  if (committed < 0) {
    committed = begin < 0 ? 0 : begin;
  }
  note(reading, LAG, values, end > committed ? end - committed : 0);
}

typedef void (*read_fn)(struct reading *reading, struct sip_slice of, struct sip_slice name,
                        struct sip_json_token *value);

/* Each field of an object. */
static void read_each(struct reading *reading, struct sip_slice of, struct sip_json_token *object,
                      read_fn read)
{
  struct sip_json_token *key = object + 1;

  if (object == NULL || object->type != SIP_JSON_OBJECT) {
    return;
  }
  while (key < object + object->span) {
    struct sip_json_token *value = key + 1;

    read(reading, of, text_of(reading, key), value);
    key = value + value->span;
  }
}

static void read_topic(struct reading *reading, struct sip_slice of, struct sip_slice name,
                       struct sip_json_token *topic)
{
  (void)of;
  read_each(reading, name, field(reading, topic, "partitions"), read_partition);
}

static void read_one_broker(struct reading *reading, struct sip_slice of, struct sip_slice name,
                            struct sip_json_token *broker)
{
  (void)of;
  (void)name;
  read_broker(reading, broker);
}

static void read_all(struct reading *reading, struct sip_json_token *all)
{
  const struct sip_stats *stats = reading->stats;
  struct sip_slice values[] = { slice(stats->client), { NULL, 0 } };
  struct sip_slice nothing = { "", 0 };

  note(reading, SENT_BYTES, values, number(reading, all, "tx_bytes"));
  note(reading, RECEIVED_BYTES, values, number(reading, all, "rx_bytes"));
  read_each(reading, nothing, field(reading, all, "brokers"), read_one_broker);
  if (stats->group == NULL) {
    note(reading, QUEUE_MESSAGES, values, number(reading, all, "msg_cnt"));
    note(reading, QUEUE_BYTES, values, number(reading, all, "msg_size"));
    return;
  }
  values[1] = slice(stats->group);
  note(reading, REBALANCES, values, number(reading, field(reading, all, "cgrp"), "rebalance_cnt"));
  note(reading, ASSIGNED, values, number(reading, field(reading, all, "cgrp"), "assignment_size"));
  read_each(reading, nothing, field(reading, all, "topics"), read_topic);
}

void sip_stats_take(struct sip_stats *stats, const char *json)
{
  struct reading reading = { .stats = stats, .text = json };
  struct sip_err err = { 0 };
  struct kept before;

  if (stats == NULL) {
    return;
  }
  if (sip_json_scan(&stats->metrics->json, json, strlen(json), &err) < 0) {
    sip_log(SIP_LOG_DEBUG, "kafka", NULL, "statistics of %s: %s", stats->client, err.message);
    return;
  }
  read_all(&reading, stats->metrics->json.tokens);
  before = stats->kept;
  stats->kept = reading.kept;
  kept_drop(&before);
}
