/* serial_dex.c - DEX and DDCMP: whatever comes, in whatever pieces, what is taken for a block or a
 * message is one, no byte is missing from the count, and engine and simulator end with all results
 * told. */
#include "serial/ddcmp_frame.h"
#include "serial/dex.h"
#include "serial/dex_frame.h"
#include "support/fuzz_serial.h"

#include <string.h>

static void check_dex(const struct sip_frame *raw, const void *of)
{
  uint8_t again[SIP_DEX_FRAME_MAX];
  struct sip_dex_item item;
  char text[64];
  size_t size;

  (void)of;
  FUZZ_CHECK(sip_dex_describe(raw->bytes, raw->size, false, text, sizeof text) > 0,
             "not described");
  if (sip_dex_read_control(&item, raw->bytes, raw->size) == SIP_DEX_OK) {
    FUZZ_CHECK(sip_dex_write_control(again, item.control) == raw->size &&
                 memcmp(again, raw->bytes, raw->size) == 0,
               "another character");
  } else if (sip_dex_read_block(&item, raw->bytes, raw->size) == SIP_DEX_OK) {
    size = sip_dex_write_block(again, sizeof again, item.kind, item.last, item.text, item.size);
    FUZZ_CHECK(size > 0 && size <= raw->size, "not written"); /* without fillers it is shorter */
    FUZZ_CHECK(sip_dex_read_block(&item, again, size) == SIP_DEX_OK, "written wrong");
  }
}

static void check_ddcmp(const struct sip_frame *raw, const void *of)
{
  uint8_t again[SIP_DDCMP_FRAME_MAX];
  struct sip_ddcmp_message message;

  (void)of;
  if (sip_ddcmp_read(&message, raw->bytes, raw->size) == SIP_DDCMP_OK) {
    FUZZ_CHECK(sip_ddcmp_write(again, &message) == raw->size, "another length");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_note command = { .name = "audit", .ticket = 1 };

  fuzz_frames(&sip_dex_framing, NULL, data, size, check_dex);
  fuzz_frames(&sip_ddcmp_framing, NULL, data, size, check_ddcmp);
  (void)sip_note_text(&settings, "transport", size > 0 && data[0] == 0x81 ? "ddcmp" : "dex");
  (void)sip_note_bool(&settings, "bids", size > 1 && data[1] % 2 == 0);
  fuzz_parties(&sip_protocol_dex, &settings, &command, data, size);
  return 0;
}
