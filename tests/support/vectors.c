/* vectors.c - reads the vectors. */
#include "support/vectors.h"

#include "core/buf.h"
#include "core/err.h"
#include "core/json_text.h"
#include "support/test.h"

#include <ctype.h>

enum { TEXT_MAX = 8192, TEXTS = 4 };

static void vectors_read(struct sip_buf *buf)
{
  FILE *file = fopen(SIP_TEST_VECTORS, "r");
  char part[4096];
  size_t size;

  if (file == NULL) {
    SIP_TEST_FAIL("%s is missing", SIP_TEST_VECTORS);
  }
  while ((size = fread(part, 1, sizeof part, file)) > 0) {
    CHECK_INT(sip_buf_add(buf, part, size), 0);
  }
  CHECK_INT(fclose(file), 0);
}

bool vector_field(const struct vector *vector, const char *key, struct vector *out)
{
  struct sip_json_token *found = sip_json_find(vector->text, vector->value, key, strlen(key));

  *out = (struct vector){ vector->text, found == NULL ? NULL : found + 1 };
  return found != NULL;
}

bool vector_item(const struct vector *vector, const char *key, int at, struct vector *out)
{
  struct vector list;

  if (!vector_field(vector, key, &list) || at >= list.value->count) {
    return false;
  }
  *out = (struct vector){ vector->text, list.value + 1 };
  for (int i = 0; i < at; i++) {
    out->value += out->value->span;
  }
  return true;
}

const char *vector_value_text(const struct vector *value, int slot)
{
  static char texts[TEXTS][TEXT_MAX];
  size_t len;

  CHECK(slot < TEXTS);
  CHECK(value->value->type == SIP_JSON_STRING && value->value->len < TEXT_MAX);
  len = sip_json_unescape(texts[slot], value->text, value->value);
  texts[slot][len] = '\0';
  return texts[slot];
}

int64_t vector_value_int(const struct vector *value)
{
  CHECK(value->value->type == SIP_JSON_NUMBER);
  return sip_json_number(value->text, value->value).integer;
}

size_t vector_value_bytes(const struct vector *value, uint8_t *out, size_t room)
{
  const char *text = vector_value_text(value, TEXTS - 1);
  size_t size = 0;

  for (unsigned byte; *text != '\0'; text += 2) {
    while (*text == ' ') {
      text++;
    }
    CHECK(size < room && isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]));
    CHECK_INT(sscanf(text, "%2x", &byte), 1);
    out[size++] = (uint8_t)byte;
  }
  return size;
}

const char *vector_text(const struct vector *vector, const char *key, int slot)
{
  struct vector value;

  return vector_field(vector, key, &value) ? vector_value_text(&value, slot) : NULL;
}

int64_t vector_int(const struct vector *vector, const char *key, int64_t otherwise)
{
  struct vector value;

  return vector_field(vector, key, &value) ? vector_value_int(&value) : otherwise;
}

size_t vector_bytes(const struct vector *vector, const char *key, uint8_t *out, size_t room)
{
  struct vector value;

  return vector_field(vector, key, &value) ? vector_value_bytes(&value, out, room) : 0;
}

static void vectors_walk(const char *protocol, int count, bool scenarios,
                         void (*each)(const struct vector *vector))
{
  struct sip_buf buf = SIP_BUF_INIT;
  struct sip_json json;
  struct vector at, item;
  int seen = 0;

  vectors_read(&buf);
  sip_json_init(&json);
  CHECK_INT(sip_json_scan(&json, buf.data, buf.len, NULL), 0);
  at = (struct vector){ buf.data, json.tokens };
  if (!scenarios) {
    CHECK(vector_field(&at, "protocols", &at));
    CHECK(vector_field(&at, protocol, &at));
  }
  for (int i = 0; vector_item(&at, scenarios ? "scenarios" : "vectors", i, &item); i++) {
    if (!scenarios || strcmp(vector_text(&item, "protocol", 0), protocol) == 0) {
      (void)fprintf(stderr, "%s: %s\n", vector_text(&item, "id", 0), vector_text(&item, "desc", 1));
      each(&item);
      seen++;
    }
  }
  CHECK_INT(seen, count);
  sip_json_deinit(&json);
  sip_buf_deinit(&buf);
}

void vectors_each(const char *protocol, int count, void (*each)(const struct vector *vector))
{
  vectors_walk(protocol, count, false, each);
}

void vectors_scenarios(const char *protocol, int count, void (*each)(const struct vector *scenario))
{
  vectors_walk(protocol, count, true, each);
}
