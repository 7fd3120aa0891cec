/* http_multipart.c - bodies of multipart/form-data: parts are of the body, in their order, without
 * a boundary in them; written again, they are read as the same parts.
 *
 * The input is a content type up to a line feed, and the body. */
#include "http/multipart.h"

#include "core/buf.h"
#include "support/fuzz.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_PARTS = 64 };

struct parts {
  struct sip_part list[MAX_PARTS];
  size_t count;
};

/* @return whether it is well-formed; `parts` has at most the first MAX_PARTS */
static int read_all(struct parts *parts, const struct sip_slice *type, const struct sip_slice *body)
{
  struct sip_multipart reader;
  struct sip_err err = { 0 };
  struct sip_part part;
  const char *at = body->data;
  int rc = sip_multipart_init(&reader, type, body, &err);

  parts->count = 0;
  while (rc == 0 && (rc = sip_multipart_next(&reader, &part, &err)) == 1) {
    FUZZ_CHECK(part.name.data >= at && part.body.data > part.name.data, "a part is out of order");
    FUZZ_CHECK(part.body.data + part.body.len <= body->data + body->len, "beyond the body");
    FUZZ_CHECK(memmem(part.body.data, part.body.len, reader.delimiter, reader.delimiter_len) ==
                 NULL,
               "a boundary is in a part");
    at = part.body.data + part.body.len;
    if (parts->count < MAX_PARTS) {
      parts->list[parts->count++] = part;
    }
    rc = 0;
  }
  FUZZ_CHECK(rc == 0 || err.code == SIP_EDATA, "refused with %d", err.code);
  return rc == 0;
}

static bool is_same(const struct sip_slice *a, const struct sip_slice *b)
{
  return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* A name that came without quotes may hold one, and cannot be written so. */
static bool can_be_written(const struct parts *parts)
{
  for (size_t i = 0; i < parts->count; i++) {
    const struct sip_slice *name = &parts->list[i].name, *body = &parts->list[i].body;

    for (size_t at = 0; at < name->len; at++) {
      if (name->data[at] == '"' || name->data[at] == '\\') {
        return false;
      }
    }
    if (memmem(body->data, body->len, "never-in-a-part", 15) != NULL) {
      return false;
    }
  }
  return parts->count > 0;
}

static void write_again(const struct parts *parts)
{
  static const char type[] = "multipart/form-data; boundary=never-in-a-part-7d1f";
  struct sip_slice kind = { type, sizeof type - 1 }, body;
  struct sip_buf buf = SIP_BUF_INIT;
  struct parts again;
  int rc = 0;

  for (size_t i = 0; i < parts->count; i++) {
    const struct sip_part *part = &parts->list[i];

    rc |= sip_buf_adds(&buf, "--never-in-a-part-7d1f\r\nContent-Disposition: form-data; name=\"");
    rc |= sip_buf_add(&buf, part->name.data, part->name.len);
    rc |= sip_buf_adds(&buf, "\"\r\n\r\n");
    rc |= sip_buf_add(&buf, part->body.data, part->body.len);
    rc |= sip_buf_adds(&buf, "\r\n");
  }
  rc |= sip_buf_adds(&buf, "--never-in-a-part-7d1f--");
  FUZZ_CHECK(rc == 0, "no memory");
  body = (struct sip_slice){ buf.data, buf.len };
  FUZZ_CHECK(read_all(&again, &kind, &body) && again.count == parts->count, "other parts");
  for (size_t i = 0; i < parts->count; i++) {
    FUZZ_CHECK(is_same(&again.list[i].name, &parts->list[i].name), "another name");
    FUZZ_CHECK(is_same(&again.list[i].body, &parts->list[i].body), "another body");
  }
  sip_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const uint8_t *line = memchr(data, '\n', size);
  size_t type_len = line == NULL ? size : (size_t)(line - data);
  size_t body_len = line == NULL ? 0 : size - type_len - 1;
  char *type_copy = malloc(type_len + 1), *body_copy = malloc(body_len + 1);
  struct sip_slice type = { type_copy, type_len }, body = { body_copy, body_len };
  struct parts parts;

  FUZZ_CHECK(type_copy != NULL && body_copy != NULL, "no memory");
  memcpy(type_copy, data, type_len);
  if (body_len > 0) {
    memcpy(body_copy, line + 1, body_len);
  }
  if (read_all(&parts, &type, &body) && can_be_written(&parts)) {
    write_again(&parts);
  }
  free(type_copy);
  free(body_copy);
  return 0;
}
