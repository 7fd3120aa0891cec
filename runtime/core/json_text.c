/* json_text.c - strings and numbers of JSON, both ways. */
#include "core/json_text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/json_plain.h"
#include "core/utf8.h"

/* What is rarely called: what calls it then needs no registers to be saved for it. */
#define NOINLINE static __attribute__((noinline))

/* --- strings --- */

enum { ESCAPE_BYTES = 6 }; /* of the longest one */

static unsigned hex4(const char *p)
{
  unsigned value = 0;

  for (int i = 0; i < 4; i++) { /* letters: 0x41 and 0x61 on; digits: 0x30 on */
    unsigned c = (unsigned char)p[i];

    value = value * 16 + (c & 0xf) + (c > '9' ? 9 : 0);
  }
  return value;
}

static size_t put_utf8(char *out, unsigned code)
{
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  } else if (code < 0x800) {
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3f));
    return 2;
  } else if (code < 0x10000) {
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
  }
  out[0] = (char)(0xf0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 0x3f));
  out[2] = (char)(0x80 | (code >> 6 & 0x3f));
  out[3] = (char)(0x80 | (code & 0x3f));
  return 4;
}

/* What the checked escape at *p stands for; moves *p behind it. */
static size_t unescape_one(char out[4], const char **p)
{
  static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
  char name = (*p)[1];
  const char *known = strchr(names, name);
  unsigned code;

  if (name != 'u') {
    *p += 2;
    out[0] = known == NULL ? name : values[known - names];
    return 1;
  }
  code = hex4(*p + 2);
  *p += 6;
  if (code >= 0xd800 && code < 0xdc00) {
    code = 0x10000 + ((code - 0xd800) << 10) + (hex4(*p + 2) - 0xdc00);
    *p += 6;
  }
  return put_utf8(out, code);
}

size_t sip_json_unescape(char *out, const char *text, const struct sip_json_token *token)
{
  const char *p = text + token->at, *end = p + token->len;
  char *to = out;

  while (p < end) {
    const char *slash = memchr(p, '\\', (size_t)(end - p));
    size_t plain = (size_t)((slash == NULL ? end : slash) - p);

    memcpy(to, p, plain);
    to += plain;
    p += plain;
    if (slash != NULL) {
      to += unescape_one(to, &p);
    }
  }
  return (size_t)(to - out);
}

bool sip_json_equal(const char *text, const struct sip_json_token *token, const char *key,
                    size_t len)
{
  const char *p = text + token->at, *end = p + token->len, *key_end = key + len;

  while (p < end) {
    char one[4] = { *p };
    size_t size = *p == '\\' ? unescape_one(one, &p) : (p++, 1);

    if ((size_t)(key_end - key) < size || memcmp(key, one, size) != 0) {
      return false;
    }
    key += size;
  }
  return key == key_end;
}

static size_t put_escape(char *out, unsigned char c)
{
  static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
  const char *known;

  out[0] = '\\';
  if (c == '"' || c == '\\') {
    out[1] = (char)c;
    return 2;
  }
  known = c == '\0' ? NULL : strchr(values, c);
  if (known != NULL) {
    out[1] = names[known - values];
    return 2;
  }
  return (size_t)snprintf(out, ESCAPE_BYTES + 1, "\\u%04x", c);
}

/* Writes what is between `*from` and `stop`, and the rest of a character that begins before it.
 * @return behind it, or NULL when it is not UTF-8 */
static char *put_escaped(char *out, const unsigned char **from, const unsigned char *stop,
                         const unsigned char *end)
{
  const unsigned char *p = *from;

  while (p < stop) {
    size_t size = sip_json_copy_run(out, p, stop);

    out += size;
    p += size;
    if (p == stop) {
      break;
    }
    if (*p < 0x80) {
      out += put_escape(out, *p++);
      continue;
    }
    size = sip_utf8_length((const char *)p, (size_t)(end - p));
    if (size == 0) {
      return NULL;
    }
    memcpy(out, p, size);
    out += size;
    p += size;
  }
  *from = p;
  return out;
}

NOINLINE int add_escaped(struct sip_buf *buf, const char *data, size_t len)
{
  enum { PART = 512, ROOM = PART * ESCAPE_BYTES + SIP_JSON_RUN_ROOM };
  const unsigned char *p = (const unsigned char *)data, *end = p + len;
  int rc = sip_buf_add(buf, "\"", 1);

  while (rc == 0 && p < end) {
    const unsigned char *stop = end - p > PART ? p + PART : end;
    char *out;

    rc = sip_buf_reserve(buf, ROOM);
    if (rc == 0) {
      out = put_escaped(buf->data + buf->len, &p, stop, end);
      if (out == NULL) {
        return SIP_EDATA;
      }
      buf->len = (size_t)(out - buf->data);
    }
  }
  return rc == 0 ? sip_buf_add(buf, "\"", 1) : rc;
}

