#ifndef SIP_KAFKA_ERRORS_H
#define SIP_KAFKA_ERRORS_H
/* errors.h - librdkafka's errors as ours. Any thread. */
#include "core/err.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/** Fills `err` with "<text>: <why> (<hint>)" and returns its code. The name is librdkafka's stable
 * one, such as "MSG_SIZE_TOO_LARGE". `why` may be NULL: librdkafka's words for the error. */
int sip_kafka_err(struct sip_err *err, rd_kafka_resp_err_t res, const char *why, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

/** As sip_kafka_err for an error object, which is destroyed. */
int sip_kafka_err_object(struct sip_err *err, rd_kafka_error_t *error, const char *format, ...)
  __attribute__((format(printf, 3, 4)));

/** Our code for it: SIP_ETOOBIG, SIP_EAUTH and so on; SIP_EKAFKA for what has none. */
int sip_kafka_err_code(rd_kafka_resp_err_t res);

/** What to do about it, "" when nothing general can be said. Static storage. */
const char *sip_kafka_err_hint(rd_kafka_resp_err_t res);

/** True when it is about reaching the brokers and passes by itself. */
bool sip_kafka_err_is_connection(rd_kafka_resp_err_t res);

/** True when the group's coordinator is not there yet, or is another one: it passes by itself. */
bool sip_kafka_err_is_coordinator(rd_kafka_resp_err_t res);

/** Whether the cluster is librdkafka's mock cluster, which the embedded broker is: it has no admin
 * requests and knows no times. Blocks for up to `timeout_ms` until a broker has answered. */
bool sip_kafka_is_embedded(rd_kafka_t *rk, int timeout_ms);

#endif
