/* pace.c - keeps librdkafka's threads from turning while they wait for a broker's answer. Linked
 * into each program, where this takes the place of libc's function; librdkafka calls it, and of all
 * else that is linked only Kerberos.
 *
 * With idempotence librdkafka 2.0.2 has one request of a partition under way
 * (rd_kafka_toppar_producer_serve). Once the next batch has waited out its linger, that thread asks
 * poll again and again without waiting until the answer comes: a third of the CPU of a program that
 * sends all the time. Whatever ends such a wait (an answer, work for the thread) is seen by poll at
 * once, so a pause in there delays nothing but the end of a linger. */
#include <assert.h>
#include <poll.h>
#include <time.h>

enum {
  TURNS_FREE = 3,   /* in a row that found nothing */
  PAUSE_NS = 250000 /* in each one after them */
};

/* As of glibc's poll with _FORTIFY_SOURCE: Debian's libraries are built with it. */
int sip_kafka_poll(struct pollfd *fds, nfds_t count, int timeout_ms,
                   size_t size_bytes) __asm__("__poll_chk");

int sip_kafka_poll(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size_bytes)
{
  static _Thread_local int turns; /* of this thread, in a row, that found nothing */
  struct timespec pause = { 0, turns >= TURNS_FREE ? PAUSE_NS : 0 };
  int rc;

  (void)size_bytes;                          /* without assertions */
  assert(size_bytes / sizeof *fds >= count); /* as libc does */
  if (timeout_ms != 0) {
    turns = 0;
    return poll(fds, count, timeout_ms);
  }
  rc = ppoll(fds, count, &pause, NULL);
  turns = rc != 0 ? 0 : turns < TURNS_FREE ? turns + 1 : TURNS_FREE;
  return rc;
}
