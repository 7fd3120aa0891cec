/* producer_test.c - records are acknowledged once each, and what cannot be sent says why. */
#include "kafka/producer.h"

#include "kafka/client.h"
#include "kafka_fixture.h"

#include <librdkafka/rdkafka_mock.h>
#include <sys/resource.h>

struct reports {
  size_t count, failed;
  int32_t partition;
  int64_t offset;
  struct sip_err err;
};

static void on_report(void *arg, int status, int32_t partition, int64_t offset,
                      const struct sip_err *err)
{
  struct reports *reports = arg;

  reports->count++;
  reports->failed += status < 0;
  reports->partition = partition;
  reports->offset = offset;
  reports->err = *err;
}

static struct sip_slice text(const char *string)
{
  return (struct sip_slice){ string, string == NULL ? 0 : strlen(string) };
}

static int send_text(struct fixture *fixture, const char *topic, const char *key, const char *value,
                     struct reports *reports, struct sip_err *err)
{
  struct sip_output output = {
    .topic = topic, .key = text(key), .value = text(value), .partition = -1
  };
  const struct sip_port *port = sip_kafka_port(fixture->kafka);

  return port->producer.ops->send(port->producer.driver, &output, on_report, reports, err);
}

static void a_record_is_acknowledged_with_its_place(void)
{
  struct reports reports = { 0 };
  struct fixture fixture;

  fixture_init(&fixture, NULL);
  fixture_engine(&fixture);
  CHECK_INT(send_text(&fixture, "t", "k", "one", &reports, NULL), 0);
  CHECK_INT(reports.count, 0); /* never within the call */
  CHECK_INT(sip_kafka_pending(fixture.kafka), 1);
  fixture_wait(&fixture, &reports.count, 1, 10000);
  CHECK_INT(reports.failed, 0);
  CHECK_INT(reports.offset, 0);
  CHECK_INT(sip_kafka_pending(fixture.kafka), 0);
  CHECK(sip_kafka_connected(fixture.kafka));
  fixture_deinit(&fixture);
}

static void on_other_report(void *arg, int status, int32_t partition, int64_t offset,
                            const struct sip_err *err)
{
  (void)partition;
  (void)offset;
  (void)err;
  *(size_t *)arg += status < 0 ? 1000 : 1;
}

/* Those whose reports have another function share the client with most. */
static void each_report_has_its_function(void)
{
  const struct sip_output output = { .topic = "t", .value = text("v"), .partition = -1 };
  struct reports reports = { 0 };
  struct fixture fixture;
  size_t other = 0;

  fixture_init(&fixture, NULL);
  fixture_engine(&fixture);
  for (int round = 0; round < 2; round++) { /* in the second one the other is the first to come */
    const struct sip_port *port = sip_kafka_port(fixture.kafka);
    size_t before = reports.count;

    for (int i = 0; i < 40; i++) {
      if (i % 2 == round) {
        CHECK_INT(send_text(&fixture, "t", "k", "v", &reports, NULL), 0);
      } else {
        CHECK_INT(
          port->producer.ops->send(port->producer.driver, &output, on_other_report, &other, NULL),
          0);
      }
    }
    fixture_wait(&fixture, &reports.count, before + 20, 10000);
    fixture_wait(&fixture, &other, before + 20, 10000);
    CHECK_INT(sip_kafka_pending(fixture.kafka), 0);
  }
  CHECK_INT(reports.failed, 0);
  fixture_deinit(&fixture);
}

static void a_key_keeps_its_partition(void)
{
  struct reports first = { 0 }, second = { 0 };
  struct fixture fixture;

  fixture_init(&fixture, NULL);
  CHECK_INT(sip_embedded_broker_create_topic(fixture.broker, "keyed", 16, NULL), 0);
  fixture_engine(&fixture);
  CHECK_INT(send_text(&fixture, "keyed", "machine-7", "a", &first, NULL), 0);
  CHECK_INT(send_text(&fixture, "keyed", "machine-7", "b", &second, NULL), 0);
  fixture_wait(&fixture, &second.count, 1, 10000);
  CHECK_INT(first.partition, second.partition);
  CHECK_INT(second.offset, first.offset + 1);
  fixture_deinit(&fixture);
}

