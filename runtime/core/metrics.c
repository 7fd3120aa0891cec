/* metrics.c - shards, metrics and series: see metrics.h. A shard's thread makes and removes under
 * the lock and reads without it, for nobody else changes its lists. */
#include "core/metrics.h"

#include "core/hash.h"
#include "core/metrics_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 8 };

/* Of OpenTelemetry's advice for durations, and three below it: most handlers wait for nothing. */
static const double SECONDS[] = { 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                  0.25,   0.5,    1,     2.5,    5,     10,   30,    60 };

/* --- the process and its shards --- */

int sip_metrics_new(struct sip_metrics **out)
{
  struct sip_metrics *metrics = calloc(1, sizeof *metrics);

  if (metrics == NULL || uv_mutex_init(&metrics->mutex) < 0) {
    free(metrics);
    return UV_ENOMEM;
  }
  metrics->references = 1;
  sip_list_init(&metrics->shards);
  *out = metrics;
  return 0;
}

void sip_metrics_unref(struct sip_metrics *metrics)
{
  size_t left;

  if (metrics == NULL) {
    return;
  }
  uv_mutex_lock(&metrics->mutex);
  left = --metrics->references;
  uv_mutex_unlock(&metrics->mutex);
  if (left == 0) {
    uv_mutex_destroy(&metrics->mutex);
    free(metrics);
  }
}

void sip_metrics_shard_init(struct sip_metrics_shard *shard)
{
  memset(shard, 0, sizeof *shard);
  sip_list_init(&shard->link);
  shard->last = &shard->first;
}

int sip_metrics_shard_new(struct sip_metrics_shard **out, struct sip_metrics *metrics)
{
  struct sip_metrics_shard *shard = malloc(sizeof *shard);

  if (shard == NULL) {
    return UV_ENOMEM;
  }
  sip_metrics_shard_init(shard);
  shard->metrics = metrics;
  shard->references = 1;
  uv_mutex_lock(&metrics->mutex);
  metrics->references++;
  sip_list_push(&metrics->shards, &shard->link);
  uv_mutex_unlock(&metrics->mutex);
  *out = shard;
  return 0;
}

static void series_free(struct sip_series *series)
{
  free(series->seen);
  free(series);
}

static void metric_free(struct sip_metric *metric)
{
  struct sip_series *series;

  while ((series = metric->first) != NULL) {
    metric->first = series->next;
    series_free(series);
  }
  for (size_t i = 0; i < metric->label_count; i++) {
    free(metric->labels[i]);
  }
  free((void *)metric->slots);
  free(metric->help);
  free(metric);
}

void sip_metrics_shard_deinit(struct sip_metrics_shard *shard)
{
  struct sip_metric *metric;

  while ((metric = shard->first) != NULL) {
    shard->first = metric->next;
    metric_free(metric);
  }
  shard->last = &shard->first;
  shard->count = 0;
}

struct sip_metrics_shard *sip_metrics_shard_ref(struct sip_metrics_shard *shard)
{
  shard->references++;
  return shard;
}

void sip_metrics_shard_unref(struct sip_metrics_shard *shard)
{
  if (shard == NULL || --shard->references > 0) {
    return;
  }
  uv_mutex_lock(&shard->metrics->mutex);
  sip_list_remove(&shard->link);
  uv_mutex_unlock(&shard->metrics->mutex);
  sip_metrics_shard_deinit(shard);
  sip_metrics_unref(shard->metrics);
  free(shard);
}

static void shard_lock(struct sip_metrics_shard *shard)
{
  if (shard->metrics != NULL) {
    uv_mutex_lock(&shard->metrics->mutex);
  }
}

static void shard_unlock(struct sip_metrics_shard *shard)
{
  if (shard->metrics != NULL) {
    uv_mutex_unlock(&shard->metrics->mutex);
  }
}

/* --- declaring --- */

static bool is_name(const char *name)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
  static const char others[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
  size_t len = strlen(name);

  return len > 0 && len <= SIP_METRIC_NAME_BYTES && strchr(letters, name[0]) != NULL &&
         strspn(name, others) == len;
}

