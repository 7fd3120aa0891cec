#ifndef SIP_KAFKA_STATS_H
#define SIP_KAFKA_STATS_H
/* stats.h - what librdkafka says of itself every few seconds, as metrics: brokers, queues,
 * rebalances, lag of partitions. Loop thread. */
#include "core/err.h"

#include <librdkafka/rdkafka.h>

struct sip_kafka_metrics;
struct sip_metrics_shard;
struct sip_series;
struct sip_stats;

/** The metrics of the clients of one loop. @return 0 or a negative code */
int sip_kafka_metrics_new(struct sip_kafka_metrics **out, struct sip_metrics_shard *shard,
                          struct sip_err *err);
void sip_kafka_metrics_free(struct sip_kafka_metrics *metrics); /* NULL is fine */

/** What is kept of one client. Without metrics, or without memory, NULL: then nothing is taken.
 *  @param group  of a consumer; copied; NULL: none */
struct sip_stats *sip_stats_new(struct sip_kafka_metrics *metrics, const rd_kafka_t *rk,
                                const char *group);

/** Reads what librdkafka tells (STATISTICS.md); what it tells no more is forgotten. */
void sip_stats_take(struct sip_stats *stats, const char *json);

/** The client ends: nothing is said of it any more. NULL is fine. */
void sip_stats_free(struct sip_stats *stats);

/** Records written to a topic, or not: `error` is "" or the name of why. NULL: not counted. */
struct sip_series *sip_kafka_metrics_sent(struct sip_kafka_metrics *metrics, const char *topic,
                                          const char *error);

#endif
