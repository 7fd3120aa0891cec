/* mime.c - mail messages as bytes. Any thread.
 *
 * Quoted-printable writes "=" always as "=3D", and base64 has no "_", so a boundary with "=_" in it
 * can never occur in a part (RFC 2045 section 6.7), and need not be random. */
#include "http/mime.h"

#include "core/base64.h"
#include "core/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  MAX_MESSAGE_BYTES = 25 * 1024 * 1024, /* what common servers take */
  MAX_LINE = 76,                        /* RFC 2045: encoded lines */
  MAX_WORD = 900,                       /* an unbroken word beyond it would break RFC 5322's 998 */
  ENCODED_BYTES = 42 /* of text in one encoded word: 56 digits, 68 characters in all */
};

/* --- text --- */

static bool is_utf8(const struct sip_slice *text)
{
  for (size_t i = 0, len; i < text->len; i += len) {
    len = sip_utf8_length(text->data + i, text->len - i);
    if (len == 0 || text->data[i] == '\0') {
      return false;
    }
  }
  return true;
}

/* --- addresses --- */

static struct sip_slice trimmed(const char *data, size_t len)
{
  while (len > 0 && (*data == ' ' || *data == '\t')) {
    data++;
    len--;
  }
  while (len > 0 && (data[len - 1] == ' ' || data[len - 1] == '\t')) {
    len--;
  }
  return (struct sip_slice){ data, len };
}

/* Dot-atoms of RFC 5322 section 3.2.3; quoted local parts exist in the standard only. */
static bool is_dot_atom(const char *text, size_t len, const char *extra)
{
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

    if (c == '.' ? (i == 0 || i + 1 == len || text[i - 1] == '.')
                 : !(alnum || (c != 0 && strchr(extra, c) != NULL))) {
      return false;
    }
  }
  return len > 0;
}

static bool is_email(const struct sip_slice *email)
{
  const char *at = email->len == 0 ? NULL : memchr(email->data, '@', email->len);
  size_t local = at == NULL ? 0 : (size_t)(at - email->data);

  return at != NULL && email->len <= 254 && local <= 64 &&
         is_dot_atom(email->data, local, "!#$%&'*+-/=?^_`{|}~") &&
         is_dot_atom(at + 1, email->len - local - 1, "-");
}

int sip_address_parse(struct sip_address *out, const struct sip_slice *text, struct sip_err *err)
{
  struct sip_slice all = trimmed(text->data, text->len), name = { "", 0 }, email = all;
  const char *open = all.len == 0 ? NULL : memrchr(all.data, '<', all.len);

  if (open != NULL && all.data[all.len - 1] == '>') {
    name = trimmed(all.data, (size_t)(open - all.data));
    email = (struct sip_slice){ open + 1, all.len - (size_t)(open - all.data) - 2 };
    if (name.len >= 2 && name.data[0] == '"' && name.data[name.len - 1] == '"') {
      name = (struct sip_slice){ name.data + 1, name.len - 2 };
    }
  }
  if (!is_email(&email) || !is_utf8(&name) || !sip_header_is_value(&name) || name.len > 500) {
    return sip_err_named(
      err, UV_EINVAL, "INVALID_ADDRESS",
      "not a mail address that can be used (expected name@domain or Name <name@domain>, in ASCII "
      "after the name)");
  }
  out->name = name;
  out->email = email;
  return 0;
}

/* --- headers --- */

static int add_base64(struct sip_buf *out, const char *data, size_t len)
{
  int rc = sip_buf_reserve(out, SIP_BASE64_LEN(len));

  if (rc == 0) {
    sip_base64_encode(out->data + out->len, data, len);
    out->len += SIP_BASE64_LEN(len);
    out->data[out->len] = '\0'; /* the room that was made includes it */
  }
  return rc;
}

