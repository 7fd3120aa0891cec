/* held.c - keys that are held back after a dead letter, with after_dead = "hold". Loop thread only.
 *
 * They are kept with the partition, on the loop's clock, and with its commits, in the time of day.
 * A queue that keeps held events elsewhere and lets the watermark go on (a journal's) would take
 * over here: where an event is found to be held back, instead of making a dead letter of it. */
#include "core/log.h"
#include "flow/flow.h"
#include "vm/vm.h"

#include <string.h>

static int64_t held_now(const struct sip_flow *flow)
{
  return (int64_t)sip_flow_now_ms(flow);
}

void sip_flow_hold_back(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_flow_partition *partition = event->partition;
  struct sip_slice key = sip_lane_key(&event->member);
  struct sip_hold hold;

  if (flow->spec.hold_dead_ms == 0 || key.data == NULL) {
    return;
  }
  hold = (struct sip_hold){ sip_hold_key(&key), event->record.offset,
                            held_now(flow) + (int64_t)flow->spec.hold_dead_ms };
  if (sip_holds_add(&partition->holds, &hold)) {
    sip_log(SIP_LOG_WARN, "flow", NULL,
            "%s: more than %d keys of %s partition %d are held back: the oldest one goes on",
            flow->group, SIP_HOLDS_MAX, partition->topic, (int)partition->partition);
  }
}

/* Whether the operator has sent it again (sipeat dlq replay). */
static bool is_replayed(const struct sip_flow *flow, const struct sip_record *record)
{
  const struct sip_source_ops *ops = sip_flow_ops(flow);

  for (size_t i = ops->header_count(record); i > 0; i--) {
    if (strcmp(ops->header(record, i - 1).name, "sipeat-replayed") == 0) {
      return true;
    }
  }
  return false;
}

int64_t sip_flow_held_after(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_holds *holds = &event->partition->holds;
  struct sip_slice key = sip_lane_key(&event->member);
  const struct sip_hold *hold;

  if (flow->spec.hold_dead_ms == 0 || holds->count == 0 || key.data == NULL) {
    return -1;
  }
  hold = sip_holds_find(holds, sip_hold_key(&key), held_now(flow));
  if (hold == NULL || event->record.offset == hold->after) { /* it came again itself */
    return -1;
  }
  if (is_replayed(flow, &event->record)) {
    sip_holds_remove(holds, hold->key);
    return -1;
  }
  return hold->after;
}

static int64_t day_ms(const struct sip_flow *flow)
{
  return sip_clock_wall_ms(sip_vm_clock(flow->vm));
}

void sip_flow_holds_out(const struct sip_flow *flow, const struct sip_holds *holds,
                        struct sip_holds *out)
{
  int64_t now = held_now(flow), day = holds->count == 0 ? 0 : day_ms(flow);

  out->count = 0;
  for (size_t i = 0; i < holds->count; i++) {
    if (holds->held[i].until_ms > now) {
      out->held[out->count] = holds->held[i];
      out->held[out->count++].until_ms += day - now;
    }
  }
}

/* Whatever the clocks say, none lasts longer than a new one. */
void sip_flow_holds_in(const struct sip_flow *flow, struct sip_holds *holds)
{
  int64_t day = day_ms(flow), longest = (int64_t)flow->spec.hold_dead_ms;

  for (size_t i = 0; i < holds->count; i++) {
    int64_t left = holds->held[i].until_ms - day;

    left = left > longest ? longest : left;
    holds->held[i].until_ms = held_now(flow) + (left > 0 ? left : 0);
  }
}
