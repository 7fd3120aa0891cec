/* latency_test.c - each duration is in one bucket, whose limit is at most a quarter above it. */
#include "flow/latency.h"

#include "support/test.h"

static void every_duration_is_near_the_limit_of_its_bucket(void)
{
  unsigned last = 0;

  for (uint64_t ms = 0; ms < 200000; ms++) {
    unsigned bucket = sip_latency_bucket(ms);
    uint64_t limit = sip_latency_limit_ms(bucket);

    CHECK(bucket == last || bucket == last + 1); /* none is left out */
    CHECK(limit >= ms && limit <= ms + ms / 4);
    CHECK(bucket == 0 || sip_latency_limit_ms(bucket - 1) < ms || bucket == last);
    last = bucket;
  }
}

static void what_is_too_long_goes_to_the_last_bucket(void)
{
  CHECK_INT(sip_latency_bucket(UINT64_MAX), SIP_LATENCY_BUCKETS - 1);
  CHECK_INT(sip_latency_bucket(UINT64_C(1) << 40), SIP_LATENCY_BUCKETS - 1);
}

static void an_added_duration_is_counted(void)
{
  struct sip_latency latency = { { 0 } };

  sip_latency_add(&latency, 3);
  sip_latency_add(&latency, 3);
  sip_latency_add(&latency, 1000);
  CHECK_INT(latency.counts[3], 2);
  CHECK_INT(latency.counts[sip_latency_bucket(1000)], 1);
}

int main(void)
{
  every_duration_is_near_the_limit_of_its_bucket();
  what_is_too_long_goes_to_the_last_bucket();
  an_added_duration_is_counted();
  return 0;
}
