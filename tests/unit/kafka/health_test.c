/* health_test.c - the loss of all brokers is said once, with a hint, and so is their return. */
#include "kafka/health.h"

#include "kafka_fixture.h"

#include <fcntl.h>
#include <librdkafka/rdkafka_mock.h>
#include <unistd.h>

static size_t occurrences(const char *path, const char *part)
{
  FILE *file = fopen(path, "r");
  char line[4096];
  size_t count = 0;

  CHECK(file != NULL);
  while (fgets(line, sizeof line, file) != NULL) {
    count += strstr(line, part) != NULL;
  }
  CHECK_INT(fclose(file), 0);
  return count;
}

/* Turns the loop until the log has the line; fails after `limit_ms`. */
static void wait_for_line(struct fixture *fixture, const char *path, const char *part,
                          uint64_t limit_ms)
{
  uint64_t end = uv_hrtime() + limit_ms * 1000000;

  while (occurrences(path, part) == 0 && uv_hrtime() < end) {
    bool late = false, closed = false;
    uv_timer_t timer;

    CHECK_INT(uv_timer_init(&fixture->loop, &timer), 0);
    timer.data = &late;
    CHECK_INT(uv_timer_start(&timer, fixture_on_deadline, 20, 0), 0);
    while (!late) {
      (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, fixture_on_closed);
    while (!closed) {
      (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
  }
  if (occurrences(path, part) != 1) {
    SIP_TEST_FAIL("the log has \"%s\" %zu times", part, occurrences(path, part));
  }
}

static void on_report(void *arg, int status, int32_t partition, int64_t offset,
                      const struct sip_err *err)
{
  (void)partition;
  (void)offset;
  (void)err;
  CHECK_INT(status, 0);
  ++*(size_t *)arg;
}

static void send_one(struct fixture *fixture, size_t *reports)
{
  struct sip_output output = { .topic = "t", .value = { "v", 1 }, .partition = -1 };
  const struct sip_port *port = sip_kafka_port(fixture->kafka);

  CHECK_INT(port->producer.ops->send(port->producer.driver, &output, on_report, reports, NULL), 0);
}

static void a_loss_and_a_return_are_said_once(const char *path)
{
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
  rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 2);
  struct fixture fixture;
  size_t reports = 0;

  fixture_init(&fixture, rd_kafka_mock_cluster_bootstraps(cluster));
  sip_log_setup(open(path, O_WRONLY | O_APPEND), SIP_LOG_JSON, SIP_LOG_INFO);
  fixture_engine(&fixture);
  send_one(&fixture, &reports);
  fixture_wait(&fixture, &reports, 1, 10000);
  CHECK_INT(occurrences(path, "cannot reach"), 0);
  CHECK(sip_kafka_connected(fixture.kafka));
  CHECK_INT(rd_kafka_mock_broker_set_down(cluster, 1), 0);
  CHECK_INT(rd_kafka_mock_broker_set_down(cluster, 2), 0);
  send_one(&fixture, &reports);
  wait_for_line(&fixture, path, "cannot reach Kafka at", 10000);
  CHECK_INT(occurrences(path, "check KAFKA_BROKERS"), 1);
  CHECK(!sip_kafka_connected(fixture.kafka));
  CHECK_INT(rd_kafka_mock_broker_set_up(cluster, 1), 0);
  CHECK_INT(rd_kafka_mock_broker_set_up(cluster, 2), 0);
  wait_for_line(&fixture, path, "answers again", 20000);
  fixture_wait(&fixture, &reports, 2, 20000);
  CHECK_INT(occurrences(path, "cannot reach Kafka at"), 1);
  CHECK(sip_kafka_connected(fixture.kafka));
  fixture_deinit(&fixture);
  rd_kafka_mock_cluster_destroy(cluster);
  rd_kafka_destroy(rk);
}

static void on_any_report(void *arg, int status, int32_t partition, int64_t offset,
                          const struct sip_err *err)
{
  (void)arg;
  (void)status;
  (void)partition;
  (void)offset;
  (void)err;
}

static void an_unreachable_broker_is_said_at_once(const char *path)
{
  struct sip_output output = { .topic = "t", .value = { "v", 1 }, .partition = -1 };
  const struct sip_port *port;
  struct fixture fixture;

  fixture_init(&fixture, "127.0.0.1:1");
  sip_log_setup(open(path, O_WRONLY | O_APPEND), SIP_LOG_JSON, SIP_LOG_INFO);
  fixture_engine(&fixture);
  port = sip_kafka_port(fixture.kafka);
  CHECK_INT(port->producer.ops->send(port->producer.driver, &output, on_any_report, NULL, NULL), 0);
  wait_for_line(&fixture, path, "cannot reach Kafka at 127.0.0.1:1", 2500);
  CHECK_INT(occurrences(path, "refused"), 1);
  sip_kafka_close(fixture.kafka, 0);
  fixture.kafka = NULL;
  fixture_deinit(&fixture);
}

/* A host has two addresses: at one nobody listens, at the other one the password is wrong. */
static void a_refusal_says_more_than_a_closed_port(const char *path)
{
  static const char closed[] = "shop:9092: Connect to ipv6#[::1]:9092 failed: Connection refused";
  static const char refused[] =
    "shop:9092: SASL authentication error: Invalid username or password";
  struct sip_kafka_health *health = NULL;
  uv_loop_t loop;

  CHECK_INT(uv_loop_init(&loop), 0);
  sip_log_setup(open(path, O_WRONLY | O_APPEND), SIP_LOG_JSON, SIP_LOG_INFO);
  CHECK_INT(sip_kafka_health_new(&health, &loop, "shop:9092", NULL), 0);
  sip_kafka_health_error(health, RD_KAFKA_RESP_ERR__TRANSPORT, closed);
  sip_kafka_health_error(health, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "");
  for (int turn = 0; turn < 500 && occurrences(path, "Connection refused") == 0; turn++) {
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    uv_sleep(10);
  }
  CHECK_INT(occurrences(path, "Connection refused"), 1);
  sip_kafka_health_error(health, RD_KAFKA_RESP_ERR__AUTHENTICATION, refused);
  CHECK_INT(occurrences(path, "Invalid username or password"), 1);
  sip_kafka_health_error(health, RD_KAFKA_RESP_ERR__TRANSPORT, closed);
  sip_kafka_health_error(health, RD_KAFKA_RESP_ERR__AUTHENTICATION, refused);
  CHECK_INT(occurrences(path, "cannot reach Kafka"), 2); /* nothing new */
  sip_kafka_health_close(health);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&loop), 0);
}

static void with_log(void (*test)(const char *path))
{
  char path[] = "/tmp/sipeat-health-XXXXXX";
  int fd = mkstemp(path);

  CHECK(fd >= 0);
  CHECK_INT(close(fd), 0);
  test(path);
  CHECK_INT(unlink(path), 0);
}

int main(void)
{
  with_log(an_unreachable_broker_is_said_at_once);
  with_log(a_refusal_says_more_than_a_closed_port);
  with_log(a_loss_and_a_return_are_said_once);
  return 0;
}
