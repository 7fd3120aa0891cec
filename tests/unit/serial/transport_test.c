/* transport_test.c - checksums, framing over split and merged reads, gaps and echoes. */
#include "serial/checksum.h"
#include "serial/echo.h"
#include "serial/frame.h"
#include "serial/qibixx_frame.h"
#include "serial/xy_frame.h"
#include "support/test.h"
#include "support/vectors.h"

enum { ROOM = 600 };

/* As slow and plain as can be: what the tables are compared with. */
static uint16_t bitwise_a001(uint16_t crc, const uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) {
      crc = (uint16_t)((crc & 1) != 0 ? crc >> 1 ^ 0xA001 : crc >> 1);
    }
  }
  return crc;
}

static uint16_t bitwise_1021(uint16_t crc, const uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    crc ^= (uint16_t)(bytes[i] << 8);
    for (int bit = 0; bit < 8; bit++) {
      crc = (uint16_t)((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1);
    }
  }
  return crc;
}

static void tables_are_the_polynomials(void)
{
  for (unsigned value = 0; value < 65536; value++) {
    const uint8_t bytes[] = { (uint8_t)(value >> 8), (uint8_t)value };

    CHECK_INT(sip_crc16_a001(0x1234, bytes, 2), bitwise_a001(0x1234, bytes, 2));
    CHECK_INT(sip_crc16_1021(0x1234, bytes, 2), bitwise_1021(0x1234, bytes, 2));
  }
}

static long checksum(const char *name, const uint8_t *bytes, size_t size)
{
  if (strcmp(name, "crc16-arc") == 0) {
    return sip_crc16_a001(SIP_CRC16_ARC, bytes, size);
  } else if (strcmp(name, "crc16-modbus") == 0) {
    return sip_crc16_a001(SIP_CRC16_MODBUS, bytes, size);
  } else if (strcmp(name, "crc16-ccitt-ffff") == 0) {
    return sip_crc16_1021(SIP_CRC16_CCITT_FFFF, bytes, size);
  } else if (strcmp(name, "crc16-ccitt-0000") == 0) {
    return sip_crc16_1021(SIP_CRC16_CCITT_0000, bytes, size);
  } else if (strcmp(name, "xor8") == 0) {
    return sip_checksum_xor(bytes, size);
  } else if (strcmp(name, "sum8") == 0) {
    return sip_checksum_sum(bytes, size);
  }
  CHECK_STR(name, "neg-sum8");
  return sip_checksum_negative(bytes, size);
}

/* Frames of one length byte in the second place, which sum to 0. */
static int look_summed(const uint8_t *bytes, size_t size, const void *of)
{
  (void)of;
  if (size < 5 || size < 5u + bytes[1]) {
    return SIP_FRAME_MORE;
  }
  return sip_checksum_sum(bytes, 5u + bytes[1]) == 0 ? 5 + bytes[1] : SIP_FRAME_NOISE;
}

static const struct sip_framing SUMMED = { look_summed, 260, 0 };

static const struct sip_framing *framing(const char *name)
{
  return strcmp(name, "xy") == 0     ? &sip_xy_framing
         : strcmp(name, "line") == 0 ? &sip_qibixx_framing
                                     : &SUMMED;
}

static void check_frames(struct sip_framer *framer, const struct vector *vector, int *seen)
{
  struct sip_frame frame;

  while (sip_framer_next(framer, &frame)) {
    uint8_t want[ROOM];
    struct vector item;

    CHECK(vector_item(vector, "frames", (*seen)++, &item));
    CHECK_INT(frame.size, vector_value_bytes(&item, want, sizeof want));
    CHECK(memcmp(frame.bytes, want, frame.size) == 0);
  }
}

