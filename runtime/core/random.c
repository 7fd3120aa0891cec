/* random.c - random bytes. Loop thread only. */
#include "core/random.h"

#include <string.h>
#include <uv.h>

void sip_random_seed(struct sip_random *random, uint64_t seed)
{
  *random = (struct sip_random){ .seeded = true, .state = seed };
}

/* SplitMix64 (Steele, Lea and Flood, 2014): every seed is as good as any other. */
static uint64_t random_next(struct sip_random *random)
{
  uint64_t z = random->state += 0x9e3779b97f4a7c15u;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int sip_random_bytes(struct sip_random *random, void *out, size_t len)
{
  char *at = out;

  if (!random->seeded) {
    return uv_random(NULL, NULL, out, len, 0, NULL); /* synchronous: getrandom(2) */
  }
  while (len > 0) {
    uint64_t bits = random_next(random);
    size_t some = len < sizeof bits ? len : sizeof bits;

    memcpy(at, &bits, some);
    at += some;
    len -= some;
  }
  return 0;
}
