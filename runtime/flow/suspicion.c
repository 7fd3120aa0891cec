/* suspicion.c - what is done with an event that ran when a process died. Loop thread only.
 *
 * One with too many deaths gets a dead letter instead of another run. Any other runs alone: nothing
 * of this worker begins beside it, for ALONE_MS at most, so that the next death tells who it was.
 * One that comes to its end is forgotten. */
#include "core/log.h"
#include "flow/deaths.h"
#include "flow/flow.h"

enum { ALONE_MS = 10000, LOOK_AGAIN_MS = 10 };

void sip_event_suspect(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_flow_partition *partition = event->partition;
  struct sip_deaths *deaths = flow->engine->deaths;
  char text[128];

  if (deaths == NULL) {
    return;
  }
  if (partition->deaths == NULL) {
    partition->deaths = deaths;
    partition->slot = sip_deaths_slot(deaths, flow->group, partition->topic, partition->partition);
    partition->suspicious = sip_deaths_any(deaths, partition->slot);
  }
  if (!partition->suspicious) {
    return;
  }
  event->deaths = sip_deaths_of(deaths, partition->slot, event->record.offset);
  if (flow->spec.deaths != 0 && event->deaths >= flow->spec.deaths) {
    (void)snprintf(text, sizeof text, "the process died %u times while this event ran",
                   event->deaths);
    sip_event_remember(event, SIP_TROUBLE_CRASH, SIP_ESCRIPT, "CRASHED", text);
  }
}

static size_t engine_running(const struct sip_engine *engine)
{
  size_t running = 0;

  for (struct sip_list *node = engine->flows.next; node != &engine->flows; node = node->next) {
    running += SIP_CONTAINER(node, struct sip_flow, link)->running;
  }
  return running;
}

static bool is_to_be_watched(const struct sip_event *event)
{
  return event->deaths > 0 && event->trouble == SIP_NO_TROUBLE && !event->was_alone;
}

bool sip_event_has_to_wait(struct sip_event *event)
{
  struct sip_flow *flow = event->flow;
  struct sip_engine *engine = flow->engine;
  uint64_t now = sip_flow_now_ms(flow);

  if (engine->alone != NULL && now >= engine->alone_until_ms) {
    engine->alone = NULL; /* long enough */
  }
  if (engine->alone == NULL && !is_to_be_watched(event)) {
    return false;
  }
  if (engine->alone == NULL) {
    engine->alone = event;
    engine->alone_until_ms = now + ALONE_MS;
    event->was_alone = true;
    sip_log(SIP_LOG_WARN, "deaths", NULL,
            "%s partition %d offset %lld runs alone: a process died while it ran, %u so far",
            event->record.topic, (int)event->record.partition, (long long)event->record.offset,
            event->deaths);
  }
  if (engine->alone == event && engine_running(engine) == 0) {
    return false;
  }
  flow->pump_at_ms = now + LOOK_AGAIN_MS;
  sip_flow_set_timer(flow);
  return true;
}

void sip_event_trust(struct sip_event *event)
{
  if (event->deaths > 0) {
    sip_deaths_clear(event->partition->deaths, event->partition->slot, event->record.offset);
  }
}
