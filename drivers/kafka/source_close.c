/* source_close.c - leaving a group without ever waiting on the loop.
 *
 * librdkafka 2.0.2 has two traps for a consumer that ends in the middle of a rebalance, so the
 * close goes in steps:
 *   committing    what is stored is committed
 *   joining       a handle that asked to join and never had an assignment fails
 * an assertion when it is destroyed (issue 4312, fixed in 2.3.0): its first assignment is awaited
 *   unsubscribed  an assignment that is under way while the group is terminated is never completed
 * (issue 4527, fixed in 2.4.0): the subscription ends first, and what is owned is given back
 *   leaving       the group is terminated by way of a queue of its own
 *   ended         when no record is out any more, the handle is destroyed on the work pool
 * Each step has a limit; a handle that would fail its assertion even then is abandoned. */
#include "core/base.h"
#include "core/log.h"
#include "kafka/source_state.h"

enum {
  CLOSE_TICK_MS = 20, /* not every step of a close has an event of its own */
  CLOSE_COMMIT_MS = 3000,
  CLOSE_JOIN_MS = 4000, /* brokers wait 3 s for a group's first members */
  CLOSE_LEAVE_MS =
    5000 /* librdkafka itself would wait for a dead coordinator up to session.timeout.ms */
};

static void close_on_freed(uv_handle_t *tick)
{
  struct sip_source *source = SIP_CONTAINER((uv_timer_t *)tick, struct sip_source, tick);

  source->sink.on_closed(source->owner);
  sip_source_free(source);
}

static void close_on_destroyed(struct sip_client *client)
{
  struct sip_source *source = SIP_CONTAINER(client, struct sip_source, client);

  uv_close((uv_handle_t *)&source->tick, close_on_freed);
}

/* librdkafka's thread. */
static void close_on_signal(rd_kafka_t *rk, void *opaque)
{
  (void)rk;
  sip_wakeup_send(opaque);
}

/* True while destroying the handle would end the process. */
static bool close_is_fragile(const struct sip_source *source)
{
  return rd_kafka_version() < 0x020300ff && !source->assigned_once &&
         sip_client_joining(&source->client);
}

/* True when destroying the handle would never end: messages of a partition that is gone keep it,
 * and each other (issue 4724, fixed in 2.6.1). */
static bool close_is_endless(const struct sip_source *source)
{
  return rd_kafka_version() < 0x020601ff && source->removed;
}

/* Serves what comes on a queue: rebalances are answered, everything else is dropped. */
static void close_serve(struct sip_source *source, rd_kafka_queue_t *queue)
{
  rd_kafka_event_t *event;

  while (!source->looking_up && (event = rd_kafka_queue_poll(queue, 0)) != NULL) {
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
      source->rebalance = event;
      sip_source_settle(source);
    } else {
      if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT) {
        sip_source_on_committed(source, event);
      }
      rd_kafka_event_destroy(event);
    }
  }
}

