#ifndef SIP_CORE_SPANS_H
#define SIP_CORE_SPANS_H
/* spans.h - spans of a worker that wait for whoever sends them, each as OTLP has it in JSON
 * (opentelemetry-proto, trace.proto and docs/specification.md): ids are hex, enums numbers, 64-bit
 * integers texts. Bounded: what finds no room is counted. One loop thread. */
#include "core/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  SIP_SPANS = 512,            /* that wait at most */
  SIP_SPANS_MANY = 64,        /* so many are worth being fetched */
  SIP_SPANS_BYTES = 8 << 20,  /* of all of them */
  SIP_SPAN_TEXT_BYTES = 4096, /* of one attribute; longer ones are cut */
  SIP_SPAN_PRODUCER = 4,      /* SpanKind */
  SIP_SPAN_CONSUMER = 5
};

struct sip_spans {
  bool wanted;         /* somebody fetches them; else they are thrown away */
  bool idle;           /* who fetches them has nothing: the first one is worth it */
  struct sip_buf text; /* one behind the other */
  size_t ends[SIP_SPANS];
  size_t count;
  uint64_t first_ns; /* when the first of them ended */
  uint64_t dropped;  /* since they were fetched */
  int rc;            /* of the span that is being written */
};

/** What every span has. Ids are hex digits without a NUL. */
struct sip_span {
  const char *trace_id, *id, *parent_id; /* no parent: NULL */
  struct sip_slice state;                /* tracestate, or nothing */
  const char *verb, *name;               /* it is called "verb name" */
  int kind;
  uint64_t start_ns, end_ns; /* since 1970 */
};

void sip_spans_deinit(struct sip_spans *spans);

/** Begins a span whose attributes follow; `attributes` are the first of them, as JSON. */
void sip_span_begin(struct sip_spans *spans, const struct sip_span *span, const char *attributes);

/** An attribute; `key` needs no escapes. A text that is not UTF-8 gets U+FFFD in place of what is
 * not. */
void sip_span_text(struct sip_spans *spans, const char *key, struct sip_slice text);
void sip_span_integer(struct sip_spans *spans, const char *key, int64_t value);

/** Ends it: it waits now, or is counted as dropped. */
void sip_span_end(struct sip_spans *spans, const struct sip_span *span);

/** For a span that is appended to `text` as a whole. room: is there any? keep: it is whole, or,
 * with an error, taken away again. */
bool sip_spans_room(struct sip_spans *spans);
int sip_spans_keep(struct sip_spans *spans, int rc, uint64_t end_ns);

/** Whether who fetches them should be told. */
bool sip_spans_due(const struct sip_spans *spans, uint64_t now_ns);

/** The text of one that waits. */
struct sip_slice sip_spans_at(const struct sip_spans *spans, size_t index);

/** They were fetched. */
void sip_spans_clear(struct sip_spans *spans);

#endif
