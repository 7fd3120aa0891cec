/* noise.c - see noise.h. */
#include "serial/noise.h"

enum { PAUSE_US = 1000000 };

void sip_noise_tell(struct sip_noise *noise, int64_t now_us, struct sip_framer *framer,
                    struct sip_line *line)
{
  struct sip_note note = { .name = "noise" };
  uint64_t dropped;

  if (now_us < noise->next_us) {
    return;
  }
  dropped = sip_framer_noise(framer);
  if (dropped > 0) {
    noise->next_us = now_us + PAUSE_US;
    (void)sip_note_int(&note, "dropped", (int64_t)dropped);
    line->tell(line, &note);
  }
}
