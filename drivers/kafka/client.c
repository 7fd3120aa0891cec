/* client.c - one librdkafka handle on the loop.
 *
 * librdkafka signals a queue that becomes non-empty from its own threads; the signal only sends the
 * wakeup. The queue is polled without waiting. rd_kafka_destroy joins threads and therefore runs on
 * the work pool. */
#include "kafka/client.h"

#include "core/base.h"
#include "kafka/errors.h"
#include "kafka/oauth.h"
#include "kafka/refusal.h"
#include "kafka/settings_conf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Kafka protocol guide, API keys */
enum {
  API_METADATA = 3,
  API_JOIN_GROUP = 11,
  API_HEARTBEAT = 12,
  API_SYNC_GROUP = 14,
  API_SASL_HANDSHAKE = 17,
  API_VERSIONS = 18,
  API_SASL_AUTHENTICATE = 36
};

enum { HUSH_MS = 20 }; /* in which librdkafka's main thread has done what an answer asks for */

/* A member that is told to join again within a second of its last JoinGroup waits for the end of
 * that second (rkcg_join_intvl). Nobody says when it does, so that moment is kept clear. */
enum {
  JOIN_APART_MS = 1000,
  JOIN_EARLY_MS = 100,     /* at most so long after it was meant to leave has it left */
  JOIN_SEEN_MS = 50,       /* and so long after the thread has looked */
  JOIN_LOOKED_AT_MS = 5000 /* by then that thread has looked by itself, at every second */
};

struct sip_client_link {
  struct sip_refusal refusal;
  pthread_mutex_t mu;
  struct sip_kafka_health *health;          /* guarded by mu; NULL once the client was abandoned */
  atomic_bool joining, unsettled, asking;   /* set by librdkafka's threads */
  atomic_ullong hushed_until_ms, joined_ms; /* of uv_hrtime; the last JoinGroup, 0: none */
};

/* librdkafka's thread, with the queue's lock held. */
static void client_on_signal(rd_kafka_t *rk, void *opaque)
{
  (void)rk;
  sip_wakeup_send(opaque);
}

/* librdkafka's thread. */
static void link_tell(struct sip_client_link *link, void (*tell)(struct sip_kafka_health *health))
{
  (void)pthread_mutex_lock(&link->mu); /* held for a few instructions, by nobody who waits */
  if (link->health != NULL) {
    tell(link->health);
  }
  (void)pthread_mutex_unlock(&link->mu);
}

