/* preset.c - bytes into frames, as a script chose. */
#include "serial/preset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
  SOME = 512,     /* bytes that are looked at in one go, beyond the largest frame */
  PARTIAL_MS = 66 /* 50 ms and what an adapter holds back (serial-protocols, 1.3) */
};

/* --- settings --- */

static int read_number(const struct sip_note *settings, const char *name, int64_t least,
                       int64_t most, int64_t otherwise, size_t *out, struct sip_err *err)
{
  int64_t number = sip_note_number(settings, name, otherwise);

  if (number < least || number > most) {
    return sip_err_set(err, UV_EINVAL, "framing: %s is %" PRId64 " to %" PRId64 ", not %" PRId64,
                       name, least, most, number);
  }
  *out = (size_t)number;
  return 0;
}

static int read_mark(const struct sip_note *settings, const char *name, uint8_t *out, size_t *size,
                     struct sip_err *err)
{
  const struct sip_value *mark = sip_note_find(settings, name);

  *size = 0;
  if (mark == NULL) {
    return 0;
  }
  if (mark->kind != SIP_VALUE_TEXT || mark->size == 0 || mark->size > SIP_PRESET_MARK) {
    return sip_err_set(err, UV_EINVAL, "framing: %s is 1 to %d bytes", name, SIP_PRESET_MARK);
  }
  memcpy(out, mark->text, mark->size);
  *size = mark->size;
  return 0;
}

static int read_kind(struct sip_preset *preset, const struct sip_note *settings,
                     struct sip_err *err)
{
  static const struct {
    const char *name;
    enum sip_preset_kind framing;
  } kinds[] = { { "none", SIP_PRESET_NONE },           { "line", SIP_PRESET_DELIMITER },
                { "delimiter", SIP_PRESET_DELIMITER }, { "length", SIP_PRESET_LENGTH },
                { "fixed", SIP_PRESET_FIXED },         { "gap", SIP_PRESET_GAP } };

  if (sip_note_find(settings, "framing") == NULL) {
    return 0;
  }
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (sip_note_is(settings, "framing", kinds[i].name)) {
      preset->framing = kinds[i].framing;
      preset->cut_cr = strcmp(kinds[i].name, "line") == 0;
      return 0;
    }
  }
  return sip_err_set(err, UV_EINVAL,
                     "framing: one of none, line, delimiter, length, fixed and gap");
}

static int read_numbers(struct sip_preset *preset, const struct sip_note *settings,
                        struct sip_err *err)
{
  bool fixed = preset->framing == SIP_PRESET_FIXED, gap = preset->framing == SIP_PRESET_GAP;
  size_t gap_ms = 0;
  int rc = read_number(settings, "max", 1, SIP_PRESET_MAX, 4096, &preset->max, err);

  rc = rc < 0 ? rc : read_number(settings, "gap_ms", 1, 10000, gap ? 20 : PARTIAL_MS, &gap_ms, err);
  preset->gap_ms = (unsigned)gap_ms;
  if (rc == 0 && fixed) {
    rc = read_number(settings, "size", 1, (int64_t)preset->max, 0, &preset->size, err);
  }
  if (rc == 0 && preset->framing == SIP_PRESET_LENGTH) {
    rc = read_number(settings, "at", 0, 255, 0, &preset->at, err);
    rc = rc < 0 ? rc : read_number(settings, "width", 1, 2, 1, &preset->width, err);
    rc = rc < 0 ? rc : read_number(settings, "extra", 0, 255, 0, &preset->extra, err);
    preset->little = sip_note_number(settings, "little", 0) != 0;
  }
  return rc;
}

static int read_check(struct sip_preset *preset, const struct sip_note *settings,
                      struct sip_err *err)
{
  const struct sip_value *check = sip_note_find(settings, "check");

  if (check == NULL) {
    return 0;
  }
  return check->kind != SIP_VALUE_TEXT
           ? sip_err_set(err, UV_EINVAL, "framing: check is the name of one")
           : sip_check_find(&preset->check, check->text, err);
}

int sip_preset_init(struct sip_preset *preset, const struct sip_note *settings, struct sip_err *err)
{
  int rc;

  memset(preset, 0, sizeof *preset);
  rc = read_kind(preset, settings, err);
  rc = rc < 0 ? rc : read_numbers(preset, settings, err);
  rc = rc < 0 ? rc : read_check(preset, settings, err);
  rc = rc < 0 ? rc : read_mark(settings, "start", preset->start, &preset->start_size, err);
  rc =
    rc < 0 ? rc : read_mark(settings, "delimiter", preset->delimiter, &preset->delimiter_size, err);
  if (rc < 0 || preset->framing == SIP_PRESET_NONE) {
    return rc;
  }
  if (preset->cut_cr) {
    preset->delimiter[0] = '\n';
    preset->delimiter_size = 1;
  }
  if (preset->framing == SIP_PRESET_DELIMITER && preset->delimiter_size == 0) {
    return sip_err_set(err, UV_EINVAL, "framing: delimiter is missing");
  }
  preset->room = preset->max + SIP_PRESET_MARK + SOME;
  preset->bytes = malloc(preset->room);
  return preset->bytes == NULL ? sip_err_set(err, UV_ENOMEM, "framing: out of memory") : 0;
}

void sip_preset_deinit(struct sip_preset *preset)
{
  free(preset->bytes);
  preset->bytes = NULL;
}

