#ifndef SIP_SERIAL_ECHO_H
#define SIP_SERIAL_ECHO_H
/* echo.h - takes our own bytes out of what a line with one wire for both directions gives back.
 *
 * What was sent is expected back, byte by byte, before anything of the other end. A byte that
 * differs is a collision or noise: everything up to a silence is thrown away then, and counted.
 * Whether an adapter echoes is a setting, or learnt once: it is not guessed from frame to frame.
 * One owner, any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIP_ECHO_MAX = 512 }; /* bytes that may be on their way back */

struct sip_echo {
  uint8_t expected[SIP_ECHO_MAX];
  size_t size, seen; /* of `expected` */
  bool differs;      /* until the silence */
  uint64_t collisions;
};

/** These bytes are on the line. False: more than SIP_ECHO_MAX are; nothing is expected of them. */
bool sip_echo_sent(struct sip_echo *echo, const uint8_t *bytes, size_t size);

/** How many of the bytes, from the first one, are echo or thrown away: the other end's follow. */
size_t sip_echo_strip(struct sip_echo *echo, const uint8_t *bytes, size_t size);

/** True when all that was sent came back. */
bool sip_echo_whole(const struct sip_echo *echo);

/** The line was silent: nothing that was sent comes back any more. */
void sip_echo_silence(struct sip_echo *echo);

#endif
