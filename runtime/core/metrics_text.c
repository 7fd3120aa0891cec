/* metrics_text.c - the metrics of all shards, added up and written as text: OpenMetrics 1.0, or the
 * older format of Prometheus. */
#include "core/metrics_state.h"
#include "core/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- adding up --- */

/* Values as they can be written: what is no UTF-8 becomes a question mark, so that two series that
 * would read the same are one. */
static void clean_values(const struct sip_series *series, size_t count, struct sip_slice *values,
                         char *room)
{
  size_t at = 0;

  for (size_t i = 0; i < count; i++) {
    struct sip_slice value = sip_series_value(series, &at);

    values[i].data = room;
    values[i].len = value.len;
    for (size_t j = 0; j < value.len;) {
      size_t len = sip_utf8_length(value.data + j, value.len - j);

      if (len == 0 || value.data[j] == '\0') {
        room[j++] = '?';
        continue;
      }
      memcpy(room + j, value.data + j, len);
      j += len;
    }
    room += value.len;
  }
}

static void merge_exemplars(struct sip_series *into, const struct sip_series *from)
{
  if (from->seen == NULL) {
    return;
  }
  if (into->seen == NULL) {
    into->seen = calloc(1, sizeof *into->seen);
  }
  for (size_t i = 0; into->seen != NULL && i <= into->metric->bucket_count; i++) {
    if (from->seen->of[i].at > into->seen->of[i].at) {
      into->seen->of[i] = from->seen->of[i];
    }
  }
}

static void merge_value(struct sip_series *into, const struct sip_series *from)
{
  const struct sip_metric *metric = into->metric;
  double value = atomic_load_explicit(&from->value, memory_order_relaxed);
  uint64_t at = atomic_load_explicit(&from->at, memory_order_relaxed);

  if (metric->kind != SIP_GAUGE || metric->merge == SIP_MERGE_SUM) {
    sip_series_add(into, value);
  } else if (metric->merge == SIP_MERGE_MAX ? at > 0 && (into->at == 0 || value > into->value)
                                            : at > into->at) {
    into->value = value;
    into->at = at;
  }
  for (size_t i = 0; metric->kind == SIP_HISTOGRAM && i <= metric->bucket_count; i++) {
    into->counts[i] = into->counts[i] + from->counts[i];
  }
  merge_exemplars(into, from);
}

static int merge_series(struct sip_metric *into, const struct sip_series *from)
{
  char room[SIP_METRIC_LABELS * SIP_METRIC_VALUE_BYTES];
  struct sip_slice values[SIP_METRIC_LABELS];
  struct sip_series *series;

  clean_values(from, into->label_count, values, room);
  series = sip_metric_series(into, values);
  if (series == NULL) {
    return UV_ENOMEM;
  }
  merge_value(series, from);
  return 0;
}

/* A metric whose shape is not that of the first shard that has it is left out: a script was
 * reloaded with another one, and not everywhere yet. */
static int merge_metric(struct sip_metrics_shard *all, const struct sip_metric *from)
{
  const struct sip_metric_spec spec = { .kind = from->kind,
                                        .name = from->name,
                                        .help = from->help,
                                        .labels = (const char *const *)from->labels,
                                        .label_count = from->label_count,
                                        .buckets = from->buckets,
                                        .bucket_count = from->bucket_count,
                                        .limit = SIZE_MAX,
                                        .merge = from->merge };
  struct sip_metric *into = NULL;
  int rc = sip_metric_declare(&into, all, &spec, NULL);

  if (rc == SIP_EEXISTS || rc == SIP_ETOOBIG) {
    return 0;
  }
  for (struct sip_series *series = from->first; rc == 0 && series != NULL; series = series->next) {
    rc = merge_series(into, series);
  }
  if (rc == 0) {
    into->overflowed = into->overflowed + from->overflowed;
  }
  return rc;
}

/* --- writing --- */

struct page {
  struct sip_buf *out;
  enum sip_metrics_format format;
  int rc;
};

static void put(struct page *page, const char *data, size_t len)
{
  page->rc = page->rc < 0 ? page->rc : sip_buf_add(page->out, data, len);
}

static void puts_(struct page *page, const char *text)
{
  put(page, text, strlen(text));
}

static void put_number(struct page *page, double number)
{
  char text[40];

  if (isnan(number)) {
    puts_(page, "NaN");
    return;
  }
  if (isinf(number)) {
    puts_(page, number > 0 ? "+Inf" : "-Inf");
    return;
  }
  (void)snprintf(text, sizeof text, "%.15g", number);
  if (strtod(text, NULL) != number) {
    (void)snprintf(text, sizeof text, "%.17g", number);
  }
  puts_(page, text);
}

/* A backslash, a line's end, and in values a quote are escaped. */
static void put_escaped(struct page *page, struct sip_slice text, bool is_value)
{
  for (size_t i = 0; i < text.len; i++) {
    char c = text.data[i];

    if (c == '\n') {
      puts_(page, "\\n");
    } else if (c == '\\' || (c == '"' && is_value)) {
      puts_(page, c == '"' ? "\\\"" : "\\\\");
    } else {
      put(page, &c, 1);
    }
  }
}

