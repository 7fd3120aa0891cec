/* serial_xy.c - frames of the FA FB board: whatever comes, in whatever pieces, what is taken for a
 * frame is one, nothing is lost from the count, and the engine answers no more than it is asked. */
#include "serial/checksum.h"
#include "serial/xy.h"
#include "serial/xy_frame.h"
#include "support/fuzz.h"

#include <string.h>

static void check_frame(const struct sip_frame *raw)
{
  uint8_t again[SIP_XY_FRAME];
  struct sip_xy_frame frame;
  char text[64];

  FUZZ_CHECK(sip_xy_read(raw->bytes, raw->size, &frame) == SIP_XY_OK, "no frame");
  FUZZ_CHECK(sip_checksum_xor(raw->bytes, raw->size) == 0, "a wrong check");
  if (raw->bytes[3] != 1 || frame.number != 0) { /* that one is written without a body */
    FUZZ_CHECK(sip_xy_write(again, frame.command, frame.number, frame.text, frame.size) ==
                   raw->size &&
                 memcmp(again, raw->bytes, raw->size) == 0,
               "another frame");
  }
  FUZZ_CHECK(sip_xy_describe(raw->bytes, raw->size, false, text, sizeof text) == raw->size,
             "not described");
}

static void frame(const uint8_t *data, size_t size, size_t piece)
{
  struct sip_framer framer;
  struct sip_frame raw;
  size_t framed = 0, at = 0;

  FUZZ_CHECK(sip_framer_init(&framer, &sip_xy_framing, NULL) == 0, "no memory");
  while (at < size) {
    size_t part = size - at < piece ? size - at : piece;

    at += sip_framer_feed(&framer, (int64_t)at, data + at, part);
    while (sip_framer_next(&framer, &raw)) {
      framed += raw.size;
      check_frame(&raw);
    }
  }
  if (sip_framer_late(&framer, INT64_MAX - 1)) {
    while (sip_framer_next(&framer, &raw)) {
      framed += raw.size;
      check_frame(&raw);
    }
  }
  FUZZ_CHECK(framed + framer.dropped == size, "%zu and %zu of %zu bytes", framed,
             (size_t)framer.dropped, size);
  sip_framer_deinit(&framer);
}

static int on_send(struct sip_line *line, const void *bytes, size_t size)
{
  (void)line;
  return sip_checksum_xor(bytes, size);
}

static void on_tell(struct sip_line *line, const struct sip_note *note)
{
  (void)line;
  FUZZ_CHECK(note->count <= SIP_NOTE_FIELDS, "too many fields");
}

/* Both parties, with the same bytes. */
static void party(struct sip_party *party, const uint8_t *data, size_t size, size_t piece)
{
  struct sip_note command = { .name = "dispense", .ticket = 1 };
  int64_t now_us = 1000000;

  FUZZ_CHECK(party != NULL, "no memory");
  (void)sip_note_int(&command, "slot", 60);
  party->ops->on_link(party, now_us, true);
  (void)party->ops->command(party, now_us, &command, NULL);
  for (size_t at = 0; at < size; at += piece) {
    size_t part = size - at < piece ? size - at : piece;

    now_us += 1000;
    party->ops->on_bytes(party, now_us, data + at, part);
    now_us = party->ops->due_us(party) < now_us + 200000 ? party->ops->due_us(party) : now_us;
    party->ops->on_due(party, now_us);
  }
  party->ops->free(party);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct sip_note NONE = { .name = "settings" };
  struct sip_line line = { on_send, on_tell };
  size_t piece = size == 0 ? 1 : 1 + data[0] % 64;

  frame(data, size, piece);
  party(sip_protocol_xy.engine(&NONE, &line, NULL), data, size, piece);
  party(sip_protocol_xy.simulator(&NONE, &line, NULL), data, size, piece);
  return 0;
}