static void a_record_that_is_too_large_is_refused(void)
{
  size_t len = 1100000;
  char *large = malloc(len + 1);
  struct reports reports = { 0 };
  struct sip_err err = { 0 };
  struct fixture fixture;

  CHECK(large != NULL);
  memset(large, 'x', len);
  large[len] = '\0';
  fixture_init(&fixture, NULL);
  fixture_engine(&fixture);
  CHECK_INT(send_text(&fixture, "t", NULL, large, &reports, &err), SIP_ETOOBIG);
  CHECK_STR(err.name, "MSG_SIZE_TOO_LARGE");
  CHECK_HAS(err.message, "send to t");
  CHECK_HAS(err.message, "message.max.bytes");
  CHECK_INT(reports.count, 0);
  CHECK_INT(sip_kafka_pending(fixture.kafka), 0);
  free(large);
  fixture_deinit(&fixture);
}

static void a_full_queue_asks_to_wait(void)
{
  struct reports reports = { 0 };
  struct sip_err err = { 0 };
  struct fixture fixture;
  size_t sent = 0;
  int rc = 0;

  fixture_init(&fixture, NULL);
  CHECK_INT(sip_kafka_settings_set(fixture.settings, "queue.buffering.max.messages", "100", NULL),
            0);
  fixture_engine(&fixture);
  while (rc == 0 && sent <= 100) {
    rc = send_text(&fixture, "t", NULL, "v", &reports, &err);
    sent += rc == 0;
  }
  CHECK_INT(rc, SIP_EQUEUEFULL);
  CHECK_INT(sent, 100);
  fixture_wait(&fixture, &reports.count, 1, 10000);
  CHECK_INT(send_text(&fixture, "t", NULL, "v", &reports, &err), 0);
  fixture_wait(&fixture, &reports.count, 101, 10000);
  CHECK_INT(reports.failed, 0);
  fixture_deinit(&fixture);
}

static void without_a_broker_setting_a_send_says_what_to_set(void)
{
  struct reports reports = { 0 };
  struct sip_err err = { 0 };
  struct fixture fixture = { 0 };

  CHECK_INT(uv_loop_init(&fixture.loop), 0);
  CHECK_INT(sip_kafka_new(&fixture.kafka, &fixture.loop, NULL), 0);
  CHECK_INT(send_text(&fixture, "t", NULL, "v", &reports, &err), SIP_ECONFIG);
  CHECK_HAS(err.message, "KAFKA_BROKERS");
  fixture_deinit(&fixture);
}

