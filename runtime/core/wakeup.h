#ifndef SIP_CORE_WAKEUP_H
#define SIP_CORE_WAKEUP_H
/* wakeup.h - lets another thread, or a library that writes to a file descriptor, call back on the
 * loop thread.
 *
 * Sends merge: the receiver drains its whole queue each time. The wakeup lives in a heap block of
 * its own, which its close callback frees. */
#include <uv.h>

struct sip_wakeup;
typedef void (*sip_wakeup_fn)(void *arg); /* loop thread; may close the wakeup */

/** @return 0 or a libuv code */
int sip_wakeup_new(struct sip_wakeup **out, uv_loop_t *loop, sip_wakeup_fn fn, void *arg);

/** Any thread, until sip_wakeup_close. */
void sip_wakeup_send(struct sip_wakeup *wakeup);

/** Loop thread; NULL is fine. `fn` is not called afterwards; the memory goes in the loop's next
 * turn. */
void sip_wakeup_close(struct sip_wakeup *wakeup);

#endif
