/* ranges_test.c - a set of offsets against a plain array of flags, and its text there and back. */
#include "flow/ranges.h"

#include "core/err.h"
#include "support/test.h"

enum { OFFSETS = 3000, BASE = 1000 };

static unsigned seed;

static unsigned next_random(unsigned below)
{
  seed = seed * 1103515245u + 12345u;
  return (seed >> 8) % below;
}

static void check_same(const struct sip_ranges *ranges, const bool *flags)
{
  for (size_t i = 0; i < ranges->count; i++) {
    CHECK(ranges->runs[i].from < ranges->runs[i].to);
    CHECK(i == 0 || ranges->runs[i - 1].to < ranges->runs[i].from);
  }
  for (int i = 0; i < OFFSETS; i++) {
    if (sip_ranges_have(ranges, i) != flags[i]) {
      SIP_TEST_FAIL("offset %d: expected %d", i, flags[i]);
    }
  }
}

static void any_runs_in_any_order_make_the_same_set(void)
{
  for (int round = 0; round < 50; round++) {
    struct sip_ranges ranges = { 0 };
    bool flags[OFFSETS] = { false };

    for (int i = 0; i < 200; i++) {
      int from = (int)next_random(OFFSETS - 30), to = from + 1 + (int)next_random(29);

      CHECK_INT(sip_ranges_add(&ranges, from, to), 0);
      memset(flags + from, true, (size_t)(to - from));
      if (i % 40 == 39) {
        check_same(&ranges, flags);
      }
    }
    sip_ranges_deinit(&ranges);
  }
}

static void the_text_brings_back_the_same_set(void)
{
  char text[SIP_RANGES_TEXT_MAX + 1];

  for (int round = 0; round < 200; round++) {
    struct sip_ranges ranges = { 0 }, read = { 0 };
    struct sip_holds holds = { .count = 0 }, back = { .count = 0 };
    int64_t base = round % 2 == 0 ? BASE : INT64_MAX / 4, at = base;

    for (unsigned i = 0; i < 1 + next_random(200); i++) {
      at += 1 + next_random(i % 7 == 0 ? 100000 : 3);
      CHECK_INT(sip_ranges_add(&ranges, at, at + 1 + next_random(i % 5 == 0 ? 100000 : 3)), 0);
      at = ranges.runs[ranges.count - 1].to;
    }
    for (int i = 0; i < round % 70; i++) {
      struct sip_hold hold = { (uint64_t)next_random(1u << 24) << 40 | (uint64_t)i, base + i,
                               1000 * (1700000000 + (int64_t)i) };

      CHECK_INT(sip_holds_add(&holds, &hold), i >= SIP_HOLDS_MAX);
    }
    CHECK_INT(sip_ranges_write(&ranges, &holds, base, text), ranges.count);
    CHECK_INT(sip_ranges_read(&read, &back, base, text, strlen(text)), 0);
    CHECK_INT(read.count, ranges.count);
    CHECK(memcmp(read.runs, ranges.runs, ranges.count * sizeof *ranges.runs) == 0);
    CHECK_INT(back.count, round % 70 < SIP_HOLDS_MAX ? round % 70 : SIP_HOLDS_MAX);
    CHECK(memcmp(back.held, holds.held, back.count * sizeof back.held[0]) == 0);
    sip_ranges_deinit(&ranges);
    sip_ranges_deinit(&read);
  }
}

static void what_does_not_fit_leaves_the_lowest_runs(void)
{
  struct sip_ranges ranges = { 0 }, read = { 0 };
  struct sip_holds holds = { .count = 0 }, back = { .count = 0 };
  char text[SIP_RANGES_TEXT_MAX + 1];
  size_t count;

  for (int64_t i = 0; i < 4000; i++) {
    CHECK_INT(sip_ranges_add(&ranges, BASE + 1 + 2 * i, BASE + 2 + 2 * i), 0);
  }
  CHECK_INT(ranges.count, 4000);
  count = sip_ranges_write(&ranges, &holds, BASE, text);
  CHECK(count > 1500 && count < 1600); /* two bytes each */
  CHECK(strlen(text) <= SIP_RANGES_TEXT_MAX);
  CHECK_INT(sip_ranges_read(&read, &back, BASE, text, strlen(text)), 0);
  CHECK_INT(read.count, count);
  CHECK(memcmp(read.runs, ranges.runs, count * sizeof *read.runs) == 0);
  sip_ranges_deinit(&ranges);
  sip_ranges_deinit(&read);
}

static void check_refused(int64_t base, const char *text, size_t len)
{
  struct sip_ranges read = { 0 };
  struct sip_holds back = { .count = 0 };

  CHECK_INT(sip_ranges_read(&read, &back, base, text, len), SIP_EDATA);
  CHECK_INT(read.count, 0);
}

static void anything_odd_is_refused(void)
{
  struct sip_ranges ranges = { 0 }, read = { 0 };
  struct sip_holds holds = { .count = 0 }, back = { .count = 0 };
  char text[SIP_RANGES_TEXT_MAX + 1], other[sizeof text];
  size_t len;

  CHECK_INT(sip_ranges_write(&ranges, &holds, BASE, text), 0);
  CHECK_STR(text, "");
  CHECK_INT(sip_ranges_add(&ranges, BASE + 5, BASE + 900), 0);
  CHECK_INT(sip_ranges_add(&ranges, BASE + 2000, BASE + 2001), 0);
  CHECK_INT(sip_ranges_write(&ranges, &holds, BASE, text), 2);
  len = strlen(text);
  check_refused(BASE + 1, text, len); /* beside another offset */
  check_refused(-1, text, len);
  for (size_t cut = 0; cut < len; cut++) {
    check_refused(BASE, text, cut);
  }
  for (size_t at = 0; at < len; at++) {
    for (int byte = 0; byte < 256; byte++) {
      if (byte != (unsigned char)text[at]) {
        memcpy(other, text, len);
        other[at] = (char)byte;
        check_refused(BASE, other, len);
      }
    }
  }
  check_refused(BASE, "", 0);
  check_refused(BASE, "written by another program", 26);
  CHECK(!sip_ranges_is_text("written by another program", 26));
  CHECK(sip_ranges_is_text(text, len));
  CHECK_INT(sip_ranges_read(&read, &back, BASE, text, len), 0);
  sip_ranges_deinit(&read);
  sip_ranges_deinit(&ranges);
}

int main(void)
{
  seed = (unsigned)uv_hrtime();
  (void)printf("seed %u\n", seed);
  any_runs_in_any_order_make_the_same_set();
  the_text_brings_back_the_same_set();
  what_does_not_fit_leaves_the_lowest_runs();
  anything_odd_is_refused();
  return 0;
}
