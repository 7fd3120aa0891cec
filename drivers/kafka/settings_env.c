/* settings_env.c - the environment's names for broker, user and TLS files. One thread at a time, at
 * start-up. */
#include "kafka/settings.h"

#include "core/secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Variables in the order in which they are looked at: the first of a property that is set wins. */
static const struct {
  const char *variable, *property;
  bool file; /* names a file that must be readable */
} env_variables[] = {
  { "KAFKA_BROKERS", "bootstrap.servers", false },
  { "KAFKA_BROKER", "bootstrap.servers", false },
  { "KAFKA_USERNAME", "sasl.username", false },
  { "KAFKA_PASSWORD", "sasl.password", false },
  { "KAFKA_SASL_MECHANISM", "sasl.mechanism", false },
  { "KAFKA_SECURITY_PROTOCOL", "security.protocol", false },
  { "KAFKA_SSL_CA", "ssl.ca.location", true },
  { "KAFKA_SSL_CERT", "ssl.certificate.location", true },
  { "KAFKA_SSL_KEY", "ssl.key.location", true },
  { "KAFKA_SSL_KEY_PASSWORD", "ssl.key.password", false },
  { "KAFKA_CLIENT_ID", "client.id", false },
  { "KAFKA_GROUP_INSTANCE_ID", "group.instance.id", false },
  { "KAFKA_OAUTH_URL", "oauth.url", false },
  { "KAFKA_OAUTH_CLIENT_ID", "oauth.client.id", false },
  { "KAFKA_OAUTH_CLIENT_SECRET", "oauth.client.secret", false },
  { "KAFKA_OAUTH_SCOPE", "oauth.scope", false },
  { "KAFKA_OAUTH_CA", "oauth.ca", true },
  { "KAFKA_TUNING", "tuning", false },
};

/* A broker list as people write it, "a:9092, b:9092", without its spaces. */
static void drop_spaces(char *text)
{
  char *to = text;

  for (const char *from = text; *from != '\0'; from++) {
    if (!isspace((unsigned char)*from)) {
      *to++ = *from;
    }
  }
  *to = '\0';
}

static void to_capitals(char *text)
{
  for (; *text != '\0'; text++) {
    *text = (char)toupper((unsigned char)*text);
  }
}

static void env_tidy(const char *property, char *value)
{
  if (strcmp(property, "bootstrap.servers") == 0) {
    drop_spaces(value);
  } else if (strcmp(property, "sasl.mechanism") == 0) {
    to_capitals(value);
  }
}

static int env_take(struct sip_kafka_settings *settings, size_t index, const char *text,
                    struct sip_err *err)
{
  const char *variable = env_variables[index].variable;
  char *value;
  int rc;

  if (env_variables[index].file && access(text, R_OK) != 0) {
    int errnum = errno;

    return sip_err_set(err, SIP_ECONFIG, "%s: cannot read %s: %s", variable, text,
                       strerror(errnum));
  }
  value = strdup(text);
  if (value == NULL) {
    return sip_err_set(err, UV_ENOMEM, "%s: out of memory", variable);
  }
  env_tidy(env_variables[index].property, value);
  rc = sip_kafka_settings_set(settings, env_variables[index].property, value, err);
  if (rc < 0) {
    sip_err_context(err, "%s", variable);
  }
  explicit_bzero(value, strlen(value));
  free(value);
  return rc;
}

/* What follows from a user name or certificate without a word on the protocol: the safe choice. */
static int env_complete(struct sip_kafka_settings *settings, struct sip_err *err)
{
  bool user = sip_kafka_settings_get(settings, "sasl.username") != NULL;
  bool tls = sip_kafka_settings_get(settings, "ssl.ca.location") != NULL ||
             sip_kafka_settings_get(settings, "ssl.certificate.location") != NULL;
  bool token = sip_kafka_settings_get(settings, "oauth.url") != NULL;
  int rc = 0;

  if (token && (sip_kafka_settings_get(settings, "oauth.client.id") == NULL ||
                sip_kafka_settings_get(settings, "oauth.client.secret") == NULL)) {
    return sip_err_set(err, SIP_ECONFIG,
                       "KAFKA_OAUTH_URL is set, but KAFKA_OAUTH_CLIENT_ID or "
                       "KAFKA_OAUTH_CLIENT_SECRET is not");
  }
  if (token && sip_kafka_settings_get(settings, "sasl.mechanism") == NULL) {
    rc = sip_kafka_settings_set(settings, "sasl.mechanism", "OAUTHBEARER", err);
  }
  user = user || token;
  if (user && !token && sip_kafka_settings_get(settings, "sasl.password") == NULL) {
    return sip_err_set(err, SIP_ECONFIG, "KAFKA_USERNAME is set, but KAFKA_PASSWORD is not");
  }
  if (rc == 0 && user && sip_kafka_settings_get(settings, "sasl.mechanism") == NULL) {
    rc = sip_kafka_settings_set(settings, "sasl.mechanism", "PLAIN", err);
  }
  if (rc == 0 && (user || tls) && sip_kafka_settings_get(settings, "security.protocol") == NULL) {
    rc = sip_kafka_settings_set(settings, "security.protocol", user ? "sasl_ssl" : "ssl", err);
  }
  return rc < 0 ? rc : sip_kafka_settings_tune(settings, err);
}

int sip_kafka_settings_from_env(struct sip_kafka_settings *settings, struct sip_err *err)
{
  for (size_t i = 0; i < sizeof env_variables / sizeof env_variables[0]; i++) {
    char *text = NULL;
    int rc = 0;

    if (sip_kafka_settings_get(settings, env_variables[i].property) == NULL) {
      rc = sip_secret_find(env_variables[i].variable, &text, err);
    }
    if (rc > 0) {
      rc = env_take(settings, i, text, err);
    }
    sip_secret_free(text);
    if (rc < 0) {
      return rc;
    }
  }
  return env_complete(settings, err);
}
