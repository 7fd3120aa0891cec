/* ranges.c - a set of offsets as runs.
 *
 * The text is SIGN and, as base64: a checksum of 4 bytes; the number of held keys; for each of them
 * 8 bytes (its hash), the offset and the second until which it is held; for each run how far it
 * begins behind the end of the last one (the first: behind the base), and how long it is. Numbers
 * are varints (LEB128). The checksum covers the base too: metadata that somebody put beside another
 * offset is refused. */
#include "flow/ranges.h"

#include "core/base64.h"
#include "core/err.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>

enum {
  SIGN_LEN = 2,
  SUM_BYTES = 4,
  WORD_BYTES = 8,
  /* What base64 leaves of the text. */
  DATA_MAX = (SIP_RANGES_TEXT_MAX - SIGN_LEN) / 4 * 3,
  VARINT_MAX = 9 /* 63 bits */
};
static const char SIGN[] = "1:"; /* the first byte is the version */

void sip_ranges_deinit(struct sip_ranges *ranges)
{
  free(ranges->runs);
  *ranges = (struct sip_ranges){ 0 };
}

void sip_ranges_clear(struct sip_ranges *ranges)
{
  ranges->count = 0;
}

/* The first run that ends at `offset` or later. */
static size_t ranges_find(const struct sip_ranges *ranges, int64_t offset)
{
  size_t low = 0, high = ranges->count;

  if (high > 0 && ranges->runs[high - 1].to < offset) { /* they mostly come in order */
    return high;
  }
  while (low < high) {
    size_t middle = low + (high - low) / 2;

    if (ranges->runs[middle].to < offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static int ranges_make_room(struct sip_ranges *ranges)
{
  enum { FIRST_ROOM = 16 };
  size_t room = ranges->room == 0 ? FIRST_ROOM : ranges->room * 2;
  struct sip_range *runs;

  if (ranges->count < ranges->room) {
    return 0;
  }
  runs = realloc(ranges->runs, room * sizeof *runs);
  if (runs == NULL) {
    return UV_ENOMEM;
  }
  ranges->runs = runs;
  ranges->room = room;
  return 0;
}

int sip_ranges_add(struct sip_ranges *ranges, int64_t from, int64_t to)
{
  size_t at = ranges_find(ranges, from), end = at;
  struct sip_range *run;
  int rc = ranges_make_room(ranges);

  if (rc < 0) {
    return rc;
  }
  for (; end < ranges->count && ranges->runs[end].from <= to; end++) { /* what it touches */
    from = ranges->runs[end].from < from ? ranges->runs[end].from : from;
    to = ranges->runs[end].to > to ? ranges->runs[end].to : to;
  }
  run = &ranges->runs[at];
  memmove(run + 1, ranges->runs + end, (ranges->count - end) * sizeof *run);
  *run = (struct sip_range){ from, to };
  ranges->count += 1 - (end - at);
  return 0;
}

bool sip_ranges_have(const struct sip_ranges *ranges, int64_t offset)
{
  size_t at = ranges_find(ranges, offset + 1);

  return at < ranges->count && ranges->runs[at].from <= offset;
}

/* --- text --- */

static size_t put_varint(unsigned char *out, uint64_t value)
{
  size_t len = 0;

  for (; value >= 0x80; value >>= 7) {
    out[len++] = (unsigned char)(value | 0x80);
  }
  out[len++] = (unsigned char)value;
  return len;
}

/* @return its length, or 0 when there is none, or one that put_varint would not write */
static size_t get_varint(int64_t *value, const unsigned char *data, size_t len)
{
  uint64_t bits = 0;

  for (size_t i = 0; i < len && i < VARINT_MAX; i++) {
    bits |= (uint64_t)(data[i] & 0x7f) << 7 * i;
    if (data[i] < 0x80) {
      *value = (int64_t)bits;
      return i > 0 && data[i] == 0 ? 0 : i + 1;
    }
  }
  return 0;
}

static void put_word(unsigned char *out, uint64_t word)
{
  for (size_t i = 0; i < WORD_BYTES; i++) {
    out[i] = (unsigned char)(word >> 8 * i);
  }
}

static uint64_t get_word(const unsigned char *data)
{
  uint64_t word = 0;

  for (size_t i = 0; i < WORD_BYTES; i++) {
    word |= (uint64_t)data[i] << 8 * i;
  }
  return word;
}

static void put_sum(unsigned char *out, int64_t base, const unsigned char *data, size_t len)
{
  uint64_t hash = SIP_HASH_INIT;
  unsigned char bytes[WORD_BYTES];

  put_word(bytes, (uint64_t)base);
  hash = sip_hash(sip_hash(hash, bytes, sizeof bytes), data, len);
  hash ^= hash >> 32;
  for (size_t i = 0; i < SUM_BYTES; i++) {
    out[i] = (unsigned char)(hash >> 8 * i);
  }
}

static size_t put_holds(unsigned char *out, const struct sip_holds *holds)
{
  size_t len = put_varint(out, holds->count);

  for (size_t i = 0; i < holds->count; i++) {
    const struct sip_hold *hold = &holds->held[i];

    put_word(out + len, hold->key);
    len += WORD_BYTES;
    len += put_varint(out + len, (uint64_t)hold->after);
    len += put_varint(out + len, (uint64_t)(hold->until_ms / 1000 + (hold->until_ms % 1000 != 0)));
  }
  return len;
}

size_t sip_ranges_write(const struct sip_ranges *ranges, const struct sip_holds *holds,
                        int64_t base, char *out)
{
  unsigned char data[DATA_MAX];
  size_t len = SUM_BYTES + put_holds(data + SUM_BYTES, holds), count = 0;
  int64_t end = base;

  for (; count < ranges->count && len + (size_t)2 * VARINT_MAX <= DATA_MAX; count++) {
    const struct sip_range *run = &ranges->runs[count];

    len += put_varint(data + len, (uint64_t)(run->from - end));
    len += put_varint(data + len, (uint64_t)(run->to - run->from));
    end = run->to;
  }
  if (count == 0 && holds->count == 0) {
    out[0] = '\0';
    return 0;
  }
  put_sum(data, base, data + SUM_BYTES, len - SUM_BYTES);
  memcpy(out, SIGN, SIGN_LEN);
  sip_base64_encode(out + SIGN_LEN, data, len);
  out[SIGN_LEN + SIP_BASE64_LEN(len)] = '\0';
  return count;
}

/* @return their length, or 0 */
static size_t read_holds(struct sip_holds *holds, const unsigned char *data, size_t len)
{
  int64_t count = 0;
  size_t at = get_varint(&count, data, len);

  if (at == 0 || count > SIP_HOLDS_MAX) {
    return 0;
  }
  for (holds->count = 0; holds->count < (size_t)count; holds->count++) {
    struct sip_hold *hold = &holds->held[holds->count];
    int64_t seconds = 0;
    size_t first, second;

    if (len - at < WORD_BYTES) {
      return 0;
    }
    hold->key = get_word(data + at);
    at += WORD_BYTES;
    first = get_varint(&hold->after, data + at, len - at);
    second = first == 0 ? 0 : get_varint(&seconds, data + at + first, len - at - first);
    if (second == 0 || seconds > INT64_MAX / 1000) {
      return 0;
    }
    hold->until_ms = seconds * 1000;
    at += first + second;
  }
  return at;
}

/* @return 0, SIP_EDATA or UV_ENOMEM */
static int read_runs(struct sip_ranges *ranges, int64_t base, const unsigned char *data, size_t len)
{
  for (size_t at = 0; at < len;) {
    int64_t gap = 0, length = 0;
    size_t first = get_varint(&gap, data + at, len - at);
    size_t second = first == 0 ? 0 : get_varint(&length, data + at + first, len - at - first);

    if (second == 0 || gap == 0 || length == 0 || gap > INT64_MAX - base ||
        length > INT64_MAX - base - gap) {
      return SIP_EDATA;
    }
    if (sip_ranges_add(ranges, base + gap, base + gap + length) < 0) {
      return UV_ENOMEM;
    }
    base += gap + length;
    at += first + second;
  }
  return 0;
}

bool sip_ranges_is_text(const char *text, size_t len)
{
  return len > SIGN_LEN && memcmp(text, SIGN, SIGN_LEN) == 0;
}

int sip_ranges_read(struct sip_ranges *ranges, struct sip_holds *holds, int64_t base,
                    const char *text, size_t len)
{
  unsigned char data[DATA_MAX], sum[SUM_BYTES];
  struct sip_ranges read = { 0 };
  struct sip_holds held = { .count = 0 };
  size_t at;
  long count;
  int rc;

  if (base < 0 || len > SIP_RANGES_TEXT_MAX || !sip_ranges_is_text(text, len)) {
    return SIP_EDATA;
  }
  count = sip_base64_decode(data, text + SIGN_LEN, len - SIGN_LEN);
  if (count <= SUM_BYTES) {
    return SIP_EDATA;
  }
  put_sum(sum, base, data + SUM_BYTES, (size_t)count - SUM_BYTES);
  at = memcmp(sum, data, SUM_BYTES) != 0
         ? 0
         : read_holds(&held, data + SUM_BYTES, (size_t)count - SUM_BYTES);
  if (at == 0) {
    return SIP_EDATA;
  }
  at += SUM_BYTES;
  if (held.count == 0 && at == (size_t)count) { /* the empty set has no text */
    return SIP_EDATA;
  }
  rc = read_runs(&read, base, data + at, (size_t)count - at);
  if (rc < 0) {
    sip_ranges_deinit(&read);
    return rc;
  }
  sip_ranges_deinit(ranges);
  *ranges = read;
  *holds = held;
  return 0;
}
