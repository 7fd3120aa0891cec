#ifndef SIP_CLI_NOTIFY_H
#define SIP_CLI_NOTIFY_H
/* notify.h - tells systemd how this service fares (sd_notify(3)): ready, reloading, stopping, and
 * that its loop still turns. Without $NOTIFY_SOCKET all of it does nothing. Main thread. */
#include "core/err.h"

#include <stdbool.h>
#include <uv.h>

struct sip_notify {
  int socket;       /* -1: nobody is told */
  uv_timer_t beat;  /* of the watchdog */
  uint64_t beat_ms; /* 0: no watchdog */
  bool beat_open;
};

/** Takes $NOTIFY_SOCKET and $WATCHDOG_USEC. A socket that cannot be reached is logged.
 *  @return 0, or a negative code with `err` */
int sip_notify_open(struct sip_notify *notify, uv_loop_t *loop, struct sip_err *err);

/** `state` as sd_notify has it: "READY=1\nSTATUS=…". One that cannot be sent is logged once. */
void sip_notify_send(struct sip_notify *notify, const char *state);

/** The service runs: the watchdog is fed from now on. */
void sip_notify_ready(struct sip_notify *notify, const char *status);

void sip_notify_close(struct sip_notify *notify);

#endif
