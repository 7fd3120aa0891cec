/* flow.c - one flow: taking, its bounds, draining, and opening again. Loop thread only.
 *
 * Bounds: a flow takes no more than max_events and max_bytes. When it is full it leaves the rest in
 * the source; when that lasts, it pauses the partitions and goes on polling, so that the group does
 * not take it for dead. What cannot be taken for want of memory stays in `batch` and is tried
 * again. */
#include "flow/flow.h"

#include "core/buf.h"
#include "core/log.h"
#include "flow/due.h"
#include "flow/transaction.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  HOLD_AFTER_MS = 1000,  /* full for so long: pause, which costs what was fetched ahead */
  RETRY_TAKE_MS = 1000,  /* after a lack of memory */
  REOPEN_AFTER_MS = 2000 /* after a source that cannot go on */
};

const struct sip_source_ops *sip_flow_ops(const struct sip_flow *flow)
{
  return flow->engine->port->source;
}

uint64_t sip_flow_now_ms(const struct sip_flow *flow)
{
  return sip_clock_loop_ms(sip_vm_clock(flow->vm));
}

/* --- making, replacing, freeing --- */

static int flow_copy_names(struct sip_flow *flow, const struct sip_flow_spec *spec)
{
  flow->group = strdup(spec->source.group);
  flow->topics = calloc(spec->source.topic_count + 1, sizeof *flow->topics);
  if (flow->group == NULL || flow->topics == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < spec->source.topic_count; i++) {
    flow->topics[i] = strdup(spec->source.topics[i]);
    if (flow->topics[i] == NULL) {
      return UV_ENOMEM;
    }
    flow->topic_count++;
  }
  flow->spec.source.group = flow->group;
  flow->spec.source.topics = (const char *const *)flow->topics;
  if (spec->key_header != NULL) {
    flow->key_header = strdup(spec->key_header);
    flow->spec.key_header = flow->key_header;
  }
  if (spec->source.instance != NULL) {
    flow->instance = strdup(spec->source.instance);
    flow->spec.source.instance = flow->instance;
  }
  return (spec->key_header != NULL && flow->key_header == NULL) ||
             (spec->source.instance != NULL && flow->instance == NULL)
           ? UV_ENOMEM
           : 0;
}

void sip_flow_spec_forget(struct sip_flow_spec *spec)
{
  spec->start_ref = LUA_NOREF;
  spec->context_ref = LUA_NOREF;
  spec->dispatch_ref = LUA_NOREF;
  spec->finish_ref = LUA_NOREF;
  spec->drop_ref = LUA_NOREF;
  spec->keyer_ref = LUA_NOREF;
}

void sip_flow_spec_unref(lua_State *L, const struct sip_flow_spec *spec)
{
  luaL_unref(L, LUA_REGISTRYINDEX, spec->start_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, spec->context_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, spec->dispatch_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, spec->finish_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, spec->drop_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, spec->keyer_ref);
}

int sip_flow_new(struct sip_flow **out, struct sip_engine *engine, const struct sip_flow_spec *spec,
                 struct sip_err *err)
{
  struct sip_flow *flow = calloc(1, sizeof *flow);
  int workers;

  if (flow == NULL) {
    return sip_err_set(err, UV_ENOMEM, "flow %s: not enough memory", spec->source.group);
  }
  flow->engine = engine;
  flow->vm = engine->vm;
  flow->spec = *spec;
  flow->spec.key_header = NULL;
  flow->spec.source.instance = NULL;
  flow->spec.source.ahead_events = sip_flow_ahead_of(spec->max_events);
  flow->spec.source.ahead_bytes = sip_flow_ahead_of(spec->max_bytes);
  (void)sip_vm_worker(sip_vm_state(flow->vm), &workers);
  flow->spec.source.has_siblings = workers > 1;
  sip_list_init(&flow->link);
  sip_list_init(&flow->partitions);
  sip_list_init(&flow->leaving);
  sip_list_init(&flow->events);
  sip_list_init(&flow->runnable);
  sip_list_init(&flow->delayed);
  sip_list_init(&flow->spare);
  if (flow_copy_names(flow, spec) < 0 || sip_lanes_init(&flow->lanes) < 0) {
    sip_flow_spec_forget(&flow->spec); /* still the caller's */
    sip_flow_free(flow);
    return sip_err_set(err, UV_ENOMEM, "flow %s: not enough memory", spec->source.group);
  }
  *out = flow;
  return 0;
}

