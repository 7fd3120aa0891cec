/* clock.c - keeps librdkafka's waits off the wall clock. Linked into each program, where these two
 * take the place of libc's; of all that is linked librdkafka calls them, only to wait, and
 * libmicrohttpd, for a time to count from. With libc's, a clock that is set back by an hour holds
 * heartbeats back for as long. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "a mtx_t is a mutex of glibc's");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "a cnd_t is a condition of glibc's");

int timespec_get(struct timespec *out, int base)
{
  return base == TIME_UTC && clock_gettime(CLOCK_MONOTONIC, out) == 0 ? base : 0;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
  int rc = pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex,
                                  CLOCK_MONOTONIC, until);

  return rc == 0 ? thrd_success : rc == ETIMEDOUT ? thrd_timedout : thrd_error;
}
