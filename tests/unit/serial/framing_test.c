/* framing_test.c - each good frame of the vectors is found whole, split at each position, merged
 * with its neighbours and behind noise, and not found when a byte of it is another one. */
#include "serial/modbus_frame.h"
#include "serial/qibixx_frame.h"
#include "serial/xy_frame.h"
#include "support/test.h"
#include "support/vectors.h"

enum { FRAMES = 64, ROOM = 300 };

struct frames {
  const struct sip_framing *framing;
  bool checked; /* a frame ends in a check */
  size_t count;
  struct {
    uint8_t bytes[ROOM];
    size_t size;
  } all[FRAMES];
};

static struct frames xy = { .framing = &sip_xy_framing, .checked = true };
static struct frames qibixx = { .framing = &sip_qibixx_framing };
static struct frames requests = { .framing = &sip_modbus_requests, .checked = true };
static struct frames responses = { .framing = &sip_modbus_responses, .checked = true };

static void keep(struct frames *frames, const struct vector *vector)
{
  CHECK(frames->count < FRAMES);
  frames->all[frames->count].size =
    vector_bytes(vector, "hex", frames->all[frames->count].bytes, ROOM);
  frames->count++;
}

static void keep_xy(const struct vector *vector)
{
  if (strcmp(vector_text(vector, "expect", 0), "ok") == 0) {
    keep(&xy, vector);
  }
}

static void keep_qibixx(const struct vector *vector)
{
  if (strcmp(vector_text(vector, "expect", 0), "ok") == 0) {
    keep(&qibixx, vector);
  }
}

static void keep_modbus(const struct vector *vector)
{
  if (strcmp(vector_text(vector, "check", 0), "modbus") == 0 &&
      strcmp(vector_text(vector, "expect", 1), "ok") == 0) {
    bool request = strcmp(vector_text(vector, "role", 2), "request") == 0;

    keep(request ? &requests : &responses, vector);
  }
}

static struct sip_framer fresh(const struct frames *frames)
{
  struct sip_framer framer;

  CHECK_INT(sip_framer_init(&framer, frames->framing, NULL), 0);
  return framer;
}

/* The frame is the next one, and nothing is behind it. */
static void expect(struct sip_framer *framer, const uint8_t *bytes, size_t size)
{
  struct sip_frame frame;

  CHECK(sip_framer_next(framer, &frame));
  CHECK_INT(frame.size, size);
  CHECK(memcmp(frame.bytes, bytes, size) == 0);
}

static void each_split(const struct frames *frames)
{
  struct sip_frame frame;

  for (size_t i = 0; i < frames->count; i++) {
    const uint8_t *bytes = frames->all[i].bytes;
    size_t size = frames->all[i].size;

    for (size_t at = 1; at < size; at++) {
      struct sip_framer framer = fresh(frames);

      CHECK_INT(sip_framer_feed(&framer, 0, bytes, at), at);
      CHECK(!sip_framer_next(&framer, &frame));
      CHECK_INT(sip_framer_feed(&framer, 1, bytes + at, size - at), size - at);
      expect(&framer, bytes, size);
      CHECK(!sip_framer_next(&framer, &frame));
      CHECK_INT(framer.dropped, 0);
      sip_framer_deinit(&framer);
    }
  }
}

static void check_next(const struct frames *frames, const struct sip_frame *frame, size_t which)
{
  CHECK_INT(frame->size, frames->all[which].size);
  CHECK(memcmp(frame->bytes, frames->all[which].bytes, frame->size) == 0);
}

/* Every pair in one read, without and with noise between. */
static void each_pair(const struct frames *frames, const uint8_t *noise, size_t noise_size)
{
  for (size_t i = 0; i < frames->count; i++) {
    for (size_t j = 0; j < frames->count; j++) {
      uint8_t both[2 * ROOM + 16];
      size_t a = frames->all[i].size, b = frames->all[j].size, at = 0;
      struct sip_framer framer = fresh(frames);
      struct sip_frame frame;
      int seen = 0;

      memcpy(both, frames->all[i].bytes, a);
      memcpy(both + a, noise, noise_size);
      memcpy(both + a + noise_size, frames->all[j].bytes, b);
      while (at < a + noise_size + b) {
        at += sip_framer_feed(&framer, 0, both + at, a + noise_size + b - at);
        while (sip_framer_next(&framer, &frame)) {
          check_next(frames, &frame, seen++ == 0 ? i : j);
        }
      }
      (void)sip_framer_late(&framer, frames->framing->pause_us + 1); /* noise may claim a length */
      while (sip_framer_next(&framer, &frame)) {
        check_next(frames, &frame, seen++ == 0 ? i : j);
      }
      CHECK_INT(seen, 2);
      CHECK_INT(framer.dropped, noise_size);
      sip_framer_deinit(&framer);
    }
  }
}

/* No change of one byte leaves a frame of that length; the one behind it is found after the pause.
 */
static void each_byte_damaged(const struct frames *frames)
{
  for (size_t i = 0; i < frames->count; i++) {
    size_t size = frames->all[i].size;

    for (size_t at = 0; at < size; at++) {
      for (unsigned flip = 1; flip < 256; flip++) {
        struct sip_framer framer = fresh(frames);
        struct sip_frame frame;
        uint8_t bytes[ROOM];
        int seen = 0;

        memcpy(bytes, frames->all[i].bytes, size);
        bytes[at] ^= (uint8_t)flip;
        CHECK_INT(sip_framer_feed(&framer, 0, bytes, size), size);
        while (sip_framer_next(&framer, &frame)) {
          CHECK(frame.size < size); /* a shorter one can stand in it by accident */
        }
        (void)sip_framer_late(&framer, frames->framing->pause_us + 1);
        while (sip_framer_next(&framer, &frame)) {
          CHECK(frame.size < size);
        }
        CHECK_INT(
          sip_framer_feed(&framer, frames->framing->pause_us + 1, frames->all[i].bytes, size),
          size);
        while (sip_framer_next(&framer, &frame)) {
          seen += frame.size == size && memcmp(frame.bytes, frames->all[i].bytes, size) == 0;
        }
        CHECK_INT(seen, 1);
        sip_framer_deinit(&framer);
      }
    }
  }
}

int main(void)
{
  static const uint8_t NOISE[] = { 0xFF, 0x7F, 0x70 };
  struct frames *const all[] = { &xy, &qibixx, &requests, &responses };

  vectors_each("xy", 28, keep_xy);
  vectors_each("qibixx", 46, keep_qibixx);
  vectors_each("modbus", 35, keep_modbus);
  CHECK_INT(xy.count, 21);
  CHECK_INT(qibixx.count, 39);
  CHECK_INT(requests.count, 14);
  CHECK_INT(responses.count, 6);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    each_split(all[i]);
    each_pair(all[i], NOISE, 0);
    if (all[i]->checked) {
      each_pair(all[i], NOISE, sizeof NOISE);
      each_byte_damaged(all[i]);
    }
  }
  return 0;
}
