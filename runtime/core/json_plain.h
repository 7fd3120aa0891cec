#ifndef SIP_CORE_JSON_PLAIN_H
#define SIP_CORE_JSON_PLAIN_H
/* json_plain.h - the step that reading and writing of strings share. Any thread. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __SSE2__
/* A bit for each of 16 bytes that is not plain. As signed bytes both control characters and what is
 * not ASCII are below the space. */
static inline unsigned sip_json_stops(__m128i bytes)
{
  __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  __m128i below = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));

  return (unsigned)_mm_movemask_epi8(_mm_or_si128(below, _mm_or_si128(quote, slash)));
}
#endif

/** The first byte from `p` on that is a quote, a backslash, a control character or not ASCII; `end`
 * when there is none. */
static inline const unsigned char *sip_json_plain(const unsigned char *p, const unsigned char *end)
{
#ifdef __SSE2__
  for (; end - p >= 16; p += 16) {
    unsigned stops = sip_json_stops(_mm_loadu_si128((const __m128i *)(const void *)p));

    if (stops != 0) {
      return p + __builtin_ctz(stops);
    }
  }
#else
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;

  for (; end - p >= 8; p += 8) {
    uint64_t bytes, quote, slash;

    memcpy(&bytes, p, sizeof bytes);
    quote = bytes ^ (ones * '"');
    slash = bytes ^ (ones * '\\');
    /* A high bit for each byte that is zero in quote or slash, below the space, or not ASCII; a
     * borrow may add one behind a true one, so the bytes are looked at below. */
    if ((((quote - ones) | (slash - ones) | (bytes - ones * ' ') | bytes) & high) != 0) {
      break;
    }
  }
#endif
  while (p < end && *p >= ' ' && *p < 0x80 && *p != '"' && *p != '\\') {
    p++;
  }
  return p;
}

#ifdef __SSE2__
/* Two overlapping loads of half of it each cover a text of 4 to 16 bytes. */
static inline __m128i sip_json_pair(uint64_t low, uint64_t high)
{
  return _mm_set_epi64x((long long)high, (long long)low);
}
#endif

enum { SIP_JSON_RUN_ROOM = 16 };

/** Copies the plain bytes from `p` on, at most up to `end`. There is room for SIP_JSON_RUN_ROOM
 * bytes more. @return how many there are */
static inline size_t sip_json_copy_run(char *out, const unsigned char *p, const unsigned char *end)
{
  const unsigned char *from = p;

#ifdef __SSE2__
  for (; end - p >= 16; p += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned stops = sip_json_stops(bytes);

    _mm_storeu_si128((__m128i *)(void *)(out + (p - from)), bytes);
    if (stops != 0) {
      return (size_t)(p - from) + (size_t)__builtin_ctz(stops);
    }
  }
#endif
  for (; p < end && *p >= ' ' && *p < 0x80 && *p != '"' && *p != '\\'; p++) {
    out[p - from] = (char)*p;
  }
  return (size_t)(p - from);
}

/** Copies a text of which every byte is plain. @return false when one is not; what is in `out` is
 * of no use then */
static inline bool sip_json_copy_plain(char *out, const char *text, size_t len)
{
#ifdef __SSE2__
  uint64_t low, high;
  uint32_t first, last;

  if (len >= 4 && len <= 16) {
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
    return sip_json_stops(sip_json_pair(low, high)) == 0;
  }
#endif
  const unsigned char *from = (const unsigned char *)text;

  memcpy(out, text, len);
  return sip_json_plain(from, from + len) == from + len;
}

#endif
