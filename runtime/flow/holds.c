/* holds.c - keys that are held back, in a short array. */
#include "flow/holds.h"

#include "core/hash.h"

#include <string.h>

uint64_t sip_hold_key(const struct sip_slice *key)
{
  return sip_hash(SIP_HASH_INIT, key->data, key->len);
}

static void holds_drop(struct sip_holds *holds, size_t at)
{
  holds->count--;
  memmove(&holds->held[at], &holds->held[at + 1], (holds->count - at) * sizeof holds->held[0]);
}

const struct sip_hold *sip_holds_find(struct sip_holds *holds, uint64_t key, int64_t now_ms)
{
  for (size_t i = holds->count; i > 0; i--) {
    if (holds->held[i - 1].until_ms <= now_ms) {
      holds_drop(holds, i - 1);
    } else if (holds->held[i - 1].key == key) {
      return &holds->held[i - 1];
    }
  }
  return NULL;
}

void sip_holds_remove(struct sip_holds *holds, uint64_t key)
{
  for (size_t i = holds->count; i > 0; i--) {
    if (holds->held[i - 1].key == key) {
      holds_drop(holds, i - 1);
    }
  }
}

bool sip_holds_add(struct sip_holds *holds, const struct sip_hold *hold)
{
  bool full = holds->count == SIP_HOLDS_MAX;

  for (size_t i = 0; i < holds->count; i++) {
    if (holds->held[i].key == hold->key) {
      return false;
    }
  }
  if (full) {
    holds_drop(holds, 0);
  }
  holds->held[holds->count++] = *hold;
  return full;
}
