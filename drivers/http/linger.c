/* linger.c - lets a client read a refusal while it still sends its body. Loop thread only. */
#include "http/linger.h"

#include "core/base.h"
#include "core/list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* One client, until both handles are closed. */
struct guest {
  struct sip_list link;     /* in the owner's list while open */
  struct sip_linger *owner; /* counted */
  uv_poll_t poll;
  uv_timer_t timer;
  int fd, handles;
  size_t bytes;
};

struct sip_linger {
  uv_loop_t *loop; /* borrowed: outlives it */
  struct sip_list guests;
  size_t count; /* guests that are not freed */
  bool closed;
};

int sip_linger_new(struct sip_linger **out, uv_loop_t *loop)
{
  struct sip_linger *linger = calloc(1, sizeof *linger);

  if (linger == NULL) {
    return UV_ENOMEM;
  }
  linger->loop = loop;
  sip_list_init(&linger->guests);
  *out = linger;
  return 0;
}

static void owner_drop(struct sip_linger *linger)
{
  if (linger->closed && linger->count == 0) {
    free(linger);
  }
}

static void guest_on_close(uv_handle_t *handle)
{
  struct guest *guest = handle->data;
  struct sip_linger *owner = guest->owner;

  if (--guest->handles > 0) {
    return;
  }
  (void)close(guest->fd);
  free(guest);
  owner->count--;
  owner_drop(owner);
}

static void guest_end(struct guest *guest)
{
  if (!uv_is_closing((uv_handle_t *)&guest->poll)) {
    sip_list_remove(&guest->link);
    uv_close((uv_handle_t *)&guest->poll, guest_on_close);
    uv_close((uv_handle_t *)&guest->timer, guest_on_close);
  }
}

static void guest_on_readable(uv_poll_t *poll, int status, int events)
{
  struct guest *guest = poll->data;
  char dropped[16384];
  ssize_t got = status < 0 ? 0 : recv(guest->fd, dropped, sizeof dropped, MSG_DONTWAIT);

  (void)events;
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  guest->bytes += got > 0 ? (size_t)got : 0;
  if (got <= 0 || guest->bytes > SIP_LINGER_BYTES) {
    guest_end(guest);
  }
}

static void guest_on_timeout(uv_timer_t *timer)
{
  guest_end(timer->data);
}

void sip_linger_on(struct sip_linger *linger, int fd)
{
  struct guest *guest;

  if (linger->closed || linger->count >= SIP_LINGER_COUNT) {
    return;
  }
  guest = calloc(1, sizeof *guest);
  if (guest == NULL) {
    return; /* without it, the client may miss its answer */
  }
  guest->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (guest->fd < 0 || uv_poll_init(linger->loop, &guest->poll, guest->fd) < 0) {
    if (guest->fd >= 0) {
      (void)close(guest->fd);
    }
    free(guest);
    return;
  }
  (void)uv_timer_init(linger->loop, &guest->timer); /* always 0 */
  guest->owner = linger;
  guest->poll.data = guest->timer.data = guest;
  guest->handles = 2;
  linger->count++;
  sip_list_push(&linger->guests, &guest->link);
  (void)shutdown(guest->fd, SHUT_WR); /* fails when the client has gone: seen below */
  (void)uv_timer_start(&guest->timer, guest_on_timeout, SIP_LINGER_MS, 0);
  if (uv_poll_start(&guest->poll, UV_READABLE, guest_on_readable) < 0) {
    guest_end(guest);
  }
}

void sip_linger_close(struct sip_linger *linger)
{
  struct sip_list *node;

  if (linger == NULL) {
    return;
  }
  linger->closed = true;
  while ((node = linger->guests.next) != &linger->guests) {
    guest_end(SIP_CONTAINER(node, struct guest, link));
  }
  owner_drop(linger);
}
