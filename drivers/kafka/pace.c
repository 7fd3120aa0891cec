/* pace.c - how long librdkafka's threads wait for a broker. Linked into each program, where this
 * takes the place of libc's function; librdkafka calls it, and of all else that is linked only
 * Kerberos.
 *
 * With idempotence librdkafka 2.0.2 has one request of a partition under way
 * (rd_kafka_toppar_producer_serve). Once the next batch has waited out its linger, that thread asks
 * poll again and again without waiting until the answer comes: a third of the CPU of a program that
 * sends all the time. Whatever ends such a wait (an answer, work for the thread) is seen by poll at
 * once, so a pause in there delays nothing but the end of a linger.
 *
 * And before 2.2, a thread whose consumer has queued.min.messages waits for a second before it
 * looks whether there is room again (rd_kafka_broker_consumer_serve), in which a fast reader
 * empties the queue. So while records are taken, a long wait ends early, as if by a wake-up. */
#include "kafka/pace.h"

#include <assert.h>
#include <poll.h>
#include <stdatomic.h>
#include <time.h>

enum {
  TURNS_FREE = 3,    /* in a row that found nothing */
  PAUSE_NS = 250000, /* in each one after them */
  LOOK_MS = 20,      /* how long a thread waits that may find room when it looks */
  LOOKS = 5          /* after the last take */
};

static atomic_uint pace_takes;

/* As of glibc's poll with _FORTIFY_SOURCE: Debian's libraries are built with it. */
int sip_kafka_poll(struct pollfd *fds, nfds_t count, int timeout_ms,
                   size_t size_bytes) __asm__("__poll_chk");

void sip_kafka_took(void)
{
  (void)atomic_fetch_add_explicit(&pace_takes, 1, memory_order_relaxed);
}

/* Waits for long. With a result of 1 and no event librdkafka's thread looks after all that it has.
 */
static int pace_wait(struct pollfd *fds, nfds_t count, int timeout_ms)
{
  static _Thread_local unsigned seen; /* by this thread, of the takes */
  static _Thread_local int looks;     /* that it has left, unless there is another one */
  unsigned takes = atomic_load_explicit(&pace_takes, memory_order_relaxed);
  int rc;

  if (takes != seen) {
    seen = takes;
    looks = LOOKS;
  }
  if (looks == 0) {
    return poll(fds, count, timeout_ms);
  }
  rc = poll(fds, count, LOOK_MS);
  if (rc != 0) {
    return rc;
  }
  looks--;
  return 1;
}

int sip_kafka_poll(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size_bytes)
{
  static _Thread_local int turns; /* of this thread, in a row, that found nothing */
  struct timespec pause = { 0, turns >= TURNS_FREE ? PAUSE_NS : 0 };
  int rc;

  (void)size_bytes;                          /* without assertions */
  assert(size_bytes / sizeof *fds >= count); /* as libc does */
  if (timeout_ms != 0) {
    turns = 0;
    return timeout_ms > 0 && timeout_ms <= LOOK_MS ? poll(fds, count, timeout_ms)
                                                   : pace_wait(fds, count, timeout_ms);
  }
  rc = ppoll(fds, count, &pause, NULL);
  turns = rc != 0 ? 0 : turns < TURNS_FREE ? turns + 1 : TURNS_FREE;
  return rc;
}
