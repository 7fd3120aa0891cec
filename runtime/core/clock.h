#ifndef SIP_CORE_CLOCK_H
#define SIP_CORE_CLOCK_H
/* clock.h - the time of one worker: what it reads, and the timers that wait for it.
 *
 * Mostly that is the machine's, by way of the loop. A virtual clock stands still, and jumps to its
 * next timer when its owner says that nothing else is left to do: then three days pass at once, and
 * in the same order each time. Timers are never early. Of the machine's clock, long ones are
 * libuv's, which counts in milliseconds; short ones come within some 50 us, by a timerfd. Loop
 * thread only. */
#include "core/list.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct sip_clock {
  uv_loop_t *loop; /* borrowed */
  bool is_virtual;
  uint64_t now_ns;           /* virtual: since it began */
  int64_t wall_ms;           /* virtual: of the day at now_ns 0, since 1970-01-01 UTC */
  struct sip_list timers;    /* those that run, the next one first; real: only the short ones */
  struct clock_alarm *alarm; /* owned; real: waits for the first of them; NULL: none yet */
};

/* One-shot. The uv_timer_t comes first: a callback gets it, and `timer.uv.data` is the owner's. */
struct sip_timer {
  uv_timer_t uv;           /* waits when the clock is real and the wait long */
  struct sip_clock *clock; /* borrowed: outlives the timer */
  struct sip_list link;    /* in the clock's timers, or alone */
  uint64_t due_ns;
  uv_timer_cb on_due;
};

void sip_clock_init(struct sip_clock *clock, uv_loop_t *loop);

/** After its last timer was closed. What it has goes in the loop's next turn. */
void sip_clock_close(struct sip_clock *clock);

/** From now on it is virtual, and begins at this time of the day; before the first timer starts. */
void sip_clock_make_virtual(struct sip_clock *clock, int64_t wall_ms);

/** The loop's time, for deadlines. */
uint64_t sip_clock_loop_ms(const struct sip_clock *clock);

/** As now_ms, read anew: for measuring. */
uint64_t sip_clock_precise_ns(const struct sip_clock *clock);

/** Milliseconds since 1970-01-01 UTC. */
int64_t sip_clock_wall_ms(const struct sip_clock *clock);

/** The machine's, whatever a virtual clock says: ns since 1970-01-01 UTC. Any thread. */
uint64_t sip_clock_machine_ns(void);

/** Of a virtual clock: goes to the time of its next timer, unless that is later than `limit_ms`,
 * and calls it. @return whether there was one */
bool sip_clock_jump(struct sip_clock *clock, uint64_t limit_ms);

/** Of a virtual clock: whether a timer runs. */
bool sip_clock_has_timers(const struct sip_clock *clock);

void sip_timer_init(struct sip_timer *timer, struct sip_clock *clock);

/** Starts it, or starts it anew; `on_due` gets &timer->uv. */
void sip_timer_start(struct sip_timer *timer, uv_timer_cb on_due, uint64_t ms);
void sip_timer_stop(struct sip_timer *timer);

/** The memory is the owner's again in `on_close`. */
void sip_timer_close(struct sip_timer *timer, uv_close_cb on_close);
bool sip_timer_is_closing(const struct sip_timer *timer);

#endif
