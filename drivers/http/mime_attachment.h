#ifndef SIP_HTTP_MIME_ATTACHMENT_H
#define SIP_HTTP_MIME_ATTACHMENT_H
/* mime_attachment.h - files in mail messages: base64 (RFC 2045) with names of any language (RFC
 * 2231). Any thread. */
#include "core/buf.h"
#include "core/err.h"

#include <stdbool.h>

/* All borrowed. */
struct sip_attachment {
  struct sip_slice name;       /* UTF-8, without folders */
  struct sip_slice type;       /* "application/pdf", also with parameters */
  struct sip_slice data;       /* any bytes */
  struct sip_slice content_id; /* empty, or what "cid:…" in the HTML says: then shown there */
};

/** @return 0 or UV_EINVAL, with `err` saying which field and why */
int sip_attachment_check(const struct sip_attachment *attachment, struct sip_err *err);

/** Appends headers and body of the part, with lines that end in CRLF; `is_inline`: shown within the
 * HTML. @return 0 or UV_ENOMEM */
int sip_attachment_add(struct sip_buf *out, const struct sip_attachment *attachment,
                       bool is_inline);

#endif
