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
  struct sip_err *err;
  int rc;                        /* once something failed */
  uint32_t open[SIP_JSON_DEPTH]; /* the containers around, as indexes of their tokens */
  unsigned depth;
  struct sip_json_token *around; /* the innermost of them, unless depth is 0 */
};

/* --- failures: always NULL, so that they can be returned as the place to go on --- */

static const byte *fail(struct scanner *s, const byte *p, const char *what)
{
  s->rc = sip_err_set(s->err, SIP_EDATA, "%s at byte %zu", what, (size_t)(p - s->start) + 1);
  return NULL;
}

/* What should have been at `p` is something else. */
static const byte *fail_expected(struct scanner *s, const byte *p, const char *wanted)
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

static const byte *skip_spaces(struct scanner *s, const byte *p)
{
  const byte *from = p;

  while (p < s->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
    p++;
  }
  if (p > from) {
    s->json->spaced = true;
  }
  return p;
}

static inline const byte *skip_space(struct scanner *s, const byte *p)
{
  return __builtin_expect(p < s->end && *p <= ' ', false) ? skip_spaces(s, p) : p;
}

static int hex4(const byte *p, const byte *end)
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
  code = hex4(p + 2, s->end);
  if (code < 0) {
    return fail(s, p, "\\u without four hexadecimal digits");
  }
  if (code >= 0xd800 && code < 0xe000) {
    int low =
      code < 0xdc00 && s->end - p >= 8 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, s->end) : -1;

    return low >= 0xdc00 && low < 0xe000 ? p + 12 : fail(s, p, "half of a surrogate pair");
  }
  return p + 6;
}

