/* clock_test.c - virtual time: what is due comes in order, at its time, and not before. */
#include "core/clock.h"

#include "core/base.h"
#include "core/random.h"
#include "support/test.h"

#include <string.h>

static char order[16];
static uint64_t times[16];
static size_t count;

static void note(uv_timer_t *timer)
{
  const struct sip_timer *one = (const struct sip_timer *)timer;

  CHECK(count < sizeof order - 1);
  times[count] = sip_clock_loop_ms(one->clock);
  order[count++] = *(const char *)timer->data;
}

static void again(uv_timer_t *timer)
{
  note(timer);
  sip_timer_start((struct sip_timer *)timer, note, 0);
}

static void on_close(uv_handle_t *handle)
{
  (void)handle;
}

static void virtual_timers_come_in_the_order_of_their_time(void)
{
  static char names[] = "abcd";
  struct sip_timer timers[4];
  struct sip_clock clock;
  uv_loop_t loop;

  count = 0;
  memset(order, 0, sizeof order);
  CHECK_INT(uv_loop_init(&loop), 0);
  sip_clock_init(&clock, &loop);
  sip_clock_make_virtual(&clock, 1000);
  for (int i = 0; i < 4; i++) {
    sip_timer_init(&timers[i], &clock);
    timers[i].uv.data = &names[i];
  }
  sip_timer_start(&timers[0], note, 300);
  sip_timer_start(&timers[1], again, 100);
  sip_timer_start(&timers[2], note, 100);
  sip_timer_start(&timers[3], note, 200);
  sip_timer_stop(&timers[3]);
  CHECK(!sip_clock_jump(&clock, 99));
  CHECK_INT(sip_clock_loop_ms(&clock), 0);
  while (sip_clock_jump(&clock, SIP_FOREVER)) {
  }
  CHECK_STR(order, "bcba");
  CHECK_INT(times[0], 100);
  CHECK_INT(times[2], 100);
  CHECK_INT(times[3], 300);
  CHECK_INT(sip_clock_wall_ms(&clock), 1300);
  CHECK(!sip_clock_has_timers(&clock));
  sip_timer_start(&timers[0], note, SIP_FOREVER);
  sip_timer_start(&timers[0], note, 5); /* anew: the later time is forgotten */
  CHECK(sip_clock_jump(&clock, 305));
  CHECK(!sip_clock_has_timers(&clock));
  sip_timer_start(&timers[1], note, 1);
  for (int i = 0; i < 4; i++) {
    sip_timer_close(&timers[i], on_close);
    CHECK(sip_timer_is_closing(&timers[i]));
  }
  CHECK(!sip_clock_has_timers(&clock)); /* a closed one does not come */
  SIP_TEST_END(&loop);
}

static void a_real_clock_is_the_loops(void)
{
  static char name = 'r';
  struct sip_timer timer;
  struct sip_clock clock;
  uv_loop_t loop;

  count = 0;
  CHECK_INT(uv_loop_init(&loop), 0);
  sip_clock_init(&clock, &loop);
  sip_timer_init(&timer, &clock);
  timer.uv.data = &name;
  CHECK(!sip_clock_jump(&clock, SIP_FOREVER));
  CHECK(sip_clock_wall_ms(&clock) > (int64_t)1600000000 * 1000);
  CHECK(sip_clock_precise_ns(&clock) / 1000000 >= sip_clock_loop_ms(&clock));
  sip_timer_start(&timer, note, 1);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_INT(count, 1);
  sip_timer_close(&timer, on_close);
  sip_clock_close(&clock);
  SIP_TEST_END(&loop);
}

/* Short and long ones beside each other, in the order of their time, none early and the short ones
 * not a whole millisecond late (of many, since the machine may be busy). */
static void real_timers_are_never_early_and_short_ones_are_on_time(void)
{
  enum { ROUNDS = 20 };
  static char names[] = "abc";
  static const uint64_t waits_ms[] = { 2, 7, 60 };
  uint64_t best_ns = UINT64_MAX;
  struct sip_timer timers[3];
  struct sip_clock clock;
  uv_loop_t loop;

  CHECK_INT(uv_loop_init(&loop), 0);
  sip_clock_init(&clock, &loop);
  for (int i = 0; i < 3; i++) {
    sip_timer_init(&timers[i], &clock);
    timers[i].uv.data = &names[i];
  }
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t began = uv_hrtime();

    count = 0;
    sip_timer_start(&timers[0], note, waits_ms[0]);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(count, 1);
    CHECK(uv_hrtime() - began >= waits_ms[0] * 1000000);
    best_ns = uv_hrtime() - began < best_ns ? uv_hrtime() - began : best_ns;
  }
  CHECK(best_ns < waits_ms[0] * 1000000 + 900000);
  count = 0;
  memset(order, 0, sizeof order);
  for (int i = 2; i >= 0; i--) {
    sip_timer_start(&timers[i], note, waits_ms[i]);
  }
  sip_timer_start(&timers[1], note, waits_ms[1]); /* anew */
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_STR(order, "abc");
  sip_timer_start(&timers[0], note, 1);
  sip_timer_stop(&timers[0]);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_INT(count, 3);
  for (int i = 0; i < 3; i++) {
    sip_timer_close(&timers[i], on_close);
  }
  sip_clock_close(&clock);
  SIP_TEST_END(&loop);
}

static void a_seed_gives_the_same_bytes_again(void)
{
  struct sip_random one = { 0 }, two = { 0 }, other = { 0 };
  unsigned char a[37], b[37], c[37];

  sip_random_seed(&one, 7);
  sip_random_seed(&two, 7);
  sip_random_seed(&other, 8);
  CHECK_INT(sip_random_bytes(&one, a, sizeof a), 0);
  CHECK_INT(sip_random_bytes(&two, b, sizeof b), 0);
  CHECK_INT(sip_random_bytes(&other, c, sizeof c), 0);
  CHECK(memcmp(a, b, sizeof a) == 0);
  CHECK(memcmp(a, c, sizeof a) != 0);
  CHECK_INT(sip_random_bytes(&one, b, sizeof b), 0);
  CHECK(memcmp(a, b, sizeof a) != 0);
}

int main(void)
{
  virtual_timers_come_in_the_order_of_their_time();
  a_real_clock_is_the_loops();
  real_timers_are_never_early_and_short_ones_are_on_time();
  a_seed_gives_the_same_bytes_again();
  return 0;
}
