#ifndef SIP_VM_LEAK_H
#define SIP_VM_LEAK_H
/* leak.h - tells a script that keeps more and more: what is live after collections grows window by
 * window. Loop thread.
 *
 * A window ends when as much was allocated as brings the collector around several times, whatever
 * the time that takes; its lowest point is what was live. After eight windows in a row that each
 * lie above the one before, the table that has grown most since the fourth is looked for. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_vm;

struct sip_leak {
  uint64_t window_began; /* bytes allocated until then */
  size_t low, last_low;  /* of this window and of the one before */
  size_t first_low;      /* before it began to rise */
  unsigned rises;        /* windows in a row */
  int counts_ref;        /* registry: how many entries tables had at the fourth */
  bool told;             /* once */
};

void sip_leak_init(struct sip_leak *leak);

/** Outside of a slice, often: looks at how much is live. */
void sip_leak_look(struct sip_vm *vm);

#endif