static bool close_owns_partitions(struct sip_source *source)
{
  rd_kafka_topic_partition_list_t *list = NULL;
  bool owns = false;

  if (rd_kafka_assignment(source->client.rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    owns = list->cnt > 0;
    rd_kafka_topic_partition_list_destroy(list);
  }
  return owns;
}

/* Whether the group still counts it in. Its member id goes when the request to leave is sent, which
 * may be later than its last partition: what is stored is committed first. Terminating before that
 * leaves a member behind that others wait for until its session ends. */
static bool close_is_member(struct sip_source *source)
{
  char *id = source->topic == NULL ? rd_kafka_memberid(source->client.rk) : NULL;
  bool member = id != NULL && id[0] != '\0';

  if (id != NULL) {
    rd_kafka_mem_free(source->client.rk, id);
  }
  return member;
}

static void close_enter(struct sip_source *source, enum source_close step, uint64_t limit_ms)
{
  source->close_step = step;
  source->close_by_ms = uv_now(source->tick.loop) + limit_ms;
}

static void close_unsubscribe(struct sip_source *source)
{
  /* Neither can fail on a live handle, and a handle with a fatal error owns nothing any more. */
  if (source->topic != NULL) {
    (void)rd_kafka_assign(source->client.rk, NULL);
  } else {
    (void)rd_kafka_unsubscribe(source->client.rk);
  }
  close_enter(source, CLOSE_UNSUBSCRIBED, CLOSE_LEAVE_MS);
}

static void close_leave(struct sip_source *source)
{
  rd_kafka_error_t *error;

  close_enter(source, CLOSE_LEAVING, CLOSE_LEAVE_MS);
  source->close_queue = rd_kafka_queue_new(source->client.rk);
  rd_kafka_queue_cb_event_enable(source->close_queue, close_on_signal, source->client.wakeup);
  /* The group's queue is forwarded to this one, so it has to be another than the one that was
   * polled so far. */
  error = rd_kafka_consumer_close_queue(source->client.rk, source->close_queue);
  if (error != NULL) { /* after a fatal error there is no group to leave */
    rd_kafka_error_destroy(error);
    close_enter(source, CLOSE_ENDED, 0);
  }
}

static void close_end(struct sip_source *source)
{
  bool left = rd_kafka_consumer_closed(source->client.rk) != 0;

  source->destroying = true;
  (void)uv_timer_stop(&source->tick); /* always 0 */
  if (source->close_queue != NULL) {
    rd_kafka_queue_cb_event_enable(source->close_queue, NULL, NULL);
    rd_kafka_queue_destroy(source->close_queue);
    source->close_queue = NULL;
  }
  if (close_is_fragile(source)) {
    sip_log(SIP_LOG_WARN, "kafka", NULL,
            "group %s: closed before its first assignment; its client stays in memory",
            source->group);
    sip_client_abandon(&source->client, close_on_destroyed);
  } else if (close_is_endless(source)) {
    sip_client_abandon(&source->client, close_on_destroyed);
  } else {
    sip_client_destroy(&source->client, left ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE,
                       close_on_destroyed);
  }
}

void sip_source_advance_close(struct sip_source *source)
{
  bool late = uv_now(source->tick.loop) >= source->close_by_ms;

  if (source->destroying || source->looking_up) {
    return;
  }
  if (source->close_step == CLOSE_COMMITTING) {
    close_serve(source, source->client.queue);
    if (late || !sip_source_commits(source, NULL) ||
        rd_kafka_assignment_lost(source->client.rk) != 0) {
      close_enter(source, CLOSE_JOINING, CLOSE_JOIN_MS);
      late = false;
    }
  }
  if (source->close_step == CLOSE_COMMITTING) {
    return;
  }
  sip_source_settle(source);
  if (source->close_step == CLOSE_JOINING || source->close_step == CLOSE_UNSUBSCRIBED) {
    close_serve(source, source->client.queue);
  }
  if (source->close_step == CLOSE_JOINING && (late || !close_is_fragile(source))) {
    if (source->instance != NULL) { /* the end of the subscription would take it out of the group */
      close_leave(source);
    } else {
      close_unsubscribe(source);
    }
    close_serve(source, source->client.queue);
    late = false;
  }
  if (source->close_step == CLOSE_UNSUBSCRIBED &&
      (late || (!close_owns_partitions(source) && !close_is_member(source)))) {
    close_leave(source);
    late = false;
  }
  if (source->close_step == CLOSE_LEAVING) {
    close_serve(source, source->close_queue);
    if (late && rd_kafka_consumer_closed(source->client.rk) == 0) {
      sip_log(SIP_LOG_WARN, "kafka", NULL,
              "group %s: no answer while leaving; what was not committed comes again",
              source->group);
    }
    if (late || rd_kafka_consumer_closed(source->client.rk) != 0) {
      close_enter(source, CLOSE_ENDED, 0);
    }
  }
  if (source->close_step == CLOSE_ENDED && source->outstanding == 0) {
    close_end(source);
  }
}

void sip_source_close(struct sip_source *source)
{
  if (source->closing) {
    return;
  }
  source->closing = true;
  sip_list_remove(&source->node);
  close_enter(source, CLOSE_COMMITTING, CLOSE_COMMIT_MS);
  sip_source_commit(source);
  uv_timer_set_repeat(&source->tick, CLOSE_TICK_MS);
  (void)uv_timer_again(&source->tick); /* it was started when the source was opened */
  sip_source_drop_ready(source, NULL);
  if (!source->destroying) { /* dropping the last record may have ended it */
    sip_client_again(&source->client);
  }
}
