#ifndef SIP_HTTP_LINGER_H
#define SIP_HTTP_LINGER_H
/* linger.h - lets a client read a refusal while it still sends its body. Loop thread only.
 *
 * A socket that is closed with bytes unread resets its connection, and the client never sees the
 * answer: what comes is read and dropped for a little while first. */
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct sip_linger;

enum { SIP_LINGER_MS = 2000, SIP_LINGER_BYTES = 1024 * 1024, SIP_LINGER_COUNT = 64 };

/** Those of one server; they may outlive it for a turn of the loop. @return 0 or UV_ENOMEM */
int sip_linger_new(struct sip_linger **out, uv_loop_t *loop);

/** Keeps a copy of `fd`, which the caller closes, until the client has closed, or the time, the
 *  bytes or the number of such clients are over. */
void sip_linger_on(struct sip_linger *linger, int fd);

/** Closes all of them. Accepts NULL. */
void sip_linger_close(struct sip_linger *linger);

#endif
