#ifndef SIP_FLOW_TAP_H
#define SIP_FLOW_TAP_H
/* tap.h - the attempts of a process's flows, while somebody watches: the last ones, for whoever
 * reads them. Nobody waits for a reader; what a slow one misses is counted. Any thread. */
#include "flow/meter.h"

#include <stdatomic.h>
#include <stdint.h>

enum { SIP_TAP_KEPT = 2048, SIP_TAP_TEXT = 128 };

struct sip_tap_entry {
  int64_t at_ms; /* since 1970-01-01 UTC */
  uint64_t took_ns;
  int64_t offset;
  int32_t partition;
  enum sip_attempt how;
  char group[SIP_TAP_TEXT], type[SIP_TAP_TEXT], topic[SIP_TAP_TEXT]; /* cut */
  char id[SIP_TAP_TEXT], key[SIP_TAP_TEXT], why[2 * SIP_TAP_TEXT];   /* "": none */
};

struct sip_tap;

/** @return 0 or UV_ENOMEM */
int sip_tap_new(struct sip_tap **out);
void sip_tap_free(struct sip_tap *tap); /* NULL is fine */

/** Somebody begins to watch. @return 0 or UV_ENOMEM */
int sip_tap_open(struct sip_tap *tap, uint64_t *cursor);
void sip_tap_close(struct sip_tap *tap);

/** Whether somebody watches: only then put is called. NULL is fine. */
bool sip_tap_is_open(const struct sip_tap *tap);
void sip_tap_put(struct sip_tap *tap, const struct sip_tap_entry *entry);

/** Copies what came since the cursor, which moves. @param missed  how many were gone before
 *  @return how many */
size_t sip_tap_take(struct sip_tap *tap, uint64_t *cursor, struct sip_tap_entry *out, size_t max,
                    uint64_t *missed);

#endif
