#ifndef SIP_KAFKA_REFUSAL_H
#define SIP_KAFKA_REFUSAL_H
/* refusal.h - why a broker and a client do not get together, in words that say what to change.
 *
 * OpenSSL knows what is wrong with a broker's certificate, and librdkafka only passes on that
 * something is: it is noted here while the certificate is looked at. */
#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct sip_kafka_settings;

/* What the callbacks of a client share. All zero at first. Written by librdkafka's threads, read by
 * anybody. */
struct sip_refusal {
  _Atomic(const struct sip_kafka_settings *) settings; /* borrowed, for tokens; NULL: no more */
  atomic_int certificate; /* X509_V_ERR_… of the newest certificate that was not accepted */
};

/** Before the client is made. The refusal becomes the opaque of its callbacks, and must live as
 * long as the client. */
void sip_refusal_watch(rd_kafka_conf_t *conf, struct sip_refusal *refusal);

/** Makes "localhost:9092: the broker's certificate has expired" of librdkafka's words. What it does
 * not know stays, without what librdkafka adds about its own state. `refusal` may be NULL. */
void sip_refusal_words(const struct sip_refusal *refusal, const char *words, char *out,
                       size_t size);

/** What to do about a reason that sip_refusal_words gave, or NULL. Static storage. */
const char *sip_refusal_hint(const char *reason);

/** Whether a reason that sip_refusal_words gave is that of a broker which is there and does not let
 * the client in. One that hangs up may be about to end. */
bool sip_refusal_is_certain(const char *reason);

#endif
