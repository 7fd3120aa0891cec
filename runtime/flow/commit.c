/* commit.c - how far a flow's partitions are, to the source and back. Loop thread only.
 *
 * A commit says how far a partition is finished, and in its metadata what is finished beyond that
 * (ranges.h). It follows soon after the events that it is about, in the background: what finished
 * since the last one is what a kill repeats. While that does not fit into the metadata, no more is
 * taken of the partition. */
#include "core/log.h"
#include "flow/flow.h"
#include "flow/transaction.h"
#include "vm/task.h"
#include "vm/vm.h"

enum {
  COMMIT_WITHIN_MS = 200, /* of the first event that is not committed */
  COMMIT_EVENTS = 64,     /* so many of them are committed at once, */
  LOOK_EVERY = 16,        /* asking the clock once for these */
  COMMIT_APART_MS = 10    /* unless that was done within this time */
};

/* Read anew: the loop's time stands still while many events end in one turn. */
static uint64_t commit_precise_ms(const struct sip_flow *flow)
{
  return sip_clock_precise_ns(sip_vm_clock(flow->vm)) / 1000000;
}

void sip_flow_touch(struct sip_flow *flow, struct sip_flow_partition *partition)
{
  partition->unstored = true;
  if (flow->transaction != NULL) {
    sip_transaction_touch(flow);
    return;
  }
  flow->unstored++;
  if (flow->unstored == 1) {
    flow->commit_at_ms = sip_flow_now_ms(flow) + COMMIT_WITHIN_MS;
    sip_flow_set_timer(flow);
  } else if (flow->unstored >= COMMIT_EVENTS && flow->unstored % LOOK_EVERY == 0 &&
             commit_precise_ms(flow) >= flow->committed_at_ms + COMMIT_APART_MS) {
    sip_flow_commit(flow);
  }
}

void sip_flow_store(struct sip_flow *flow, struct sip_flow_partition *partition)
{
  struct sip_partition name = { partition->topic, partition->partition };
  char text[SIP_RANGES_TEXT_MAX + 1];
  struct sip_holds holds;
  bool crammed;

  if (!partition->unstored) {
    return;
  }
  partition->unstored = false;
  if (flow->batch_at == flow->batch_count) { /* otherwise something below the end waits there */
    (void)sip_watermark_reach(&partition->mark, partition->end);
    partition->end = -1;
  }
  if (partition->mark.next_offset < 0) {
    return;
  }
  sip_watermark_beyond(&partition->mark, &flow->beyond);
  sip_flow_holds_out(flow, &partition->holds, &holds);
  crammed =
    sip_ranges_write(&flow->beyond, &holds, partition->mark.next_offset, text) < flow->beyond.count;
  sip_flow_ops(flow)->store(flow->source, &name, partition->mark.next_offset, text);
  if (partition->phase == SIP_PARTITION_OURS) {
    sip_flow_pause(flow, partition, SIP_PAUSE_CRAMMED, crammed);
  }
}

static void store_all(struct sip_flow *flow, struct sip_list *partitions)
{
  for (struct sip_list *node = partitions->next; node != partitions; node = node->next) {
    sip_flow_store(flow, SIP_CONTAINER(node, struct sip_flow_partition, link));
  }
}

void sip_flow_commit(struct sip_flow *flow)
{
  flow->unstored = 0;
  flow->commit_at_ms = 0;
  if (flow->state != SIP_SOURCE_OPEN) {
    return;
  }
  sip_task_time_passes(flow->vm);
  flow->committed_at_ms = commit_precise_ms(flow);
  store_all(flow, &flow->partitions);
  store_all(flow, &flow->leaving);
  sip_flow_ops(flow)->commit(flow->source);
}

void sip_flow_restore(struct sip_flow *flow, struct sip_flow_partition *partition,
                      const struct sip_assigned *assigned)
{
  const struct sip_slice *text = &assigned->metadata;
  int rc;

  if (assigned->next_offset < 0 || !sip_ranges_is_text(text->data, text->len)) {
    return; /* there is none, or it is another program's */
  }
  rc = sip_ranges_read(&partition->mark.before, &partition->holds, assigned->next_offset,
                       text->data, text->len);
  sip_flow_holds_in(flow, &partition->holds);
  if (rc < 0) {
    sip_log(SIP_LOG_WARN, "flow", NULL,
            "%s: what was finished beyond offset %lld of %s partition %d cannot be read (%s); it "
            "is handled again",
            flow->group, (long long)assigned->next_offset, partition->topic,
            (int)partition->partition, rc == SIP_EDATA ? "not what was written" : "no memory");
  }
}

void sip_flow_on_end(void *owner, const struct sip_partition *name, int64_t offset)
{
  struct sip_flow *flow = owner;
  struct sip_flow_partition *partition = sip_flow_partition_of(flow, name->topic, name->partition);

  if (partition != NULL && !flow->draining && offset > partition->mark.after) {
    partition->end = offset;
    sip_flow_touch(flow, partition);
  }
}
