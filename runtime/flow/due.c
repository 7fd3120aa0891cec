/* due.c - holding records of retry topics until they are due. */
#include "flow/due.h"

#include "vm/vm.h"

#include <stdlib.h>
#include <string.h>

enum {
  LATER_EVENTS = 128,    /* of one partition: then it is paused */
  LATER_BYTES = 4 << 20, /* likewise */
};

static const char DUE_HEADER[] = "retry_topic-backoff-timestamp"; /* Spring for Apache Kafka's */
static const char INFIX[] = "-retry-";

uint64_t sip_due_delay_ms(const char *topic)
{
  const char *found = NULL;
  char *end;
  unsigned long long ms;

  for (const char *at = strstr(topic, INFIX); at != NULL; at = strstr(at + 1, INFIX)) {
    found = at + sizeof INFIX - 1;
  }
  if (found == NULL || *found < '0' || *found > '9') {
    return 0;
  }
  ms = strtoull(found, &end, 10);
  return *end == '\0' ? ms : 0;
}

static size_t event_bytes(const struct sip_event *event)
{
  return event->record.key.len + event->record.value.len;
}

/* A big-endian integer of 1 to 8 bytes, as Java's BigInteger writes it. @return false: it is none
 */
static bool read_integer(const struct sip_slice *bytes, int64_t *out)
{
  uint64_t value;

  if (bytes->data == NULL || bytes->len == 0 || bytes->len > 8) {
    return false;
  }
  value = (signed char)bytes->data[0] < 0 ? UINT64_MAX : 0;
  for (size_t i = 0; i < bytes->len; i++) {
    value = value << 8 | (unsigned char)bytes->data[i];
  }
  *out = (int64_t)value;
  return true;
}

/* How long until the record is due; its topic's delay at most, whatever clocks say. */
static uint64_t due_in_ms(const struct sip_event *event)
{
  const struct sip_source_ops *ops = sip_flow_ops(event->flow);
  uint64_t delay_ms = event->partition->delay_ms;
  int64_t due_ms, left_ms;

  for (size_t i = ops->header_count(&event->record); i > 0; i--) { /* the last one counts */
    struct sip_header header = ops->header(&event->record, i - 1);

    if (strcmp(header.name, DUE_HEADER) == 0 && read_integer(&header.value, &due_ms)) {
      left_ms = due_ms - sip_clock_wall_ms(sip_vm_clock(event->flow->vm));
      return left_ms <= 0 ? 0 : (uint64_t)left_ms > delay_ms ? delay_ms : (uint64_t)left_ms;
    }
  }
  return 0;
}

static bool is_enough(const struct sip_flow_partition *partition)
{
  return partition->later_events >= LATER_EVENTS || partition->later_bytes >= LATER_BYTES;
}

bool sip_due_hold(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_flow_partition *partition = event->partition;
  bool is_first = sip_list_empty(&partition->later);
  uint64_t ms;

  if (!flow->spec.retries || partition->delay_ms == 0) {
    return false;
  }
  ms = due_in_ms(event);
  if (ms == 0) {
    return false;
  }
  event->due_ms = sip_flow_now_ms(flow) + ms;
  event->is_delayed = event->is_later = true;
  sip_list_push(&partition->later, &event->ready);
  partition->later_events++;
  partition->later_bytes += event_bytes(event);
  flow->later_events++;
  flow->later_bytes += event_bytes(event);
  if (is_enough(partition) && partition->phase == SIP_PARTITION_OURS) {
    sip_flow_pause(flow, partition, SIP_PAUSE_DUE, true);
  }
  if (is_first) {
    sip_flow_set_timer(flow);
  }
  return true;
}

void sip_due_forget(struct sip_event *event)
{
  if (event->is_later) {
    event->is_later = event->is_delayed = false;
    event->partition->later_events--;
    event->partition->later_bytes -= event_bytes(event);
    event->flow->later_events--;
    event->flow->later_bytes -= event_bytes(event);
  }
}

static void partition_wake(struct sip_flow *flow, struct sip_flow_partition *partition,
                           uint64_t now_ms)
{
  while (!sip_list_empty(&partition->later)) {
    struct sip_event *event = SIP_CONTAINER(partition->later.next, struct sip_event, ready);

    if (event->due_ms > now_ms) {
      break;
    }
    sip_list_remove(&event->ready);
    sip_due_forget(event);
    sip_list_push(&flow->runnable, &event->ready);
  }
  if ((partition->paused & SIP_PAUSE_DUE) != 0 && partition->later_events <= LATER_EVENTS / 2 &&
      partition->later_bytes <= LATER_BYTES / 2 && flow->state == SIP_SOURCE_OPEN &&
      partition->phase == SIP_PARTITION_OURS) {
    sip_flow_pause(flow, partition, SIP_PAUSE_DUE, false);
  }
}

void sip_due_wake(struct sip_flow *flow, uint64_t now_ms)
{
  struct sip_list *lists[] = { &flow->partitions, &flow->leaving };

  for (size_t i = 0; flow->later_events > 0 && i < 2; i++) {
    for (struct sip_list *node = lists[i]->next; node != lists[i]; node = node->next) {
      partition_wake(flow, SIP_CONTAINER(node, struct sip_flow_partition, link), now_ms);
    }
  }
}

uint64_t sip_due_next_ms(const struct sip_flow *flow)
{
  const struct sip_list *lists[] = { &flow->partitions, &flow->leaving };
  uint64_t next_ms = 0;

  for (size_t i = 0; flow->later_events > 0 && i < 2; i++) {
    for (struct sip_list *node = lists[i]->next; node != lists[i]; node = node->next) {
      struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);
      struct sip_event *first = SIP_CONTAINER(partition->later.next, struct sip_event, ready);

      if (!sip_list_empty(&partition->later) && (next_ms == 0 || first->due_ms < next_ms)) {
        next_ms = first->due_ms;
      }
    }
  }
  return next_ms;
}
