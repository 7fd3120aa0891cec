#ifndef SIP_CORE_TRACE_H
#define SIP_CORE_TRACE_H
/* trace.h - W3C trace context: which trace work belongs to, and which new traces are recorded.
 *
 * A context is immutable and counted; it and the tracer belong to one loop thread. It keeps its
 * text as `traceparent` has it (W3C Trace Context, 3.2), since that is what it is read from and
 * written to. A trace that begins here has no span yet: the span id of its context is all zero. */
#include "core/base.h"
#include "core/spans.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_random;

enum {
  SIP_TRACE_BYTES = 55,      /* of a traceparent of version 00 */
  SIP_TRACE_ID_AT = 3,       /* where the trace id begins */
  SIP_TRACE_ID_BYTES = 32,   /* hex digits */
  SIP_TRACE_SPAN_AT = 36,    /* where the span id begins */
  SIP_TRACE_SPAN_BYTES = 16, /* hex digits */
  SIP_TRACE_STATE_BYTES = 512
};

struct sip_trace {
  unsigned refs;
  bool sampled;
  bool has_span; /* its span id is not all zero */
  uint16_t state_len;
  char parent[SIP_TRACE_BYTES + 1]; /* ends in a NUL */
  char state[];                     /* tracestate; ends in a NUL */
};

/* What is recorded: `below` of 2^63 trace ids. */
struct sip_tracer {
  bool on;
  bool parent_based; /* what came with a context does as that says */
  uint64_t below;
  uint64_t high, low; /* states of the two generators of ids */
  bool in_lua;        /* whoever takes spans wants those of events as Lua has them, too */
  struct sip_spans spans;
};

/** Whether it is a traceparent that can be used: lower-case hex, ids not all zero. */
bool sip_trace_is_parent(const char *text, size_t len);

/** Whether it is a tracestate: at most 32 members and 512 bytes. */
bool sip_trace_is_state(const char *text, size_t len);

/** A context with one reference. A state that is none is left out. @return NULL for want of memory,
 *  or when `parent` is no traceparent */
struct sip_trace *sip_trace_new(const struct sip_slice *parent, const struct sip_slice *state,
                                bool sampled);

/** The same trace and state with that span. */
struct sip_trace *sip_trace_child(const struct sip_trace *trace,
                                  const char span[SIP_TRACE_SPAN_BYTES]);

/** NULL is fine for both. */
struct sip_trace *sip_trace_ref(struct sip_trace *trace);
void sip_trace_unref(struct sip_trace *trace);

/** Switches it on. `ratio` of new traces, from 0 to 1, are recorded. @return 0 or a libuv code */
int sip_tracer_start(struct sip_tracer *tracer, struct sip_random *random, double ratio,
                     bool parent_based);

/** The context in which work goes on that came with these (NULL or malformed: with none): theirs,
 *  or a new trace. A new one that is not recorded is only made with `keep`: so that what follows
 *  from the work knows. @return NULL without a trace, or for want of memory */
struct sip_trace *sip_tracer_begin(struct sip_tracer *tracer, const struct sip_slice *parent,
                                   const struct sip_slice *state, bool keep);

/** A span id: 16 hex digits, without a NUL. */
void sip_tracer_span(struct sip_tracer *tracer, char out[SIP_TRACE_SPAN_BYTES]);

#endif
