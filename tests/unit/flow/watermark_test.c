/* watermark_test.c - the watermark is the lowest unfinished offset, whatever the order of finishing. */
#include "flow/watermark.h"

#include "support/test.h"

enum { EVENTS = 5000 };

static unsigned seed;

static unsigned next_random(unsigned below)
{
  seed = seed * 1103515245u + 12345u;
  return (seed >> 8) % below;
}

static void any_order_ends_at_the_last_offset(void)
{
  static uint64_t sequence[EVENTS];
  static int64_t offset[EVENTS];
  static bool finished[EVENTS];
  static int order[EVENTS];
  struct sip_watermark mark;
  int lowest = 0;

  sip_watermark_init(&mark);
  CHECK_INT(mark.next_offset, -1);
  for (int i = 0; i < EVENTS; i++) {
    offset[i] = i == 0 ? 7 : offset[i - 1] + 1 + (int64_t)next_random(3); /* with gaps */
    CHECK_INT(sip_watermark_take(&mark, offset[i], &sequence[i]), 0);
    finished[i] = false;
    order[i] = i;
  }
  for (int i = EVENTS - 1; i > 0; i--) {
    int j = (int)next_random((unsigned)i + 1), swap = order[i];

    order[i] = order[j];
    order[j] = swap;
  }
  for (int i = 0; i < EVENTS; i++) {
    int before = lowest;
    bool moved = sip_watermark_finish(&mark, sequence[order[i]]);

    finished[order[i]] = true;
    while (lowest < EVENTS && finished[lowest]) {
      lowest++;
    }
    CHECK_INT(moved, lowest > before);
    CHECK_INT(mark.next_offset, lowest == 0 ? -1 : offset[lowest - 1] + 1);
    CHECK_INT(sip_watermark_span(&mark), EVENTS - lowest);
  }
  sip_watermark_deinit(&mark);
}

static void a_long_stream_needs_little_room(void)
{
  struct sip_watermark mark;

  sip_watermark_init(&mark);
  for (int64_t i = 0; i < 1000000; i++) {
    uint64_t sequence;

    CHECK_INT(sip_watermark_take(&mark, i, &sequence), 0);
    CHECK(sip_watermark_finish(&mark, sequence));
    CHECK_INT(mark.next_offset, i + 1);
  }
  CHECK(mark.size <= 64);
  sip_watermark_deinit(&mark);
}

int main(void)
{
  seed = (unsigned)uv_hrtime();
  (void)printf("seed %u\n", seed);
  any_order_ends_at_the_last_offset();
  a_long_stream_needs_little_room();
  return 0;
}