NOINLINE int add_string_with_room(struct sip_buf *buf, const char *data, size_t len)
{
  int rc = sip_buf_reserve(buf, len + 2); /* enough for most */

  return rc == 0 ? sip_json_add_string(buf, data, len) : rc;
}

int sip_json_add_string(struct sip_buf *buf, const char *data, size_t len)
{
  char *out;

  if (!sip_buf_has_room(buf, len + 2)) {
    return add_string_with_room(buf, data, len);
  }
  out = buf->data + buf->len;
  if (!sip_json_copy_plain(out + 1, data, len)) {
    return add_escaped(buf, data, len);
  }
  out[0] = '"';
  memcpy(out + 1 + len, "\"", 2); /* and its NUL */
  buf->len += len + 2;
  return 0;
}

NOINLINE int add_escaped_key(struct sip_buf *buf, char before, const char *key, size_t len)
{
  int rc = sip_buf_add(buf, &before, 1);

  if (rc == 0) {
    rc = sip_json_add_string(buf, key, len);
  }
  return rc == 0 ? sip_buf_add(buf, ":", 1) : rc;
}

NOINLINE int add_key_with_room(struct sip_buf *buf, char before, const char *key, size_t len)
{
  int rc = sip_buf_reserve(buf, len + 4);

  return rc == 0 ? sip_json_add_key(buf, before, key, len) : rc;
}

int sip_json_add_key(struct sip_buf *buf, char before, const char *key, size_t len)
{
  char *out;

  if (!sip_buf_has_room(buf, len + 4)) {
    return add_key_with_room(buf, before, key, len);
  }
  out = buf->data + buf->len;
  if (!sip_json_copy_plain(out + 2, key, len)) {
    return add_escaped_key(buf, before, key, len);
  }
  out[0] = before;
  out[1] = '"';
  memcpy(out + 2 + len, "\":", 3); /* and its NUL */
  buf->len += len + 4;
  return 0;
}

int sip_json_add_value(struct sip_buf *buf, const char *text, const struct sip_json_token *token,
                       bool spaced)
{
  size_t quotes = token->type == SIP_JSON_STRING;
  const char *p = text + token->at - quotes, *end = p + token->len + 2 * quotes, *from = p;
  int rc = sip_buf_reserve(buf, (size_t)(end - p));

  while (spaced && rc == 0 && p < end) {
    if (*p == '"') {
      do {
        p += *p == '\\' ? 2 : 1;
      } while (*p != '"');
    } else if (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') {
      rc = sip_buf_add(buf, from, (size_t)(p - from));
      from = p + 1;
    }
    p++;
  }
  return rc == 0 ? sip_buf_add(buf, from, (size_t)(end - from)) : rc;
}

/* --- numbers --- */

enum { DIGITS = 800 }; /* more never decide how a double is rounded: 767 are enough (IEEE 754) */

/* A number of any length with at most DIGITS digits, for strtod; what was cut counts as a 1. */
static void shorten(char *out, size_t size, const char *p, const char *end)
{
  static const int64_t EXPONENT = 1000000000000; /* outweighs the digits of any text */
  bool negative = *p == '-', point = false, rest = false;
  int64_t exponent = 0, written = 0;
  size_t len = 0;

  out[len++] = negative ? '-' : '+';
  for (p += negative; p < end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') {
      point = true;
    } else if (written == 0 && *p == '0') {
      exponent -= point; /* leading zeros do not count */
    } else if (written < DIGITS) {
      out[len++] = *p;
      written++;
      exponent -= point;
    } else {
      rest = rest || *p != '0';
      exponent += !point;
    }
  }
  if (p < end) {
    int64_t given = 0;
    bool minus = p[1] == '-';

    for (p += p[1] == '-' || p[1] == '+' ? 2 : 1; p < end; p++) {
      given = given < EXPONENT ? given * 10 + (*p - '0') : given;
    }
    exponent += minus ? -given : given;
  }
  (void)snprintf(out + len, size - len, "%s%se%" PRId64, written == 0 ? "0" : "", rest ? "1" : "",
                 exponent - rest);
}

static double slow_real(const char *text, size_t len)
{
  char copy[DIGITS + 64];

  if (len < DIGITS) {
    memcpy(copy, text, len);
    copy[len] = '\0';
  } else {
    shorten(copy, sizeof copy, text, text + len);
  }
  return strtod(copy, NULL);
}

/* The digits of a number without its point, and the power of ten that they are multiplied by. */
struct decimal {
  uint64_t digits;
  int exponent;
  bool negative, fits; /* fits: up to 18 digits and a small exponent; else nothing else is set */
};

/* Adds the digits at `p` to those before. @return behind them */
static inline const char *read_digits(uint64_t *digits, const char *p, const char *end)
{
  uint64_t value = *digits; /* too many of them overflow, and are not used */

  for (; p < end && (unsigned char)(*p - '0') < 10; p++) {
    value = value * 10 + (uint64_t)(*p - '0');
  }
  *digits = value;
  return p;
}

