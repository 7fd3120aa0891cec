/* settings.c - flags, then environment, then .env.local, then .env. */
#include "cli/settings.h"

#include "cli/cli.h"
#include "cli/envfile.h"
#include "core/log.h"
#include "http/token.h"
#include "kafka/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add_property(void *target, const char *value, struct sip_err *err)
{
  struct sip_settings *settings = target;

  if (strchr(value, '=') == NULL || value[0] == '=') {
    return sip_err_set(err, UV_EINVAL, "takes name=value, a librdkafka property");
  }
  if (settings->property_count == SIP_MAX_PROPERTIES) {
    return sip_err_set(err, SIP_ETOOBIG, "was given more than %d times", SIP_MAX_PROPERTIES);
  }
  settings->properties[settings->property_count++] = value;
  return 0;
}

const struct sip_option sip_broker_options[] = {
  { .name = "brokers",
    .letter = 'b',
    .value = "LIST",
    .help = "Kafka brokers, host:port,host:port (KAFKA_BROKERS, KAFKA_BROKER)",
    .kind = SIP_OPTION_TEXT,
    .offset = offsetof(struct sip_settings, brokers) },
  { .name = "property",
    .letter = 'X',
    .value = "NAME=VALUE",
    .help = "any librdkafka property; may be repeated",
    .kind = SIP_OPTION_CALL,
    .call = add_property },
  { 0 },
};

const struct sip_option sip_log_options[] = {
  { .name = "log-level",
    .value = "LEVEL",
    .help = "debug, info, warn or error (SIPEAT_LOG_LEVEL; default info)",
    .kind = SIP_OPTION_TEXT,
    .offset = offsetof(struct sip_settings, log_level) },
  { .name = "log-format",
    .value = "FORMAT",
    .help = "human, json or auto (SIPEAT_LOG_FORMAT; default auto)",
    .kind = SIP_OPTION_TEXT,
    .offset = offsetof(struct sip_settings, log_format) },
  { 0 },
};

const struct sip_option sip_tls_options[] = {
  { .name = "http-tls-cert",
    .value = "FILE",
    .help = "serve https with this certificate and its chain, PEM (SIPEAT_HTTP_TLS_CERT)",
    .kind = SIP_OPTION_TEXT,
    .offset = offsetof(struct sip_tls_settings, cert) },
  { .name = "http-tls-key",
    .value = "FILE",
    .help = "and its private key, PEM (SIPEAT_HTTP_TLS_KEY)",
    .kind = SIP_OPTION_TEXT,
    .offset = offsetof(struct sip_tls_settings, key) },
  { 0 },
};

const char *sip_settings_text(const char *flag, const char *variable, const char *fallback)
{
  const char *value = flag;

  if (value == NULL) {
    value = getenv(variable);
    if (value != NULL && value[0] == '\0') {
      value = NULL;
    }
  }
  return value != NULL ? value : fallback;
}

static int setup_log(struct sip_settings *settings, struct sip_err *err)
{
  enum sip_log_level level;
  enum sip_log_style style;

  settings->log_level = sip_settings_text(settings->log_level, "SIPEAT_LOG_LEVEL", "info");
  settings->log_format = sip_settings_text(settings->log_format, "SIPEAT_LOG_FORMAT", "auto");
  if (!sip_log_parse_level(settings->log_level, &level)) {
    return sip_err_set(err, SIP_ECONFIG,
                       "log level \"%.40s\" is not debug, info, warn or error (--log-level or "
                       "SIPEAT_LOG_LEVEL)",
                       settings->log_level);
  }
  if (strcmp(settings->log_format, "auto") == 0) {
    style = SIP_LOG_AUTO;
  } else if (strcmp(settings->log_format, "human") == 0) {
    style = SIP_LOG_HUMAN;
  } else if (strcmp(settings->log_format, "json") == 0) {
    style = SIP_LOG_JSON;
  } else {
    return sip_err_set(err, SIP_ECONFIG,
                       "log format \"%.40s\" is not human, json or auto (--log-format or "
                       "SIPEAT_LOG_FORMAT)",
                       settings->log_format);
  }
  sip_log_setup(STDERR_FILENO, style, level);
  return 0;
}

int sip_settings_load(struct sip_settings *settings, struct sip_err *err)
{
  static const char *const files[] = { ".env.local", ".env" }; /* the first one wins */

  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    int rc = sip_envfile_merge(files[i], err);

    if (rc < 0) {
      return rc;
    }
  }
  return setup_log(settings, err);
}

int sip_settings_kafka(const struct sip_settings *settings, struct sip_kafka_settings **out,
                       struct sip_err *err)
{
  struct sip_kafka_settings *kafka = NULL;
  int rc = sip_kafka_settings_new(&kafka, err);

  if (rc == 0) {
    sip_kafka_settings_set_fetch(kafka, sip_http_token);
  }
  if (rc == 0 && settings->brokers != NULL) {
    rc = sip_kafka_settings_set(kafka, "bootstrap.servers", settings->brokers, err);
    if (rc < 0) {
      sip_err_context(err, "--brokers");
    }
  }
  for (size_t i = 0; rc == 0 && i < settings->property_count; i++) {
    rc = sip_kafka_settings_set_pair(kafka, settings->properties[i], err);
    if (rc < 0) {
      sip_err_context(err, "-X");
    }
  }
  if (rc == 0) {
    rc = sip_kafka_settings_from_env(kafka, err);
  }
  if (rc < 0) {
    sip_kafka_settings_free(kafka);
    return rc;
  }
  *out = kafka;
  return 0;
}

const char *sip_settings_state(const char *flag, char *place, size_t size)
{
  const char *base = getenv("XDG_STATE_HOME");

  if (base == NULL || base[0] != '/' || (size_t)snprintf(place, size, "%s/sipeat", base) >= size) {
    (void)snprintf(place, size, ".sipeat");
  }
  return sip_settings_text(flag, "SIPEAT_STATE", place);
}

const char *sip_settings_access(const char *state, char *place, size_t size)
{
  if (strcmp(state, "off") == 0) {
    (void)snprintf(place, size, ":memory:");
  } else {
    (void)snprintf(place, size, "%s/access.db",
                   state); /* too long: it does not open, which says so */
  }
  return sip_settings_text(NULL, "SIPEAT_ACCESS", place);
}

int sip_settings_refused(const char *command, const struct sip_err *err)
{
  (void)fprintf(stderr, "%s: %s\n", command, err->message);
  return SIP_EXIT_SETTINGS;
}