void sip_preset_reset(struct sip_preset *preset)
{
  preset->dropped += preset->used;
  preset->used = 0;
  preset->skipping = false;
}

/* --- frames --- */

struct frame {
  const uint8_t *bytes; /* NULL: what is taken is noise */
  size_t size;
};

/* Each looks at the bytes that are there and returns how many it takes, as a frame or as noise; 0:
 * it needs more. */
static size_t take_delimited(struct sip_preset *preset, const uint8_t *bytes, size_t size,
                             struct frame *frame)
{
  const uint8_t *end = memmem(bytes, size, preset->delimiter, preset->delimiter_size);
  size_t length, taken;

  if (end == NULL) {
    if (size < preset->max + preset->delimiter_size) {
      return 0;
    }
    preset->skipping = true;
    return size - (preset->delimiter_size - 1); /* it may have begun */
  }
  length = (size_t)(end - bytes);
  taken = length + preset->delimiter_size;
  if (preset->skipping || length > preset->max) {
    preset->skipping = false;
    return taken;
  }
  frame->bytes = bytes;
  frame->size = length - (preset->cut_cr && length > 0 && bytes[length - 1] == '\r');
  return taken;
}

static bool begins_well(const struct sip_preset *preset, const uint8_t *bytes, size_t size)
{
  size_t length = size < preset->start_size ? size : preset->start_size;

  return memcmp(bytes, preset->start, length) == 0;
}

static size_t take_counted(const struct sip_preset *preset, const uint8_t *bytes, size_t size,
                           struct frame *frame)
{
  size_t total = preset->size, first, second;

  if (!begins_well(preset, bytes, size)) {
    return 1; /* and no more: the good frame may begin behind it */
  }
  if (preset->framing == SIP_PRESET_LENGTH) {
    if (size < preset->at + preset->width) {
      return 0;
    }
    first = bytes[preset->at];
    second = preset->width == 2 ? bytes[preset->at + 1] : 0;
    total = preset->width == 1 ? first : preset->little ? second << 8 | first : first << 8 | second;
    total += preset->extra;
    if (total < preset->at + preset->width || total > preset->max) {
      return 1;
    }
  }
  if (size < total || size < preset->start_size) {
    return 0;
  }
  if (!sip_check_holds(preset->check, bytes, total)) {
    return 1;
  }
  frame->bytes = bytes;
  frame->size = total;
  return total;
}

static size_t take_gap(struct sip_preset *preset, size_t size)
{
  if (size <= preset->max && !preset->skipping) {
    return 0;
  }
  preset->skipping = true; /* until there is silence */
  return size;
}

/* Hands a frame on without its check; what has a wrong one, or is none, was noise. */
static void give(struct sip_preset *preset, const struct frame *frame, size_t taken,
                 sip_preset_fn on_frame, void *arg)
{
  if (frame->bytes != NULL && sip_check_holds(preset->check, frame->bytes, frame->size)) {
    on_frame(arg, frame->bytes, frame->size - sip_check_size(preset->check));
  } else {
    preset->dropped += taken;
  }
}

static void scan(struct sip_preset *preset, sip_preset_fn on_frame, void *arg)
{
  size_t at = 0, taken;

  do {
    struct frame frame = { NULL, 0 };
    const uint8_t *bytes = preset->bytes + at;
    size_t size = preset->used - at;

    if (size == 0) {
      break;
    }
    if (preset->framing == SIP_PRESET_DELIMITER) {
      taken = take_delimited(preset, bytes, size, &frame);
    } else if (preset->framing == SIP_PRESET_GAP) {
      taken = take_gap(preset, size);
    } else {
      taken = take_counted(preset, bytes, size, &frame);
    }
    at += taken;
    give(preset, &frame, taken, on_frame, arg);
  } while (taken > 0);
  preset->used -= at;
  memmove(preset->bytes, preset->bytes + at, preset->used);
}

void sip_preset_feed(struct sip_preset *preset, int64_t now_us, const uint8_t *bytes, size_t size,
                     sip_preset_fn on_frame, void *arg)
{
  preset->last_us = now_us;
  while (size > 0) {
    size_t piece = preset->room - preset->used;

    piece = piece < size ? piece : size;
    memcpy(preset->bytes + preset->used, bytes, piece);
    preset->used += piece;
    bytes += piece;
    size -= piece;
    scan(preset, on_frame, arg);
  }
}

int64_t sip_preset_due_us(const struct sip_preset *preset)
{
  bool waits = preset->framing == SIP_PRESET_GAP && (preset->used > 0 || preset->skipping);

  waits = waits || ((preset->framing == SIP_PRESET_LENGTH || preset->framing == SIP_PRESET_FIXED) &&
                    preset->used > 0);
  return waits ? preset->last_us + (int64_t)preset->gap_ms * 1000 : SIP_NEVER_US;
}

void sip_preset_on_due(struct sip_preset *preset, int64_t now_us, sip_preset_fn on_frame, void *arg)
{
  struct frame whole;

  if (sip_preset_due_us(preset) > now_us) {
    return;
  }
  if (preset->framing != SIP_PRESET_GAP) {
    /* A frame without an end: what is behind its first byte may be good ones. */
    preset->dropped++;
    memmove(preset->bytes, preset->bytes + 1, --preset->used);
    scan(preset, on_frame, arg);
    return;
  }
  whole = (struct frame){ preset->skipping ? NULL : preset->bytes, preset->used };
  give(preset, &whole, preset->used, on_frame, arg);
  preset->skipping = false;
  preset->used = 0;
}
