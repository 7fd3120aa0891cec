/* serial_modbus.c - Modbus RTU: what is taken for a frame is one, whatever comes. The first byte
 * says which profile the engine has. */
#include "serial/modbus.h"
#include "serial/modbus_frame.h"
#include "support/fuzz.h"
#include "support/fuzz_serial.h"

#include <string.h>

static void check_request(const struct sip_frame *raw, const void *of)
{
  uint8_t again[SIP_MODBUS_FRAME];
  struct sip_modbus_frame frame;
  enum sip_modbus_fault fault = sip_modbus_read(raw->bytes, raw->size, true, &frame);
  size_t size;

  (void)of;
  FUZZ_CHECK(fault == SIP_MODBUS_OK || fault == SIP_MODBUS_VALUE || fault == SIP_MODBUS_BYTECOUNT,
             "%s", sip_modbus_fault_name(fault));
  if (fault == SIP_MODBUS_OK) {
    size = frame.function >= SIP_MODBUS_WRITE_COILS
             ? sip_modbus_write_many(again, frame.address, frame.function, frame.start, frame.value,
                                     frame.data)
             : sip_modbus_write(again, frame.address, frame.function, frame.start, frame.value);
    FUZZ_CHECK(size == raw->size && memcmp(again, raw->bytes, size) == 0, "another request");
  }
}

static void check_response(const struct sip_frame *raw, const void *of)
{
  static const uint8_t ASKED[] = { 1, 3, 0, 0, 0, 2, 0xC4, 0x0B };
  struct sip_modbus_frame frame;
  enum sip_modbus_fault fault = sip_modbus_read(raw->bytes, raw->size, false, &frame);

  (void)of;
  FUZZ_CHECK(fault == SIP_MODBUS_OK || fault == SIP_MODBUS_BYTECOUNT, "%s",
             sip_modbus_fault_name(fault));
  fault = sip_modbus_pair(ASKED, sizeof ASKED, raw->bytes, raw->size, &frame);
  FUZZ_CHECK(fault != SIP_MODBUS_OK || (frame.bytes == 4 && frame.address == 1), "a wrong answer");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_note command = { .name = "dispense", .ticket = 1 };

  if (size > 0) {
    (void)sip_note_int(&command, "slot", 3);
    (void)sip_note_text(&settings, "profile", (data[0] & 1) != 0 ? "relay" : "dispenser");
    fuzz_frames(&sip_modbus_requests, NULL, data, size, check_request);
    fuzz_frames(&sip_modbus_responses, NULL, data, size, check_response);
    fuzz_describe(&sip_protocol_modbus, data, size, data[0] & 1);
    fuzz_parties(&sip_protocol_modbus, &settings, &command, data, size);
  }
  return 0;
}
