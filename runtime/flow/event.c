/* event.c - one event: its lane, its task, its outputs, its end. Loop thread only.
 *
 * taken -> (waits in its lane) -> running -> outputs acknowledged -> terminal: the watermark may
 * pass it. On the way it may be dispatched again: because the script wants another attempt later
 * (it keeps its lane, and no task), because an output was not written, or because its task died.
 * A task that was stopped leaves the event unfinished: it is not committed and comes again. */
#include "core/log.h"
#include "core/trace.h"
#include "flow/due.h"
#include "flow/flow.h"
#include "flow/transaction.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REDELIVER_AFTER_MS = 1000 };

static struct sip_event *event_new(struct sip_engine *engine)
{
  struct sip_event *event = malloc(sizeof *event);

  if (event == NULL || sip_ticket_enter(&engine->tickets, event) < 0) {
    free(event);
    return NULL;
  }
  for (size_t i = 0; i < SIP_OUTPUT_SLOTS; i++) {
    event->slots[i].event = event;
  }
  return event;
}

void sip_event_free(struct sip_event *event)
{
  sip_ticket_leave(&event->flow->engine->tickets, event);
  free(event);
}

static struct sip_event *event_take(struct sip_flow *flow)
{
  struct sip_list *node = sip_list_shift(&flow->spare);
  struct sip_event *event =
    node == NULL ? event_new(flow->engine) : SIP_CONTAINER(node, struct sip_event, all);

  if (event == NULL) {
    return NULL;
  }
  memset(&event->member, 0, sizeof *event - offsetof(struct sip_event, member));
  event->flow = flow;
  event->kept_ref = LUA_NOREF;
  sip_list_init(&event->ready);
  sip_list_init(&event->all);
  sip_list_init(&event->member.link);
  sip_list_init(&event->mark.link);
  sip_list_init(&event->lost);
  return event;
}

static size_t record_bytes(const struct sip_record *record)
{
  return record->key.len + record->value.len;
}

/* A failure that is shown to who watches may be alone; all else that is told comes with a trouble.
 */
static bool event_had_trouble(const struct sip_event *event)
{
  return event->trouble != SIP_NO_TROUBLE || event->failure != NULL;
}

static void event_forget_trouble(struct sip_event *event)
{
  free(event->failure);
  event->failure = NULL;
  sip_event_forget_lost(event);
  free(event->why);
  event->why = NULL;
  event->trouble = SIP_NO_TROUBLE;
  event->failed_outputs = 0;
}

/* Lets the next of its lane run. */
static void event_leave_lane(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_lane_member *next = sip_lane_remove(&flow->lanes, &event->member);

  if (next != NULL) {
    sip_list_push(&flow->runnable, &SIP_CONTAINER(next, struct sip_event, member)->ready);
  }
}

/* Gives the record back; its memory is the caller's. */
static void event_leave(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;

  assert(event->task == NULL);
  sip_transaction_forget(event);
  if (flow->engine->alone == event) {
    flow->engine->alone = NULL;
  }
  event_leave_lane(event);
  if (!sip_list_empty(&event->mark.link)) {
    sip_watermark_give_up(&event->partition->mark, &event->mark);
    flow->unfinished++;
  }
  sip_due_forget(event);
  sip_list_remove(&event->ready);
  sip_list_remove(&event->all);
  flow->taken_events--;
  flow->taken_bytes -= record_bytes(&event->record);
  event->partition->bytes -= record_bytes(&event->record);
  sip_flow_ops(flow)->release(&event->record);
  event->partition->events--;
  sip_flow_partition_unref(event->partition);
  event->partition = NULL;
  if (event->kept_ref != LUA_NOREF) {
    luaL_unref(sip_vm_state(flow->vm), LUA_REGISTRYINDEX, event->kept_ref);
    event->kept_ref = LUA_NOREF;
  }
  if (event_had_trouble(event)) {
    event_forget_trouble(event);
  }
  sip_event_drop_span(event);
  sip_trace_unref(event->trace);
  event->trace = NULL;
}

