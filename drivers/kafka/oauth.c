/* oauth.c - from a token endpoint's answer to librdkafka. Runs on librdkafka's background thread,
 * once for each client, before it connects and when four fifths of a token's life have passed. */
#include "kafka/oauth.h"

#include "core/json.h"
#include "kafka/refusal.h"
#include "kafka/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_LIFE_S = 300, TOKEN_LIMIT_BYTES = 32 << 10 };

/* librdkafka's background thread. */
static void oauth_on_refresh(rd_kafka_t *rk, const char *config, void *opaque)
{
  const struct sip_refusal *watched = opaque;

  (void)config;
  sip_oauth_refresh(rk, atomic_load(&watched->settings));
}

bool sip_oauth_watch(rd_kafka_conf_t *conf, const struct sip_kafka_settings *settings)
{
  if (sip_kafka_settings_get(settings, "oauth.url") == NULL) {
    return false;
  }
  rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, oauth_on_refresh);
  rd_kafka_conf_enable_sasl_queue(conf, 1);
  return true;
}

int sip_oauth_start(rd_kafka_t *rk, const struct sip_kafka_settings *settings, struct sip_err *err)
{
  rd_kafka_error_t *error;
  int rc;

  if (sip_kafka_settings_get(settings, "oauth.url") == NULL) {
    return 0;
  }
  error = rd_kafka_sasl_background_callbacks_enable(rk);
  if (error == NULL) {
    return 0;
  }
  rc = sip_err_set(err, SIP_EKAFKA, "kafka tokens: %s", rd_kafka_error_string(error));
  rd_kafka_error_destroy(error);
  return rc;
}

/* The text of access_token, in `token`, and how long it lives. @return false: there is none */
static bool oauth_read(const char *body, char *token, int64_t *life_s)
{
  struct sip_json json;
  struct sip_json_token *key;
  bool found = false;

  sip_json_init(&json);
  *life_s = DEFAULT_LIFE_S;
  if (sip_json_scan(&json, body, strlen(body), NULL) == 0 && json.count > 0 &&
      json.tokens[0].type == SIP_JSON_OBJECT) {
    key = sip_json_find(body, json.tokens, "access_token", strlen("access_token"));
    if (key != NULL && key[1].type == SIP_JSON_STRING && key[1].len > 0 &&
        key[1].len < TOKEN_LIMIT_BYTES && (key[1].flags & SIP_JSON_ESCAPED) == 0) {
      memcpy(token, body + key[1].at, key[1].len);
      token[key[1].len] = '\0';
      found = true;
    }
    key = sip_json_find(body, json.tokens, "expires_in", strlen("expires_in"));
    if (key != NULL && key[1].type == SIP_JSON_NUMBER) {
      *life_s = strtoll(body + key[1].at, NULL, 10);
    }
  }
  sip_json_deinit(&json);
  return found && *life_s > 0;
}

static int oauth_give(rd_kafka_t *rk, const struct sip_kafka_settings *settings, const char *body,
                      struct sip_err *err)
{
  char token[TOKEN_LIMIT_BYTES], why[256];
  int64_t life_s;
  int rc = 0;

  if (!oauth_read(body, token, &life_s)) {
    return sip_err_set(err, SIP_EAUTH, "the endpoint's answer has no access_token");
  }
  if (rd_kafka_oauthbearer_set_token(rk, token, ((int64_t)time(NULL) + life_s) * 1000,
                                     sip_kafka_settings_get(settings, "oauth.client.id"), NULL, 0,
                                     why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rc = sip_err_set(err, SIP_EAUTH, "%s", why);
  }
  explicit_bzero(token, sizeof token);
  return rc;
}

int sip_oauth_get(rd_kafka_t *rk, const struct sip_kafka_settings *settings, struct sip_err *err)
{
  char *body = NULL;
  int rc;

  if (sip_kafka_settings_get(settings, "oauth.url") == NULL) {
    return 0;
  }
  rc = sip_kafka_settings_fetch(settings)(sip_kafka_settings_get(settings, "oauth.url"),
                                          sip_kafka_settings_get(settings, "oauth.client.id"),
                                          sip_kafka_settings_get(settings, "oauth.client.secret"),
                                          sip_kafka_settings_get(settings, "oauth.scope"),
                                          sip_kafka_settings_get(settings, "oauth.ca"), &body, err);
  if (rc == 0) {
    rc = oauth_give(rk, settings, body, err);
    explicit_bzero(body, strlen(body));
    free(body);
  }
  if (rc < 0) {
    sip_err_context(err, "OAUTHBEARER (check the KAFKA_OAUTH_… settings)");
  }
  return rc;
}

void sip_oauth_refresh(rd_kafka_t *rk, const struct sip_kafka_settings *settings)
{
  struct sip_err err = { 0 };

  if (settings != NULL && sip_oauth_get(rk, settings, &err) < 0) {
    (void)rd_kafka_oauthbearer_set_token_failure(rk, err.message); /* only without OAUTHBEARER */
  }
}
