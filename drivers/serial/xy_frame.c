/* xy_frame.c - frames of the FA FB board, read, written and put into words. */
#include "serial/xy_frame.h"

#include "serial/checksum.h"

#include <stdio.h>
#include <string.h>

enum { STX1 = 0xFA, STX2 = 0xFB };

struct word {
  uint8_t number;
  const char *text;
};

static const struct word COMMANDS[] = {
  { SIP_XY_CHECK_SLOT, "CHECK SLOT" },
  { SIP_XY_SLOT_STATUS, "SLOT STATUS" },
  { SIP_XY_BUY, "BUY" },
  { SIP_XY_JOB_STATUS, "JOB STATUS" },
  { SIP_XY_SELECT, "SELECT" },
  { SIP_XY_DRIVE, "DRIVE" },
  { SIP_XY_SLOT_INFO, "SLOT INFO" },
  { SIP_XY_SET_PRICE, "SET PRICE" },
  { SIP_XY_SET_INVENTORY, "SET INVENTORY" },
  { SIP_XY_SET_CAPACITY, "SET CAPACITY" },
  { SIP_XY_SET_PRODUCT, "SET PRODUCT" },
  { SIP_XY_SET_INTERVAL, "SET INTERVAL" },
  { SIP_XY_FULL_LOAD, "FULL LOAD" },
  { SIP_XY_MONEY_IN, "MONEY IN" },
  { SIP_XY_ACCEPT, "ACCEPT" },
  { SIP_XY_SYNC, "SYNC" },
  { SIP_XY_POLL, "POLL" },
  { SIP_XY_ACK, "ACK" },
  { SIP_XY_MACHINE_ASK, "MACHINE?" },
  { SIP_XY_MACHINE_STATUS, "MACHINE" },
  { SIP_XY_LIFT_ASK, "LIFT?" },
  { SIP_XY_LIFT_STATUS, "LIFT" },
};

static int xy_look(const uint8_t *bytes, size_t size, const void *of)
{
  size_t whole;

  (void)of;
  if (bytes[0] != STX1 || (size > 1 && bytes[1] != STX2)) {
    return SIP_FRAME_NOISE;
  }
  if (size < SIP_XY_HEAD + 1) {
    return SIP_FRAME_MORE;
  }
  whole = SIP_XY_HEAD + (size_t)bytes[3] + 1;
  if (size < whole) {
    return SIP_FRAME_MORE;
  }
  return sip_checksum_xor(bytes, whole - 1) == bytes[whole - 1] ? (int)whole : SIP_FRAME_NOISE;
}

/* The board says nothing about pauses inside a frame: 50 ms, and what an adapter adds. */
const struct sip_framing sip_xy_framing = { xy_look, SIP_XY_FRAME, 66000 };

enum sip_xy_fault sip_xy_read(const uint8_t *bytes, size_t size, struct sip_xy_frame *frame)
{
  size_t whole;

  if (size < 2) {
    return SIP_XY_SHORT;
  }
  if (bytes[0] != STX1 || bytes[1] != STX2) {
    return SIP_XY_STX;
  }
  if (size < SIP_XY_HEAD + 1) {
    return SIP_XY_SHORT;
  }
  whole = SIP_XY_HEAD + (size_t)bytes[3] + 1;
  if (size != whole) {
    return size < whole ? SIP_XY_SHORT : SIP_XY_LENGTH;
  }
  if (sip_checksum_xor(bytes, size - 1) != bytes[size - 1]) {
    return SIP_XY_XOR;
  }
  frame->command = bytes[2];
  frame->number = bytes[3] > 0 ? bytes[4] : 0;
  frame->text = bytes + SIP_XY_HEAD + (bytes[3] > 0 ? 1 : 0);
  frame->size = bytes[3] > 0 ? bytes[3] - 1u : 0;
  return SIP_XY_OK;
}