static void event_put_by(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;

  event_leave(event);
  sip_list_unshift(&flow->spare, &event->all);
}

/* Calls a function of the script with what it keeps of the event, in a task of its own. */
static void event_tell(struct sip_event *event, int function_ref)
{
  struct sip_flow *flow = event->flow;

  if (function_ref != LUA_NOREF &&
      sip_task_start(flow->vm, function_ref, flow->engine->binding->push_kept, NULL, event, NULL) <
        0) {
    sip_log(SIP_LOG_ERROR, "flow", NULL,
            "%s: no memory to tell the script how an event of %s ended", flow->group,
            event->record.topic);
  }
}

/* It leaves without an end: what is kept of it may have to go on elsewhere. */
static void event_tell_drop(struct sip_event *event)
{
  if (event->kept_ref != LUA_NOREF) {
    event_tell(event, event->flow->spec.drop_ref);
  }
}

/* Its outputs are still on their way when the time to drain is up: the last report frees it. */
static void event_abandon(struct sip_event *event)
{
  event_tell_drop(event);
  event_leave(event);
  sip_ticket_leave(&event->flow->engine->tickets, event);
  event->flow = NULL;
}

void sip_event_drop(struct sip_event *event)
{
  assert(event->outputs == 0);
  event_tell_drop(event);
  event_put_by(event);
}

static void event_count(struct sip_event *event)
{
  event->flow->finished++;
  sip_latency_add(&event->flow->latency, sip_flow_now_ms(event->flow) - event->taken_ms);
  sip_event_trust(event);
  event->flow->dead += event->verdict == SIP_VERDICT_DEAD;
  if (event->notify) {
    event_tell(event, event->flow->spec.finish_ref);
  }
  event_put_by(event);
}

void sip_event_committed(struct sip_event *event)
{
  (void)sip_watermark_finish(&event->partition->mark, &event->mark); /* it went with the others */
  event_count(event);
}

static void event_terminal(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_flow_partition *partition = event->partition;

  if (sip_transaction_holds(event)) {
    return;
  }
  (void)sip_watermark_finish(&partition->mark, &event->mark);
  if (partition->phase != SIP_PARTITION_GONE) {
    sip_flow_touch(flow, partition);
  }
  event_count(event);
}

uint64_t sip_event_leaves_at_ms(const struct sip_event *event)
{
  const struct sip_flow *flow = event->flow;

  if (event->partition->phase == SIP_PARTITION_GONE ||
      (flow->transaction != NULL && flow->state != SIP_SOURCE_OPEN)) {
    return 0;
  }
  if (event->partition->phase == SIP_PARTITION_LEAVING &&
      (!flow->draining || flow->leave_by_ms < flow->drain_by_ms)) {
    return flow->leave_by_ms;
  }
  return flow->draining ? flow->drain_by_ms : UINT64_MAX;
}

/* Runs again after a while; keeps its place in the lane. */
static void event_delay(struct sip_event *event, uint64_t delay_ms)
{
  struct sip_flow *flow = event->flow;

  if (delay_ms == 0) {
    sip_list_push(&flow->runnable, &event->ready);
    return;
  }
  event->due_ms = sip_flow_now_ms(flow) + delay_ms;
  event->is_delayed = true;
  sip_list_push(&flow->delayed, &event->ready);
  sip_flow_set_timer(flow);
}

/* Whether there is time for another dispatch before the partition, or the flow, is gone. A task
 * that ended without a verdict was stopped. */
static bool event_stays_for(const struct sip_event *event, uint64_t delay_ms)
{
  uint64_t leaves_at_ms = sip_event_leaves_at_ms(event);

  return leaves_at_ms == UINT64_MAX ||
         ((event->verdict != SIP_VERDICT_NONE || event->trouble != SIP_NO_TROUBLE) &&
          sip_flow_now_ms(event->flow) + delay_ms < leaves_at_ms);
}

