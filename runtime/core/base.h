#ifndef SIP_CORE_BASE_H
#define SIP_CORE_BASE_H
/* base.h - the few words that every layer shares. */
#include <stddef.h>
#include <stdint.h>

/** The struct of type `type` whose member `member` is at `pointer`. */
#define SIP_CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/** Borrowed bytes; `data` may be NULL, which is not the same as empty (a null key, a tombstone). */
struct sip_slice {
  const char *data;
  size_t len;
};

#define SIP_FOREVER UINT64_MAX /* no deadline */

#endif
