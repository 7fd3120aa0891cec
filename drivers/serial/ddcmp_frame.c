/* ddcmp_frame.c - see ddcmp_frame.h. */
#include "serial/ddcmp_frame.h"

#include "serial/checksum.h"

#include <stdio.h>
#include <string.h>

enum { HEADER = 8, CRC = 2, SYNC = 0x40, LAST = 0x80, LENGTH_HIGH = 0x3F, PAUSE_US = 81000 };

/* 65 ms between characters, and an adapter's latency. */
const struct sip_framing sip_ddcmp_framing = { .look = sip_ddcmp_look,
                                               .most_bytes = SIP_DDCMP_FRAME_MAX,
                                               .pause_us = PAUSE_US };

const char *sip_ddcmp_fault_name(enum sip_ddcmp_fault fault)
{
  static const char *const names[] = {
    "ok", "short", "start", "header_crc", "data_crc", "trailing"
  };

  return names[fault];
}

static bool crc_right(const uint8_t *bytes, size_t size)
{
  return sip_crc16_a001(SIP_CRC16_ARC, bytes, size) == (bytes[size] | bytes[size + 1] << 8);
}

static void put_crc(uint8_t *bytes, size_t size)
{
  uint16_t crc = sip_crc16_a001(SIP_CRC16_ARC, bytes, size);

  bytes[size] = (uint8_t)crc;
  bytes[size + 1] = (uint8_t)(crc >> 8);
}

bool sip_ddcmp_begins(const uint8_t *bytes, size_t size)
{
  return size >= HEADER && (bytes[0] == SIP_DDCMP_CONTROL || bytes[0] == SIP_DDCMP_DATA) &&
         crc_right(bytes, HEADER - CRC);
}

static size_t length_of(const uint8_t *bytes)
{
  return bytes[0] == SIP_DDCMP_DATA
           ? HEADER + (bytes[1] | (size_t)(bytes[2] & LENGTH_HIGH) << 8) + CRC
           : HEADER;
}

enum sip_ddcmp_fault sip_ddcmp_read(struct sip_ddcmp_message *message, const uint8_t *bytes,
                                    size_t size)
{
  size_t want;

  if (size < HEADER) {
    return SIP_DDCMP_SHORT;
  }
  if (bytes[0] != SIP_DDCMP_CONTROL && bytes[0] != SIP_DDCMP_DATA) {
    return SIP_DDCMP_BEGIN;
  }
  if (!crc_right(bytes, HEADER - CRC)) {
    return SIP_DDCMP_HEADER_CRC;
  }
  want = length_of(bytes);
  if (size != want) {
    return size < want ? SIP_DDCMP_SHORT : SIP_DDCMP_TRAILING;
  }
  *message = (struct sip_ddcmp_message){ .data = bytes[0] == SIP_DDCMP_DATA,
                                         .sync = (bytes[2] & SYNC) != 0,
                                         .rx = bytes[3],
                                         .tx = bytes[4],
                                         .address = bytes[5] };
  if (!message->data) {
    message->type = bytes[1];
    return SIP_DDCMP_OK;
  }
  message->last = (bytes[2] & LAST) != 0;
  message->size = want - HEADER - CRC;
  message->bytes = bytes + HEADER;
  return crc_right(bytes + HEADER, message->size) ? SIP_DDCMP_OK : SIP_DDCMP_DATA_CRC;
}

int sip_ddcmp_look(const uint8_t *bytes, size_t size, const void *of)
{
  size_t want;

  (void)of;
  if (bytes[0] != SIP_DDCMP_CONTROL && bytes[0] != SIP_DDCMP_DATA) {
    return SIP_FRAME_NOISE;
  }
  if (size < HEADER) {
    return SIP_FRAME_MORE;
  }
  want = length_of(bytes);
  if (!crc_right(bytes, HEADER - CRC) || want > SIP_DDCMP_FRAME_MAX) {
    return SIP_FRAME_NOISE;
  }
  return size < want ? SIP_FRAME_MORE : (int)want;
}

size_t sip_ddcmp_write(uint8_t out[SIP_DDCMP_FRAME_MAX], const struct sip_ddcmp_message *message)
{
  if (message->size > SIP_DDCMP_DATA_MAX) {
    return 0;
  }
  out[0] = message->data ? SIP_DDCMP_DATA : SIP_DDCMP_CONTROL;
  out[1] = message->data ? (uint8_t)message->size : message->type;
  out[2] = message->sync ? SYNC : 0;
  if (message->data) {
    out[2] = (uint8_t)(out[2] | message->size >> 8 | (message->last ? LAST : 0u));
  }
  out[3] = message->rx;
  out[4] = message->tx;
  out[5] = message->address;
  put_crc(out, HEADER - CRC);
  if (!message->data) {
    return HEADER;
  }
  if (message->size > 0) {
    memcpy(out + HEADER, message->bytes, message->size);
  }
  put_crc(out + HEADER, message->size);
  return HEADER + message->size + CRC;
}

static const char *type_name(uint8_t type)
{
  switch (type) {
  case SIP_DDCMP_ACK:
    return "ACK";
  case SIP_DDCMP_NACK:
    return "NACK";
  case SIP_DDCMP_START:
    return "START";
  case SIP_DDCMP_STACK:
    return "STACK";
  default:
    return "control";
  }
}

size_t sip_ddcmp_describe(const uint8_t *bytes, size_t size, char *text, size_t room)
{
  int length = sip_ddcmp_look(bytes, size, NULL), wrote;
  struct sip_ddcmp_message message = { 0 };
  enum sip_ddcmp_fault fault;

  if (length <= 0) {
    (void)snprintf(text, room, "%s", length < 0 ? "noise" : "");
    return length < 0 ? 1 : 0;
  }
  fault = sip_ddcmp_read(&message, bytes, (size_t)length);
  if (!message.data) {
    (void)snprintf(text, room, "DDCMP %s %u %u", type_name(message.type), message.rx, message.tx);
    return (size_t)length;
  }
  wrote =
    snprintf(text, room, "DDCMP data %u (ack %u)%s%s, %zu bytes:", message.tx, message.rx,
             message.last ? " last" : "", fault == SIP_DDCMP_OK ? "" : " damaged", message.size);
  for (size_t i = 0; i < message.size && i < 24 && wrote > 0 && (size_t)wrote + 4 < room; i++) {
    wrote += snprintf(text + wrote, room - (size_t)wrote, " %02X", message.bytes[i]);
  }
  return (size_t)length;
}