/* The chunks as they are, in pieces of `piece` bytes, or (0) all at once. */
static void check_stream(const struct vector *vector, size_t piece, bool merged)
{
  struct sip_framer framer;
  struct vector item;
  uint8_t bytes[ROOM], want[ROOM];
  size_t size = 0;
  int seen = 0;

  CHECK_INT(sip_framer_init(&framer, framing(vector_text(vector, "framer", 2)), NULL), 0);
  for (int i = 0; vector_item(vector, "chunks", i, &item); i++) {
    size += vector_value_bytes(&item, bytes + size, sizeof bytes - size);
    for (size_t at = 0; !merged && at < size; at += piece) {
      size_t part = size - at < piece ? size - at : piece;

      CHECK_INT(sip_framer_feed(&framer, i, bytes + at, part), part);
      check_frames(&framer, vector, &seen);
    }
    size = merged ? size : 0;
  }
  if (merged) {
    CHECK_INT(sip_framer_feed(&framer, 0, bytes, size), size);
    check_frames(&framer, vector, &seen);
  }
  CHECK(!vector_item(vector, "frames", seen, &item));
  size = vector_bytes(vector, "rest", want, sizeof want);
  CHECK_INT(framer.end - framer.begin, size);
  CHECK(memcmp(framer.bytes + framer.begin, want, size) == 0);
  CHECK_INT(sip_framer_noise(&framer), vector_int(vector, "dropped", -1));
  CHECK_INT(sip_framer_noise(&framer), 0);
  sip_framer_deinit(&framer);
}

static void check_gap(const struct vector *vector)
{
  struct sip_gap gap = { .baud = (unsigned)vector_int(vector, "baud", 0) };
  struct vector item, frame;
  uint8_t built[ROOM], want[ROOM];
  size_t size = 0;
  int frames = 0;

  for (int i = 0; vector_item(vector, "chunks", i, &item); i++) {
    uint8_t bytes[ROOM];
    size_t part = vector_bytes(&item, "hex", bytes, sizeof bytes);

    if (sip_gap_mark(&gap, vector_int(&item, "t_us", -1), part)) {
      CHECK(frames == 0 || (vector_item(vector, "frames", frames - 1, &frame) &&
                            vector_value_bytes(&frame, want, sizeof want) == size &&
                            memcmp(built, want, size) == 0));
      frames++;
      size = 0;
    }
    memcpy(built + size, bytes, part);
    size += part;
  }
  CHECK(vector_item(vector, "frames", frames - 1, &frame));
  CHECK_INT(vector_value_bytes(&frame, want, sizeof want), size);
  CHECK(memcmp(built, want, size) == 0);
  CHECK(!vector_item(vector, "frames", frames, &frame));
}

static void vector_holds(const struct vector *vector)
{
  const char *check = vector_text(vector, "check", 0);
  uint8_t bytes[ROOM];

  if (strcmp(check, "crc") == 0) {
    size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
    const char *name = vector_text(vector, "alg", 1);

    CHECK_INT(checksum(name, bytes, size), strtol(vector_text(vector, "value", 2), NULL, 16));
  } else if (strcmp(check, "stream") == 0) {
    check_stream(vector, ROOM, false);
    check_stream(vector, 1, false);
    check_stream(vector, 3, false);
    check_stream(vector, 0, true);
  } else {
    CHECK_STR(check, "gap");
    check_gap(vector);
  }
}

static void frames_know_their_times(void)
{
  static const uint8_t POLL[] = { 0xFA, 0xFB, 0x41, 0x00, 0x40 };
  struct sip_framer framer;
  struct sip_frame frame;

  CHECK_INT(sip_framer_init(&framer, &sip_xy_framing, NULL), 0);
  CHECK_INT(sip_framer_due_us(&framer), INT64_MAX);
  CHECK_INT(sip_framer_feed(&framer, 100, POLL, 2), 2);
  CHECK(!sip_framer_next(&framer, &frame));
  CHECK_INT(sip_framer_due_us(&framer), 100 + 66001);
  CHECK_INT(sip_framer_feed(&framer, 250, POLL + 2, 3), 3);
  CHECK(sip_framer_next(&framer, &frame));
  CHECK_INT(frame.first_us, 100);
  CHECK_INT(frame.last_us, 250);
  sip_framer_deinit(&framer);
}

