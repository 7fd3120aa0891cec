/* cctalk_frame.c - see cctalk_frame.h. */
#include "serial/cctalk_frame.h"

#include "serial/checksum.h"

#include <stdio.h>
#include <string.h>

enum { HEAD = 4, TAIL = 1, PAUSE_US = 50000 }; /* 50 ms: after that a receiver waits anew */

const struct sip_framing sip_cctalk_framing = { .look = sip_cctalk_look,
                                                .most_bytes = SIP_CCTALK_FRAME_MAX,
                                                .pause_us = PAUSE_US };

const char *sip_cctalk_fault_name(enum sip_cctalk_fault fault)
{
  static const char *const names[] = { "ok", "short", "length", "checksum" };

  return names[fault];
}

static uint16_t crc_of(const uint8_t *bytes, size_t size)
{
  uint16_t crc = sip_crc16_1021(SIP_CRC16_CCITT_0000, bytes, 2);

  return sip_crc16_1021(crc, bytes + 3, size - HEAD);
}

static bool check(const uint8_t *bytes, size_t size, bool crc)
{
  return crc ? crc_of(bytes, size) == (bytes[size - 1] << 8 | bytes[2])
             : sip_checksum_sum(bytes, size) == 0;
}

enum sip_cctalk_fault sip_cctalk_read(struct sip_cctalk_frame *frame, const uint8_t *bytes,
                                      size_t size, bool crc)
{
  if (size < HEAD + TAIL || size < HEAD + TAIL + (size_t)bytes[1]) {
    return SIP_CCTALK_SHORT;
  }
  if (size > HEAD + TAIL + (size_t)bytes[1]) {
    return SIP_CCTALK_LENGTH;
  }
  if (!check(bytes, size, crc)) {
    return SIP_CCTALK_CHECKSUM;
  }
  *frame = (struct sip_cctalk_frame){ .dest = bytes[0],
                                      .src = crc ? 0 : bytes[2],
                                      .header = bytes[3],
                                      .size = bytes[1],
                                      .data = bytes + HEAD };
  return SIP_CCTALK_OK;
}

size_t sip_cctalk_write(uint8_t out[SIP_CCTALK_FRAME_MAX], const struct sip_cctalk_frame *frame,
                        bool crc)
{
  size_t size = HEAD + TAIL + (size_t)frame->size;

  out[0] = frame->dest;
  out[1] = frame->size;
  out[2] = frame->src;
  out[3] = frame->header;
  if (frame->size > 0) {
    memcpy(out + HEAD, frame->data, frame->size);
  }
  if (crc) {
    uint16_t sum = crc_of(out, size);

    out[2] = (uint8_t)sum;
    out[size - 1] = (uint8_t)(sum >> 8);
  } else {
    out[size - 1] = sip_checksum_negative(out, size - 1);
  }
  return size;
}

int sip_cctalk_look(const uint8_t *bytes, size_t size, const void *of)
{
  const struct sip_cctalk_form *form = of;
  size_t want;

  if (form->dest != 0 && bytes[0] != form->dest) {
    return SIP_FRAME_NOISE;
  }
  if (size < HEAD + TAIL) {
    return SIP_FRAME_MORE;
  }
  want = HEAD + TAIL + (size_t)bytes[1];
  if (size < want) {
    return SIP_FRAME_MORE;
  }
  return check(bytes, want, form->crc) ? (int)want : SIP_FRAME_NOISE;
}

struct sip_cctalk_delta sip_cctalk_delta(int last, int now)
{
  struct sip_cctalk_delta delta = { .baseline = last < 0 };
  unsigned count;

  if (delta.baseline) {
    return delta;
  }
  if (now == 0) {
    delta.reset = last != 0;
    return delta;
  }
  count = last == 0 ? (unsigned)now : (unsigned)(now - last + 255) % 255;
  delta.fresh = count < SIP_CCTALK_EVENTS ? count : SIP_CCTALK_EVENTS;
  delta.lost = count - delta.fresh;
  return delta;
}

uint8_t sip_cctalk_next(uint8_t count)
{
  return count == 255 ? 1 : (uint8_t)(count + 1);
}

