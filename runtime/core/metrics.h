#ifndef SIP_CORE_METRICS_H
#define SIP_CORE_METRICS_H
/* metrics.h - counters, gauges and histograms of a process, each worker with its own.
 *
 * A shard is what one thread counts. Only that thread writes it, with plain stores and no lock; who
 * collects reads the shards of all threads and adds them up. A metric has one series for each set
 * of label values, up to a limit; what goes beyond it is one series whose values are all "other",
 * and is counted. Making and removing a series takes the lock, so keep a series that is used often.
 * A shard: its thread. sip_metrics_new and unref: any thread. */
#include "core/base.h"
#include "core/buf.h"
#include "core/err.h"

#include <stdatomic.h>
#include <stdbool.h>

struct sip_metrics;
struct sip_metrics_shard;
struct sip_metric;
struct sip_exemplars;

enum sip_metric_kind { SIP_COUNTER, SIP_GAUGE, SIP_HISTOGRAM };

/* What the gauges of several workers make together. */
enum sip_metric_merge { SIP_MERGE_LAST, SIP_MERGE_SUM, SIP_MERGE_MAX };

enum {
  SIP_METRIC_LABELS = 8,
  SIP_METRIC_BUCKETS = 32,
  SIP_METRIC_VALUE_BYTES = 128, /* of a label's value; what is longer is cut */
  SIP_METRIC_NAME_BYTES = 120,
  SIP_METRIC_SERIES = 200, /* label sets, unless the spec says another number */
  SIP_METRICS = 1000,      /* of a shard */
};

struct sip_metric_spec {
  enum sip_metric_kind kind;
  const char *name; /* [a-z_][a-z0-9_]*, of a counter with or without _total; copied, as the rest */
  const char *help;
  const char *const *labels;
  size_t label_count;
  const double *buckets; /* of a histogram: upper bounds, ascending, without +Inf; NULL: those of
                            durations in seconds */
  size_t bucket_count;
  size_t limit; /* label sets; 0: SIP_METRIC_SERIES */
  enum sip_metric_merge merge;
};

/* One set of label values. Read by others: every field that changes is atomic. */
struct sip_series {
  struct sip_series *next, *next_in_slot; /* owned by the metric */
  struct sip_metric *metric;              /* borrowed */
  uint64_t hash;
  uint32_t users;             /* who keeps it: see sip_series_keep */
  _Atomic double value;       /* a histogram's sum */
  _Atomic uint64_t at;        /* of a gauge: when it was set, as a count; 0: never */
  struct sip_exemplars *seen; /* owned, under the lock; NULL: none */
  size_t key_len;
  char *key;                 /* points behind the counts: the values, each with its length */
  _Atomic uint64_t counts[]; /* of a histogram: one for each bucket, and +Inf */
};

/** @return 0 or UV_ENOMEM. Counted: freed with the last reference. */
int sip_metrics_new(struct sip_metrics **out);
void sip_metrics_unref(struct sip_metrics *metrics); /* NULL is fine */

/** A shard, which keeps a reference. Counted: it goes, with its metrics, with the last reference.
 *  @return 0 or UV_ENOMEM */
int sip_metrics_shard_new(struct sip_metrics_shard **out, struct sip_metrics *metrics);
struct sip_metrics_shard *sip_metrics_shard_ref(struct sip_metrics_shard *shard);
void sip_metrics_shard_unref(struct sip_metrics_shard *shard); /* NULL is fine */

/** The metric of that name, made at the first call; it lives as long as the shard.
 *  @return 0; UV_EINVAL: a name or a bound that cannot be; SIP_EEXISTS: of another shape;
 *  SIP_ETOOBIG: too many metrics; UV_ENOMEM */
int sip_metric_declare(struct sip_metric **out, struct sip_metrics_shard *shard,
                       const struct sip_metric_spec *spec, struct sip_err *err);

enum sip_metric_kind sip_metric_kind(const struct sip_metric *metric);
enum sip_metric_merge sip_metric_merge(const struct sip_metric *metric);
size_t sip_metric_labels(const struct sip_metric *metric);
const char *sip_metric_name(const struct sip_metric *metric);

/** The series of these values (as many as it has labels), made at the first call; over the limit
 *  the one of all others. It lives until it is removed. @return NULL: no memory */
struct sip_series *sip_metric_series(struct sip_metric *metric, const struct sip_slice *values);

/** Keeps a series, which may be NULL, from being removed, until it is dropped as often. */
struct sip_series *sip_series_keep(struct sip_series *series);
void sip_series_drop(struct sip_series *series);

/** As drop, and removes it when nobody else keeps it. */
void sip_series_forget(struct sip_series *series);

/** Forgets the series of these values, if there is one and nobody keeps it. */
void sip_metric_remove(struct sip_metric *metric, const struct sip_slice *values);

/** Adds to a counter (n is not negative), or to a gauge. */
static inline void sip_series_add(struct sip_series *series, double n)
{
  double before = atomic_load_explicit(&series->value, memory_order_relaxed); /* one writer */

  atomic_store_explicit(&series->value, before + n, memory_order_relaxed);
}

/** Sets a gauge; or a counter to what another one has reached. */
void sip_series_set(struct sip_series *series, double value);

/** Counts one value in a histogram. */
void sip_series_observe(struct sip_series *series, double value);

/** As observe, and remembers which trace it came from: hexadecimal digits, at most 32. */
void sip_series_observe_traced(struct sip_series *series, double value, const char *trace_id);

enum sip_metrics_format { SIP_METRICS_OPENMETRICS, SIP_METRICS_PROMETHEUS };

/** Appends all families of the shard and of all others of its process, without the last line.
 * @return 0 or UV_ENOMEM */
int sip_metrics_write(struct sip_metrics_shard *shard, enum sip_metrics_format format,
                      struct sip_buf *out);

#endif
