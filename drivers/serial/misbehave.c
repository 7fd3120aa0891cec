/* misbehave.c - faults of simulators: frames lost, late, twice and wrong, and noise. */
#include "serial/misbehave.h"

#include "serial/fields.h"

#include <string.h>

enum { NOISE_BYTES = 16, NOISE_US = 1000, DELAY_MS = 300, TIMES_MAX = 1000000 };

static const char *const KINDS[] = { "drop", "delay",  "duplicate", "corrupt", "forever", "reset",
                                     "jam",  "silent", "lie",       "mute",    NULL };

void sip_misbehave_init(struct sip_misbehave *faults, struct sip_line *line)
{
  memset(faults, 0, sizeof *faults);
  faults->line = line;
  faults->random = 0x9E3779B97F4A7C15u;
  faults->noise_us = SIP_NEVER_US;
}

static uint64_t misbehave_random(struct sip_misbehave *faults)
{
  faults->random ^= faults->random << 13;
  faults->random ^= faults->random >> 7;
  faults->random ^= faults->random << 17;
  return faults->random;
}

int sip_misbehave_command(struct sip_misbehave *faults, int64_t now_us,
                          const struct sip_note *command, struct sip_err *err)
{
  int64_t times, ms;
  int kind, rc;

  if (sip_note_find(command, "kind") == NULL) {
    return sip_err_set(err, UV_EINVAL, "fault: kind is missing");
  }
  kind = sip_fields_word(command, "fault", "kind", KINDS, err);
  if (kind < 0) {
    return kind;
  }
  rc = sip_fields_int(command, "fault", "times", 0, TIMES_MAX, 1, &times, err);
  if (rc < 0) {
    return rc;
  }
  rc = sip_fields_int(command, "fault", "ms", 0, 3600000, DELAY_MS, &ms, err);
  if (rc < 0) {
    return rc;
  }
  faults->left[kind] = (unsigned)times;
  if (kind == SIP_MISBEHAVE_DELAY) {
    faults->delay_us = ms * 1000;
  } else if (kind == SIP_MISBEHAVE_FOREVER) {
    faults->noise_us = times > 0 ? now_us : SIP_NEVER_US;
  }
  return 0;
}

int sip_misbehave_obey(struct sip_misbehave *faults, struct sip_party *party, int64_t now_us,
                       const struct sip_note *command, sip_obey_fn obey, struct sip_err *err)
{
  struct sip_note result = { .name = "result", .ticket = command->ticket };
  int rc;

  (void)sip_note_bool(&result, "ok", true);
  rc = strcmp(command->name, "fault") == 0 ? sip_misbehave_command(faults, now_us, command, err)
                                           : obey(party, now_us, command, &result, err);
  if (rc == 0) {
    faults->line->tell(faults->line, &result);
  }
  return rc < 0 ? rc : 0;
}

bool sip_misbehave_take(struct sip_misbehave *faults, enum sip_misbehaviour kind)
{
  if (faults->left[kind] == 0) {
    return false;
  }
  faults->left[kind]--;
  return true;
}

static void misbehave_out(struct sip_misbehave *faults, const void *bytes, size_t size)
{
  (void)faults->line->send(faults->line, bytes, size); /* lost on a dead link, as on a wire */
}

void sip_misbehave_send(struct sip_misbehave *faults, int64_t now_us, const void *bytes,
                        size_t size)
{
  uint8_t frame[SIP_MISBEHAVE_FRAME];
  bool late = sip_misbehave_take(faults, SIP_MISBEHAVE_DELAY);

  if (size == 0 || size > sizeof frame || sip_misbehave_take(faults, SIP_MISBEHAVE_DROP)) {
    return;
  }
  memcpy(frame, bytes, size);
  if (sip_misbehave_take(faults, SIP_MISBEHAVE_CORRUPT)) {
    frame[misbehave_random(faults) % size] ^= (uint8_t)(1 + misbehave_random(faults) % 255);
  }
  if (late || faults->held_count > 0) {
    if (faults->held_count < SIP_MISBEHAVE_HELD) {
      struct sip_misbehave_held *held = &faults->held[faults->held_count++];

      held->due_us = now_us + (late ? faults->delay_us : 0);
      held->size = size;
      memcpy(held->bytes, frame, size);
    }
    return;
  }
  misbehave_out(faults, frame, size);
  if (sip_misbehave_take(faults, SIP_MISBEHAVE_DUPLICATE)) {
    misbehave_out(faults, frame, size);
  }
}

int64_t sip_misbehave_due_us(const struct sip_misbehave *faults)
{
  int64_t due_us = faults->held_count > 0 ? faults->held[0].due_us : SIP_NEVER_US;

  return faults->noise_us < due_us ? faults->noise_us : due_us;
}

void sip_misbehave_on_due(struct sip_misbehave *faults, int64_t now_us)
{
  while (faults->held_count > 0 && faults->held[0].due_us <= now_us) {
    misbehave_out(faults, faults->held[0].bytes, faults->held[0].size);
    faults->held_count--;
    memmove(faults->held, faults->held + 1, faults->held_count * sizeof faults->held[0]);
  }
  if (faults->noise_us <= now_us) {
    uint8_t noise[NOISE_BYTES];

    for (size_t i = 0; i < sizeof noise; i++) {
      noise[i] = (uint8_t)(misbehave_random(faults) >> 32);
    }
    misbehave_out(faults, noise, sizeof noise);
    (void)sip_misbehave_take(faults, SIP_MISBEHAVE_FOREVER);
    faults->noise_us = faults->left[SIP_MISBEHAVE_FOREVER] > 0 ? now_us + NOISE_US : SIP_NEVER_US;
  }
}

void sip_misbehave_reset(struct sip_misbehave *faults)
{
  faults->held_count = 0;
}
