/* serial_preset.c - framing of scripts: bounded, the same frames however bytes are split, each byte
 * a frame's or noise; frames end in their check and are no longer than they may.
 *
 * The input is 8 bytes of settings and a seed, and what comes over the line. */
#include "serial/preset.h"

#include "support/fuzz.h"

#include <string.h>

enum { HEAD = 9, MOST = 4096, LARGEST = 64 };

struct seen {
  size_t frames, bytes, hash, largest;
};

static void on_frame(void *arg, const uint8_t *frame, size_t size)
{
  struct seen *seen = arg;

  seen->frames++;
  seen->bytes += size;
  seen->largest = size > seen->largest ? size : seen->largest;
  seen->hash = seen->hash * 31 + size;
  for (size_t i = 0; i < size; i++) {
    seen->hash = seen->hash * 31 + frame[i];
  }
}

static void fill(struct sip_note *note, const uint8_t *head)
{
  static const char *const kinds[] = { "line", "delimiter", "length", "fixed", "gap" };
  static const char *const checks[] = { "none", "xor8", "neg_sum8", "crc16_modbus", "crc16_ccitt" };

  (void)sip_note_text(note, "framing", kinds[head[0] % 5]);
  (void)sip_note_text(note, "check", checks[head[1] % 5]);
  (void)sip_note_bytes(note, "delimiter", head + 2, 1 + head[3] % 2);
  if (head[4] & 1) {
    (void)sip_note_bytes(note, "start", head + 5, 1 + (head[4] >> 1 & 1));
  }
  (void)sip_note_int(note, "at", head[6] % 4);
  (void)sip_note_int(note, "width", 1 + (head[6] >> 2 & 1));
  (void)sip_note_bool(note, "little", (head[6] >> 3 & 1) != 0);
  (void)sip_note_int(note, "extra", head[6] >> 4);
  (void)sip_note_int(note, "size", 1 + head[7] % LARGEST);
  (void)sip_note_int(note, "max", LARGEST);
}

/* Everything in one go, or in pieces; then silence. @return the noise */
static size_t run(const struct sip_note *settings, const uint8_t *data, size_t size, unsigned seed,
                  struct seen *seen)
{
  struct sip_preset preset;
  size_t noise;

  FUZZ_CHECK(sip_preset_init(&preset, settings, NULL) == 0, "settings are refused");
  for (size_t at = 0; at < size;) {
    size_t length = size - at;

    if (seed != 0) {
      seed = seed * 1103515245u + 12345u;
      length = 1 + (seed >> 16) % 9 < length ? 1 + (seed >> 16) % 9 : length;
    }
    sip_preset_feed(&preset, 0, data + at, length, on_frame, seen);
    FUZZ_CHECK(preset.used <= preset.room, "the buffer overflows");
    at += length;
  }
  for (size_t i = 0; i <= size && sip_preset_due_us(&preset) != SIP_NEVER_US; i++) {
    sip_preset_on_due(&preset, sip_preset_due_us(&preset), on_frame, seen);
  }
  FUZZ_CHECK(sip_preset_due_us(&preset) == SIP_NEVER_US, "silence does not end it");
  sip_preset_reset(&preset);
  noise = preset.dropped;
  sip_preset_deinit(&preset);
  return noise;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct sip_note settings = { .name = "settings" };
  struct seen whole = { 0 }, pieces = { 0 };
  size_t noise, other;

  if (size < HEAD || size > MOST) {
    return 0;
  }
  fill(&settings, data);
  noise = run(&settings, data + HEAD, size - HEAD, 0, &whole);
  other = run(&settings, data + HEAD, size - HEAD, data[8] + 1u, &pieces);
  FUZZ_CHECK(whole.frames == pieces.frames && whole.hash == pieces.hash && noise == other,
             "%zu frames, or %zu in pieces", whole.frames, pieces.frames);
  FUZZ_CHECK(whole.bytes + noise <= size - HEAD, "more came out than in");
  FUZZ_CHECK(whole.largest <= LARGEST, "a frame of %zu bytes", whole.largest);
  return 0;
}
