/* json_match.c - compares values of a JSON text without making any. */
#include "kafka/json_match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct sip_json_match {
  struct sip_json json; /* memory for the texts that are looked at */
  enum sip_json_operator relation;
  struct sip_slice text;
  bool numeric;
  struct sip_json_number number;
  char *scratch; /* owned: a text without its escapes */
  size_t scratch_bytes, count;
  struct sip_json_step steps[]; /* their names are behind them, as `text` is */
};

int sip_json_match_new(struct sip_json_match **out, const struct sip_json_match_spec *spec)
{
  size_t bytes = spec->text.len, head = spec->count * sizeof *spec->steps;
  struct sip_json_match *test;
  char *at;

  for (size_t i = 0; i < spec->count; i++) {
    bytes += spec->steps[i].name.len;
  }
  test = calloc(1, sizeof *test + head + bytes + 1);
  if (test == NULL) {
    return UV_ENOMEM;
  }
  at = (char *)test->steps + head;
  for (size_t i = 0; i <= spec->count; i++) {
    const struct sip_slice *text = i < spec->count ? &spec->steps[i].name : &spec->text;
    struct sip_slice *kept = i < spec->count ? &test->steps[i].name : &test->text;

    if (i < spec->count) {
      test->steps[i] = spec->steps[i];
    }
    *kept = (struct sip_slice){ at, text->len };
    if (text->len > 0) {
      memcpy(at, text->data, text->len);
    }
    at += text->len;
  }
  sip_json_init(&test->json);
  test->count = spec->count;
  test->relation = spec->relation;
  test->numeric = spec->numeric;
  test->number = spec->number;
  *out = test;
  return 0;
}

void sip_json_match_free(struct sip_json_match *test)
{
  if (test != NULL) {
    sip_json_deinit(&test->json);
    free(test->scratch);
    free(test);
  }
}

/* --- numbers and texts --- */

/* An integer beside a real that is none: which is less? */
static int compare_mixed(int64_t integer, double real)
{
  if (real >= 0x1p63) {
    return -1;
  }
  return real < -0x1p63 || integer > (int64_t)floor(real) ? 1 : -1;
}

static int compare_numbers(const struct sip_json_number *a, const struct sip_json_number *b)
{
  if (a->integral && b->integral) {
    return (a->integer > b->integer) - (a->integer < b->integer);
  }
  if (!a->integral && !b->integral) {
    return (a->real > b->real) - (a->real < b->real);
  }
  return a->integral ? compare_mixed(a->integer, b->real) : -compare_mixed(b->integer, a->real);
}

static int compare_texts(const struct sip_slice *a, const struct sip_slice *b)
{
  size_t len = a->len < b->len ? a->len : b->len;
  int order = len == 0 ? 0 : memcmp(a->data, b->data, len);

  return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static bool has(const struct sip_slice *text, const struct sip_slice *part)
{
  for (size_t i = 0; i + part->len <= text->len; i++) {
    size_t same = 0;

    for (; same < part->len; same++) {
      char c = text->data[i + same];

      if ((c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c) != part->data[same]) {
        break;
      }
    }
    if (same == part->len) {
      return true;
    }
  }
  return false;
}

static bool fits_order(enum sip_json_operator relation, int order)
{
  switch (relation) {
  case SIP_JSON_ABOVE:
    return order > 0;
  case SIP_JSON_ABOVE_OR_EQUAL:
    return order >= 0;
  case SIP_JSON_BELOW:
    return order < 0;
  default:
    return order <= 0;
  }
}

/* --- values --- */

/* As Lua shows it. */
static struct sip_slice number_text(const struct sip_json_number *number, char *out, size_t size)
{
  int len;

  if (number->integral) {
    len = snprintf(out, size, "%lld", (long long)number->integer);
  } else {
    len = snprintf(out, size, "%.14g", number->real);
    if (strspn(out, "-0123456789") == (size_t)len) {
      len += snprintf(out + len, size - (size_t)len, ".0");
    }
  }
  return (struct sip_slice){ out, (size_t)len };
}

/* @return false when there is no memory */
static bool string_text(struct sip_json_match *test, const struct sip_json_token *token,
                        struct sip_slice *out)
{
  *out = (struct sip_slice){ test->json.text + token->at, token->len };
  if ((token->flags & SIP_JSON_ESCAPED) == 0) {
    return true;
  }
  if (token->len > test->scratch_bytes) {
    char *scratch = realloc(test->scratch, token->len);

    if (scratch == NULL) {
      return false;
    }
    test->scratch = scratch;
    test->scratch_bytes = token->len;
  }
  *out =
    (struct sip_slice){ test->scratch, sip_json_unescape(test->scratch, test->json.text, token) };
  return true;
}

static bool fits(struct sip_json_match *test, const struct sip_json_token *token)
{
  struct sip_slice text = { test->json.text + token->at, token->len }; /* null, false, true */
  bool is_number = token->type == SIP_JSON_NUMBER, is_text = token->type == SIP_JSON_STRING, equal;
  struct sip_json_number number = { 0 };
  char shown[64];

  if (test->relation == SIP_JSON_THERE || token->type >= SIP_JSON_ARRAY) {
    return test->relation == SIP_JSON_THERE || test->relation == SIP_JSON_UNEQUAL;
  }
  if (is_number) {
    number = sip_json_number(test->json.text, token);
  } else if (is_text && !string_text(test, token, &text)) {
    return false;
  }
  if (test->relation >= SIP_JSON_ABOVE) {
    return is_number
             ? test->numeric && fits_order(test->relation, compare_numbers(&number, &test->number))
             : is_text && fits_order(test->relation, compare_texts(&text, &test->text));
  }
  if (is_number) {
    text = number_text(&number, shown, sizeof shown);
  }
  if (test->relation == SIP_JSON_HAS) {
    return has(&text, &test->text);
  }
  equal = compare_texts(&text, &test->text) == 0 ||
          (is_number && test->numeric && compare_numbers(&number, &test->number) == 0);
  return equal == (test->relation == SIP_JSON_EQUAL);
}

/* Does one of the values at the path from step `at` on fit? As deep as the path. */
static bool any_at(struct sip_json_match *test, struct sip_json_token *token, size_t at)
{
  const struct sip_json_step *step = &test->steps[at];
  struct sip_json_token *end = token + token->span;
  uint64_t index = 0;

  if (at == test->count) {
    return fits(test, token);
  }
  if (step->kind == SIP_STEP_NAME) {
    struct sip_json_token *key =
      token->type == SIP_JSON_OBJECT
        ? sip_json_find(test->json.text, token, step->name.data, step->name.len)
        : NULL;

    return key != NULL && any_at(test, key + 1, at + 1);
  }
  if (token->type != SIP_JSON_ARRAY) {
    return false;
  }
  for (token++; token < end; token += token->span, index++) {
    if ((step->kind == SIP_STEP_ANY || index == step->index) && any_at(test, token, at + 1)) {
      return true;
    }
  }
  return false;
}

bool sip_json_match_passes(struct sip_json_match *test, const struct sip_slice *json)
{
  return json->data != NULL && sip_json_scan(&test->json, json->data, json->len, NULL) == 0 &&
         test->json.tokens[0].type >= SIP_JSON_ARRAY && any_at(test, test->json.tokens, 0);
}
