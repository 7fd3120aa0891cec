/* serial_telnet.c - RFC 2217's telnet: what a server says means the same however it is split, and
 * what we send is what it gets, however much leaves at a time.
 *
 * The input is a byte that seeds the splits, and the bytes of the connection. */
#include "serial/telnet.h"

#include "support/fuzz.h"

#include <string.h>

enum { MOST = 4096 };

static unsigned next_random(unsigned *seed)
{
  *seed = *seed * 1103515245u + 12345u;
  return *seed >> 16 & 0x7FFF;
}

static void take_in_pieces(const uint8_t *data, size_t size, unsigned seed)
{
  static uint8_t whole[MOST], piece[MOST], joined[MOST];
  struct sip_telnet one, other;
  size_t expected, count = 0;

  sip_telnet_begin(&one);
  sip_telnet_begin(&other);
  memcpy(whole, data, size);
  expected = sip_telnet_take(&one, whole, size);
  FUZZ_CHECK(expected <= size, "more came out than in");
  for (size_t at = 0; at < size;) {
    size_t length = 1 + next_random(&seed) % 7, data_size;

    length = length < size - at ? length : size - at;
    memcpy(piece, data + at, length);
    data_size = sip_telnet_take(&other, piece, length);
    memcpy(joined + count, piece, data_size);
    count += data_size;
    at += length;
  }
  FUZZ_CHECK(count == expected && memcmp(whole, joined, count) == 0, "other data in pieces");
  FUZZ_CHECK(one.held == other.held && one.modem == other.modem && one.agreed == other.agreed &&
               one.answered == other.answered && one.control_size == other.control_size,
             "another state in pieces");
  FUZZ_CHECK(one.control_size <= sizeof one.control, "the answers overflow");
}

static void send_in_pieces(const uint8_t *data, size_t size, unsigned seed)
{
  static uint8_t wire[2 * MOST], sent[2 * MOST];
  struct sip_telnet ours, theirs;
  size_t at = 0, count = 0, got;

  sip_telnet_begin(&ours);
  sip_telnet_begin(&theirs);
  while (at < size) {
    size_t length = sip_telnet_wrap(&ours, data + at, size - at, wire), put, taken;

    put = next_random(&seed) % (length < 5 ? length + 1 : 5);
    memcpy(sent + count, wire, put);
    count += put;
    taken = sip_telnet_sent(&ours, data + at, size - at, put);
    FUZZ_CHECK(taken <= size - at && taken <= put, "%zu of %zu bytes", taken, size - at);
    at += taken;
  }
  FUZZ_CHECK(!ours.half, "half a byte is left");
  got = sip_telnet_take(&theirs, sent, count);
  FUZZ_CHECK(got == size && memcmp(sent, data, size) == 0, "%zu bytes became %zu", size, got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size < 1 || size > MOST) {
    return 0;
  }
  take_in_pieces(data + 1, size - 1, data[0]);
  send_in_pieces(data + 1, size - 1, data[0]);
  return 0;
}
