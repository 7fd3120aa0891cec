#ifndef SIP_FLOW_WATERMARK_H
#define SIP_FLOW_WATERMARK_H
/* watermark.h - the lowest offset of a partition that is not finished yet, while events finish in
 * any order.
 *
 * What is open stands in a list in the order of the log, so the first one is the watermark: each
 * step costs the same, nothing is allocated, and however far the log runs ahead of a slow event, it
 * holds no more than what is in flight. What is finished beyond the watermark is whatever lies
 * between the open ones; nobody counts it before it is asked for. Loop thread. */
#include "core/list.h"
#include "flow/ranges.h"

#include <stdbool.h>
#include <stdint.h>

/* Part of an event. */
struct sip_watermark_member {
  struct sip_list link; /* in `open`, or alone */
  int64_t offset;
};

struct sip_watermark {
  struct sip_list open; /* taken and not finished, as they were taken */
  int64_t after;        /* the offset behind the last one taken */
  int64_t finished_to;  /* nothing from here on is finished (of an older log: it may be more) */
  int64_t barrier;      /* the lowest one that was given up, or -1 */
  int64_t next_offset;  /* to be committed; -1 before anything was taken */
  struct sip_ranges given_up; /* without an outcome */
  struct sip_ranges before;   /* finished before this process took the partition */
  bool inexact;               /* memory was out: what lies beyond the watermark is not known */
};

void sip_watermark_init(struct sip_watermark *mark);
void sip_watermark_deinit(struct sip_watermark *mark);

/** Takes an offset. They ascend, with gaps; lower ones follow only when the log began anew. */
void sip_watermark_take(struct sip_watermark *mark, struct sip_watermark_member *member,
                        int64_t offset);

/** The log has nothing left below `offset`, and what it had was taken: gaps at its end, such as
 *  those of transactions, are passed. @return true when the watermark moved */
bool sip_watermark_reach(struct sip_watermark *mark, int64_t offset);

/** An offset comes that is in `before`: it is passed. @return true when the watermark moved */
bool sip_watermark_skip(struct sip_watermark *mark, int64_t offset);

/** The event is terminal. @return true when the watermark moved: next_offset is to be stored */
bool sip_watermark_finish(struct sip_watermark *mark, struct sip_watermark_member *member);

/** The event is given up without an outcome: the watermark never passes it. */
void sip_watermark_give_up(struct sip_watermark *mark, struct sip_watermark_member *member);

/** What is finished beyond next_offset. @param out  is emptied first; stays so for want of memory
 */
void sip_watermark_beyond(const struct sip_watermark *mark, struct sip_ranges *out);

#endif
