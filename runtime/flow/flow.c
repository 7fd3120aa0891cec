/* flow.c - one flow: its partitions, its bounds, revokes and draining. Loop thread only.
 *
 * Bounds: a flow takes no more than max_events and max_bytes. When it is full it leaves the rest in the source; when
 * that lasts, it pauses the partitions and goes on polling, so that the group does not take it for dead. */
#include "flow/flow.h"

#include "core/log.h"
#include "vm/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum {
  TAKE_BATCH = 128,
  HOLD_AFTER_MS = 1000, /* full for so long: pause */
  LEAVE_WITHIN_MS = 5000 /* what runs on a revoked partition may take so long */
};

static const struct sip_source_ops *ops(const struct sip_flow *flow)
{
  return flow->engine->port->source;
}

static uint64_t now_ms(const struct sip_flow *flow)
{
  return uv_now(sip_vm_loop(sip_vm_state(flow->vm)));
}

/* --- making, replacing, freeing --- */

static int flow_copy_names(struct sip_flow *flow, const struct sip_source_spec *source)
{
  flow->group = strdup(source->group);
  flow->topics = calloc(source->topic_count + 1, sizeof *flow->topics);
  if (flow->group == NULL || flow->topics == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < source->topic_count; i++) {
    flow->topics[i] = strdup(source->topics[i]);
    if (flow->topics[i] == NULL) {
      return UV_ENOMEM;
    }
    flow->topic_count++;
  }
  flow->spec.source.group = flow->group;
  flow->spec.source.topics = (const char *const *)flow->topics;
  return 0;
}

int sip_flow_new(struct sip_flow **out, struct sip_engine *engine, const struct sip_flow_spec *spec,
                 struct sip_err *err)
{
  struct sip_flow *flow = calloc(1, sizeof *flow);

  if (flow == NULL) {
    return sip_err_set(err, UV_ENOMEM, "flow %s: not enough memory", spec->source.group);
  }
  flow->engine = engine;
  flow->vm = engine->vm;
  flow->spec = *spec;
  sip_list_init(&flow->link);
  sip_list_init(&flow->partitions);
  sip_list_init(&flow->leaving);
  sip_list_init(&flow->events);
  sip_list_init(&flow->runnable);
  sip_list_init(&flow->delayed);
  sip_list_init(&flow->spare);
  if (flow_copy_names(flow, &spec->source) < 0 || sip_lanes_init(&flow->lanes) < 0) {
    flow->spec.dispatch_ref = LUA_NOREF; /* still the caller's */
    flow->spec.keyer_ref = LUA_NOREF;
    sip_flow_free(flow);
    return sip_err_set(err, UV_ENOMEM, "flow %s: not enough memory", spec->source.group);
  }
  *out = flow;
  return 0;
}

static void flow_unref_functions(struct sip_flow *flow)
{
  luaL_unref(sip_vm_state(flow->vm), LUA_REGISTRYINDEX, flow->spec.dispatch_ref);
  luaL_unref(sip_vm_state(flow->vm), LUA_REGISTRYINDEX, flow->spec.keyer_ref);
}

void sip_flow_free(struct sip_flow *flow)
{
  struct sip_list *node;

  assert(flow->taken_events == 0 && !flow->timer_open);
  sip_list_remove(&flow->link);
  while ((node = sip_list_shift(&flow->partitions)) != NULL) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    partition->phase = SIP_PARTITION_GONE;
    sip_flow_partition_unref(partition);
  }
  while ((node = sip_list_shift(&flow->spare)) != NULL) {
    free(SIP_CONTAINER(node, struct sip_event, all));
  }
  sip_lanes_deinit(&flow->lanes);
  flow_unref_functions(flow);
  for (size_t i = 0; i < flow->topic_count; i++) {
    free(flow->topics[i]);
  }
  free(flow->topics);
  free(flow->group);
  free(flow);
}

