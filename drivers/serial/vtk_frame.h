#ifndef SIP_SERIAL_VTK_FRAME_H
#define SIP_SERIAL_VTK_FRAME_H
/* vtk_frame.h - the messages of a Vendotek reader: bytes to fields, and back.
 *
 * On a serial line: 1F, length (2, of what follows up to the checksum), discriminator (2), fields
 * (tag, length, value as in BER), crc16-ccitt-ffff with the high byte first. Over TCP: the same
 * without the 1F and the checksum. Source: VTK protocol 1.12, section 2. No state; any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "serial/frame.h"

enum {
  SIP_VTK_FROM_HOST = 0x96FB,
  SIP_VTK_FROM_READER = 0x97FB,
  SIP_VTK_NFC_HOST = 0x96FC, /* the sub-protocol for cards; its fields are left alone */
  SIP_VTK_NFC_READER = 0x97FC,
  SIP_VTK_FRAME_MAX = 4096, /* ours: a message with a bank's receipt has about 2,000 */
  SIP_VTK_FIELDS = 24       /* kept of a message; those behind are skipped, as unknown ones are */
};

enum {
  SIP_VTK_NAME = 0x01,
  SIP_VTK_OPERATION = 0x03,
  SIP_VTK_AMOUNT = 0x04,
  SIP_VTK_KEEPALIVE_S = 0x05,
  SIP_VTK_TIMEOUT_S = 0x06,
  SIP_VTK_EVENT = 0x07,
  SIP_VTK_EVENT_NUMBER = 0x08,
  SIP_VTK_PRODUCT_ID = 0x09,
  SIP_VTK_PRODUCT = 0x0F,
  SIP_VTK_SYSTEM = 0x12,
  SIP_VTK_RECEIPT = 0x13
};

enum sip_vtk_fault {
  SIP_VTK_OK,
  SIP_VTK_START,  /* does not begin with 1F */
  SIP_VTK_SHORT,  /* the rest is still to come */
  SIP_VTK_LENGTH, /* bytes behind the frame, or longer than SIP_VTK_FRAME_MAX */
  SIP_VTK_CRC,
  SIP_VTK_PROTO, /* an unknown discriminator */
  SIP_VTK_TLV    /* a field that does not fit */
};

struct sip_vtk_field {
  uint32_t tag;
  const uint8_t *bytes; /* not owned */
  size_t size;
};

struct sip_vtk_message {
  uint16_t proto;
  unsigned count;
  struct sip_vtk_field fields[SIP_VTK_FIELDS];
};

/** "ok", "start", "short", … */
const char *sip_vtk_fault_name(enum sip_vtk_fault fault);

/** Reads one whole frame; the fields point into `bytes`. */
enum sip_vtk_fault sip_vtk_read(struct sip_vtk_message *message, const uint8_t *bytes, size_t size,
                                bool tcp);

/** For struct sip_framing. A good frame may still have an unknown discriminator or a field that
 * does not fit: sip_vtk_read says so. */
int sip_vtk_look(const uint8_t *bytes, size_t size, const void *of);
int sip_vtk_look_tcp(const uint8_t *bytes, size_t size, const void *of);

/* A frame that began is complete within 8 s (section 2). */
extern const struct sip_framing sip_vtk_framing, sip_vtk_framing_tcp;

/** @return the length of the frame, 0 when `room` does not do */
size_t sip_vtk_write(uint8_t *out, size_t room, const struct sip_vtk_message *message, bool tcp);

/** Adds a field that is not copied; ignored when there is no room. */
void sip_vtk_add(struct sip_vtk_message *message, uint32_t tag, const void *bytes, size_t size);
void sip_vtk_add_text(struct sip_vtk_message *message, uint32_t tag, const char *text);

/** The field, or NULL. */
const struct sip_vtk_field *sip_vtk_find(const struct sip_vtk_message *message, uint32_t tag);

/** The decimal number in a field, or -1: not there, no digits, or more than 12 of them. */
int64_t sip_vtk_number(const struct sip_vtk_message *message, uint32_t tag);

/** True when the message's name (tag 01) is `name`. */
bool sip_vtk_is(const struct sip_vtk_message *message, const char *name);

/** As struct sip_protocol's: the serial form where the bytes begin with 1F, else that of TCP. */
size_t sip_vtk_describe(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room);

#endif
