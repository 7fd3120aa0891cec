#ifndef SIP_KAFKA_HEALTH_H
#define SIP_KAFKA_HEALTH_H
/* health.h - whether the brokers answer, said once for all clients of the process, and librdkafka's
 * log lines.
 *
 * A loss of all brokers is reported after a short grace (a second address of the same host may
 * answer), the return at once. Loop thread, except sip_kafka_health_up and _answer. */
#include "core/err.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

struct sip_kafka_health;

/** `brokers` is copied, for messages. @return 0 or a negative code */
int sip_kafka_health_new(struct sip_kafka_health **out, uv_loop_t *loop, const char *brokers,
                         struct sip_err *err);

/** Closes its handles; the memory goes in the loop's next turns. Accepts NULL. No thread may call
 *  sip_kafka_health_up any more. */
void sip_kafka_health_close(struct sip_kafka_health *health);

/** A client begins to connect: when no broker answers within three seconds, that is said. */
void sip_kafka_health_watch(struct sip_kafka_health *health);

/** Any thread: a connection to a broker is up. */
void sip_kafka_health_up(struct sip_kafka_health *health);

/** Any thread: a broker has answered a request. Costs one atomic read unless the connection is in
 * doubt. */
void sip_kafka_health_answer(struct sip_kafka_health *health);

/** A connection error (sip_kafka_err_is_connection) of a client, with librdkafka's words. */
void sip_kafka_health_error(struct sip_kafka_health *health, rd_kafka_resp_err_t res,
                            const char *reason);

/** A log line of librdkafka; syslog levels. Connection failures are left to sip_kafka_health_error.
 */
void sip_kafka_health_log(struct sip_kafka_health *health, int level, const char *facility,
                          const char *text);

/** Why no broker answers, and what to do about it.
 *  @return false: one does, or there is nothing to say yet */
bool sip_kafka_health_reason(const struct sip_kafka_health *health, char *out, size_t size);

/** False before the first answer and while all brokers are down. */
bool sip_kafka_health_connected(const struct sip_kafka_health *health);

#endif
