#ifndef SIP_KAFKA_TUNING_H
#define SIP_KAFKA_TUNING_H
/* tuning.h - presets: librdkafka properties that belong together, under one name. Constant; any
 * thread. */
#include "core/err.h"

#include <stdint.h>

struct sip_kafka_property {
  const char *name, *value;
};

struct sip_kafka_tuning {
  const char *name;
  uint64_t processing_ms; /* of an attempt of an event, in flows that have no limit of their own */
  const struct sip_kafka_property *properties; /* until one without a name */
};

/** The preset of that name. @return 0, or SIP_ECONFIG naming those that there are */
int sip_kafka_tuning_find(const struct sip_kafka_tuning **out, const char *name,
                          struct sip_err *err);

#endif
