/* engine.c - the set of flows: registering, replacing, draining. Loop thread only. */
#include "flow/engine.h"

#include "core/log.h"
#include "flow/flow.h"
#include "flow/transaction.h"
#include "vm/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

int sip_engine_new(struct sip_engine **out, struct sip_vm *vm, struct sip_err *err)
{
  struct sip_engine *engine = calloc(1, sizeof *engine);

  if (engine != NULL) {
    engine->notifier = calloc(1, sizeof *engine->notifier); /* now: a drain must not fail */
  }
  if (engine == NULL || engine->notifier == NULL) {
    free(engine);
    return sip_err_set(err, UV_ENOMEM, "no memory for the flow engine");
  }
  engine->vm = vm;
  sip_list_init(&engine->flows);
  sip_list_init(&engine->pending);
  sip_list_init(&engine->room_waiters);
  sip_tickets_init(&engine->tickets);
  *out = engine;
  return 0;
}

void sip_engine_free(struct sip_engine *engine)
{
  if (engine == NULL) {
    return;
  }
  sip_engine_rollback(engine);
  assert(sip_list_empty(&engine->flows) && !engine->notifier_open);
  sip_tickets_deinit(&engine->tickets);
  sip_meter_free(engine->meter);
  free(engine->notifier);
  free(engine);
}

void sip_engine_set_port(struct sip_engine *engine, const struct sip_port *port)
{
  engine->port = port;
}

void sip_engine_set_deaths(struct sip_engine *engine, struct sip_deaths *deaths)
{
  engine->deaths = deaths;
}

int sip_engine_set_metrics(struct sip_engine *engine, struct sip_metrics_shard *shard,
                           struct sip_err *err)
{
  return sip_meter_new(&engine->meter, shard, err);
}

void sip_engine_set_tap(struct sip_engine *engine, struct sip_tap *tap)
{
  engine->tap = tap;
}

static struct sip_flow *find_same(struct sip_list *list, const struct sip_flow *flow)
{
  for (struct sip_list *node = list->next; node != list; node = node->next) {
    struct sip_flow *other = SIP_CONTAINER(node, struct sip_flow, link);

    if (sip_flow_same(other, flow) && !other->draining) {
      return other;
    }
  }
  return NULL;
}

void sip_engine_begin(struct sip_engine *engine)
{
  sip_engine_rollback(engine);
  engine->loading = true;
}

int sip_engine_register(struct sip_engine *engine, const struct sip_flow_spec *spec,
                        struct sip_err *err)
{
  struct sip_flow *flow = NULL;
  int rc;

  if (!engine->loading) {
    return sip_err_set(err, SIP_ECONFIG,
                       "flow %s: flows are declared while the script loads, not later",
                       spec->source.group);
  }
  rc = sip_flow_new(&flow, engine, spec, err);
  if (rc < 0) {
    return rc;
  }
  if (find_same(&engine->pending, flow) != NULL) {
    sip_flow_release(flow);
    return sip_err_set(err, SIP_EEXISTS,
                       "flow %s: a flow of this group and these topics is there already (put its "
                       "handlers into one `on`, or give it a group of its own)",
                       spec->source.group);
  }
  sip_list_push(&engine->pending, &flow->link);
  return 0;
}

size_t sip_engine_pending(const struct sip_engine *engine)
{
  size_t count = 0;

  for (struct sip_list *node = engine->pending.next; node != &engine->pending; node = node->next) {
    count++;
  }
  return count;
}

void sip_engine_rollback(struct sip_engine *engine)
{
  struct sip_list *node;

  engine->loading = false;
  while ((node = sip_list_shift(&engine->pending)) != NULL) {
    sip_flow_free(SIP_CONTAINER(node, struct sip_flow, link));
  }
}

/* Opens every pending flow that has no older twin, and moves them to the end of `flows`. */
static int engine_open_new(struct sip_engine *engine, struct sip_list *opened, struct sip_err *err)
{
  struct sip_list *next;

  for (struct sip_list *node = engine->pending.next; node != &engine->pending; node = next) {
    struct sip_flow *flow = SIP_CONTAINER(node, struct sip_flow, link);
    int rc;

    next = node->next;
    if (find_same(&engine->flows, flow) != NULL) {
      continue;
    }
    rc = engine->port == NULL
           ? sip_err_set(err, SIP_ECONFIG, "flow %s: there is no broker to take events from",
                         flow->group)
           : sip_flow_open(flow, err);
    if (rc < 0) {
      return rc;
    }
    sip_list_remove(node);
    sip_list_push(opened, node);
  }
  return 0;
}

static void engine_drain_all(struct sip_list *flows, uint64_t limit_ms)
{
  struct sip_list *next;

  for (struct sip_list *node = flows->next; node != flows; node = next) {
    next = node->next;
    sip_flow_drain(SIP_CONTAINER(node, struct sip_flow, link), limit_ms);
  }
}

