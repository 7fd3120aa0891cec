#ifndef SIP_KAFKA_PRODUCER_H
#define SIP_KAFKA_PRODUCER_H
/* producer.h - the process's idempotent producer (acks=all): every record is written once, in order
 * per partition.
 *
 * The client is made at the first record. Reports come on the loop thread. A fatal error of the
 * client fails what it holds; the next record gets a new client. Keys are hashed as Java's client
 * does (murmur2), so that the same key has the same partition whoever writes it. */
#include "core/err.h"
#include "flow/port.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_kafka;
struct sip_producer;

/** `patient`: a record never fails for want of time (message.timeout.ms=0). @return 0 or UV_ENOMEM
 */
int sip_producer_new(struct sip_producer **out, struct sip_kafka *kafka, bool patient);

/** Frees what is left when no client is open any more. Accepts NULL. */
void sip_producer_free(struct sip_producer *producer);

/** Sends nothing more. What was taken has `flush_ms` to be acknowledged; the rest is reported as
 * UV_ECANCELED. */
void sip_producer_close(struct sip_producer *producer, uint64_t flush_ms);

/** Records that wait for their report. */
size_t sip_producer_pending(const struct sip_producer *producer);

/** As struct sip_producer_ops of flow/port.h: `driver` is a struct sip_producer. At most
 * queue.buffering.max.messages (100,000) and queue.buffering.max.kbytes (65,536) wait. A record
 * larger than message.max.bytes (1,000,000) is refused with SIP_ETOOBIG. */
int sip_producer_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                      void *arg, struct sip_err *err);

const struct sip_producer_ops *sip_producer_operations(void);

/** Hands one record to a client; its report carries `opaque`. `topic` is the output's, or NULL: it
 * is looked up. @return 0, or a negative code with
 * `err`; `*res` is librdkafka's own, and `*fatal` says whether the client is at its end */
int sip_kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct sip_output *output,
                      void *opaque, rd_kafka_resp_err_t *res, bool *fatal, struct sip_err *err);

#endif