/* Encoded words of RFC 2047, cut on character borders, each on a line of its own. */
static int add_encoded(struct sip_buf *out, const struct sip_slice *text)
{
  size_t at = 0;
  int rc = 0;

  while (at < text->len && rc == 0) {
    size_t end = at, len;

    while (end < text->len && (len = sip_utf8_length(text->data + end, text->len - end)) > 0 &&
           end + len - at <= ENCODED_BYTES) {
      end += len;
    }
    rc = sip_buf_adds(out, at == 0 ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
    if (rc == 0) {
      rc = add_base64(out, text->data + at, end - at);
    }
    if (rc == 0) {
      rc = sip_buf_adds(out, "?=");
    }
    at = end;
  }
  return rc;
}

/* Printable ASCII with breakable lines, and nothing that looks like an encoded word. */
static bool is_plain(const struct sip_slice *text)
{
  size_t word = 0;

  for (size_t i = 0; i < text->len; i++) {
    unsigned char c = (unsigned char)text->data[i];

    word = c == ' ' ? 0 : word + 1;
    if (c < ' ' || c >= 127 || word > MAX_WORD ||
        (c == '=' && i + 1 < text->len && text->data[i + 1] == '?')) {
      return false;
    }
  }
  return text->len == 0 || (text->data[0] != ' ' && text->data[text->len - 1] != ' ');
}

/* Appends plain words, breaking before a blank once a line is full. `used` is what stands on the
 * line. */
static int add_folded(struct sip_buf *out, const struct sip_slice *text, size_t used)
{
  size_t at = 0;
  int rc = 0;

  while (at < text->len && rc == 0) {
    size_t end = at + 1;

    while (end < text->len && text->data[end] != ' ') {
      end++;
    }
    if (at > 0 && used + (end - at) > MAX_LINE && text->data[at] == ' ' && end - at > 1) {
      rc = sip_buf_adds(out, "\r\n");
      used = 0;
    }
    if (rc == 0) {
      rc = sip_buf_add(out, text->data + at, end - at);
    }
    used += end - at;
    at = end;
  }
  return rc;
}

static int add_text_header(struct sip_buf *out, const struct sip_header *header)
{
  int rc = sip_buf_addf(out, "%.*s: ", (int)header->name.len, header->name.data);

  if (rc == 0) {
    rc = is_plain(&header->value) ? add_folded(out, &header->value, header->name.len + 2)
                                  : add_encoded(out, &header->value);
  }
  return rc == 0 ? sip_buf_adds(out, "\r\n") : rc;
}

static int add_quoted(struct sip_buf *out, const struct sip_slice *name)
{
  int rc = sip_buf_adds(out, "\"");

  for (size_t i = 0; i < name->len && rc == 0; i++) {
    if (name->data[i] == '"' || name->data[i] == '\\') {
      rc = sip_buf_adds(out, "\\");
    }
    if (rc == 0) {
      rc = sip_buf_add(out, name->data + i, 1);
    }
  }
  return rc == 0 ? sip_buf_adds(out, "\"") : rc;
}

static int add_address(struct sip_buf *out, const struct sip_address *address)
{
  int rc = 0;

  if (address->name.len > 0) {
    rc = is_plain(&address->name) && address->name.len < 200 ? add_quoted(out, &address->name)
                                                             : add_encoded(out, &address->name);
    if (rc == 0) {
      rc = sip_buf_adds(out, address->name.len > 30 ? "\r\n " : " ");
    }
  }
  return rc == 0 ? sip_buf_addf(out, "<%.*s>", (int)address->email.len, address->email.data) : rc;
}

static int add_addresses(struct sip_buf *out, const char *name, const struct sip_address *addresses,
                         size_t count)
{
  int rc = count == 0 ? 0 : sip_buf_addf(out, "%s: ", name);

  for (size_t i = 0; i < count && rc == 0; i++) {
    rc = add_address(out, &addresses[i]);
    if (rc == 0) {
      rc = sip_buf_adds(out, i + 1 < count ? ",\r\n " : "\r\n");
    }
  }
  return rc;
}

static int add_date(struct sip_buf *out, int64_t date_ms)
{
  static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
  static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
  time_t seconds = (time_t)(date_ms / 1000);
  struct tm tm;

  if (gmtime_r(&seconds, &tm) == NULL) {
    return UV_EINVAL;
  }
  return sip_buf_addf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
                      tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                      tm.tm_sec);
}

/* --- parts --- */

static bool is_from_line(const struct sip_slice *text, size_t at)
{
  return text->len - at >= 5 && memcmp(text->data + at, "From ", 5) == 0;
}

