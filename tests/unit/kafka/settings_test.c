/* settings_test.c - properties are checked when they are set, and the environment's names become
 * properties. */
#include "kafka/settings.h"

#include "core/base.h"
#include "support/test.h"

#include <string.h>

static const char *const variables[] = {
  "KAFKA_BROKERS",          "KAFKA_BROKER",         "KAFKA_USERNAME",
  "KAFKA_PASSWORD",         "KAFKA_SASL_MECHANISM", "KAFKA_SECURITY_PROTOCOL",
  "KAFKA_SSL_CA",           "KAFKA_SSL_CERT",       "KAFKA_SSL_KEY",
  "KAFKA_SSL_KEY_PASSWORD", "KAFKA_CLIENT_ID",      "KAFKA_TUNING",
};

static struct sip_kafka_settings *fresh(void)
{
  struct sip_kafka_settings *settings = NULL;

  CHECK_INT(sip_kafka_settings_new(&settings, NULL), 0);
  return settings;
}

static void clear_environment(void)
{
  for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
    CHECK_INT(unsetenv(variables[i]), 0);
  }
}

static void wrong_properties_are_refused_with_a_hint(void)
{
  static const struct {
    const char *name, *value, *part;
  } cases[] = {
    { "linger.m", "5", "did you mean linger.ms?" },
    { "zzzzzzzzzzzzzzzzzz", "5", "CONFIGURATION.md" },
    { "linger.ms", "fast", "linger.ms=fast" },
    { "security.protocol", "tls", "security.protocol" },
    { "enable.idempotence", "false", "must not write a record twice" },
    { "acks", "1", "safe on all replicas" },
    { "request.required.acks", "0", "acks cannot be set" },
    { "group.id", "g", "the flow's group" },
    { "auto.offset.reset", "latest", "from = " },
    { "bootstrap.servers", "localhost:notaport", "port between 1 and 65535" },
    { "bootstrap.servers", "localhost:70000", "port between 1 and 65535" },
    { "bootstrap.servers", "a:9092,,b:9092", "is no host:port" },
    { "bootstrap.servers", ":9092", "is no host:port" },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sip_kafka_settings *settings = fresh();
    struct sip_err err = { 0 };

    CHECK_INT(sip_kafka_settings_set(settings, cases[i].name, cases[i].value, &err), SIP_ECONFIG);
    CHECK_HAS(err.message, cases[i].part);
    CHECK(sip_kafka_settings_get(settings, cases[i].name) == NULL);
    sip_kafka_settings_free(settings);
  }
}

static void a_secret_is_in_no_message(void)
{
  struct sip_kafka_settings *settings = fresh();
  struct sip_err err = { 0 };

  CHECK(sip_kafka_settings_secret("sasl.password"));
  CHECK(sip_kafka_settings_secret("ssl.key.pem"));
  CHECK(!sip_kafka_settings_secret("linger.ms"));
  (void)sip_kafka_settings_set(settings, "sasl.passwor", "hunter2", &err);
  CHECK(strstr(err.message, "hunter2") == NULL);
  sip_kafka_settings_free(settings);
}

static void values_are_kept_under_one_name(void)
{
  struct sip_kafka_settings *settings = fresh(), *copy = NULL;

  CHECK(sip_kafka_settings_brokers(settings) == NULL);
  CHECK_INT(
    sip_kafka_settings_set_pair(settings, "metadata.broker.list=[::1]:9092,ssl://b:9093", NULL), 0);
  CHECK_STR(sip_kafka_settings_brokers(settings), "[::1]:9092,ssl://b:9093");
  CHECK_INT(sip_kafka_settings_set(settings, "linger.ms", "1", NULL), 0);
  CHECK_INT(sip_kafka_settings_set(settings, "linger.ms", "2", NULL), 0);
  CHECK_INT(sip_kafka_settings_set(settings, "acks", "-1", NULL), 0);
  CHECK_INT(sip_kafka_settings_set_pair(settings, "linger.ms", NULL), SIP_ECONFIG);
  CHECK_INT(sip_kafka_settings_set_pair(settings, "=5", NULL), SIP_ECONFIG);
  CHECK_INT(sip_kafka_settings_copy(&copy, settings, NULL), 0);
  sip_kafka_settings_free(settings);
  CHECK_STR(sip_kafka_settings_get(copy, "linger.ms"), "2");
  sip_kafka_settings_free(copy);
}