/* Without an outcome, and with it what waits behind it: those of its key must not overtake it. */
static void event_give_up(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_flow_partition *partition = event->partition;

  partition->events++; /* keeps it through the drop */
  event_tell_drop(event);
  event_put_by(event);
  sip_flow_drop_waiting(flow, partition, SIP_DROP_AHEAD);
  partition->events--;
  sip_flow_partition_unref(partition);
}

/* Looks at an event whose task has ended or whose output was reported. */
static void event_conclude(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  bool finished = event->verdict >= SIP_VERDICT_FINISHED;
  uint64_t delay_ms = event->verdict == SIP_VERDICT_AGAIN ? event->delay_ms : REDELIVER_AFTER_MS;

  if (event->task != NULL) {
    return;
  }
  if (event->outputs > 0) {
    sip_flow_pump(flow); /* its slot is free, and maybe its lane */
    return;
  }
  if (sip_transaction_aborts(event)) {
    /* dispatched again by the next transaction */
  } else if (finished && event->trouble == SIP_NO_TROUBLE) {
    event_terminal(event);
  } else if (!event_stays_for(event, delay_ms)) {
    event_give_up(event);
  } else {
    flow->redelivered++;
    event_delay(event, delay_ms);
  }
  sip_flow_after_event(flow);
}

void sip_event_remember(struct sip_event *event, enum sip_trouble trouble, int code,
                        const char *name, const char *message)
{
  event->trouble = trouble;
  if (event->why == NULL) {
    event->why = calloc(1, sizeof *event->why);
  }
  if (event->why != NULL) {
    (void)sip_err_named(event->why, code, name, "%s", message);
  }
}

static void event_on_crash(struct sip_event *event, const char *name, const char *text)
{
  sip_log(SIP_LOG_ERROR, "flow", NULL, "the handler of %s partition %d offset %lld died: %s",
          event->record.topic, (int)event->record.partition, (long long)event->record.offset, text);
  sip_event_remember(event, SIP_TROUBLE_CRASH, SIP_ESCRIPT, name, text);
}

static void show_text(char *out, size_t size, const char *text, size_t len)
{
  (void)snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), text == NULL ? "" : text);
}

/* Shows the attempt to who watches. */
static void event_show(struct sip_event *event, const struct sip_task *task, enum sip_attempt how,
                       uint64_t took_ns)
{
  const struct sip_record *record = &event->record;
  const char *id = sip_task_event_id(task);
  struct sip_tap_entry entry = { .took_ns = took_ns, .offset = record->offset, .how = how };
  uv_timeval64_t now = { 0 };

  (void)uv_gettimeofday(&now); /* fails only without an address */
  entry.at_ms = now.tv_sec * 1000 + now.tv_usec / 1000;
  entry.partition = record->partition;
  show_text(entry.group, sizeof entry.group, event->flow->group, SIZE_MAX);
  show_text(entry.topic, sizeof entry.topic, record->topic, SIZE_MAX);
  show_text(entry.type, sizeof entry.type, event->type->text, event->type->len);
  show_text(entry.key, sizeof entry.key, record->key.data, record->key.len);
  show_text(entry.id, sizeof entry.id, id, SIZE_MAX);
  show_text(entry.why, sizeof entry.why, event->failure, SIZE_MAX);
  sip_tap_put(event->flow->engine->tap, &entry);
}

void sip_event_note_failure(struct sip_event *event, const char *text)
{
  if (sip_tap_is_open(event->flow->engine->tap)) {
    free(event->failure);
    event->failure = strdup(text);
  }
}

