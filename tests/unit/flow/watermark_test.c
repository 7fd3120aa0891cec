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
  sip_watermark_deinit(&mark);
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
  sip_watermark_deinit(&mark);
}

/* Takes EVENTS offsets with gaps, ends some of them, and asks after each tenth what is finished
 * beyond the watermark: those that are, gaps below the last of them, and nothing else. */
static void what_is_finished_beyond_is_known_exactly(void)
{
  enum { OPEN, DONE, GIVEN_UP };
  static struct sip_watermark_member member[EVENTS];
  static int order[EVENTS], state[EVENTS];
  struct sip_watermark mark;
  struct sip_ranges beyond = { 0 };
  int64_t offset = 7, last = -1;

  sip_watermark_init(&mark);
  CHECK_INT(sip_ranges_add(&mark.before, 1000000, 1000010), 0);
  for (int i = 0; i < EVENTS; i++) {
    sip_watermark_take(&mark, &member[i], offset);
    offset += 1 + (int64_t)next_random(3);
    state[i] = OPEN;
  }
  shuffle(order, EVENTS);
  for (int i = 0; i < EVENTS; i++) {
    if (next_random(100) == 0) {
      sip_watermark_give_up(&mark, &member[order[i]]);
      state[order[i]] = GIVEN_UP;
    } else {
      (void)sip_watermark_finish(&mark, &member[order[i]]);
      state[order[i]] = DONE;
      last = member[order[i]].offset > last ? member[order[i]].offset : last;
    }
    sip_watermark_beyond(&mark, &beyond);
    for (int j = 0; i % 50 == 0 && j < EVENTS; j++) {
      int64_t at = member[j].offset;

      CHECK_INT(sip_ranges_have(&beyond, at), state[j] == DONE && at > mark.next_offset);
      if (j > 0 && at > member[j - 1].offset + 1 && at - 1 > mark.next_offset) {
        CHECK_INT(sip_ranges_have(&beyond, at - 1), at <= last); /* a gap */
      }
    }
    CHECK(sip_ranges_have(&beyond, 1000009)); /* from before, and not reached yet */
    CHECK(!sip_ranges_have(&beyond, mark.after));
  }
  sip_ranges_deinit(&beyond);
  sip_watermark_deinit(&mark);
}

static void gaps_and_what_was_finished_before_are_passed(void)
{
  struct sip_watermark_member first, second;
  struct sip_watermark mark;
  struct sip_ranges beyond = { 0 };

  sip_watermark_init(&mark);
  CHECK_INT(sip_ranges_add(&mark.before, 11, 13), 0);
  sip_watermark_take(&mark, &first, 10);
  CHECK(!sip_watermark_skip(&mark, 11));
  CHECK(!sip_watermark_skip(&mark, 12));
  sip_watermark_take(&mark, &second, 13);
  CHECK(
    !sip_watermark_reach(&mark, 20)); /* the end of a log whose last records are control records */
  CHECK(!sip_watermark_reach(&mark, 15));
  sip_watermark_beyond(&mark, &beyond);
  CHECK_INT(beyond.count, 2);
  CHECK_INT(beyond.runs[0].from, 11);
  CHECK_INT(beyond.runs[0].to, 13);
  CHECK_INT(beyond.runs[1].from, 14);
  CHECK_INT(beyond.runs[1].to, 20);
  CHECK(sip_watermark_finish(&mark, &first));
  CHECK_INT(mark.next_offset, 13);
  CHECK(sip_watermark_finish(&mark, &second));
  CHECK_INT(mark.next_offset, 20);
  CHECK(sip_watermark_reach(&mark, 22));
  CHECK_INT(mark.next_offset, 22);
  sip_watermark_beyond(&mark, &beyond);
  CHECK_INT(beyond.count, 0);
  sip_ranges_deinit(&beyond);
  sip_watermark_deinit(&mark);
}

static void a_log_that_begins_anew_is_followed(void)
{
  struct sip_watermark_member old, first, second;
  struct sip_ranges beyond = { 0 };
  struct sip_watermark mark;

  sip_watermark_init(&mark);
  sip_watermark_take(&mark, &old, 1000);
  sip_watermark_take(&mark, &first, 0);
  sip_watermark_take(&mark, &second, 1);
  sip_watermark_beyond(&mark, &beyond);
  CHECK_INT(beyond.count, 0); /* offsets of two logs cannot be told apart */
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
  what_is_finished_beyond_is_known_exactly();
  gaps_and_what_was_finished_before_are_passed();
  a_log_that_begins_anew_is_followed();
  a_stuck_event_costs_nothing_while_the_log_runs_on();
  return 0;
}
