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

#include <stdbool.h>

struct sip_kafka;

/** The operations; their `driver` is a struct sip_kafka. `open` fails with SIP_ECONFIG on a wrong
 * setting or pattern. */
const struct sip_source_ops *sip_source_operations(void);

/* Where a direct source begins and ends in a partition. */
struct sip_source_span {
  int64_t from; /* an offset, or SIP_SPAN_START for what start_at says */
  int64_t to;   /* records from there on are not given; SIP_SPAN_OPEN: all are */
  bool left_out;
};
enum { SIP_SPAN_START = -1, SIP_SPAN_OPEN = -1 };

struct sip_source_direct {
  const char *topic;
  enum sip_start_at start_at;
  int64_t start_ms;
  const struct sip_source_span *spans; /* by partition */
  size_t span_count;
  bool only_spans; /* partitions beyond them are left out; else they are read as start_at says */
};

/** Reads partitions of one topic without a group: nothing is committed, nobody shares. Works with
 * every operation but store and give_back. A missing topic is a fatal error of the sink. The spec
 * is copied. @return 0 or a negative code: nothing was opened */
int sip_source_open_direct(struct sip_kafka *kafka, const struct sip_source_direct *spec,
                           const struct sip_source_sink *sink, void *owner, struct sip_source **out,
                           struct sip_err *err);

/** Of a direct source: every partition has given its last record for now, or its last one before
 * its end. on_readable is called when this becomes true, too. */
bool sip_source_at_end(const struct sip_source *source);

/** Writes the id of the cluster that the source of this node is connected to; "" before it is. */
void sip_source_cluster(const struct sip_list *node, char *id, size_t size);

/** Closes every source of the list (sip_kafka_sources). */
void sip_source_close_all(struct sip_list *sources);

#endif
