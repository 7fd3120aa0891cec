/* framing.c - see framing.h. */
#include "support/framing.h"

#include "support/test.h"

struct count {
  struct sip_framer framer;
  const uint8_t *frame; /* the one that is looked for */
  size_t size;
  bool (*good)(const uint8_t *bytes, size_t size);
  int64_t now_us;
  unsigned found, others;
};

static void take(struct count *count)
{
  struct sip_frame frame;

  while (sip_framer_next(&count->framer, &frame)) {
    if (frame.size == count->size && memcmp(frame.bytes, count->frame, frame.size) == 0) {
      count->found++;
    } else if (count->good == NULL || count->good(frame.bytes, frame.size)) {
      count->others++;
    }
  }
}

static void feed(struct count *count, const uint8_t *bytes, size_t size)
{
  while (size > 0) {
    size_t taken = sip_framer_feed(&count->framer, count->now_us, bytes, size);

    bytes += taken;
    size -= taken;
    take(count);
  }
}

/* The line is silent for longer than within a frame. */
static void silence(struct count *count)
{
  count->now_us += count->framer.framing->pause_us + 1;
  if (sip_framer_late(&count->framer, count->now_us)) {
    take(count);
  }
}

static void expect(struct count *count, unsigned found)
{
  silence(count);
  CHECK_INT(count->found, found);
  CHECK_INT(count->others, 0);
  count->found = 0;
}

static void pieces(struct count *count)
{
  feed(count, count->frame, count->size);
  CHECK_INT(count->found, 1); /* without a silence */
  expect(count, 1);
  for (size_t i = 0; i < count->size; i++) {
    feed(count, count->frame + i, 1);
  }
  CHECK_INT(count->found, 1);
  expect(count, 1);
  for (size_t i = 1; i < count->size; i++) {
    feed(count, count->frame, i);
    CHECK_INT(count->found, 0);
    feed(count, count->frame + i, count->size - i);
    expect(count, 1);
  }
}

static void merged(struct count *count)
{
  uint8_t twice[2 * 4096];

  CHECK(2 * count->size <= sizeof twice);
  memcpy(twice, count->frame, count->size);
  memcpy(twice + count->size, count->frame, count->size);
  feed(count, twice, 2 * count->size);
  CHECK_INT(count->found, 2);
  expect(count, 2);
}

static void behind_noise(struct count *count)
{
  static const uint8_t noises[] = { 0x00, 0x01, 0x20, 0x55, 0xAA, 0xFE, 0xFF };

  for (size_t i = 0; i < sizeof noises; i++) {
    feed(count, &noises[i], 1);
    silence(count);
    feed(count, count->frame, count->size);
    expect(count, 1);
  }
}

static void behind_damage(struct count *count)
{
  uint8_t damaged[4096];

  for (size_t i = 0; i < count->size * 8; i++) {
    memcpy(damaged, count->frame, count->size);
    damaged[i / 8] ^= (uint8_t)(1u << i % 8);
    feed(count, damaged, count->size);
    silence(count);
    feed(count, count->frame, count->size);
    expect(count, 1);
  }
}

void framing_holds(const struct sip_framing *framing, const void *of, const uint8_t *frame,
                   size_t size, bool (*good)(const uint8_t *bytes, size_t size))
{
  struct count count = { .frame = frame, .size = size, .good = good, .now_us = 1000000 };

  CHECK_INT(sip_framer_init(&count.framer, framing, of), 0);
  pieces(&count);
  merged(&count);
  behind_noise(&count);
  behind_damage(&count);
  sip_framer_deinit(&count.framer);
}
