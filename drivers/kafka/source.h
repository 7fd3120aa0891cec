#ifndef SIP_KAFKA_SOURCE_H
#define SIP_KAFKA_SOURCE_H
/* source.h - members of consumer groups, as struct sip_source_ops of flow/port.h has them. Loop
 * thread.
 *
 * Offsets that the owner stores are committed every second and when partitions go. A source that is
 * closed leaves its group; when no broker answers, it gives up after five seconds. It ends when its
 * last record has been released. pause, resume and the answers to a rebalance wait for librdkafka's
 * main thread to take note, which does no I/O. */
#include "core/list.h"
#include "flow/port.h"

/** The operations; their `driver` is a struct sip_kafka. `open` fails with SIP_ECONFIG on a wrong
 * setting or pattern. */
const struct sip_source_ops *sip_source_operations(void);

/** Closes every source of the list (sip_kafka_sources). */
void sip_source_close_all(struct sip_list *sources);

#endif
