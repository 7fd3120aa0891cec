/* serial_xy.c - the FA FB board: what is taken for a frame is one, whatever comes. */
#include "serial/checksum.h"
#include "serial/xy.h"
#include "serial/xy_frame.h"
#include "support/fuzz.h"
#include "support/fuzz_serial.h"

#include <string.h>

static void check_frame(const struct sip_frame *raw, const void *of)
{
  uint8_t again[SIP_XY_FRAME];
  struct sip_xy_frame frame;

  (void)of;
  FUZZ_CHECK(sip_xy_read(raw->bytes, raw->size, &frame) == SIP_XY_OK, "no frame");
  FUZZ_CHECK(sip_checksum_xor(raw->bytes, raw->size) == 0, "a wrong check");
  if (raw->bytes[3] != 1 || frame.number != 0) { /* that one is written without a body */
    FUZZ_CHECK(sip_xy_write(again, frame.command, frame.number, frame.text, frame.size) ==
                   raw->size &&
                 memcmp(again, raw->bytes, raw->size) == 0,
               "another frame");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct sip_note NONE = { .name = "settings" };
  struct sip_note command = { .name = "dispense", .ticket = 1 };

  if (size > 0) {
    (void)sip_note_int(&command, "slot", 3);
    fuzz_frames(&sip_xy_framing, NULL, data, size, check_frame);
    fuzz_describe(&sip_protocol_xy, data, size, data[0] & 1);
    fuzz_parties(&sip_protocol_xy, &NONE, &command, data, size);
  }
  return 0;
}
