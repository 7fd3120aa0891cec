/* serial_cctalk.c - ccTalk: whatever comes, in whatever pieces, what is taken for a frame is one,
 * no byte is missing from the count, and engine and simulator end with all results told. */
#include "serial/cctalk.h"
#include "serial/cctalk_frame.h"
#include "support/fuzz_serial.h"

#include <string.h>

static void check_frame(const struct sip_frame *raw, const void *of)
{
  const struct sip_cctalk_form *form = of;
  uint8_t again[SIP_CCTALK_FRAME_MAX];
  struct sip_cctalk_frame frame;
  char text[64];

  FUZZ_CHECK(sip_cctalk_read(&frame, raw->bytes, raw->size, form->crc) == SIP_CCTALK_OK,
             "no frame");
  FUZZ_CHECK(sip_cctalk_write(again, &frame, form->crc) == raw->size &&
               memcmp(again, raw->bytes, raw->size) == 0,
             "another frame");
  FUZZ_CHECK(sip_cctalk_describe(raw->bytes, raw->size, false, text, sizeof text) > 0,
             "not described");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct sip_cctalk_form sum = { .crc = false }, crc = { .crc = true, .dest = 1 };
  struct sip_note settings = { .name = "settings" };
  struct sip_note command = { .name = "dispense", .ticket = 1 };

  fuzz_frames(&sip_cctalk_framing, &sum, data, size, check_frame);
  fuzz_frames(&sip_cctalk_framing, &crc, data, size, check_frame);
  (void)sip_note_text(&settings, "echo", size > 0 && data[0] % 2 == 0 ? "no" : "auto");
  fuzz_parties(&sip_protocol_cctalk, &settings, &command, data, size);
  return 0;
}
