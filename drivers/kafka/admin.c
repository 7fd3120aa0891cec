/* admin.c - the client behind the admin calls, and its errors. Blocks; one thread at a time. */
#include "core/base.h"
#include "core/log.h"
#include "kafka/admin_state.h"
#include "kafka/errors.h"
#include "kafka/oauth.h"
#include "kafka/settings_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADMIN_TIMEOUT_MS = 10000, ADMIN_POLL_MS = 50 };

/* librdkafka's threads. */
static void admin_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
  (void)rk;
  (void)level;
  sip_log(SIP_LOG_DEBUG, "kafka", NULL, "%s: %s", facility, text);
}

/* In rd_kafka_poll, so on the caller's thread. */
static void admin_on_error(rd_kafka_t *rk, int res, const char *reason, void *opaque)
{
  struct sip_kafka_admin *admin =
    SIP_CONTAINER((struct sip_refusal *)opaque, struct sip_kafka_admin, refusal);
  char words[sizeof admin->reason];

  (void)rk;
  sip_refusal_words(&admin->refusal, reason, words, sizeof words);
  /* That nobody listens at one address of a host says less than the refusal at another. */
  if (res != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN &&
      (sip_refusal_hint(words) != NULL || sip_refusal_hint(admin->reason) == NULL)) {
    memcpy(admin->reason, words, sizeof words);
  }
}

rd_kafka_t *sip_admin_client(struct sip_kafka_admin *admin, const char *group, struct sip_err *err)
{
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk = NULL;
  char why[512];
  int rc = 0;

  rd_kafka_conf_set_log_cb(conf, admin_on_log);
  rd_kafka_conf_set_error_cb(conf, admin_on_error);
  sip_refusal_watch(conf, &admin->refusal);
  atomic_store(&admin->refusal.settings, admin->settings);
  (void)sip_oauth_watch(conf, admin->settings); /* asked again once it is open */
  if (rd_kafka_conf_set(conf, "client.id", "sipeat-admin", why, sizeof why) != RD_KAFKA_CONF_OK) {
    rc = sip_err_set(err, SIP_ECONFIG, "kafka admin: %s", why);
  }
  if (rc == 0) {
    rc = sip_kafka_settings_apply(admin->settings, conf, err);
  }
  if (rc == 0 && group != NULL &&
      (rd_kafka_conf_set(conf, "group.id", group, why, sizeof why) != RD_KAFKA_CONF_OK ||
       rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why) !=
         RD_KAFKA_CONF_OK ||
       rd_kafka_conf_set(conf, "partition.assignment.strategy", "cooperative-sticky", why,
                         sizeof why) != RD_KAFKA_CONF_OK)) {
    rc = sip_err_set(err, SIP_ECONFIG, "group %s: %s", group, why);
  }
  if (rc == 0) {
    rk = rd_kafka_new(group == NULL ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (rk == NULL) {
      (void)sip_err_set(err, SIP_ECONFIG, "kafka client: %s (see KAFKA_… and -X)", why);
    } else if (sip_oauth_get(rk, admin->settings, err) < 0 ||
               sip_oauth_start(rk, admin->settings, err) < 0) {
      rd_kafka_destroy(rk);
      return NULL;
    }
  }
  if (rk == NULL) {
    rd_kafka_conf_destroy(conf);
  }
  return rk;
}

int sip_kafka_admin_open(struct sip_kafka_admin **out, const struct sip_kafka_settings *settings,
                         int timeout_ms, struct sip_err *err)
{
  struct sip_kafka_admin *admin = calloc(1, sizeof *admin);
  int rc = 0;

  if (admin == NULL) {
    return sip_err_set(err, UV_ENOMEM, "kafka admin: out of memory");
  }
  admin->timeout_ms = timeout_ms > 0 ? timeout_ms : ADMIN_TIMEOUT_MS;
  if (sip_kafka_settings_brokers(settings) == NULL) {
    rc = sip_err_set(err, SIP_ECONFIG,
                     "kafka: no broker is set (KAFKA_BROKERS=host:port, in .env too)");
  }
  if (rc == 0) {
    rc = sip_kafka_settings_copy(&admin->settings, settings, err);
  }
  if (rc == 0) {
    admin->rk = sip_admin_client(admin, NULL, err);
    rc = admin->rk == NULL ? SIP_ECONFIG : 0;
  }
  if (rc < 0) {
    sip_kafka_admin_close(admin);
    return rc;
  }
  admin->queue = rd_kafka_queue_new(admin->rk);
  *out = admin;
  return 0;
}