/* Counts the attempt that has ended. */
static void event_measure(struct sip_event *event, const struct sip_task *task)
{
  static const enum sip_attempt by_verdict[] = {
    [SIP_VERDICT_NONE] = SIP_ATTEMPT_STOPPED,
    [SIP_VERDICT_AGAIN] = SIP_ATTEMPT_RETRIED,
    [SIP_VERDICT_FINISHED] = SIP_ATTEMPT_OK,
    [SIP_VERDICT_DEAD] = SIP_ATTEMPT_DEAD,
  };

  enum sip_attempt how = event->parked ? SIP_ATTEMPT_PARKED : by_verdict[event->verdict];
  uint64_t took_ns;

  if (event->type == NULL) {
    return;
  }
  took_ns = sip_task_ended_ns(task) - event->began_ns;
  if (sip_tap_is_open(event->flow->engine->tap)) {
    event_show(event, task, how, took_ns);
  }
  sip_meter_attempt(
    event->flow->engine->meter, event->flow->group, event->type, how, took_ns,
    event->trace != NULL && event->trace->sampled ? event->trace->parent + SIP_TRACE_ID_AT : "");
  event->type = NULL;
  event->parked = false;
}

void sip_event_note_type(struct sip_event *event, const char *text, size_t len, uint64_t began_ns)
{
  if (event->flow->engine->meter != NULL) {
    event->type = sip_meter_type_of(&event->flow->meter, text, len);
    event->began_ns = began_ns;
  }
}

/* Memory was out before its handler was called: as if it had not been tried. */
static void event_not_started(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;

  event->ticket = 0;
  event->is_opening = false;
  sip_log(SIP_LOG_ERROR, "flow", NULL, "%s: no memory to run an event of %s; trying again",
          flow->group, event->record.topic);
  event_delay(event, REDELIVER_AFTER_MS);
}

static void event_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct sip_event *event = arg;
  bool killed = sip_task_killed(task);
  char why[256];
  enum sip_over over = sip_task_close_account(task, why, sizeof why);

  event->task = NULL;
  event->flow->running--;
  sip_transaction_on_end(event);
  if (event->is_opening) {
    event_not_started(event);
    sip_flow_after_event(event->flow);
    return;
  }
  event->ticket = 0;
  if (event->box != NULL) {
    *event->box = NULL;
    event->box = NULL;
  }
  event->verdict = SIP_VERDICT_NONE;
  if (over != SIP_OVER_NOTHING && !killed) { /* whatever it answers: it may have eaten the error */
    event_on_crash(event, sip_over_code(over), why);
  } else if (status == LUA_OK) {
    event->flow->engine->binding->read_verdict(L, nresults, event);
    if (event->verdict == SIP_VERDICT_DEAD) {
      sip_flow_hold_back(event); /* before the next one of its lane has its turn */
    }
    if (event->verdict >= SIP_VERDICT_FINISHED) { /* the producer keeps the order of outputs */
      event_leave_lane(event);
    }
  } else if (!killed) {
    event_on_crash(event, "CRASH",
                   lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                  : "not enough memory to say why");
  }
  event_measure(event, task);
  event_conclude(event);
}

struct sip_event *sip_event_of(const struct sip_task *task)
{
  return sip_task_arg(task, event_on_end);
}

struct sip_output_slot *sip_event_slot(struct sip_event *event, uint64_t index)
{
  return &event->slots[index < SIP_OUTPUT_SLOTS ? index : SIP_OUTPUT_SLOTS - 1];
}

void sip_event_on_report(void *arg, int status, int32_t partition, int64_t offset,
                         const struct sip_err *err)
{
  struct sip_output_slot *slot = arg;
  struct sip_event *event = slot->event;

  (void)partition;
  (void)offset;
  assert(event->outputs > 0);
  event->outputs--;
  if (event->flow == NULL) {
    if (event->outputs == 0) {
      free(event);
    }
    return;
  }
  if (status < 0) {
    event->failed_outputs |= 1u << (slot - event->slots);
    sip_event_keep_lost(event, (unsigned)(slot - event->slots));
    if (event->trouble == SIP_NO_TROUBLE) {
      sip_event_remember(event, SIP_TROUBLE_OUTPUT, status,
                         err == NULL ? sip_err_name(status) : err->name,
                         err == NULL ? "an output was not written" : err->message);
    }
  }
  sip_engine_on_room(event->flow->engine);
  event_conclude(event);
}

static struct sip_place event_place(const struct sip_event *event)
{
  const struct sip_flow_partition *partition = event->partition;

