/* vtk_frame.c - see vtk_frame.h. What is read here comes from outside: nothing is trusted before
 * its length was compared with what is there. */
#include "serial/vtk_frame.h"

#include "serial/checksum.h"

#include <stdio.h>
#include <string.h>

enum { START = 0x1F, HEAD = 3, CRC = 2, PROTO = 2, DIGITS_MAX = 12 };

const char *sip_vtk_fault_name(enum sip_vtk_fault fault)
{
  static const char *const names[] = { "ok", "start", "short", "length", "crc", "proto", "tlv" };

  return names[fault];
}

static unsigned word(const uint8_t *at)
{
  return (unsigned)at[0] << 8 | at[1];
}

static bool proto_known(unsigned proto)
{
  return proto == SIP_VTK_FROM_HOST || proto == SIP_VTK_FROM_READER || proto == SIP_VTK_NFC_HOST ||
         proto == SIP_VTK_NFC_READER;
}

/* Takes a tag of 1 to 3 bytes; false when it does not end. */
static bool take_tag(const uint8_t **at, const uint8_t *end, uint32_t *tag)
{
  if (*at == end) {
    return false;
  }
  *tag = *(*at)++;
  if ((*tag & 0x1Fu) != 0x1Fu) {
    return true;
  }
  for (int i = 0; i < 2; i++) {
    if (*at == end) {
      return false;
    }
    *tag = *tag << 8 | *(*at)++;
    if ((*tag & 0x80u) == 0) {
      return true;
    }
  }
  return false;
}

/* Takes a length of 1 to 3 bytes: up to 7F, 81 xx, or 82 xx xx. */
static bool take_length(const uint8_t **at, const uint8_t *end, size_t *size)
{
  unsigned more;

  if (*at == end) {
    return false;
  }
  *size = *(*at)++;
  if (*size < 0x80u) {
    return true;
  }
  more = (unsigned)*size & 0x7Fu;
  if (more < 1 || more > 2 || (size_t)(end - *at) < more) {
    return false;
  }
  *size = 0;
  while (more-- > 0) {
    *size = *size << 8 | *(*at)++;
  }
  return true;
}

static enum sip_vtk_fault read_content(struct sip_vtk_message *message, const uint8_t *at,
                                       const uint8_t *end)
{
  message->count = 0;
  if (end - at < PROTO) {
    return SIP_VTK_LENGTH;
  }
  message->proto = (uint16_t)word(at);
  at += PROTO;
  if (!proto_known(message->proto)) {
    return SIP_VTK_PROTO;
  }
  if (message->proto == SIP_VTK_NFC_HOST || message->proto == SIP_VTK_NFC_READER) {
    return SIP_VTK_OK;
  }
  while (at < end) {
    uint32_t tag;
    size_t size;

    if (!take_tag(&at, end, &tag) || !take_length(&at, end, &size) || size > (size_t)(end - at)) {
      return SIP_VTK_TLV;
    }
    sip_vtk_add(message, tag, at, size);
    at += size;
  }
  return SIP_VTK_OK;
}

enum sip_vtk_fault sip_vtk_read(struct sip_vtk_message *message, const uint8_t *bytes, size_t size,
                                bool tcp)
{
  size_t head = tcp ? HEAD - 1 : HEAD, want;

  message->count = 0;
  if (!tcp && (size == 0 || bytes[0] != START)) {
    return SIP_VTK_START;
  }
  if (size < head) {
    return SIP_VTK_SHORT;
  }
  want = head + word(bytes + head - 2) + (tcp ? 0 : CRC);
  if (size < want) {
    return SIP_VTK_SHORT;
  }
  if (size > want) {
    return SIP_VTK_LENGTH;
  }
  if (!tcp && sip_crc16_1021(SIP_CRC16_CCITT_FFFF, bytes, want - CRC) != word(bytes + want - CRC)) {
    return SIP_VTK_CRC;
  }
  return read_content(message, bytes + head, bytes + want - (tcp ? 0 : CRC));
}

