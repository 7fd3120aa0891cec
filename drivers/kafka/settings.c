/* settings.c - librdkafka properties by name: checked when they are set, kept as text, applied to
 * each new client.
 *
 * A property is tried on a scratch configuration first, so a wrong one is found at start-up and not
 * when the first event comes. What sipeat's delivery promises rest on cannot be changed. One thread
 * at a time. */
#include "kafka/settings.h"

#include "core/nearest.h"
#include "kafka/settings_conf.h"
#include "kafka/tuning.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct setting {
  char *name, *value;
};

struct sip_kafka_settings {
  struct setting *items;
  size_t count, cap;
  sip_oauth_fetch_fn fetch;              /* NULL: there are no tokens */
  const struct sip_kafka_tuning *tuning; /* static, or NULL: none was chosen */
};

/* Names that mean the same; the right one is kept. */
static const struct {
  const char *alias, *name;
} settings_aliases[] = {
  { "metadata.broker.list", "bootstrap.servers" },
  { "request.required.acks", "acks" },
  { "sasl.mechanisms", "sasl.mechanism" },
  { "compression.codec", "compression.type" },
  { "message.send.max.retries", "retries" },
  { "queue.buffering.max.ms", "linger.ms" },
  { "fetch.message.max.bytes", "max.partition.fetch.bytes" },
};

/* Properties that a user may not change, with the one value that is allowed (NULL: none) and what
 * to do instead. */
static const struct {
  const char *name, *allowed, *instead;
} settings_fixed[] = {
  { "enable.auto.offset.store", "false", "offsets are stored when an event is finished" },
  { "enable.auto.commit", "true", "what is finished is committed in the background" },
  { "enable.idempotence", "true", "a retry must not write a record twice" },
  { "acks", "all", "an event is only finished when its outputs are safe on all replicas" },
  { "group.id", NULL, "it is the flow's group" },
  { "auto.offset.reset", NULL, "it is the flow's from = \"beginning\", \"end\" or a time" },
  { "transactional.id", NULL, "it is made for each flow with transactional = true" },
  { "log.queue", "true", "the client's log lines come through the loop" },
  { "enable.partition.eof", "false", "the runtime decides about it" },
};

static const char *settings_canonical(const char *name)
{
  for (size_t i = 0; i < sizeof settings_aliases / sizeof settings_aliases[0]; i++) {
    if (strcmp(settings_aliases[i].alias, name) == 0) {
      return settings_aliases[i].name;
    }
  }
  return name;
}

bool sip_kafka_settings_secret(const char *name)
{
  static const char *const words[] = { "password", "secret", "key.pem", "oauthbearer.config" };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (strstr(name, words[i]) != NULL) {
      return true;
    }
  }
  return false;
}

int sip_kafka_settings_new(struct sip_kafka_settings **out, struct sip_err *err)
{
  struct sip_kafka_settings *settings = calloc(1, sizeof *settings);

  if (settings == NULL) {
    return sip_err_set(err, UV_ENOMEM, "kafka settings: out of memory");
  }
  *out = settings;
  return 0;
}

static void settings_forget(char *text)
{
  if (text != NULL) {
    explicit_bzero(text, strlen(text));
    free(text);
  }
}

void sip_kafka_settings_free(struct sip_kafka_settings *settings)
{
  if (settings == NULL) {
    return;
  }
  for (size_t i = 0; i < settings->count; i++) {
    free(settings->items[i].name);
    settings_forget(settings->items[i].value);
  }
  free(settings->items);
  free(settings);
}

static struct setting *settings_find(const struct sip_kafka_settings *settings, const char *name)
{
  for (size_t i = 0; i < settings->count; i++) {
    if (strcmp(settings->items[i].name, name) == 0) {
      return &settings->items[i];
    }
  }
  return NULL;
}

const char *sip_kafka_settings_get(const struct sip_kafka_settings *settings, const char *name)
{
  const struct setting *item = settings_find(settings, settings_canonical(name));

  if (strcmp(name, "tuning") == 0) {
    return settings->tuning == NULL ? NULL : settings->tuning->name;
  }
  return item == NULL ? NULL : item->value;
}

const char *sip_kafka_settings_brokers(const struct sip_kafka_settings *settings)
{
  return sip_kafka_settings_get(settings, "bootstrap.servers");
}

/* Keeps a checked value. */
static int settings_put(struct sip_kafka_settings *settings, const char *name, const char *value,
                        struct sip_err *err)
{
  struct setting *item = settings_find(settings, name);
  char *copy = strdup(value);

