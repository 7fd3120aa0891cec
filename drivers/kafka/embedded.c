/* embedded.c - librdkafka's mock cluster as a broker for development.
 *
 * The cluster lives in a client handle of its own and on that client's threads. It binds a free
 * port itself; a fixed port is served by a forwarder (embedded_forward.c) in front of it. */
#include "kafka/embedded.h"

#include "core/log.h"
#include "kafka/embedded_forward.h"
#include "kafka/errors.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMBEDDED_MAX_PARTITIONS = 10000 };

/* What clients of librdkafka 2.0.2's mock cluster should have. A joining member makes it wait for
 * session.timeout.ms - 1 s once the group exists (rdkafka_mock_cgrp.c), so the stock 45 s would
 * hold up each rebalance for 44 s. A fetch that finds nothing is answered after fetch.wait.max.ms
 * even when a record comes sooner (rdkafka_mock_handlers.c). */
static const struct {
  const char *name, *value;
} embedded_settings[] = {
  { "session.timeout.ms", "3000" },
  { "heartbeat.interval.ms", "500" },
  { "fetch.wait.max.ms", "50" },
};

struct sip_embedded_broker {
  rd_kafka_t *rk;
  rd_kafka_mock_cluster_t *cluster;
  struct sip_forward *forward; /* NULL without a fixed port */
  char address[32];
};

static void embedded_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
  (void)rk;
  sip_log(level <= 3 ? SIP_LOG_WARN : SIP_LOG_DEBUG, "kafka", NULL, "embedded broker: %s: %s",
          facility, text);
}

/* The cluster's thread ends when a signal interrupts it, so it gets none: they are the main
 * thread's.
 */
static rd_kafka_mock_cluster_t *embedded_new_cluster(rd_kafka_t *rk)
{
  rd_kafka_mock_cluster_t *cluster;
  sigset_t all, before;

  (void)sigfillset(&all); /* fails for no valid set, as the two below */
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  cluster = rd_kafka_mock_cluster_new(rk, 1);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return cluster;
}

static int embedded_open(struct sip_embedded_broker *broker, struct sip_err *err)
{
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char why[256];

  rd_kafka_conf_set_log_cb(conf, embedded_on_log);
  if (rd_kafka_conf_set(conf, "client.id", "sipeat-embedded", why, sizeof why) ==
      RD_KAFKA_CONF_OK) {
    broker->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  }
  if (broker->rk == NULL) {
    rd_kafka_conf_destroy(conf);
    return sip_err_set(err, SIP_EKAFKA, "embedded broker: %s", why);
  }
  broker->cluster = embedded_new_cluster(broker->rk);
  if (broker->cluster == NULL) {
    return sip_err_set(err, SIP_EKAFKA, "embedded broker: cannot listen on 127.0.0.1");
  }
#if RD_KAFKA_VERSION >= 0x020400ff
  rd_kafka_mock_group_initial_rebalance_delay_ms(broker->cluster, 100);
#endif
  (void)snprintf(broker->address, sizeof broker->address, "%s",
                 rd_kafka_mock_cluster_bootstraps(broker->cluster));
  return 0;
}

int sip_embedded_broker_start(struct sip_embedded_broker **out, uint16_t port, struct sip_err *err)
{
  struct sip_embedded_broker *broker = calloc(1, sizeof *broker);
  int rc;

  if (broker == NULL) {
    return sip_err_set(err, UV_ENOMEM, "embedded broker: out of memory");
  }
  rc = embedded_open(broker, err);
  if (rc == 0 && port != 0) {
    rc = sip_forward_start(&broker->forward, port, broker->address, err);
    (void)snprintf(broker->address, sizeof broker->address, "127.0.0.1:%u", (unsigned)port);
  }
  if (rc < 0) {
    sip_embedded_broker_stop(broker);
    return rc;
  }
  *out = broker;
  return 0;
}

const char *sip_embedded_broker_address(const struct sip_embedded_broker *broker)
{
  return broker->address;
}

int sip_embedded_broker_settings(const char *address, struct sip_kafka_settings *settings,
                                 struct sip_err *err)
{
  int rc = sip_kafka_settings_set(settings, "bootstrap.servers", address, err);

  for (size_t i = 0; rc == 0 && i < sizeof embedded_settings / sizeof embedded_settings[0]; i++) {
    if (sip_kafka_settings_get(settings, embedded_settings[i].name) == NULL) {
      rc = sip_kafka_settings_set(settings, embedded_settings[i].name, embedded_settings[i].value,
                                  err);
    }
  }
  return rc;
}

int sip_embedded_broker_create_topic(struct sip_embedded_broker *broker, const char *topic,
                                     int partitions, struct sip_err *err)
{
  rd_kafka_resp_err_t res;

  if (partitions < 1 || partitions > EMBEDDED_MAX_PARTITIONS) {
    return sip_err_set(err, UV_EINVAL, "create topic %s: %d partitions (1 to %d)", topic,
                       partitions, EMBEDDED_MAX_PARTITIONS);
  }
  res = rd_kafka_mock_topic_create(broker->cluster, topic, partitions, 1);
  return res == RD_KAFKA_RESP_ERR_NO_ERROR
           ? 0
           : sip_kafka_err(err, res, NULL, "create topic %s", topic);
}

void sip_embedded_broker_stop(struct sip_embedded_broker *broker)
{
  if (broker == NULL) {
    return;
  }
  sip_forward_stop(broker->forward);
  if (broker->cluster != NULL) {
    rd_kafka_mock_cluster_destroy(broker->cluster);
  }
  if (broker->rk != NULL) {
    rd_kafka_destroy(broker->rk);
  }
  free(broker);
}