/* librdkafka's thread. */
static rd_kafka_resp_err_t link_on_broker_state(rd_kafka_t *rk, int32_t broker_id,
                                                const char *secproto, const char *name, int port,
                                                const char *state, void *opaque)
{
  (void)rk;
  (void)broker_id;
  (void)secproto;
  (void)port;
  if (name[0] != '\0' && strcmp(state, "UP") == 0) { /* "" is librdkafka's internal broker */
    link_tell(opaque, sip_kafka_health_up);
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static unsigned long long link_now_ms(void)
{
  return uv_hrtime() / 1000000;
}

static void link_hush(struct sip_client_link *link, unsigned ms)
{
  unsigned long long until = link_now_ms() + ms, before = atomic_load(&link->hushed_until_ms);

  while (before < until && !atomic_compare_exchange_weak(&link->hushed_until_ms, &before, until)) {
  }
}

/* librdkafka's thread. */
static rd_kafka_resp_err_t link_on_request(rd_kafka_t *rk, int sockfd, const char *name,
                                           int32_t broker_id, int16_t api_key, int16_t api_version,
                                           int32_t corr_id, size_t size, void *opaque)
{
  struct sip_client_link *link = opaque;

  (void)rk;
  (void)sockfd;
  (void)name;
  (void)broker_id;
  (void)api_version;
  (void)corr_id;
  (void)size;
  if (api_key == API_JOIN_GROUP) {
    atomic_store(&link->joining, true);
    atomic_store(&link->unsettled, true);
    atomic_store(&link->joined_ms, link_now_ms());
  } else if (api_key == API_HEARTBEAT) {
    atomic_store(&link->asking, true);
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Requests of a connection that is being made: their answers do not say that it will be one. */
static bool link_is_greeting(int16_t api_key)
{
  return api_key == API_VERSIONS || api_key == API_SASL_HANDSHAKE ||
         api_key == API_SASL_AUTHENTICATE;
}

/* librdkafka's thread. */
static rd_kafka_resp_err_t link_on_response(rd_kafka_t *rk, int sockfd, const char *name,
                                            int32_t broker_id, int16_t api_key, int16_t api_version,
                                            int32_t corr_id, size_t size, int64_t rtt,
                                            rd_kafka_resp_err_t res, void *opaque)
{
  struct sip_client_link *link = opaque;

  (void)rk;
  (void)sockfd;
  (void)name;
  (void)broker_id;
  (void)api_version;
  (void)corr_id;
  (void)size;
  (void)rtt;
  if (api_key == API_SYNC_GROUP) { /* one that refuses is followed by another request to join */
    atomic_store(&link->unsettled, false);
  } else if (api_key == API_HEARTBEAT || api_key == API_METADATA) { /* it may say: join again */
    link_hush(link, HUSH_MS);
  }
  if (api_key == API_HEARTBEAT) { /* behind the hush: there is no moment between */
    atomic_store(&link->asking, false);
  }
  if (res == RD_KAFKA_RESP_ERR_NO_ERROR && !link_is_greeting(api_key)) {
    link_tell(link, sip_kafka_health_answer);
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t link_on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
                                       char *why, size_t size)
{
  (void)conf;
  (void)why;
  (void)size;
  /* They fail only when they are there already. */
  (void)rd_kafka_interceptor_add_on_request_sent(rk, "sipeat", link_on_request, opaque);
  (void)rd_kafka_interceptor_add_on_response_received(rk, "sipeat", link_on_response, opaque);
  return rd_kafka_interceptor_add_on_broker_state_change(rk, "sipeat", link_on_broker_state,
                                                         opaque);
}

static void link_free(struct sip_client_link *link)
{
  if (link != NULL) {
    (void)pthread_mutex_destroy(&link->mu);
    free(link);
  }
}

static struct sip_client_link *link_new(struct sip_kafka_health *health)
{
  struct sip_client_link *link = calloc(1, sizeof *link);

  if (link != NULL && pthread_mutex_init(&link->mu, NULL) != 0) {
    free(link);
    return NULL;
  }
  if (link != NULL) {
    link->health = health;
  }
  return link;
}

static int client_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                      struct sip_err *err)
{
  char why[256];

  if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
    return sip_err_set(err, SIP_ECONFIG, "kafka property %s=%s: %s", name, value, why);
  }
  return 0;
}

/* Defaults of the role, then the user's settings, then what must hold. */
static int client_configure(rd_kafka_conf_t *conf, struct sip_client *client,
                            const struct sip_client_spec *spec, struct sip_err *err)
{
  int rc = client_set(conf, "client.id", "sipeat", err);

  rc = rc < 0 ? rc : client_set(conf, "statistics.interval.ms", "5000", err);
  for (size_t i = 0; rc == 0 && i < spec->property_count; i++) {
    if (!spec->properties[i].fixed) {
      rc = client_set(conf, spec->properties[i].name, spec->properties[i].value, err);
    }
  }
  if (rc == 0) {
    rc = sip_kafka_settings_apply(sip_kafka_settings(client->kafka), conf, err);
  }
  for (size_t i = 0; rc == 0 && i < spec->property_count; i++) {
    if (spec->properties[i].fixed) {
      rc = client_set(conf, spec->properties[i].name, spec->properties[i].value, err);
    }
  }
  if (rc == 0 && spec->group != NULL) {
    rc = client_set(conf, "group.id", spec->group, err);
  }
  if (rc == 0) {
    rc = client_set(conf, "log.queue", "true", err);
  }
  if (rc == 0) {
    rc = client_set(conf, "log.thread.name", "false", err);
  }
  sip_refusal_watch(conf, &client->link->refusal);
  atomic_store(&client->link->refusal.settings, sip_kafka_settings(client->kafka));
  (void)sip_oauth_watch(conf, sip_kafka_settings(client->kafka)); /* asked again once it is open */
  rd_kafka_conf_set_events(conf, spec->events | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG |
                                   RD_KAFKA_EVENT_STATS);
  if (rc == 0 && rd_kafka_conf_interceptor_add_on_new(conf, "sipeat", link_on_new, client->link) !=
                   RD_KAFKA_RESP_ERR_NO_ERROR) {
    rc = sip_err_set(err, SIP_EKAFKA, "kafka: cannot watch the connections");
  }
  return rc;
}

static void client_on_wakeup(void *arg)
{
  struct sip_client *client = arg;

  client->on_events(client);
}

int sip_client_open(struct sip_client *client, struct sip_kafka *kafka,
                    const struct sip_client_spec *spec, struct sip_err *err)
{
  rd_kafka_conf_t *conf = NULL;
  char why[512];
  int rc = sip_kafka_ready(kafka, err);

  if (rc < 0) {
    return rc;
  }
  client->kafka = kafka;
  client->on_events = spec->on_events;
  rc = sip_wakeup_new(&client->wakeup, sip_kafka_loop(kafka), client_on_wakeup, client);
  if (rc < 0) {
    return sip_err_set(err, rc, "kafka: %s", uv_strerror(rc));
  }
  client->link = link_new(sip_kafka_health(kafka));
  if (client->link == NULL) {
    sip_wakeup_close(client->wakeup);
    client->wakeup = NULL;
    return sip_err_set(err, UV_ENOMEM, "kafka: out of memory");
  }
  conf = rd_kafka_conf_new();
  rc = client_configure(conf, client, spec, err);
  if (rc == 0) {
    client->rk = rd_kafka_new(spec->type, conf, why, sizeof why);
    if (client->rk == NULL) {
      rc = sip_err_set(err, SIP_ECONFIG, "kafka client: %s (see KAFKA_… and -X)", why);
    } else {
      rc = sip_oauth_start(client->rk, sip_kafka_settings(kafka), err);
    }
  }
  if (rc < 0) {
    if (client->rk != NULL) {
      rd_kafka_destroy(client->rk);
      client->rk = NULL;
    } else {
      rd_kafka_conf_destroy(conf);
    }
    link_free(client->link);
    client->link = NULL;
    sip_wakeup_close(client->wakeup);
    client->wakeup = NULL;
    return rc;
  }
  if (spec->group != NULL) {
    (void)rd_kafka_poll_set_consumer(client->rk); /* fails only without a group.id */
    client->queue = rd_kafka_queue_get_consumer(client->rk);
  } else {
    client->queue = rd_kafka_queue_get_main(client->rk);
  }
  (void)rd_kafka_set_log_queue(client->rk, NULL); /* the main queue; fails only without log.queue */
  rd_kafka_queue_cb_event_enable(client->queue, client_on_signal, client->wakeup);
  sip_client_again(client); /* what came before the signal was there */
  client->stats = sip_stats_new(sip_kafka_metrics(kafka), client->rk, spec->group);
  sip_kafka_ref(kafka);
  sip_kafka_health_watch(sip_kafka_health(kafka));
  return 0;
}

/* Connection trouble and log lines are told to the one who speaks for all clients. */
static bool client_swallows(struct sip_client *client, rd_kafka_event_t *event)
{
  rd_kafka_event_type_t type = rd_kafka_event_type(event);
  const char *facility, *text;
  struct sip_kafka_health *health;
  char words[256];
  int level;

  if (type == RD_KAFKA_EVENT_FETCH) { /* nearly all are */
    return false;
  }
  health = sip_kafka_health(client->kafka);
  switch (type) {
  case RD_KAFKA_EVENT_LOG:
    if (rd_kafka_event_log(event, &facility, &text, &level) == 0) {
      sip_kafka_health_log(health, level, facility, text);
    }
    return true;
  case RD_KAFKA_EVENT_ERROR:
    if (!rd_kafka_event_error_is_fatal(event) &&
        sip_kafka_err_is_connection(rd_kafka_event_error(event))) {
      sip_refusal_words(&client->link->refusal, rd_kafka_event_error_string(event), words,
                        sizeof words);
      sip_kafka_health_error(health, rd_kafka_event_error(event), words);
      return true;
    }
    return false;
  case RD_KAFKA_EVENT_STATS:
    sip_stats_take(client->stats, rd_kafka_event_stats(event));
    return true;
  default:
    return false;
  }
}

rd_kafka_event_t *sip_client_poll(struct sip_client *client)
{
  while (client->queue != NULL) { /* an event that was served may have ended the client */
    rd_kafka_event_t *event = rd_kafka_queue_poll(client->queue, 0);

    if (event == NULL || !client_swallows(client, event)) {
      return event;
    }
    rd_kafka_event_destroy(event);
  }
  return NULL;
}

void sip_client_again(struct sip_client *client)
{
  if (client->wakeup != NULL) { /* an event that was served may have ended the client */
    sip_wakeup_send(client->wakeup);
  }
}

static void client_run_destroy(struct sip_work *work)
{
  struct sip_client *client = SIP_CONTAINER(work, struct sip_client, work);

  if (!client->abandoned) {
    rd_kafka_destroy_flags(client->rk, client->destroy_flags);
  }
}

static void client_on_destroyed(struct sip_work *work, int status)
{
  struct sip_client *client = SIP_CONTAINER(work, struct sip_client, work);
  struct sip_kafka *kafka = client->kafka;

  (void)status; /* nobody cancels it */
  if (!client->abandoned) {
    link_free(client->link); /* otherwise librdkafka's threads still have it */
  }
  client->link = NULL;
  client->rk = NULL;
  client->on_destroyed(client);
  sip_kafka_unref(kafka);
}

/* From here on nothing of the client's is called by librdkafka's threads but its link. */
static void client_end(struct sip_client *client, sip_client_fn on_destroyed)
{
  rd_kafka_queue_cb_event_enable(client->queue, NULL,
                                 NULL); /* takes the queue's lock: no signal runs afterwards */
  rd_kafka_queue_destroy(client->queue);
  client->queue = NULL;
  sip_wakeup_close(client->wakeup);
  client->wakeup = NULL;
  sip_stats_free(client->stats);
  client->stats = NULL;
  client->on_destroyed = on_destroyed;
  if (sip_work_start(sip_kafka_loop(client->kafka), &client->work, client_run_destroy,
                     client_on_destroyed) < 0) {
    client_run_destroy(
      &client->work); /* a loop that takes no work is about to end: waiting is all that is left */
    client_on_destroyed(&client->work, 0);
  }
}

void sip_client_destroy(struct sip_client *client, int flags, sip_client_fn on_destroyed)
{
  client->destroy_flags = flags;
  client_end(client, on_destroyed);
}

void sip_client_abandon(struct sip_client *client, sip_client_fn on_destroyed)
{
  (void)pthread_mutex_lock(&client->link->mu);
  client->link->health = NULL;
  atomic_store(&client->link->refusal.settings, NULL);
  (void)pthread_mutex_unlock(&client->link->mu);
  client->abandoned = true;
  client_end(client, on_destroyed);
}

bool sip_client_joining(const struct sip_client *client)
{
  return atomic_load(&client->link->joining);
}

void sip_client_hush(struct sip_client *client)
{
  link_hush(client->link, HUSH_MS);
}

/* Whether a JoinGroup that was put off may leave now. Once that moment has come, librdkafka's main
 * thread is made to look, which sends it: it takes what we ask for before it looks. */
static bool client_joins_late(struct sip_client *client)
{
  unsigned long long joined = atomic_load(&client->link->joined_ms), now = link_now_ms();

  if (joined == client->join_passed_ms || now + JOIN_EARLY_MS < joined + JOIN_APART_MS) {
    return false;
  }
  if (now <= joined + JOIN_APART_MS) {
    return true;
  }
  client->join_passed_ms = joined;
  if (now > joined + JOIN_LOOKED_AT_MS) {
    return false;
  }
  (void)rd_kafka_rebalance_protocol(client->rk);
  link_hush(client->link, JOIN_SEEN_MS);
  return true;
}

bool sip_client_unsettled(struct sip_client *client)
{
  const struct sip_client_link *link = client->link;

  return atomic_load(&link->unsettled) || atomic_load(&link->asking) ||
         link_now_ms() < atomic_load(&link->hushed_until_ms) || client_joins_late(client);
}