bool sip_flow_same(const struct sip_flow *a, const struct sip_flow *b)
{
  if (strcmp(a->group, b->group) != 0 || a->topic_count != b->topic_count) {
    return false;
  }
  for (size_t i = 0; i < a->topic_count; i++) {
    bool found = false;

    for (size_t j = 0; j < b->topic_count && !found; j++) {
      found = strcmp(a->topics[i], b->topics[j]) == 0;
    }
    if (!found) {
      return false;
    }
  }
  return true;
}

void sip_flow_replace(struct sip_flow *flow, struct sip_flow *from)
{
  struct sip_source_spec source = flow->spec.source;

  flow_unref_functions(flow);
  flow->spec = from->spec;
  flow->spec.source = source;
  from->spec.dispatch_ref = LUA_NOREF; /* handed over */
  from->spec.keyer_ref = LUA_NOREF;
  sip_flow_pump(flow);
}

/* --- partitions --- */

void sip_flow_partition_unref(struct sip_flow_partition *partition)
{
  if (partition->phase == SIP_PARTITION_GONE && partition->events == 0 && sip_list_empty(&partition->link)) {
    sip_watermark_deinit(&partition->mark);
    free(partition->topic);
    free(partition);
  }
}

static struct sip_flow_partition *partition_find(struct sip_list *list, const struct sip_partition *name)
{
  for (struct sip_list *node = list->next; node != list; node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    if (partition->partition == name->partition && strcmp(partition->topic, name->topic) == 0) {
      return partition;
    }
  }
  return NULL;
}

static void flow_on_assigned(void *owner, const struct sip_partition *partitions, size_t count)
{
  struct sip_flow *flow = owner;

  flow->assigned = true;
  flow->error[0] = '\0';
  for (size_t i = 0; i < count; i++) {
    struct sip_flow_partition *partition = calloc(1, sizeof *partition);

    if (partition == NULL || (partition->topic = strdup(partitions[i].topic)) == NULL) {
      free(partition);
      sip_log(SIP_LOG_ERROR, "flow", NULL, "%s: no memory for %s partition %d; it is not consumed", flow->group,
              partitions[i].topic, (int)partitions[i].partition);
      ops(flow)->pause(flow->source, &partitions[i]);
      continue;
    }
    partition->partition = partitions[i].partition;
    sip_watermark_init(&partition->mark);
    sip_list_push(&flow->partitions, &partition->link);
    flow->partition_count++;
    if (flow->held) {
      ops(flow)->pause(flow->source, &partitions[i]);
      partition->paused = true;
    }
  }
}

/* Frees what waits on this partition; what runs goes on. */
static void partition_drop_waiting(struct sip_flow *flow, const struct sip_flow_partition *partition)
{
  struct sip_list *next;

  for (struct sip_list *node = flow->events.prev; node != &flow->events; node = next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    next = node->prev; /* from the last one on: a lane's next member never becomes runnable only to be dropped */
    if ((partition == NULL || event->partition == partition) && event->task == NULL && event->outputs == 0) {
      sip_event_drop(event);
    }
  }
}

static void partition_gone(struct sip_flow_partition *partition)
{
  sip_list_remove(&partition->link);
  partition->phase = SIP_PARTITION_GONE;
  sip_flow_partition_unref(partition);
}

/* Gives revoked partitions back once nothing runs on them, or when their time is up. */
static void flow_look_at_leaving(struct sip_flow *flow)
{
  struct sip_list *node, *next;

  if (sip_list_empty(&flow->leaving)) {
    return;
  }
  for (node = flow->leaving.next; node != &flow->leaving; node = next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    next = node->next;
    if (partition->events > 0 && now_ms(flow) < flow->leave_by_ms) {
      return;
    }
  }
  flow->leave_by_ms = 0;
  while (!sip_list_empty(&flow->leaving)) {
    partition_gone(SIP_CONTAINER(flow->leaving.next, struct sip_flow_partition, link));
  }
  ops(flow)->give_back(flow->source);
}