int sip_vtk_look(const uint8_t *bytes, size_t size, const void *of)
{
  size_t want;

  (void)of;
  if (size > 0 && bytes[0] != START) {
    return SIP_FRAME_NOISE;
  }
  if (size < HEAD) {
    return SIP_FRAME_MORE;
  }
  want = HEAD + word(bytes + 1) + CRC;
  if (want > SIP_VTK_FRAME_MAX) {
    return SIP_FRAME_NOISE;
  }
  if (size < want) {
    return SIP_FRAME_MORE;
  }
  return sip_crc16_1021(SIP_CRC16_CCITT_FFFF, bytes, want - CRC) == word(bytes + want - CRC)
           ? (int)want
           : SIP_FRAME_NOISE;
}

/* Without a checksum the discriminator is all there is to tell a frame from noise. */
int sip_vtk_look_tcp(const uint8_t *bytes, size_t size, const void *of)
{
  size_t want;

  (void)of;
  if (size < HEAD - 1) {
    return 0;
  }
  want = HEAD - 1 + word(bytes);
  if (want > SIP_VTK_FRAME_MAX || want < HEAD - 1 + PROTO) {
    return -1;
  }
  if ((size > HEAD - 1 && bytes[2] != 0x96 && bytes[2] != 0x97) ||
      (size > HEAD && !proto_known(word(bytes + 2)))) {
    return -1;
  }
  return size < want ? 0 : (int)want;
}

static size_t write_field(uint8_t *out, const struct sip_vtk_field *field)
{
  size_t at = 0;

  for (int shift = 16; shift >= 0; shift -= 8) {
    if (shift == 0 || field->tag >> shift != 0) {
      out[at++] = (uint8_t)(field->tag >> shift);
    }
  }
  if (field->size >= 0x100u) {
    out[at++] = 0x82;
    out[at++] = (uint8_t)(field->size >> 8);
  } else if (field->size >= 0x80u) {
    out[at++] = 0x81;
  }
  out[at++] = (uint8_t)field->size;
  if (field->size > 0) {
    memcpy(out + at, field->bytes, field->size);
  }
  return at + field->size;
}

size_t sip_vtk_write(uint8_t *out, size_t room, const struct sip_vtk_message *message, bool tcp)
{
  size_t at = tcp ? HEAD - 1 : HEAD, length;
  unsigned crc;

  room = room < SIP_VTK_FRAME_MAX ? room : SIP_VTK_FRAME_MAX;
  if (room < HEAD + PROTO + CRC) {
    return 0;
  }
  out[at++] = (uint8_t)(message->proto >> 8);
  out[at++] = (uint8_t)message->proto;
  for (unsigned i = 0; i < message->count; i++) {
    if (message->fields[i].size > room || at + 6 + message->fields[i].size + CRC > room) {
      return 0;
    }
    at += write_field(out + at, &message->fields[i]);
  }
  length = at - (tcp ? HEAD - 1 : HEAD);
  out[tcp ? 0 : 1] = (uint8_t)(length >> 8);
  out[tcp ? 1 : 2] = (uint8_t)length;
  if (tcp) {
    return at;
  }
  out[0] = START;
  crc = sip_crc16_1021(SIP_CRC16_CCITT_FFFF, out, at);
  out[at++] = (uint8_t)(crc >> 8);
  out[at++] = (uint8_t)crc;
  return at;
}

void sip_vtk_add(struct sip_vtk_message *message, uint32_t tag, const void *bytes, size_t size)
{
  if (message->count < SIP_VTK_FIELDS) {
    message->fields[message->count++] =
      (struct sip_vtk_field){ .tag = tag, .bytes = bytes, .size = size };
  }
}

void sip_vtk_add_text(struct sip_vtk_message *message, uint32_t tag, const char *text)
{
  sip_vtk_add(message, tag, text, strlen(text));
}

const struct sip_vtk_field *sip_vtk_find(const struct sip_vtk_message *message, uint32_t tag)
{
  for (unsigned i = 0; i < message->count; i++) {
    if (message->fields[i].tag == tag) {
      return &message->fields[i];
    }
  }
  return NULL;
}

