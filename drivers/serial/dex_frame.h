#ifndef SIP_SERIAL_DEX_FRAME_H
#define SIP_SERIAL_DEX_FRAME_H
/* dex_frame.h - what stands on a DEX/UCS line: control characters and blocks of text.
 *
 * A block: DLE SOH or DLE STX, text, DLE ETB (more follows) or DLE ETX (the last one), crc16-arc of
 * the text and of the ETB or ETX, low byte first. DLE SYN inside is a filler. Source: EVA-DTS 6.2,
 * 4.4 and 4.5. No state; any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "serial/frame.h"

enum {
  SIP_DEX_ENQ = 0x05,
  SIP_DEX_EOT = 0x04,
  SIP_DEX_NAK = 0x15,
  SIP_DEX_DLE = 0x10,
  SIP_DEX_SOH = 0x01,
  SIP_DEX_STX = 0x02,
  SIP_DEX_ETX = 0x03,
  SIP_DEX_ETB = 0x17,
  SIP_DEX_SYN = 0x16,
  SIP_DEX_ACK0 = '0',
  SIP_DEX_ACK1 = '1',
  SIP_DEX_WACK = ';',
  SIP_DEX_TEXT_MAX = 243,  /* 245 counted with DLE ETB */
  SIP_DEX_FRAME_MAX = 1024 /* ours: with fillers */
};

enum sip_dex_fault {
  SIP_DEX_OK,
  SIP_DEX_START,
  SIP_DEX_UNTERMINATED,
  SIP_DEX_ESCAPE, /* a DLE that means nothing inside of a block */
  SIP_DEX_TRAILING,
  SIP_DEX_OVERSIZE,
  SIP_DEX_CRC,
  SIP_DEX_UNKNOWN /* no control character */
};

struct sip_dex_item {
  uint8_t control; /* ENQ, EOT, NAK, ACK0, ACK1, WACK, SYN; 0: a block */
  uint8_t kind;    /* SOH or STX */
  bool last;
  size_t size;
  char text[SIP_DEX_TEXT_MAX];
};

extern const struct sip_framing sip_dex_framing;

/** "ok", "start", … */
const char *sip_dex_fault_name(enum sip_dex_fault fault);

/** Reads one whole block, or one whole control character. */
enum sip_dex_fault sip_dex_read_block(struct sip_dex_item *item, const uint8_t *bytes, size_t size);
enum sip_dex_fault sip_dex_read_control(struct sip_dex_item *item, const uint8_t *bytes,
                                        size_t size);

/** For struct sip_framing. A block whose end is there is a frame even when its check is wrong: it
 * has to be answered with NAK, and what is in it is not to be taken for control characters. */
int sip_dex_look(const uint8_t *bytes, size_t size, const void *of);

/** @return the length; 0 when the text is longer than SIP_DEX_TEXT_MAX or `room` */
size_t sip_dex_write_block(uint8_t *out, size_t room, uint8_t kind, bool last, const char *text,
                           size_t size);

/** @return 1 or 2 */
size_t sip_dex_write_control(uint8_t out[2], uint8_t control);

/** "ENQ", "ACK0", …; "?" */
const char *sip_dex_control_name(uint8_t control);

/** As struct sip_protocol's; it knows DDCMP too. */
size_t sip_dex_describe(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room);

#endif
