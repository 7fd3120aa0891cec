/* sieve.c - tests of records, each without a copy. */
#include "kafka/sieve.h"

#include "kafka/json_match.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct sip_sieve {
  int64_t from_ms, until_ms;
  size_t count;
  char *texts; /* what the tests point to */
  struct sip_sieve_test tests[];
};

static struct sip_slice keep(char **at, const struct sip_slice *text)
{
  struct sip_slice kept = { *at, text->len };

  if (text->len > 0) {
    memcpy(*at, text->data, text->len);
  }
  *at += text->len;
  return kept;
}

int sip_sieve_new(struct sip_sieve **out, int64_t from_ms, int64_t until_ms,
                  const struct sip_sieve_test *tests, size_t count)
{
  struct sip_sieve *sieve = calloc(1, sizeof *sieve + count * sizeof *tests);
  size_t bytes = 1;
  char *at;

  for (size_t i = 0; i < count; i++) {
    bytes += tests[i].name.len + tests[i].text.len;
  }
  at = malloc(bytes);
  if (sieve == NULL || at == NULL) {
    for (size_t i = 0; i < count; i++) {
      sip_json_match_free(tests[i].json);
    }
    free(sieve);
    free(at);
    return UV_ENOMEM;
  }
  sieve->texts = at;
  sieve->from_ms = from_ms;
  sieve->until_ms = until_ms;
  sieve->count = count;
  for (size_t i = 0; i < count; i++) {
    sieve->tests[i].kind = tests[i].kind;
    sieve->tests[i].json = tests[i].json;
    sieve->tests[i].name = keep(&at, &tests[i].name);
    sieve->tests[i].text = keep(&at, &tests[i].text);
  }
  *out = sieve;
  return 0;
}

void sip_sieve_free(struct sip_sieve *sieve)
{
  if (sieve != NULL) {
    for (size_t i = 0; i < sieve->count; i++) {
      sip_json_match_free(sieve->tests[i].json);
    }
    free(sieve->texts);
    free(sieve);
  }
}

static char small(char c)
{
  return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* `part` is in small letters. */
static bool has(const struct sip_slice *text, const struct sip_slice *part)
{
  if (text->data == NULL || part->len > text->len) {
    return false;
  }
  for (size_t i = 0; i + part->len <= text->len; i++) {
    size_t same = 0;

    while (same < part->len && small(text->data[i + same]) == part->data[same]) {
      same++;
    }
    if (same == part->len) {
      return true;
    }
  }
  return false;
}

static bool contains(const struct sip_slice *text, const struct sip_slice *part)
{
  return text->data != NULL && memmem(text->data, text->len, part->data, part->len) != NULL;
}

static bool is(const struct sip_slice *text, const struct sip_slice *other)
{
  return text->len == other->len &&
         (text->len == 0 || memcmp(text->data, other->data, text->len) == 0);
}

/* Does a header of that name, or with an empty one any, pass? */
static bool test_headers(const struct sip_sieve_test *test, const struct sip_source_ops *ops,
                         const struct sip_record *record)
{
  size_t count = ops->header_count(record);

  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(record, i);
    struct sip_slice name = { header.name, strlen(header.name) };
    bool passes = true;

    switch (test->kind) {
    case SIP_SIEVE_HEADER_IS:
      passes = is(&header.value, &test->text);
      break;
    case SIP_SIEVE_HEADER_HAS:
    case SIP_SIEVE_ANY_HAS:
      passes = has(&header.value, &test->text);
      break;
    case SIP_SIEVE_ANY_CONTAINS:
      passes = contains(&header.value, &test->text);
      break;
    default:
      break;
    }
    if (passes && (test->kind >= SIP_SIEVE_ANY_HAS || is(&name, &test->name))) {
      return true;
    }
  }
  return false;
}

static bool test_record(const struct sip_sieve_test *test, const struct sip_source_ops *ops,
                        const struct sip_record *record)
{
  switch (test->kind) {
  case SIP_SIEVE_KEY_IS:
    return record->key.data != NULL && is(&record->key, &test->text);
  case SIP_SIEVE_KEY_HAS:
    return has(&record->key, &test->text);
  case SIP_SIEVE_ANY_HAS:
    return has(&record->value, &test->text) || has(&record->key, &test->text) ||
           test_headers(test, ops, record);
  case SIP_SIEVE_ANY_CONTAINS:
    return contains(&record->value, &test->text) || contains(&record->key, &test->text) ||
           test_headers(test, ops, record);
  case SIP_SIEVE_JSON:
    return contains(&record->value, &test->text) ||
           (record->value.data != NULL &&
            memchr(record->value.data, '\\', record->value.len) != NULL);
  case SIP_SIEVE_JSON_AT:
    return sip_json_match_passes(test->json, &record->value);
  default:
    return test_headers(test, ops, record);
  }
}

bool sip_sieve_passes(struct sip_sieve *sieve, const struct sip_source_ops *ops,
                      const struct sip_record *record)
{
  if (record->timestamp_ms < sieve->from_ms || record->timestamp_ms >= sieve->until_ms) {
    return false;
  }
  for (size_t i = 0; i < sieve->count; i++) {
    if (!test_record(&sieve->tests[i], ops, record)) {
      return false;
    }
  }
  return true;
}