enum sip_cctalk_echo sip_cctalk_echo(const uint8_t *sent, size_t sent_size, const uint8_t *came,
                                     size_t came_size, bool crc, size_t *reply)
{
  size_t same = came_size < sent_size ? came_size : sent_size;
  struct sip_cctalk_frame frame;

  *reply = came_size;
  if (same > 0 && memcmp(sent, came, same) != 0) {
    return sip_cctalk_read(&frame, came, came_size, crc) == SIP_CCTALK_OK ? SIP_CCTALK_ECHO_MISSING
                                                                          : SIP_CCTALK_ECHO_CORRUPT;
  }
  if (came_size < sent_size) {
    return SIP_CCTALK_ECHO_INCOMPLETE;
  }
  if (came_size == sent_size) {
    return SIP_CCTALK_ECHO_NO_REPLY;
  }
  if (sip_cctalk_read(&frame, came + sent_size, came_size - sent_size, crc) != SIP_CCTALK_OK) {
    return SIP_CCTALK_ECHO_CORRUPT;
  }
  *reply = sent_size;
  return SIP_CCTALK_ECHO_OK;
}

static const char *header_name(uint8_t header)
{
  static const char *const names[256] = {
    [SIP_CCTALK_RESET] = "reset",
    [SIP_CCTALK_CIPHER_KEY] = "cipher key",
    [161] = "pump random",
    [SIP_CCTALK_TEST_HOPPER] = "test hopper",
    [SIP_CCTALK_ENABLE_HOPPER] = "enable hopper",
    [SIP_CCTALK_HOPPER_STATUS] = "hopper status",
    [SIP_CCTALK_DISPENSE] = "dispense",
    [SIP_CCTALK_DISPENSE_COUNT] = "dispense count",
    [SIP_CCTALK_STOP] = "emergency stop",
    [210] = "sorter path",
    [217] = "level",
    [227] = "master inhibit?",
    [SIP_CCTALK_MASTER_INHIBIT] = "master inhibit",
    [SIP_CCTALK_READ_CREDIT] = "read credit",
    [230] = "inhibit?",
    [SIP_CCTALK_INHIBIT] = "inhibit",
    [236] = "optos",
    [SIP_CCTALK_SOFTWARE] = "software",
    [SIP_CCTALK_SERIAL_NUMBER] = "serial number",
    [SIP_CCTALK_PRODUCT] = "product",
    [SIP_CCTALK_CATEGORY] = "category",
    [SIP_CCTALK_MAKER] = "maker",
    [SIP_CCTALK_POLL] = "poll",
    [SIP_CCTALK_NAK] = "NAK",
    [SIP_CCTALK_BUSY] = "BUSY",
  };

  return names[header] != NULL ? names[header] : "header";
}

static void put_frame(const struct sip_cctalk_frame *frame, bool crc, char *text, size_t room)
{
  const char *name = header_name(frame->header);
  int at;

  if (frame->header == SIP_CCTALK_REPLY) {
    name = frame->size == 0 ? "ACK" : "data";
  }
  at = snprintf(text, room, "%u->%u %s (%u)%s", frame->src, frame->dest, name, frame->header,
                crc ? " crc" : "");
  for (size_t i = 0; i < frame->size && at > 0 && (size_t)at + 4 < room; i++) {
    at += snprintf(text + at, room - (size_t)at, " %02X", frame->data[i]);
  }
}

size_t sip_cctalk_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room)
{
  static const struct sip_cctalk_form simple = { .crc = false }, crc = { .crc = true };
  struct sip_cctalk_frame frame;
  bool with_crc = false;
  int length;

  (void)from_host; /* on one wire both are heard; the addresses say it */
  if (size == 0) {
    return 0;
  }
  length = sip_cctalk_look(bytes, size, &simple);
  if (length == SIP_FRAME_NOISE) {
    with_crc = true;
    length = sip_cctalk_look(bytes, size, &crc);
  }
  if (length <= 0) {
    (void)snprintf(text, room, "%s", length < 0 ? "noise" : "");
    return length < 0 ? 1 : 0;
  }
  (void)sip_cctalk_read(&frame, bytes, (size_t)length, with_crc); /* it was looked at */
  put_frame(&frame, with_crc, text, room);
  return (size_t)length;
}
