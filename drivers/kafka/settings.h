#ifndef SIP_KAFKA_SETTINGS_H
#define SIP_KAFKA_SETTINGS_H
/* settings.h - which cluster this process talks to, and how: librdkafka properties, checked one by
 * one.
 *
 * Filled once at start-up from flags and environment, then read by every client that is made. Any
 * thread, but not two at once; once a client exists the settings are only read. */
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_kafka_settings;

/** Asks an endpoint for a token and waits: 0 with its answer, freed by the caller, or a negative
 * code. */
typedef int (*sip_oauth_fetch_fn)(const char *url, const char *id, const char *secret,
                                  const char *scope, const char *ca_file, char **body,
                                  struct sip_err *err);

/** Settings without a broker. @return 0 or UV_ENOMEM */
int sip_kafka_settings_new(struct sip_kafka_settings **out, struct sip_err *err);

/** A copy, also of `from`'s secrets. @return 0 or UV_ENOMEM */
int sip_kafka_settings_copy(struct sip_kafka_settings **out, const struct sip_kafka_settings *from,
                            struct sip_err *err);

/** Accepts NULL. Secrets are overwritten before they are freed. */
void sip_kafka_settings_free(struct sip_kafka_settings *settings);

/** Sets a librdkafka property (CONFIGURATION.md), or one of its aliases; the last value wins. The
 *  name "tuning" chooses a preset (tuning.h), whose properties sip_kafka_settings_tune sets.
 *  @return 0; SIP_ECONFIG when the name is unknown (the message names the nearest known one), when
 * the value does not fit, or when the property is one that sipeat's delivery guarantees depend on
 * (enable.auto.offset.store, enable.idempotence, partition.assignment.strategy and others);
 * UV_ENOMEM. Values of secrets are in no message. */
int sip_kafka_settings_set(struct sip_kafka_settings *settings, const char *name, const char *value,
                           struct sip_err *err);

/** As sip_kafka_settings_set for "name=value", the argument of -X. */
int sip_kafka_settings_set_pair(struct sip_kafka_settings *settings, const char *pair,
                                struct sip_err *err);

/** Who gets tokens for OAUTHBEARER (oauth.h). */
void sip_kafka_settings_set_fetch(struct sip_kafka_settings *settings, sip_oauth_fetch_fn fetch);
sip_oauth_fetch_fn sip_kafka_settings_fetch(const struct sip_kafka_settings *settings);

/** Sets the properties of the chosen preset that nobody has set. @return 0, SIP_ECONFIG or
 * UV_ENOMEM */
int sip_kafka_settings_tune(struct sip_kafka_settings *settings, struct sip_err *err);

/** The longest time of an attempt that the chosen preset gives to flows without one of their own;
 * 0: none. */
uint64_t sip_kafka_settings_processing_ms(const struct sip_kafka_settings *settings);

/** Reads KAFKA_BROKERS (or KAFKA_BROKER), KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_SASL_MECHANISM,
 *  KAFKA_SECURITY_PROTOCOL, KAFKA_SSL_CA, KAFKA_SSL_CERT, KAFKA_SSL_KEY, KAFKA_SSL_KEY_PASSWORD,
 * KAFKA_CLIENT_ID, KAFKA_TUNING, and KAFKA_OAUTH_URL, _CLIENT_ID, _CLIENT_SECRET, _SCOPE, _CA.
 * Empty ones count as not set, and a property that was set before (by -X) is kept. A user name
 * without KAFKA_SASL_MECHANISM takes PLAIN; without KAFKA_SECURITY_PROTOCOL it takes sasl_ssl, and
 * a CA or a certificate without a user name takes ssl.
 *  @return 0, SIP_ECONFIG naming the variable, or UV_ENOMEM */
int sip_kafka_settings_from_env(struct sip_kafka_settings *settings, struct sip_err *err);

/** "host:port,host:port" or NULL when no broker was named. Borrowed until the next change. */
const char *sip_kafka_settings_brokers(const struct sip_kafka_settings *settings);

/** The value of a property that was set here, or NULL. Borrowed until the next change. May be a
 * secret. */
const char *sip_kafka_settings_get(const struct sip_kafka_settings *settings, const char *name);

/** True for properties whose value must not be shown (passwords, keys). */
bool sip_kafka_settings_secret(const char *name);

#endif
