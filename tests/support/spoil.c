/* spoil.c - see spoil.h. */
#include "support/spoil.h"

#include "core/base.h"
#include "support/test.h"

static int spoil_send(struct sip_line *line, const void *bytes, size_t size)
{
  struct spoil *spoil = SIP_CONTAINER(line, struct spoil, line);
  uint8_t copy[8192];

  CHECK(size <= sizeof copy);
  memcpy(copy, bytes, size);
  if (spoil->at >= spoil->sent && spoil->at - spoil->sent < size) {
    copy[spoil->at - spoil->sent] ^= spoil->flip;
  }
  spoil->sent += size;
  return spoil->inner->send(spoil->inner, copy, size);
}

static void spoil_tell(struct sip_line *line, const struct sip_note *note)
{
  struct spoil *spoil = SIP_CONTAINER(line, struct spoil, line);

  spoil->inner->tell(spoil->inner, note);
}

struct sip_line *spoil_line(struct spoil *spoil, struct sip_line *inner)
{
  *spoil = (struct spoil){ .line = { .send = spoil_send, .tell = spoil_tell }, .inner = inner };
  return &spoil->line;
}

void spoil_next(struct spoil *spoil, uint64_t at, uint8_t flip)
{
  spoil->at = spoil->sent + at;
  spoil->flip = flip;
}
