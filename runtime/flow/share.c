/* share.c - what a flow may hold, and what one partition may take of that. Loop thread only.
 *
 * A partition crowds the others out when it holds more than three times of what is left: so one
 * that is stuck holds three quarters, and however many there are, something is left for the next.
 * One that goes on crowding is paused alone, until it holds half of that. What the source has
 * polled ahead counts as well: an eighth is left to it. */
#include "flow/flow.h"

enum { CROWDS_TIMES = 3, AHEAD_PART = 8, LOOK_AGAIN_MS = 100 };

size_t sip_flow_ahead_of(size_t limit)
{
  return limit / AHEAD_PART > 0 ? limit / AHEAD_PART : 1;
}

static size_t max_bytes(const struct sip_flow *flow)
{
  return flow->spec.max_bytes - flow->spec.max_bytes / AHEAD_PART;
}

/* What the bounds are for: what is held until it is due has one of its own (due.c). */
static size_t held_events(const struct sip_flow *flow)
{
  return flow->taken_events - flow->later_events;
}

static size_t held_bytes(const struct sip_flow *flow)
{
  return flow->taken_bytes - flow->later_bytes;
}

size_t sip_flow_free_events(const struct sip_flow *flow)
{
  size_t held = held_events(flow);

  return held < flow->spec.max_events ? flow->spec.max_events - held : 0;
}

size_t sip_flow_free_bytes(const struct sip_flow *flow)
{
  size_t held = held_bytes(flow);

  return held < max_bytes(flow) ? max_bytes(flow) - held : 0;
}

/* @param times  of what is free, which is told, in halves */
static bool holds_more_than(const struct sip_flow *flow, const struct sip_flow_partition *partition,
                            size_t times, size_t events, size_t bytes)
{
  return flow->partition_count > 1 &&
         (partition->events * 2 > times * events || partition->bytes * 2 > times * bytes);
}

static bool crowds(const struct sip_flow *flow, const struct sip_flow_partition *partition,
                   size_t events, size_t bytes)
{
  return partition->paused == 0 &&
         holds_more_than(flow, partition, (size_t)CROWDS_TIMES * 2, events, bytes);
}

bool sip_flow_is_full(const struct sip_flow *flow)
{
  size_t events = sip_flow_free_events(flow), bytes = sip_flow_free_bytes(flow);

  return events == 0 || bytes == 0 ||
         (flow->last != NULL && crowds(flow, flow->last, events, bytes));
}

bool sip_flow_has_room(const struct sip_flow *flow)
{
  size_t events = 0, bytes = 0; /* of partitions that are paused alone: they do not count */

  for (struct sip_list *node = flow->partitions.next;
       flow->crowded > 0 && flow->later_events == 0 && node != &flow->partitions;
       node = node->next) {
    const struct sip_flow_partition *partition =
      SIP_CONTAINER(node, struct sip_flow_partition, link);

    if ((partition->paused & SIP_PAUSE_CROWDS) != 0) {
      events += partition->events;
      bytes += partition->bytes;
    }
  }
  return sip_flow_free_events(flow) > 0 && sip_flow_free_bytes(flow) > 0 &&
         held_events(flow) - events <= (flow->spec.max_events - events) / 2 &&
         (bytes >= max_bytes(flow) || held_bytes(flow) - bytes <= (max_bytes(flow) - bytes) / 2);
}

bool sip_flow_pause_crowding(struct sip_flow *flow)
{
  size_t before = flow->crowded;
  size_t events = sip_flow_free_events(flow), bytes = sip_flow_free_bytes(flow);

  for (struct sip_list *node = flow->partitions.next;
       events > 0 && bytes > 0 && node != &flow->partitions; node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    if (crowds(flow, partition, events, bytes)) {
      sip_flow_pause(flow, partition, SIP_PAUSE_CROWDS, true);
      flow->crowded++;
    }
  }
  if (flow->crowded > 0) {
    flow->look_at_ms = sip_flow_now_ms(flow) + LOOK_AGAIN_MS;
  }
  return flow->crowded > before;
}

void sip_flow_look_at_crowding(struct sip_flow *flow)
{
  size_t events = sip_flow_free_events(flow), bytes = sip_flow_free_bytes(flow);

  flow->crowded = 0;
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions;
       node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    if ((partition->paused & SIP_PAUSE_CROWDS) == 0) {
      continue;
    }
    if (holds_more_than(flow, partition, CROWDS_TIMES, events, bytes)) {
      flow->crowded++;
    } else {
      sip_flow_pause(flow, partition, SIP_PAUSE_CROWDS, false);
    }
  }
  flow->look_at_ms = flow->crowded == 0 ? 0 : sip_flow_now_ms(flow) + LOOK_AGAIN_MS;
}
