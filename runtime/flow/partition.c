/* partition.c - partitions of a flow that come and go with rebalances. Loop thread only.
 *
 * A partition that is revoked drops what lies ahead; what runs, and what the watermark needs to
 * pass it, may finish within LEAVE_WITHIN_MS and is still stored. One that is gone is kept only
 * until its last event has ended, and stores nothing: when it comes back it is another one. */
#include "core/log.h"
#include "flow/deaths.h"
#include "flow/due.h"
#include "flow/flow.h"

#include <stdlib.h>
#include <string.h>

enum { LEAVE_WITHIN_MS = 5000, REWIND_WITHIN_MS = 10000 };

void sip_flow_partition_unref(struct sip_flow_partition *partition)
{
  if (partition->phase == SIP_PARTITION_GONE && partition->events == 0) {
    sip_watermark_deinit(&partition->mark);
    if (partition->deaths != NULL) {
      sip_deaths_release(partition->deaths, partition->slot);
    }
    free(partition->topic);
    free(partition);
  }
}

static struct sip_flow_partition *partition_find(const struct sip_list *list, const char *topic,
                                                 int32_t number)
{
  for (struct sip_list *node = list->next; node != list; node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    if (partition->partition == number && strcmp(partition->topic, topic) == 0) {
      return partition;
    }
  }
  return NULL;
}

struct sip_flow_partition *sip_flow_partition_of(struct sip_flow *flow, const char *topic,
                                                 int32_t number)
{
  struct sip_flow_partition *last = flow->last; /* records come in runs of one partition */

  if (last == NULL || last->partition != number || strcmp(last->topic, topic) != 0) {
    last = partition_find(&flow->partitions, topic, number);
    flow->last = last;
  }
  flow->last_topic = NULL;
  return last;
}

/* A partition that is lost and comes back has the same number: what still runs on it keeps its
 * place before what comes again. */
static uint64_t partition_log(const struct sip_partition *name)
{
  uint64_t log = (uint32_t)name->partition;

  for (const char *at = name->topic; *at != '\0'; at++) {
    log = log * 31 + (unsigned char)*at;
  }
  return log;
}

static struct sip_flow_partition *partition_new(const struct sip_partition *name)
{
  struct sip_flow_partition *partition = calloc(1, sizeof *partition);

  if (partition == NULL) {
    return NULL;
  }
  partition->topic = strdup(name->topic);
  if (partition->topic == NULL) {
    free(partition);
    return NULL;
  }
  partition->partition = name->partition;
  partition->started = -1;
  partition->end = -1;
  partition->log = partition_log(name);
  partition->delay_ms = sip_due_delay_ms(name->topic);
  sip_list_init(&partition->later);
  sip_watermark_init(&partition->mark);
  return partition;
}

void sip_flow_pause(struct sip_flow *flow, struct sip_flow_partition *partition,
                    enum sip_pause reason, bool on)
{
  const struct sip_source_ops *ops = sip_flow_ops(flow);
  struct sip_partition name = { partition->topic, partition->partition };
  unsigned reasons = on ? partition->paused | reason : partition->paused & ~(unsigned)reason;

  if ((reasons != 0) != (partition->paused != 0)) {
    (reasons != 0 ? ops->pause : ops->resume)(flow->source, &name);
  }
  partition->paused = reasons;
}

/* After a rebalance librdkafka before 2.4.0 may fetch a partition that was kept from an older
 * offset on (its issues 4637 and 4686). */
static void partitions_may_rewind(struct sip_flow *flow)
{
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions;
       node = node->next) {
    SIP_CONTAINER(node, struct sip_flow_partition, link)->rewinds_until_ms =
      sip_flow_now_ms(flow) + REWIND_WITHIN_MS;
  }
}

bool sip_flow_is_rewound(struct sip_flow *flow, const struct sip_flow_partition *partition)
{
  struct sip_partition name = { partition->topic, partition->partition };

  /* A topic that was made anew begins again, too, but ends before what was taken of the old one. */
  return sip_flow_now_ms(flow) < partition->rewinds_until_ms &&
         sip_flow_ops(flow)->end(flow->source, &name) >= partition->mark.after;
}

void sip_flow_on_assigned(void *owner, const struct sip_assigned *partitions, size_t count)
{
  struct sip_flow *flow = owner;

  flow->assigned = true;
  flow->error[0] = '\0';
  partitions_may_rewind(flow);
  for (size_t i = 0; i < count; i++) {
    const struct sip_partition *name = &partitions[i].name;
    struct sip_flow_partition *partition = partition_new(name);

    if (partition == NULL) {
      sip_log(SIP_LOG_ERROR, "flow", NULL, "%s: no memory for %s partition %d; joining again",
              flow->group, name->topic, (int)name->partition);
      sip_flow_fail(flow);
      return;
    }
    sip_list_push(&flow->partitions, &partition->link);
    flow->partition_count++;
    if (flow->engine->meter != NULL) {
      sip_meter_come(flow->engine->meter, &partition->meter, flow->group, name->topic,
                     name->partition);
    }
    sip_flow_restore(flow, partition, &partitions[i]);
    if (flow->held) {
      sip_flow_pause(flow, partition, SIP_PAUSE_FULL, true);
    }
  }
}

