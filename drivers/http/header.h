#ifndef SIP_HTTP_HEADER_H
#define SIP_HTTP_HEADER_H
/* header.h - header fields of HTTP messages, and the checks that keep them from splitting one. Any
 * thread. */
#include "core/base.h"
#include "core/buf.h"
#include "core/err.h"

#include <stdbool.h>

struct sip_header {
  struct sip_slice name, value; /* borrowed */
};

/** A token of RFC 9110 section 5.6.2: at least one character, no blanks, no separators. */
bool sip_header_is_name(const struct sip_slice *name);

/** No CR, LF, NUL or other control byte except the tab. */
bool sip_header_is_value(const struct sip_slice *value);

/** Checks both. @return 0 or UV_EINVAL with `err` naming the header, never its value */
int sip_header_check(const struct sip_header *header, struct sip_err *err);

/** ASCII letters compared without case; `text` is NUL-terminated. */
bool sip_header_is(const struct sip_slice *name, const char *text);

/* --- a list of fields that owns its text, names in lower case --- */

struct sip_header_list {
  struct sip_buf text; /* name, value, name, value …: each a 32-bit length and the bytes */
  size_t count;
};

#define SIP_HEADER_LIST_INIT                                                                       \
  {                                                                                                \
    SIP_BUF_INIT, 0                                                                                \
  }

/** @return 0 or UV_ENOMEM */
int sip_header_list_add(struct sip_header_list *list, const struct sip_slice *name,
                        const struct sip_slice *value);
void sip_header_list_clear(struct sip_header_list *list);
void sip_header_list_deinit(struct sip_header_list *list);

/** Walks: start with `*at` 0; false at the end. What is given is borrowed until the list changes.
 */
bool sip_header_list_next(const struct sip_header_list *list, size_t *at, struct sip_header *out);

/** The first field of that name (lower case), or false. */
bool sip_header_list_find(const struct sip_header_list *list, const char *name,
                          struct sip_slice *out);

#endif
