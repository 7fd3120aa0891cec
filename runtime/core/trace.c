/* trace.c - trace contexts and the choice of what is recorded. One loop thread. */
#include "core/trace.h"

#include "core/random.h"

#include <stdlib.h>
#include <string.h>

enum { STATE_MEMBERS = 32, FLAGS_AT = 53, WORD_BYTES = 16 };

static int hex_value(char c)
{
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_hex(const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    if (hex_value(text[i]) < 0) {
      return false;
    }
  }
  return true;
}

static bool is_zero(const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    if (text[i] != '0') {
      return false;
    }
  }
  return true;
}

static uint64_t word_of(const char *text)
{
  uint64_t word = 0;

  for (size_t i = 0; i < WORD_BYTES; i++) {
    word = word << 4 | (uint64_t)hex_value(text[i]);
  }
  return word;
}

static void write_word(char *out, uint64_t word)
{
  for (size_t i = WORD_BYTES; i > 0; i--) {
    out[i - 1] = "0123456789abcdef"[word & 15];
    word >>= 4;
  }
}

/* Later versions may say more behind a dash (W3C Trace Context, 4.3). */
bool sip_trace_is_parent(const char *text, size_t len)
{
  if (text == NULL || len < SIP_TRACE_BYTES || text[2] != '-' || text[35] != '-' ||
      text[52] != '-' || !is_hex(text, 2) || memcmp(text, "ff", 2) == 0 ||
      !is_hex(text + SIP_TRACE_ID_AT, SIP_TRACE_ID_BYTES) ||
      !is_hex(text + SIP_TRACE_SPAN_AT, SIP_TRACE_SPAN_BYTES) || !is_hex(text + FLAGS_AT, 2)) {
    return false;
  }
  if (len > SIP_TRACE_BYTES && (memcmp(text, "00", 2) == 0 || text[SIP_TRACE_BYTES] != '-')) {
    return false;
  }
  return !is_zero(text + SIP_TRACE_ID_AT, SIP_TRACE_ID_BYTES) &&
         !is_zero(text + SIP_TRACE_SPAN_AT, SIP_TRACE_SPAN_BYTES);
}

/* Members are key=value, with commas between them; what is in them is others' business. */
bool sip_trace_is_state(const char *text, size_t len)
{
  size_t members = 1, equals = 0;

  if (text == NULL || len == 0 || len > SIP_TRACE_STATE_BYTES) {
    return false;
  }
  for (size_t i = 0; i < len; i++) {
    if ((text[i] < ' ' || text[i] > '~') && text[i] != '\t') {
      return false;
    }
    members += text[i] == ',';
    equals += text[i] == '=';
  }
  return members <= STATE_MEMBERS && equals > 0;
}

static struct sip_trace *trace_alloc(const char *state, size_t len)
{
  struct sip_trace *trace = malloc(sizeof *trace + len + 1);

  if (trace == NULL) {
    return NULL;
  }
  *trace = (struct sip_trace){ .refs = 1, .state_len = (uint16_t)len };
  if (len > 0) {
    memcpy(trace->state, state, len);
  }
  trace->state[len] = '\0';
  return trace;
}

struct sip_trace *sip_trace_new(const struct sip_slice *parent, const struct sip_slice *state,
                                bool sampled)
{
  bool has_state = state != NULL && sip_trace_is_state(state->data, state->len);
  struct sip_trace *trace;

  if (parent == NULL || !sip_trace_is_parent(parent->data, parent->len)) {
    return NULL;
  }
  trace = trace_alloc(has_state ? state->data : NULL, has_state ? state->len : 0);
  if (trace != NULL) {
    memcpy(trace->parent, parent->data, FLAGS_AT);
    memcpy(trace->parent, "00", 2);
    memcpy(trace->parent + FLAGS_AT, sampled ? "01" : "00", 3);
    trace->sampled = sampled;
    trace->has_span = true;
  }
  return trace;
}

struct sip_trace *sip_trace_child(const struct sip_trace *trace,
                                  const char span[SIP_TRACE_SPAN_BYTES])
{
  struct sip_trace *child = trace_alloc(trace->state, trace->state_len);

  if (child != NULL) {
    memcpy(child->parent, trace->parent, sizeof child->parent);
    memcpy(child->parent + SIP_TRACE_SPAN_AT, span, SIP_TRACE_SPAN_BYTES);
    child->sampled = trace->sampled;
    child->has_span = true;
  }
  return child;
}

struct sip_trace *sip_trace_ref(struct sip_trace *trace)
{
  if (trace != NULL) {
    trace->refs++;
  }
  return trace;
}

void sip_trace_unref(struct sip_trace *trace)
{
  if (trace != NULL && --trace->refs == 0) {
    free(trace);
  }
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t next_word(uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15u;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int sip_tracer_start(struct sip_tracer *tracer, struct sip_random *random, double ratio,
                     bool parent_based)
{
  uint64_t seeds[2];
  int rc = sip_random_bytes(random, seeds, sizeof seeds);

  if (rc < 0) {
    return rc;
  }
  tracer->high = seeds[0];
  tracer->low = seeds[1];
  tracer->parent_based = parent_based;
  tracer->below = ratio >= 1 ? UINT64_MAX : ratio <= 0 ? 0 : (uint64_t)(ratio * 0x1p63);
  tracer->on = true;
  return 0;
}

void sip_tracer_span(struct sip_tracer *tracer, char out[SIP_TRACE_SPAN_BYTES])
{
  uint64_t word = next_word(&tracer->high);

  write_word(out, word == 0 ? 1 : word);
}

/* By the last bytes of the trace id, so that every service that is told the same ratio chooses the
 * same traces. */
static bool is_chosen(const struct sip_tracer *tracer, uint64_t low)
{
  return low >> 1 < tracer->below;
}

/* One that is not recorded has no spans here: its context names one that nobody will see. */
static struct sip_trace *begin_root(struct sip_tracer *tracer, bool keep)
{
  uint64_t low = next_word(&tracer->low);
  bool chosen = is_chosen(tracer, low) && low != 0;
  struct sip_trace *trace = chosen || (keep && low != 0) ? trace_alloc(NULL, 0) : NULL;

  if (trace == NULL) {
    return NULL;
  }
  memcpy(trace->parent, "00-00000000000000000000000000000000-0000000000000000-01",
         sizeof trace->parent);
  write_word(trace->parent + SIP_TRACE_ID_AT, next_word(&tracer->high));
  write_word(trace->parent + SIP_TRACE_ID_AT + WORD_BYTES, low);
  trace->sampled = chosen;
  if (!chosen) {
    sip_tracer_span(tracer, trace->parent + SIP_TRACE_SPAN_AT);
    trace->parent[FLAGS_AT + 1] = '0';
    trace->has_span = true;
  }
  return trace;
}

struct sip_trace *sip_tracer_begin(struct sip_tracer *tracer, const struct sip_slice *parent,
                                   const struct sip_slice *state, bool keep)
{
  bool sampled;

  if (parent == NULL || !sip_trace_is_parent(parent->data, parent->len)) {
    return begin_root(tracer, keep);
  }
  sampled = tracer->parent_based
              ? (hex_value(parent->data[FLAGS_AT + 1]) & 1) != 0
              : is_chosen(tracer, word_of(parent->data + SIP_TRACE_ID_AT + WORD_BYTES));
  return sip_trace_new(parent, state, sampled);
}
