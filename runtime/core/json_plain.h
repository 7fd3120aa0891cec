#ifndef SIP_CORE_JSON_PLAIN_H
#define SIP_CORE_JSON_PLAIN_H
/* json_plain.h - the step that reading and writing of strings share. Any thread. */
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/** The first byte from `p` on that is a quote, a backslash, a control character or not ASCII; `end`
 * when there is none. */
static inline const unsigned char *sip_json_plain(const unsigned char *p, const unsigned char *end)
{
#ifdef __SSE2__
  const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');

  for (; end - p >= 16; p += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* As signed bytes both control characters and what is not ASCII are below the space. */
    __m128i stops =
      _mm_or_si128(_mm_cmplt_epi8(bytes, space),
                   _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash)));
    int mask = _mm_movemask_epi8(stops);

    if (mask != 0) {
      return p + __builtin_ctz((unsigned)mask);
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

#endif
