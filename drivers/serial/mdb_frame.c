/* mdb_frame.c - blocks of the MDB bus, with and without their mode bits. */
#include "serial/mdb_frame.h"

#include "serial/checksum.h"

enum { MODE_BIT = 0x100 };

enum sip_mdb_fault sip_mdb_read(const uint8_t *bytes, size_t size, struct sip_mdb_block *block)
{
  *block = (struct sip_mdb_block){ .kind = "block" };
  if (size == 1) {
    block->kind = bytes[0] == SIP_MDB_ACK   ? "ACK"
                  : bytes[0] == SIP_MDB_NAK ? "NAK"
                  : bytes[0] == SIP_MDB_RET ? "RET"
                                            : NULL;
    return block->kind == NULL ? SIP_MDB_SHORT : SIP_MDB_OK;
  }
  if (size == 0 || size > SIP_MDB_BLOCK) {
    return size == 0 ? SIP_MDB_SHORT : SIP_MDB_OVERSIZE;
  }
  if (sip_checksum_sum(bytes, size - 1) != bytes[size - 1]) {
    return SIP_MDB_CHECKSUM;
  }
  block->first = bytes[0];
  block->data = bytes + 1;
  block->size = size - 2;
  return SIP_MDB_OK;
}

enum sip_mdb_fault sip_mdb_read_words(const uint16_t *words, size_t count, bool from_vmc,
                                      uint8_t *bytes, struct sip_mdb_block *block)
{
  if (count > SIP_MDB_BLOCK) {
    return SIP_MDB_OVERSIZE;
  }
  for (size_t i = 0; i < count; i++) {
    if (words[i] > 0x1FF) {
      return SIP_MDB_RANGE;
    }
  }
  for (size_t i = 0; i < count; i++) {
    bool marked = (words[i] & MODE_BIT) != 0;

    if (marked != (from_vmc ? i == 0 : i == count - 1)) {
      return SIP_MDB_MODEBIT;
    }
    bytes[i] = (uint8_t)words[i];
  }
  return sip_mdb_read(bytes, count, block);
}

size_t sip_mdb_seal(uint8_t *bytes, size_t size)
{
  if (size == 0 || size >= SIP_MDB_BLOCK) {
    return 0;
  }
  bytes[size] = sip_checksum_sum(bytes, size);
  return size + 1;
}

void sip_mdb_words(const uint8_t *bytes, size_t size, bool from_vmc, uint16_t *words)
{
  for (size_t i = 0; i < size; i++) {
    bool marked = from_vmc ? i == 0 : i == size - 1;

    words[i] = (uint16_t)(bytes[i] | (marked ? MODE_BIT : 0));
  }
}

const char *sip_mdb_fault_name(enum sip_mdb_fault fault)
{
  static const char *const NAMES[SIP_MDB_FAULTS] = { "ok",       "short", "checksum",
                                                     "oversize", "range", "modebit" };

  return NAMES[fault];
}