void sip_flow_release(struct sip_flow *flow)
{
  sip_flow_spec_forget(&flow->spec);
  sip_flow_free(flow);
}

void sip_flow_free(struct sip_flow *flow)
{
  struct sip_list *node;

  assert(flow->taken_events == 0 && !flow->timer_open && flow->source == NULL);
  assert(sip_list_empty(&flow->partitions) && sip_list_empty(&flow->leaving));
  sip_list_remove(&flow->link);
  while ((node = sip_list_shift(&flow->spare)) != NULL) {
    sip_event_free(SIP_CONTAINER(node, struct sip_event, all));
  }
  sip_lanes_deinit(&flow->lanes);
  sip_ranges_deinit(&flow->beyond);
  sip_transaction_free(flow);
  sip_meter_flow_deinit(&flow->meter);
  sip_flow_spec_unref(sip_vm_state(flow->vm), &flow->spec);
  for (size_t i = 0; i < flow->topic_count; i++) {
    free(flow->topics[i]);
  }
  free(flow->topics);
  free(flow->group);
  free(flow->key_header);
  free(flow->instance);
  free(flow);
}

static bool flow_has_topic(const struct sip_flow *flow, const char *topic)
{
  for (size_t i = 0; i < flow->topic_count; i++) {
    if (strcmp(flow->topics[i], topic) == 0) {
      return true;
    }
  }
  return false;
}

bool sip_flow_same(const struct sip_flow *a, const struct sip_flow *b)
{
  if (strcmp(a->group, b->group) != 0 || a->topic_count != b->topic_count ||
      a->spec.source.transactional != b->spec.source.transactional) {
    return false;
  }
  for (size_t i = 0; i < a->topic_count; i++) {
    if (!flow_has_topic(b, a->topics[i])) {
      return false;
    }
  }
  return true;
}

/* Where its outputs go from now on. */
static void flow_choose_outlet(struct sip_flow *flow)
{
  const struct sip_port *port = flow->engine->port;

  if (flow->transaction == NULL) { /* otherwise it is the transaction's, as long as it is open */
    flow->outlet = flow->spec.outbox ? port->outbox : port->producer;
  }
}

void sip_flow_replace(struct sip_flow *flow, struct sip_flow *from)
{
  struct sip_source_spec source = flow->spec.source;
  char *key_header = flow->key_header;

  sip_flow_spec_unref(sip_vm_state(flow->vm), &flow->spec);
  flow->spec = from->spec;
  flow->spec.source = source;
  flow->key_header = from->key_header;
  from->key_header = key_header;     /* freed with it */
  sip_flow_spec_forget(&from->spec); /* handed over */
  flow_choose_outlet(flow);
  sip_flow_after_event(flow); /* the limits may be others */
}

/* --- taking --- */

/* How many records to take: no more than there is room for, the bytes by what came last. */
static size_t batch_room(const struct sip_flow *flow)
{
  size_t events = sip_flow_free_events(flow), bytes = sip_flow_free_bytes(flow);
  size_t room = SIP_TAKE_BATCH;

  if (flow->held) {
    return room;
  }
  if (events < room) {
    room = events;
  }
  if (sip_flow_ahead_of(flow->spec.max_events) <
      room) { /* they are taken, whoever they crowd out */
    room = sip_flow_ahead_of(flow->spec.max_events);
  }
  if (bytes / (flow->mean_bytes + 1) < room) {
    room = bytes / (flow->mean_bytes + 1) + 1;
  }
  return room;
}

/* Gets the next records when those of the last time are all accepted.
 * @return whether there are any */
static bool batch_fill(struct sip_flow *flow)
{
  size_t max;

  if (flow->batch_at < flow->batch_count) {
    return true;
  }
  max = batch_room(flow);
  flow->last_topic = NULL;
  flow->batch_at = 0;
  flow->batch_count = sip_flow_ops(flow)->take(flow->source, flow->batch, max);
  if (flow->batch_count > 0) {
    flow->error[0] = '\0'; /* whatever it was, events come */
  }
  return flow->batch_count > 0;
}

