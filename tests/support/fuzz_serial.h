#ifndef SIP_FUZZ_SERIAL_H
#define SIP_FUZZ_SERIAL_H
/* fuzz_serial.h - what the fuzzers of serial protocols share. Only what is used of it is compiled
 * in: it includes nothing of a protocol. */
#include "serial/frame.h"
#include "serial/party.h"
#include "support/fuzz.h"

typedef void (*fuzz_frame_fn)(const struct sip_frame *frame, const void *of);

/** Feeds the bytes in pieces, whose size the first byte says; `check` gets each frame. */
void fuzz_frames(const struct sip_framing *framing, const void *of, const uint8_t *data,
                 size_t size, fuzz_frame_fn check);

/** Gives the bytes to an engine that was given the command, and to a simulator, while time passes.
 * Exactly one result has to be told for the command. */
void fuzz_parties(const struct sip_protocol *protocol, const struct sip_note *settings,
                  const struct sip_note *command, const uint8_t *data, size_t size);

/** Describes the bytes until they are too few. */
void fuzz_describe(const struct sip_protocol *protocol, const uint8_t *data, size_t size,
                   bool from_host);

#endif
