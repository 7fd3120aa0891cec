/* health.c - one voice on the state of the connection, for all clients of the process.
 *
 * Errors and log lines arrive on the loop; "up" arrives from librdkafka's threads through an atomic
 * and a wakeup. */
#include "kafka/health.h"

#include "core/base.h"
#include "core/log.h"
#include "core/wakeup.h"
#include "kafka/errors.h"
#include "kafka/refusal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  HEALTH_FIRST_ANSWER_MS = 3000, /* of a client that nobody answers and nobody refuses */
  HEALTH_GRACE_MS =
    400,             /* librdkafka tries a host's next address 100 ms after the first one failed */
  HEALTH_LINES = 20, /* log lines of librdkafka in each window */
  HEALTH_WINDOW_MS = 10000
};

enum health_state { HEALTH_NEW, HEALTH_UP, HEALTH_DOWN };

struct sip_kafka_health {
  struct sip_wakeup *wakeup;
  uv_timer_t timer;
  atomic_bool up;    /* set by librdkafka's threads, taken by the loop */
  atomic_bool doubt; /* set by the loop: the next answer of a broker is news */
  enum health_state state;
  rd_kafka_resp_err_t last; /* reason of the newest failure, for the message and its hint */
  char reason[256];
  char *brokers;
  uint64_t window_start_ms; /* of the log's rate limit */
  unsigned lines, dropped;
};

static void health_on_up(void *arg)
{
  struct sip_kafka_health *health = arg;

  if (!atomic_exchange(&health->up, false)) {
    return;
  }
  atomic_store(&health->doubt, false);
  (void)uv_timer_stop(&health->timer); /* always 0 */
  if (health->state == HEALTH_DOWN) {
    sip_log(SIP_LOG_INFO, "kafka", NULL, "Kafka at %s answers again", health->brokers);
  } else if (health->state == HEALTH_NEW) {
    sip_log(SIP_LOG_DEBUG, "kafka", NULL, "connected to Kafka at %s", health->brokers);
  }
  health->state = HEALTH_UP;
  health->reason[0] = '\0';
}

/* The reason, without the broker's address where there is only one. */
static const char *health_why(const struct sip_kafka_health *health)
{
  size_t len = strlen(health->brokers);

  return strncmp(health->reason, health->brokers, len) == 0 &&
             strncmp(health->reason + len, ": ", 2) == 0
           ? health->reason + len + 2
           : health->reason;
}

static const char *health_hint(const struct sip_kafka_health *health)
{
  const char *hint = sip_refusal_hint(health->reason);

  if (hint != NULL) {
    return hint;
  }
  return sip_kafka_err_hint(health->reason[0] == '\0' ? RD_KAFKA_RESP_ERR__TRANSPORT
                                                      : health->last);
}

static void health_tell(const struct sip_kafka_health *health)
{
  const char *hint = health_hint(health);

  sip_log(SIP_LOG_WARN, "kafka", NULL, "cannot reach Kafka at %s: %s; still trying (%s)",
          health->brokers, health->reason[0] == '\0' ? "no answer yet" : health_why(health), hint);
}

static void health_on_timeout(uv_timer_t *timer)
{
  struct sip_kafka_health *health = SIP_CONTAINER(timer, struct sip_kafka_health, timer);

  health->state = HEALTH_DOWN;
  health_tell(health);
}

/* A host may have several addresses: that nobody listens at one of them says less than the refusal
 * at another. */
static void health_note(struct sip_kafka_health *health, rd_kafka_resp_err_t res,
                        const char *reason)
{
  bool was_refused = sip_refusal_is_certain(health->reason);
  bool is_refused = sip_refusal_is_certain(reason);

  sip_log(SIP_LOG_DEBUG, "kafka", NULL, "%s", reason);
  if (was_refused && !is_refused) {
    return;
  }
  health->last = res;
  (void)snprintf(health->reason, sizeof health->reason, "%s", reason); /* cutting it is fine */
  if (is_refused && !was_refused && health->state == HEALTH_DOWN) {
    health_tell(health);
  }
}

int sip_kafka_health_new(struct sip_kafka_health **out, uv_loop_t *loop, const char *brokers,
                         struct sip_err *err)
{
  struct sip_kafka_health *health = calloc(1, sizeof *health);
  int rc = UV_ENOMEM;

