#ifndef SIP_CORE_BASE64_H
#define SIP_CORE_BASE64_H
/* base64.h - bytes as text and back (RFC 4648 section 4, with padding). Any thread. */
#include <stddef.h>

/** Length of the text of that many bytes, without a NUL. */
#define SIP_BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/** Writes SIP_BASE64_LEN(len) characters, and no NUL. */
void sip_base64_encode(char *out, const void *data, size_t len);

/** Strict: no other characters, padding where it belongs, no stray bits. `out` has room for
 *  len / 4 * 3 bytes. @return how many bytes there are, or SIP_EDATA */
long sip_base64_decode(unsigned char *out, const char *text, size_t len);

#endif
