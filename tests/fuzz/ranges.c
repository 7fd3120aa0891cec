/* ranges.c - the metadata of a commit: what is read is a set behind the base, and written as it
 * came; what is written is read as the same set.
 *
 * The input is 8 bytes of a base, one that says what the rest is, and the rest: a text, the data of
 * one (whose checksum is made here, so that the reader behind it is reached), or runs to write. */
#include "flow/ranges.h"

#include "core/base64.h"
#include "core/err.h"
#include "core/hash.h"
#include "support/fuzz.h"

#include <string.h>

enum { BASE_BYTES = 8, SUM_BYTES = 4, DATA_MAX = 3000 };

static void check_set(const struct sip_ranges *set, int64_t base)
{
  int64_t end = base;

  for (size_t i = 0; i < set->count; i++) {
    const struct sip_range *run = &set->runs[i];

    FUZZ_CHECK(run->from > end && run->to > run->from, "run %zu is out of order", i);
    FUZZ_CHECK(sip_ranges_have(set, run->from) && sip_ranges_have(set, run->to - 1) &&
                 !sip_ranges_have(set, run->from - 1),
               "the set does not know run %zu", i);
    end = run->to;
  }
}

static void check_same(const struct sip_ranges *a, const struct sip_ranges *b, size_t count)
{
  FUZZ_CHECK(b->count == count, "%zu runs of %zu", b->count, count);
  for (size_t i = 0; i < count; i++) {
    FUZZ_CHECK(a->runs[i].from == b->runs[i].from && a->runs[i].to == b->runs[i].to,
               "another run %zu", i);
  }
}

static void write_and_read(const struct sip_ranges *set, const struct sip_holds *holds,
                           int64_t base, const char *came)
{
  char text[SIP_RANGES_TEXT_MAX + 1];
  size_t count = sip_ranges_write(set, holds, base, text);
  struct sip_ranges again = { 0 };
  struct sip_holds held = { .count = 0 };

  FUZZ_CHECK(strlen(text) <= SIP_RANGES_TEXT_MAX && count <= set->count, "too long");
  FUZZ_CHECK(set->count == 0 || count > 0, "nothing is written");
  if (count > 0 || holds->count > 0) {
    FUZZ_CHECK(sip_ranges_read(&again, &held, base, text, strlen(text)) == 0, "refused: %s", text);
    check_same(set, &again, count);
    FUZZ_CHECK(held.count == holds->count &&
                 memcmp(held.held, holds->held, held.count * sizeof held.held[0]) == 0,
               "other keys are held");
    FUZZ_CHECK(sip_ranges_read(&again, &held, base ^ 1, text, strlen(text)) == SIP_EDATA,
               "taken for another base");
  }
  FUZZ_CHECK(came == NULL || count < set->count || strcmp(came, text) == 0, "%s became %s", came,
             text);
  sip_ranges_deinit(&again);
}

static void read_text(int64_t base, const char *text, size_t len)
{
  struct sip_ranges set = { 0 };
  struct sip_holds holds = { .count = 0 };
  char came[SIP_RANGES_TEXT_MAX + 1];

  if (sip_ranges_read(&set, &holds, base, text, len) == 0) {
    check_set(&set, base);
    memcpy(came, text, len);
    came[len] = '\0';
    write_and_read(&set, &holds, base, came);
  }
  sip_ranges_deinit(&set);
}

/* As sip_ranges_write does it. */
static void read_data(int64_t base, const uint8_t *data, size_t len)
{
  unsigned char bytes[SUM_BYTES + DATA_MAX];
  char text[2 + SIP_BASE64_LEN(sizeof bytes) + 1];
  uint64_t hash = SIP_HASH_INIT;

  len = len < DATA_MAX ? len : DATA_MAX;
  memcpy(bytes, &base, BASE_BYTES); /* as little-endian */
  hash = sip_hash(sip_hash(hash, bytes, BASE_BYTES), data, len);
  hash ^= hash >> 32;
  memcpy(bytes, &hash, SUM_BYTES);
  memcpy(bytes + SUM_BYTES, data, len);
  memcpy(text, "1:", 2);
  sip_base64_encode(text + 2, bytes, SUM_BYTES + len);
  read_text(base, text, 2 + SIP_BASE64_LEN(SUM_BYTES + len));
}

/* Each pair of bytes is a run: how far behind the base, and how long. */
static void write_runs(int64_t base, const uint8_t *data, size_t len)
{
  struct sip_ranges set = { 0 };
  struct sip_holds none = { .count = 0 };

  for (size_t i = 0; i + 2 < len && base < INT64_MAX - (1 << 20); i += 3) {
    int64_t from = base + 1 + data[i] + 256 * (data[i + 1] % 16);

    FUZZ_CHECK(sip_ranges_add(&set, from, from + 1 + data[i + 2]) == 0, "no memory");
  }
  check_set(&set, base);
  write_and_read(&set, &none, base, NULL);
  sip_ranges_deinit(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  int64_t base;

  if (size <= BASE_BYTES) {
    return 0;
  }
  memcpy(&base, data, BASE_BYTES);
  data += BASE_BYTES;
  size -= BASE_BYTES;
  if (base < 0 || data[0] % 3 == 0) {
    read_text(base, (const char *)data + 1, size - 1);
  } else if (data[0] % 3 == 1) {
    read_data(base, data + 1, size - 1);
  } else {
    write_runs(base, data + 1, size - 1);
  }
  return 0;
}