/* While partitions are held, what still comes is taken over the bound: it is what was fetched
 * before, and the source stops polling unless somebody takes. Keys are fetched into the cache a few
 * records before their turn. */
static void flow_take(struct sip_flow *flow)
{
  enum { AHEAD = 4 };

  sip_task_time_passes(flow->vm);
  while (flow->state == SIP_SOURCE_OPEN && (flow->held || !sip_flow_is_full(flow))) {
    if (!batch_fill(flow)) {
      return;
    }
    if (flow->batch_at + AHEAD < flow->batch_count) {
      __builtin_prefetch(flow->batch[flow->batch_at + AHEAD].key.data);
    }
    if (sip_flow_accept(flow, &flow->batch[flow->batch_at]) < 0) {
      sip_log(SIP_LOG_ERROR, "flow", NULL, "%s: no memory for another event; trying again",
              flow->group);
      flow->retry_take_at_ms = sip_flow_now_ms(flow) + RETRY_TAKE_MS;
      sip_flow_set_timer(flow);
      return;
    }
    flow->batch_at++;
  }
  if (flow->state == SIP_SOURCE_OPEN && flow->full_since_ms == 0) {
    flow->full_since_ms = sip_flow_now_ms(flow);
    sip_flow_set_timer(flow);
  }
}

static void flow_on_readable(void *owner)
{
  struct sip_flow *flow = owner;

  if (flow->retry_take_at_ms == 0) {
    flow_take(flow);
    sip_flow_pump(flow);
  }
}

static void flow_make_room(struct sip_flow *flow)
{
  if (flow->full_since_ms == 0 || flow->state != SIP_SOURCE_OPEN || !sip_flow_has_room(flow)) {
    return;
  }
  flow->full_since_ms = 0;
  if (flow->held) {
    sip_flow_hold(flow, false);
  }
  flow_take(flow);
}

/* --- closing, draining, opening again --- */

static void flow_on_timer_close(uv_handle_t *handle)
{
  struct sip_flow *flow = handle->data;

  flow->timer_open = false;
  sip_engine_on_flow_closed(flow);
}

/* Nothing is left to wait for. */
static void flow_end(struct sip_flow *flow)
{
  if (!sip_timer_is_closing(&flow->timer)) {
    sip_timer_close(&flow->timer, flow_on_timer_close);
  }
}

static void flow_close(struct sip_flow *flow)
{
  if (flow->state == SIP_SOURCE_OPEN) {
    sip_flow_commit(flow);
    flow->state = SIP_SOURCE_CLOSING;
    flow->full_since_ms = 0;
    flow->retry_take_at_ms = 0;
    flow->leave_by_ms = 0;
    sip_transaction_close(flow);
    sip_flow_ops(flow)->close(flow->source); /* once what was stored is committed */
  } else if (flow->state == SIP_SOURCE_NONE && !sip_transaction_is_open(flow)) {
    flow_end(flow);
  }
}

void sip_flow_fail(struct sip_flow *flow)
{
  flow->fail_at_ms = sip_flow_now_ms(flow) + 1; /* not inside of the source's own callback */
  sip_flow_set_timer(flow);
}

/* Source and transaction are gone, or one of them. */
static void flow_look_at_closed(struct sip_flow *flow)
{
  if (flow->state != SIP_SOURCE_NONE || sip_transaction_is_open(flow)) {
    return;
  }
  if (!flow->draining && !flow->fenced) {
    flow->reopen_at_ms = sip_flow_now_ms(flow) + REOPEN_AFTER_MS;
    sip_flow_set_timer(flow);
  } else if (flow->draining && flow->taken_events == 0) {
    flow_end(flow);
  }
}

static void flow_on_closed(void *owner)
{
  struct sip_flow *flow = owner;

  flow->source = NULL;
  flow->state = SIP_SOURCE_NONE;
  flow->assigned = false;
  flow->held = false;
  flow->full_since_ms = 0;
  flow->commit_at_ms = 0;
  flow->look_at_ms = 0;
  flow->crowded = 0;
  flow->unstored = 0;
  sip_flow_forget_partitions(flow);
  flow_look_at_closed(flow);
}

