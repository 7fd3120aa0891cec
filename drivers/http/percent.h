#ifndef SIP_HTTP_PERCENT_H
#define SIP_HTTP_PERCENT_H
/* percent.h - percent-encoding of URLs (RFC 3986 section 2.1) and forms. Any thread. */
#include "core/base.h"

#include <stdbool.h>

/** Decodes into `out`, which has room for text->len bytes. `plus` makes blanks of "+", as in forms
 * and queries.
 *  @return the decoded length; -1 for a "%" without two digits after it, or a NUL */
long sip_percent_decode(char *out, const struct sip_slice *text, bool plus);

/** Encodes all but letters, digits and "-._~" into `out`, which has room for three times text->len.
 * @return the length */
size_t sip_percent_encode(char *out, const struct sip_slice *text);

#endif
