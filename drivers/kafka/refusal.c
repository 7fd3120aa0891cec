/* refusal.c - a table of what librdkafka, OpenSSL and Kafka say when a connection is refused. */
#include "kafka/refusal.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

static const char CERTIFICATE[] = "certificate verify failed";

/* `part` of librdkafka's words; `instead` NULL: they stay. */
static const struct {
  const char *part, *instead, *hint;
} refusals[] = {
  { "the broker's certificate has expired", NULL,
    "the broker needs a new one; is this machine's clock right?" },
  { "the broker's certificate is not valid yet", NULL, "is this machine's clock right?" },
  { "the broker's certificate is not for this host name", NULL,
    "KAFKA_BROKERS has to name the host as the certificate does" },
  { "nobody who is trusted here has signed", NULL,
    "KAFKA_SSL_CA names the file with the authority's certificate, PEM" },
  { "the broker's certificate is not accepted", NULL, "check KAFKA_SSL_CA" },
  { "certificate required", "the broker wants a certificate of the client",
    "set KAFKA_SSL_CERT and KAFKA_SSL_KEY" },
  { "alert bad certificate", "the broker wants a certificate of the client that it accepts",
    "check KAFKA_SSL_CERT and KAFKA_SSL_KEY" },
  { "alert unknown ca", "the broker does not know who has signed the client's certificate",
    "check KAFKA_SSL_CERT" },
  { "alert certificate expired", "the client's certificate has expired",
    "KAFKA_SSL_CERT needs a new one" },
  { "alert certificate unknown", "the broker does not accept the client's certificate",
    "check KAFKA_SSL_CERT: its dates, and who has signed it" },
  { "the broker wants a certificate of the client", NULL, "set KAFKA_SSL_CERT and KAFKA_SSL_KEY" },
  { "the broker does not know who has signed the client's", NULL, "check KAFKA_SSL_CERT" },
  { "the client's certificate has expired", NULL, "KAFKA_SSL_CERT needs a new one" },
  { "the broker does not accept the client's certificate", NULL,
    "check KAFKA_SSL_CERT: its dates, and who has signed it" },
  { "wrong version number", "this port of the broker speaks no TLS",
    "another port, or KAFKA_SECURITY_PROTOCOL without ssl" },
  { "this port of the broker speaks no TLS", NULL,
    "another port, or KAFKA_SECURITY_PROTOCOL without ssl" },
  { "Disconnected while requesting ApiVersion", "the broker hangs up before it says a word",
    "is it a port with TLS? set KAFKA_SECURITY_PROTOCOL=ssl, or sasl_ssl with a user" },
  { "the broker hangs up before it says a word", NULL,
    "is it a port with TLS? set KAFKA_SECURITY_PROTOCOL=ssl, or sasl_ssl with a user" },
  { "unexpected eof while reading", "the broker hangs up in the handshake of TLS",
    "another port, or KAFKA_SECURITY_PROTOCOL without ssl" },
  { "the broker hangs up in the handshake of TLS", NULL,
    "another port, or KAFKA_SECURITY_PROTOCOL without ssl" },
  { "nsupported SASL mechanism", NULL, "set KAFKA_SASL_MECHANISM to one that the broker has" },
  { "mechanism handshake failed", NULL, "set KAFKA_SASL_MECHANISM to one that the broker has" },
  { "OAUTHBEARER", NULL, "check the KAFKA_OAUTH_… settings" },
  { "SASL", NULL, "check KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM" },
  { "uthentication failed", NULL, "check KAFKA_USERNAME and KAFKA_PASSWORD" },
};

static const char *certificate_words(int error)
{
  switch (error) {
  case X509_V_ERR_CERT_HAS_EXPIRED:
    return "the broker's certificate has expired";
  case X509_V_ERR_CERT_NOT_YET_VALID:
    return "the broker's certificate is not valid yet";
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    return "the broker's certificate is not for this host name";
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    return "nobody who is trusted here has signed the broker's certificate";
  default:
    return "the broker's certificate is not accepted";
  }
}

/* librdkafka's threads. 1 leaves the verdict as it is. */
static int refusal_on_certificate(rd_kafka_t *rk, const char *broker, int32_t id, int *error,
                                  int depth, const char *der, size_t len, char *why, size_t size,
                                  void *opaque)
{
  struct sip_refusal *refusal = opaque;

  (void)rk;
  (void)broker;
  (void)id;
  (void)depth;
  (void)der;
  (void)len;
  if (*error == X509_V_OK) {
    return 1;
  }
  atomic_store(&refusal->certificate, *error);
  (void)snprintf(why, size, "%s", certificate_words(*error)); /* cutting it is fine */
  return 0;
}

void sip_refusal_watch(rd_kafka_conf_t *conf, struct sip_refusal *refusal)
{
  rd_kafka_conf_set_opaque(conf, refusal);
  /* It fails in a library without TLS, which refuses ssl as a protocol, too. */
  (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, refusal_on_certificate);
}

/* "sasl_ssl://localhost:9092/bootstrap: words" begins with where, which ends up in `where`. */
static const char *refusal_split(const char *words, char *where, size_t size)
{
  const char *scheme = strstr(words, "://");
  const char *colon = strstr(words, ": ");
  const char *host = scheme != NULL && colon != NULL && scheme < colon ? scheme + 3 : words;
  size_t len = colon == NULL ? 0 : (size_t)(colon - host), slash = strcspn(host, "/");

  where[0] = '\0';
  if (colon == NULL || slash >= len || memchr(host, ' ', len) != NULL) {
    return words;
  }
  (void)snprintf(where, size, "%.*s: ", (int)slash, host); /* a long one is cut */
  return colon + 2;
}

/* Without " (after 3ms in state CONNECT, 1 identical error(s) suppressed)". */
static size_t refusal_length(const char *words)
{
  const char *state = strstr(words, " (after ");

  return state == NULL ? strlen(words) : (size_t)(state - words);
}

void sip_refusal_words(const struct sip_refusal *refusal, const char *words, char *out, size_t size)
{
  char where[128];
  const char *rest = refusal_split(words, where, sizeof where), *instead = NULL;

  if (strstr(rest, CERTIFICATE) != NULL) {
    instead = certificate_words(refusal == NULL ? X509_V_OK : atomic_load(&refusal->certificate));
  }
  for (size_t i = 0; instead == NULL && i < sizeof refusals / sizeof refusals[0]; i++) {
    if (refusals[i].instead != NULL && strstr(rest, refusals[i].part) != NULL) {
      instead = refusals[i].instead;
    }
  }
  if (instead != NULL) {
    (void)snprintf(out, size, "%s%s", where, instead);
  } else {
    (void)snprintf(out, size, "%s%.*s", where, (int)refusal_length(rest), rest);
  }
}

const char *sip_refusal_hint(const char *reason)
{
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
    if (strstr(reason, refusals[i].part) != NULL) {
      return refusals[i].hint;
    }
  }
  return NULL;
}

/* A connection that ends makes librdkafka guess ("broker might require SASL authentication"). */
bool sip_refusal_is_certain(const char *reason)
{
  return sip_refusal_hint(reason) != NULL && strstr(reason, "hangs up") == NULL &&
         strstr(reason, " might ") == NULL;
}
