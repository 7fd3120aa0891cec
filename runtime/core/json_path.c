/* json_path.c - finds values in a JSON text that was scanned. */
#include "core/json.h"

#include <string.h>

#include "core/json_text.h"

/* Too short for a call of memcmp. */
static inline bool equal(const char *a, const char *b, size_t len)
{
  uint32_t four, other;

  for (; len >= sizeof four; a += sizeof four, b += sizeof four, len -= sizeof four) {
    memcpy(&four, a, sizeof four);
    memcpy(&other, b, sizeof other);
    if (four != other) {
      return false;
    }
  }
  for (; len > 0 && *a == *b; a++, b++) {
    len--;
  }
  return len == 0;
}

/* sip_json_find where an escape may be in a key. */
static __attribute__((cold, noinline)) struct sip_json_token *
find_any(const char *text, struct sip_json_token *object, const char *key, size_t len)
{
  struct sip_json_token *found = NULL, *end = object + object->span;

  for (struct sip_json_token *token = object + 1; token < end; token += 1 + token[1].span) {
    if (token->len >= len && sip_json_equal(text, token, key, len)) {
      found = token;
    }
  }
  return found;
}

struct sip_json_token *sip_json_find(const char *text, struct sip_json_token *object,
                                     const char *key, size_t len)
{
  struct sip_json_token *found = NULL, *end = object + object->span;

  for (struct sip_json_token *token = object + 1; token < end; token += 1 + token[1].span) {
    if ((token->flags & SIP_JSON_ESCAPED) != 0) {
      return find_any(text, object, key, len);
    }
    if (token->len == len && equal(text + token->at, key, len)) {
      found = token;
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
