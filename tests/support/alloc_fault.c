/* alloc_fault.c - makes one allocation of the program fail, to see that it ends in a clean error.
 *
 * Linked into sipeat_sweep and luatest_sweep with -Wl,--wrap for each function below, so it counts
 * what our own objects and Lua allocate, and nothing of shared libraries. SIPEAT_ALLOC_CONTROL
 * names a file that is mapped and shared with the test: it says which allocation fails, counted
 * from the moment that the test zeroes the count, and how many after it: Lua collects its garbage
 * and tries once more. Any thread. */
#include "support/alloc_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
  _Atomic uint64_t fail_at; /* written by the test; 0: none */
  _Atomic uint64_t count;   /* allocations so far */
  _Atomic uint64_t failed;  /* how many were made to fail */
  _Atomic uint64_t more;    /* written by the test: how many after that one fail too */
};

static struct control *control; /* set before main, or by alloc_fault_arm; NULL without a test */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t max);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);

__attribute__((constructor)) static void control_map(void)
{
  const char *path = getenv("SIPEAT_ALLOC_CONTROL");
  int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

  if (fd >= 0) {
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    control = page == MAP_FAILED ? NULL : page;
    (void)close(fd); /* the mapping stays */
  }
}

void alloc_fault_arm(uint64_t number, uint64_t more)
{
  static struct control own;

  control = &own;
  atomic_store(&own.fail_at, 0);
  atomic_store(&own.count, 0);
  atomic_store(&own.failed, 0);
  atomic_store(&own.more, more);
  atomic_store(&own.fail_at, number);
}

bool alloc_fault_disarm(void)
{
  atomic_store(&control->fail_at, 0);
  return atomic_load(&control->failed) > 0;
}

static bool fault_here(void)
{
  uint64_t number, at;

  if (control == NULL) {
    return false;
  }
  number = atomic_fetch_add(&control->count, 1) + 1;
  at = atomic_load(&control->fail_at);
  if (at == 0 || number < at || number > at + atomic_load(&control->more)) {
    return false;
  }
  atomic_fetch_add(&control->failed, 1);
  errno = ENOMEM;
  return true;
}

void *__wrap_malloc(size_t size)
{
  return fault_here() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
  return fault_here() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
  return fault_here() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
  return fault_here() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t max)
{
  return fault_here() ? NULL : __real_strndup(text, max);
}