  if (health != NULL) {
    health->brokers = strdup(brokers);
  }
  if (health != NULL && health->brokers != NULL) {
    rc = sip_wakeup_new(&health->wakeup, loop, health_on_up, health);
  }
  if (rc < 0) {
    if (health != NULL) {
      free(health->brokers);
    }
    free(health);
    return sip_err_set(err, rc, "kafka: %s", uv_strerror(rc));
  }
  (void)uv_timer_init(loop, &health->timer); /* always 0 */
  uv_unref(
    (uv_handle_t *)&health->timer); /* it only says something; it must not keep the loop alive */
  *out = health;
  return 0;
}

static void health_on_close(uv_handle_t *handle)
{
  struct sip_kafka_health *health =
    SIP_CONTAINER((uv_timer_t *)handle, struct sip_kafka_health, timer);

  free(health->brokers);
  free(health);
}

void sip_kafka_health_close(struct sip_kafka_health *health)
{
  if (health != NULL) {
    sip_wakeup_close(health->wakeup);
    uv_close((uv_handle_t *)&health->timer, health_on_close);
  }
}

void sip_kafka_health_watch(struct sip_kafka_health *health)
{
  if (health->state == HEALTH_NEW && !uv_is_active((uv_handle_t *)&health->timer)) {
    (void)uv_timer_start(&health->timer, health_on_timeout, HEALTH_FIRST_ANSWER_MS,
                         0); /* the callback is set */
  }
}

void sip_kafka_health_up(struct sip_kafka_health *health)
{
  if (!atomic_exchange(&health->up, true)) {
    sip_wakeup_send(health->wakeup);
  }
}

void sip_kafka_health_answer(struct sip_kafka_health *health)
{
  if (atomic_load_explicit(&health->doubt,
                           memory_order_relaxed)) { /* a late view costs one more answer */
    sip_kafka_health_up(health);
  }
}

void sip_kafka_health_error(struct sip_kafka_health *health, rd_kafka_resp_err_t res,
                            const char *reason)
{
  if (res != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    health_note(health, res, reason);
    return;
  }
  if (health->state != HEALTH_DOWN && uv_timer_get_due_in(&health->timer) != 0 &&
      uv_timer_get_due_in(&health->timer) <= HEALTH_GRACE_MS) {
    return; /* the grace runs already */
  }
  if (health->state != HEALTH_DOWN) {
    /* An "up" from before this error must not cancel what it says; one from after it is not lost,
     * since the answers to come say the same. */
    atomic_store(&health->up, false);
    atomic_store(&health->doubt, true);
    (void)uv_timer_start(&health->timer, health_on_timeout, HEALTH_GRACE_MS, 0);
  }
}

static bool health_is_said_elsewhere(const char *facility)
{
  static const char *const names[] = { "FAIL",      "GETPID",       "ERROR",
                                       "FATAL",     "CONFWARN",     "MAXPOLL",
                                       "SESSTMOUT", "BROKERUPDATE", "SSLCERTVRFY" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(facility, names[i]) == 0) {
      return true;
    }
  }
  return false;
}

void sip_kafka_health_log(struct sip_kafka_health *health, int level, const char *facility,
                          const char *text)
{
  enum sip_log_level ours = level <= 4 ? SIP_LOG_WARN : SIP_LOG_DEBUG;
  uint64_t now = uv_now(health->timer.loop);

  if (health_is_said_elsewhere(facility)) {
    ours = SIP_LOG_DEBUG; /* an error event comes with it, or it passes by itself */
  }
  if (!sip_log_on(ours)) {
    return;
  }
  if (ours != SIP_LOG_DEBUG) {
    if (now - health->window_start_ms >= HEALTH_WINDOW_MS) {
      if (health->dropped > 0) {
        sip_log(SIP_LOG_WARN, "kafka", NULL, "%u further lines of the Kafka client were left out",
                health->dropped);
      }
      health->window_start_ms = now;
      health->lines = health->dropped = 0;
    }
    if (++health->lines > HEALTH_LINES) {
      health->dropped++;
      return;
    }
  }
  sip_log(ours, "kafka", NULL, "%s: %s", facility, text);
}

bool sip_kafka_health_reason(const struct sip_kafka_health *health, char *out, size_t size)
{
  if (health->state == HEALTH_UP || health->reason[0] == '\0') {
    return false;
  }
  (void)snprintf(out, size, "%s (%s)", health->reason,
                 health_hint(health)); /* cutting it is fine */
  return true;
}

bool sip_kafka_health_connected(const struct sip_kafka_health *health)
{
  return health->state == HEALTH_UP;
}