  return (struct sip_place){ event->flow->group, partition->topic, partition->partition,
                             partition->slot, event->record.offset };
}

/* Those of a key that is held back are not handled: the script is told why. */
static bool event_is_held(struct sip_event *event)
{
  int64_t after = sip_flow_held_after(event);
  char text[80];

  if (after >= 0) {
    (void)snprintf(text, sizeof text, "held back after offset %lld of its key", (long long)after);
    sip_event_remember(event, SIP_TROUBLE_HELD, SIP_EBUSY, "HELD_BACK", text);
    event->held_after = after;
  }
  return after >= 0;
}

/* The last header of a name counts. */
static void event_begin_trace(struct sip_event *event, struct sip_tracer *tracer)
{
  const struct sip_source_ops *ops = sip_flow_ops(event->flow);
  size_t count = ops->header_count(&event->record);
  struct sip_slice parent = { NULL, 0 }, state = { NULL, 0 };

  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(&event->record, i);

    if (header.name[0] != 't') {
      continue; /* most are others' */
    }
    if (strcmp(header.name, "traceparent") == 0) {
      parent = header.value;
    } else if (strcmp(header.name, "tracestate") == 0) {
      state = header.value;
    }
  }
  event->trace = sip_tracer_begin(tracer, &parent, &state, false);
}

void sip_event_opened(struct sip_event *event)
{
  event->is_opening = false;
  event->started_ms = sip_flow_now_ms(event->flow);
}

static int event_start_task(struct sip_event *event, bool first)
{
  const struct sip_flow *flow = event->flow;

  event->is_opening = first;
  if (event->is_opening) {
    const struct sip_task_own own = { .function_ref = flow->spec.start_ref,
                                      .value_ref = flow->spec.context_ref,
                                      .number = (lua_Integer)event->ticket,
                                      .timed = flow->engine->meter != NULL };

    return sip_task_start_own(flow->vm, &own, event_on_end, event, &event->task);
  }
  return sip_task_start(flow->vm, flow->spec.dispatch_ref, flow->engine->binding->push_event,
                        event_on_end, event, &event->task);
}

void sip_event_start(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  bool held = event->partition->holds.count > 0 && event->started_ms == 0 && event_is_held(event);
  bool first = !held && event->kept_ref == LUA_NOREF && event->trouble == SIP_NO_TROUBLE &&
               flow->spec.start_ref != LUA_NOREF;
  struct sip_place place = event_place(event);
  struct sip_tracer *tracer = sip_vm_tracer(flow->vm);
  int rc;

  if (tracer->on && event->started_ms == 0 && event->trace == NULL) {
    event_begin_trace(event, tracer);
  }
  sip_ticket_give(&flow->engine->tickets, event);
  rc = event_start_task(event, first);
  if (rc < 0) {
    event_not_started(event);
    return;
  }
  (void)sip_task_open_account(event->task, &flow->spec.limits, &place); /* else: the worker's */
  if (event->record.offset > event->partition->started) {
    event->partition->started = event->record.offset;
  }
  if (event->trace != NULL) {
    sip_task_set_trace(event->task, sip_trace_ref(event->trace));
  }
  if (!event->is_opening) {
    sip_event_opened(event);
  }
  if (event_had_trouble(event)) {
    event_forget_trouble(event); /* push_event has told it */
  }
  flow->running++;
}

void sip_flow_pump(struct sip_flow *flow)
{
  struct sip_list *node;

  if (!sip_transaction_pumps(flow)) {
    return;
  }
  while (flow->running < flow->spec.concurrency &&
         (node = flow->runnable.next) != &flow->runnable) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, ready);

    if ((flow->engine->alone != NULL || event->deaths > 0) && sip_event_has_to_wait(event)) {
      return;
    }
    sip_list_remove(node);
    if (sip_transaction_admits(event)) {
      sip_event_start(event);
    }
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

/* --- taking --- */

static struct sip_slice header_key(const struct sip_flow *flow, const struct sip_record *record)
{
  const struct sip_source_ops *ops = sip_flow_ops(flow);

