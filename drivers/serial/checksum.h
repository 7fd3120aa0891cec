#ifndef SIP_SERIAL_CHECKSUM_H
#define SIP_SERIAL_CHECKSUM_H
/* checksum.h - the checks that frames of serial protocols end in. Any thread. */
#include <stddef.h>
#include <stdint.h>

/** XOR of all bytes (XY). */
uint8_t sip_checksum_xor(const uint8_t *bytes, size_t size);

/** Sum of all bytes, modulo 256 (MDB). */
uint8_t sip_checksum_sum(const uint8_t *bytes, size_t size);

/** The byte that makes the sum of all 0 (ccTalk). */
uint8_t sip_checksum_negative(const uint8_t *bytes, size_t size);

enum {
  SIP_CRC16_ARC = 0x0000,        /* start for sip_crc16_a001: DEX, DDCMP, G85 */
  SIP_CRC16_MODBUS = 0xFFFF,     /* start for sip_crc16_a001 */
  SIP_CRC16_CCITT_FFFF = 0xFFFF, /* start for sip_crc16_1021: VTK */
  SIP_CRC16_CCITT_0000 = 0x0000  /* start for sip_crc16_1021: ccTalk */
};

/** CRC with the reflected polynomial A001. `crc` is a start, or what came of the bytes before. */
uint16_t sip_crc16_a001(uint16_t crc, const uint8_t *bytes, size_t size);

/** CRC with the polynomial 1021, highest bit first. `crc` as above. */
uint16_t sip_crc16_1021(uint16_t crc, const uint8_t *bytes, size_t size);

#endif
