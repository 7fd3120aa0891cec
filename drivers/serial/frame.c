/* frame.c - the buffer behind framing, and gaps. */
#include "serial/frame.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

int sip_framer_init(struct sip_framer *framer, const struct sip_framing *framing, const void *of)
{
  *framer = (struct sip_framer){ .framing = framing, .of = of };
  framer->bytes = malloc(framing->most_bytes);
  framer->at_us = calloc(framing->most_bytes, sizeof *framer->at_us);
  if (framer->bytes == NULL || framer->at_us == NULL) {
    sip_framer_deinit(framer);
    return UV_ENOMEM;
  }
  return 0;
}

void sip_framer_deinit(struct sip_framer *framer)
{
  free(framer->bytes);
  free(framer->at_us);
  framer->bytes = NULL;
  framer->at_us = NULL;
}

void sip_framer_reset(struct sip_framer *framer)
{
  framer->begin = 0;
  framer->end = 0;
  framer->stale = 0;
}

size_t sip_framer_feed(struct sip_framer *framer, int64_t now_us, const uint8_t *bytes, size_t size)
{
  size_t room;

  /* What waited for too long is looked at alone, before later bytes complete it by accident. */
  if (sip_framer_late(framer, now_us) || framer->stale > framer->begin) {
    return 0;
  }
  if (framer->begin > 0) {
    memmove(framer->bytes, framer->bytes + framer->begin, framer->end - framer->begin);
    memmove(framer->at_us, framer->at_us + framer->begin,
            (framer->end - framer->begin) * sizeof *framer->at_us);
    framer->end -= framer->begin;
    framer->begin = 0;
    framer->stale = 0;
  }
  room = framer->framing->most_bytes - framer->end;
  size = size < room ? size : room;
  memcpy(framer->bytes + framer->end, bytes, size);
  for (size_t i = 0; i < size; i++) {
    framer->at_us[framer->end + i] = now_us;
  }
  framer->end += size;
  return size;
}

bool sip_framer_next(struct sip_framer *framer, struct sip_frame *frame)
{
  const struct sip_framing *framing = framer->framing;

  while (framer->begin < framer->end) {
    const uint8_t *bytes = framer->bytes + framer->begin;
    size_t size = framer->end - framer->begin;
    int look = framing->look(bytes, size, framer->of);

    if (look > 0 && (size_t)look <= size) {
      frame->bytes = bytes;
      frame->size = (size_t)look;
      frame->first_us = framer->at_us[framer->begin];
      framer->begin += frame->size;
      frame->last_us = framer->at_us[framer->begin - 1];
      return true;
    }
    if (look == SIP_FRAME_MORE && size < framing->most_bytes && framer->begin >= framer->stale) {
      return false;
    }
    framer->begin++;
    framer->dropped++;
  }
  return false;
}

bool sip_framer_take(struct sip_framer *framer, int64_t now_us, const uint8_t **bytes, size_t *size,
                     struct sip_frame *frame)
{
  while (!sip_framer_next(framer, frame)) {
    size_t taken;

    if (*size == 0) {
      return false;
    }
    taken = sip_framer_feed(framer, now_us, *bytes, *size);
    *bytes += taken;
    *size -= taken;
  }
  return true;
}

int64_t sip_framer_due_us(const struct sip_framer *framer)
{
  if (framer->begin == framer->end || framer->framing->pause_us == 0) {
    return INT64_MAX;
  }
  return framer->at_us[framer->end - 1] + framer->framing->pause_us + 1;
}

bool sip_framer_late(struct sip_framer *framer, int64_t now_us)
{
  if (sip_framer_due_us(framer) > now_us) {
    return false;
  }
  framer->stale = framer->end;
  return true;
}

uint64_t sip_framer_noise(struct sip_framer *framer)
{
  uint64_t noise = framer->dropped - framer->reported;

  framer->reported = framer->dropped;
  return noise;
}

int64_t sip_gap_us(unsigned baud)
{
  return baud > 19200 ? 1750 : (int64_t)(35 * 11 * 100000) / baud;
}

int64_t sip_gap_wire_us(unsigned baud, size_t size)
{
  return (int64_t)size * 11 * 1000000 / baud;
}

bool sip_gap_mark(struct sip_gap *gap, int64_t start_us, size_t size)
{
  bool begins = !gap->busy || start_us - gap->end_us >= sip_gap_us(gap->baud);
  int64_t end_us = start_us + sip_gap_wire_us(gap->baud, size);

  gap->end_us = gap->busy && gap->end_us > end_us ? gap->end_us : end_us;
  gap->busy = true;
  return begins;
}

int64_t sip_gap_quiet_us(const struct sip_gap *gap)
{
  return gap->busy ? gap->end_us + sip_gap_us(gap->baud) : INT64_MIN;
}
