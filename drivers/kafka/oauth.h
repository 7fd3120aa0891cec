#ifndef SIP_KAFKA_OAUTH_H
#define SIP_KAFKA_OAUTH_H
/* oauth.h - tokens for SASL/OAUTHBEARER, from an endpoint of OpenID Connect.
 *
 * Debian's librdkafka is built without its own support for that. */
#include "core/err.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

struct sip_kafka_settings;

/** Before the client is made. @return whether the settings want tokens */
bool sip_oauth_watch(rd_kafka_conf_t *conf, const struct sip_kafka_settings *settings);

/** Lets a client ask for its tokens, on a thread of its own, if the settings want them.
 * @return 0 or SIP_EKAFKA */
int sip_oauth_start(rd_kafka_t *rk, const struct sip_kafka_settings *settings, struct sip_err *err);

/** Gets a token and gives it to the client, if the settings want it. Blocks.
 * @return 0, or a negative code: there is none */
int sip_oauth_get(rd_kafka_t *rk, const struct sip_kafka_settings *settings, struct sip_err *err);

/** The same; a failure is told to the client, which will ask again. */
void sip_oauth_refresh(rd_kafka_t *rk, const struct sip_kafka_settings *settings);

#endif
