#ifndef SIP_CORE_JSON_PLAIN_H
#define SIP_CORE_JSON_PLAIN_H
/* json_plain.h - the step that reading and writing of strings share: over bytes that are plain,
 * which are those that are no quote, no backslash, no control character, and ASCII. Any thread.
 *
 * It is there twice, for SSE2 and in plain C, which a definition of SIP_JSON_PORTABLE asks for. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__) && !defined(SIP_JSON_PORTABLE)
#define SIP_JSON_SSE2
#include <emmintrin.h>
#endif

static inline bool sip_json_is_plain(unsigned char c)
{
  return c >= ' ' && c < 0x80 && c != '"' && c != '\\';
}

#ifdef SIP_JSON_SSE2

enum { SIP_JSON_STEP = 16 }; /* bytes that are looked at at once */

/* A bit for each byte that is plain. With quote and space swapped, the quote is below the '!' like
 * a control character, and as signed bytes so is what is not ASCII. */
static inline unsigned sip_json_plain_bits(__m128i bytes)
{
  __m128i swapped = _mm_xor_si128(bytes, _mm_set1_epi8('"' ^ ' '));
  __m128i above = _mm_cmpgt_epi8(swapped, _mm_set1_epi8(' '));
  __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));

  return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(slash, above));
}

/* Likewise for those at `p` that are not, and all bits above. */
static inline unsigned sip_json_stops(const unsigned char *p)
{
  return ~sip_json_plain_bits(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/** How many of the SIP_JSON_STEP bytes at `p` are plain before the first that is not. */
static inline size_t sip_json_plain_here(const unsigned char *p)
{
  return (unsigned)__builtin_ctz(sip_json_stops(p));
}

/** How many of the last `rest` bytes before `end` are; less than SIP_JSON_STEP. That many before
 * `end` are read. */
static inline size_t sip_json_plain_tail(const unsigned char *end, size_t rest)
{
  return (unsigned)__builtin_ctz(sip_json_stops(end - SIP_JSON_STEP) >> (SIP_JSON_STEP - rest));
}

#else

enum { SIP_JSON_STEP = 8 };

/* A high bit for each byte, the first one lowest, that is zero with a quote or a backslash taken
 * off, below the space, or not ASCII. A borrow may add one above a true one: the lowest is right.
 */
static inline uint64_t sip_json_stops(const unsigned char *p)
{
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  uint64_t bytes, quote, slash;

  memcpy(&bytes, p, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  bytes = __builtin_bswap64(bytes);
#endif
  quote = bytes ^ (ones * '"');
  slash = bytes ^ (ones * '\\');
  return ((quote - ones) | (slash - ones) | (bytes - ones * ' ') | bytes) & high;
}

static inline size_t sip_json_plain_here(const unsigned char *p)
{
  uint64_t stops = sip_json_stops(p);

  return stops == 0 ? SIP_JSON_STEP : (size_t)__builtin_ctzll(stops) / 8;
}

static inline size_t sip_json_plain_tail(const unsigned char *end, size_t rest)
{
  const unsigned char *from = end - rest, *p = from;

  while (p < end && sip_json_is_plain(*p)) {
    p++;
  }
  return (size_t)(p - from);
}

#endif

/** The first byte from `p` on that is not plain; `end` when there is none. What is between `start`
 * and `p` may be read as well. */
static inline const unsigned char *sip_json_plain(const unsigned char *start,
                                                  const unsigned char *p, const unsigned char *end)
{
  for (; end - p >= SIP_JSON_STEP; p += SIP_JSON_STEP) {
    size_t count = sip_json_plain_here(p);

    if (count < SIP_JSON_STEP) {
      return p + count;
    }
  }
  if (end - start >= SIP_JSON_STEP) {
    return p + sip_json_plain_tail(end, (size_t)(end - p));
  }
  while (p < end && sip_json_is_plain(*p)) {
    p++;
  }
  return p;
}

enum { SIP_JSON_RUN_ROOM = 16 };

/** Copies the plain bytes from `p` on, at most up to `end`. There is room for SIP_JSON_RUN_ROOM
 * bytes more. @return how many there are */
static inline size_t sip_json_copy_run(char *out, const unsigned char *p, const unsigned char *end)
{
  const unsigned char *from = p;

  for (; end - p >= SIP_JSON_STEP; p += SIP_JSON_STEP) {
    size_t count = sip_json_plain_here(p);

    memcpy(out + (p - from), p, SIP_JSON_STEP);
    if (count < SIP_JSON_STEP) {
      return (size_t)(p - from) + count;
    }
  }
  for (; p < end && sip_json_is_plain(*p); p++) {
    out[p - from] = (char)*p;
  }
  return (size_t)(p - from);
}

#ifdef SIP_JSON_SSE2

static inline bool sip_json_all_plain(__m128i bytes)
{
  return sip_json_plain_bits(bytes) == (1u << SIP_JSON_STEP) - 1;
}

static inline bool sip_json_copy_step(char *out, const char *text)
{
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);

  _mm_storeu_si128((__m128i *)(void *)out, bytes);
  return sip_json_all_plain(bytes);
}

/* Two overlapping loads of half of it each cover a text of 4 to 16 bytes. */
static inline bool sip_json_copy_short(char *out, const char *text, size_t len)
{
  uint64_t low, high;
  uint32_t first, last;

  if (len >= 8) {
    memcpy(&low, text, 8);
    memcpy(&high, text + len - 8, 8);
    memcpy(out, &low, 8);
    memcpy(out + len - 8, &high, 8);
  } else {
    memcpy(&first, text, 4);
    memcpy(&last, text + len - 4, 4);
    memcpy(out, &first, 4);
    memcpy(out + len - 4, &last, 4);
    low = high = (uint64_t)last << 32 | first;
  }
  return sip_json_all_plain(_mm_set_epi64x((long long)high, (long long)low));
}

/** Copies a text of which every byte is plain. @return false when one is not; what is in `out` is
 * of no use then */
static inline bool sip_json_copy_plain(char *out, const char *text, size_t len)
{
  size_t at = 0;

  if (len >= 4 && len <= SIP_JSON_STEP) {
    return sip_json_copy_short(out, text, len);
  }
  if (len > SIP_JSON_STEP) {
    for (; at < len - SIP_JSON_STEP; at += SIP_JSON_STEP) {
      if (!sip_json_copy_step(out + at, text + at)) {
        return false;
      }
    }
    return sip_json_copy_step(out + len - SIP_JSON_STEP, text + len - SIP_JSON_STEP);
  }
  for (; at < len && sip_json_is_plain((unsigned char)text[at]); at++) {
    out[at] = text[at];
  }
  return at == len;
}

#else

static inline bool sip_json_copy_plain(char *out, const char *text, size_t len)
{
  const unsigned char *from = (const unsigned char *)text;

  memcpy(out, text, len);
  return sip_json_plain(from, from, from + len) == from + len;
}

#endif

#endif
