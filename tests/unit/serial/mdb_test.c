/* mdb_test.c - blocks of the MDB bus, with and without mode bits. */
#include "serial/mdb_frame.h"

#include "support/test.h"
#include "support/vectors.h"

enum { ROOM = 64 };

static void block_holds(const struct vector *vector)
{
  uint8_t bytes[ROOM], again[ROOM];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_mdb_block block;
  struct vector fields;
  enum sip_mdb_fault fault = sip_mdb_read(bytes, size, &block);

  CHECK_STR(sip_mdb_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_MDB_OK) {
    return;
  }
  if (vector_field(vector, "fields", &fields)) {
    const char *kind = vector_text(&fields, "kind", 1);

    CHECK_STR(block.kind, kind == NULL ? "block" : kind);
    CHECK_INT(block.first, vector_int(&fields, "first", block.first));
  }
  if (strcmp(block.kind, "block") == 0) { /* written again, and each bit of it wrong */
    again[0] = block.first;
    memcpy(again + 1, block.data, block.size);
    CHECK_INT(sip_mdb_seal(again, block.size + 1), size);
    CHECK(memcmp(again, bytes, size) == 0);
    for (size_t bit = 0; bit < 8 * size; bit++) {
      again[bit / 8] ^= (uint8_t)(1u << bit % 8);
      CHECK_INT(sip_mdb_read(again, size, &block), SIP_MDB_CHECKSUM);
      again[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
  }
}

static void words_hold(const struct vector *vector)
{
  bool from_vmc = strcmp(vector_text(vector, "dir", 0), "vmc->dev") == 0;
  uint16_t words[ROOM], again[ROOM];
  uint8_t bytes[SIP_MDB_BLOCK];
  struct sip_mdb_block block;
  struct vector item;
  size_t count = 0;
  enum sip_mdb_fault fault;

  while (vector_item(vector, "words", (int)count, &item)) {
    words[count++] = (uint16_t)strtol(vector_value_text(&item, 1), NULL, 16);
  }
  fault = sip_mdb_read_words(words, count, from_vmc, bytes, &block);
  CHECK_STR(sip_mdb_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault == SIP_MDB_OK) {
    sip_mdb_words(bytes, count, from_vmc, again);
    CHECK(memcmp(words, again, count * sizeof words[0]) == 0);
    words[0] |= 0x200;
    CHECK_INT(sip_mdb_read_words(words, count, from_vmc, bytes, &block), SIP_MDB_RANGE);
  }
}

static void vector_holds(const struct vector *vector)
{
  if (strcmp(vector_text(vector, "check", 0), "mdb9") == 0) {
    words_hold(vector);
  } else {
    block_holds(vector);
  }
}

static void what_is_too_long_is_not_written(void)
{
  uint8_t bytes[SIP_MDB_BLOCK + 1] = { 0 };
  uint16_t words[SIP_MDB_BLOCK + 1] = { 0x100 };
  struct sip_mdb_block block;

  CHECK_INT(sip_mdb_seal(bytes, SIP_MDB_BLOCK - 1), SIP_MDB_BLOCK);
  CHECK_INT(sip_mdb_seal(bytes, SIP_MDB_BLOCK), 0);
  CHECK_INT(sip_mdb_seal(bytes, 0), 0);
  CHECK_INT(sip_mdb_read(bytes, 0, &block), SIP_MDB_SHORT);
  CHECK_INT(sip_mdb_read_words(words, SIP_MDB_BLOCK + 1, true, bytes, &block), SIP_MDB_OVERSIZE);
}

int main(void)
{
  vectors_each("mdb", 29, vector_holds);
  what_is_too_long_is_not_written();
  return 0;
}
