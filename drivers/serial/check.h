#ifndef SIP_SERIAL_CHECK_H
#define SIP_SERIAL_CHECK_H
/* check.h - checks by name, as scripts and presets choose them. Any thread. */
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sip_check_kind {
  SIP_CHECK_NONE,
  SIP_CHECK_XOR8,
  SIP_CHECK_SUM8,
  SIP_CHECK_NEG_SUM8,
  SIP_CHECK_CRC16_MODBUS, /* these two: low byte first */
  SIP_CHECK_CRC16_ARC,
  SIP_CHECK_CRC16_CCITT /* starts with FFFF; high byte first */
};

enum { SIP_CHECK_MOST = 2 }; /* bytes of a check */

/** "xor8", "sum8", "neg_sum8", "crc16_modbus", "crc16_arc", "crc16_ccitt", "none". @return 0 or
 *  UV_EINVAL */
int sip_check_find(enum sip_check_kind *out, const char *name, struct sip_err *err);

/** The check of the bytes. @return how many bytes it has */
size_t sip_check_make(enum sip_check_kind kind, const uint8_t *bytes, size_t size,
                      uint8_t out[SIP_CHECK_MOST]);

/** How many bytes a check has. */
size_t sip_check_size(enum sip_check_kind kind);

/** Whether the bytes end in their check. */
bool sip_check_holds(enum sip_check_kind kind, const uint8_t *bytes, size_t size);

#endif
