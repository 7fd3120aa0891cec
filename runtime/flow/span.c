/* span.c - the spans of an event that is recorded and goes the usual way: its first attempt, and
 * what that emits. Named as OpenTelemetry's semantic conventions have it (1.27). All else has spans
 * of Lua (stdlib/flow_trace.lua), which can take over this one. Loop thread only. */
#include "core/trace.h"
#include "flow/flow.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <stdio.h>
#include <string.h>

#define TEXT(key, value) "{\"key\":\"" key "\",\"value\":{\"stringValue\":\"" value "\"}}"
#define OPERATION(name)                                                                            \
  TEXT("messaging.system", "kafka")                                                                \
  "," TEXT("messaging.operation.name", name) "," TEXT("messaging.operation.type", name)

static struct sip_slice text_of(const char *text)
{
  return (struct sip_slice){ text, strlen(text) };
}

bool sip_event_begin_span(struct sip_event *event)
{
  struct sip_tracer *tracer = sip_vm_tracer(event->flow->vm);
  char id[SIP_TRACE_SPAN_BYTES];

  if (event->span != NULL) {
    return true;
  } else if (tracer->in_lua || event->trace == NULL || event->task == NULL) {
    return false;
  }
  sip_tracer_span(tracer, id);
  event->span = sip_trace_child(event->trace, id);
  if (event->span == NULL) {
    return false;
  }
  event->span_wall_ns = sip_clock_machine_ns();
  event->span_began_ns = uv_hrtime();
  sip_task_set_trace(event->task, sip_trace_ref(event->span));
  return true;
}

void sip_event_drop_span(struct sip_event *event)
{
  sip_trace_unref(event->span);
  event->span = NULL;
}

static void put_attributes(struct sip_spans *spans, const struct sip_event *event,
                           struct sip_slice id, struct sip_slice type)
{
  const struct sip_record *record = &event->record;
  char partition[16];
  int len = snprintf(partition, sizeof partition, "%d", (int)record->partition);

  sip_span_text(spans, "messaging.destination.name", text_of(record->topic));
  sip_span_text(spans, "messaging.destination.partition.id",
                (struct sip_slice){ partition, (size_t)len });
  sip_span_text(spans, "messaging.consumer.group.name", text_of(event->flow->group));
  sip_span_integer(spans, "messaging.kafka.offset", record->offset);
  if (id.data != NULL) {
    sip_span_text(spans, "messaging.message.id", id);
  }
  sip_span_integer(spans, "messaging.message.body.size", (int64_t)record->value.len);
  if (type.data != NULL) {
    sip_span_text(spans, "sipeat.event.type", type);
  }
}

void sip_event_end_span(struct sip_event *event, struct sip_slice id, struct sip_slice type)
{
  static const char attributes[] = OPERATION("process") "," TEXT("sipeat.outcome", "done");
  static const char tombstone[] = OPERATION("process") "," TEXT(
    "sipeat.outcome", "done") ",{\"key\":\"messaging.kafka.message.tombstone\",\"value\":{"
                              "\"boolValue\":true}}";
  struct sip_spans *spans = &sip_vm_tracer(event->flow->vm)->spans;
  const struct sip_trace *trace = event->trace;
  struct sip_span span = {
    .trace_id = trace->parent + SIP_TRACE_ID_AT,
    .id = event->span->parent + SIP_TRACE_SPAN_AT,
    .parent_id = trace->has_span ? trace->parent + SIP_TRACE_SPAN_AT : NULL,
    .state = { trace->state, trace->state_len },
    .verb = "process",
    .name = event->record.topic,
    .kind = SIP_SPAN_CONSUMER,
    .start_ns = event->span_wall_ns,
    .end_ns = event->span_wall_ns + (uv_hrtime() - event->span_began_ns),
  };

  sip_span_begin(spans, &span, event->record.value.data == NULL ? tombstone : attributes);
  put_attributes(spans, event, id, type);
  sip_span_integer(spans, "sipeat.attempt", 1);
  sip_span_end(spans, &span);
  if (event->task != NULL) {
    sip_task_set_trace(event->task, sip_trace_ref(event->trace));
  }
  sip_event_drop_span(event);
}

void sip_send_begin(struct sip_send *send, struct sip_tracer *tracer, const struct sip_trace *trace)
{
  memcpy(send->parent, trace->parent, sizeof send->parent);
  sip_tracer_span(tracer, send->parent + SIP_TRACE_SPAN_AT);
  send->wall_ns = sip_clock_machine_ns();
  send->began_ns = uv_hrtime();
}

void sip_send_end(const struct sip_send *send, struct sip_tracer *tracer,
                  const struct sip_trace *trace, const char *topic)
{
  struct sip_spans *spans = &tracer->spans;
  struct sip_span span = {
    .trace_id = send->parent + SIP_TRACE_ID_AT,
    .id = send->parent + SIP_TRACE_SPAN_AT,
    .parent_id = trace->has_span ? trace->parent + SIP_TRACE_SPAN_AT : NULL,
    .state = { trace->state, trace->state_len },
    .verb = "send",
    .name = topic,
    .kind = SIP_SPAN_PRODUCER,
    .start_ns = send->wall_ns,
    .end_ns = send->wall_ns + (uv_hrtime() - send->began_ns),
  };

  sip_span_begin(spans, &span, OPERATION("send"));
  sip_span_text(spans, "messaging.destination.name", text_of(topic));
  sip_span_end(spans, &span);
}
