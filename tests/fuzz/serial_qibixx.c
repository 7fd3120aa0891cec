/* serial_qibixx.c - lines of the Qibixx interface: what is taken for a line is one, whatever comes.
 * The first byte says whether we are slave, master or both. */
#include "serial/qibixx.h"
#include "serial/qibixx_frame.h"
#include "support/fuzz.h"
#include "support/fuzz_serial.h"

#include <string.h>

static void check_line(const struct sip_frame *raw, const void *of)
{
  struct sip_qibixx_line line;
  enum sip_qibixx_fault fault = sip_qibixx_read(raw->bytes, raw->size, &line);
  const char *at = (const char *)raw->bytes;
  int64_t minor, again;
  char text[64];

  (void)of;
  FUZZ_CHECK(fault != SIP_QIBIXX_MERGED && fault != SIP_QIBIXX_UNTERMINATED, "%s",
             sip_qibixx_fault_name(fault));
  if (fault != SIP_QIBIXX_OK) {
    return;
  }
  for (size_t i = 0; i < line.count; i++) {
    FUZZ_CHECK(line.fields[i].data == at, "field %zu is not behind the one before", i);
    at += line.fields[i].len + 1;
    if (sip_qibixx_amount(&line.fields[i], 2, &minor)) {
      sip_qibixx_print(minor, 2, text, sizeof text);
      FUZZ_CHECK(sip_qibixx_amount(&(struct sip_slice){ text, strlen(text) }, 2, &again) &&
                   again == minor,
                 "%s is another amount", text);
    }
  }
  FUZZ_CHECK(at <= (const char *)raw->bytes + raw->size, "beyond the line");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct sip_note NONE = { .name = "settings" };
  struct sip_note command = { .name = "dispense", .ticket = 1 }, both = NONE;
  struct sip_protocol engines = sip_protocol_qibixx;

  if (size > 0) {
    (void)sip_note_int(&command, "amount_minor", 100);
    (void)sip_note_int(&both, "master", data[0] % 3);
    engines.simulator = engines.engine; /* its settings are none of the simulator's */
    fuzz_frames(&sip_qibixx_framing, NULL, data, size, check_line);
    fuzz_describe(&sip_protocol_qibixx, data, size, data[0] & 1);
    fuzz_parties(&engines, &both, &command, data, size);
    fuzz_parties(&sip_protocol_qibixx, &NONE, &command, data, size);
  }
  return 0;
}
