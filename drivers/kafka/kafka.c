/* kafka.c - what the clients of one loop share, counted by its clients: the last one takes it
 * along. */
#include "kafka/kafka.h"

#include "core/base.h"
#include "kafka/producer.h"
#include "kafka/source.h"
#include "kafka/stats.h"
#include "kafka/transaction.h"

#include <stdlib.h>

struct sip_kafka {
  uv_loop_t *loop;                     /* borrowed */
  struct sip_kafka_settings *settings; /* NULL until configured */
  struct sip_kafka_health *health;     /* NULL until the first client */
  struct sip_kafka_metrics *metrics;   /* NULL: nobody counts */
  struct sip_producer *producer, *patient;
  struct sip_list sources; /* open ones; each unlinks itself */
  struct sip_port port;
  unsigned refs; /* clients, and 1 for the owner */
  bool closing;
};

int sip_kafka_new(struct sip_kafka **out, uv_loop_t *loop, struct sip_err *err)
{
  struct sip_kafka *kafka = calloc(1, sizeof *kafka);
  int rc = UV_ENOMEM;

  if (kafka != NULL) {
    kafka->loop = loop;
    kafka->refs = 1;
    sip_list_init(&kafka->sources);
    rc = sip_producer_new(&kafka->producer, kafka, false);
  }
  if (rc == 0) {
    rc = sip_producer_new(&kafka->patient, kafka, true);
  }
  if (rc < 0) {
    sip_producer_free(kafka == NULL ? NULL : kafka->producer);
    free(kafka);
    return sip_err_set(err, rc, "kafka: out of memory");
  }
  kafka->port.source = sip_source_operations();
  kafka->port.producer = (struct sip_outlet){ sip_producer_operations(), kafka->producer };
  kafka->port.patient = (struct sip_outlet){ sip_producer_operations(), kafka->patient };
  kafka->port.transactor = sip_transactor_operations();
  kafka->port.driver = kafka;
  *out = kafka;
  return 0;
}

int sip_kafka_configure(struct sip_kafka *kafka, const struct sip_kafka_settings *settings,
                        struct sip_err *err)
{
  struct sip_kafka_settings *copy = NULL;
  int rc;

  if (kafka->health != NULL) {
    return sip_err_set(err, SIP_EBUSY, "kafka: the settings are in use already");
  }
  rc = sip_kafka_settings_copy(&copy, settings, err);
  if (rc == 0) {
    sip_kafka_settings_free(kafka->settings);
    kafka->settings = copy;
  }
  return rc;
}

int sip_kafka_count(struct sip_kafka *kafka, struct sip_metrics_shard *shard, struct sip_err *err)
{
  return sip_kafka_metrics_new(&kafka->metrics, shard, err);
}

struct sip_kafka_metrics *sip_kafka_metrics(const struct sip_kafka *kafka)
{
  return kafka->metrics;
}

int sip_kafka_ready(struct sip_kafka *kafka, struct sip_err *err)
{
  const char *brokers =
    kafka->settings == NULL ? NULL : sip_kafka_settings_brokers(kafka->settings);

  if (kafka->closing) {
    return sip_err_set(err, SIP_ECLOSED, "kafka: the program is stopping");
  }
  if (brokers == NULL) {
    return sip_err_set(err, SIP_ECONFIG,
                       "kafka: no broker is set (KAFKA_BROKERS=host:port, in .env too)");
  }
  return kafka->health != NULL ? 0
                               : sip_kafka_health_new(&kafka->health, kafka->loop, brokers, err);
}

void sip_kafka_ref(struct sip_kafka *kafka)
{
  kafka->refs++;
}

void sip_kafka_unref(struct sip_kafka *kafka)
{
  if (--kafka->refs == 0) {
    sip_kafka_health_close(kafka->health);
    sip_producer_free(kafka->producer);
    sip_producer_free(kafka->patient);
    sip_kafka_settings_free(kafka->settings);
    sip_kafka_metrics_free(kafka->metrics);
    free(kafka);
  }
}

void sip_kafka_close(struct sip_kafka *kafka, uint64_t flush_ms)
{
  if (kafka == NULL || kafka->closing) {
    return;
  }
  kafka->closing = true;
  sip_source_close_all(&kafka->sources);
  sip_producer_close(kafka->producer, flush_ms);
  sip_producer_close(kafka->patient, sip_kafka_connected(kafka) ? flush_ms : 0);
  sip_kafka_unref(kafka);
}

const struct sip_port *sip_kafka_port(struct sip_kafka *kafka)
{
  return &kafka->port;
}

bool sip_kafka_connected(const struct sip_kafka *kafka)
{
  return kafka->health != NULL && sip_kafka_health_connected(kafka->health);
}

bool sip_kafka_cluster(const struct sip_kafka *kafka, char *id, size_t size)
{
  id[0] = '\0';
  for (struct sip_list *node = kafka->sources.next; node != &kafka->sources && id[0] == '\0';
       node = node->next) {
    sip_source_cluster(node, id, size);
  }
  return id[0] != '\0';
}

size_t sip_kafka_pending(const struct sip_kafka *kafka)
{
  return sip_producer_pending(kafka->producer);
}

void sip_kafka_set_outbox(struct sip_kafka *kafka, const struct sip_outlet *outbox)
{
  kafka->port.outbox = *outbox;
}

uv_loop_t *sip_kafka_loop(const struct sip_kafka *kafka)
{
  return kafka->loop;
}

struct sip_kafka_health *sip_kafka_health(const struct sip_kafka *kafka)
{
  return kafka->health;
}

const struct sip_kafka_settings *sip_kafka_settings(const struct sip_kafka *kafka)
{
  return kafka->settings;
}

struct sip_list *sip_kafka_sources(struct sip_kafka *kafka)
{
  return &kafka->sources;
}