  if (copy != NULL && item != NULL) {
    settings_forget(item->value);
    item->value = copy;
    return 0;
  }
  if (copy != NULL && settings->count == settings->cap) {
    size_t cap = settings->cap == 0 ? 16 : settings->cap * 2;
    struct setting *items = realloc(settings->items, cap * sizeof *items);

    if (items != NULL) {
      settings->items = items;
      settings->cap = cap;
    }
  }
  if (copy == NULL || settings->count == settings->cap) {
    settings_forget(copy);
    return sip_err_set(err, UV_ENOMEM, "kafka property %s: out of memory", name);
  }
  item = &settings->items[settings->count];
  item->name = strdup(name);
  if (item->name == NULL) {
    settings_forget(copy);
    return sip_err_set(err, UV_ENOMEM, "kafka property %s: out of memory", name);
  }
  item->value = copy;
  settings->count++;
  return 0;
}

int sip_kafka_settings_copy(struct sip_kafka_settings **out, const struct sip_kafka_settings *from,
                            struct sip_err *err)
{
  struct sip_kafka_settings *copy = NULL;
  int rc = sip_kafka_settings_new(&copy, err);

  for (size_t i = 0; rc == 0 && i < from->count; i++) {
    rc = settings_put(copy, from->items[i].name, from->items[i].value, err);
  }
  if (rc < 0) {
    sip_kafka_settings_free(copy);
    return rc;
  }
  copy->tuning = from->tuning;
  copy->fetch = from->fetch;
  *out = copy;
  return 0;
}

/* Puts the known property that is most like `name` into `guess`; "" when none is near. librdkafka
 * offers its list only as a printed table whose first column is the name. */
static void settings_nearest(const char *name, char *guess, size_t size)
{
  char *table = NULL, *save = NULL;
  size_t len = 0, distance = 0;
  const char *best = NULL;
  FILE *memory = open_memstream(&table, &len);

  guess[0] = '\0';
  if (memory == NULL) {
    return;
  }
  rd_kafka_conf_properties_show(memory);
  if (fclose(memory) != 0) {
    free(table);
    return;
  }
  for (char *line = strtok_r(table, "\n", &save); line != NULL;
       line = strtok_r(NULL, "\n", &save)) {
    size_t word = strcspn(line, " |");

    if (word > 0 && line[0] >= 'a' && line[0] <= 'z') { /* not a heading */
      line[word] = '\0';
      sip_nearest_consider(name, line, &best, &distance);
    }
  }
  if (best != NULL) {
    (void)snprintf(guess, size, "%s", best); /* a property's name fits */
  }
  free(table);
}

static int settings_check_fixed(const char *name, const char *value, struct sip_err *err)
{
  for (size_t i = 0; i < sizeof settings_fixed / sizeof settings_fixed[0]; i++) {
    const char *allowed = settings_fixed[i].allowed;

    if (strcmp(settings_fixed[i].name, name) != 0) {
      continue;
    }
    if (allowed != NULL && (strcasecmp(allowed, value) == 0 ||
                            (strcmp(name, "acks") == 0 && strcmp(value, "-1") == 0))) {
      return 0;
    }
    return sip_err_set(err, SIP_ECONFIG, "kafka property %s cannot be set%s%s: %s", name,
                       allowed == NULL ? "" : " to anything but ", allowed == NULL ? "" : allowed,
                       settings_fixed[i].instead);
  }
  return 0;
}

/* librdkafka takes any text as a broker list and would fail later, without saying why. */
static int settings_check_brokers(const char *value, struct sip_err *err)
{
  const char *at = value;

  for (;;) {
    size_t len = strcspn(at, ",");
    const char *scheme = memmem(at, len, "://", 3);
    const char *host = scheme == NULL ? at : scheme + 3;
    size_t host_len = len - (size_t)(host - at);
    const char *colon = memrchr(host, ':', host_len);
    const char *bracket = memrchr(host, ']', host_len);

    if (host_len == 0 || colon == host || strcspn(host, " \t/@") < host_len) {
      return sip_err_set(
        err, SIP_ECONFIG,
        "kafka brokers \"%s\": \"%.*s\" is no host:port (as in kafka-1:9092,kafka-2:9092)", value,
        (int)len, at);
    }
    if (colon != NULL && (bracket == NULL || colon > bracket)) {
      char *end = NULL;
      unsigned long port = strtoul(colon + 1, &end, 10);

      if (end != at + len || end == colon + 1 || port == 0 || port > 65535) {
        return sip_err_set(err, SIP_ECONFIG,
                           "kafka brokers \"%s\": \"%.*s\" has no port between 1 and 65535", value,
                           (int)len, at);
      }
    }
    if (at[len] == '\0') {
      return 0;
    }
    at += len + 1;
  }
}

