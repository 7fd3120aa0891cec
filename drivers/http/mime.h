#ifndef SIP_HTTP_MIME_H
#define SIP_HTTP_MIME_H
/* mime.h - mail messages as bytes: RFC 5322 headers, RFC 2047 words, quoted-printable text and
 * HTML, attachments. Any thread.
 *
 * The same input gives the same bytes. */
#include "core/buf.h"
#include "core/err.h"
#include "http/header.h"
#include "http/mime_attachment.h"

#include <stdint.h>

/* "Ada Lovelace <ada@example.com>" or "ada@example.com", taken apart; both borrowed from the text.
 */
struct sip_address {
  struct sip_slice name;  /* empty when there is none; without its quotes */
  struct sip_slice email; /* local@domain, ASCII */
};

/** @return 0 or UV_EINVAL named INVALID_ADDRESS (nothing else is accepted: no lists, no groups, no
 * comments) */
int sip_address_parse(struct sip_address *out, const struct sip_slice *text, struct sip_err *err);

struct sip_message {
  struct sip_address from;
  const struct sip_address *to, *cc;
  size_t to_count, cc_count;
  struct sip_slice subject;    /* UTF-8 */
  struct sip_slice message_id; /* without angle brackets: left@right */
  int64_t date_ms;             /* since 1970-01-01 UTC */
  struct sip_slice text, html; /* UTF-8; NULL data: that part is absent; at least one is there */
  const struct sip_header
    *headers; /* further ones, values in UTF-8; not those above, not Content-* */
  size_t header_count;
  const struct sip_attachment *attachments;
  size_t attachment_count;
};

/** Appends the message to `out`, lines ending in CRLF. Text comes before HTML (RFC 2046
 * section 5.1.4); attachments with a content_id go with the HTML when there is one.
 *  @return 0; UV_EINVAL (a header or attachment that may not be, broken UTF-8, NUL); SIP_ETOOBIG
 * above 25 MiB; UV_ENOMEM */
int sip_message_render(struct sip_buf *out, const struct sip_message *message, struct sip_err *err);

#endif
