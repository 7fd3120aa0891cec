#ifndef SIP_FLOW_HOLDS_H
#define SIP_FLOW_HOLDS_H
/* holds.h - keys of a partition that are held back: an event of theirs became a dead letter, and
 * those that follow it go there too, until it is replayed or for a time. Any thread, one owner. */
#include "core/base.h"

#include <stdbool.h>

enum { SIP_HOLDS_MAX = 64 }; /* they travel in the metadata of commits, 20 bytes each */

struct sip_hold {
  uint64_t key;     /* its hash */
  int64_t after;    /* the offset of the event that became a dead letter */
  int64_t until_ms; /* on the owner's clock, never negative */
};

/* All zero: none. */
struct sip_holds {
  struct sip_hold held[SIP_HOLDS_MAX]; /* the oldest first */
  size_t count;
};

uint64_t sip_hold_key(const struct sip_slice *key);

/** Holds a key back, unless it is already. When there are too many the oldest one goes.
 *  @return whether one had to go */
bool sip_holds_add(struct sip_holds *holds, const struct sip_hold *hold);

/** The hold of that key, if there is one at that time. */
const struct sip_hold *sip_holds_find(struct sip_holds *holds, uint64_t key, int64_t now_ms);

/** The key goes on. */
void sip_holds_remove(struct sip_holds *holds, uint64_t key);

#endif
