#ifndef SIP_SERIAL_MDB_FRAME_H
#define SIP_SERIAL_MDB_FRAME_H
/* mdb_frame.h - blocks of the MDB bus: up to 36 bytes, the last of which is the sum of those
 * before; or ACK, NAK and RET alone. On the bus each byte has a ninth bit, the mode bit: set on the
 * address of what the VMC sends, and on the last byte of what a device sends. Any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIP_MDB_BLOCK = 36, SIP_MDB_ACK = 0x00, SIP_MDB_NAK = 0xFF, SIP_MDB_RET = 0xAA };

enum sip_mdb_fault {
  SIP_MDB_OK,
  SIP_MDB_SHORT,
  SIP_MDB_CHECKSUM,
  SIP_MDB_OVERSIZE,
  SIP_MDB_RANGE,   /* a word of more than nine bits */
  SIP_MDB_MODEBIT, /* is not where it has to be */
  SIP_MDB_FAULTS
};

struct sip_mdb_block {
  const char *kind;    /* "ACK", "NAK", "RET" or "block" */
  uint8_t first;       /* of a block: address and command, or what a device says */
  const uint8_t *data; /* behind it; in the bytes that were read */
  size_t size;
};

enum sip_mdb_fault sip_mdb_read(const uint8_t *bytes, size_t size, struct sip_mdb_block *block);

/** As above, out of words of nine bits, whose low eight go to `bytes` (at most SIP_MDB_BLOCK). */
enum sip_mdb_fault sip_mdb_read_words(const uint16_t *words, size_t count, bool from_vmc,
                                      uint8_t *bytes, struct sip_mdb_block *block);

/** Appends the check to `size` bytes, at most 35. @return the size with it; 0: they are too many */
size_t sip_mdb_seal(uint8_t *bytes, size_t size);

/** The words of a block, or of an answer of one byte. */
void sip_mdb_words(const uint8_t *bytes, size_t size, bool from_vmc, uint16_t *words);

const char *sip_mdb_fault_name(enum sip_mdb_fault fault);

#endif