/* Quoted-printable (RFC 2045 section 6.7) with every kind of line end made CRLF. */
static int add_quoted_printable(struct sip_buf *out, const struct sip_slice *text)
{
  size_t column = 0;
  int rc = 0;

  for (size_t i = 0; i < text->len && rc == 0; i++) {
    unsigned char c = (unsigned char)text->data[i];
    unsigned char next = i + 1 < text->len ? (unsigned char)text->data[i + 1] : '\n';
    bool at_end = next == '\n' || next == '\r';

    if (c == '\r' || c == '\n') {
      i += c == '\r' && next == '\n' && i + 1 < text->len;
      rc = sip_buf_adds(out, "\r\n");
      column = 0;
      continue;
    }
    if (column >= MAX_LINE - 3) {
      rc = sip_buf_adds(out, "=\r\n");
      column = 0;
    }
    if (rc < 0) {
      break;
    }
    if (c == '=' || c < ' ' || c >= 127 || (c == ' ' && at_end) || (c == '.' && column == 0) ||
        (column == 0 && is_from_line(text, i))) { /* some relays change these at a line's start */
      rc = sip_buf_addf(out, "=%02X", c);
      column += 3;
    } else {
      rc = sip_buf_add(out, &text->data[i], 1);
      column++;
    }
  }
  return rc == 0 && column > 0 ? sip_buf_adds(out, "\r\n") : rc;
}

static int add_part(struct sip_buf *out, const char *type, const struct sip_slice *text)
{
  int rc = sip_buf_addf(
    out, "Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
    type);

  return rc == 0 ? add_quoted_printable(out, text) : rc;
}

/* Parts of one kind ("mixed") are each begun, and the last one is ended. */
static int begin_parts(struct sip_buf *out, const char *kind)
{
  return sip_buf_addf(out, "Content-Type: multipart/%s; boundary=\"=_sipeat_%s\"\r\n", kind, kind);
}

static int begin_part(struct sip_buf *out, const char *kind)
{
  return sip_buf_addf(out, "\r\n--=_sipeat_%s\r\n", kind);
}

static int end_parts(struct sip_buf *out, const char *kind)
{
  return sip_buf_addf(out, "\r\n--=_sipeat_%s--\r\n", kind);
}

/* Text, HTML or both. */
static int add_words(struct sip_buf *out, const struct sip_message *message)
{
  static const char kind[] = "alternative";
  int rc;

  if (message->html.data == NULL) {
    return add_part(out, "text/plain", &message->text);
  }
  if (message->text.data == NULL) {
    return add_part(out, "text/html", &message->html);
  }
  rc = begin_parts(out, kind);
  if (rc == 0) {
    rc = begin_part(out, kind);
  }
  if (rc == 0) {
    rc = add_part(out, "text/plain", &message->text);
  }
  if (rc == 0) {
    rc = begin_part(out, kind);
  }
  if (rc == 0) {
    rc = add_part(out, "text/html", &message->html);
  }
  return rc == 0 ? end_parts(out, kind) : rc;
}

/* Does it belong to the HTML, rather than beside it? */
static bool is_inline(const struct sip_message *message, size_t i)
{
  return message->html.data != NULL && message->attachments[i].content_id.len > 0;
}

/* What add_inner writes, and after it the attachments that are inline, or those that are not. */
static int add_with(struct sip_buf *out, const struct sip_message *message, bool inlines,
                    const char *kind,
                    int (*add_inner)(struct sip_buf *out, const struct sip_message *message))
{
  size_t count = 0;
  int rc;

  for (size_t i = 0; i < message->attachment_count; i++) {
    count += is_inline(message, i) == inlines;
  }
  if (count == 0) {
    return add_inner(out, message);
  }
  rc = begin_parts(out, kind);
  if (rc == 0) {
    rc = begin_part(out, kind);
  }
  if (rc == 0) {
    rc = add_inner(out, message);
  }
  for (size_t i = 0; i < message->attachment_count && rc == 0; i++) {
    if (is_inline(message, i) == inlines) {
      rc = begin_part(out, kind);
      if (rc == 0) {
        rc = sip_attachment_add(out, &message->attachments[i], inlines);
      }
    }
  }
  return rc == 0 ? end_parts(out, kind) : rc;
}

static int add_related(struct sip_buf *out, const struct sip_message *message)
{
  return add_with(out, message, true, "related", add_words);
}

static int add_body(struct sip_buf *out, const struct sip_message *message)
{
  return add_with(out, message, false, "mixed", add_related);
}

/* --- the message --- */