/* What follows the first byte, at `p`, that is not plain. @return where the closing quote is */
static const byte *scan_string(struct scanner *s, const byte *p, uint8_t *flags)
{
  for (;; p = sip_json_plain(p, s->end)) {
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

static inline const byte *skip_digits(const struct scanner *s, const byte *p)
{
  while (p < s->end && *p >= '0' && *p <= '9') {
    p++;
  }
  return p;
}

static const byte *scan_number(struct scanner *s, const byte *p, uint8_t *flags)
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
  *flags = SIP_JSON_INTEGER;
  if (p < s->end && *p == '.') {
    *flags = 0;
    digits = ++p;
    p = skip_digits(s, p);
    if (p == digits) {
      return fail_expected(s, p, "a digit behind the point");
    }
  }
  if (p < s->end && (*p == 'e' || *p == 'E')) {
    *flags = 0;
    exponent = true;
    p++;
    p += p < s->end && (*p == '+' || *p == '-');
    digits = p;
    p = skip_digits(s, p);
    if (p == digits) {
      return fail_expected(s, p, "a digit of the exponent");
    }
  }
  if ((exponent || p - from > 300) &&
      sip_json_number_overflows((const char *)from, (size_t)(p - from))) {
    return fail(s, from, "a number beyond the range of a double");
  }
  return p;
}

static const byte *scan_literal(struct scanner *s, const byte *p, const char *word, size_t len)
{
  if ((size_t)(s->end - p) < len || memcmp(p, word, len) != 0) {
    return fail_expected(s, p, "a value");
  }
  return p + len;
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

static inline void look_around(struct scanner *s)
{
  s->around = s->depth == 0 ? NULL : &s->json->tokens[s->open[s->depth - 1]];
}

static bool no_room(struct scanner *s)
{
  if (grow(s->json)) {
    look_around(s);
    return false;
  }
  s->rc = sip_err_set(s->err, UV_ENOMEM, "no memory for an index of %zu tokens", s->json->cap * 2);
  return true;
}

/* The next token, which is the caller's to fill. */
static inline struct sip_json_token *add_token(struct scanner *s)
{
  struct sip_json *json = s->json;

  if (__builtin_expect(json->count == json->cap, false) && no_room(s)) {
    return NULL;
  }
  return &json->tokens[json->count++];
}

static inline uint32_t place_of(const struct scanner *s, const byte *p)
{
  return (uint32_t)(p - s->start);
}

/* A string from its quote on, and where it goes on behind it. */
static inline const byte *add_string(struct scanner *s, const byte *p)
{
  struct sip_json_token *token = add_token(s);
  const byte *close;
  uint8_t flags = 0;

  if (token == NULL) {
    return NULL;
  }
  close = sip_json_plain(p + 1, s->end);
  if (close == s->end || *close != '"') {
    close = scan_string(s, close, &flags);
    if (close == NULL) {
      return NULL;
    }
  }
  *token = (struct sip_json_token){ .at = place_of(s, p + 1),
                                    .len = (uint32_t)(close - p) - 1,
                                    .span = 1,
                                    .type = SIP_JSON_STRING,
                                    .flags = flags };
  return close + 1;
}

static inline const byte *add_key(struct scanner *s, const byte *p)
{
  if (p == s->end || *p != '"') {
    return fail_expected(s, p, "a key in quotes");
  }
  p = add_string(s, p);
  if (p == NULL) {
    return NULL;
  }
  p = skip_space(s, p);
  if (p == s->end || *p != ':') {
    return fail_expected(s, p, "a colon");
  }
  return skip_space(s, p + 1);
}

static const byte *open_container(struct scanner *s, const byte *p)
{
  struct sip_json_token *token = add_token(s);

  if (token == NULL) {
    return NULL;
  }
  if (s->depth == SIP_JSON_DEPTH) {
    return fail(s, p, "too many nested values (at most 128)");
  }
  *token = (struct sip_json_token){ .at = place_of(s, p),
                                    .type = *p == '{' ? SIP_JSON_OBJECT : SIP_JSON_ARRAY };
  s->open[s->depth++] = (uint32_t)(s->json->count - 1);
  s->around = token;
  if (s->depth > s->json->depth) {
    s->json->depth = (uint8_t)s->depth;
  }
  return p + 1;
}

/* All but strings and containers. */
static const byte *add_scalar(struct scanner *s, const byte *p)
{
  struct sip_json_token *token = add_token(s);
  const byte *from = p;

  if (token == NULL) {
    return NULL;
  }
  *token = (struct sip_json_token){ .at = place_of(s, p), .span = 1 };
  if (*p == '-' || (*p >= '0' && *p <= '9')) {
    token->type = SIP_JSON_NUMBER;
    p = scan_number(s, p, &token->flags);
  } else if (*p == 't') {
    token->type = SIP_JSON_TRUE;
    p = scan_literal(s, p, "true", 4);
  } else if (*p == 'f') {
    token->type = SIP_JSON_FALSE;
    p = scan_literal(s, p, "false", 5);
  } else if (*p == 'n') {
    token->type = SIP_JSON_NULL;
    p = scan_literal(s, p, "null", 4);
  } else {
    return fail_expected(s, p, "a value");
  }
  if (p != NULL) {
    token->len = (uint32_t)(p - from);
  }
  return p;
}

static inline void close_container(struct scanner *s, const byte *p)
{
  struct sip_json_token *token = s->around;

  token->len = (uint32_t)(p - s->start) - token->at + 1;
  token->span = (uint32_t)(s->json->count - s->open[s->depth - 1]);
  s->depth--;
  look_around(s);
}

static inline void count_item(struct scanner *s)
{
  struct sip_json_token *token = s->around;

  token->count = (uint16_t)(token->count + (token->count < UINT16_MAX));
}

/* Behind a value: closes what ends here and goes to the next value. *done when there is none. */
static const byte *next_value(struct scanner *s, const byte *p, bool *done)
{
  for (;;) {
    p = skip_space(s, p);
    if (s->depth == 0) {
      *done = true;
      return p == s->end ? p : fail_expected(s, p, "nothing more");
    }
    bool object = s->around->type == SIP_JSON_OBJECT;

    if (p < s->end && *p == ',') {
      count_item(s);
      p = skip_space(s, p + 1);
      return object ? add_key(s, p) : p;
    }
    if (p == s->end || *p != (object ? '}' : ']')) {
      return fail_expected(s, p, object ? "a comma or }" : "a comma or ]");
    }
    close_container(s, p++);
  }
}

/* Behind an opening bracket: the first value in it, or behind the bracket that closes it at once,
 * which is *empty. */
static const byte *first_value(struct scanner *s, const byte *p, bool *empty)
{
  bool object = s->around->type == SIP_JSON_OBJECT;

  p = skip_space(s, p);
  *empty = p < s->end && *p == (object ? '}' : ']');
  if (*empty) {
    close_container(s, p);
    return p + 1;
  }
  count_item(s);
  return object ? add_key(s, p) : p;
}

static void scan(struct scanner *s)
{
  const byte *p = skip_space(s, s->start);
  bool done = false;

  while (p != NULL && !done) {
    bool inside = false;

    if (p == s->end) {
      (void)fail_expected(s, p, "a value");
      return;
    }
    if (*p == '{' || *p == '[') {
      p = open_container(s, p);
      if (p != NULL) {
        bool empty;

        p = first_value(s, p, &empty);
        inside = !empty;
      }
    } else {
      p = *p == '"' ? add_string(s, p) : add_scalar(s, p);
    }
    if (p != NULL && !inside) {
      p = next_value(s, p, &done);
    }
  }
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
  s.depth = 0;
  s.around = NULL;
  json->text = (const char *)s.start;
  json->count = 0;
  json->depth = 0;
  json->spaced = false;
  scan(&s);
  return s.rc;
}

struct sip_json_token *sip_json_find(const char *text, struct sip_json_token *object,
                                     const char *key, size_t len)
{
  struct sip_json_token *found = NULL, *end = object + object->span;

  for (struct sip_json_token *token = object + 1; token < end; token += 1 + token[1].span) {
    const char *name = text + token->at;

    if ((token->flags & SIP_JSON_ESCAPED) != 0) {
      found = sip_json_equal(text, token, key, len) ? token : found;
    } else if (token->len == len &&
               (len == 0 || (name[0] == key[0] && memcmp(name, key, len) == 0))) {
      found = token; /* most that are as long differ in the first letter: no call */
    }
  }
  return found;
}

const struct sip_json_token *sip_json_at(const struct sip_json *json, struct sip_json_token *from,
                                         const struct sip_slice *path, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    struct sip_json_token *key = from->type == SIP_JSON_OBJECT
                                   ? sip_json_find(json->text, from, path[i].data, path[i].len)
                                   : NULL;

    if (key == NULL) {
      return NULL;
    }
    from = key + 1;
  }
  return from;
}

int sip_json_path(struct sip_json *json, const char *text, size_t len, const struct sip_slice *path,
                  size_t count, const struct sip_json_token **out, struct sip_err *err)
{
  int rc = sip_json_scan(json, text, len, err);

  if (rc == 0) {
    *out = sip_json_at(json, json->tokens, path, count);
  }
  return rc;
}

size_t sip_json_path_split(const char *path, size_t len, struct sip_slice *keys, size_t max)
{
  size_t count = 0, from = 0;

  for (size_t i = 0; i <= len; i++) {
    if (i < len && path[i] != '.') {
      continue;
    }
    if (i == from || count == max) {
      return 0;
    }
    keys[count++] = (struct sip_slice){ path + from, i - from };
    from = i + 1;
  }
  return count;
}
