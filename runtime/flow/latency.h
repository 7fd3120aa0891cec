#ifndef SIP_FLOW_LATENCY_H
#define SIP_FLOW_LATENCY_H
/* latency.h - how long events took, as counts in buckets of at most a quarter more than they say.
 *
 * A bucket's number alone tells its bounds, so counts of several workers, or of two moments, can be
 * added and subtracted. */
#include <stdint.h>

enum { SIP_LATENCY_BUCKETS = 128 };

struct sip_latency {
  uint32_t counts[SIP_LATENCY_BUCKETS]; /* they wrap around: what counts is the difference */
};

void sip_latency_add(struct sip_latency *latency, uint64_t ms);

/** The bucket of a duration. */
unsigned sip_latency_bucket(uint64_t ms);

/** The longest duration in a bucket. */
uint64_t sip_latency_limit_ms(unsigned bucket);

#endif