void sip_flow_on_transaction_closed(struct sip_flow *flow)
{
  flow_look_at_closed(flow);
}

static void flow_look_at_drain(struct sip_flow *flow)
{
  if (flow->draining && flow->taken_events == 0) {
    flow_close(flow);
  }
}

void sip_flow_drain(struct sip_flow *flow, uint64_t limit_ms)
{
  uint64_t by_ms = sip_flow_now_ms(flow) + limit_ms;

  if (!flow->draining || by_ms < flow->drain_by_ms) {
    flow->drain_by_ms = by_ms == 0 ? 1 : by_ms;
  }
  if (!flow->draining) {
    flow->draining = true;
    sip_flow_drop_waiting(flow, NULL, SIP_DROP_AHEAD);
  }
  sip_flow_set_timer(flow);
  flow_look_at_drain(flow);
}

void sip_flow_after_event(struct sip_flow *flow)
{
  sip_flow_look_at_leaving(flow);
  if (flow->transaction != NULL) {
    sip_transaction_look(flow);
  }
  flow_make_room(flow);
  sip_flow_pump(flow);
  if (flow->transaction != NULL) {
    sip_transaction_look(flow); /* what was emitted again may have been the last of its batch */
  }
  flow_look_at_drain(flow);
}

static void flow_on_error(void *owner, const struct sip_err *err, bool fatal)
{
  struct sip_flow *flow = owner;

  (void)snprintf(flow->error, sizeof flow->error, "%s", err->message);
  flow->fenced = flow->fenced || (fatal && err->code == SIP_EFENCED);
  sip_log(fatal ? SIP_LOG_ERROR : SIP_LOG_WARN, "flow", NULL, "%s: %s%s", flow->group, err->message,
          flow->fenced ? "; this flow takes nothing until the program is started again"
          : fatal      ? "; joining the group again"
                       : "");
  if (fatal) {
    sip_flow_fail(flow);
  }
}

static int flow_open_source(struct sip_flow *flow, struct sip_err *err)
{
  static const struct sip_source_sink sink = {
    .on_readable = flow_on_readable,
    .on_assigned = sip_flow_on_assigned,
    .on_revoked = sip_flow_on_revoked,
    .on_error = flow_on_error,
    .on_closed = flow_on_closed,
    .on_end = sip_flow_on_end,
  };
  const struct sip_port *port = flow->engine->port;
  int rc;

  if (flow->spec.outbox && port->outbox.ops == NULL) {
    return sip_err_set(err, SIP_ECONFIG, "flow %s: outbox: this program has none", flow->group);
  }
  flow_choose_outlet(flow);
  rc = flow->spec.source.transactional ? sip_transaction_open(flow, err) : 0; /* sets it anew */
  if (rc < 0) {
    return rc;
  }
  rc = port->source->open(port->driver, &flow->spec.source, &sink, flow, &flow->source, err);
  if (rc < 0) {
    sip_transaction_abandon(flow);
    return rc;
  }
  flow->state = SIP_SOURCE_OPEN;
  return 0;
}

static void flow_tell(const struct sip_flow *flow)
{
  struct sip_buf topics = SIP_BUF_INIT;

  for (size_t i = 0; i < flow->topic_count; i++) {
    (void)sip_buf_addf(&topics, "%s%s", i == 0 ? "" : ", ", flow->topics[i]); /* only a log line */
  }
  sip_log(SIP_LOG_INFO, "flow", NULL, "%s: joining the group for %s", flow->group,
          topics.data != NULL ? topics.data : "its topics");
  sip_buf_deinit(&topics);
}

int sip_flow_open(struct sip_flow *flow, struct sip_err *err)
{
  int rc = flow_open_source(flow, err);

  if (rc < 0) {
    return rc;
  }
  sip_timer_init(&flow->timer, sip_vm_clock(flow->vm));
  flow->timer.uv.data = flow;
  flow->timer_open = true;
  flow_tell(flow);
  return 0;
}

/* --- the timer --- */

static bool is_due(uint64_t *at_ms, uint64_t now)
{
  if (*at_ms == 0 || now < *at_ms) {
    return false;
  }
  *at_ms = 0;
  return true;
}

