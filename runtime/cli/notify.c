/* notify.c - the protocol of sd_notify(3): datagrams of NAME=VALUE lines to the socket that the
 * service manager names. The watchdog is fed by the loop's own timer, so a loop that stands still
 * is noticed. */
#include "cli/notify.h"

#include "core/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_connect(const char *path, struct sip_err *err)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  size_t length = strlen(path);
  int fd;

  if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path) {
    return sip_err_set(err, UV_EINVAL, "NOTIFY_SOCKET is no path of a socket: %.80s", path);
  }
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') {
    address.sun_path[0] = '\0'; /* in the abstract namespace */
  }
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    return sip_err_errno(err, errno, "open a socket");
  }
  if (connect(fd, (struct sockaddr *)&address,
              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0) {
    int rc = sip_err_errno(err, errno, "connect to NOTIFY_SOCKET %s", path);

    (void)close(fd);
    return rc;
  }
  return fd;
}

void sip_notify_send(struct sip_notify *notify, const char *state)
{
  if (notify->socket >= 0 && send(notify->socket, state, strlen(state), MSG_NOSIGNAL) < 0 &&
      errno != EAGAIN) {
    sip_log(SIP_LOG_WARN, "host", NULL, "the service manager is not told any more: %s",
            strerror(errno));
    (void)close(notify->socket);
    notify->socket = -1;
  }
}

static void notify_on_beat(uv_timer_t *timer)
{
  sip_notify_send(timer->data, "WATCHDOG=1");
}

/* Half of the time after which the service manager acts; 0 when none is set, or not for us. */
static uint64_t notify_beat_ms(void)
{
  const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
  uint64_t half = usec != NULL ? strtoull(usec, NULL, 10) / 2000 : 0;

  if (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()) {
    return 0;
  }
  return usec != NULL && half == 0 ? 1 : half;
}

int sip_notify_open(struct sip_notify *notify, uv_loop_t *loop, struct sip_err *err)
{
  const char *path = getenv("NOTIFY_SOCKET");
  struct sip_err failed = { 0 };
  int rc;

  notify->socket = -1;
  if (path == NULL || path[0] == '\0') {
    return 0;
  }
  rc = uv_timer_init(loop, &notify->beat);
  if (rc < 0) {
    return sip_err_set(err, rc, "start a timer: %s", uv_strerror(rc));
  }
  notify->beat.data = notify;
  notify->beat_open = true;
  notify->beat_ms = notify_beat_ms();
  notify->socket = notify_connect(path, &failed);
  if (notify->socket < 0) {
    notify->socket = -1;
    sip_log(SIP_LOG_WARN, "host", NULL, "%s", failed.message);
  }
  return 0;
}

void sip_notify_ready(struct sip_notify *notify, const char *status)
{
  char text[256];

  (void)snprintf(text, sizeof text, "READY=1\nSTATUS=%s", status);
  sip_notify_send(notify, text);
  if (notify->beat_open && notify->beat_ms > 0 && !uv_is_active((uv_handle_t *)&notify->beat)) {
    (void)uv_timer_start(&notify->beat, notify_on_beat, 0, notify->beat_ms); /* has a callback */
    uv_unref((uv_handle_t *)&notify->beat);
  }
}

void sip_notify_close(struct sip_notify *notify)
{
  if (notify->beat_open) {
    uv_close((uv_handle_t *)&notify->beat, NULL);
    notify->beat_open = false;
  }
  if (notify->socket >= 0) {
    (void)close(notify->socket);
    notify->socket = -1;
  }
}
