/* multipart.c - bodies of multipart/form-data, read in place. Any thread. */
#include "http/multipart.h"

#include "http/header.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70, HEAD_MAX = 8192, FIELDS_MAX = 16 };

static bool is_blank(char c)
{
  return c == ' ' || c == '\t';
}

static struct sip_slice trim(const char *data, size_t len)
{
  while (len > 0 && is_blank(*data)) {
    data++;
    len--;
  }
  while (len > 0 && is_blank(data[len - 1])) {
    len--;
  }
  return (struct sip_slice){ data, len };
}

/* One "; name=value" of a field. The quotes around a value go; `quoted` says that they were there.
 * @return 1; 0 at the end; -1 for what is none */
static int next_parameter(struct sip_slice *left, struct sip_slice *name, struct sip_slice *value)
{
  const char *equals, *end;
  size_t at = 0;

  *left = trim(left->data, left->len);
  if (left->len == 0) {
    return 0;
  }
  if (left->data[0] != ';') {
    return -1;
  }
  *left = trim(left->data + 1, left->len - 1);
  equals = memchr(left->data, '=', left->len);
  if (equals == NULL) {
    return left->len == 0 ? 0 : -1;
  }
  *name = (struct sip_slice){ left->data, (size_t)(equals - left->data) };
  end = left->data + left->len;
  *left = (struct sip_slice){ equals + 1, (size_t)(end - equals - 1) };
  if (!sip_header_is_name(name)) {
    return -1;
  }
  if (left->len > 0 && left->data[0] == '"') {
    for (at = 1; at < left->len && left->data[at] != '"'; at++) {
      at += left->data[at] == '\\' && at + 1 < left->len && left->data[at + 1] == '"';
    }
    *value = (struct sip_slice){ left->data + 1, at - 1 };
    if (at >= left->len) {
      return -1;
    }
    at++;
  } else {
    while (at < left->len && left->data[at] != ';') {
      at++;
    }
    *value = trim(left->data, at);
  }
  *left = (struct sip_slice){ left->data + at, left->len - at };
  return 1;
}

/* The first word of a field, and its parameters. */
static struct sip_slice first_word(struct sip_slice *left)
{
  const char *semicolon = memchr(left->data, ';', left->len);
  size_t len = semicolon == NULL ? left->len : (size_t)(semicolon - left->data);
  struct sip_slice word = trim(left->data, len);

  *left = (struct sip_slice){ left->data + len, left->len - len };
  return word;
}

static bool is_boundary(const struct sip_slice *text)
{
  for (size_t i = 0; i < text->len; i++) {
    unsigned char c = (unsigned char)text->data[i];

    if (c <= ' ' || c >= 127 || c == '"' || c == '\\') {
      return false;
    }
  }
  return text->len > 0 && text->len <= BOUNDARY_MAX;
}

static int find_boundary(const struct sip_slice *content_type, struct sip_slice *out)
{
  struct sip_slice left = *content_type, name, value, word;
  bool found = false;
  int rc;

  if (left.len == 0) {
    return SIP_EDATA;
  }
  word = first_word(&left);
  if (!sip_header_is(&word, "multipart/form-data")) {
    return SIP_EDATA;
  }
  while ((rc = next_parameter(&left, &name, &value)) == 1) {
    if (sip_header_is(&name, "boundary")) {
      if (found || !is_boundary(&value)) {
        return SIP_EDATA;
      }
      found = true;
      *out = value;
    }
  }
  return rc == 0 && found ? 0 : SIP_EDATA;
}

int sip_multipart_init(struct sip_multipart *reader, const struct sip_slice *content_type,
                       const struct sip_slice *body, struct sip_err *err)
{
  struct sip_slice boundary = { NULL, 0 };
  size_t len;

  memset(reader, 0, sizeof *reader);
  if (find_boundary(content_type, &boundary) < 0) {
    return sip_err_set(err, SIP_EDATA,
                       "multipart: the content type is not multipart/form-data with a boundary");
  }
  memcpy(reader->delimiter, "\r\n--", 4);
  memcpy(reader->delimiter + 4, boundary.data, boundary.len);
  reader->delimiter_len = len = 4 + boundary.len;
  reader->left = *body;
  if (body->len >= len && memcmp(body->data, reader->delimiter, len) == 0) {
    reader->left.data += len; /* an empty line before the first one */
    reader->left.len -= len;
  } else if (body->len >= len - 2 && memcmp(body->data, reader->delimiter + 2, len - 2) == 0) {
    reader->left.data += len - 2;
    reader->left.len -= len - 2;
  } else {
    return sip_err_set(err, SIP_EDATA, "multipart: the body does not begin with its boundary");
  }
  return 0;
}