int64_t sip_vtk_number(const struct sip_vtk_message *message, uint32_t tag)
{
  const struct sip_vtk_field *field = sip_vtk_find(message, tag);
  int64_t number = 0;

  if (field == NULL || field->size == 0 || field->size > DIGITS_MAX) {
    return -1;
  }
  for (size_t i = 0; i < field->size; i++) {
    if (field->bytes[i] < '0' || field->bytes[i] > '9') {
      return -1;
    }
    number = number * 10 + (field->bytes[i] - '0');
  }
  return number;
}

bool sip_vtk_is(const struct sip_vtk_message *message, const char *name)
{
  const struct sip_vtk_field *field = sip_vtk_find(message, SIP_VTK_NAME);

  return field != NULL && field->size == strlen(name) &&
         memcmp(field->bytes, name, field->size) == 0;
}

const struct sip_framing sip_vtk_framing = { .look = sip_vtk_look,
                                             .most_bytes = SIP_VTK_FRAME_MAX,
                                             .pause_us = 8000000 };
const struct sip_framing sip_vtk_framing_tcp = { .look = sip_vtk_look_tcp,
                                                 .most_bytes = SIP_VTK_FRAME_MAX,
                                                 .pause_us = 8000000 };

static const char *tag_name(uint32_t tag)
{
  static const char *const names[] = {
    [SIP_VTK_NAME] = "",
    [SIP_VTK_OPERATION] = "operation",
    [SIP_VTK_AMOUNT] = "amount",
    [SIP_VTK_KEEPALIVE_S] = "keepalive",
    [SIP_VTK_TIMEOUT_S] = "timeout",
    [SIP_VTK_EVENT] = "event",
    [SIP_VTK_EVENT_NUMBER] = "event number",
    [SIP_VTK_PRODUCT_ID] = "product id",
    [0x0A] = "qr",
    [SIP_VTK_PRODUCT] = "product",
    [0x10] = "management",
    [0x11] = "time",
    [SIP_VTK_SYSTEM] = "system",
    [SIP_VTK_RECEIPT] = "receipt",
    [0x14] = "qr ms",
  };

  return tag < sizeof names / sizeof names[0] && names[tag] != NULL ? names[tag] : "tag";
}

/* Adds a field in words; of long ones the beginning. */
static size_t put_field(char *text, size_t room, size_t at, const struct sip_vtk_field *field)
{
  const char *name = tag_name(field->tag);
  int wrote =
    snprintf(text + at, room - at, "%s%s%s", at == 0 ? "" : " ", name, name[0] == '\0' ? "" : "=");

  at = wrote < 0 ? at : at + (size_t)wrote;
  for (size_t i = 0; i < field->size && i < 40 && at + 1 < room; i++) {
    text[at++] = field->bytes[i] >= 0x20 && field->bytes[i] < 0x7F ? (char)field->bytes[i] : '.';
  }
  at = at < room ? at : room - 1;
  text[at] = '\0';
  return at;
}

size_t sip_vtk_describe(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room)
{
  bool tcp = size > 0 && bytes[0] != START;
  int length = tcp ? sip_vtk_look_tcp(bytes, size, NULL) : sip_vtk_look(bytes, size, NULL);
  struct sip_vtk_message message;
  enum sip_vtk_fault fault;
  size_t at = 0;

  (void)from_host; /* the discriminator says it */
  if (length <= 0) {
    (void)snprintf(text, room, "%s", length < 0 ? "noise" : "");
    return length < 0 ? 1 : 0;
  }
  fault = sip_vtk_read(&message, bytes, (size_t)length, tcp);
  if (fault != SIP_VTK_OK) {
    (void)snprintf(text, room, "damaged message (%s)", sip_vtk_fault_name(fault));
    return (size_t)length;
  }
  if (message.proto == SIP_VTK_NFC_HOST || message.proto == SIP_VTK_NFC_READER) {
    (void)snprintf(text, room, "card message, %d bytes", length);
  }
  for (unsigned i = 0; i < message.count && room > 0; i++) {
    at = put_field(text, room, at, &message.fields[i]);
  }
  return (size_t)length;
}