static void flow_reopen(struct sip_flow *flow)
{
  struct sip_err err = { 0 };

  if (!flow->draining && flow_open_source(flow, &err) < 0) {
    flow_on_error(flow, &err, false);
    flow->reopen_at_ms = sip_flow_now_ms(flow) + REOPEN_AFTER_MS;
  }
}

static void flow_wake_delayed(struct sip_flow *flow, uint64_t now)
{
  struct sip_list *next;

  for (struct sip_list *node = flow->delayed.next; node != &flow->delayed; node = next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, ready);

    next = node->next;
    if (event->due_ms <= now) {
      sip_list_remove(&event->ready);
      event->is_delayed = false;
      sip_list_push(&flow->runnable, &event->ready);
    }
  }
}

static void flow_on_timer(uv_timer_t *timer)
{
  struct sip_flow *flow = timer->data;
  uint64_t now = sip_flow_now_ms(flow);

  flow_wake_delayed(flow, now);
  sip_due_wake(flow, now);
  if (flow->full_since_ms != 0 && !flow->held && flow->state == SIP_SOURCE_OPEN &&
      now - flow->full_since_ms >= HOLD_AFTER_MS) {
    if (sip_flow_pause_crowding(flow)) {
      flow->full_since_ms = 0;
    } else {
      sip_flow_hold(flow, true);
    }
    flow_take(flow);
  }
  if (is_due(&flow->retry_take_at_ms, now)) {
    flow_take(flow);
  }
  if (is_due(&flow->pump_at_ms, now)) {
    sip_flow_pump(flow);
  }
  if (is_due(&flow->look_at_ms, now)) {
    sip_flow_look_at_crowding(flow);
  }
  if (is_due(&flow->commit_at_ms, now)) {
    sip_flow_commit(flow);
  }
  if (is_due(&flow->fail_at_ms, now) && flow->state == SIP_SOURCE_OPEN) {
    sip_flow_drop_waiting(flow, NULL, SIP_DROP_ALL);
    if (flow->transaction != NULL) {
      sip_flow_kill_running(flow); /* nothing of it can be committed */
    }
    flow_close(flow);
  }
  if (is_due(&flow->reopen_at_ms, now)) {
    flow_reopen(flow);
  }
  if (flow->drain_by_ms != 0 && now >= flow->drain_by_ms) {
    sip_flow_drop_waiting(flow, NULL, SIP_DROP_ALL);
    sip_flow_kill_running(flow);
  }
  sip_flow_after_event(flow);
  sip_flow_set_timer(flow);
}

static void earliest(uint64_t *at, uint64_t candidate)
{
  if (candidate != 0 && candidate < *at) {
    *at = candidate;
  }
}

void sip_flow_set_timer(struct sip_flow *flow)
{
  enum { KILL_AGAIN_MS = 100 }; /* a task that unwinds may have begun something */
  uint64_t now = sip_flow_now_ms(flow), at = UINT64_MAX;

  if (!flow->timer_open || sip_timer_is_closing(&flow->timer)) {
    return;
  }
  for (struct sip_list *node = flow->delayed.next; node != &flow->delayed; node = node->next) {
    earliest(&at, SIP_CONTAINER(node, struct sip_event, ready)->due_ms);
  }
  if (flow->full_since_ms != 0 && !flow->held) {
    earliest(&at, flow->full_since_ms + HOLD_AFTER_MS);
  }
  earliest(&at, flow->retry_take_at_ms);
  earliest(&at, flow->pump_at_ms);
  earliest(&at, flow->fail_at_ms);
  earliest(&at, flow->reopen_at_ms);
  earliest(&at, flow->leave_by_ms);
  earliest(&at, flow->commit_at_ms);
  earliest(&at, flow->look_at_ms);
  earliest(&at, sip_transaction_due_ms(flow));
  earliest(&at, sip_due_next_ms(flow));
  if (flow->drain_by_ms != 0) {
    earliest(&at, flow->drain_by_ms > now ? flow->drain_by_ms : now + KILL_AGAIN_MS);
  }
  if (at == UINT64_MAX) {
    sip_timer_stop(&flow->timer);
  } else {
    sip_timer_start(&flow->timer, flow_on_timer, at > now ? at - now : 0);
  }
}