static int check_text(const struct sip_slice *text, const char *what, bool one_line,
                      struct sip_err *err)
{
  if (!is_utf8(text)) {
    return sip_err_set(err, UV_EINVAL, "mail: %s is not UTF-8, or has a NUL in it", what);
  }
  if (one_line && !sip_header_is_value(text)) {
    return sip_err_set(err, UV_EINVAL, "mail: %s has a line break or control character in it",
                       what);
  }
  return 0;
}

static int check_header(const struct sip_header *header, struct sip_err *err)
{
  static const char *const ours[] = { "from", "to",         "cc",           "bcc",   "subject",
                                      "date", "message-id", "mime-version", "sender" };
  struct sip_slice start = { header->name.data, header->name.len < 8 ? header->name.len : 8 };
  int rc = sip_header_check(header, err);

  if (rc < 0) {
    return rc;
  }
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
    if (sip_header_is(&header->name, ours[i])) {
      return sip_err_set(err, UV_EINVAL, "header %s: set it by its own option", ours[i]);
    }
  }
  if (sip_header_is(&start, "content-")) {
    return sip_err_set(err, UV_EINVAL, "header %.*s: it follows from the parts of the mail",
                       (int)header->name.len, header->name.data);
  }
  return is_utf8(&header->value)
           ? 0
           : sip_err_set(err, UV_EINVAL, "header %.*s: its value is not UTF-8",
                         (int)header->name.len, header->name.data);
}

static int check_message(const struct sip_message *message, struct sip_err *err)
{
  struct sip_slice id = message->message_id;
  size_t bytes = message->text.len + message->html.len;
  int rc = check_text(&message->subject, "the subject", true, err);

  if (rc == 0) {
    rc = check_text(&message->text, "the text", false, err);
  }
  if (rc == 0) {
    rc = check_text(&message->html, "the html", false, err);
  }
  if (rc == 0 && (!is_email(&id) || id.len > 200)) {
    rc = sip_err_set(err, UV_EINVAL, "mail: the Message-ID is not of the form left@right");
  }
  if (rc == 0 && message->text.data == NULL && message->html.data == NULL) {
    rc = sip_err_set(err, UV_EINVAL, "mail: neither text nor html");
  }
  for (size_t i = 0; i < message->attachment_count && rc == 0; i++) {
    rc = sip_attachment_check(&message->attachments[i], err);
    bytes += message->attachments[i].data.len;
  }
  if (rc == 0 && bytes > MAX_MESSAGE_BYTES) {
    rc = sip_err_set(err, SIP_ETOOBIG, "mail: larger than %d bytes", MAX_MESSAGE_BYTES);
  }
  for (size_t i = 0; i < message->header_count && rc == 0; i++) {
    rc = check_header(&message->headers[i], err);
  }
  return rc;
}

static int add_head(struct sip_buf *out, const struct sip_message *message)
{
  struct sip_header subject = { { "Subject", 7 }, message->subject };
  int rc = add_date(out, message->date_ms);

  if (rc == 0) {
    rc = add_addresses(out, "From", &message->from, 1);
  }
  if (rc == 0) {
    rc = add_addresses(out, "To", message->to, message->to_count);
  }
  if (rc == 0) {
    rc = add_addresses(out, "Cc", message->cc, message->cc_count);
  }
  if (rc == 0) {
    rc = add_text_header(out, &subject);
  }
  if (rc == 0) {
    rc = sip_buf_addf(out, "Message-ID: <%.*s>\r\nMIME-Version: 1.0\r\n",
                      (int)message->message_id.len, message->message_id.data);
  }
  for (size_t i = 0; i < message->header_count && rc == 0; i++) {
    rc = add_text_header(out, &message->headers[i]);
  }
  return rc;
}

int sip_message_render(struct sip_buf *out, const struct sip_message *message, struct sip_err *err)
{
  size_t before = out->len;
  int rc = check_message(message, err);

  if (rc < 0) {
    return rc;
  }
  rc = add_head(out, message);
  if (rc == 0) {
    rc = add_body(out, message);
  }
  if (rc < 0) {
    out->len = before;
    return sip_err_set(err, rc, "mail: the message could not be written");
  }
  if (out->len - before > MAX_MESSAGE_BYTES) {
    out->len = before;
    return sip_err_set(err, SIP_ETOOBIG, "mail: larger than %d bytes once encoded",
                       MAX_MESSAGE_BYTES);
  }
  return 0;
}
