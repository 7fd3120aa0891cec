/* trace_test.c - what is a trace context and what is not, and that the ratio is that of ids. */
#include "core/trace.h"

#include "core/random.h"
#include "support/test.h"

#define ID   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static struct sip_slice slice(const char *text)
{
  return (struct sip_slice){ text, strlen(text) };
}

static void contexts_of_the_specification_are_taken(void)
{
  static const char *const good[] = { "00-" ID "-" SPAN "-01", "00-" ID "-" SPAN "-00",
                                      "00-" ID "-" SPAN "-ff", "cc-" ID "-" SPAN "-01",
                                      "cc-" ID "-" SPAN "-01-what-will-be" };

  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    if (!sip_trace_is_parent(good[i], strlen(good[i]))) {
      SIP_TEST_FAIL("refused: %s", good[i]);
    }
  }
}

static void other_texts_are_refused(void)
{
  static const char *const bad[] = { "",
                                     "00",
                                     "ff-" ID "-" SPAN "-01",
                                     "00-" ID "-" SPAN "-01-more",
                                     "00-" ID "-" SPAN "-1",
                                     "00-" ID "-" SPAN "-0g",
                                     "00-" ID "_" SPAN "-01",
                                     "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
                                     "00-00000000000000000000000000000000-" SPAN "-01",
                                     "00-" ID "-0000000000000000-01",
                                     "cc-" ID "-" SPAN "-01more" };

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (sip_trace_is_parent(bad[i], strlen(bad[i]))) {
      SIP_TEST_FAIL("taken: %s", bad[i]);
    }
  }
  CHECK(!sip_trace_is_parent(NULL, 0));
}

static void states_are_bounded(void)
{
  char text[SIP_TRACE_STATE_BYTES + 2];

  CHECK(sip_trace_is_state("a=1,b=2", 7));
  CHECK(!sip_trace_is_state("a", 1));
  CHECK(!sip_trace_is_state("a=\n1", 4));
  CHECK(!sip_trace_is_state("", 0));
  memset(text, 'x', sizeof text);
  text[1] = '=';
  CHECK(sip_trace_is_state(text, SIP_TRACE_STATE_BYTES));
  CHECK(!sip_trace_is_state(text, SIP_TRACE_STATE_BYTES + 1));
  for (size_t i = 0; i < 33; i++) {
    memcpy(text + 4 * i, "a=1,", 4);
  }
  CHECK(sip_trace_is_state(text, 32 * 4 - 1));
  CHECK(!sip_trace_is_state(text, 33 * 4 - 1));
}

static void what_came_is_gone_on_with(void)
{
  struct sip_slice parent = slice("cc-" ID "-" SPAN "-03-more"), state = slice("a=1");
  struct sip_tracer tracer = { 0 };
  struct sip_random random = { 0 };
  struct sip_trace *trace, *child;
  char span[SIP_TRACE_SPAN_BYTES];

  CHECK_INT(sip_tracer_start(&tracer, &random, 0, true), 0);
  trace = sip_tracer_begin(&tracer, &parent, &state, false);
  CHECK(trace != NULL && trace->sampled && trace->has_span);
  CHECK_STR(trace->parent, "00-" ID "-" SPAN "-01");
  CHECK_STR(trace->state, "a=1");
  sip_tracer_span(&tracer, span);
  child = sip_trace_child(trace, span);
  CHECK(child != NULL && memcmp(child->parent, trace->parent, SIP_TRACE_SPAN_AT) == 0);
  CHECK(memcmp(child->parent + SIP_TRACE_SPAN_AT, span, sizeof span) == 0);
  sip_trace_unref(child);
  sip_trace_unref(trace);

  parent = slice("00-" ID "-" SPAN "-02"); /* sampled is another bit */
  state = slice("no state");
  trace = sip_tracer_begin(&tracer, &parent, &state, false);
  CHECK(trace != NULL && !trace->sampled && trace->state_len == 0);
  sip_trace_unref(trace);
}

static void a_malformed_one_is_as_none(void)
{
  struct sip_slice bad = slice("00-" ID "-" SPAN);
  struct sip_tracer tracer = { 0 };
  struct sip_random random = { 0 };
  struct sip_trace *trace;

  CHECK_INT(sip_tracer_start(&tracer, &random, 1, true), 0);
  trace = sip_tracer_begin(&tracer, &bad, NULL, false);
  CHECK(trace != NULL && trace->sampled && !trace->has_span);
  CHECK(memcmp(trace->parent + SIP_TRACE_ID_AT, ID, SIP_TRACE_ID_BYTES) != 0);
  sip_trace_unref(trace);
  CHECK_INT(sip_tracer_start(&tracer, &random, 0, true), 0);
  CHECK(sip_tracer_begin(&tracer, &bad, NULL, false) == NULL);
  trace = sip_tracer_begin(&tracer, &bad, NULL, true);
  CHECK(trace != NULL && !trace->sampled && trace->has_span);
  CHECK(sip_trace_is_parent(trace->parent, SIP_TRACE_BYTES));
  sip_trace_unref(trace);
}

/* The same traces whoever decides: by their ids alone. */
static void the_ratio_is_that_of_ids(void)
{
  enum { ROUNDS = 100000, LEAST = 900, MOST = 1100 }; /* ten deviations around 1 % */
  struct sip_tracer ours = { 0 }, other = { 0 };
  struct sip_random random = { 0 };
  int chosen = 0, of_other = 0;

  sip_random_seed(&random, 7);
  CHECK_INT(sip_tracer_start(&ours, &random, 0.01, true), 0);
  CHECK_INT(sip_tracer_start(&other, &random, 0.01, false), 0);
  for (int i = 0; i < ROUNDS; i++) {
    struct sip_trace *trace = sip_tracer_begin(&ours, NULL, NULL, true), *theirs;
    struct sip_slice parent = { trace->parent, SIP_TRACE_BYTES };

    memcpy(trace->parent + SIP_TRACE_SPAN_AT, SPAN, SIP_TRACE_SPAN_BYTES);
    theirs = sip_tracer_begin(&other, &parent, NULL, false);
    chosen += trace->sampled;
    of_other += theirs->sampled == trace->sampled;
    sip_trace_unref(theirs);
    sip_trace_unref(trace);
  }
  CHECK(chosen > LEAST && chosen < MOST);
  CHECK_INT(of_other, ROUNDS);
}

int main(void)
{
  contexts_of_the_specification_are_taken();
  other_texts_are_refused();
  states_are_bounded();
  what_came_is_gone_on_with();
  a_malformed_one_is_as_none();
  the_ratio_is_that_of_ids();
  return 0;
}
