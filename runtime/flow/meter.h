#ifndef SIP_FLOW_METER_H
#define SIP_FLOW_METER_H
/* meter.h - what the flows of a worker count: how long handlers took, by flow and type of event,
 * and what each partition brought. Every event goes through here, so what it needs is found with
 * one comparison. Loop thread. */
#include "core/metrics.h"

struct sip_meter;

/* How an attempt ended. */
enum sip_attempt {
  SIP_ATTEMPT_OK,
  SIP_ATTEMPT_RETRIED, /* another one follows */
  SIP_ATTEMPT_DEAD,
  SIP_ATTEMPT_PARKED,
  SIP_ATTEMPT_STOPPED, /* it has no outcome, or its task died */
  SIP_ATTEMPTS
};

/** "ok", "retried", "dead", "parked" or "stopped". */
const char *sip_attempt_name(enum sip_attempt how);

/* A type of event in a flow. */
struct sip_meter_type {
  struct sip_meter_type *next;
  struct sip_series *series[SIP_ATTEMPTS]; /* borrowed; NULL: none of those yet */
  size_t len;
  char text[];
};

/* Of one flow; all zero to begin with. */
struct sip_meter_flow {
  struct sip_meter_type *types, *last; /* owned; the one that came last */
  size_t count;
};

/* Of one partition. */
struct sip_meter_partition {
  struct sip_series *records, *bytes; /* kept; NULL: not counted */
};

/** @return 0 or a negative code */
int sip_meter_new(struct sip_meter **out, struct sip_metrics_shard *shard, struct sip_err *err);
void sip_meter_free(struct sip_meter *meter); /* NULL is fine */

/** The type of that name; what is beyond the limit is one type, "other". NULL: no memory. */
struct sip_meter_type *sip_meter_type_of(struct sip_meter_flow *flow, const char *text, size_t len);
void sip_meter_flow_deinit(struct sip_meter_flow *flow);

/** An attempt has ended. @param trace_id  its digits, whatever follows; "": it is not recorded */
void sip_meter_attempt(struct sip_meter *meter, const char *group, struct sip_meter_type *type,
                       enum sip_attempt how, uint64_t took_ns, const char *trace_id);

/** A partition came, or has gone. */
void sip_meter_come(struct sip_meter *meter, struct sip_meter_partition *partition,
                    const char *group, const char *topic, int32_t number);
void sip_meter_go(struct sip_meter_partition *partition);

static inline void sip_meter_record(struct sip_meter_partition *partition, size_t bytes)
{
  if (partition->records != NULL) {
    sip_series_add(partition->records, 1);
    sip_series_add(partition->bytes, (double)bytes);
  }
}

#endif
