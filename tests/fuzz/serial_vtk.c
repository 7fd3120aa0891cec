/* serial_vtk.c - Vendotek: whatever comes, in whatever pieces, what is taken for a message is one,
 * no byte is missing from the count, and engine and simulator end with all results told. */
#include "serial/vtk.h"
#include "serial/vtk_frame.h"
#include "support/fuzz_serial.h"

#include <string.h>

static void check_frame(const struct sip_frame *raw, const void *of)
{
  bool tcp = of != NULL;
  uint8_t again[SIP_VTK_FRAME_MAX];
  struct sip_vtk_message message, second;
  enum sip_vtk_fault fault = sip_vtk_read(&message, raw->bytes, raw->size, tcp);
  char text[64];
  size_t size;

  FUZZ_CHECK(sip_vtk_describe(raw->bytes, raw->size, false, text, sizeof text) > 0,
             "not described");
  FUZZ_CHECK(fault == SIP_VTK_OK || fault == SIP_VTK_PROTO || fault == SIP_VTK_TLV ||
               fault == SIP_VTK_LENGTH,
             "no frame: %s", sip_vtk_fault_name(fault));
  if (fault != SIP_VTK_OK) {
    return;
  }
  size = sip_vtk_write(again, sizeof again, &message, tcp);
  if (size == 0) {
    return; /* with the shortest lengths it may be a little longer than what came */
  }
  FUZZ_CHECK(sip_vtk_read(&second, again, size, tcp) == SIP_VTK_OK, "written wrong");
  FUZZ_CHECK(second.count == message.count && second.proto == message.proto, "another message");
  for (unsigned i = 0; i < message.count; i++) {
    FUZZ_CHECK(second.fields[i].tag == message.fields[i].tag &&
                 second.fields[i].size == message.fields[i].size &&
                 memcmp(second.fields[i].bytes, message.fields[i].bytes, message.fields[i].size) ==
                   0,
               "another field %u", i);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const int yes = 1;
  struct sip_note settings = { .name = "settings" };
  struct sip_note command = { .name = "charge", .ticket = 1 };
  bool tcp = size > 0 && data[0] == 0;

  (void)sip_note_int(&command, "amount_minor", 25000);
  (void)sip_note_text(&settings, "form", tcp ? "tcp" : "serial");
  fuzz_frames(&sip_vtk_framing, NULL, data, size, check_frame);
  fuzz_frames(&sip_vtk_framing_tcp, &yes, data, size, check_frame);
  fuzz_parties(&sip_protocol_vtk, &settings, &command, data, size);
  return 0;
}
