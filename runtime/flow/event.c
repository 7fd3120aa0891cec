/* event.c - one event: its lane, its task, its outputs, its end. Loop thread only.
 *
 * taken -> (waits in its lane) -> running -> settled -> outputs acknowledged -> terminal: the watermark may pass it.
 * A task that dies is dispatched again with what killed it, so that the script's side can write the dead letter; a
 * task that ends unsettled (stopped) leaves the event unfinished. */
#include "core/log.h"
#include "flow/flow.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { REDELIVER_AFTER_MS = 1000 };

static struct sip_event *event_take(struct sip_flow *flow)
{
  struct sip_list *node = sip_list_shift(&flow->spare);
  struct sip_event *event = node == NULL ? malloc(sizeof *event) : SIP_CONTAINER(node, struct sip_event, all);

  if (event != NULL) {
    memset(event, 0, sizeof *event);
    event->flow = flow;
    event->kept_ref = LUA_NOREF;
    sip_list_init(&event->ready);
    sip_list_init(&event->all);
    sip_list_init(&event->member.link);
  }
  return event;
}

static size_t record_bytes(const struct sip_record *record)
{
  return record->key.len + record->value.len;
}

static const struct sip_source_ops *source_ops(const struct sip_flow *flow)
{
  return flow->engine->port->source;
}

/* Leaves its lane, lets the next of the lane run, gives the record back. */
static void event_free(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_lane_member *next = sip_lane_remove(&flow->lanes, &event->member);

  if (next != NULL) {
    sip_list_push(&flow->runnable, &SIP_CONTAINER(next, struct sip_event, member)->ready);
  }
  sip_list_remove(&event->ready);
  sip_list_remove(&event->all);
  flow->taken_events--;
  flow->taken_bytes -= record_bytes(&event->record);
  source_ops(flow)->release(&event->record);
  event->partition->events--;
  sip_flow_partition_unref(event->partition);
  luaL_unref(sip_vm_state(flow->vm), LUA_REGISTRYINDEX, event->kept_ref);
  free(event->failure);
  event->failure = NULL;
  sip_list_push(&flow->spare, &event->all);
}

/* Its outputs are still on their way when the time to drain is up: the reports find no flow. */
static void event_abandon(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;

  flow->unfinished++;
  event_free(event);
  sip_list_remove(&event->all); /* not spare: the last report frees it */
  event->flow = NULL;
}

void sip_event_drop(struct sip_event *event)
{
  assert(event->task == NULL && event->outputs == 0);
  event->flow->unfinished++;
  event_free(event);
}

static void event_terminal(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_flow_partition *partition = event->partition;

  flow->finished++;
  if (sip_watermark_finish(&partition->mark, event->sequence) && partition->phase != SIP_PARTITION_GONE) {
    struct sip_partition name = { partition->topic, partition->partition };

    source_ops(flow)->store(flow->source, &name, partition->mark.next_offset);
  }
  event_free(event);
  sip_flow_after_event(flow);
}

static void event_unfinished(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;

  flow->unfinished++;
  event_free(event);
  sip_flow_after_event(flow);
}

static bool event_is_leaving(const struct sip_event *event)
{
  return event->flow->draining || event->partition->phase != SIP_PARTITION_OURS;
}

/* Runs again after a while; keeps its place in the lane. */
static void event_redeliver(struct sip_event *event, enum sip_redelivery why)
{
  struct sip_flow *flow = event->flow;

  event->redelivery = why;
  event->redeliveries++;
  flow->redelivered++;
  event->settled = false;
  event->due_ms = uv_now(sip_vm_loop(sip_vm_state(flow->vm))) + (event->redeliveries > 1 ? REDELIVER_AFTER_MS : 0);
  sip_list_push(&flow->delayed, &event->ready);
  sip_flow_set_timer(flow);
}

/* Its task has ended and no output is on its way. */
static void event_conclude(struct sip_event *event)
{
  if (event->task != NULL || event->outputs > 0) {
    return;
  }
  if (event->settled && event->failure == NULL) {
    event_terminal(event);
  } else if (event_is_leaving(event)) {
    event_unfinished(event);
  } else {
    event_redeliver(event, event->settled ? SIP_AFTER_OUTPUT
                           : event->failure != NULL ? SIP_AFTER_CRASH
                                                    : event->redelivery);
    sip_flow_after_event(event->flow);
  }
}

static void event_remember(struct sip_event *event, const char *name, const char *message)
{
  if (event->failure == NULL) {
    event->failure = calloc(1, sizeof *event->failure);
  }
  if (event->failure != NULL) {
    (void)sip_err_named(event->failure, SIP_ESCRIPT, name, "%s", message);
  } else {
    event->settled = false; /* no memory to say why: it is dispatched again all the same */
  }
}