/* Drops what was taken from the source and not accepted yet; an end behind it is none any more. */
static void batch_drop(struct sip_flow *flow, const struct sip_flow_partition *partition)
{
  size_t kept = 0;

  for (size_t i = flow->batch_at; i < flow->batch_count; i++) {
    struct sip_record *record = &flow->batch[i];

    if (partition == NULL || (partition->partition == record->partition &&
                              strcmp(partition->topic, record->topic) == 0)) {
      sip_flow_ops(flow)->release(record);
    } else {
      flow->batch[kept++] = *record;
    }
  }
  flow->batch_at = 0;
  flow->batch_count = kept;
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions;
       node = node->next) {
    SIP_CONTAINER(node, struct sip_flow_partition, link)->end = -1;
  }
}

static bool event_is_dropped(const struct sip_event *event, enum sip_drop what)
{
  const struct sip_flow_partition *partition = event->partition;
  int64_t offset = event->record.offset, barrier = partition->mark.barrier;

  return what == SIP_DROP_ALL || offset > partition->started ||
         (barrier >= 0 && offset > barrier) ||
         (event->is_delayed && event->due_ms >= sip_event_leaves_at_ms(event));
}

static bool drop_some(struct sip_flow *flow, const struct sip_flow_partition *partition,
                      enum sip_drop what)
{
  struct sip_list *next;
  bool dropped = false;

  /* From the last one on: so the next member of a lane never gets its turn only to be dropped. */
  for (struct sip_list *node = flow->events.prev; node != &flow->events; node = next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    next = node->prev;
    if ((partition == NULL || event->partition == partition) && event->task == NULL &&
        event->outputs == 0 && event_is_dropped(event, what)) {
      sip_event_drop(event);
      dropped = true;
    }
  }
  return dropped;
}

void sip_flow_drop_waiting(struct sip_flow *flow, const struct sip_flow_partition *partition,
                           enum sip_drop what)
{
  if (partition == NULL || partition->phase != SIP_PARTITION_GONE) { /* else: of its successor */
    batch_drop(flow, partition);
  }
  while (drop_some(flow, partition, what)) { /* what was dropped may be a barrier for others */
  }
}

static void partition_gone(struct sip_flow_partition *partition)
{
  sip_list_remove(&partition->link);
  partition->phase = SIP_PARTITION_GONE;
  sip_meter_go(&partition->meter);
  sip_flow_partition_unref(partition);
}

static void leaving_gone(struct sip_flow *flow, bool lost)
{
  flow->leave_by_ms = 0;
  while (!sip_list_empty(&flow->leaving)) {
    struct sip_flow_partition *partition =
      SIP_CONTAINER(flow->leaving.next, struct sip_flow_partition, link);

    partition->events++; /* keeps it through the drop */
    sip_flow_drop_waiting(flow, partition, SIP_DROP_ALL);
    partition->events--;
    if (!lost) {
      sip_flow_store(flow, partition);
    }
    partition_gone(partition);
  }
}

void sip_flow_look_at_leaving(struct sip_flow *flow)
{
  if (flow->leave_by_ms == 0 || flow->state != SIP_SOURCE_OPEN) {
    return;
  }
  for (struct sip_list *node = flow->leaving.next; node != &flow->leaving; node = node->next) {
    if (SIP_CONTAINER(node, struct sip_flow_partition, link)->events > 0 &&
        sip_flow_now_ms(flow) < flow->leave_by_ms) {
      return;
    }
  }
  leaving_gone(flow, false);
  sip_flow_ops(flow)->give_back(flow->source);
}

/* Moves a partition to the leaving ones, with what runs on it. */
static void partition_leave(struct sip_flow *flow, struct sip_flow_partition *partition)
{
  flow->last = NULL;
  flow->partition_count--;
  sip_list_remove(&partition->link);
  sip_list_push(&flow->leaving, &partition->link);
  partition->phase = SIP_PARTITION_LEAVING;
  sip_flow_drop_waiting(flow, partition, SIP_DROP_AHEAD);
}

void sip_flow_on_revoked(void *owner, const struct sip_partition *partitions, size_t count,
                         bool lost)
{
  struct sip_flow *flow = owner;

  flow->leave_by_ms = sip_flow_now_ms(flow) + LEAVE_WITHIN_MS;
  for (size_t i = 0; i < count; i++) {
    struct sip_flow_partition *partition =
      partition_find(&flow->partitions, partitions[i].topic, partitions[i].partition);

    if (partition != NULL) {
      partition_leave(flow, partition);
    }
  }
  partitions_may_rewind(flow);
  if (lost) {
    leaving_gone(flow, true);
  } else if (flow->state == SIP_SOURCE_OPEN) {
    sip_flow_look_at_leaving(flow);
    sip_flow_set_timer(flow);
  } else {
    flow->leave_by_ms = 0; /* it closes: nobody waits for an answer */
  }
  sip_flow_after_event(flow); /* the drop made room */
}

void sip_flow_hold(struct sip_flow *flow, bool hold)
{
  flow->held = hold;
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions;
       node = node->next) {
    sip_flow_pause(flow, SIP_CONTAINER(node, struct sip_flow_partition, link), SIP_PAUSE_FULL,
                   hold);
  }
}

void sip_flow_forget_partitions(struct sip_flow *flow)
{
  while (!sip_list_empty(&flow->partitions)) {
    partition_leave(flow, SIP_CONTAINER(flow->partitions.next, struct sip_flow_partition, link));
  }
  leaving_gone(flow, true);
}