/* librdkafka's own word on a value, without the value itself where that is a secret. */
static int settings_try(const char *name, const char *value, struct sip_err *err)
{
  rd_kafka_conf_t *scratch = rd_kafka_conf_new();
  char why[256], guess[64];
  rd_kafka_conf_res_t res = rd_kafka_conf_set(scratch, name, value, why, sizeof why);

  rd_kafka_conf_destroy(scratch);
  if (res == RD_KAFKA_CONF_OK) {
    return 0;
  }
  if (res == RD_KAFKA_CONF_UNKNOWN) {
    settings_nearest(name, guess, sizeof guess);
    return sip_err_set(err, SIP_ECONFIG, "unknown kafka property %s%s%s%s", name,
                       guess[0] == '\0' ? " (librdkafka's CONFIGURATION.md lists them all)"
                                        : "; did you mean ",
                       guess, guess[0] == '\0' ? "" : "?");
  }
  if (sip_kafka_settings_secret(name)) {
    return sip_err_set(err, SIP_ECONFIG, "kafka property %s: the value is not accepted", name);
  }
  return sip_err_set(err, SIP_ECONFIG, "kafka property %s=%s: %s", name, value, why);
}

/* What librdkafka is not told. */
static bool settings_is_own(const char *name)
{
  return strncmp(name, "oauth.", 6) == 0;
}

void sip_kafka_settings_set_fetch(struct sip_kafka_settings *settings, sip_oauth_fetch_fn fetch)
{
  settings->fetch = fetch;
}

sip_oauth_fetch_fn sip_kafka_settings_fetch(const struct sip_kafka_settings *settings)
{
  return settings->fetch;
}

int sip_kafka_settings_set(struct sip_kafka_settings *settings, const char *name, const char *value,
                           struct sip_err *err)
{
  int rc;

  if (strcmp(name, "tuning") == 0) {
    return sip_kafka_tuning_find(&settings->tuning, value, err);
  }
  if (settings_is_own(name)) {
    return settings_put(settings, name, value, err);
  }
  name = settings_canonical(name);
  rc = settings_check_fixed(name, value, err);
  if (rc == 0) {
    rc = settings_try(name, value, err);
  }
  if (rc == 0 && strcmp(name, "bootstrap.servers") == 0) {
    rc = settings_check_brokers(value, err);
  }
  return rc < 0 ? rc : settings_put(settings, name, value, err);
}

int sip_kafka_settings_tune(struct sip_kafka_settings *settings, struct sip_err *err)
{
  const struct sip_kafka_property *property =
    settings->tuning == NULL ? NULL : settings->tuning->properties;
  int rc = 0;

  for (; rc == 0 && property != NULL && property->name != NULL; property++) {
    if (settings_find(settings, property->name) == NULL) {
      rc = sip_kafka_settings_set(settings, property->name, property->value, err);
    }
  }
  return rc;
}

uint64_t sip_kafka_settings_processing_ms(const struct sip_kafka_settings *settings)
{
  return settings->tuning == NULL ? 0 : settings->tuning->processing_ms;
}

int sip_kafka_settings_set_pair(struct sip_kafka_settings *settings, const char *pair,
                                struct sip_err *err)
{
  const char *equals = strchr(pair, '=');
  char name[128];

  if (equals == NULL || equals == pair || (size_t)(equals - pair) >= sizeof name) {
    return sip_err_set(err, SIP_ECONFIG,
                       "-X %.*s: expected NAME=VALUE, as in -X socket.keepalive.enable=true",
                       (int)strcspn(pair, "="), pair);
  }
  memcpy(name, pair, (size_t)(equals - pair));
  name[equals - pair] = '\0';
  return sip_kafka_settings_set(settings, name, equals + 1, err);
}

int sip_kafka_settings_apply(const struct sip_kafka_settings *settings, rd_kafka_conf_t *conf,
                             struct sip_err *err)
{
  char why[256];

  for (size_t i = 0; i < settings->count; i++) {
    if (!settings_is_own(settings->items[i].name) &&
        rd_kafka_conf_set(conf, settings->items[i].name, settings->items[i].value, why,
                          sizeof why) != RD_KAFKA_CONF_OK) {
      return sip_err_set(
        err, SIP_ECONFIG, "kafka property %s: %s", settings->items[i].name,
        sip_kafka_settings_secret(settings->items[i].name) ? "the value is not accepted" : why);
    }
  }
  return 0;
}
