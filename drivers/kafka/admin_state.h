#ifndef SIP_KAFKA_ADMIN_STATE_H
#define SIP_KAFKA_ADMIN_STATE_H
/* admin_state.h - what admin.c, admin_topics.c and admin_groups.c share. One thread at a time. */
#include "kafka/admin.h"

#include <librdkafka/rdkafka.h>

struct sip_kafka_admin {
  rd_kafka_t *rk;
  rd_kafka_queue_t *queue;             /* where admin answers come */
  struct sip_kafka_settings *settings; /* for the clients that act for a group */
  int timeout_ms;
  char reason[256]; /* the newest connection failure, for errors that say only "timed out" */
};

/** A client with these settings. `group` NULL: a producer. @return NULL with `err` filled */
rd_kafka_t *sip_admin_client(struct sip_kafka_admin *admin, const char *group, struct sip_err *err);

/** As sip_kafka_err, with the newest connection failure as the reason where librdkafka has none to
 * give. */
int sip_admin_err(struct sip_kafka_admin *admin, struct sip_err *err, rd_kafka_resp_err_t res,
                  const char *why, const char *what, const char *name);

/** Waits for the answer of an admin request. @return NULL with `err` filled; the caller destroys
 * the event */
rd_kafka_event_t *sip_admin_wait(struct sip_kafka_admin *admin, const char *what, const char *name,
                                 struct sip_err *err);

/** Low and high of one partition; -1 each when they cannot be had. */
void sip_admin_watermarks(struct sip_kafka_admin *admin, const char *topic, int32_t partition,
                          int64_t *low, int64_t *high);

#endif
