/* serial_mdb.c - blocks of the MDB bus: what is read is written as the same; with mode bits too. */
#include "serial/mdb_frame.h"
#include "support/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint16_t words[SIP_MDB_BLOCK];
  uint8_t bytes[SIP_MDB_BLOCK];
  struct sip_mdb_block block, again;
  enum sip_mdb_fault fault = sip_mdb_read(data, size, &block);

  FUZZ_CHECK(fault < SIP_MDB_FAULTS && sip_mdb_fault_name(fault) != NULL, "no fault");
  if (fault == SIP_MDB_OK && size > 1) {
    FUZZ_CHECK(block.size + 2 == size && block.first == data[0], "another size");
    memcpy(bytes, data, size - 1);
    FUZZ_CHECK(sip_mdb_seal(bytes, size - 1) == size && memcmp(bytes, data, size) == 0,
               "another block");
  }
  for (int from_vmc = 0; from_vmc < 2 && size > 0 && size <= SIP_MDB_BLOCK; from_vmc++) {
    sip_mdb_words(data, size, from_vmc != 0, words);
    FUZZ_CHECK(sip_mdb_read_words(words, size, from_vmc != 0, bytes, &again) == fault &&
                 memcmp(bytes, data, size) == 0,
               "another block of words");
  }
  return 0;
}
