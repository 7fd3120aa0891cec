/* clock.c - the machine's time, or a virtual one. Loop thread only. */
#include "core/clock.h"

#include "core/base.h"

#include <time.h>

void sip_clock_init(struct sip_clock *clock, uv_loop_t *loop)
{
  *clock = (struct sip_clock){ .loop = loop };
  sip_list_init(&clock->timers);
}

void sip_clock_make_virtual(struct sip_clock *clock, int64_t wall_ms)
{
  clock->is_virtual = true;
  clock->now_ms = 0;
  clock->wall_ms = wall_ms;
}

uint64_t sip_clock_loop_ms(const struct sip_clock *clock)
{
  return clock->is_virtual ? clock->now_ms : uv_now(clock->loop);
}

uint64_t sip_clock_precise_ns(const struct sip_clock *clock)
{
  return clock->is_virtual ? clock->now_ms * 1000000 : uv_hrtime();
}

int64_t sip_clock_wall_ms(const struct sip_clock *clock)
{
  struct timespec now;

  if (clock->is_virtual) {
    return clock->wall_ms + (int64_t)clock->now_ms;
  }
  (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct sip_timer *clock_next(const struct sip_clock *clock)
{
  return sip_list_empty(&clock->timers) ? NULL
                                        : SIP_CONTAINER(clock->timers.next, struct sip_timer, link);
}

bool sip_clock_jump(struct sip_clock *clock, uint64_t limit_ms)
{
  struct sip_timer *timer = clock_next(clock);

  if (timer == NULL || timer->due_ms > limit_ms) {
    return false;
  }
  clock->now_ms = timer->due_ms > clock->now_ms ? timer->due_ms : clock->now_ms;
  sip_list_remove(&timer->link);
  timer->on_due(&timer->uv); /* alone: what it wakes runs before the next one */
  return true;
}

bool sip_clock_has_timers(const struct sip_clock *clock)
{
  return !sip_list_empty(&clock->timers);
}

void sip_timer_init(struct sip_timer *timer, struct sip_clock *clock)
{
  timer->clock = clock;
  timer->due_ms = 0;
  timer->on_due = NULL;
  sip_list_init(&timer->link);
  (void)uv_timer_init(clock->loop, &timer->uv); /* always 0 */
}

/* Behind those that are due at the same time. Most are due later than what runs: from the end. */
static void clock_insert(struct sip_clock *clock, struct sip_timer *timer)
{
  struct sip_list *before = clock->timers.prev;

  while (before != &clock->timers &&
         SIP_CONTAINER(before, struct sip_timer, link)->due_ms > timer->due_ms) {
    before = before->prev;
  }
  sip_list_push(before->next, &timer->link);
}

void sip_timer_start(struct sip_timer *timer, uv_timer_cb on_due, uint64_t ms)
{
  struct sip_clock *clock = timer->clock;

  if (!clock->is_virtual) {
    (void)uv_timer_start(&timer->uv, on_due, ms, 0); /* fails only without a callback, or closing */
    return;
  }
  sip_list_remove(&timer->link);
  timer->on_due = on_due;
  timer->due_ms = ms > UINT64_MAX - clock->now_ms ? UINT64_MAX : clock->now_ms + ms;
  clock_insert(clock, timer);
}

void sip_timer_stop(struct sip_timer *timer)
{
  sip_list_remove(&timer->link);
  (void)uv_timer_stop(&timer->uv); /* always 0 */
}

void sip_timer_close(struct sip_timer *timer, uv_close_cb on_close)
{
  sip_list_remove(&timer->link);
  uv_close((uv_handle_t *)&timer->uv, on_close);
}

bool sip_timer_is_closing(const struct sip_timer *timer)
{
  return uv_is_closing((const uv_handle_t *)&timer->uv) != 0;
}
