/* tuning.c - the presets of -X tuning=NAME and KAFKA_TUNING. Any thread. */
#include "kafka/tuning.h"

#include <string.h>

/* Large batches and few, large fetches: for throughput, at the price of some milliseconds for a
 * lone record, which waits for linger.ms at its producer, and at its consumer until fetch.min.bytes
 * are there or fetch.wait.max.ms have passed. All replicas acknowledge, as always. */
static const struct sip_kafka_property tuning_throughput[] = {
  { "batch.num.messages", "1000" },
  { "linger.ms", "10" },
  { "compression.type", "snappy" },
  { "acks", "all" },
  { "retries", "3" },
  { "retry.backoff.ms", "100" },
  { "fetch.min.bytes", "1024" },
  { "fetch.max.bytes", "1048576" },
  { "max.partition.fetch.bytes", "1048576" },
  { NULL, NULL },
};

static const struct sip_kafka_tuning tunings[] = {
  { "throughput", 30000, tuning_throughput },
};

int sip_kafka_tuning_find(const struct sip_kafka_tuning **out, const char *name,
                          struct sip_err *err)
{
  for (size_t i = 0; i < sizeof tunings / sizeof tunings[0]; i++) {
    if (strcmp(tunings[i].name, name) == 0) {
      *out = &tunings[i];
      return 0;
    }
  }
  return sip_err_set(err, SIP_ECONFIG, "tuning \"%.40s\": there is only \"throughput\"", name);
}
