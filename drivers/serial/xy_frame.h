#ifndef SIP_SERIAL_XY_FRAME_H
#define SIP_SERIAL_XY_FRAME_H
/* xy_frame.h - frames of the FA FB board: FA FB command length body xor. The body is a packet
 * number and what the command says; POLL and ACK have none. Numbers are big-endian. Any thread. */
#include "serial/frame.h"

enum {
  SIP_XY_HEAD = 4, /* FA FB command length */
  SIP_XY_BODY = 255,
  SIP_XY_FRAME = SIP_XY_HEAD + SIP_XY_BODY + 1
};

enum sip_xy_command {
  SIP_XY_CHECK_SLOT = 0x01,
  SIP_XY_SLOT_STATUS = 0x02,
  SIP_XY_BUY = 0x03,
  SIP_XY_JOB_STATUS = 0x04,
  SIP_XY_SELECT = 0x05,
  SIP_XY_DRIVE = 0x06,
  SIP_XY_SLOT_INFO = 0x11,
  SIP_XY_SET_PRICE = 0x12,
  SIP_XY_SET_INVENTORY = 0x13,
  SIP_XY_SET_CAPACITY = 0x14,
  SIP_XY_SET_PRODUCT = 0x15,
  SIP_XY_SET_INTERVAL = 0x16,
  SIP_XY_FULL_LOAD = 0x17,
  SIP_XY_MONEY_IN = 0x21,
  SIP_XY_ACCEPT = 0x28,
  SIP_XY_SYNC = 0x31,
  SIP_XY_POLL = 0x41,
  SIP_XY_ACK = 0x42,
  SIP_XY_MACHINE_ASK = 0x51,
  SIP_XY_MACHINE_STATUS = 0x52,
  SIP_XY_LIFT_ASK = 0x53,
  SIP_XY_LIFT_STATUS = 0x54
};

enum sip_xy_fault {
  SIP_XY_OK,
  SIP_XY_SHORT,
  SIP_XY_STX,    /* no FA FB */
  SIP_XY_XOR,    /* the check is wrong */
  SIP_XY_LENGTH, /* bytes behind the frame */
  SIP_XY_FAULTS
};

struct sip_xy_frame {
  uint8_t command, number; /* number: 0 where there is no body */
  const uint8_t *text;     /* behind the number; in the bytes that were read */
  size_t size;
};

extern const struct sip_framing sip_xy_framing;

/** Reads a whole frame; `frame` is set when it is one. */
enum sip_xy_fault sip_xy_read(const uint8_t *bytes, size_t size, struct sip_xy_frame *frame);

/** The word for a fault: "short", "stx", "xor", "length"; "ok". */
const char *sip_xy_fault_name(enum sip_xy_fault fault);

/** Writes a frame of at most SIP_XY_FRAME bytes; `number` 0 and no text: without a body.
 *  @return its size */
size_t sip_xy_write(uint8_t *out, uint8_t command, uint8_t number, const void *text, size_t size);

/** The number of `size` bytes, big-endian. */
uint32_t sip_xy_number(const uint8_t *bytes, size_t size);

/** As `describe` of a protocol. */
size_t sip_xy_describe(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room);

#endif