static void put_head(struct page *page, const char *name, const char *kind, const char *help)
{
  const char *end =
    page->format == SIP_METRICS_PROMETHEUS && strcmp(kind, "counter") == 0 ? "_total" : "";

  puts_(page, "# TYPE ");
  puts_(page, name);
  puts_(page, end);
  puts_(page, " ");
  puts_(page, kind);
  puts_(page, "\n# HELP ");
  puts_(page, name);
  puts_(page, end);
  puts_(page, " ");
  put_escaped(page, (struct sip_slice){ help, strlen(help) }, page->format == 0);
  puts_(page, "\n");
}

/* @param bound  of a bucket; NULL: no bucket */
static void put_labels(struct page *page, const struct sip_series *series, const double *bound)
{
  const struct sip_metric *metric = series->metric;
  const char *before = "{";
  size_t at = 0;

  for (size_t i = 0; i < metric->label_count; i++) {
    puts_(page, before);
    puts_(page, metric->labels[i]);
    puts_(page, "=\"");
    put_escaped(page, sip_series_value(series, &at), true);
    puts_(page, "\"");
    before = ",";
  }
  if (bound != NULL) {
    puts_(page, before);
    puts_(page, "le=\"");
    put_number(page, *bound);
    puts_(page, "\"");
    before = ",";
  }
  puts_(page, before[0] == '{' ? " " : "} ");
}

static void put_exemplar(struct page *page, const struct sip_series *series, size_t bucket)
{
  char at[40];

  if (page->format != SIP_METRICS_OPENMETRICS || series->seen == NULL ||
      series->seen->of[bucket].trace_id[0] == '\0') {
    return;
  }
  puts_(page, " # {trace_id=\"");
  puts_(page, series->seen->of[bucket].trace_id);
  puts_(page, "\"} ");
  put_number(page, series->seen->of[bucket].value);
  (void)snprintf(at, sizeof at, " %.3f", series->seen->of[bucket].at);
  puts_(page, at);
}

static void put_histogram(struct page *page, const struct sip_series *series)
{
  const struct sip_metric *metric = series->metric;
  uint64_t sum = 0;

  for (size_t i = 0; i <= metric->bucket_count; i++) {
    double bound = i < metric->bucket_count ? metric->buckets[i] : INFINITY;

    sum += series->counts[i];
    puts_(page, metric->name);
    puts_(page, "_bucket");
    put_labels(page, series, &bound);
    put_number(page, (double)sum);
    put_exemplar(page, series, i);
    puts_(page, "\n");
  }
  puts_(page, metric->name);
  puts_(page, "_count");
  put_labels(page, series, NULL);
  put_number(page, (double)sum);
  puts_(page, "\n");
  puts_(page, metric->name);
  puts_(page, "_sum");
  put_labels(page, series, NULL);
  put_number(page, series->value);
  puts_(page, "\n");
}

static void put_metric(struct page *page, const struct sip_metric *metric)
{
  static const char *const kinds[] = { "counter", "gauge", "histogram" };

  if (metric->first == NULL) {
    return;
  }
  put_head(page, metric->name, kinds[metric->kind], metric->help);
  for (struct sip_series *series = metric->first; series != NULL; series = series->next) {
    if (metric->kind == SIP_HISTOGRAM) {
      put_histogram(page, series);
      continue;
    }
    puts_(page, metric->name);
    puts_(page, metric->kind == SIP_COUNTER ? "_total" : "");
    put_labels(page, series, NULL);
    put_number(page, series->value);
    puts_(page, "\n");
  }
}

/* How much went beyond the limits, as a metric itself. */
static int add_overflow(struct sip_metrics_shard *all)
{
  static const char *const labels[] = { "metric" };
  const struct sip_metric_spec spec = {
    .kind = SIP_COUNTER,
    .name = "sipeat_metrics_overflow",
    .help = "Values that went to the label set \"other\", since their metric had too many sets.",
    .labels = labels,
    .label_count = 1,
    .limit = SIZE_MAX
  };
  struct sip_metric *overflow = NULL;

  for (struct sip_metric *metric = all->first; metric != NULL; metric = metric->next) {
    struct sip_slice name = { metric->name, strlen(metric->name) };
    struct sip_series *series;
    int rc = 0;

    if (metric->overflowed <= 0) {
      continue;
    }
    rc = overflow == NULL ? sip_metric_declare(&overflow, all, &spec, NULL) : 0;
    series = rc < 0 ? NULL : sip_metric_series(overflow, &name);
    if (series == NULL) {
      return UV_ENOMEM;
    }
    sip_series_set(series, metric->overflowed);
  }
  return 0;
}

int sip_metrics_write(struct sip_metrics_shard *shard, enum sip_metrics_format format,
                      struct sip_buf *out)
{
  struct page page = { .out = out, .format = format };
  struct sip_metrics *metrics = shard->metrics;
  struct sip_metrics_shard all;
  int rc = 0;

  sip_metrics_shard_init(&all);
  uv_mutex_lock(&metrics->mutex);
  for (struct sip_list *node = metrics->shards.next; rc == 0 && node != &metrics->shards;
       node = node->next) {
    const struct sip_metrics_shard *one = SIP_CONTAINER(node, struct sip_metrics_shard, link);

    for (struct sip_metric *metric = one->first; rc == 0 && metric != NULL; metric = metric->next) {
      rc = merge_metric(&all, metric);
    }
  }
  uv_mutex_unlock(&metrics->mutex);
  rc = rc < 0 ? rc : add_overflow(&all);
  for (struct sip_metric *metric = all.first; rc == 0 && metric != NULL; metric = metric->next) {
    put_metric(&page, metric);
    rc = page.rc;
  }
  sip_metrics_shard_deinit(&all);
  return rc;
}
