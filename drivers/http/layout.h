#ifndef SIP_HTTP_LAYOUT_H
#define SIP_HTTP_LAYOUT_H
/* layout.h - was the head of a request written as RFC 9112 wants it? Any thread.
 *
 * libmicrohttpd 0.9.75 takes bare CR and LF for line ends, unfolds lines, skips blanks, and ends
 * texts at a NUL: a proxy in front may read such a head as another one. It leaves the pieces where
 * they were in its buffer, with zeros for what was between them, so their places tell: each begins
 * where the one before it has ended, and two bytes of line end. Other versions are not looked at
 * (sip_layout_known). */
#include "core/base.h"

#include <stdbool.h>

struct sip_layout {
  const char *next; /* where the next piece must begin; borrowed from libmicrohttpd */
  bool sound;
};

/** Whether the library that runs leaves its pieces so. */
bool sip_layout_known(void);

/** The request line; `target_len` as it was before it was decoded in place. */
void sip_layout_begin(struct sip_layout *layout, const char *method, const char *target,
                      size_t target_len, const char *version);

/** The next field, in the order of their coming. */
void sip_layout_field(struct sip_layout *layout, const struct sip_slice *name,
                      const struct sip_slice *value);

/** After the last one. @return whether all was as it should be */
bool sip_layout_end(const struct sip_layout *layout);

#endif