void sip_kafka_admin_close(struct sip_kafka_admin *admin)
{
  if (admin == NULL) {
    return;
  }
  if (admin->queue != NULL) {
    rd_kafka_queue_destroy(admin->queue);
  }
  if (admin->rk != NULL) {
    rd_kafka_destroy(admin->rk);
  }
  sip_kafka_settings_free(admin->settings);
  free(admin);
}

int sip_admin_err(struct sip_kafka_admin *admin, struct sip_err *err, rd_kafka_resp_err_t res,
                  const char *why, const char *what, const char *name)
{
  (void)rd_kafka_poll(admin->rk, 0); /* collects the connection's failures */
  if (sip_kafka_err_is_connection(res) && admin->reason[0] != '\0') {
    why = admin->reason;
  }
  return sip_kafka_err(err, res, why, "%s%s%s", what, name == NULL ? "" : " ",
                       name == NULL ? "" : name);
}

rd_kafka_event_t *sip_admin_wait(struct sip_kafka_admin *admin, const char *what, const char *name,
                                 struct sip_err *err)
{
  /* The request has its own time limit; twice that is for an answer that never comes. */
  for (int waited_ms = 0; waited_ms < 2 * admin->timeout_ms; waited_ms += ADMIN_POLL_MS) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, ADMIN_POLL_MS);

    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      return event;
    }
    if (event != NULL) {
      (void)sip_admin_err(admin, err, rd_kafka_event_error(event),
                          rd_kafka_event_error_string(event), what, name);
      rd_kafka_event_destroy(event);
      return NULL;
    }
  }
  (void)sip_admin_err(admin, err, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, what, name);
  return NULL;
}

rd_kafka_resp_err_t sip_admin_offsets_for(struct sip_kafka_admin *admin,
                                          rd_kafka_topic_partition_list_t *list, int64_t at)
{
  for (int i = 0; i < list->cnt; i++) {
    list->elems[i].offset = at; /* as the protocol has it, -1 is the end and -2 the beginning */
  }
  return list->cnt == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR
                        : rd_kafka_offsets_for_times(admin->rk, list, admin->timeout_ms);
}

static bool is_same(const rd_kafka_topic_partition_t *a, const rd_kafka_topic_partition_t *b)
{
  return a->partition == b->partition && strcmp(a->topic, b->topic) == 0;
}

void sip_admin_take_offsets(rd_kafka_topic_partition_list_t *list,
                            const rd_kafka_topic_partition_list_t *from)
{
  int at = 0; /* where the last one was found */

  for (int i = 0; i < list->cnt; i++) {
    rd_kafka_topic_partition_t *one = &list->elems[i];
    int looked = 0;

    while (looked < from->cnt && !is_same(one, &from->elems[at % from->cnt])) {
      at++;
      looked++;
    }
    one->offset = RD_KAFKA_OFFSET_INVALID;
    one->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (looked < from->cnt) {
      one->offset = from->elems[at % from->cnt].offset;
      one->err = from->elems[at % from->cnt].err;
    }
    at = from->cnt == 0 ? 0 : at % from->cnt;
  }
}

/* One end of each range. */
static void ranges_fill(struct sip_kafka_admin *admin, const rd_kafka_topic_partition_list_t *list,
                        struct sip_admin_range *ranges, bool high)
{
  rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
  rd_kafka_topic_partition_list_t *found = rd_kafka_topic_partition_list_copy(list);
  rd_kafka_resp_err_t res =
    sip_admin_offsets_for(admin, asked, high ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING);

  sip_admin_take_offsets(found, asked);
  for (int i = 0; i < list->cnt; i++) {
    const rd_kafka_topic_partition_t *one = &found->elems[i];
    bool known = res == RD_KAFKA_RESP_ERR_NO_ERROR && one->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
                 one->offset >= 0;

    *(high ? &ranges[i].high : &ranges[i].low) = known ? one->offset : -1;
  }
  rd_kafka_topic_partition_list_destroy(found);
  rd_kafka_topic_partition_list_destroy(asked);
}

struct sip_admin_range *sip_admin_ranges(struct sip_kafka_admin *admin,
                                         const rd_kafka_topic_partition_list_t *list)
{
  struct sip_admin_range *ranges = calloc((size_t)list->cnt + 1, sizeof *ranges);

  if (ranges == NULL) {
    return NULL;
  }
  ranges_fill(admin, list, ranges, false);
  ranges_fill(admin, list, ranges, true);
  for (int i = 0; i < list->cnt; i++) {
    if (ranges[i].low < 0 || ranges[i].high < 0) {
      ranges[i].low = ranges[i].high = -1;
    }
  }
  return ranges;
}
