#ifndef SIP_KAFKA_KAFKA_H
#define SIP_KAFKA_KAFKA_H
/* kafka.h - the Kafka engine of one loop: settings, the producer, the sources, and the port for the
 * flow engine.
 *
 * Making it costs nothing: clients are created at their first use. Loop thread. */
#include "core/err.h"
#include "core/list.h"
#include "flow/port.h"
#include "kafka/health.h"
#include "kafka/settings.h"

#include <stdbool.h>

struct sip_kafka;
struct sip_kafka_metrics;
struct sip_metrics_shard;
struct sip_producer;

/** @return 0 or UV_ENOMEM */
int sip_kafka_new(struct sip_kafka **out, uv_loop_t *loop, struct sip_err *err);

/** Takes a copy of `settings`. Must come before the first use; later calls answer SIP_EBUSY. */
int sip_kafka_configure(struct sip_kafka *kafka, const struct sip_kafka_settings *settings,
                        struct sip_err *err);

/** The id of the cluster, as a source that is open knows it; asks nobody.
 *  @return false: no broker has told it yet */
bool sip_kafka_cluster(const struct sip_kafka *kafka, char *id, size_t size);

/** Ends everything: sources leave their groups, the producer has `flush_ms` to deliver what it
 * took. The rest happens in the loop's next turns, and the memory goes with the last client.
 * Accepts NULL. */
void sip_kafka_close(struct sip_kafka *kafka, uint64_t flush_ms);

/** What the flow engine takes; lives as long as the engine. Opening and sending fail with
 * SIP_ECONFIG while no broker is set. */
const struct sip_port *sip_kafka_port(struct sip_kafka *kafka);

/** Whether a broker answers: false before the first answer and while all are down. */
bool sip_kafka_connected(const struct sip_kafka *kafka);

/** Records that wait for their report. */
size_t sip_kafka_pending(const struct sip_kafka *kafka);

/** Where its clients count; before the first of them.
 *  @return 0 or a negative code */
int sip_kafka_count(struct sip_kafka *kafka, struct sip_metrics_shard *shard, struct sip_err *err);

/** Puts a way to the outbox into the port; ops NULL: there is none. */
void sip_kafka_set_outbox(struct sip_kafka *kafka, const struct sip_outlet *outbox);

/* --- for this driver's files --- */

/** 0 when clients can be made: brokers are set and the engine is not closing. */
int sip_kafka_ready(struct sip_kafka *kafka, struct sip_err *err);
uv_loop_t *sip_kafka_loop(const struct sip_kafka *kafka);
struct sip_kafka_health *sip_kafka_health(const struct sip_kafka *kafka);
const struct sip_kafka_settings *sip_kafka_settings(const struct sip_kafka *kafka);
struct sip_kafka_metrics *sip_kafka_metrics(const struct sip_kafka *kafka); /* NULL: none */
struct sip_list *sip_kafka_sources(struct sip_kafka *kafka);
void sip_kafka_ref(struct sip_kafka *kafka);
void sip_kafka_unref(struct sip_kafka *kafka);

#endif
