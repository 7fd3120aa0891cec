/* json.c - checks a JSON text once and leaves an index of it. One pass, no recursion. */
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/json_plain.h"
#include "core/json_text.h"
#include "core/utf8.h"

typedef unsigned char byte;

struct scanner {
  struct sip_json *json;
  const byte *start, *end;
  const byte *far;                   /* from any byte before it on, AHEAD bytes are of the text */
  const struct sip_json_token *last; /* that there is memory for */
  struct sip_err *err;
  int rc; /* once something failed */
};

/* What add_key looks at: a quote, a short string, the other quote, and three bytes behind it. */
enum { AHEAD = 1 + SIP_JSON_STEP + 1 + 3 };

/* The container that the scan is in, and where its next token goes. It stays in registers: only
 * functions that are inlined may have its address. While a container is open, its token holds in
 * `span` how many tokens before it the one around it is, in `len` the items of that one, and in
 * `flags` its own closing bracket. */
struct place {
  struct sip_json_token *around, *next;
  uint32_t items;
  unsigned depth;
  byte closing; /* its other bracket */
};

#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define COLD     static __attribute__((cold, noinline))

/* --- failures: always NULL, so that they can be returned as the place to go on --- */

COLD const byte *fail(struct scanner *s, const byte *p, const char *what)
{
  s->rc = sip_err_set(s->err, SIP_EDATA, "%s at byte %zu", what, (size_t)(p - s->start) + 1);
  return NULL;
}

/* What should have been at `p` is something else. */
COLD const byte *fail_expected(struct scanner *s, const byte *p, const char *wanted)
{
  size_t at = (size_t)(p - s->start) + 1;

  if (p == s->end) {
    s->rc =
      sip_err_set(s->err, SIP_EDATA, "expected %s at byte %zu, but the text ends", wanted, at);
  } else if (*p == '\0') {
    return fail(s, p, "a NUL byte in the text");
  } else if (sip_utf8_length((const char *)p, (size_t)(s->end - p)) == 0) {
    return fail(s, p, "not valid UTF-8");
  } else if (*p < ' ' || *p >= 0x7f) {
    s->rc =
      sip_err_set(s->err, SIP_EDATA, "expected %s at byte %zu, found byte 0x%02x", wanted, at, *p);
  } else {
    s->rc = sip_err_set(s->err, SIP_EDATA, "expected %s at byte %zu, found %c", wanted, at, *p);
  }
  return NULL;
}

/* --- pieces --- */

NOINLINE const byte *skip_spaces(struct scanner *s, const byte *p)
{
  const byte *from = p;

  for (;; p++) {
    while (p < s->end && *p == ' ') {
      p++;
    }
    if (p == s->end || (*p != '\n' && *p != '\t' && *p != '\r')) {
      s->json->spaced = s->json->spaced || p > from;
      return p;
    }
  }
}

INLINE const byte *skip_space(struct scanner *s, const byte *p)
{
  return __builtin_expect(p < s->end && *p <= ' ', false) ? skip_spaces(s, p) : p;
}

/* Where two bytes can be read, and the first may be white space: mostly it is one space. */
INLINE const byte *skip_gap(struct scanner *s, const byte *p)
{
  if (p[0] == ' ' && p[1] > ' ') {
    s->json->spaced = true;
    return p + 1;
  }
  return skip_spaces(s, p);
}

static int read_hex4(const byte *p, const byte *end)
{
  int value = 0;

  if (end - p < 4) {
    return -1;
  }
  for (int i = 0; i < 4; i++) {
    int digit = p[i] >= '0' && p[i] <= '9'   ? p[i] - '0'
                : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                : p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                             : -1;

    if (digit < 0) {
      return -1;
    }
    value = value * 16 + digit;
  }
  return value;
}

/* `p` is at the backslash. */
static const byte *scan_escape(struct scanner *s, const byte *p)
{
  int code;

  if (s->end - p < 2) {
    return fail_expected(s, s->end, "the end of a string");
  }
  if (p[1] != 'u') {
    return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL
             ? p + 2
             : fail(s, p, "a backslash before what is no escape");
  }
  code = read_hex4(p + 2, s->end);
  if (code < 0) {
    return fail(s, p, "\\u without four hexadecimal digits");
  }
  if (code >= 0xd800 && code < 0xe000) {
    int low = code < 0xdc00 && s->end - p >= 8 && p[6] == '\\' && p[7] == 'u'
                ? read_hex4(p + 8, s->end)
                : -1;

    return low >= 0xdc00 && low < 0xe000 ? p + 12 : fail(s, p, "half of a surrogate pair");
  }
  return p + 6;
}