static int refuse(struct sip_err *err, const char *why)
{
  return sip_err_set(err, SIP_EDATA, "multipart: %s", why);
}

/* Content-Disposition: form-data; name="…"; filename="…" */
static int read_disposition(const struct sip_slice *value, struct sip_part *part)
{
  struct sip_slice left = *value, name, text, word;
  int rc;

  if (left.len == 0 || part->name.data != NULL) {
    return SIP_EDATA;
  }
  word = first_word(&left);
  if (!sip_header_is(&word, "form-data")) {
    return SIP_EDATA;
  }
  while ((rc = next_parameter(&left, &name, &text)) == 1) {
    struct sip_slice *to = sip_header_is(&name, "name")       ? &part->name
                           : sip_header_is(&name, "filename") ? &part->filename
                                                              : NULL;

    if (to != NULL && to->data != NULL) {
      return SIP_EDATA;
    }
    if (to != NULL) {
      *to = text;
    }
  }
  return rc == 0 && part->name.data != NULL ? 0 : SIP_EDATA;
}

static int read_field(const char *line, size_t len, struct sip_part *part)
{
  const char *colon = memchr(line, ':', len);
  struct sip_slice name, value;

  if (colon == NULL) {
    return SIP_EDATA;
  }
  name = (struct sip_slice){ line, (size_t)(colon - line) };
  value = trim(colon + 1, len - name.len - 1);
  if (!sip_header_is_name(&name) || !sip_header_is_value(&value)) {
    return SIP_EDATA;
  }
  if (sip_header_is(&name, "content-disposition")) {
    return read_disposition(&value, part);
  }
  if (sip_header_is(&name,
                    "content-transfer-encoding")) { /* RFC 7578 section 4.7: nobody sends it */
    return sip_header_is(&value, "binary") || sip_header_is(&value, "8bit") ||
               sip_header_is(&value, "7bit")
             ? 0
             : SIP_EDATA;
  }
  if (sip_header_is(&name, "content-type")) {
    part->type = value;
  }
  return 0;
}

/* The fields up to the empty line; `left` begins with the line end of the boundary. */
static int read_fields(struct sip_slice *left, struct sip_part *part)
{
  for (int fields = 0; fields <= FIELDS_MAX; fields++) {
    const char *line, *end;
    size_t len;

    line = left->data + 2;
    end = left->len < 4 ? NULL : memmem(line, left->len - 2, "\r\n", 2);
    len = end == NULL ? HEAD_MAX + 1 : (size_t)(end - line);
    if (len > HEAD_MAX) {
      return SIP_EDATA;
    }
    left->data += 2 + len;
    left->len -= 2 + len;
    if (len == 0) {
      return part->name.data != NULL ? 0 : SIP_EDATA;
    }
    if (read_field(line, len, part) < 0) {
      return SIP_EDATA;
    }
  }
  return SIP_EDATA; /* too many */
}

int sip_multipart_next(struct sip_multipart *reader, struct sip_part *out, struct sip_err *err)
{
  struct sip_slice *left = &reader->left;
  struct sip_part part = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
  const char *end;

  if (reader->ended) {
    return 0;
  }
  if (left->len >= 2 && memcmp(left->data, "--", 2) == 0) {
    reader->ended = 1; /* what follows says nothing (RFC 2046 section 5.1.1) */
    return 0;
  }
  while (left->len > 0 && is_blank(*left->data)) { /* padding */
    left->data++;
    left->len--;
  }
  if (left->len < 2 || memcmp(left->data, "\r\n", 2) != 0) {
    return refuse(err, "a boundary is not at the end of its line, or the last one is missing");
  }
  if (read_fields(left, &part) < 0) {
    return refuse(err, "the fields of a part are not well-formed, or it has no name");
  }
  part.body.data = left->data + 2; /* behind the end of the empty line */
  end = memmem(left->data, left->len, reader->delimiter, reader->delimiter_len);
  if (end == NULL || end < part.body.data) {
    return refuse(err, "it ends in the middle of a part");
  }
  part.body.len = (size_t)(end - part.body.data);
  left->len -= (size_t)(end - left->data) + reader->delimiter_len;
  left->data = end + reader->delimiter_len;
  *out = part;
  return 1;
}
