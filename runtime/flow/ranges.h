#ifndef SIP_FLOW_RANGES_H
#define SIP_FLOW_RANGES_H
/* ranges.h - a set of offsets as runs, and how it stands in the metadata of a commit.
 *
 * A commit says how far everything is finished; what is finished beyond that goes into its
 * metadata, so that the next owner of the partition does not repeat it, and so do keys that are
 * held back. Any thread, one owner. */
#include "flow/holds.h"

enum {
  SIP_RANGES_TEXT_MAX = 4096 /* Kafka's offset.metadata.max.bytes, as it comes */
};

struct sip_range {
  int64_t from, to; /* from <= offset < to */
};

/* All zero: empty. */
struct sip_ranges {
  struct sip_range *runs; /* owned: ascending, never touching each other */
  size_t count, room;
};

void sip_ranges_deinit(struct sip_ranges *ranges);

/** Empties it and keeps the memory. */
void sip_ranges_clear(struct sip_ranges *ranges);

/** Adds from <= offset < to. @return 0 or UV_ENOMEM: then nothing has changed */
int sip_ranges_add(struct sip_ranges *ranges, int64_t from, int64_t to);

bool sip_ranges_have(const struct sip_ranges *ranges, int64_t offset);

/** As text of printable ASCII, for a commit of `base`; every run lies behind it. When not all fits,
 *  the lowest runs are written; held keys always fit.
 *  @param holds  their times are written to the second, rounded up
 *  @param out      SIP_RANGES_TEXT_MAX + 1 bytes; ends with a NUL; "" for the empty set
 *  @return how many runs are in it */
size_t sip_ranges_write(const struct sip_ranges *ranges, const struct sip_holds *holds,
                        int64_t base, char *out);

/** Reads what sip_ranges_write made for the same `base`.
 *  @param ranges  empty; unchanged on failure, as is `holds`
 *  @return 0; SIP_EDATA for anything else, other programs' metadata included; UV_ENOMEM */
int sip_ranges_read(struct sip_ranges *ranges, struct sip_holds *holds, int64_t base,
                    const char *text, size_t len);

/** Whether the text claims to be one of ours. */
bool sip_ranges_is_text(const char *text, size_t len);

#endif
