/* c11_threads.c - C11 threads over pthreads, for ThreadSanitizer only.
 *
 * Debian's librdkafka uses glibc's C11 threads, of which ThreadSanitizer knows nothing: it crashes
 * on a thread that it did not see begin, and misses what the locks order. Linked into a program,
 * these functions take the place of glibc's, and ThreadSanitizer sees the pthread calls. glibc's
 * types are as large as those of pthreads. cnd_timedwait is in drivers/kafka/clock.c. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "a mtx_t can hold a mutex");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "a cnd_t can hold a condition");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "a thrd_t is a pthread_t");

const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
  return "ignore_noninstrumented_modules=1";
}

struct start {
  thrd_start_t run;
  void *arg;
};

static int result_of(int rc)
{
  switch (rc) {
  case 0:
    return thrd_success;
  case EBUSY:
    return thrd_busy;
  case ENOMEM:
    return thrd_nomem;
  default:
    return thrd_error;
  }
}

static void *start_main(void *arg)
{
  struct start start = *(struct start *)arg;

  free(arg);
  return (void *)(intptr_t)start.run(start.arg);
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
  struct start *start = malloc(sizeof *start);
  int rc;

  if (start == NULL) {
    return thrd_nomem;
  }
  start->run = run;
  start->arg = arg;
  rc = pthread_create((pthread_t *)thread, NULL, start_main, start);
  if (rc != 0) {
    free(start);
  }
  return result_of(rc);
}

int thrd_join(thrd_t thread, int *result)
{
  void *value = NULL;
  int rc = pthread_join((pthread_t)thread, &value);

  if (result != NULL) {
    *result = (int)(intptr_t)value;
  }
  return result_of(rc);
}

thrd_t thrd_current(void)
{
  return (thrd_t)pthread_self();
}

int mtx_init(mtx_t *mutex, int type)
{
  pthread_mutexattr_t attributes;
  int rc = pthread_mutexattr_init(&attributes);

  if (rc == 0 && (type & mtx_recursive) != 0) {
    rc = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  }
  if (rc == 0) {
    rc = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
  }
  return result_of(rc);
}

void mtx_destroy(mtx_t *mutex)
{
  (void)pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int mtx_lock(mtx_t *mutex)
{
  return result_of(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
  return result_of(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int cnd_init(cnd_t *condition)
{
  return result_of(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

void cnd_destroy(cnd_t *condition)
{
  (void)pthread_cond_destroy((pthread_cond_t *)condition);
}

int cnd_signal(cnd_t *condition)
{
  return result_of(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
  return result_of(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
  return result_of(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

void call_once(once_flag *flag, void (*run)(void))
{
  (void)pthread_once((pthread_once_t *)flag, run);
}
