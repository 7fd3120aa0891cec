/* spans_test.c - spans are written as OTLP has them, wait in bounds, and are told of in time. */
#include "core/spans.h"

#include "support/test.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN   "00f067aa0ba902b7"
#define PARENT "b7ad6b7169203331"
#define FIRST  "{\"key\":\"a\",\"value\":{\"stringValue\":\"b\"}}"

static struct sip_slice slice(const char *text)
{
  return (struct sip_slice){ text, strlen(text) };
}

static struct sip_span span_ending(uint64_t end_ns)
{
  return (struct sip_span){ .trace_id = ID,
                            .id = SPAN,
                            .verb = "send",
                            .name = "orders",
                            .kind = SIP_SPAN_PRODUCER,
                            .start_ns = end_ns - 1,
                            .end_ns = end_ns };
}

static void put(struct sip_spans *spans, uint64_t end_ns)
{
  struct sip_span span = span_ending(end_ns);

  sip_span_begin(spans, &span, FIRST);
  sip_span_end(spans, &span);
}

static void check_text(const struct sip_spans *spans, size_t index, const char *text)
{
  struct sip_slice got = sip_spans_at(spans, index);

  if (got.len != strlen(text) || memcmp(got.data, text, got.len) != 0) {
    SIP_TEST_FAIL("got %.*s, not %s", (int)got.len, got.data, text);
  }
}

static void spans_are_json(void)
{
  struct sip_spans spans = { .wanted = true };
  struct sip_span span = span_ending(20);

  put(&spans, 10);
  span.parent_id = PARENT;
  span.state = slice("a=\"1\"");
  span.name = "o\"\xff";
  sip_span_begin(&spans, &span, FIRST);
  sip_span_text(&spans, "text", slice("\n\xc3"));
  sip_span_integer(&spans, "whole", -7);
  sip_span_end(&spans, &span);
  CHECK(spans.count == 2);
  check_text(&spans, 0,
             "{\"traceId\":\"" ID "\",\"spanId\":\"" SPAN "\",\"flags\":1,\"name\":\"send orders\","
             "\"kind\":4,\"startTimeUnixNano\":\"9\",\"endTimeUnixNano\":\"10\","
             "\"attributes\":[" FIRST "]}");
  check_text(&spans, 1,
             "{\"traceId\":\"" ID "\",\"spanId\":\"" SPAN "\",\"parentSpanId\":\"" PARENT
             "\",\"traceState\":\"a=\\\"1\\\"\",\"flags\":1,\"name\":\"send o\\\"\xef\xbf\xbd\","
             "\"kind\":4,\"startTimeUnixNano\":\"19\",\"endTimeUnixNano\":\"20\","
             "\"attributes\":[" FIRST
             ",{\"key\":\"text\",\"value\":{\"stringValue\":\"\\n\xef\xbf\xbd\"}}"
             ",{\"key\":\"whole\",\"value\":{\"intValue\":\"-7\"}}]}");
  sip_spans_deinit(&spans);
}

static void what_finds_no_room_is_counted(void)
{
  struct sip_spans spans = { .wanted = true };
  size_t len = 0;

  for (int i = 0; i < SIP_SPANS + 3; i++) {
    put(&spans, 10);
    len = i == SIP_SPANS - 1 ? spans.text.len : len;
  }
  CHECK(spans.count == SIP_SPANS);
  CHECK(spans.dropped == 3);
  CHECK(spans.text.len == len);
  sip_spans_clear(&spans);
  CHECK(spans.count == 0 && spans.dropped == 0);
  put(&spans, 10);
  CHECK(spans.count == 1);
  sip_spans_deinit(&spans);
}

static void nothing_is_kept_that_nobody_wants(void)
{
  struct sip_spans spans = { .wanted = false };

  put(&spans, 10);
  CHECK(spans.count == 0 && spans.dropped == 0 && spans.text.len == 0);
  sip_spans_deinit(&spans);
}

static void long_texts_are_cut(void)
{
  static char text[2 * SIP_SPAN_TEXT_BYTES];
  struct sip_spans spans = { .wanted = true };
  struct sip_span span = span_ending(10);
  size_t before;

  memset(text, 'x', sizeof text);
  sip_span_begin(&spans, &span, FIRST);
  before = spans.text.len;
  sip_span_text(&spans, "a", (struct sip_slice){ text, sizeof text });
  CHECK(spans.text.len - before ==
        strlen(",{\"key\":\"a\",\"value\":{\"stringValue\":\"\"}}") + SIP_SPAN_TEXT_BYTES);
  sip_span_end(&spans, &span);
  sip_spans_deinit(&spans);
}

static void they_are_told_of_in_time(void)
{
  struct sip_spans spans = { .wanted = true, .idle = true };

  CHECK(!sip_spans_due(&spans, 10));
  put(&spans, 10);
  CHECK(sip_spans_due(&spans, 10)); /* the first one, when nobody is at it */
  spans.idle = false;
  CHECK(!sip_spans_due(&spans, 1000000010));
  CHECK(sip_spans_due(&spans, 1000000011));
  for (int i = 1; i < SIP_SPANS_MANY; i++) {
    CHECK(!sip_spans_due(&spans, 10));
    put(&spans, 10);
  }
  CHECK(sip_spans_due(&spans, 10));
  sip_spans_deinit(&spans);
}

int main(void)
{
  spans_are_json();
  what_finds_no_room_is_counted();
  nothing_is_kept_that_nobody_wants();
  long_texts_are_cut();
  they_are_told_of_in_time();
  return 0;
}