int sip_engine_commit(struct sip_engine *engine, struct sip_err *err)
{
  enum { GONE_WITHIN_MS = 10000 };
  struct sip_list opened, *next;
  int rc;

  sip_list_init(&opened);
  rc = engine->ending ? sip_err_set(err, UV_ECANCELED, "the program ends: no flow is opened")
                      : engine_open_new(engine, &opened, err);
  if (rc < 0) {
    engine_drain_all(&opened, 0); /* nothing was taken yet */
    sip_list_move(&engine->flows, &opened);
    sip_engine_rollback(engine);
    return rc;
  }
  for (struct sip_list *node = engine->flows.next; node != &engine->flows; node = next) {
    struct sip_flow *flow = SIP_CONTAINER(node, struct sip_flow, link);
    struct sip_flow *newer = flow->draining ? NULL : find_same(&engine->pending, flow);

    next = node->next;
    if (newer != NULL) {
      sip_flow_replace(flow, newer);
      sip_flow_free(newer);
    } else if (!flow->draining) {
      sip_log(SIP_LOG_INFO, "flow", NULL, "%s is no longer in the script: finishing it",
              flow->group);
      sip_flow_drain(flow, GONE_WITHIN_MS);
    }
  }
  sip_list_move(&engine->flows, &opened);
  engine->loading = false;
  return 0;
}

/* --- draining --- */

static void notifier_on_close(uv_handle_t *handle)
{
  struct sip_engine *engine = handle->data;

  engine->notifier_open = false;
  engine->draining = false;
  engine->on_drained(engine->drained_arg); /* may free the engine */
}

static void notifier_on_idle(uv_idle_t *idle)
{
  if (!uv_is_closing((uv_handle_t *)idle)) {
    uv_close((uv_handle_t *)idle, notifier_on_close);
  }
}

static void engine_look_at_drain(struct sip_engine *engine)
{
  if (engine->draining && sip_list_empty(&engine->flows)) {
    (void)uv_idle_start(engine->notifier, notifier_on_idle); /* fails only without a callback */
  }
}

void sip_engine_on_flow_closed(struct sip_flow *flow)
{
  struct sip_engine *engine = flow->engine;

  sip_flow_free(flow);
  engine_look_at_drain(engine);
}

void sip_engine_drain(struct sip_engine *engine, uint64_t limit_ms, void (*on_done)(void *arg),
                      void *arg)
{
  if (!engine->draining) {
    (void)uv_idle_init(sip_vm_loop(sip_vm_state(engine->vm)), engine->notifier); /* always 0 */
    engine->notifier->data = engine;
    engine->notifier_open = true;
    engine->draining = true;
    engine->on_drained = on_done;
    engine->drained_arg = arg;
  }
  engine->ending = true;
  engine_drain_all(&engine->flows, limit_ms);
  engine_look_at_drain(engine);
}

void sip_engine_on_room(struct sip_engine *engine)
{
  if (!sip_list_empty(&engine->room_waiters)) {
    engine->binding->wake_room(&engine->room_waiters);
  }
}

/* --- looking --- */

size_t sip_engine_status(const struct sip_engine *engine, struct sip_flow_status *out, size_t max)
{
  size_t count = 0;

  for (struct sip_list *node = engine->flows.next; node != &engine->flows;
       node = node->next, count++) {
    const struct sip_flow *flow = SIP_CONTAINER(node, struct sip_flow, link);

    if (count < max) {
      out[count] = (struct sip_flow_status){
        .group = flow->group,
        .topic = flow->topics[0],
        .assigned = flow->assigned,
        .draining = flow->draining,
        .outbox = flow->spec.outbox,
        .partitions = flow->partition_count,
        .running = flow->running,
        .waiting = flow->taken_events - flow->running,
        .later = flow->later_events,
        .bytes = flow->taken_bytes - flow->later_bytes,
        .taken = flow->taken,
        .finished = flow->finished,
        .dead = flow->dead,
        .unfinished = flow->unfinished,
        .redelivered = flow->redelivered,
        .skipped = flow->skipped,
        .latency = flow->latency,
      };
      sip_transaction_count(flow, &out[count].committed, &out[count].aborted);
      memcpy(out[count].error, flow->error, sizeof out[count].error);
    }
  }
  return count;
}

bool sip_engine_ready(const struct sip_engine *engine)
{
  for (struct sip_list *node = engine->flows.next; node != &engine->flows; node = node->next) {
    const struct sip_flow *flow = SIP_CONTAINER(node, struct sip_flow, link);

    if (!flow->assigned && !flow->draining) { /* one that is gone from the script may drain */
      return false;
    }
  }
  return !engine->draining;
}