static void event_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct sip_event *event = arg;

  (void)task;
  event->task = NULL;
  event->flow->running--;
  if (event->ticket != NULL) {
    *event->ticket = NULL;
    event->ticket = NULL;
  }
  if (status == LUA_OK) {
    event->settled = nresults > 0 && lua_toboolean(L, -nresults);
  } else if (!event_is_leaving(event)) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not enough memory";

    sip_log(SIP_LOG_ERROR, "flow", NULL, "the handler's task died on %s partition %d offset %lld: %s",
            event->record.topic, (int)event->record.partition, (long long)event->record.offset, text);
    event_remember(event, "CRASH", text);
  }
  event_conclude(event);
}

void sip_event_on_report(void *arg, int status, int32_t partition, int64_t offset, const struct sip_err *err)
{
  struct sip_event *event = arg;

  (void)partition;
  (void)offset;
  event->outputs--;
  if (event->flow == NULL) {
    if (event->outputs == 0) {
      free(event);
    }
    return;
  }
  if (status < 0 && event->failure == NULL) {
    event_remember(event, err == NULL ? sip_err_name(status) : err->name,
                   err == NULL ? "an output was not written" : err->message);
  }
  sip_engine_on_room(event->flow->engine);
  event_conclude(event);
}

static void event_start(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  int rc;

  rc = sip_task_start(flow->vm, flow->spec.dispatch_ref, flow->engine->push_event, event_on_end, event, &event->task);
  if (event->redelivery != SIP_FIRST_TIME && rc == 0) {
    free(event->failure); /* push_event has told it */
    event->failure = NULL;
  }
  if (rc < 0) {
    sip_log(SIP_LOG_ERROR, "flow", NULL, "no memory to run an event of %s; trying again", event->record.topic);
    event->redeliveries++;
    event->due_ms = uv_now(sip_vm_loop(sip_vm_state(flow->vm))) + REDELIVER_AFTER_MS;
    sip_list_push(&flow->delayed, &event->ready);
    sip_flow_set_timer(flow);
    return;
  }
  flow->running++;
}

void sip_flow_pump(struct sip_flow *flow)
{
  struct sip_list *node;

  while (flow->running < flow->spec.concurrency && !flow->draining &&
         (node = sip_list_shift(&flow->runnable)) != NULL) {
    event_start(SIP_CONTAINER(node, struct sip_event, ready));
  }
}

void sip_flow_kill_running(struct sip_flow *flow)
{
  struct sip_list *next;

  for (struct sip_list *node = flow->events.next; node != &flow->events; node = next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    next = node->next;
    if (event->task != NULL) {
      sip_task_kill(event->task); /* ends nothing at once */
    } else if (event->outputs > 0) {
      event_abandon(event);
    }
  }
}

static struct sip_flow_partition *find_partition(struct sip_flow *flow, const struct sip_record *record)
{
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions; node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    if (partition->partition == record->partition && strcmp(partition->topic, record->topic) == 0) {
      return partition;
    }
  }
  return NULL;
}

/* @return 1: may run now; 0: waits for its turn; negative: no memory */
static int event_enter_lane(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_slice key = event->record.key;
  bool from_script = false;
  int rc;

  if (flow->spec.order == SIP_ORDER_NONE) {
    return 1;
  }
  if (flow->spec.order == SIP_ORDER_PARTITION) {
    key = (struct sip_slice){ "", 0 };
  } else if (flow->spec.keyer_ref != LUA_NOREF) {
    from_script = flow->engine->key_of(flow, &event->record, &key);
  }
  if (key.data == NULL) {
    return 1; /* no key, no order */
  }
  rc = sip_lane_push(&flow->lanes, event->record.partition, &key, &event->member);
  if (from_script) {
    lua_pop(sip_vm_state(flow->vm), 1);
  }
  return rc;
}

void sip_flow_accept(struct sip_flow *flow, const struct sip_record *record)
{
  struct sip_flow_partition *partition = find_partition(flow, record);
  struct sip_record copy = *record;
  struct sip_event *event = partition == NULL || flow->draining ? NULL : event_take(flow);
  int rc;

  if (event == NULL || sip_watermark_take(&partition->mark, record->offset, &event->sequence) < 0) {
    /* Not ours any more; or no memory: then the watermark stops here, and a restart takes it again. */
    if (partition != NULL && !flow->draining) {
      partition->phase = SIP_PARTITION_GONE;
      sip_log(SIP_LOG_ERROR, "flow", NULL, "no memory to take an event of %s partition %d; nothing of it is committed "
              "until a restart", record->topic, (int)record->partition);
    }
    free(event);
    source_ops(flow)->release(&copy);
    return;
  }
  event->record = copy;
  event->partition = partition;
  partition->events++;
  flow->taken++;
  flow->taken_events++;
  flow->taken_bytes += record_bytes(record);
  sip_list_push(&flow->events, &event->all);
  rc = event_enter_lane(event);
  if (rc < 0) {
    rc = 1; /* without memory for a lane it runs out of order rather than not at all */
    sip_log(SIP_LOG_ERROR, "flow", NULL, "no memory for the order of a key of %s", record->topic);
  }
  if (rc == 1) {
    sip_list_push(&flow->runnable, &event->ready);
  }
}
