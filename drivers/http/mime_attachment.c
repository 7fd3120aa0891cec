/* mime_attachment.c - files in mail messages. Any thread. */
#include "http/mime_attachment.h"

#include "core/base64.h"
#include "core/utf8.h"
#include "http/header.h"

#include <string.h>

enum {
  MAX_NAME = 255,  /* bytes; what file systems take */
  MAX_TYPE = 200,  /* fits on a line */
  LINE_BYTES = 57, /* 76 characters of base64 */
  MAX_PLAIN = 60,  /* a longer name goes in pieces */
  PIECE = 54       /* characters of a piece, within a line of 76 */
};

/* --- checks --- */

static bool is_alnum(unsigned char c)
{
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(const struct sip_slice *name)
{
  for (size_t i = 0, len; i < name->len; i += len) {
    len = sip_utf8_length(name->data + i, name->len - i);
    if (len == 0 || name->data[i] == '/' || name->data[i] == '\\') {
      return false;
    }
  }
  return name->len > 0 && name->len <= MAX_NAME && sip_header_is_value(name);
}

/* type/subtype, and what follows a semicolon in printable ASCII. */
static bool is_type(const struct sip_slice *type)
{
  const char *slash = type->len == 0 ? NULL : memchr(type->data, '/', type->len);
  const char *end = type->len == 0 ? NULL : memchr(type->data, ';', type->len);
  size_t len = end == NULL ? type->len : (size_t)(end - type->data);
  struct sip_slice major, minor;

  for (size_t i = 0; i < type->len; i++) {
    if (type->data[i] < ' ' || type->data[i] > '~') {
      return false;
    }
  }
  if (slash == NULL || slash >= type->data + len || type->len > MAX_TYPE) {
    return false;
  }
  major = (struct sip_slice){ type->data, (size_t)(slash - type->data) };
  minor = (struct sip_slice){ slash + 1, len - major.len - 1 };
  return sip_header_is_name(&major) && sip_header_is_name(&minor);
}

/* These have structure of their own, which base64 would hide (RFC 2045 section 6.4). */
static bool is_composite(const struct sip_slice *type)
{
  struct sip_slice ten = { type->data, type->len < 10 ? type->len : 10 };
  struct sip_slice eight = { type->data, type->len < 8 ? type->len : 8 };

  return sip_header_is(&ten, "multipart/") || sip_header_is(&eight, "message/");
}

static bool is_content_id(const struct sip_slice *id)
{
  for (size_t i = 0; i < id->len; i++) {
    if (!is_alnum((unsigned char)id->data[i]) && strchr("@._-", id->data[i]) == NULL) {
      return false;
    }
  }
  return id->len <= MAX_TYPE && (id->len == 0 || memchr(id->data, '\0', id->len) == NULL);
}

int sip_attachment_check(const struct sip_attachment *attachment, struct sip_err *err)
{
  if (!is_name(&attachment->name)) {
    return sip_err_set(err, UV_EINVAL,
                       "mail: an attachment's name is UTF-8 of 1 to %d bytes, without folders and "
                       "control characters",
                       MAX_NAME);
  }
  if (!is_type(&attachment->type)) {
    return sip_err_set(err, UV_EINVAL, "mail: an attachment's type is of the form application/pdf");
  }
  if (is_composite(&attachment->type)) {
    return sip_err_set(err, UV_EINVAL,
                       "mail: an attachment's type is not multipart/… or message/… (attach a mail "
                       "as application/octet-stream)");
  }
  if (!is_content_id(&attachment->content_id)) {
    return sip_err_set(err, UV_EINVAL,
                       "mail: an attachment's content_id has letters, digits and @ . _ - only");
  }
  return 0;
}

/* --- names --- */

static bool is_plain_name(const struct sip_slice *name)
{
  for (size_t i = 0; i < name->len; i++) {
    if (name->data[i] < ' ' || name->data[i] > '~' || name->data[i] == '"') {
      return false;
    }
  }
  return name->len <= MAX_PLAIN;
}

/* One character as RFC 2231 has it. @return how many characters it became */
static size_t encode_byte(char *out, unsigned char c)
{
  static const char hex[] = "0123456789ABCDEF";

  if (is_alnum(c) || (c != '\0' && strchr("!#$&+-.^_`|~", c) != NULL)) {
    out[0] = (char)c;
    return 1;
  }
  out[0] = '%';
  out[1] = hex[c >> 4];
  out[2] = hex[c & 15];
  return 3;
}

/* filename*0*=UTF-8''…; filename*1*=… */
static int add_encoded_name(struct sip_buf *out, const struct sip_slice *name)
{
  size_t at = 0;
  int rc = 0;

  for (int piece = 0; at < name->len && rc == 0; piece++) {
    char text[PIECE + 4];
    size_t used = 0;

    while (at < name->len && used + 3 <= PIECE) {
      used += encode_byte(text + used, (unsigned char)name->data[at++]);
    }
    rc = sip_buf_addf(out, ";\r\n filename*%d*=%s%.*s", piece, piece == 0 ? "UTF-8''" : "",
                      (int)used, text);
  }
  return rc;
}

static int add_name(struct sip_buf *out, const struct sip_slice *name)
{
  return is_plain_name(name)
           ? sip_buf_addf(out, ";\r\n filename=\"%.*s\"", (int)name->len, name->data)
           : add_encoded_name(out, name);
}

/* --- the part --- */

static int add_body(struct sip_buf *out, const struct sip_slice *data)
{
  size_t lines = (data->len + LINE_BYTES - 1) / LINE_BYTES;
  int rc = sip_buf_reserve(out, SIP_BASE64_LEN(data->len) + 2 * lines);

  for (size_t at = 0; at < data->len && rc == 0; at += LINE_BYTES) {
    size_t len = data->len - at < LINE_BYTES ? data->len - at : LINE_BYTES;

    sip_base64_encode(out->data + out->len, data->data + at, len);
    out->len += SIP_BASE64_LEN(len);
    rc = sip_buf_adds(out, "\r\n");
  }
  return rc;
}

int sip_attachment_add(struct sip_buf *out, const struct sip_attachment *attachment, bool is_inline)
{
  int rc = sip_buf_addf(
    out, "Content-Type: %.*s\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: %s",
    (int)attachment->type.len, attachment->type.data, is_inline ? "inline" : "attachment");

  if (rc == 0) {
    rc = add_name(out, &attachment->name);
  }
  if (rc == 0 && is_inline) {
    rc = sip_buf_addf(out, "\r\nContent-ID: <%.*s>", (int)attachment->content_id.len,
                      attachment->content_id.data);
  }
  if (rc == 0) {
    rc = sip_buf_adds(out, "\r\n\r\n");
  }
  return rc == 0 ? add_body(out, &attachment->data) : rc;
}