/* What is behind a quote. @return where the closing quote is */
static const byte *scan_string(struct scanner *s, const byte *p, uint8_t *flags)
{
  for (;;) {
    p = sip_json_plain(s->start, p, s->end);
    if (p == s->end) {
      return fail_expected(s, p, "the end of a string");
    } else if (*p == '"') {
      return p;
    } else if (*p == '\\') {
      *flags |= SIP_JSON_ESCAPED;
      p = scan_escape(s, p);
      if (p == NULL) {
        return NULL;
      }
    } else if (*p < ' ') {
      return fail(s, p, *p == '\0' ? "a NUL byte in the text" : "a control character in a string");
    }
    while (p < s->end && *p >= 0x80) {
      size_t len = sip_utf8_length((const char *)p, (size_t)(s->end - p));

      if (len == 0) {
        return fail(s, p, "not valid UTF-8");
      }
      p += len;
    }
  }
}

static inline bool is_digit(byte c)
{
  return (byte)(c - '0') < 10;
}

static inline const byte *skip_digits(const struct scanner *s, const byte *p)
{
  while (p < s->end && is_digit(*p)) {
    p++;
  }
  return p;
}

/* --- the tape --- */

static bool grow(struct sip_json *json)
{
  size_t cap = json->cap * 2;
  bool inside = json->tokens == json->few;
  struct sip_json_token *tokens = realloc(inside ? NULL : json->tokens, cap * sizeof *tokens);

  if (tokens == NULL) {
    return false;
  }
  if (inside) {
    memcpy(tokens, json->few, sizeof json->few);
  }
  json->tokens = tokens;
  json->cap = cap;
  return true;
}

/* @return false, and says so, when there is none */
COLD bool more_room(struct scanner *s)
{
  if (grow(s->json)) {
    s->last = s->json->tokens + s->json->cap - 1;
    return true;
  }
  s->rc = sip_err_set(s->err, UV_ENOMEM, "no memory for an index of %zu tokens", s->json->cap * 2);
  return false;
}

static inline uint32_t offset_of(const struct scanner *s, const byte *p)
{
  return (uint32_t)(p - s->start);
}

/* All of a token of its own but its length. */
static inline void put_token(const struct scanner *s, struct sip_json_token *token, const byte *p,
                             uint8_t type, uint8_t flags)
{
  token->at = offset_of(s, p);
  token->span = 1;
  token->count = 0;
  token->type = type;
  token->flags = flags;
}

/* The bytes of a string, whatever its length and what is in it. @return behind its quote */
NOINLINE const byte *add_any_string(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  uint8_t flags = 0;
  const byte *close = scan_string(s, p, &flags);

  if (close == NULL) {
    return NULL;
  }
  put_token(s, token, p, SIP_JSON_STRING, flags);
  token->len = (uint32_t)(close - p);
  return close + 1;
}

/* Likewise; most are plain and as short as one step. */
INLINE const byte *add_string(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  if (p < s->far) {
    size_t len = sip_json_plain_here(p);

    if (p[len] == '"') {
      put_token(s, token, p, SIP_JSON_STRING, 0);
      token->len = (uint32_t)len;
      return p + len + 1;
    }
  }
  return add_any_string(s, p, token);
}

/* Whatever there is around a key, or instead of it. @return at the value */
static const byte *add_any_key(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  p = skip_space(s, p);
  if (p == s->end || *p != '"') {
    return fail_expected(s, p, "a key in quotes");
  }
  p = add_any_string(s, p + 1, token);
  if (p == NULL) {
    return NULL;
  }
  p = skip_space(s, p);
  if (p == s->end || *p != ':') {
    return fail_expected(s, p, "a colon");
  }
  p = skip_space(s, p + 1);
  return p < s->end ? p : fail_expected(s, p, "a value");
}

