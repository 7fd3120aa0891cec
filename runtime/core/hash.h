#ifndef SIP_CORE_HASH_H
#define SIP_CORE_HASH_H
/* hash.h - FNV-1a, 64 bits: for tables, and for checksums against mistakes (not against malice).
 * Results are kept outside of the process: they never change. Any thread. */
#include <stddef.h>
#include <stdint.h>

#define SIP_HASH_INIT UINT64_C(14695981039346656037)

/** The hash of what `hash` stands for, followed by these bytes. */
static inline uint64_t sip_hash(uint64_t hash, const void *data, size_t len)
{
  const unsigned char *bytes = data;

  for (size_t i = 0; i < len; i++) {
    hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
  }
  return hash;
}

#endif
