/* utf8.c - where a character of UTF-8 ends. */
#include "core/utf8.h"

/* By the first byte; 0 for what cannot begin a character. */
static size_t length_by_first(unsigned char c)
{
  if (c < 0x80) {
    return 1;
  }
  if (c < 0xc2) {
    return 0; /* the rest of a character, or an overlong form */
  }
  if (c < 0xe0) {
    return 2;
  }
  if (c < 0xf0) {
    return 3;
  }
  return c < 0xf5 ? 4 : 0;
}

size_t sip_utf8_length(const char *text, size_t left)
{
  const unsigned char *s = (const unsigned char *)text;
  size_t len = length_by_first(s[0]);

  if (len == 0 || len > left) {
    return 0;
  }
  for (size_t i = 1; i < len; i++) {
    if ((s[i] & 0xc0) != 0x80) {
      return 0;
    }
  }
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
    return 0; /* overlong, a surrogate, or beyond U+10FFFF */
  }
  return len;
}