  for (size_t i = ops->header_count(record); i > 0; i--) { /* the last one counts */
    struct sip_header header = ops->header(record, i - 1);

    if (strcmp(header.name, flow->spec.key_header) == 0) {
      return header.value.data == NULL ? record->key : header.value;
    }
  }
  return record->key;
}

/* @return 1: may run now; 0: waits for its turn; UV_ENOMEM */
static int event_enter_lane(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_slice key = event->record.key;
  bool from_script = false;
  int rc = 1;

  if (flow->spec.order == SIP_ORDER_NONE) {
    return 1;
  }
  if (flow->spec.order == SIP_ORDER_PARTITION) {
    key = (struct sip_slice){ "", 0 };
  } else if (flow->spec.key_header != NULL) {
    key = header_key(flow, &event->record);
  } else if (flow->spec.keyer_ref != LUA_NOREF && event->trouble == SIP_NO_TROUBLE) {
    struct sip_place place = event_place(event);

    sip_vm_set_place(flow->vm, &place);
    from_script = flow->engine->binding->key_of(flow, event, &key);
    sip_vm_set_place(flow->vm, NULL);
  }
  if (key.data != NULL) { /* without a key there is no order */
    rc = sip_lane_push(&flow->lanes, event->partition->log, &key, &event->member);
  }
  if (from_script) {
    lua_pop(sip_vm_state(flow->vm), 1);
  }
  return rc;
}

/* In one batch, whose records are all there, the same address is the same name. */
static struct sip_flow_partition *partition_of(struct sip_flow *flow,
                                               const struct sip_record *record)
{
  struct sip_flow_partition *partition = flow->last;

  if (partition == NULL || partition->partition != record->partition ||
      flow->last_topic != record->topic) {
    partition = sip_flow_partition_of(flow, record->topic, record->partition);
    flow->last_topic = record->topic;
  }
  return partition;
}

static void release_copy(const struct sip_flow *flow, const struct sip_record *record)
{
  struct sip_record copy = *record;

  sip_flow_ops(flow)->release(&copy);
}

int sip_flow_accept(struct sip_flow *flow, const struct sip_record *record)
{
  struct sip_flow_partition *partition = partition_of(flow, record);
  struct sip_event *event;
  int rc;

  if (partition == NULL || flow->draining) {
    release_copy(flow, record);
    return 0;
  }
  if (partition->mark.before.count > 0 &&
      sip_ranges_have(&partition->mark.before, record->offset)) {
    flow->skipped++;
    (void)sip_watermark_skip(&partition->mark, record->offset);
    sip_flow_touch(flow, partition);
    release_copy(flow, record);
    return 0;
  }
  if (record->offset < partition->mark.after && sip_flow_is_rewound(flow, partition)) {
    flow->skipped++;
    release_copy(flow, record);
    return 0;
  }
  event = event_take(flow);
  if (event == NULL) {
    return UV_ENOMEM;
  }
  event->record = *record;
  event->partition = partition;
  event->taken_ms = sip_flow_now_ms(flow);
  sip_event_suspect(event);
  rc = event_enter_lane(event);
  if (rc < 0) {
    event_forget_trouble(event);
    luaL_unref(sip_vm_state(flow->vm), LUA_REGISTRYINDEX, event->kept_ref);
    sip_list_unshift(&flow->spare, &event->all);
    return rc;
  }
  sip_watermark_take(&partition->mark, &event->mark, record->offset);
  partition->events++;
  sip_meter_record(&partition->meter, record_bytes(record));
  flow->taken++;
  flow->taken_events++;
  flow->taken_bytes += record_bytes(record);
  partition->bytes += record_bytes(record);
  flow->mean_bytes = (flow->mean_bytes * 7 + record_bytes(record)) / 8;
  sip_list_push(&flow->events, &event->all);
  if (rc == 1 && !sip_due_hold(event)) {
    sip_list_push(&flow->runnable, &event->ready);
  }
  return 0;
}
