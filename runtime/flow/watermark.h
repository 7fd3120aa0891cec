#ifndef SIP_FLOW_WATERMARK_H
#define SIP_FLOW_WATERMARK_H
/* watermark.h - the lowest offset of a partition that is not finished yet, while events finish in any order.
 *
 * Offsets are taken in ascending order, with gaps where the log has some. Loop thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_watermark {
  struct sip_watermark_slot {
    int64_t offset;
    bool finished;
  } *slots;              /* owned: a ring of `size` */
  size_t size;           /* 0 or a power of two */
  uint64_t first, next;  /* sequence numbers: taken and not passed are first <= s < next */
  int64_t next_offset;   /* to be committed; -1 before anything was passed */
};

void sip_watermark_init(struct sip_watermark *mark);
void sip_watermark_deinit(struct sip_watermark *mark);

/** Takes an offset. `sequence` is what finish wants back. @return 0 or UV_ENOMEM */
int sip_watermark_take(struct sip_watermark *mark, int64_t offset, uint64_t *sequence);

/** The event is terminal. @return true when the watermark moved: next_offset is to be stored */
bool sip_watermark_finish(struct sip_watermark *mark, uint64_t sequence);

/** Taken and not yet passed by the watermark. */
size_t sip_watermark_span(const struct sip_watermark *mark);

#endif
