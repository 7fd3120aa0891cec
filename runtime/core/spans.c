/* spans.c - spans that wait to be sent: see spans.h. */
#include "core/spans.h"

#include "core/err.h"
#include "core/json_text.h"
#include "core/trace.h"
#include "core/utf8.h"

#include <string.h>

enum { STALE_NS = 1000000000, MANY_BYTES = 256 << 10 };

void sip_spans_deinit(struct sip_spans *spans)
{
  sip_buf_deinit(&spans->text);
  *spans = (struct sip_spans){ 0 };
}

static size_t spans_end(const struct sip_spans *spans)
{
  return spans->count == 0 ? 0 : spans->ends[spans->count - 1];
}

bool sip_spans_room(struct sip_spans *spans)
{
  bool room = spans->wanted && spans->count < SIP_SPANS && spans->text.len < SIP_SPANS_BYTES;

  spans->dropped += spans->wanted && !room;
  return room;
}

int sip_spans_keep(struct sip_spans *spans, int rc, uint64_t end_ns)
{
  if (rc < 0) {
    spans->text.len = spans_end(spans);
    return rc;
  }
  if (spans->count == 0) {
    spans->first_ns = end_ns;
  }
  spans->ends[spans->count++] = spans->text.len;
  return 0;
}

bool sip_spans_due(const struct sip_spans *spans, uint64_t now_ns)
{
  return spans->count > 0 && (spans->idle || spans->count >= SIP_SPANS_MANY ||
                              spans->text.len >= MANY_BYTES || now_ns > spans->first_ns + STALE_NS);
}

struct sip_slice sip_spans_at(const struct sip_spans *spans, size_t index)
{
  size_t from = index == 0 ? 0 : spans->ends[index - 1];

  return (struct sip_slice){ spans->text.data + from, spans->ends[index] - from };
}

void sip_spans_clear(struct sip_spans *spans)
{
  sip_buf_clear(&spans->text);
  spans->count = 0;
  spans->dropped = 0;
}

/* --- writing one --- */

static void put(struct sip_spans *spans, const char *data, size_t len)
{
  spans->rc = spans->rc < 0 ? spans->rc : sip_buf_add(&spans->text, data, len);
}

static void puts_(struct sip_spans *spans, const char *text)
{
  put(spans, text, strlen(text));
}

static void put_integer(struct sip_spans *spans, int64_t value)
{
  char text[SIP_JSON_NUMBER_BYTES];

  put(spans, text, sip_json_print_integer(text, value));
}

static void put_clean(struct sip_spans *spans, struct sip_slice text)
{
  static const char replacement[3] = { '\xef', '\xbf', '\xbd' };
  char clean[SIP_SPAN_TEXT_BYTES * sizeof replacement];
  size_t len = 0;

  for (size_t i = 0; i < text.len;) {
    size_t n = sip_utf8_length(text.data + i, text.len - i);

    if (n == 0) {
      memcpy(clean + len, replacement, sizeof replacement);
      len += sizeof replacement;
      i++;
      continue;
    }
    memcpy(clean + len, text.data + i, n);
    len += n;
    i += n;
  }
  spans->rc = spans->rc < 0 ? spans->rc : sip_json_add_string(&spans->text, clean, len);
}

static void put_string(struct sip_spans *spans, struct sip_slice text)
{
  size_t before = spans->text.len;
  int rc;

  if (spans->rc < 0) {
    return;
  }
  text.len = text.len < SIP_SPAN_TEXT_BYTES ? text.len : SIP_SPAN_TEXT_BYTES;
  rc = sip_json_add_string(&spans->text, text.data, text.len);
  if (rc == SIP_EDATA) {
    spans->text.len = before;
    put_clean(spans, text);
  } else {
    spans->rc = rc;
  }
}

static void put_name(struct sip_spans *spans, const struct sip_span *span)
{
  puts_(spans, "\",\"flags\":1,\"name\":");
  if (spans->rc == 0) {
    char name[SIP_SPAN_TEXT_BYTES / 4];
    size_t verb = strlen(span->verb), rest = strlen(span->name), most = sizeof name - verb - 1;

    rest = rest < most ? rest : most;
    memcpy(name, span->verb, verb);
    name[verb] = ' ';
    memcpy(name + verb + 1, span->name, rest);
    put_string(spans, (struct sip_slice){ name, verb + 1 + rest });
  }
}

void sip_span_begin(struct sip_spans *spans, const struct sip_span *span, const char *attributes)
{
  spans->rc = sip_spans_room(spans) ? 0 : SIP_ETOOBIG;
  puts_(spans, "{\"traceId\":\"");
  put(spans, span->trace_id, SIP_TRACE_ID_BYTES);
  puts_(spans, "\",\"spanId\":\"");
  put(spans, span->id, SIP_TRACE_SPAN_BYTES);
  if (span->parent_id != NULL) {
    puts_(spans, "\",\"parentSpanId\":\"");
    put(spans, span->parent_id, SIP_TRACE_SPAN_BYTES);
  }
  if (span->state.len > 0) {
    puts_(spans, "\",\"traceState\":");
    put_string(spans, span->state);
    spans->text.len -= spans->rc == 0; /* its quote comes with what follows */
  }
  put_name(spans, span);
  puts_(spans, ",\"kind\":");
  put_integer(spans, span->kind);
  puts_(spans, ",\"startTimeUnixNano\":\"");
  put_integer(spans, (int64_t)span->start_ns);
  puts_(spans, "\",\"endTimeUnixNano\":\"");
  put_integer(spans, (int64_t)span->end_ns);
  puts_(spans, "\",\"attributes\":[");
  puts_(spans, attributes);
}

void sip_span_text(struct sip_spans *spans, const char *key, struct sip_slice text)
{
  puts_(spans, ",{\"key\":\"");
  puts_(spans, key);
  puts_(spans, "\",\"value\":{\"stringValue\":");
  put_string(spans, text);
  puts_(spans, "}}");
}

void sip_span_integer(struct sip_spans *spans, const char *key, int64_t value)
{
  puts_(spans, ",{\"key\":\"");
  puts_(spans, key);
  puts_(spans, "\",\"value\":{\"intValue\":\"");
  put_integer(spans, value);
  puts_(spans, "\"}}");
}

void sip_span_end(struct sip_spans *spans, const struct sip_span *span)
{
  puts_(spans, "]}");
  if (spans->rc == SIP_ETOOBIG) {
    return; /* counted, and nothing was written */
  }
  spans->dropped += sip_spans_keep(spans, spans->rc, span->end_ns) < 0;
}