static bool ends_with(const char *name, const char *end)
{
  size_t len = strlen(name), end_len = strlen(end);

  return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

static int check_name(const struct sip_metric_spec *spec, struct sip_err *err)
{
  static const char *const taken[] = { "_total", "_bucket", "_count", "_sum", "_created", "_info" };

  if (!is_name(spec->name)) {
    return sip_err_set(err, UV_EINVAL,
                       "metric \"%.80s\": a name is made of a to z, 0 to 9 and _, does not begin "
                       "with a digit, and has at most %d characters",
                       spec->name, SIP_METRIC_NAME_BYTES);
  }
  for (size_t i = spec->kind == SIP_COUNTER ? 1 : 0; i < sizeof taken / sizeof taken[0]; i++) {
    if (ends_with(spec->name, taken[i])) {
      return sip_err_set(err, UV_EINVAL, "metric %s: the end %s is added by the format itself",
                         spec->name, taken[i]);
    }
  }
  return 0;
}

static int check_labels(const struct sip_metric_spec *spec, struct sip_err *err)
{
  if (spec->label_count > SIP_METRIC_LABELS) {
    return sip_err_set(err, UV_EINVAL, "metric %s: at most %d labels", spec->name,
                       SIP_METRIC_LABELS);
  }
  for (size_t i = 0; i < spec->label_count; i++) {
    const char *label = spec->labels[i];
    bool twice = false;

    for (size_t j = 0; j < i; j++) {
      twice = twice || strcmp(spec->labels[j], label) == 0;
    }
    if (!is_name(label) || strncmp(label, "__", 2) == 0 || strcmp(label, "le") == 0 || twice) {
      return sip_err_set(err, UV_EINVAL,
                         "metric %s: label \"%.80s\" is made of a to z, 0 to 9 and _, is not le, "
                         "and stands once",
                         spec->name, label);
    }
  }
  return 0;
}

static int check_buckets(const struct sip_metric_spec *spec, struct sip_err *err)
{
  bool good = spec->bucket_count <= SIP_METRIC_BUCKETS;

  for (size_t i = 0; good && i < spec->bucket_count; i++) {
    good = isfinite(spec->buckets[i]) && (i == 0 || spec->buckets[i - 1] < spec->buckets[i]);
  }
  return good ? 0
              : sip_err_set(err, UV_EINVAL,
                            "metric %s: buckets are at most %d numbers in ascending order",
                            spec->name, SIP_METRIC_BUCKETS);
}

static bool same_shape(const struct sip_metric *a, const struct sip_metric *b)
{
  bool same = a->kind == b->kind && a->merge == b->merge && a->label_count == b->label_count &&
              a->bucket_count == b->bucket_count;

  for (size_t i = 0; same && i < a->label_count; i++) {
    same = strcmp(a->labels[i], b->labels[i]) == 0;
  }
  for (size_t i = 0; same && i < a->bucket_count; i++) {
    same = a->buckets[i] == b->buckets[i];
  }
  return same;
}

static int metric_new(struct sip_metric **out, struct sip_metrics_shard *shard,
                      const struct sip_metric_spec *spec, struct sip_err *err)
{
  struct sip_metric *metric = calloc(1, sizeof *metric);
  bool good = metric != NULL;

  if (good) {
    metric->shard = shard;
    metric->kind = spec->kind;
    metric->merge = spec->merge;
    metric->limit = spec->limit == 0 ? SIP_METRIC_SERIES : spec->limit;
    metric->last = &metric->first;
    metric->slot_count = FIRST_SLOTS;
    memcpy(metric->name, spec->name, strlen(spec->name) + 1);
    if (spec->kind == SIP_COUNTER && ends_with(metric->name, "_total")) {
      metric->name[strlen(metric->name) - strlen("_total")] = '\0';
    }
    if (spec->kind == SIP_HISTOGRAM) {
      metric->bucket_count =
        spec->buckets == NULL ? sizeof SECONDS / sizeof SECONDS[0] : spec->bucket_count;
      memcpy(metric->buckets, spec->buckets == NULL ? SECONDS : spec->buckets,
             metric->bucket_count * sizeof SECONDS[0]);
    }
    metric->slots = (struct sip_series **)calloc(FIRST_SLOTS, sizeof *metric->slots);
    metric->help = strdup(spec->help);
    good = metric->slots != NULL && metric->help != NULL;
  }
  for (size_t i = 0; good && i < spec->label_count; i++) {
    metric->labels[i] = strdup(spec->labels[i]);
    metric->label_count += metric->labels[i] != NULL;
    good = metric->labels[i] != NULL;
  }
  if (!good) {
    if (metric != NULL) {
      metric_free(metric);
    }
    return sip_err_set(err, UV_ENOMEM, "metric %s: no memory", spec->name);
  }
  *out = metric;
  return 0;
}

static struct sip_metric *shard_find(const struct sip_metrics_shard *shard, const char *name)
{
  struct sip_metric *metric = shard->first;

  while (metric != NULL && strcmp(metric->name, name) != 0) {
    metric = metric->next;
  }
  return metric;
}

static int shard_add(struct sip_metrics_shard *shard, struct sip_metric *metric,
                     struct sip_err *err)
{
  if (shard->count >= SIP_METRICS) {
    return sip_err_set(err, SIP_ETOOBIG,
                       "metric %s: there are %d already; what tells them apart is a label",
                       metric->name, SIP_METRICS);
  }
  shard_lock(shard);
  *shard->last = metric;
  shard->last = &metric->next;
  shard->count++;
  shard_unlock(shard);
  if (metric->label_count == 0 && sip_metric_series(metric, NULL) == NULL) {
    return sip_err_set(err, UV_ENOMEM, "metric %s: no memory", metric->name);
  }
  return 0;
}

int sip_metric_declare(struct sip_metric **out, struct sip_metrics_shard *shard,
                       const struct sip_metric_spec *spec, struct sip_err *err)
{
  struct sip_metric *metric = NULL, *there;
  int rc = check_name(spec, err);

  rc = rc < 0 ? rc : check_labels(spec, err);
  rc = rc < 0 ? rc : check_buckets(spec, err);
  rc = rc < 0 ? rc : metric_new(&metric, shard, spec, err);
  if (metric == NULL) {
    return rc;
  }
  there = shard_find(shard, metric->name);
  if (there == NULL) {
    rc = shard_add(shard, metric, err);
    if (rc == SIP_ETOOBIG) {
      metric_free(metric);
    } else if (rc == 0) {
      *out = metric;
    }
    return rc;
  }
  if (!same_shape(there, metric)) {
    rc = sip_err_set(err, SIP_EEXISTS,
                     "metric %s: it was declared with another kind, labels or buckets; take "
                     "another name, or start the program anew",
                     spec->name);
  }
  metric_free(metric);
  if (rc == 0) {
    *out = there;
  }
  return rc;
}

enum sip_metric_kind sip_metric_kind(const struct sip_metric *metric)
{
  return metric->kind;
}

enum sip_metric_merge sip_metric_merge(const struct sip_metric *metric)
{
  return metric->merge;
}

size_t sip_metric_labels(const struct sip_metric *metric)
{
  return metric->label_count;
}

const char *sip_metric_name(const struct sip_metric *metric)
{
  return metric->name;
}

/* --- series --- */

struct key {
  size_t len;
  char data[SIP_METRIC_LABELS * (SIP_METRIC_VALUE_BYTES + 1)];
};

static void key_make(struct key *key, const struct sip_metric *metric,
                     const struct sip_slice *values)
{
  key->len = 0;
  for (size_t i = 0; i < metric->label_count; i++) {
    size_t len =
      values[i].len < SIP_METRIC_VALUE_BYTES ? values[i].len : (size_t)SIP_METRIC_VALUE_BYTES;

    key->data[key->len++] = (char)len;
    if (len > 0) {
      memcpy(key->data + key->len, values[i].data, len);
    }
    key->len += len;
  }
}

struct sip_slice sip_series_value(const struct sip_series *series, size_t *at)
{
  struct sip_slice value = { series->key + *at + 1, (unsigned char)series->key[*at] };

  *at += value.len + 1;
  return value;
}

static struct sip_series **metric_slot(const struct sip_metric *metric, uint64_t hash)
{
  return &metric->slots[(hash ^ (hash >> 32)) & (metric->slot_count - 1)];
}

static struct sip_series *metric_find(const struct sip_metric *metric, const struct key *key,
                                      uint64_t hash)
{
  struct sip_series *series = *metric_slot(metric, hash);

  while (series != NULL && (series->hash != hash || series->key_len != key->len ||
                            memcmp(series->key, key->data, key->len) != 0)) {
    series = series->next_in_slot;
  }
  return series;
}

/* Twice as many slots; without memory it goes on with those that it has. */
static void metric_grow(struct sip_metric *metric)
{
  size_t count = metric->slot_count * 2;
  struct sip_series **slots = (struct sip_series **)calloc(count, sizeof *slots);

  if (slots == NULL) {
    return;
  }
  free((void *)metric->slots);
  metric->slots = slots;
  metric->slot_count = count;
  for (struct sip_series *series = metric->first; series != NULL; series = series->next) {
    struct sip_series **slot = metric_slot(metric, series->hash);

    series->next_in_slot = *slot;
    *slot = series;
  }
}

static struct sip_series *metric_add(struct sip_metric *metric, const struct key *key,
                                     uint64_t hash)
{
  size_t counts = metric->kind == SIP_HISTOGRAM ? metric->bucket_count + 1 : 0;
  struct sip_series *series =
    calloc(1, sizeof *series + counts * sizeof series->counts[0] + key->len);
  struct sip_series **slot;

  if (series == NULL) {
    return NULL;
  }
  series->metric = metric;
  series->hash = hash;
  series->key = (char *)&series->counts[counts];
  series->key_len = key->len;
  memcpy(series->key, key->data, key->len);
  shard_lock(metric->shard);
  if (metric->count >= metric->slot_count) {
    metric_grow(metric);
  }
  slot = metric_slot(metric, hash);
  series->next_in_slot = *slot;
  *slot = series;
  *metric->last = series;
  metric->last = &series->next;
  metric->count++;
  shard_unlock(metric->shard);
  return series;
}

struct sip_series *sip_metric_series(struct sip_metric *metric, const struct sip_slice *values)
{
  static const struct sip_slice other = { "other", 5 };
  struct sip_slice others[SIP_METRIC_LABELS];
  struct sip_series *series;
  struct key key;
  uint64_t hash;

  key_make(&key, metric, values);
  hash = sip_hash(SIP_HASH_INIT, key.data, key.len);
  series = metric_find(metric, &key, hash);
  if (series != NULL) {
    return series;
  }
  if (metric->count < metric->limit) {
    return metric_add(metric, &key, hash);
  }
  for (size_t i = 0; i < metric->label_count; i++) {
    others[i] = other;
  }
  atomic_store_explicit(&metric->overflowed,
                        atomic_load_explicit(&metric->overflowed, memory_order_relaxed) + 1,
                        memory_order_relaxed); /* one writer */
  key_make(&key, metric, others);
  hash = sip_hash(SIP_HASH_INIT, key.data, key.len);
  series = metric_find(metric, &key, hash);
  return series != NULL ? series : metric_add(metric, &key, hash);
}

static void series_remove(struct sip_series *series)
{
  struct sip_metric *metric = series->metric;
  struct sip_series **at;

  shard_lock(metric->shard);
  for (at = metric_slot(metric, series->hash); *at != series; at = &(*at)->next_in_slot) {
  }
  *at = series->next_in_slot;
  for (at = &metric->first; *at != series; at = &(*at)->next) {
  }
  *at = series->next;
  if (metric->last == &series->next) {
    metric->last = at;
  }
  metric->count--;
  shard_unlock(metric->shard);
  series_free(series);
}

void sip_metric_remove(struct sip_metric *metric, const struct sip_slice *values)
{
  struct sip_series *series;
  struct key key;

  key_make(&key, metric, values);
  series = metric_find(metric, &key, sip_hash(SIP_HASH_INIT, key.data, key.len));
  if (series != NULL && series->users == 0) {
    series_remove(series);
  }
}

struct sip_series *sip_series_keep(struct sip_series *series)
{
  if (series != NULL) {
    series->users++;
  }
  return series;
}

void sip_series_drop(struct sip_series *series)
{
  if (series != NULL) {
    series->users--;
  }
}

void sip_series_forget(struct sip_series *series)
{
  if (series != NULL && --series->users == 0) {
    series_remove(series);
  }
}

/* --- values --- */

void sip_series_set(struct sip_series *series, double value)
{
  const struct sip_metric *metric = series->metric;
  uint64_t at = 1;

  atomic_store_explicit(&series->value, value, memory_order_relaxed);
  if (metric->merge == SIP_MERGE_LAST && metric->kind == SIP_GAUGE) {
    at += atomic_fetch_add_explicit(&metric->shard->metrics->moment, 1, memory_order_relaxed);
  }
  atomic_store_explicit(&series->at, at, memory_order_relaxed);
}

static size_t series_bucket(const struct sip_series *series, double value)
{
  const struct sip_metric *metric = series->metric;
  size_t bucket = 0;

  while (bucket < metric->bucket_count && !(value <= metric->buckets[bucket])) {
    bucket++;
  }
  return bucket;
}

static void series_count(struct sip_series *series, size_t bucket, double value)
{
  uint64_t before = atomic_load_explicit(&series->counts[bucket], memory_order_relaxed);

  atomic_store_explicit(&series->counts[bucket], before + 1, memory_order_relaxed);
  sip_series_add(series, value);
}

void sip_series_observe(struct sip_series *series, double value)
{
  series_count(series, series_bucket(series, value), value);
}

void sip_series_observe_traced(struct sip_series *series, double value, const char *trace_id)
{
  struct sip_metrics *metrics = series->metric->shard->metrics;
  size_t bucket = series_bucket(series, value);
  uv_timeval64_t now;

  series_count(series, bucket, value);
  if (metrics == NULL || uv_gettimeofday(&now) < 0 || uv_mutex_trylock(&metrics->mutex) < 0) {
    return; /* somebody reads: the next one will do */
  }
  if (series->seen == NULL) {
    series->seen = calloc(1, sizeof *series->seen);
  }
  if (series->seen != NULL) {
    struct sip_exemplar *exemplar = &series->seen->of[bucket];
    size_t len = strspn(trace_id, "0123456789abcdef");

    len = len < sizeof exemplar->trace_id ? len : 0;
    memcpy(exemplar->trace_id, trace_id, len);
    exemplar->trace_id[len] = '\0';
    exemplar->value = value;
    exemplar->at = (double)now.tv_sec + (double)now.tv_usec / 1e6;
  }
  uv_mutex_unlock(&metrics->mutex);
}
