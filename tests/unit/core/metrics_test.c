/* metrics_test.c - shards of several threads, what they make together, and a thread that counts
 * while another one reads. */
#include "core/metrics.h"

#include "support/test.h"

enum { ROUNDS = 20000 };

static struct sip_metric *declare(struct sip_metrics_shard *shard, enum sip_metric_kind kind,
                                  const char *name, enum sip_metric_merge merge)
{
  static const char *const labels[] = { "who" };
  const struct sip_metric_spec spec = {
    .kind = kind, .name = name, .help = "Help.", .labels = labels, .label_count = 1, .merge = merge
  };
  struct sip_metric *metric = NULL;

  CHECK_INT(sip_metric_declare(&metric, shard, &spec, NULL), 0);
  return metric;
}

static struct sip_series *series(struct sip_metric *metric, const char *who)
{
  struct sip_slice value = { who, strlen(who) };
  struct sip_series *one = sip_metric_series(metric, &value);

  CHECK(one != NULL);
  return one;
}

static char *text(struct sip_metrics_shard *shard, struct sip_buf *buf)
{
  sip_buf_clear(buf);
  CHECK_INT(sip_metrics_write(shard, SIP_METRICS_OPENMETRICS, buf), 0);
  return buf->data;
}

static void test_merging(struct sip_metrics_shard *a, struct sip_metrics_shard *b)
{
  struct sip_buf buf = SIP_BUF_INIT;

  sip_series_add(series(declare(a, SIP_COUNTER, "events", SIP_MERGE_LAST), "x"), 2);
  sip_series_add(series(declare(b, SIP_COUNTER, "events", SIP_MERGE_LAST), "x"), 3);
  sip_series_add(series(declare(b, SIP_COUNTER, "events", SIP_MERGE_LAST), "y"), 1);
  sip_series_set(series(declare(b, SIP_GAUGE, "last", SIP_MERGE_LAST), "x"), 7);
  sip_series_set(series(declare(a, SIP_GAUGE, "last", SIP_MERGE_LAST), "x"), 5);
  sip_series_set(series(declare(a, SIP_GAUGE, "sum", SIP_MERGE_SUM), "x"), 5);
  sip_series_set(series(declare(b, SIP_GAUGE, "sum", SIP_MERGE_SUM), "x"), 6);
  sip_series_set(series(declare(a, SIP_GAUGE, "max", SIP_MERGE_MAX), "x"), -5);
  sip_series_set(series(declare(b, SIP_GAUGE, "max", SIP_MERGE_MAX), "x"), -6);
  sip_series_observe(series(declare(a, SIP_HISTOGRAM, "t_seconds", SIP_MERGE_LAST), "x"), 0.5);
  sip_series_observe(series(declare(b, SIP_HISTOGRAM, "t_seconds", SIP_MERGE_LAST), "x"), 100);
  (void)text(a, &buf);
  CHECK_HAS(buf.data, "events_total{who=\"x\"} 5\nevents_total{who=\"y\"} 1\n");
  CHECK_HAS(buf.data, "last{who=\"x\"} 5\n");
  CHECK_HAS(buf.data, "sum{who=\"x\"} 11\n");
  CHECK_HAS(buf.data, "max{who=\"x\"} -5\n");
  CHECK_HAS(buf.data, "t_seconds_bucket{who=\"x\",le=\"0.5\"} 1\n");
  CHECK_HAS(buf.data, "t_seconds_bucket{who=\"x\",le=\"+Inf\"} 2\n");
  CHECK_HAS(buf.data, "t_seconds_sum{who=\"x\"} 100.5\n");
  sip_buf_deinit(&buf);
}

static void test_removing(struct sip_metrics_shard *shard)
{
  struct sip_metric *lag = declare(shard, SIP_GAUGE, "lag", SIP_MERGE_SUM);
  struct sip_buf buf = SIP_BUF_INIT;
  char name[16];

  for (int i = 0; i < 100; i++) {
    (void)snprintf(name, sizeof name, "p%d", i);
    sip_series_set(series(lag, name), i);
  }
  for (int i = 0; i < 100; i++) {
    (void)snprintf(name, sizeof name, "p%d", i);
    if (i != 42) {
      sip_metric_remove(lag, &(struct sip_slice){ name, strlen(name) });
      sip_metric_remove(lag, &(struct sip_slice){ name, strlen(name) }); /* harmless */
    }
  }
  (void)text(shard, &buf);
  CHECK_HAS(buf.data, "# HELP lag Help.\nlag{who=\"p42\"} 42\n");
  CHECK(strstr(buf.data, "p41") == NULL);
  sip_series_set(series(lag, "p41"), 1);
  CHECK_HAS(text(shard, &buf), "lag{who=\"p42\"} 42\nlag{who=\"p41\"} 1\n");
  sip_buf_deinit(&buf);
}

static void test_bounds(struct sip_metrics_shard *shard)
{
  struct sip_metric_spec spec = { .kind = SIP_COUNTER, .help = "" };
  struct sip_metric *metric = NULL;
  struct sip_err err = { 0 };
  char name[32];
  int rc = 0;

  for (int i = 0; rc == 0 && i <= SIP_METRICS; i++) {
    (void)snprintf(name, sizeof name, "many_%d", i);
    spec.name = name;
    rc = sip_metric_declare(&metric, shard, &spec, &err);
  }
  CHECK_INT(rc, SIP_ETOOBIG);
  CHECK_HAS(err.message, "there are 1000 already");
}

/* A thread that counts in a shard of its own. */
static void count(void *arg)
{
  struct sip_metrics_shard *shard = NULL;
  struct sip_metric *metric;
  char name[16];

  CHECK_INT(sip_metrics_shard_new(&shard, arg), 0);
  metric = declare(shard, SIP_HISTOGRAM, "busy_seconds", SIP_MERGE_LAST);
  for (int i = 0; i < ROUNDS; i++) {
    (void)snprintf(name, sizeof name, "t%d", i % 50);
    sip_series_observe(series(metric, name), 0.001);
    if (i % 100 == 0) {
      sip_series_observe_traced(series(metric, name), 0.002, "0123456789abcdef");
    }
    if (i % 1000 == 0) {
      sip_metric_remove(metric, &(struct sip_slice){ name, strlen(name) });
    }
  }
  sip_metrics_shard_unref(shard);
}

static void test_threads(struct sip_metrics *metrics, struct sip_metrics_shard *shard)
{
  struct sip_buf buf = SIP_BUF_INIT;
  uv_thread_t threads[3];

  for (size_t i = 0; i < 3; i++) {
    CHECK_INT(uv_thread_create(&threads[i], count, metrics), 0);
  }
  for (int i = 0; i < 200; i++) {
    (void)text(shard, &buf);
  }
  for (size_t i = 0; i < 3; i++) {
    CHECK_INT(uv_thread_join(&threads[i]), 0);
  }
  CHECK(strstr(text(shard, &buf), "busy_seconds") == NULL);
  sip_buf_deinit(&buf);
}

int main(void)
{
  struct sip_metrics_shard *a = NULL, *b = NULL;
  struct sip_metrics *metrics = NULL;

  CHECK_INT(sip_metrics_new(&metrics), 0);
  CHECK_INT(sip_metrics_shard_new(&a, metrics), 0);
  CHECK_INT(sip_metrics_shard_new(&b, metrics), 0);
  test_merging(a, b);
  test_removing(a);
  test_threads(metrics, a);
  test_bounds(b);
  sip_metrics_unref(metrics);
  sip_metrics_shard_unref(a);
  sip_metrics_shard_unref(b);
  (void)printf("ok\n");
  return 0;
}
