/* clock.c - the machine's time, or a virtual one. Loop thread only. */
#include "core/clock.h"

#include "core/base.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
  CLOCK_NS_PER_MS = 1000000,
  CLOCK_NS_PER_S = 1000000000,
  CLOCK_SHORT_MS = 50,       /* beyond, a millisecond more is not seen */
  CLOCK_SLACK_NS = 50 * 1000 /* not worth setting the alarm anew for */
};

struct clock_alarm {
  uv_poll_t poll;
  struct sip_clock *clock; /* borrowed; not after the close */
  int fd;                  /* a timerfd */
  uint64_t set_ns;         /* when it comes; 0: not set */
};

void sip_clock_init(struct sip_clock *clock, uv_loop_t *loop)
{
  *clock = (struct sip_clock){ .loop = loop };
  sip_list_init(&clock->timers);
}

void sip_clock_make_virtual(struct sip_clock *clock, int64_t wall_ms)
{
  clock->is_virtual = true;
  clock->now_ns = 0;
  clock->wall_ms = wall_ms;
}

uint64_t sip_clock_loop_ms(const struct sip_clock *clock)
{
  return clock->is_virtual ? clock->now_ns / CLOCK_NS_PER_MS : uv_now(clock->loop);
}

uint64_t sip_clock_precise_ns(const struct sip_clock *clock)
{
  return clock->is_virtual ? clock->now_ns : uv_hrtime();
}

uint64_t sip_clock_machine_ns(void)
{
  struct timespec now = { 0, 0 };

  (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t sip_clock_wall_ms(const struct sip_clock *clock)
{
  if (clock->is_virtual) {
    return clock->wall_ms + (int64_t)(clock->now_ns / CLOCK_NS_PER_MS);
  }
  return (int64_t)(sip_clock_machine_ns() / CLOCK_NS_PER_MS);
}

static struct sip_timer *clock_next(const struct sip_clock *clock)
{
  return sip_list_empty(&clock->timers) ? NULL
                                        : SIP_CONTAINER(clock->timers.next, struct sip_timer, link);
}

bool sip_clock_jump(struct sip_clock *clock, uint64_t limit_ms)
{
  struct sip_timer *timer = clock_next(clock);

  if (!clock->is_virtual || timer == NULL || timer->due_ns / CLOCK_NS_PER_MS > limit_ms) {
    return false;
  }
  clock->now_ns = timer->due_ns > clock->now_ns ? timer->due_ns : clock->now_ns;
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
  timer->due_ns = 0;
  timer->on_due = NULL;
  sip_list_init(&timer->link);
  (void)uv_timer_init(clock->loop, &timer->uv); /* always 0 */
}

/* Behind those that are due at the same time. Most are due later than what runs: from the end. */
static void clock_insert(struct sip_clock *clock, struct sip_timer *timer)
{
  struct sip_list *before = clock->timers.prev;

  while (before != &clock->timers &&
         SIP_CONTAINER(before, struct sip_timer, link)->due_ns > timer->due_ns) {
    before = before->prev;
  }
  sip_list_push(before->next, &timer->link);
}

static uint64_t clock_after(uint64_t now_ns, uint64_t ms)
{
  return ms > (UINT64_MAX - now_ns) / CLOCK_NS_PER_MS ? UINT64_MAX : now_ns + ms * CLOCK_NS_PER_MS;
}

/* --- the alarm of a real clock --- */

static void alarm_on_close(uv_handle_t *handle)
{
  struct clock_alarm *alarm = SIP_CONTAINER(handle, struct clock_alarm, poll);

  (void)close(alarm->fd);
  free(alarm);
}

/* Waits for the first timer; without any it keeps no loop alive. */
static void alarm_set(struct clock_alarm *alarm)
{
  const struct sip_timer *next = clock_next(alarm->clock);
  struct itimerspec when = { 0 };
  uint64_t now, left_ns;

  if (next == NULL) {
    uv_unref((uv_handle_t *)&alarm->poll);
    return;
  }
  uv_ref((uv_handle_t *)&alarm->poll);
  if (alarm->set_ns != 0 && alarm->set_ns <= next->due_ns + CLOCK_SLACK_NS) {
    return; /* when it comes too early, it is set again */
  }
  alarm->set_ns = next->due_ns;
  now = uv_hrtime();
  left_ns = next->due_ns > now ? next->due_ns - now : 1; /* 0 would unset it */
  when.it_value.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S);
  when.it_value.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S);
  (void)timerfd_settime(alarm->fd, 0, &when, NULL); /* fails only for bad values */
}

static void alarm_on_due(uv_poll_t *poll, int status, int events)
{
  struct clock_alarm *alarm = SIP_CONTAINER(poll, struct clock_alarm, poll);
  struct sip_clock *clock = alarm->clock;
  uint64_t now = uv_hrtime(), expirations;
  struct sip_timer *timer;

  (void)status; /* a timerfd does not fail */
  (void)events;
  (void)!read(alarm->fd, &expirations, sizeof expirations); /* EAGAIN: it was set anew meanwhile */
  alarm->set_ns = 0;
  while ((timer = clock_next(clock)) != NULL && timer->due_ns <= now) {
    sip_list_remove(&timer->link);
    timer->on_due(&timer->uv);
  }
  alarm_set(alarm);
}

/* NULL when there are no file descriptors or memory: libuv's timers have to do then. */
static struct clock_alarm *alarm_of(struct sip_clock *clock)
{
  struct clock_alarm *alarm = clock->alarm;

  if (alarm != NULL) {
    return alarm;
  }
  alarm = calloc(1, sizeof *alarm);
  if (alarm == NULL) {
    return NULL;
  }
  alarm->clock = clock;
  alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (alarm->fd < 0 || uv_poll_init(clock->loop, &alarm->poll, alarm->fd) < 0) {
    goto cleanup;
  }
  if (uv_poll_start(&alarm->poll, UV_READABLE, alarm_on_due) < 0) {
    uv_close((uv_handle_t *)&alarm->poll, alarm_on_close);
    return NULL;
  }
  clock->alarm = alarm;
  return alarm;
cleanup:
  if (alarm->fd >= 0) {
    (void)close(alarm->fd);
  }
  free(alarm);
  return NULL;
}

void sip_clock_close(struct sip_clock *clock)
{
  if (clock->alarm != NULL) {
    uv_close((uv_handle_t *)&clock->alarm->poll, alarm_on_close);
    clock->alarm = NULL;
  }
}

/* --- timers --- */

void sip_timer_start(struct sip_timer *timer, uv_timer_cb on_due, uint64_t ms)
{
  struct sip_clock *clock = timer->clock;
  bool precise = !clock->is_virtual && ms <= CLOCK_SHORT_MS && alarm_of(clock) != NULL;

  sip_timer_stop(timer);
  if (!clock->is_virtual && !precise) {
    uv_update_time(clock->loop); /* it may be old; and what is left of its millisecond is added */
    (void)uv_timer_start(&timer->uv, on_due, ms < UINT64_MAX ? ms + 1 : ms,
                         0); /* fails only without a callback, or closing */
    return;
  }
  timer->on_due = on_due;
  timer->due_ns = clock_after(sip_clock_precise_ns(clock), ms);
  clock_insert(clock, timer);
  if (precise) {
    alarm_set(clock->alarm);
  }
}

void sip_timer_stop(struct sip_timer *timer)
{
  sip_list_remove(&timer->link);   /* the alarm comes for nothing */
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
