#ifndef SIP_KAFKA_CLIENT_H
#define SIP_KAFKA_CLIENT_H
/* client.h - one librdkafka handle on the loop: its events wake the loop, its end happens on the
 * work pool.
 *
 * A client is embedded in its owner's heap block. Loop thread. */
#include "core/err.h"
#include "core/wakeup.h"
#include "core/work.h"
#include "kafka/kafka.h"
#include "kafka/stats.h"

#include <librdkafka/rdkafka.h>

struct sip_client;
typedef void (*sip_client_fn)(struct sip_client *client);

struct sip_client_property {
  const char *name, *value;
  bool fixed; /* the settings may not replace it */
};

struct sip_client_spec {
  rd_kafka_type_t type;
  int events;        /* RD_KAFKA_EVENT_… that are wanted besides errors and log lines */
  const char *group; /* consumers: the group's id; NULL otherwise */
  const struct sip_client_property *properties;
  size_t property_count;
  sip_client_fn on_events; /* poll sip_client_poll until it gives NULL, or call sip_client_again */
};

struct sip_client_link; /* what librdkafka's threads may reach */

struct sip_client {
  rd_kafka_t *rk;          /* NULL: not open */
  rd_kafka_queue_t *queue; /* where its events come */
  struct sip_wakeup *wakeup;
  struct sip_kafka *kafka; /* borrowed: lives as long as a client is open */
  struct sip_client_link *link;
  struct sip_stats *stats; /* owned; NULL: it tells nothing */
  struct sip_work work;
  unsigned long long join_passed_ms; /* of the JoinGroup after which none is put off any more */
  int destroy_flags;
  bool abandoned;
  sip_client_fn on_events, on_destroyed;
};

/** Creates the handle; connecting happens in the background. @return 0 or a negative code; then
 * there is nothing to close */
int sip_client_open(struct sip_client *client, struct sip_kafka *kafka,
                    const struct sip_client_spec *spec, struct sip_err *err);

/** The next event that is not about the connection or a log line, or NULL. The caller destroys it.
 */
rd_kafka_event_t *sip_client_poll(struct sip_client *client);

/** Lets on_events be called once more. */
void sip_client_again(struct sip_client *client);

/** Whether the client has asked to join its group. Any answer may come since. */
bool sip_client_joining(const struct sip_client *client);

/** Whether the client waits for its part of a new generation of the group, or is about to: it has
 * sent JoinGroup, and SyncGroup is not answered; or a heartbeat tells it now; or a JoinGroup that
 * it put off is due. Brokers hold the answer back until all members are there, and take nothing
 * else from that connection meanwhile. Once for each JoinGroup it waits for librdkafka's thread. */
bool sip_client_unsettled(struct sip_client *client);

/** The client is about to join again: it is unsettled for the moment until that is seen. */
void sip_client_hush(struct sip_client *client);

/** As sip_client_destroy for a handle that must not be destroyed: it is left as it is, with its
 * threads, and reaches nothing of ours any more. */
void sip_client_abandon(struct sip_client *client, sip_client_fn on_destroyed);

/** Ends it on the work pool; `on_destroyed` follows on the loop, and may free the block. All
 * messages must have been destroyed. `flags` as rd_kafka_destroy_flags has them. */
void sip_client_destroy(struct sip_client *client, int flags, sip_client_fn on_destroyed);

#endif
