/* wakeup.c - an eventfd that the loop polls. uv_async_t would do, but for this: who receives spins
 * until who sends has left its system call, on each wake that finds the loop asleep, which costs
 * more than all else of it. Here only close waits for that. */
#include "core/wakeup.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct sip_wakeup {
  uv_poll_t poll;
  sip_wakeup_fn fn; /* NULL once closed */
  void *arg;        /* borrowed from the owner until close */
  int fd;
  atomic_bool sent;   /* and not received yet */
  atomic_int senders; /* threads that are in sip_wakeup_send */
};

static void wakeup_on_poll(uv_poll_t *poll, int status, int events)
{
  struct sip_wakeup *wakeup = poll->data;
  uint64_t count;

  (void)status; /* an eventfd has no errors */
  (void)events;
  (void)!read(wakeup->fd, &count, sizeof count); /* EAGAIN: there was nothing, which is fine */
  if (atomic_exchange(&wakeup->sent, false) && wakeup->fn != NULL) {
    wakeup->fn(wakeup->arg);
  }
}

static void wakeup_on_close(uv_handle_t *handle)
{
  struct sip_wakeup *wakeup = handle->data;

  while (atomic_load(&wakeup->senders) > 0) {
    (void)sched_yield(); /* it began before the close, and does not wait for anything */
  }
  (void)close(wakeup->fd); /* nothing was written to it that could be lost */
  free(wakeup);
}

int sip_wakeup_new(struct sip_wakeup **out, uv_loop_t *loop, sip_wakeup_fn fn, void *arg)
{
  struct sip_wakeup *wakeup = calloc(1, sizeof *wakeup);
  int rc;

  if (wakeup == NULL) {
    return UV_ENOMEM;
  }
  wakeup->fn = fn;
  wakeup->arg = arg;
  wakeup->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  rc = wakeup->fd < 0 ? uv_translate_sys_error(errno) : 0;
  rc = rc < 0 ? rc : uv_poll_init(loop, &wakeup->poll, wakeup->fd);
  if (rc < 0) {
    if (wakeup->fd >= 0) {
      (void)close(wakeup->fd); /* nothing was written to it */
    }
    free(wakeup);
    return rc;
  }
  wakeup->poll.data = wakeup;
  (void)uv_poll_start(&wakeup->poll, UV_READABLE, wakeup_on_poll); /* 0: it is not closing */
  *out = wakeup;
  return 0;
}

void sip_wakeup_send(struct sip_wakeup *wakeup)
{
  static const uint64_t one = 1;

  (void)atomic_fetch_add(&wakeup->senders, 1);
  if (!atomic_exchange(&wakeup->sent, true)) {
    (void)!write(wakeup->fd, &one, sizeof one); /* fails only when it is full, and so readable */
  }
  (void)atomic_fetch_sub(&wakeup->senders, 1);
}

void sip_wakeup_close(struct sip_wakeup *wakeup)
{
  if (wakeup != NULL) {
    wakeup->fn = NULL;
    uv_close((uv_handle_t *)&wakeup->poll, wakeup_on_close);
  }
}
