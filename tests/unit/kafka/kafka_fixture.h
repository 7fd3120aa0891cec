#ifndef SIP_TEST_KAFKA_FIXTURE_H
#define SIP_TEST_KAFKA_FIXTURE_H
/* kafka_fixture.h - an engine on an embedded broker, and waiting on the loop with a deadline. */
#include "core/log.h"
#include "kafka/embedded.h"
#include "kafka/kafka.h"
#include "support/test.h"

struct fixture {
  uv_loop_t loop;
  struct sip_embedded_broker *broker; /* NULL: the settings name another one */
  struct sip_kafka_settings *settings;
  struct sip_kafka *kafka;
};

/* `brokers` NULL starts an embedded broker. */
static inline void fixture_init(struct fixture *fixture, const char *brokers)
{
  struct sip_err err = { 0 };

  *fixture = (struct fixture){ 0 };
  sip_log_setup(2, SIP_LOG_HUMAN, SIP_LOG_WARN);
  CHECK_INT(uv_loop_init(&fixture->loop), 0);
  CHECK_INT(sip_kafka_settings_new(&fixture->settings, &err), 0);
  if (brokers == NULL) {
    CHECK_INT(sip_embedded_broker_start(&fixture->broker, 0, &err), 0);
    CHECK_INT(sip_embedded_broker_settings(sip_embedded_broker_address(fixture->broker),
                                           fixture->settings, &err),
              0);
  } else {
    CHECK_INT(sip_kafka_settings_set(fixture->settings, "bootstrap.servers", brokers, &err), 0);
  }
}

static inline void fixture_engine(struct fixture *fixture)
{
  CHECK_INT(sip_kafka_new(&fixture->kafka, &fixture->loop, NULL), 0);
  CHECK_INT(sip_kafka_configure(fixture->kafka, fixture->settings, NULL), 0);
}

static inline void fixture_deinit(struct fixture *fixture)
{
  sip_kafka_close(fixture->kafka, 5000);
  SIP_TEST_END(&fixture->loop);
  sip_kafka_settings_free(fixture->settings);
  sip_embedded_broker_stop(fixture->broker);
}

static inline void fixture_on_deadline(uv_timer_t *timer)
{
  *(bool *)timer->data = true;
}

static inline void fixture_on_closed(uv_handle_t *handle)
{
  *(bool *)handle->data = true;
}

/* Turns the loop until *count reaches `wanted`; fails after `limit_ms`. */
static inline void fixture_wait(struct fixture *fixture, const size_t *count, size_t wanted,
                                uint64_t limit_ms)
{
  bool late = false, closed = false;
  uv_timer_t timer;

  CHECK_INT(uv_timer_init(&fixture->loop, &timer), 0);
  timer.data = &late;
  CHECK_INT(uv_timer_start(&timer, fixture_on_deadline, limit_ms, 0), 0);
  while (*count < wanted && !late) {
    (void)uv_run(&fixture->loop, UV_RUN_ONCE);
  }
  timer.data = &closed;
  uv_close((uv_handle_t *)&timer, fixture_on_closed);
  while (!closed) {
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
  }
  CHECK_INT(*count >= wanted ? wanted : *count, wanted);
}

#endif