const char *sip_xy_fault_name(enum sip_xy_fault fault)
{
  static const char *const NAMES[SIP_XY_FAULTS] = { "ok", "short", "stx", "xor", "length" };

  return NAMES[fault];
}

size_t sip_xy_write(uint8_t *out, uint8_t command, uint8_t number, const void *text, size_t size)
{
  size_t body;

  size = size < SIP_XY_BODY ? size : SIP_XY_BODY - 1; /* what the length's byte can say */
  body = number == 0 && size == 0 ? 0 : size + 1;
  out[0] = STX1;
  out[1] = STX2;
  out[2] = command;
  out[3] = (uint8_t)body;
  if (body > 0) {
    out[4] = number;
  }
  if (size > 0) {
    memcpy(out + SIP_XY_HEAD + 1, text, size);
  }
  out[SIP_XY_HEAD + body] = sip_checksum_xor(out, SIP_XY_HEAD + body);
  return SIP_XY_HEAD + body + 1;
}

uint32_t sip_xy_number(const uint8_t *bytes, size_t size)
{
  uint32_t number = 0;

  for (size_t i = 0; i < size; i++) {
    number = number << 8 | bytes[i];
  }
  return number;
}

static void xy_words(const struct sip_xy_frame *frame, char *text, size_t room)
{
  const char *name = NULL;
  const uint8_t *t = frame->text;
  int len;

  for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++) {
    name = COMMANDS[i].number == frame->command ? COMMANDS[i].text : name;
  }
  if (name == NULL) {
    len = snprintf(text, room, "command %02X", frame->command);
  } else {
    len = snprintf(text, room, "%s", name);
  }
  if (frame->number > 0 && (size_t)len < room) {
    len += snprintf(text + len, room - (size_t)len, " #%u", frame->number);
  }
  if ((size_t)len >= room) {
    return;
  }
  text += len;
  room -= (size_t)len;
  if ((frame->command == SIP_XY_JOB_STATUS || frame->command == SIP_XY_SLOT_STATUS) &&
      frame->size >= 3) {
    (void)snprintf(text, room, " status %02X slot %u", t[0], (unsigned)sip_xy_number(t + 1, 2));
  } else if (frame->command == SIP_XY_DRIVE && frame->size == 4) {
    (void)snprintf(text, room, " slot %u sensor %s lift %s", (unsigned)sip_xy_number(t + 2, 2),
                   t[0] ? "on" : "off", t[1] ? "on" : "off");
  } else if (frame->command == SIP_XY_MONEY_IN && frame->size >= 5) {
    (void)snprintf(text, room, " mode %u amount %u", t[0], (unsigned)sip_xy_number(t + 1, 4));
  } else if (frame->command == SIP_XY_SLOT_INFO && frame->size == 11) {
    (void)snprintf(text, room, " slot %u price %u inventory %u of %u product %u state %u",
                   (unsigned)sip_xy_number(t, 2), (unsigned)sip_xy_number(t + 2, 4), t[6], t[7],
                   (unsigned)sip_xy_number(t + 8, 2), t[10]);
  } else if ((frame->command == SIP_XY_BUY || frame->command == SIP_XY_CHECK_SLOT ||
              frame->command == SIP_XY_SELECT) &&
             frame->size >= 2) {
    (void)snprintf(text, room, " slot %u", (unsigned)sip_xy_number(t, 2));
  } else if (frame->size > 0) {
    (void)snprintf(text, room, " %zu bytes", frame->size);
  }
}

size_t sip_xy_describe(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room)
{
  struct sip_xy_frame frame;
  int look;

  (void)from_host; /* a frame looks the same either way */
  if (size == 0) {
    return 0;
  }
  look = xy_look(bytes, size, NULL);
  if (look == SIP_FRAME_MORE) {
    return 0;
  }
  if (look == SIP_FRAME_NOISE || sip_xy_read(bytes, (size_t)look, &frame) != SIP_XY_OK) {
    (void)snprintf(text, room, "noise");
    return 1;
  }
  xy_words(&frame, text, room);
  return (size_t)look;
}