/* A length that claims too much holds back the frames behind it until the pause is over. */
static void a_pause_gives_up_what_it_cut(bool by_timer)
{
  static const uint8_t BYTES[] = { 0xFA, 0xFB, 0x04, 0xFF, 0xFA, 0xFB, 0x41, 0x00, 0x40, 0xFA };
  struct sip_framer framer;
  struct sip_frame frame;
  int64_t now_us = 1000;

  CHECK_INT(sip_framer_init(&framer, &sip_xy_framing, NULL), 0);
  CHECK_INT(sip_framer_feed(&framer, now_us, BYTES, sizeof BYTES), sizeof BYTES);
  CHECK(!sip_framer_next(&framer, &frame));
  CHECK(!sip_framer_late(&framer, now_us + 66000));
  now_us += 66001; /* the longest pause is one within a frame */
  if (by_timer) {
    CHECK(sip_framer_late(&framer, now_us));
  } else { /* later bytes, before the timer: they wait until the old ones are gone */
    CHECK_INT(sip_framer_feed(&framer, now_us, BYTES + 4, 5), 0);
  }
  CHECK(sip_framer_next(&framer, &frame));
  CHECK_INT(frame.size, 5);
  CHECK_INT(frame.first_us, 1000);
  CHECK(!sip_framer_next(&framer, &frame));
  CHECK_INT(sip_framer_noise(&framer), 5);
  CHECK_INT(framer.end - framer.begin, 0);
  CHECK_INT(sip_framer_feed(&framer, now_us, BYTES + 4, 5), 5);
  CHECK(sip_framer_next(&framer, &frame));
  sip_framer_deinit(&framer);
}

/* However much comes, and whatever: the buffer does not grow, and a frame behind it is found. */
static void a_flood_is_bounded(void)
{
  static const uint8_t POLL[] = { 0xFA, 0xFB, 0x41, 0x00, 0x40 };
  struct sip_framer framer;
  struct sip_frame frame;
  uint64_t random = 7;
  int polls = 0;

  CHECK_INT(sip_framer_init(&framer, &sip_xy_framing, NULL), 0);
  for (int i = 0; i < 2000; i++) {
    uint8_t noise[1000];
    size_t at = 0;

    for (size_t j = 0; j < sizeof noise; j++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      noise[j] = (uint8_t)(random >> 56);
    }
    memcpy(noise + sizeof noise - sizeof POLL, POLL, sizeof POLL);
    while (at < sizeof noise) {
      at += sip_framer_feed(&framer, i * INT64_C(1000000), noise + at, sizeof noise - at);
      while (sip_framer_next(&framer, &frame)) {
        polls += frame.size == sizeof POLL && frame.bytes[2] == 0x41;
      }
    }
    if (sip_framer_late(&framer, (i + 1) * INT64_C(1000000))) {
      while (sip_framer_next(&framer, &frame)) {
        polls += frame.size == sizeof POLL && frame.bytes[2] == 0x41;
      }
    }
    CHECK_INT(framer.end - framer.begin, 0);
  }
  CHECK_INT(polls, 2000);
  sip_framer_deinit(&framer);
}

static void echoes_are_taken_out(void)
{
  static const uint8_t SENT[] = { 2, 0, 1, 0xFE, 0xFF }, REPLY[] = { 1, 0, 2, 0, 0xFD };
  struct sip_echo echo = { .size = 0 };
  uint8_t both[sizeof SENT + sizeof REPLY];

  memcpy(both, SENT, sizeof SENT);
  memcpy(both + sizeof SENT, REPLY, sizeof REPLY);
  for (size_t split = 0; split <= sizeof both; split++) {
    size_t stripped;

    CHECK(sip_echo_sent(&echo, SENT, sizeof SENT));
    CHECK(!sip_echo_whole(&echo));
    stripped = sip_echo_strip(&echo, both, split);
    stripped += sip_echo_strip(&echo, both + split, sizeof both - split);
    CHECK_INT(stripped, sizeof SENT);
    CHECK(sip_echo_whole(&echo));
  }
  CHECK(sip_echo_sent(&echo, SENT, sizeof SENT));
  both[3] ^= 1; /* a collision: nothing is believed until the silence */
  CHECK_INT(sip_echo_strip(&echo, both, sizeof both), sizeof both);
  CHECK_INT(sip_echo_strip(&echo, REPLY, sizeof REPLY), sizeof REPLY);
  CHECK(!sip_echo_whole(&echo));
  CHECK_INT(echo.collisions, 1);
  sip_echo_silence(&echo);
  CHECK_INT(sip_echo_strip(&echo, REPLY, sizeof REPLY), 0);
  for (int i = 0; i < SIP_ECHO_MAX / 5; i++) {
    CHECK(sip_echo_sent(&echo, SENT, sizeof SENT));
  }
  CHECK(!sip_echo_sent(&echo, SENT, sizeof SENT));
}

int main(void)
{
  tables_are_the_polynomials();
  vectors_each("transport", 20, vector_holds);
  frames_know_their_times();
  a_pause_gives_up_what_it_cut(true);
  a_pause_gives_up_what_it_cut(false);
  a_flood_is_bounded();
  echoes_are_taken_out();
  return 0;
}
