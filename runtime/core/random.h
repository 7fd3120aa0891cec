#ifndef SIP_CORE_RANDOM_H
#define SIP_CORE_RANDOM_H
/* random.h - random bytes: the system's, or the same ones again for a seed (for tests: nothing that
 * is secret may come from those). Loop thread only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: the system's. */
struct sip_random {
  bool seeded;
  uint64_t state;
};

/** From now on what comes depends on the seed alone. */
void sip_random_seed(struct sip_random *random, uint64_t seed);

/** @return 0 or a libuv code */
int sip_random_bytes(struct sip_random *random, void *out, size_t len);

#endif
