/* dex_frame.c - see dex_frame.h. */
#include "serial/dex_frame.h"

#include "serial/checksum.h"
#include "serial/ddcmp_frame.h"

#include <stdio.h>
#include <string.h>

enum { HEAD = 2, CRC = 2, PAUSE_US = 116000 }; /* timer B, 100 ms, and an adapter's latency */

const struct sip_framing sip_dex_framing = { .look = sip_dex_look,
                                             .most_bytes = SIP_DEX_FRAME_MAX,
                                             .pause_us = PAUSE_US };

const char *sip_dex_fault_name(enum sip_dex_fault fault)
{
  static const char *const names[] = { "ok",       "start",    "unterminated", "escape",
                                       "trailing", "oversize", "crc",          "unknown" };

  return names[fault];
}

/* Reads up to the ETB or ETX; `at` is behind it then. */
static enum sip_dex_fault read_text(struct sip_dex_item *item, const uint8_t *bytes, size_t size,
                                    size_t *at, bool *long_text)
{
  while (*at < size) {
    uint8_t byte = bytes[(*at)++];

    if (byte != SIP_DEX_DLE) {
      if (item->size == sizeof item->text) {
        *long_text = true;
      } else {
        item->text[item->size++] = (char)byte;
      }
      continue;
    }
    if (*at == size) {
      return SIP_DEX_UNTERMINATED;
    }
    byte = bytes[(*at)++];
    if (byte == SIP_DEX_ETX || byte == SIP_DEX_ETB) {
      item->last = byte == SIP_DEX_ETX;
      return SIP_DEX_OK;
    }
    if (byte != SIP_DEX_SYN) {
      return SIP_DEX_ESCAPE;
    }
  }
  return SIP_DEX_UNTERMINATED;
}

enum sip_dex_fault sip_dex_read_block(struct sip_dex_item *item, const uint8_t *bytes, size_t size)
{
  enum sip_dex_fault fault;
  bool long_text = false;
  size_t at = HEAD;
  uint8_t end;
  uint16_t crc;

  item->control = 0;
  item->size = 0;
  if (size < HEAD || bytes[0] != SIP_DEX_DLE ||
      (bytes[1] != SIP_DEX_SOH && bytes[1] != SIP_DEX_STX)) {
    return SIP_DEX_START;
  }
  item->kind = bytes[1];
  fault = read_text(item, bytes, size, &at, &long_text);
  if (fault != SIP_DEX_OK) {
    return fault;
  }
  if (size - at != CRC) {
    return size - at < CRC ? SIP_DEX_UNTERMINATED : SIP_DEX_TRAILING;
  }
  if (long_text) {
    return SIP_DEX_OVERSIZE;
  }
  end = bytes[at - 1];
  crc = sip_crc16_a001(SIP_CRC16_ARC, (const uint8_t *)item->text, item->size);
  crc = sip_crc16_a001(crc, &end, 1);
  return crc == (bytes[at] | bytes[at + 1] << 8) ? SIP_DEX_OK : SIP_DEX_CRC;
}

enum sip_dex_fault sip_dex_read_control(struct sip_dex_item *item, const uint8_t *bytes,
                                        size_t size)
{
  uint8_t last = size == 0 ? 0 : bytes[size - 1];

  item->size = 0;
  item->control = last;
  if (size == 1 && (last == SIP_DEX_ENQ || last == SIP_DEX_EOT || last == SIP_DEX_NAK)) {
    return SIP_DEX_OK;
  }
  if (size == 2 && bytes[0] == SIP_DEX_DLE &&
      (last == SIP_DEX_ACK0 || last == SIP_DEX_ACK1 || last == SIP_DEX_WACK ||
       last == SIP_DEX_SYN)) {
    return SIP_DEX_OK;
  }
  return SIP_DEX_UNKNOWN;
}