/* From behind the comma or bracket before a key. @return at the value */
INLINE const byte *add_key(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  if (p < s->far && *p <= ' ') {
    p = skip_gap(s, p);
  }
  if (p < s->far && *p == '"') {
    size_t len = sip_json_plain_here(p + 1);
    const byte *close = p + 1 + len;

    if (close[0] == '"' && close[1] == ':') {
      put_token(s, token, p + 1, SIP_JSON_STRING, 0);
      token->len = (uint32_t)len;
      if (close[2] > ' ') {
        return close + 2;
      }
      p = skip_gap(s, close + 2);
      return p < s->end ? p : fail_expected(s, p, "a value");
    }
  }
  return add_any_key(s, p, token);
}

/* A number from `from` up to `p`. @return `p` */
COLD const byte *check_range(struct scanner *s, const byte *from, const byte *p)
{
  return sip_json_number_overflows((const char *)from, (size_t)(p - from))
           ? fail(s, from, "a number beyond the range of a double")
           : p;
}

/* @return behind it */
static const byte *add_number(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  const byte *from = p, *digits;
  bool exponent = false;

  p += *p == '-';
  digits = p;
  p = skip_digits(s, p);
  if (p == digits) {
    return fail_expected(s, p, "a digit");
  }
  if (*digits == '0' && p - digits > 1) {
    return fail(s, digits, "a number with a leading zero");
  }
  put_token(s, token, from, SIP_JSON_NUMBER, SIP_JSON_INTEGER);
  if (p < s->end && *p == '.') {
    token->flags = 0;
    digits = ++p;
    p = skip_digits(s, p);
    if (p == digits) {
      return fail_expected(s, p, "a digit behind the point");
    }
  }
  if (p < s->end && (*p == 'e' || *p == 'E')) {
    token->flags = 0;
    exponent = true;
    p++;
    p += p < s->end && (*p == '+' || *p == '-');
    digits = p;
    p = skip_digits(s, p);
    if (p == digits) {
      return fail_expected(s, p, "a digit of the exponent");
    }
  }
  token->len = (uint32_t)(p - from);
  return exponent || p - from > 300 ? check_range(s, from, p) : p;
}

/* One of the three words. @return behind it */
static const byte *add_word(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  static const struct {
    const char *text;
    uint8_t len, type;
  } words[] = { { "true", 4, SIP_JSON_TRUE },
                { "false", 5, SIP_JSON_FALSE },
                { "null", 4, SIP_JSON_NULL } };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (*p == (byte)words[i].text[0] && s->end - p >= words[i].len &&
        memcmp(p, words[i].text, words[i].len) == 0) {
      put_token(s, token, p, words[i].type, 0);
      token->len = words[i].len;
      return p + words[i].len;
    }
  }
  return fail_expected(s, p, "a value");
}

/* All but strings and containers. @return behind it */
static inline const byte *add_scalar(struct scanner *s, const byte *p, struct sip_json_token *token)
{
  return is_digit(*p) || *p == '-' ? add_number(s, p, token) : add_word(s, p, token);
}

/* --- containers --- */

static inline bool is_bracket(byte c)
{
  return (c | ('[' ^ '{')) == '{';
}

/* *p is at its bracket. @return true when something is in it; else *p moves to the other bracket */
INLINE bool open_container(struct scanner *s, struct place *at, const byte **from)
{
  struct sip_json_token *token = at->next;
  const byte *p = *from;

  if (at->depth == SIP_JSON_DEPTH) {
    *from = fail(s, p, "too many nested values (at most 128)");
    return false;
  }
  at->closing = (byte)(*p + ('}' - '{'));
  token->at = offset_of(s, p);
  token->len = at->items;
  token->span = (uint32_t)(token - at->around);
  token->count = 0;
  token->type = at->closing == '}' ? SIP_JSON_OBJECT : SIP_JSON_ARRAY;
  token->flags = at->closing;
  at->around = token;
  at->next = token + 1;
  at->items = 0;
  at->depth++;
  if (at->depth > s->json->depth) {
    s->json->depth = (uint8_t)at->depth;
  }
  p = skip_space(s, p + 1);
  if (p < s->end && *p == at->closing) {
    *from = p;
    return false;
  }
  return true;
}

