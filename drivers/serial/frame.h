#ifndef SIP_SERIAL_FRAME_H
#define SIP_SERIAL_FRAME_H
/* frame.h - frames out of a stream that splits and merges them at will.
 *
 * A framer keeps what came in a buffer of a fixed size and shows its beginning to the protocol,
 * which says how long the frame there is. Where none begins, one byte is dropped, and the next one
 * looked at: never the whole length that a damaged byte claims. What does not become a frame within
 * the protocol's pause between two bytes is given up in the same way. One owner, any thread.
 *
 *   while (sip_framer_take(&framer, now_us, &bytes, &size, &frame)) { ... }
 * with the bytes that came; and in on_due, if (sip_framer_late(&framer, now_us)), without any. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIP_FRAME_MORE  0    /* what is there may become a frame */
#define SIP_FRAME_NOISE (-1) /* no frame begins here */

/** What begins at `bytes` (`size` is at least 1): the length of a whole frame whose check is right,
 *  SIP_FRAME_MORE or SIP_FRAME_NOISE. */
typedef int (*sip_frame_look_fn)(const uint8_t *bytes, size_t size, const void *of);

struct sip_framing {
  sip_frame_look_fn look;
  size_t most_bytes; /* of a frame: what is longer and no frame yet, is noise */
  int64_t pause_us;  /* the longest one between two bytes of a frame; 0: any */
};

struct sip_frame {
  const uint8_t *bytes; /* valid until the framer is called again */
  size_t size;
  int64_t first_us, last_us; /* when its first and its last byte came */
};

struct sip_framer {
  const struct sip_framing *framing; /* borrowed, static */
  const void *of;                    /* borrowed: what `look` gets */
  uint8_t *bytes;                    /* most_bytes of them */
  int64_t *at_us;                    /* when each came */
  size_t begin, end;
  size_t stale;      /* up to here bytes are too old to become a frame with later ones */
  uint64_t dropped;  /* in all */
  uint64_t reported; /* of them */
};

/** @return 0 or UV_ENOMEM; deinit accepts what init left, and a zeroed struct */
int sip_framer_init(struct sip_framer *framer, const struct sip_framing *framing, const void *of);
void sip_framer_deinit(struct sip_framer *framer);

/** Forgets what it has: the link is gone, and the other half of a frame will not come. */
void sip_framer_reset(struct sip_framer *framer);

/** Takes what fits. @return how many; ask sip_framer_next for all frames, then give it the rest */
size_t sip_framer_feed(struct sip_framer *framer, int64_t now_us, const uint8_t *bytes,
                       size_t size);

/** The next frame, or false. */
bool sip_framer_next(struct sip_framer *framer, struct sip_frame *frame);

/** Feeds the bytes, which are moved on, and gives the next frame that ends in them, or false. */
bool sip_framer_take(struct sip_framer *framer, int64_t now_us, const uint8_t **bytes, size_t *size,
                     struct sip_frame *frame);

/** When the beginning of a frame has waited too long; INT64_MAX: nothing waits. */
int64_t sip_framer_due_us(const struct sip_framer *framer);

/** True when it has: sip_framer_next gives up what cannot become a frame any more. */
bool sip_framer_late(struct sip_framer *framer, int64_t now_us);

/** Bytes dropped since this was last asked. */
uint64_t sip_framer_noise(struct sip_framer *framer);

/* Silence between frames, as Modbus has it: 3.5 characters of 11 bits, above 19200 Bd 1.75 ms. */
struct sip_gap {
  unsigned baud;
  bool busy;      /* bytes were marked */
  int64_t end_us; /* when the last byte was over */
};

/** How long the silence is that ends a frame. */
int64_t sip_gap_us(unsigned baud);

/** How long `size` characters of 11 bits take. */
int64_t sip_gap_wire_us(unsigned baud, size_t size);

/** Bytes, in either direction, whose first one began at `start_us`. True: a frame began with them.
 */
bool sip_gap_mark(struct sip_gap *gap, int64_t start_us, size_t size);

/** From when on the line has been silent for long enough. */
int64_t sip_gap_quiet_us(const struct sip_gap *gap);

#endif
