#ifndef SIP_KAFKA_EMBEDDED_FORWARD_H
#define SIP_KAFKA_EMBEDDED_FORWARD_H
/* embedded_forward.h - passes TCP connections from a fixed port on 127.0.0.1 to another address on
 * this machine.
 *
 * Runs on a thread of its own. Kafka clients use it for their first connection only: the answer to
 * it names the real address. At most 256 connections at once; further ones are closed. */
#include "core/err.h"

#include <stdint.h>

struct sip_forward;

/** Listens on 127.0.0.1:`port`, before it returns. `target` is "127.0.0.1:PORT". @return 0 or a
 * libuv code */
int sip_forward_start(struct sip_forward **out, uint16_t port, const char *target,
                      struct sip_err *err);

/** Closes every connection and joins the thread. Accepts NULL. */
void sip_forward_stop(struct sip_forward *forward);

#endif
