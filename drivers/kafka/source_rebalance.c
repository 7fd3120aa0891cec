/* source_rebalance.c - partitions that come and go.
 *
 * librdkafka asks by an event and waits for the answer (assign or unassign) as long as
 * max.poll.interval.ms allows; it holds all partitions paused meanwhile. A revocation is answered
 * when the owner has given the partitions back and that is committed, an assignment when what the
 * group committed, and with start by time where to begin, has been looked up on the work pool. */
#include "core/base.h"
#include "kafka/errors.h"
#include "kafka/source_state.h"

#include <stdlib.h>
#include <string.h>

enum {
  LOOKUP_TIMEOUT_MS = 10000,
  LEAVE_COMMITTED_MS = 3000 /* for the last commit of partitions that go */
};

static bool rebalance_is_cooperative(struct sip_source *source)
{
  const char *protocol = rd_kafka_rebalance_protocol(source->client.rk);

  return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

static void rebalance_log(struct sip_source *source, const char *what, rd_kafka_resp_err_t res,
                          const char *why)
{
  struct sip_err err;

  (void)sip_kafka_err(&err, res, why, "group %s: %s", source->group, what);
  sip_source_tell(source, res, NULL, &err, false);
}

/* The partitions of the open event as the port has them, in an array that the caller frees; NULL
 * when memory is out. Names and metadata are borrowed from the event. */
static struct sip_assigned *rebalance_assigned(struct sip_source *source)
{
  const rd_kafka_topic_partition_list_t *list =
    rd_kafka_event_topic_partition_list(source->rebalance);
  struct sip_assigned *assigned = calloc((size_t)list->cnt + 1, sizeof *assigned);

  for (int i = 0; assigned != NULL && i < list->cnt; i++) {
    const rd_kafka_topic_partition_t *elem = &list->elems[i];

    assigned[i].name = (struct sip_partition){ elem->topic, elem->partition };
    assigned[i].next_offset = elem->offset >= 0 ? elem->offset : -1;
    assigned[i].metadata = (struct sip_slice){ elem->metadata, elem->metadata_size };
  }
  return assigned;
}

static struct sip_partition *rebalance_partitions(struct sip_source *source)
{
  const rd_kafka_topic_partition_list_t *list =
    rd_kafka_event_topic_partition_list(source->rebalance);
  struct sip_partition *partitions = calloc((size_t)list->cnt + 1, sizeof *partitions);

  for (int i = 0; partitions != NULL && i < list->cnt; i++) {
    partitions[i] = (struct sip_partition){ list->elems[i].topic, list->elems[i].partition };
  }
  return partitions;
}

static void rebalance_done(struct sip_source *source)
{
  source->rebalance_begun = false;
  sip_client_hush(&source->client);
  source->leave_by_ms = 0;
  rd_kafka_event_destroy(source->rebalance);
  source->rebalance = NULL;
}

/* librdkafka keeps the pause of a partition that goes, and gives nothing of it when it comes back,
 * which nobody would resume: for its owner it is another one then. */
static void rebalance_resume(struct sip_source *source, const rd_kafka_topic_partition_list_t *list)
{
  rd_kafka_topic_partition_list_t *names = rd_kafka_topic_partition_list_copy(list);

  (void)rd_kafka_resume_partitions(source->client.rk, names); /* an error is of one that is gone */
  rd_kafka_topic_partition_list_destroy(names);
}

void sip_source_unassign(struct sip_source *source, const rd_kafka_topic_partition_list_t *list)
{
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;
  rd_kafka_error_t *error = NULL;

  sip_source_disown(source, list);
  rebalance_resume(source, list);
  if (rebalance_is_cooperative(source)) {
    error = rd_kafka_incremental_unassign(source->client.rk, list);
  } else {
    res = rd_kafka_assign(source->client.rk, NULL);
  }
  if (error != NULL) {
    rebalance_log(source, "letting partitions go", rd_kafka_error_code(error),
                  rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
  } else if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rebalance_log(source, "letting partitions go", res, NULL);
  }
}

/* Takes the partitions of the open event and tells the owner. No record of them can be polled
 * before that: polling happens on this thread too. */
static void rebalance_assign(struct sip_source *source)
{
  const rd_kafka_topic_partition_list_t *list =
    rd_kafka_event_topic_partition_list(source->rebalance);
  struct sip_assigned *partitions = rebalance_assigned(source);
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;
  rd_kafka_error_t *error = NULL;

  if (partitions == NULL) {
    return; /* the tick tries again */
  }
  source->rebalance_begun = true;
  source->assigned_once = true;
  if (rebalance_is_cooperative(source)) {
    error = rd_kafka_incremental_assign(source->client.rk, list);
  } else {
    res = rd_kafka_assign(source->client.rk, list);
  }
  if (error != NULL) {
    rebalance_log(source, "taking partitions", rd_kafka_error_code(error),
                  rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
  } else if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rebalance_log(source, "taking partitions", res, NULL);
  } else {
    sip_source_own(source, list);
    source->sink.on_assigned(source->owner, partitions, (size_t)list->cnt);
  }
  free(partitions);
  rebalance_done(source);
}

/* Puts the offsets of the start time into `list`, for its partitions that have none. Blocks. */
static rd_kafka_resp_err_t lookup_times(struct sip_source *source,
                                        rd_kafka_topic_partition_list_t *list)
{
  rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(list->cnt);
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;

  for (int i = 0; i < list->cnt; i++) {
    if (list->elems[i].offset == RD_KAFKA_OFFSET_INVALID) {
      rd_kafka_topic_partition_list_add(fresh, list->elems[i].topic, list->elems[i].partition)
        ->offset = source->start_ms;
    }
  }
  if (fresh->cnt > 0) {
    res = rd_kafka_offsets_for_times(source->client.rk, fresh, LOOKUP_TIMEOUT_MS);
  }
  for (int i = 0; res == RD_KAFKA_RESP_ERR_NO_ERROR && i < fresh->cnt; i++) {
    res = fresh->elems[i].err;
    (void)rd_kafka_topic_partition_list_set_offset(list, fresh->elems[i].topic,
                                                   fresh->elems[i].partition,
                                                   fresh->elems[i].offset); /* it came from there */
  }
  rd_kafka_topic_partition_list_destroy(fresh);
  return res;
}

/* Puts offset and metadata of what the group committed into `list`. Blocks. */
static rd_kafka_resp_err_t lookup_committed(struct sip_source *source,
                                            rd_kafka_topic_partition_list_t *list)
{
  rd_kafka_resp_err_t res = rd_kafka_committed(source->client.rk, list, LOOKUP_TIMEOUT_MS);

  for (int i = 0; res == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
    if (list->elems[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) { /* gone: none there */
      res = list->elems[i].err;
    }
  }
  return res;
}

/* Partitions that a topic has gained since this member first saw it are read from their beginning,
 * also by a group that began at the end. Blocks. */
static rd_kafka_resp_err_t lookup_gained(struct sip_source *source,
                                         rd_kafka_topic_partition_list_t *list)
{
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;

  for (int i = 0; res == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
    rd_kafka_topic_partition_t *elem = &list->elems[i];
    const rd_kafka_topic_partition_t *known =
      rd_kafka_topic_partition_list_find(source->known, elem->topic, 0);
    int count = 0;

    if (known == NULL) {
      res = sip_source_count(source, elem->topic, &count);
      if (res == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_topic_partition_list_add(source->known, elem->topic, 0)->offset = count;
      }
    } else if (elem->offset == RD_KAFKA_OFFSET_INVALID && elem->partition >= known->offset) {
      elem->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
  }
  return res;
}

/* Pool thread. Partitions of which the group has an offset keep it; the others begin at the time.
 */
static void lookup_run(struct sip_work *work)
{
  struct sip_source *source = SIP_CONTAINER(work, struct sip_source, lookup);
  rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(source->rebalance);
  rd_kafka_resp_err_t res = lookup_committed(source, list);

  /* The embedded broker knows no times and would answer every lookup with the end. What it holds is
   * younger than its process: its beginning serves better. */
  if (res == RD_KAFKA_RESP_ERR_NO_ERROR && source->start_at == SIP_START_TIME &&
      !sip_kafka_is_embedded(source->client.rk, LOOKUP_TIMEOUT_MS)) {
    res = lookup_times(source, list);
  }
  if (res == RD_KAFKA_RESP_ERR_NO_ERROR && source->start_at == SIP_START_END) {
    res = lookup_gained(source, list);
  }
  source->lookup_rc = res == RD_KAFKA_RESP_ERR_NO_ERROR
                        ? 0
                        : sip_kafka_err(&source->lookup_err, res, NULL,
                                        "group %s: looking up where to start", source->group);
}

static void lookup_done(struct sip_work *work, int status)
{
  struct sip_source *source = SIP_CONTAINER(work, struct sip_source, lookup);

  (void)status; /* nobody cancels it */
  source->looking_up = false;
  if (source->closing) {
    sip_source_advance_close(source);
  } else if (source->lookup_rc < 0) {
    sip_source_tell(source, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, &source->lookup_err, false);
    /* the tick tries again */
  } else {
    rebalance_assign(source);
  }
}

/* The owner is done with the partitions that go: they are committed before others get them. */
static void rebalance_leave(struct sip_source *source)
{
  source->leave_by_ms = uv_now(source->tick.loop) + LEAVE_COMMITTED_MS;
  sip_source_commit(source);
  sip_source_look_at_leaving(source);
}

void sip_source_look_at_leaving(struct sip_source *source)
{
  bool lost = rd_kafka_assignment_lost(source->client.rk) != 0;
  const rd_kafka_topic_partition_list_t *list;

  if (source->leave_by_ms == 0 || source->closing) {
    return;
  }
  list = rd_kafka_event_topic_partition_list(source->rebalance);
  if (!lost && sip_source_commits(source, list) &&
      uv_now(source->tick.loop) < source->leave_by_ms) {
    return;
  }
  sip_source_unassign(source, list);
  rebalance_done(source);
}

static void rebalance_revoke(struct sip_source *source)
{
  const rd_kafka_topic_partition_list_t *list =
    rd_kafka_event_topic_partition_list(source->rebalance);
  struct sip_partition *partitions = rebalance_partitions(source);
  bool lost =
    rd_kafka_assignment_lost(source->client.rk) != 0; /* before the answer, which resets it */

  if (partitions == NULL) {
    return; /* the tick tries again */
  }
  source->rebalance_begun = true;
  sip_source_drop_ready(source, list);
  if (lost && list->cnt > 0) {
    rebalance_log(source, "its partitions go to others, and what was in flight is handled again",
                  RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, NULL);
  }
  if (list->cnt > 0) {
    /* The owner may give back in there, which destroys the event and with it the names. */
    source->in_revoke = true;
    source->sink.on_revoked(source->owner, partitions, (size_t)list->cnt, lost);
    source->in_revoke = false;
  }
  free(partitions);
  if (list->cnt == 0 || lost) {
    sip_source_unassign(source, list);
    rebalance_done(source);
  } else if (source->given_back) {
    rebalance_leave(source);
  }
  source->given_back = false;
}

/* Works on the open event, unless that is under way. */
void sip_source_continue_rebalance(struct sip_source *source)
{
  rd_kafka_resp_err_t what;

  if (source->rebalance == NULL || source->rebalance_begun || source->looking_up ||
      source->closing) {
    return;
  }
  what = rd_kafka_event_error(source->rebalance);
  if (what == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
    rebalance_revoke(source);
  } else if (what != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    rebalance_log(source, "rebalance", what, NULL);
    sip_source_disown(source, NULL);
    (void)rd_kafka_assign(source->client.rk, NULL); /* what librdkafka asks for on any other code */
    rebalance_done(source);
  } else if (rd_kafka_event_topic_partition_list(source->rebalance)->cnt > 0) {
    source->looking_up = sip_work_start(sip_kafka_loop(source->client.kafka), &source->lookup,
                                        lookup_run, lookup_done) == 0;
  } else {
    rebalance_assign(source);
  }
}

void sip_source_on_rebalance(struct sip_source *source, rd_kafka_event_t *event)
{
  if (source->rebalance !=
      NULL) { /* librdkafka does not ask twice; should it, the newer question counts */
    sip_source_settle(source);
  }
  if (source->rebalance != NULL) {
    rd_kafka_event_destroy(event); /* a lookup runs: it answers first, and librdkafka asks again */
    return;
  }
  source->rebalance = event;
  source->rebalance_begun = false;
  sip_source_continue_rebalance(source);
}

void sip_source_give_back(struct sip_source *source)
{
  if (source->in_revoke) {
    source->given_back = true; /* answered when on_revoked has returned */
  } else if (source->rebalance != NULL && source->rebalance_begun && !source->looking_up &&
             rd_kafka_event_error(source->rebalance) == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
    rebalance_leave(source);
  }
}

/* Takes partitions only to let them go: an assignment that is not answered by taking them leaves
 * librdkafka 2.0.2 waiting for ever (issue 4527, fixed in 2.4.0). The end of the subscription
 * revokes them; only with the eager protocol it does not, once it is under way. */
static void rebalance_pass(struct sip_source *source)
{
  const rd_kafka_topic_partition_list_t *list =
    rd_kafka_event_topic_partition_list(source->rebalance);
  rd_kafka_error_t *error;

  source->assigned_once = true;
  if (rebalance_is_cooperative(source)) {
    error = rd_kafka_incremental_assign(source->client.rk, list);
    if (error != NULL) {
      rd_kafka_error_destroy(error); /* nothing is owned then, which is what is wanted */
    }
    return;
  }
  (void)rd_kafka_assign(source->client.rk, list);
  if (source->close_step != CLOSE_JOINING) {
    (void)rd_kafka_assign(source->client.rk, NULL);
  }
}

void sip_source_settle(struct sip_source *source)
{
  if (source->rebalance == NULL || source->looking_up) {
    return;
  }
  if (rd_kafka_event_error(source->rebalance) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    rebalance_pass(source);
  } else {
    sip_source_unassign(source, rd_kafka_event_topic_partition_list(source->rebalance));
  }
  rebalance_done(source);
}
