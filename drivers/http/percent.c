/* percent.c - percent-encoding of URLs. Any thread. */
#include "http/percent.h"

#include <string.h>

static int digit(char c)
{
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

long sip_percent_decode(char *out, const struct sip_slice *text, bool plus)
{
  size_t used = 0;

  for (size_t i = 0; i < text->len; i++) {
    char c = text->data[i];

    if (c == '%') {
      int high = i + 1 < text->len ? digit(text->data[i + 1]) : -1;
      int low = i + 2 < text->len ? digit(text->data[i + 2]) : -1;

      if (high < 0 || low < 0) {
        return -1;
      }
      c = (char)(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus) {
      c = ' ';
    }
    if (c == '\0') {
      return -1;
    }
    out[used++] = c;
  }
  return (long)used;
}

static bool is_unreserved(char c)
{
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && strchr("-._~", c) != NULL);
}

size_t sip_percent_encode(char *out, const struct sip_slice *text)
{
  static const char digits[] = "0123456789ABCDEF";
  size_t used = 0;

  for (size_t i = 0; i < text->len; i++) {
    unsigned char c = (unsigned char)text->data[i];

    if (is_unreserved((char)c)) {
      out[used++] = (char)c;
    } else {
      out[used++] = '%';
      out[used++] = digits[c >> 4];
      out[used++] = digits[c & 15];
    }
  }
  return used;
}
