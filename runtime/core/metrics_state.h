#ifndef SIP_CORE_METRICS_STATE_H
#define SIP_CORE_METRICS_STATE_H
/* metrics_state.h - what metrics.c and metrics_text.c share; nobody else includes it. */
#include "core/list.h"
#include "core/metrics.h"

#include <uv.h>

struct sip_exemplar {
  char trace_id[33]; /* "": none */
  double value;
  double at; /* seconds since 1970-01-01 UTC */
};

struct sip_exemplars {
  struct sip_exemplar of[SIP_METRIC_BUCKETS + 1];
};

struct sip_metric {
  struct sip_metric *next; /* owned by the shard */
  struct sip_metrics_shard *shard;
  enum sip_metric_kind kind;
  enum sip_metric_merge merge;
  char name[SIP_METRIC_NAME_BYTES + 1]; /* without _total */
  char *help;
  char *labels[SIP_METRIC_LABELS]; /* owned */
  size_t label_count, bucket_count, limit;
  double buckets[SIP_METRIC_BUCKETS];
  struct sip_series *first, **last; /* owned: in the order of their making */
  struct sip_series **slots;        /* owned: by hash; a power of two */
  size_t slot_count, count;
  _Atomic double overflowed; /* what went to the series of all others */
};

struct sip_metrics_shard {
  struct sip_list link;        /* in metrics->shards */
  struct sip_metrics *metrics; /* counted */
  struct sip_metric *first, **last;
  size_t count, references;
};

struct sip_metrics {
  uv_mutex_t mutex; /* for the shards, their metrics and the lists of series, not for values */
  size_t references;
  struct sip_list shards;
  _Atomic uint64_t moment; /* counts settings of gauges */
};

/** A shard that belongs to nobody: what others are added up in. */
void sip_metrics_shard_init(struct sip_metrics_shard *shard);
void sip_metrics_shard_deinit(struct sip_metrics_shard *shard);

/** The value of a label in a key. @param at  where it begins; moves behind it */
struct sip_slice sip_series_value(const struct sip_series *series, size_t *at);

#endif
