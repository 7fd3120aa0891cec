#ifndef SIP_KAFKA_SETTINGS_CONF_H
#define SIP_KAFKA_SETTINGS_CONF_H
/* settings_conf.h - settings as librdkafka takes them; only for this driver's own files. Any
 * thread. */
#include "kafka/settings.h"

#include <librdkafka/rdkafka.h>

/** Sets every property of `settings` on `conf`. @return 0 or SIP_ECONFIG */
int sip_kafka_settings_apply(const struct sip_kafka_settings *settings, rd_kafka_conf_t *conf,
                             struct sip_err *err);

#endif
