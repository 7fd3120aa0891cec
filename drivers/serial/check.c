/* check.c - checks by name. */
#include "serial/check.h"

#include "serial/checksum.h"

#include <string.h>

static const struct {
  const char *name;
  size_t size;
} checks[] = { { "none", 0 },         { "xor8", 1 },      { "sum8", 1 },       { "neg_sum8", 1 },
               { "crc16_modbus", 2 }, { "crc16_arc", 2 }, { "crc16_ccitt", 2 } };

int sip_check_find(enum sip_check_kind *out, const char *name, struct sip_err *err)
{
  for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
    if (strcmp(checks[i].name, name) == 0) {
      *out = (enum sip_check_kind)i;
      return 0;
    }
  }
  return sip_err_set(err, UV_EINVAL,
                     "check: one of none, xor8, sum8, neg_sum8, crc16_modbus, crc16_arc and "
                     "crc16_ccitt, not %.40s",
                     name);
}

size_t sip_check_size(enum sip_check_kind kind)
{
  return checks[kind].size;
}

size_t sip_check_make(enum sip_check_kind kind, const uint8_t *bytes, size_t size,
                      uint8_t out[SIP_CHECK_MOST])
{
  uint16_t crc = 0;

  switch (kind) {
  case SIP_CHECK_XOR8:
    out[0] = sip_checksum_xor(bytes, size);
    return 1;
  case SIP_CHECK_SUM8:
    out[0] = sip_checksum_sum(bytes, size);
    return 1;
  case SIP_CHECK_NEG_SUM8:
    out[0] = sip_checksum_negative(bytes, size);
    return 1;
  case SIP_CHECK_CRC16_MODBUS:
    crc = sip_crc16_a001(SIP_CRC16_MODBUS, bytes, size);
    break;
  case SIP_CHECK_CRC16_ARC:
    crc = sip_crc16_a001(SIP_CRC16_ARC, bytes, size);
    break;
  case SIP_CHECK_CRC16_CCITT:
    crc = sip_crc16_1021(SIP_CRC16_CCITT_FFFF, bytes, size);
    out[0] = (uint8_t)(crc >> 8);
    out[1] = (uint8_t)crc;
    return 2;
  default:
    return 0;
  }
  out[0] = (uint8_t)crc;
  out[1] = (uint8_t)(crc >> 8);
  return 2;
}

bool sip_check_holds(enum sip_check_kind kind, const uint8_t *bytes, size_t size)
{
  uint8_t check[SIP_CHECK_MOST];
  size_t length = sip_check_size(kind);

  return size >= length && (sip_check_make(kind, bytes, size - length, check) == 0 ||
                            memcmp(check, bytes + size - length, length) == 0);
}
