/* pace_test.c - a thread of librdkafka that waits for long looks for room while records are taken,
 * and sleeps when none are. */
#include "kafka/pace.h"

#include "support/test.h"

#include <poll.h>
#include <unistd.h>

enum { LONG_MS = 3000, SHORT_MS = 200 };

/* What librdkafka calls, as pace.c has it. */
int kafka_poll(struct pollfd *fds, nfds_t count, int timeout_ms,
               size_t size_bytes) __asm__("__poll_chk");

static int ends[2];

static struct pollfd wait_for(int timeout_ms, int *rc, uint64_t *took_ms)
{
  struct pollfd fd = { .fd = ends[0], .events = POLLIN, .revents = POLLIN };
  uint64_t began = uv_hrtime();

  *rc = kafka_poll(&fd, 1, timeout_ms, sizeof fd);
  *took_ms = (uv_hrtime() - began) / 1000000;
  return fd;
}

static void nothing_taken_is_waited_out(void)
{
  uint64_t took_ms;
  int rc;

  (void)wait_for(SHORT_MS, &rc, &took_ms);
  CHECK_INT(rc, 0);
  CHECK(took_ms >= SHORT_MS - 1);
}

static void what_is_taken_ends_a_long_wait_a_few_times(void)
{
  uint64_t took_ms, looks = 0;
  int rc;

  sip_kafka_took();
  for (;;) {
    struct pollfd fd = wait_for(SHORT_MS, &rc, &took_ms);

    CHECK_INT(fd.revents, 0);
    if (rc == 0) {
      break;
    }
    CHECK_INT(rc, 1);
    CHECK(took_ms < SHORT_MS - 1);
    looks++;
  }
  CHECK(looks > 1);
  CHECK(took_ms >= SHORT_MS - 1);
  sip_kafka_took(); /* and again */
  (void)wait_for(LONG_MS, &rc, &took_ms);
  CHECK_INT(rc, 1);
  CHECK(took_ms < LONG_MS);
}

static void a_short_wait_is_what_it_is(void)
{
  uint64_t took_ms;
  int rc;

  sip_kafka_took();
  (void)wait_for(5, &rc, &took_ms);
  CHECK_INT(rc, 0);
}

static void an_event_is_seen_at_once(void)
{
  uint64_t took_ms;
  struct pollfd fd;
  int rc;

  CHECK_INT(write(ends[1], "x", 1), 1);
  sip_kafka_took();
  fd = wait_for(LONG_MS, &rc, &took_ms);
  CHECK_INT(rc, 1);
  CHECK_INT(fd.revents, POLLIN);
  fd = wait_for(-1, &rc, &took_ms);
  CHECK_INT(fd.revents, POLLIN);
  fd = wait_for(0, &rc, &took_ms);
  CHECK_INT(fd.revents, POLLIN);
  CHECK(took_ms < LONG_MS);
}

int main(void)
{
  CHECK_INT(pipe(ends), 0);
  nothing_taken_is_waited_out();
  what_is_taken_ends_a_long_wait_a_few_times();
  a_short_wait_is_what_it_is();
  an_event_is_seen_at_once();
  SIP_TEST_END(uv_default_loop());
  return 0;
}
