#ifndef SIP_SERIAL_DDCMP_FRAME_H
#define SIP_SERIAL_DDCMP_FRAME_H
/* ddcmp_frame.h - DDCMP messages: control ones of 8 bytes, and data ones.
 *
 * Each header ends in its crc16-arc, low byte first, and so does the data, whose length excludes
 * it. Source: EVA-DTS 6.2, chapter 6. No state; any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "serial/frame.h"

enum {
  SIP_DDCMP_CONTROL = 0x05,
  SIP_DDCMP_DATA = 0x81,
  SIP_DDCMP_ACK = 1, /* types of control messages */
  SIP_DDCMP_NACK = 2,
  SIP_DDCMP_START = 6,
  SIP_DDCMP_STACK = 7,
  SIP_DDCMP_DATA_MAX = 1024, /* ours: devices send about 250 */
  SIP_DDCMP_FRAME_MAX = SIP_DDCMP_DATA_MAX + 10
};

enum sip_ddcmp_fault {
  SIP_DDCMP_OK,
  SIP_DDCMP_SHORT,
  SIP_DDCMP_BEGIN, /* neither 05 nor 81 */
  SIP_DDCMP_HEADER_CRC,
  SIP_DDCMP_DATA_CRC,
  SIP_DDCMP_TRAILING
};

struct sip_ddcmp_message {
  bool data, last;
  bool sync;      /* quick sync: the sender is silent behind it */
  uint8_t type;   /* of a control message */
  uint8_t rx, tx; /* of a control message: the third and fourth byte behind the type */
  uint8_t address;
  size_t size;
  const uint8_t *bytes; /* not owned */
};

extern const struct sip_framing sip_ddcmp_framing;

/** "ok", "short", … */
const char *sip_ddcmp_fault_name(enum sip_ddcmp_fault fault);

/** Reads one whole message; `bytes` points into it. With a wrong check of the data the rest is
 * there.
 */
enum sip_ddcmp_fault sip_ddcmp_read(struct sip_ddcmp_message *message, const uint8_t *bytes,
                                    size_t size);

/** For struct sip_framing: a message whose data is damaged is a frame, for it is to be refused. */
int sip_ddcmp_look(const uint8_t *bytes, size_t size, const void *of);

/** @return the length, 0 when there is too much data */
size_t sip_ddcmp_write(uint8_t out[SIP_DDCMP_FRAME_MAX], const struct sip_ddcmp_message *message);

/** True when the bytes begin with a whole header whose check is right. */
bool sip_ddcmp_begins(const uint8_t *bytes, size_t size);
size_t sip_ddcmp_describe(const uint8_t *bytes, size_t size, char *text, size_t room);

#endif
