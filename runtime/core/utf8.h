#ifndef SIP_CORE_UTF8_H
#define SIP_CORE_UTF8_H
/* utf8.h - where a character of UTF-8 ends. Any thread. */
#include <stddef.h>

/** Bytes of the well-formed sequence at `text` (RFC 3629, Unicode table 3-7), or 0 when there is
 * none. `left` is at least 1. */
size_t sip_utf8_length(const char *text, size_t left);

#endif
