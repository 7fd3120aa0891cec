#ifndef SIP_HTTP_MULTIPART_H
#define SIP_HTTP_MULTIPART_H
/* multipart.h - bodies of multipart/form-data (RFC 7578), read in place. Any thread.
 *
 * Nothing is copied: what a part holds is borrowed from the body. Strict: a body that two readers
 * could take apart differently is refused. */
#include "core/base.h"
#include "core/err.h"

struct sip_part {
  struct sip_slice name;     /* as sent, without its quotes */
  struct sip_slice filename; /* NULL data: it is no file */
  struct sip_slice type;     /* NULL data: none was given */
  struct sip_slice body;
};

struct sip_multipart {
  struct sip_slice left; /* what was not read yet, from the line end before the next boundary on */
  char delimiter[4 + 70 + 1]; /* CRLF, two dashes, the boundary */
  size_t delimiter_len;
  int ended;
};

/** Begins. @return 0, or SIP_EDATA when the content type is not multipart/form-data with a
 *  boundary, or the body does not begin with it */
int sip_multipart_init(struct sip_multipart *reader, const struct sip_slice *content_type,
                       const struct sip_slice *body, struct sip_err *err);

/** The next part. @return 1; 0 at the end; SIP_EDATA for what is not well-formed, or ends early */
int sip_multipart_next(struct sip_multipart *reader, struct sip_part *out, struct sip_err *err);

#endif
