/* json_path.c - what the key path reader finds in a text, against a walk over its tokens.
 *
 * The input is a path, a line break, and a text. */
#include "core/json_text.h"
#include "support/fuzz.h"

#include <string.h>

enum { KEYS = 8 };

/* The value of the last field that is called `key`, its name unescaped in full. */
static const struct sip_json_token *field(const char *text, const struct sip_json_token *object,
                                          struct sip_slice key)
{
  const struct sip_json_token *found = NULL, *end = object + object->span;

  for (const struct sip_json_token *name = object + 1; name < end; name += 1 + name[1].span) {
    char *plain = malloc(name->len + 1);
    size_t len;

    FUZZ_CHECK(plain != NULL, "no memory");
    FUZZ_CHECK(name->type == SIP_JSON_STRING && name[1].span > 0, "a key and a value");
    len = sip_json_unescape(plain, text, name);
    FUZZ_CHECK(len <= name->len, "a text grew");
    if (len == key.len && memcmp(plain, key.data, len) == 0) {
      found = name + 1;
    }
    free(plain);
  }
  return found;
}

static const struct sip_json_token *walk(const struct sip_json *json, const struct sip_slice *keys,
                                         size_t count)
{
  const struct sip_json_token *value = json->tokens;

  for (size_t i = 0; value != NULL && i < count; i++) {
    value = value->type == SIP_JSON_OBJECT ? field(json->text, value, keys[i]) : NULL;
  }
  return value;
}

static void check_split(const char *path, size_t len, const struct sip_slice *keys, size_t count)
{
  const char *at = path;

  for (size_t i = 0; i < count; i++) {
    FUZZ_CHECK(keys[i].data == at && keys[i].len > 0, "key %zu is elsewhere", i);
    FUZZ_CHECK(memchr(keys[i].data, '.', keys[i].len) == NULL, "a point in key %zu", i);
    at += keys[i].len + 1;
  }
  FUZZ_CHECK(count == 0 || at == path + len + 1, "the path goes on");
}

/* Each token lies in the text and in the one around it. */
static void check_tokens(const struct sip_json *json, size_t len)
{
  for (size_t i = 0; i < json->count; i++) {
    const struct sip_json_token *token = &json->tokens[i];

    FUZZ_CHECK((size_t)token->at + token->len <= len, "token %zu ends behind the text", i);
    FUZZ_CHECK(token->span >= 1 && i + token->span <= json->count, "span of token %zu", i);
  }
  FUZZ_CHECK(json->tokens[0].span == json->count, "tokens beside the value");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *path = (const char *)data, *line = memchr(data, '\n', size), *text;
  const struct sip_json_token *found = NULL;
  struct sip_slice keys[KEYS];
  size_t path_len, text_len, count;
  struct sip_json json;

  if (line == NULL) {
    return 0;
  }
  path_len = (size_t)(line - path);
  text = line + 1;
  text_len = size - path_len - 1;
  count = sip_json_path_split(path, path_len, keys, KEYS);
  check_split(path, path_len, keys, count);
  sip_json_init(&json);
  if (sip_json_path(&json, text, text_len, keys, count, &found, NULL) == 0) {
    check_tokens(&json, text_len);
    FUZZ_CHECK(found == walk(&json, keys, count), "another value at %.*s", (int)path_len, path);
  }
  sip_json_deinit(&json);
  return 0;
}
