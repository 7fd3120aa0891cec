#ifndef SIP_SERIAL_NOISE_H
#define SIP_SERIAL_NOISE_H
/* noise.h - tells how many bytes were no frames, once a second at most: a board that never stops
 * must not push what matters out of a line's bounded queue. */
#include "serial/frame.h"
#include "serial/party.h"

struct sip_noise {
  int64_t next_us; /* not before */
};

/** Tells the note `noise` {dropped}, when there is something to say and a second is over. */
void sip_noise_tell(struct sip_noise *noise, int64_t now_us, struct sip_framer *framer,
                    struct sip_line *line);

#endif
