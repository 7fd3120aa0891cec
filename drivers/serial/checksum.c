/* checksum.c - sums, and CRCs by tables of half bytes: 32 bytes each, which stay in the cache. */
#include "serial/checksum.h"

/* What a half byte does to the CRC: polynomial A001, lowest bit first. */
static const uint16_t A001[16] = {
  0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
  0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
};

/* Polynomial 1021, highest bit first. */
static const uint16_t P1021[16] = {
  0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
  0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
};

uint8_t sip_checksum_xor(const uint8_t *bytes, size_t size)
{
  uint8_t value = 0;

  for (size_t i = 0; i < size; i++) {
    value ^= bytes[i];
  }
  return value;
}

uint8_t sip_checksum_sum(const uint8_t *bytes, size_t size)
{
  unsigned value = 0;

  for (size_t i = 0; i < size; i++) {
    value += bytes[i];
  }
  return (uint8_t)value;
}

uint8_t sip_checksum_negative(const uint8_t *bytes, size_t size)
{
  return (uint8_t)(0u - sip_checksum_sum(bytes, size));
}

uint16_t sip_crc16_a001(uint16_t crc, const uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    crc = (uint16_t)(crc >> 4 ^ A001[crc & 15]);
    crc = (uint16_t)(crc >> 4 ^ A001[crc & 15]);
  }
  return crc;
}

uint16_t sip_crc16_1021(uint16_t crc, const uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    crc ^= (uint16_t)(bytes[i] << 8);
    crc = (uint16_t)(crc << 4 ^ P1021[crc >> 12]);
    crc = (uint16_t)(crc << 4 ^ P1021[crc >> 12]);
  }
  return crc;
}
