#ifndef SIP_TEST_FRAMING_H
#define SIP_TEST_FRAMING_H
/* framing.h - what every framing has to do with a good frame, whatever the line does to it. */
#include "serial/frame.h"

/** The frame is found whole, byte by byte, cut at each place, behind itself, behind noise, and
 * behind a copy of itself in which a byte is another one, for each byte; that copy is not taken for
 * a frame. `good` tells frames whose check is right from damaged ones, where both are framed; NULL:
 * all are. */
void framing_holds(const struct sip_framing *framing, const void *of, const uint8_t *frame,
                   size_t size, bool (*good)(const uint8_t *bytes, size_t size));

#endif
