/* watermark_test.c - the watermark is the lowest unfinished offset, whatever the order. */
#include "flow/watermark.h"

#include "support/test.h"

enum { EVENTS = 5000 };

static unsigned seed;

static unsigned next_random(unsigned below)
{
  seed = seed * 1103515245u + 12345u;
  return (seed >> 8) % below;
}

static void shuffle(int *order, int count)
{
  for (int i = 0; i < count; i++) {
    order[i] = i;
  }
  for (int i = count - 1; i > 0; i--) {
    int j = (int)next_random((unsigned)i + 1), swap = order[i];

    order[i] = order[j];
    order[j] = swap;
  }
}

static void any_order_ends_behind_the_last_offset(void)
{
  static struct sip_watermark_member member[EVENTS];
  static bool finished[EVENTS];
  static int order[EVENTS];
  struct sip_watermark mark;
  int64_t offset = 7;
  int lowest = 0;

  sip_watermark_init(&mark);
  CHECK_INT(mark.next_offset, -1);
  for (int i = 0; i < EVENTS; i++) {
    sip_watermark_take(&mark, &member[i], offset);
    offset += 1 + (int64_t)next_random(3); /* with gaps */
    finished[i] = false;
  }
  CHECK_INT(mark.next_offset, 7);
  shuffle(order, EVENTS);
  for (int i = 0; i < EVENTS; i++) {
    int before = lowest;
    bool moved = sip_watermark_finish(&mark, &member[order[i]]);

    finished[order[i]] = true;
    while (lowest < EVENTS && finished[lowest]) {
      lowest++;
    }
    CHECK_INT(moved, lowest > before);
    CHECK_INT(mark.next_offset,
              lowest == EVENTS ? member[EVENTS - 1].offset + 1 : member[lowest].offset);
  }
  CHECK(sip_list_empty(&mark.open));
}

static void what_is_given_up_is_never_passed(void)
{
  static struct sip_watermark_member member[EVENTS];
  static int order[EVENTS];
  struct sip_watermark mark;
  int64_t lowest_given_up = EVENTS;

  sip_watermark_init(&mark);
  for (int i = 0; i < EVENTS; i++) {
    sip_watermark_take(&mark, &member[i], i);
  }
  shuffle(order, EVENTS);
  for (int i = 0; i < EVENTS; i++) {
    if (next_random(1000) == 0) {
      sip_watermark_give_up(&mark, &member[order[i]]);
      lowest_given_up = order[i] < lowest_given_up ? order[i] : lowest_given_up;
    } else {
      (void)sip_watermark_finish(&mark, &member[order[i]]);
    }
    CHECK(mark.next_offset <= lowest_given_up);
  }
  CHECK_INT(mark.next_offset, lowest_given_up);
}

static void a_log_that_begins_anew_is_followed(void)
{
  struct sip_watermark_member old, first, second;
  struct sip_watermark mark;

  sip_watermark_init(&mark);
  sip_watermark_take(&mark, &old, 1000);
  sip_watermark_take(&mark, &first, 0);
  sip_watermark_take(&mark, &second, 1);
  CHECK(sip_watermark_finish(&mark, &old));
  CHECK_INT(mark.next_offset, 0);
  CHECK(!sip_watermark_finish(&mark, &second));
  CHECK(sip_watermark_finish(&mark, &first));
  CHECK_INT(mark.next_offset, 2);
}

static void a_stuck_event_costs_nothing_while_the_log_runs_on(void)
{
  struct sip_watermark_member stuck, member;
  struct sip_watermark mark;

  sip_watermark_init(&mark);
  sip_watermark_take(&mark, &stuck, 0);
  for (int64_t i = 1; i < 1000000; i++) {
    sip_watermark_take(&mark, &member, i);
    CHECK(!sip_watermark_finish(&mark, &member));
  }
  CHECK_INT(mark.next_offset, 0);
  CHECK(sip_watermark_finish(&mark, &stuck));
  CHECK_INT(mark.next_offset, 1000000);
}

int main(void)
{
  seed = (unsigned)uv_hrtime();
  (void)printf("seed %u\n", seed);
  any_order_ends_behind_the_last_offset();
  what_is_given_up_is_never_passed();
  a_log_that_begins_anew_is_followed();
  a_stuck_event_costs_nothing_while_the_log_runs_on();
  return 0;
}