static void the_environment_names_brokers_and_user(void)
{
  struct sip_kafka_settings *settings = fresh();

  clear_environment();
  CHECK_INT(setenv("KAFKA_BROKER", "old:9092", 1), 0);
  CHECK_INT(setenv("KAFKA_BROKERS", "a:9092, b:9092", 1), 0);
  CHECK_INT(setenv("KAFKA_USERNAME", "u", 1), 0);
  CHECK_INT(setenv("KAFKA_PASSWORD", "p", 1), 0);
  CHECK_INT(setenv("KAFKA_SASL_MECHANISM", "scram-sha-256", 1), 0);
  CHECK_INT(sip_kafka_settings_from_env(settings, NULL), 0);
  CHECK_STR(sip_kafka_settings_brokers(settings), "a:9092,b:9092");
  CHECK_STR(sip_kafka_settings_get(settings, "sasl.mechanism"), "SCRAM-SHA-256");
  CHECK_STR(sip_kafka_settings_get(settings, "security.protocol"), "sasl_ssl");
  sip_kafka_settings_free(settings);
}

static void a_flag_wins_over_the_environment_and_empty_counts_as_unset(void)
{
  struct sip_kafka_settings *settings = fresh();

  clear_environment();
  CHECK_INT(setenv("KAFKA_BROKERS", "", 1), 0);
  CHECK_INT(sip_kafka_settings_from_env(settings, NULL), 0);
  CHECK(sip_kafka_settings_brokers(settings) == NULL);
  CHECK_INT(setenv("KAFKA_BROKERS", "env:9092", 1), 0);
  CHECK_INT(sip_kafka_settings_set(settings, "bootstrap.servers", "flag:9092", NULL), 0);
  CHECK_INT(sip_kafka_settings_from_env(settings, NULL), 0);
  CHECK_STR(sip_kafka_settings_brokers(settings), "flag:9092");
  sip_kafka_settings_free(settings);
}

static void a_wrong_variable_is_named(void)
{
  static const struct {
    const char *variable, *value;
  } cases[] = {
    { "KAFKA_SSL_CA", "/does/not/exist" },
    { "KAFKA_SECURITY_PROTOCOL", "carrier-pigeon" },
    { "KAFKA_USERNAME", "without-password" },
    { "KAFKA_BROKERS", "host:port" },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sip_kafka_settings *settings = fresh();
    struct sip_err err = { 0 };

    clear_environment();
    CHECK_INT(setenv(cases[i].variable, cases[i].value, 1), 0);
    CHECK_INT(sip_kafka_settings_from_env(settings, &err), SIP_ECONFIG);
    CHECK_HAS(err.message, cases[i].variable);
    sip_kafka_settings_free(settings);
  }
}

static void a_tuning_sets_what_nobody_has_set(void)
{
  struct sip_kafka_settings *settings = fresh(), *copy = NULL;
  struct sip_err err = { 0 };

  clear_environment();
  CHECK_INT((int)sip_kafka_settings_processing_ms(settings), 0);
  CHECK_INT(sip_kafka_settings_set_pair(settings, "tuning=fast", &err), SIP_ECONFIG);
  CHECK_HAS(err.message, "throughput");
  CHECK_INT(sip_kafka_settings_set_pair(settings, "compression.codec=lz4", NULL), 0);
  CHECK_INT(setenv("KAFKA_TUNING", "throughput", 1), 0);
  CHECK_INT(sip_kafka_settings_from_env(settings, NULL), 0);
  CHECK_STR(sip_kafka_settings_get(settings, "tuning"), "throughput");
  CHECK_STR(sip_kafka_settings_get(settings, "compression.type"), "lz4");
  CHECK_STR(sip_kafka_settings_get(settings, "batch.num.messages"), "1000");
  CHECK_STR(sip_kafka_settings_get(settings, "linger.ms"), "10");
  CHECK_STR(sip_kafka_settings_get(settings, "acks"), "all");
  CHECK_STR(sip_kafka_settings_get(settings, "retries"), "3");
  CHECK_STR(sip_kafka_settings_get(settings, "retry.backoff.ms"), "100");
  CHECK_STR(sip_kafka_settings_get(settings, "fetch.min.bytes"), "1024");
  CHECK_STR(sip_kafka_settings_get(settings, "fetch.max.bytes"), "1048576");
  CHECK_INT(sip_kafka_settings_copy(&copy, settings, NULL), 0);
  CHECK_INT((int)sip_kafka_settings_processing_ms(copy), 30000);
  sip_kafka_settings_free(settings);
  sip_kafka_settings_free(copy);
}

int main(void)
{
  wrong_properties_are_refused_with_a_hint();
  a_secret_is_in_no_message();
  values_are_kept_under_one_name();
  the_environment_names_brokers_and_user();
  a_flag_wins_over_the_environment_and_empty_counts_as_unset();
  a_wrong_variable_is_named();
  a_tuning_sets_what_nobody_has_set();
  SIP_TEST_END(uv_default_loop());
  return 0;
}