static inline struct decimal read_decimal(const char *text, size_t len)
{
  const char *end = text + len, *from = text, *p;
  struct decimal d = { 0, 0, *text == '-', true };
  ptrdiff_t count;
  int given = 0;
  bool minus;

  from += d.negative;
  p = read_digits(&d.digits, from, end);
  count = p - from;
  if (p < end && *p == '.') {
    from = p + 1;
    p = read_digits(&d.digits, from, end);
    count += p - from;
    d.exponent = (int)(from - p);
  }
  if (count > 18) {
    d.fits = false;
    return d;
  }
  if (p < end) { /* the exponent */
    minus = p[1] == '-';
    for (p += p[1] == '-' || p[1] == '+' ? 2 : 1; p < end && given < 1000; p++) {
      given = given * 10 + (*p - '0');
    }
    d.fits = given < 1000;
    d.exponent += minus ? -given : given;
  }
  return d;
}

static const double powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

/* Both the digits and the power of ten are exact doubles, so one operation rounds once. */
static bool fast_real(const struct decimal *d, double *out)
{
  double real = (double)(int64_t)d->digits;

  if (!d->fits || d->digits > (UINT64_C(1) << 53) || d->exponent < -22 || d->exponent > 22) {
    return false;
  }
  real = d->exponent < 0 ? real / powers[-d->exponent] : real * powers[d->exponent];
  *out = d->negative ? -real : real;
  return true;
}

static bool long_integer(const char *text, size_t len, int64_t *out)
{
  bool negative = *text == '-';
  uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;

  for (size_t i = negative; i < len; i++) {
    unsigned digit = (unsigned)(text[i] - '0');

    if (value > (limit - digit) / 10) {
      return false;
    }
    value = value * 10 + digit;
  }
  *out = (int64_t)(negative ? 0 - value : value);
  return true;
}

struct sip_json_number sip_json_number(const char *text, const struct sip_json_token *token)
{
  const char *p = text + token->at;
  struct decimal d = read_decimal(p, token->len);
  struct sip_json_number number = { true, 0, 0 };

  if ((token->flags & SIP_JSON_INTEGER) != 0) {
    if (d.fits) {
      number.integer = d.negative ? -(int64_t)d.digits : (int64_t)d.digits;
      return number;
    } else if (long_integer(p, token->len, &number.integer)) {
      return number;
    }
  }
  if (!fast_real(&d, &number.real)) {
    number.real = slow_real(p, token->len);
  }
  number.integral =
    number.real >= -0x1p63 && number.real < 0x1p63 && number.real == (double)(int64_t)number.real;
  if (number.integral) {
    number.integer = (int64_t)number.real;
  }
  return number;
}

bool sip_json_number_overflows(const char *text, size_t len)
{
  struct decimal d;

  if (len <= 300 && memchr(text, 'e', len) == NULL && memchr(text, 'E', len) == NULL) {
    return false; /* less than 10^300 */
  }
  d = read_decimal(text, len);
  if (d.fits && d.exponent < 280) {
    return false; /* less than 10^(18 + 280) */
  }
  return isinf(slow_real(text, len));
}

/* `digits` with `places` of them behind the point. */
static inline size_t print_decimal(char *out, bool negative, uint64_t digits, int places)
{
  char text[2 * SIP_JSON_NUMBER_BYTES], *end = text + SIP_JSON_NUMBER_BYTES, *p = end;
  size_t len;

  if (places > 0) {
    for (char *point = end - places; p > point; digits /= 10) {
      *--p = (char)('0' + digits % 10);
    }
    *--p = '.';
  }
  do {
    *--p = (char)('0' + digits % 10);
    digits /= 10;
  } while (digits > 0);
  if (negative) {
    *--p = '-';
  }
  len = (size_t)(end - p);
  memcpy(out, p, SIP_JSON_NUMBER_BYTES); /* of a known size, so it is no call */
  return len;
}

size_t sip_json_print_integer(char out[SIP_JSON_NUMBER_BYTES], int64_t value)
{
  return print_decimal(out, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 0);
}

size_t sip_json_print_real(char out[SIP_JSON_NUMBER_BYTES], double value)
{
  double size = fabs(value);
  int len = 0;

  assert(isfinite(value));
  /* A number with few decimals, as most are. Up to 15 digits no other text of that length reads
   * back as the same double, and both operands of the division are exact. */
  if ((size >= 1e-4 || size == 0) && size < 1e9) {
    for (int places = 0; places <= 6; places++) {
      int64_t digits = (int64_t)(size * powers[places] + 0.5);

      if ((double)digits / powers[places] == size) {
        return print_decimal(out, signbit(value) != 0, (uint64_t)digits, places);
      }
    }
  }
  for (int precision = 14; precision <= 17; precision++) {
    char text[SIP_JSON_NUMBER_BYTES];

    len = snprintf(text, sizeof text, "%.*g", precision, value);
    memcpy(out, text, (size_t)len);
    if (strtod(text, NULL) == value) {
      break;
    }
  }
  return (size_t)len;
}
