#ifndef SIP_SERIAL_PRESET_H
#define SIP_SERIAL_PRESET_H
/* preset.h - the usual ways in which bytes are frames, for scripts. Bytes that are no frame are
 * dropped one by one, and counted. No I/O, no clock; one thread at a time. */
#include "serial/check.h"
#include "serial/party.h"

enum sip_preset_kind {
  SIP_PRESET_NONE,
  SIP_PRESET_DELIMITER, /* up to a delimiter, which is cut off */
  SIP_PRESET_LENGTH,    /* a length in the frame: at, width, little, extra */
  SIP_PRESET_FIXED,     /* of `size` bytes */
  SIP_PRESET_GAP        /* ended by silence */
};

enum { SIP_PRESET_MARK = 8, SIP_PRESET_MAX = 65536 };

struct sip_preset {
  enum sip_preset_kind framing;
  uint8_t delimiter[SIP_PRESET_MARK], start[SIP_PRESET_MARK];
  size_t delimiter_size, start_size;
  bool cut_cr;             /* "line": a CR before the LF goes too */
  size_t at, width, extra; /* where the length is; what is added to it for the whole frame */
  bool little;             /* its low byte comes first */
  size_t size, max;
  enum sip_check_kind check; /* at the end of a frame, and cut off */
  unsigned gap_ms;           /* silence that ends a frame, or a broken one */
  bool skipping;             /* the frame in progress was too long */
  uint8_t *bytes;            /* owned: max and some */
  size_t used, room;
  size_t dropped;  /* since it was last looked at */
  int64_t last_us; /* of a byte */
};

typedef void (*sip_preset_fn)(void *arg, const uint8_t *frame, size_t size);

/** Reads `framing` ("none", "line", "delimiter", "length", "fixed", "gap"), `delimiter`, `start`,
 *  `at`, `width`, `little`, `extra`, `size`, `gap_ms`, `check`, `max` (4096). @return 0 or a
 * negative code
 */
int sip_preset_init(struct sip_preset *preset, const struct sip_note *settings,
                    struct sip_err *err);
void sip_preset_deinit(struct sip_preset *preset);

/** Gives each frame that is whole now. */
void sip_preset_feed(struct sip_preset *preset, int64_t now_us, const uint8_t *bytes, size_t size,
                     sip_preset_fn on_frame, void *arg);

/** When silence would end what is there, and what it ends. */
int64_t sip_preset_due_us(const struct sip_preset *preset);
void sip_preset_on_due(struct sip_preset *preset, int64_t now_us, sip_preset_fn on_frame,
                       void *arg);

/** The link is gone: what is there is dropped. */
void sip_preset_reset(struct sip_preset *preset);

#endif
