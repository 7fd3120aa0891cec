#ifndef SIP_KAFKA_EMBEDDED_H
#define SIP_KAFKA_EMBEDDED_H
/* embedded.h - a Kafka broker inside of this process, for development: librdkafka's mock cluster.
 *
 * It takes any client on this machine (kcat included), consumer groups and idempotent producers,
 * creates a topic when it is first asked for (4 partitions), and keeps events in memory only: about
 * the last 5 MB of each partition. It has no admin requests, so topics are made with
 * sip_embedded_broker_create_topic or by asking for them, and the first member of a group waits 3 s
 * (librdkafka 2.0.2; later ones are told to wait less). Runs on threads of its own; every function
 * may be called from any thread, but not two at once. */
#include "core/err.h"
#include "kafka/settings.h"

#include <stdint.h>

struct sip_embedded_broker;

/** Starts one broker on 127.0.0.1. It chooses a free port itself; with `port` other than 0 it
 * answers on that one as well, so that other programs can be told a fixed address.
 *  @return 0; UV_EADDRINUSE and the like with a hint when `port` cannot be had; SIP_EKAFKA */
int sip_embedded_broker_start(struct sip_embedded_broker **out, uint16_t port, struct sip_err *err);

/** "127.0.0.1:PORT": the fixed port when there is one. Borrowed until stop. */
const char *sip_embedded_broker_address(const struct sip_embedded_broker *broker);

/** Points `settings` at the embedded broker at `address`, of this process or of another one, and
 * sets what keeps its rebalances and fetches short, unless it was set: session.timeout.ms 3000,
 * heartbeat.interval.ms 500, fetch.wait.max.ms 50. Every client that joins a group has to have
 * these: with a longer session, others wait for that long when it leaves. */
int sip_embedded_broker_settings(const char *address, struct sip_kafka_settings *settings,
                                 struct sip_err *err);

/** Blocks for some milliseconds. `partitions` 1 to 10,000.
 *  @return 0, SIP_EEXISTS, UV_EINVAL or SIP_EKAFKA */
int sip_embedded_broker_create_topic(struct sip_embedded_broker *broker, const char *topic,
                                     int partitions, struct sip_err *err);

/** Ends it; its events are gone. Blocks until its threads have ended (well under a second). Accepts
 * NULL. Clients in this process should have been closed before: they report the broker as down
 * otherwise. */
void sip_embedded_broker_stop(struct sip_embedded_broker *broker);

#endif