static void flow_on_revoked(void *owner, const struct sip_partition *partitions, size_t count, bool lost)
{
  struct sip_flow *flow = owner;

  for (size_t i = 0; i < count; i++) {
    struct sip_flow_partition *partition = partition_find(&flow->partitions, &partitions[i]);

    if (partition == NULL) {
      continue;
    }
    flow->partition_count--;
    sip_list_remove(&partition->link);
    sip_list_push(&flow->leaving, &partition->link);
    partition->phase = SIP_PARTITION_LEAVING;
    partition->events++; /* keeps it through the drop */
    partition_drop_waiting(flow, partition);
    partition->events--;
    if (lost) {
      partition_gone(partition);
    }
  }
  if (lost) {
    ops(flow)->give_back(flow->source);
    return;
  }
  flow->leave_by_ms = now_ms(flow) + LEAVE_WITHIN_MS;
  if (sip_list_empty(&flow->leaving)) {
    flow->leave_by_ms = 0;
    ops(flow)->give_back(flow->source);
    return;
  }
  flow_look_at_leaving(flow);
  sip_flow_set_timer(flow);
}

/* --- taking --- */

static bool flow_is_full(const struct sip_flow *flow)
{
  return flow->taken_events >= flow->spec.max_events || flow->taken_bytes >= flow->spec.max_bytes;
}

static void flow_hold(struct sip_flow *flow, bool hold)
{
  flow->held = hold;
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions; node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);
    struct sip_partition name = { partition->topic, partition->partition };

    if (partition->paused != hold) {
      (hold ? ops(flow)->pause : ops(flow)->resume)(flow->source, &name);
      partition->paused = hold;
    }
  }
}

static void flow_take(struct sip_flow *flow)
{
  struct sip_record records[TAKE_BATCH];
  size_t count;

  if (flow->source == NULL || flow->closing) {
    return;
  }
  while (!flow_is_full(flow) || flow->held) { /* held: keep polling; what still comes is taken over the bound */
    size_t room = flow->held || flow->taken_events >= flow->spec.max_events
                    ? 1
                    : flow->spec.max_events - flow->taken_events;

    count = ops(flow)->take(flow->source, records, room < TAKE_BATCH ? room : TAKE_BATCH);
    for (size_t i = 0; i < count; i++) {
      sip_flow_accept(flow, &records[i]);
    }
    if (count == 0) {
      sip_flow_pump(flow);
      return;
    }
    flow->error[0] = '\0'; /* whatever it was, events come */
  }
  sip_flow_pump(flow);
  if (flow->full_since_ms == 0) {
    flow->full_since_ms = now_ms(flow);
    sip_flow_set_timer(flow);
  }
}

static void flow_on_readable(void *owner)
{
  flow_take(owner);
}

static void flow_make_room(struct sip_flow *flow)
{
  if (flow->full_since_ms == 0 || flow->taken_events > flow->spec.max_events / 2 ||
      flow->taken_bytes > flow->spec.max_bytes / 2) {
    return;
  }
  flow->full_since_ms = 0;
  if (flow->held) {
    flow_hold(flow, false);
  }
  flow_take(flow);
}

/* --- draining and closing --- */

static void flow_look_at_drain(struct sip_flow *flow)
{
  if (!flow->draining || flow->closing || flow->taken_events > 0 || flow->source == NULL) {
    return;
  }
  flow->closing = true;
  ops(flow)->close(flow->source); /* commits what was stored */
}

void sip_flow_drain(struct sip_flow *flow, uint64_t limit_ms)
{
  uint64_t by_ms = now_ms(flow) + limit_ms;

  if (!flow->draining || by_ms < flow->drain_by_ms) {
    flow->drain_by_ms = by_ms == 0 ? 1 : by_ms;
  }
  if (!flow->draining) {
    flow->draining = true;
    partition_drop_waiting(flow, NULL);
  }
  sip_flow_set_timer(flow);
  flow_look_at_drain(flow);
}

