/* base64.c - bytes as text and back. */
#include "core/base64.h"

#include "core/err.h"

#include <string.h>

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void sip_base64_encode(char *out, const void *data, size_t len)
{
  const unsigned char *bytes = data;

  for (size_t i = 0; i < len; i += 3) {
    unsigned long bits = (unsigned long)bytes[i] << 16 |
                         (i + 1 < len ? (unsigned long)bytes[i + 1] << 8 : 0) |
                         (i + 2 < len ? bytes[i + 2] : 0);

    *out++ = DIGITS[bits >> 18];
    *out++ = DIGITS[bits >> 12 & 63];
    *out++ = i + 1 < len ? DIGITS[bits >> 6 & 63] : '=';
    *out++ = i + 2 < len ? DIGITS[bits & 63] : '=';
  }
}

/* @return the digit's value, or -1 */
static int digit_value(char digit)
{
  const char *at = digit == '\0' ? NULL : strchr(DIGITS, digit);

  return at == NULL ? -1 : (int)(at - DIGITS);
}

long sip_base64_decode(unsigned char *out, const char *text, size_t len)
{
  size_t padding = 0, count = 0;
  unsigned long bits = 0;

  if (len % 4 != 0) {
    return SIP_EDATA;
  }
  while (padding < 2 && padding < len && text[len - 1 - padding] == '=') {
    padding++;
  }
  for (size_t i = 0; i < len; i++) {
    int value = i < len - padding ? digit_value(text[i]) : 0;

    if (value < 0) {
      return SIP_EDATA;
    }
    bits = bits << 6 | (unsigned long)value;
    if (i % 4 == 3) {
      out[count++] = (unsigned char)(bits >> 16 & 0xff);
      out[count++] = (unsigned char)(bits >> 8 & 0xff);
      out[count++] = (unsigned char)(bits & 0xff);
    }
  }
  for (size_t i = 0; i < padding; i++) {
    if (out[count - 1 - i] != 0) {
      return SIP_EDATA;
    }
  }
  return (long)(count - padding);
}