int sip_dex_look(const uint8_t *bytes, size_t size, const void *of)
{
  struct sip_dex_item item;
  enum sip_dex_fault fault;
  bool long_text = false;
  size_t at = HEAD;

  (void)of;
  if (sip_dex_read_control(&item, bytes, 1) == SIP_DEX_OK) {
    return 1;
  }
  if (bytes[0] != SIP_DEX_DLE) {
    return SIP_FRAME_NOISE;
  }
  if (size < HEAD) {
    return SIP_FRAME_MORE;
  }
  if (sip_dex_read_control(&item, bytes, HEAD) == SIP_DEX_OK) {
    return HEAD;
  }
  if (bytes[1] != SIP_DEX_SOH && bytes[1] != SIP_DEX_STX) {
    return SIP_FRAME_NOISE;
  }
  fault = read_text(&item, bytes, size, &at, &long_text);
  if (fault == SIP_DEX_ESCAPE) {
    return SIP_FRAME_NOISE;
  }
  return fault == SIP_DEX_OK && size >= at + CRC ? (int)(at + CRC) : SIP_FRAME_MORE;
}

size_t sip_dex_write_block(uint8_t *out, size_t room, uint8_t kind, bool last, const char *text,
                           size_t size)
{
  size_t length = HEAD + size + 2 + CRC;
  uint16_t crc;

  if (size > SIP_DEX_TEXT_MAX || length > room) {
    return 0;
  }
  out[0] = SIP_DEX_DLE;
  out[1] = kind;
  memcpy(out + HEAD, text, size);
  out[HEAD + size] = SIP_DEX_DLE;
  out[HEAD + size + 1] = last ? SIP_DEX_ETX : SIP_DEX_ETB;
  crc = sip_crc16_a001(SIP_CRC16_ARC, out + HEAD, size);
  crc = sip_crc16_a001(crc, out + HEAD + size + 1, 1);
  out[length - 2] = (uint8_t)crc;
  out[length - 1] = (uint8_t)(crc >> 8);
  return length;
}

size_t sip_dex_write_control(uint8_t out[2], uint8_t control)
{
  if (control == SIP_DEX_ENQ || control == SIP_DEX_EOT || control == SIP_DEX_NAK) {
    out[0] = control;
    return 1;
  }
  out[0] = SIP_DEX_DLE;
  out[1] = control;
  return 2;
}

const char *sip_dex_control_name(uint8_t control)
{
  switch (control) {
  case SIP_DEX_ENQ:
    return "ENQ";
  case SIP_DEX_EOT:
    return "EOT";
  case SIP_DEX_NAK:
    return "NAK";
  case SIP_DEX_ACK0:
    return "ACK0";
  case SIP_DEX_ACK1:
    return "ACK1";
  case SIP_DEX_WACK:
    return "WACK";
  case SIP_DEX_SYN:
    return "TSYN";
  default:
    return "?";
  }
}

static void put_block(const struct sip_dex_item *item, enum sip_dex_fault fault, char *text,
                      size_t room)
{
  int wrote = snprintf(text, room, "%s %s%s%s \"", item->kind == SIP_DEX_SOH ? "header" : "text",
                       item->last ? "ETX" : "ETB", fault == SIP_DEX_OK ? "" : " ",
                       fault == SIP_DEX_OK ? "" : sip_dex_fault_name(fault));
  size_t at = wrote < 0 ? 0 : (size_t)wrote;

  for (size_t i = 0; i < item->size && at + 3 < room; i++) {
    text[at++] = item->text[i] >= 0x20 && item->text[i] < 0x7F ? item->text[i] : '.';
  }
  (void)snprintf(text + (at < room ? at : room), at < room ? room - at : 0, "\"");
}

size_t sip_dex_describe(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room)
{
  struct sip_dex_item item;
  int length;

  (void)from_host; /* both sides say the same things */
  if (size == 0) {
    return 0;
  }
  if (sip_ddcmp_begins(bytes, size)) {
    return sip_ddcmp_describe(bytes, size, text, room);
  }
  length = sip_dex_look(bytes, size, NULL);
  if (length <= 0) {
    (void)snprintf(text, room, "%s", length < 0 ? "noise" : "");
    return length < 0 ? 1 : 0;
  }
  if (sip_dex_read_control(&item, bytes, (size_t)length) == SIP_DEX_OK) {
    (void)snprintf(text, room, "%s", sip_dex_control_name(item.control));
  } else {
    enum sip_dex_fault fault = sip_dex_read_block(&item, bytes, (size_t)length);

    put_block(&item, fault, text, room);
  }
  return (size_t)length;
}