/* `p` is at its bracket. */
INLINE void close_container(const struct scanner *s, struct place *at, const byte *p)
{
  struct sip_json_token *token = at->around;
  uint32_t items = at->items;

  at->around = token - token->span;
  at->items = token->len;
  at->depth--;
  token->flags = 0;
  at->closing = at->around->flags;
  token->len = offset_of(s, p) - token->at + 1;
  token->span = (uint32_t)(at->next - token);
  token->count = (uint16_t)(items < UINT16_MAX ? items : UINT16_MAX);
}

/* From a field's key or an item of a list on, or what is there instead. @return at the value */
INLINE const byte *start_item(struct scanner *s, struct place *at, const byte *p)
{
  at->items++;
  if (__builtin_expect(at->next >= s->last, false)) { /* two tokens are needed */
    size_t around = (size_t)(at->around - s->json->tokens);
    size_t next = (size_t)(at->next - s->json->tokens);

    if (!more_room(s)) {
      return NULL;
    }
    at->around = s->json->tokens + around;
    at->next = s->json->tokens + next;
  }
  if (at->closing == '}') {
    return add_key(s, p, at->next++);
  }
  p = skip_space(s, p);
  return p < s->end ? p : fail_expected(s, p, "a value");
}

/* `p` is at the bracket of the whole value. @return behind the one that closes it */
static const byte *scan_container(struct scanner *s, const byte *p)
{
  struct place at = { s->json->tokens, s->json->tokens, 0, 0, 0 };

  for (;;) { /* at a value */
    bool opened = false;

    if (*p == '"') {
      p = add_string(s, p + 1, at.next++);
    } else if (!is_bracket(*p)) {
      p = add_scalar(s, p, at.next++);
    } else {
      opened = open_container(s, &at, &p);
    }
    if (p == NULL) {
      return NULL;
    }
    while (!opened && (p == s->end || *p != ',')) {
      p = skip_space(s, p);
      if (p < s->end && *p == ',') {
        break;
      } else if (p == s->end || *p != at.closing) {
        return fail_expected(s, p, at.closing == '}' ? "a comma or }" : "a comma or ]");
      }
      close_container(s, &at, p++);
      if (at.depth == 0) {
        return p;
      }
    }
    p = start_item(s, &at, p + 1);
    if (p == NULL) {
      return NULL;
    }
  }
}

static void scan(struct scanner *s)
{
  struct sip_json_token *whole = s->json->tokens;
  const byte *p = skip_space(s, s->start);

  if (p == s->end) {
    (void)fail_expected(s, p, "a value");
    return;
  }
  p = is_bracket(*p) ? scan_container(s, p)
      : *p == '"'    ? add_any_string(s, p + 1, whole)
                     : add_scalar(s, p, whole);
  if (p == NULL) {
    return;
  }
  p = skip_space(s, p);
  if (p < s->end) {
    (void)fail_expected(s, p, "nothing more");
    return;
  }
  s->json->count = s->json->tokens->span;
}

/* --- public --- */

void sip_json_init(struct sip_json *json)
{
  json->text = NULL;
  json->tokens = json->few;
  json->count = 0;
  json->cap = SIP_JSON_FEW;
  json->depth = 0;
  json->spaced = false;
}

void sip_json_deinit(struct sip_json *json)
{
  if (json->tokens != json->few) {
    free(json->tokens);
  }
  sip_json_init(json);
}

int sip_json_scan(struct sip_json *json, const char *text, size_t len, struct sip_err *err)
{
  struct scanner s;

  if (len >= UINT32_MAX) {
    return sip_err_set(err, SIP_EDATA, "a text of %zu bytes; at most 4 GiB are read", len);
  }
  s.json = json;
  s.start = len == 0 ? (const byte *)"" : (const byte *)text;
  s.end = s.start + len;
  s.err = err;
  s.rc = 0;
  s.far = len > AHEAD ? s.end - AHEAD : s.start;
  s.last = json->tokens + json->cap - 1;
  json->text = (const char *)s.start;
  json->count = 0;
  json->depth = 0;
  json->spaced = false;
  scan(&s);
  return s.rc;
}
