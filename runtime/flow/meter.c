/* meter.c - the metrics of flows: see meter.h. */
#include "flow/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_LIMIT = 100, SERIES_LIMIT = 2000, PARTITION_LIMIT = 10000 };

struct sip_meter {
  struct sip_metric *attempts, *records, *bytes; /* borrowed from the shard */
};

static const char *const partition_labels[] = { "messaging_consumer_group_name",
                                                "messaging_destination_name",
                                                "messaging_destination_partition_id" };

static const char *const short_labels[] = { "group", "topic", "partition" };

const char *sip_attempt_name(enum sip_attempt how)
{
  static const char *const names[] = { "ok", "retried", "dead", "parked", "stopped" };

  return names[how];
}

int sip_meter_new(struct sip_meter **out, struct sip_metrics_shard *shard, struct sip_err *err)
{
  static const char *const labels[] = { "messaging_consumer_group_name", "cloudevents_event_type",
                                        "outcome" };
  const struct sip_metric_spec attempts = {
    .kind = SIP_HISTOGRAM,
    .name = "messaging_process_duration_seconds",
    .help = "How long attempts of handlers took, what they waited for included.",
    .labels = labels,
    .label_count = 3,
    .limit = SERIES_LIMIT
  };
  struct sip_metric_spec counted = { .kind = SIP_COUNTER,
                                     .name = "messaging_client_consumed_messages",
                                     .help = "Records taken, by partition.",
                                     .labels = partition_labels,
                                     .label_count = 3,
                                     .limit = PARTITION_LIMIT };
  struct sip_meter *meter = calloc(1, sizeof *meter);
  int rc;

  if (meter == NULL) {
    return sip_err_set(err, UV_ENOMEM, "metrics of flows: no memory");
  }
  rc = sip_metric_declare(&meter->attempts, shard, &attempts, err);
  rc = rc < 0 ? rc : sip_metric_declare(&meter->records, shard, &counted, err);
  counted.name = "sipeat_partition_bytes";
  counted.help = "Bytes of keys and values taken, by partition.";
  counted.labels = short_labels;
  rc = rc < 0 ? rc : sip_metric_declare(&meter->bytes, shard, &counted, err);
  if (rc < 0) {
    free(meter);
    return rc;
  }
  *out = meter;
  return 0;
}

void sip_meter_free(struct sip_meter *meter)
{
  free(meter);
}

static struct sip_meter_type *type_add(struct sip_meter_flow *flow, const char *text, size_t len)
{
  struct sip_meter_type *type = calloc(1, sizeof *type + len);

  if (type == NULL) {
    return NULL;
  }
  type->len = len;
  memcpy(type->text, text, len);
  type->next = flow->types;
  flow->types = type;
  flow->count++;
  return type;
}

static struct sip_meter_type *type_find(const struct sip_meter_flow *flow, const char *text,
                                        size_t len)
{
  struct sip_meter_type *type = flow->types;

  while (type != NULL && (type->len != len || memcmp(type->text, text, len) != 0)) {
    type = type->next;
  }
  return type;
}

struct sip_meter_type *sip_meter_type_of(struct sip_meter_flow *flow, const char *text, size_t len)
{
  static const char other[] = "other";
  struct sip_meter_type *type = flow->last;

  if (len > SIP_METRIC_VALUE_BYTES) {
    len = SIP_METRIC_VALUE_BYTES;
  }
  if (type != NULL && type->len == len && memcmp(type->text, text, len) == 0) {
    return type;
  }
  type = type_find(flow, text, len);
  if (type == NULL && flow->count < TYPE_LIMIT) {
    type = type_add(flow, text, len);
  } else if (type == NULL) {
    type = type_find(flow, other, sizeof other - 1);
    type = type != NULL ? type : type_add(flow, other, sizeof other - 1);
  }
  flow->last = type;
  return type;
}

void sip_meter_flow_deinit(struct sip_meter_flow *flow)
{
  struct sip_meter_type *type;

  while ((type = flow->types) != NULL) {
    flow->types = type->next;
    free(type);
  }
  flow->last = NULL;
  flow->count = 0;
}

void sip_meter_attempt(struct sip_meter *meter, const char *group, struct sip_meter_type *type,
                       enum sip_attempt how, uint64_t took_ns, const char *trace_id)
{
  struct sip_series *series = type->series[how];
  double seconds = (double)took_ns / 1e9;

  if (series == NULL) {
    const char *outcome = sip_attempt_name(how);
    const struct sip_slice values[] = { { group, strlen(group) },
                                        { type->text, type->len },
                                        { outcome, strlen(outcome) } };

    series = sip_metric_series(meter->attempts, values);
    if (series == NULL) {
      return; /* without memory nothing is counted */
    }
    type->series[how] = series;
  }
  if (trace_id[0] != '\0') {
    sip_series_observe_traced(series, seconds, trace_id);
  } else {
    sip_series_observe(series, seconds);
  }
}

void sip_meter_come(struct sip_meter *meter, struct sip_meter_partition *partition,
                    const char *group, const char *topic, int32_t number)
{
  char text[16];
  int len = snprintf(text, sizeof text, "%d", (int)number);
  const struct sip_slice values[] = { { group, strlen(group) },
                                      { topic, strlen(topic) },
                                      { text, (size_t)len } };

  partition->records = sip_series_keep(sip_metric_series(meter->records, values));
  partition->bytes = sip_series_keep(sip_metric_series(meter->bytes, values));
  if (partition->bytes == NULL) {
    sip_meter_go(partition);
  }
}

void sip_meter_go(struct sip_meter_partition *partition)
{
  sip_series_forget(partition->records);
  sip_series_forget(partition->bytes);
  partition->records = partition->bytes = NULL;
}
