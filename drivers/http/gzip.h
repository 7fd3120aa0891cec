#ifndef SIP_HTTP_GZIP_H
#define SIP_HTTP_GZIP_H
/* gzip.h - bodies as gzip (RFC 1952). Any thread. */
#include "core/base.h"

#include <stdbool.h>

/** Room that is enough for `len` bytes, compressed. */
size_t sip_gzip_bound(size_t len);

/** Writes `data`, compressed, to `out`, which has that room. `level` is 1 (quick) to 9 (small). The
 *  same input gives the same bytes. @return their number, or UV_ENOMEM */
long sip_gzip(char *out, size_t size, const struct sip_slice *data, int level);

/** Does an Accept-Encoding take gzip (RFC 9110 section 12.5.3)? An empty one does not. */
bool sip_gzip_accepted(const struct sip_slice *accept_encoding);

/** Is that content type worth it? Texts, JSON, XML, scripts, fonts and images that are text. */
bool sip_gzip_suits(const struct sip_slice *content_type);

#endif