void sip_flow_after_event(struct sip_flow *flow)
{
  flow_look_at_leaving(flow);
  flow_make_room(flow);
  sip_flow_pump(flow);
  flow_look_at_drain(flow);
}

static void flow_on_timer_close(uv_handle_t *handle)
{
  struct sip_flow *flow = handle->data;

  flow->timer_open = false;
  sip_engine_on_flow_closed(flow);
}

static void flow_on_closed(void *owner)
{
  struct sip_flow *flow = owner;

  flow->source = NULL;
  while (!sip_list_empty(&flow->leaving)) {
    partition_gone(SIP_CONTAINER(flow->leaving.next, struct sip_flow_partition, link));
  }
  uv_close((uv_handle_t *)&flow->timer, flow_on_timer_close);
}

static void flow_on_error(void *owner, const struct sip_err *err, bool fatal)
{
  struct sip_flow *flow = owner;

  (void)snprintf(flow->error, sizeof flow->error, "%s", err->message);
  sip_log(fatal ? SIP_LOG_ERROR : SIP_LOG_WARN, "flow", NULL, "%s: %s", flow->group, err->message);
}

/* --- the timer --- */

static void flow_on_timer(uv_timer_t *timer)
{
  struct sip_flow *flow = timer->data;
  uint64_t now = now_ms(flow);
  struct sip_list *node, *next;

  for (node = flow->delayed.next; node != &flow->delayed; node = next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, ready);

    next = node->next;
    if (event->due_ms <= now) {
      sip_list_remove(&event->ready);
      sip_list_push(&flow->runnable, &event->ready);
    }
  }
  if (flow->full_since_ms != 0 && !flow->held && now - flow->full_since_ms >= HOLD_AFTER_MS) {
    flow_hold(flow, true);
    flow_take(flow);
  }
  if (flow->drain_by_ms != 0 && now >= flow->drain_by_ms) {
    sip_flow_kill_running(flow);
  }
  sip_flow_after_event(flow);
  if (!flow->closing) {
    sip_flow_set_timer(flow);
  }
}

static void earliest(uint64_t *at, uint64_t candidate)
{
  if (candidate < *at) {
    *at = candidate;
  }
}

void sip_flow_set_timer(struct sip_flow *flow)
{
  uint64_t now = now_ms(flow), at = UINT64_MAX;

  for (struct sip_list *node = flow->delayed.next; node != &flow->delayed; node = node->next) {
    earliest(&at, SIP_CONTAINER(node, struct sip_event, ready)->due_ms);
  }
  if (flow->full_since_ms != 0 && !flow->held) {
    earliest(&at, flow->full_since_ms + HOLD_AFTER_MS);
  }
  if (flow->leave_by_ms != 0) {
    earliest(&at, flow->leave_by_ms);
  }
  if (flow->drain_by_ms != 0) { /* after the limit again and again: an unwinding task may have begun something */
    earliest(&at, flow->drain_by_ms > now ? flow->drain_by_ms : now + 100);
  }
  if (at != UINT64_MAX && flow->timer_open) {
    (void)uv_timer_start(&flow->timer, flow_on_timer, at > now ? at - now : 0, 0);
  }
}

int sip_flow_open(struct sip_flow *flow, struct sip_err *err)
{
  static const struct sip_source_sink sink = { flow_on_readable, flow_on_assigned, flow_on_revoked,
                                               flow_on_error,    flow_on_closed };
  const struct sip_port *port = flow->engine->port;
  int rc = port->source->open(port->driver, &flow->spec.source, &sink, flow, &flow->source, err);

  if (rc < 0) {
    return rc;
  }
  (void)uv_timer_init(sip_vm_loop(sip_vm_state(flow->vm)), &flow->timer); /* always 0 */
  flow->timer.data = flow;
  flow->timer_open = true;
  return 0;
}
