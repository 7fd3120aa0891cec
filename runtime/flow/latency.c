/* latency.c - counts of durations. To 7 ms each has a bucket of its own; from there on each
 * doubling has four. */
#include "flow/latency.h"

enum { EXACT = 8, PARTS = 4, FIRST_POWER = 3 };

unsigned sip_latency_bucket(uint64_t ms)
{
  unsigned power, bucket;

  if (ms < EXACT) {
    return (unsigned)ms;
  }
  power = 63 - (unsigned)__builtin_clzll(ms);
  bucket = EXACT + (power - FIRST_POWER) * PARTS + (unsigned)((ms >> (power - 2)) & (PARTS - 1));
  return bucket < SIP_LATENCY_BUCKETS ? bucket : SIP_LATENCY_BUCKETS - 1;
}

uint64_t sip_latency_limit_ms(unsigned bucket)
{
  unsigned power = FIRST_POWER + (bucket - EXACT) / PARTS, part = (bucket - EXACT) % PARTS;

  if (bucket < EXACT) {
    return bucket;
  }
  return ((uint64_t)(PARTS + part + 1) << (power - 2)) - 1;
}

void sip_latency_add(struct sip_latency *latency, uint64_t ms)
{
  latency->counts[sip_latency_bucket(ms)]++;
}
