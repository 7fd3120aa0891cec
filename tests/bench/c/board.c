/* board.c - an FA FB board that polls its host and takes the time to each answer, beside a bare
 * thread that does nothing but answer such polls.
 *
 * board POLL_US
 * Prints the path of the board's pseudo-terminal, polls it and one of its own every POLL_US, and on
 * SIGTERM prints how late the answers were, as JSON. Polls before the first answer do not count.
 * The threads take real-time priority where they may, as sipeat's serial thread does: what delays
 * the bare one is the machine. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define FRAME    5u
#define SAMPLES  (1u << 21)
#define PRIORITY 10
#define STEPS    13u /* of the histogram: the first is up to 50 us, each further one twice that */

static const char poll_frame[] = "\xfa\xfb\x41\x00\x40", ack_frame[] = "\xfa\xfb\x42\x00\x43";
static atomic_bool stopped;

struct line {
  const char *name;
  int master;
  char path[64];
  long poll_us;
  uint32_t *late_us;
  size_t count;
};

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static int64_t now_us(void)
{
  struct timespec now;

  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
    die("clock_gettime");
  }
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void raw(int fd)
{
  struct termios settings;

  if (tcgetattr(fd, &settings) != 0) {
    die("tcgetattr");
  }
  cfmakeraw(&settings);
  if (tcsetattr(fd, TCSANOW, &settings) != 0) {
    die("tcsetattr");
  }
}

static void line_open(struct line *line, const char *name, long poll_us)
{
  line->name = name;
  line->poll_us = poll_us;
  line->late_us = calloc(SAMPLES, sizeof *line->late_us);
  line->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (line->late_us == NULL || line->master < 0 || grantpt(line->master) != 0 ||
      unlockpt(line->master) != 0 || ptsname_r(line->master, line->path, sizeof line->path) != 0) {
    die("a pseudo-terminal");
  }
  raw(line->master);
}

/* Reads one frame, for up to a second. @return whether it came */
static bool take_frame(int fd, char frame[FRAME])
{
  size_t have = 0;

  while (have < FRAME) {
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    ssize_t n;

    if (poll(&ready, 1, 1000) <= 0) {
      return false;
    }
    n = read(fd, frame + have, FRAME - have);
    if (n <= 0) { /* nobody has the other end: yet, or any more */
      (void)usleep(10000);
      return false;
    }
    have += (size_t)n;
  }
  return true;
}

static void *board_run(void *arg)
{
  struct line *line = arg;
  char frame[FRAME];
  bool answered = false;

  while (!atomic_load(&stopped)) {
    int64_t asked = now_us();

    if (write(line->master, poll_frame, FRAME) != (ssize_t)FRAME) {
      die("write");
    }
    if (take_frame(line->master, frame)) {
      if (memcmp(frame, ack_frame, FRAME) != 0) {
        (void)fprintf(stderr, "board: %s: no ACK\n", line->name);
        exit(1);
      }
      if (answered && line->count < SAMPLES) {
        line->late_us[line->count++] = (uint32_t)(now_us() - asked);
      }
      answered = true;
    } else {
      (void)tcflush(line->master, TCIOFLUSH); /* what nobody reads must not fill it */
    }
    while (now_us() < asked + line->poll_us) {
      (void)usleep(
        (useconds_t)(asked + line->poll_us - now_us() > 0 ? asked + line->poll_us - now_us() : 1));
    }
  }
  return NULL;
}

static void *bare_run(void *arg)
{
  struct line *line = arg;
  int fd = open(line->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  char frame[FRAME];

  if (fd < 0) {
    die(line->path);
  }
  raw(fd);
  while (!atomic_load(&stopped)) {
    if (take_frame(fd, frame) && write(fd, ack_frame, FRAME) != (ssize_t)FRAME) {
      die("write");
    }
  }
  return NULL;
}

static pthread_t start(void *(*run)(void *), struct line *line)
{
  struct sched_param priority = { .sched_priority = PRIORITY };
  pthread_t thread;

  if (pthread_create(&thread, NULL, run, line) != 0) {
    die("pthread_create");
  }
  (void)pthread_setschedparam(thread, SCHED_FIFO, &priority); /* where it may */
  return thread;
}

static int compare(const void *a, const void *b)
{
  uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

  return (one > other) - (one < other);
}

static void report(struct line *line)
{
  static const double shares[] = { 0.5, 0.99, 0.999, 1 };
  static const char *const names[] = { "p50_us", "p99_us", "p999_us", "max_us" };
  uint64_t limit = 50;

  qsort(line->late_us, line->count, sizeof *line->late_us, compare);
  printf("\"%s\": {\"count\": %zu", line->name, line->count);
  for (size_t i = 0; i < sizeof shares / sizeof *shares && line->count > 0; i++) {
    printf(", \"%s\": %u", names[i],
           line->late_us[(size_t)((double)(line->count - 1) * shares[i])]);
  }
  printf(", \"histogram\": [");
  for (size_t step = 0, at = 0; step < STEPS; step++, limit *= 2) {
    size_t from = at;

    while (at < line->count && (line->late_us[at] <= limit || step == STEPS - 1)) {
      at++;
    }
    printf("%s%zu", step > 0 ? ", " : "", at - from);
  }
  printf("]}");
}

int main(int argc, char **argv)
{
  struct line host = { 0 }, bare = { 0 };
  long poll_us = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
  pthread_t threads[3];
  sigset_t ends;
  int got;

  if (poll_us <= 0) {
    (void)fprintf(stderr, "usage: board POLL_US\n");
    return 2;
  }
  (void)sigemptyset(&ends);
  (void)sigaddset(&ends, SIGTERM);
  if (pthread_sigmask(SIG_BLOCK, &ends, NULL) != 0) {
    die("pthread_sigmask");
  }
  line_open(&host, "sipeat", poll_us);
  line_open(&bare, "bare", poll_us);
  printf("%s\n", host.path);
  (void)fflush(stdout);
  threads[0] = start(bare_run, &bare);
  threads[1] = start(board_run, &bare);
  threads[2] = start(board_run, &host);
  (void)sigwait(&ends, &got);
  atomic_store(&stopped, true);
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    (void)pthread_join(threads[i], NULL);
  }
  printf("{");
  report(&host);
  printf(", ");
  report(&bare);
  printf("}\n");
  free(host.late_us);
  free(bare.late_us);
  return 0;
}