static void closing_reports_what_no_broker_took(void)
{
  struct reports reports = { 0 };
  struct fixture fixture;

  fixture_init(&fixture, "127.0.0.1:1");
  fixture_engine(&fixture);
  CHECK_INT(send_text(&fixture, "t", NULL, "v", &reports, NULL), 0);
  sip_kafka_close(fixture.kafka, 100);
  fixture.kafka = NULL;
  (void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
  CHECK_INT(reports.count, 1);
  CHECK_INT(reports.failed, 1);
  CHECK_STR(reports.err.name, "_PURGE_QUEUE");
  CHECK_INT(reports.err.code, UV_ECANCELED);
  fixture_deinit(&fixture);
}

static void closing_delivers_what_was_taken(void)
{
  struct reports reports = { 0 };
  struct sip_err err = { 0 };
  struct fixture fixture;

  fixture_init(&fixture, NULL);
  CHECK_INT(sip_kafka_settings_set(fixture.settings, "linger.ms", "60000", NULL), 0);
  fixture_engine(&fixture);
  for (int i = 0; i < 10; i++) {
    CHECK_INT(send_text(&fixture, "t", NULL, "v", &reports, NULL), 0);
  }
  sip_kafka_close(fixture.kafka, 10000);
  CHECK_INT(send_text(&fixture, "t", NULL, "v", &reports, &err), SIP_ECLOSED);
  fixture.kafka = NULL;
  (void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
  CHECK_INT(reports.count, 10);
  CHECK_INT(reports.failed, 0);
  fixture_deinit(&fixture);
}

static void an_unknown_partition_is_reported(void)
{
  struct reports reports = { 0 };
  struct fixture fixture;
  struct sip_output output = { .topic = "t", .value = text("v"), .partition = 99 };
  const struct sip_port *port;

  fixture_init(&fixture, NULL);
  fixture_engine(&fixture);
  port = sip_kafka_port(fixture.kafka);
  CHECK_INT(port->producer.ops->send(port->producer.driver, &output, on_report, &reports, NULL), 0);
  fixture_wait(&fixture, &reports.count, 1, 10000);
  CHECK_INT(reports.failed, 1);
  CHECK_STR(reports.err.name, "_UNKNOWN_PARTITION");
  fixture_deinit(&fixture);
}

struct lost_report {
  const struct sip_port *port;
  size_t count;
};

static void on_lost(void *arg, int status, int32_t partition, int64_t offset,
                    const struct sip_err *err)
{
  struct lost_report *report = arg;
  const struct sip_output *lost = report->port->producer.ops->lost(report->port->producer.driver);

  (void)partition;
  (void)offset;
  (void)err;
  CHECK(status < 0 && lost != NULL);
  CHECK_STR(lost->topic, "t");
  CHECK(lost->key.len == 1 && lost->key.data[0] == 'k');
  CHECK(lost->value.len == 2 && memcmp(lost->value.data, "v\0", 2) == 0);
  CHECK_INT(lost->header_count, 2);
  CHECK_STR(lost->headers[0].name, "a");
  CHECK(lost->headers[0].value.len == 1 && lost->headers[0].value.data[0] == 'b');
  CHECK(lost->headers[1].value.data == NULL);
  report->count++;
}

static void what_was_not_written_is_known_while_it_is_reported(void)
{
  const struct sip_header headers[] = { { "a", { "b", 1 } }, { "n", { NULL, 0 } } };
  struct sip_output output = { .topic = "t",
                               .key = text("k"),
                               .value = { "v\0", 2 },
                               .headers = headers,
                               .header_count = 2,
                               .partition = 99 };
  struct lost_report report = { 0 };
  struct fixture fixture;

  fixture_init(&fixture, NULL);
  fixture_engine(&fixture);
  report.port = sip_kafka_port(fixture.kafka);
  CHECK_INT(
    report.port->producer.ops->send(report.port->producer.driver, &output, on_lost, &report, NULL),
    0);
  fixture_wait(&fixture, &report.count, 1, 10000);
  /* The topic's partitions are known by now: the next one is refused at once. */
  CHECK_INT(
    report.port->producer.ops->send(report.port->producer.driver, &output, on_lost, &report, NULL),
    SIP_ENOTFOUND);
  CHECK_INT(report.count, 1);
  CHECK(report.port->producer.ops->lost(report.port->producer.driver) == NULL);
  fixture_deinit(&fixture);
}

/* OUT_OF_ORDER_SEQUENCE_NUMBER desynchronises an idempotent client for good (librdkafka's
 * INTRODUCTION.md). */
static void after_a_fatal_error_the_next_record_gets_a_new_client(void)
{
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
  rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
  struct reports reports = { 0 };
  struct fixture fixture;

  fixture_init(&fixture, rd_kafka_mock_cluster_bootstraps(cluster));
  fixture_engine(&fixture);
  CHECK_INT(send_text(&fixture, "t", "k", "v", &reports, NULL), 0);
  fixture_wait(&fixture, &reports.count, 1, 10000);
  CHECK_INT(reports.failed, 0);
  rd_kafka_mock_push_request_errors(cluster, 0 /* Produce */, 1,
                                    RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
  CHECK_INT(send_text(&fixture, "t", "k", "the payload", &reports, NULL), 0);
  fixture_wait(&fixture, &reports.count, 2, 10000);
  CHECK_INT(reports.failed, 1);
  CHECK(strstr(reports.err.message, "the payload") == NULL);
  CHECK_INT(send_text(&fixture, "t", "k", "v", &reports, NULL), 0);
  fixture_wait(&fixture, &reports.count, 3, 10000);
  CHECK_INT(reports.failed, 1);
  fixture_deinit(&fixture);
  rd_kafka_mock_cluster_destroy(cluster);
  rd_kafka_destroy(rk);
}

static uint64_t cpu_us(void)
{
  struct rusage used;

  CHECK_INT(getrusage(RUSAGE_SELF, &used), 0);
  return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
         (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* Sends some records every now and then: more than librdkafka has under way of a partition. */
struct drip {
  uv_timer_t timer;
  struct fixture *fixture;
  struct reports *reports;
  size_t count;
  bool closed;
};

static void drip_on_timer(uv_timer_t *timer)
{
  struct drip *drip = timer->data;

  for (int i = 0; i < 10; i++) {
    CHECK_INT(send_text(drip->fixture, "slow", "k", "v", drip->reports, NULL), 0);
    drip->count++;
  }
}

static void drip_on_close(uv_handle_t *handle)
{
  ((struct drip *)handle->data)->closed = true;
}

/* What waits for the answer to the batch before it costs next to nothing meanwhile. */
static void a_batch_that_waits_for_an_answer_does_not_turn(void)
{
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
  rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
  struct reports warm = { 0 }, reports = { 0 };
  struct fixture fixture;
  struct drip drip = { .fixture = &fixture, .reports = &reports };
  uint64_t began, used;

  fixture_init(&fixture, rd_kafka_mock_cluster_bootstraps(cluster));
  fixture_engine(&fixture);
  CHECK_INT(send_text(&fixture, "slow", "k", "v", &warm, NULL), 0);
  fixture_wait(&fixture, &warm.count, 1, 10000);
  CHECK_INT(rd_kafka_mock_broker_set_rtt(cluster, 1, 500), 0);
  CHECK_INT(uv_timer_init(&fixture.loop, &drip.timer), 0);
  drip.timer.data = &drip;
  CHECK_INT(uv_timer_start(&drip.timer, drip_on_timer, 0, 30), 0); /* more than a linger apart */
  began = uv_hrtime();
  used = cpu_us();
  fixture_wait(&fixture, &drip.count, 30, 10000);
  uv_close((uv_handle_t *)&drip.timer, drip_on_close);
  fixture_wait(&fixture, &reports.count, drip.count, 20000);
  used = cpu_us() - used;
  CHECK(used < (uv_hrtime() - began) / 1000 / 4);
  CHECK(drip.closed);
  CHECK_INT(reports.failed, 0);
  fixture_deinit(&fixture);
  rd_kafka_mock_cluster_destroy(cluster);
  rd_kafka_destroy(rk);
}

int main(void)
{
  after_a_fatal_error_the_next_record_gets_a_new_client();
  a_record_is_acknowledged_with_its_place();
  each_report_has_its_function();
  a_key_keeps_its_partition();
  a_record_that_is_too_large_is_refused();
  a_full_queue_asks_to_wait();
  without_a_broker_setting_a_send_says_what_to_set();
  closing_reports_what_no_broker_took();
  closing_delivers_what_was_taken();
  an_unknown_partition_is_reported();
  what_was_not_written_is_known_while_it_is_reported();
  a_batch_that_waits_for_an_answer_does_not_turn();
  return 0;
}
