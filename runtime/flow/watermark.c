/* watermark.c - a ring of taken offsets; the watermark passes those at its front that are finished. */
#include "flow/watermark.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

enum { FIRST_SLOTS = 64 };

void sip_watermark_init(struct sip_watermark *mark)
{
  *mark = (struct sip_watermark){ .next_offset = -1 };
}

void sip_watermark_deinit(struct sip_watermark *mark)
{
  free(mark->slots);
  sip_watermark_init(mark);
}

static int watermark_grow(struct sip_watermark *mark)
{
  size_t size = mark->size == 0 ? FIRST_SLOTS : mark->size * 2;
  struct sip_watermark_slot *slots = calloc(size, sizeof *slots);

  if (slots == NULL) {
    return UV_ENOMEM;
  }
  for (uint64_t s = mark->first; s < mark->next; s++) {
    slots[s & (size - 1)] = mark->slots[s & (mark->size - 1)];
  }
  free(mark->slots);
  mark->slots = slots;
  mark->size = size;
  return 0;
}

int sip_watermark_take(struct sip_watermark *mark, int64_t offset, uint64_t *sequence)
{
  struct sip_watermark_slot *slot;

  if (sip_watermark_span(mark) == mark->size) {
    int rc = watermark_grow(mark);

    if (rc < 0) {
      return rc;
    }
  }
  slot = &mark->slots[mark->next & (mark->size - 1)];
  slot->offset = offset;
  slot->finished = false;
  *sequence = mark->next++;
  return 0;
}

bool sip_watermark_finish(struct sip_watermark *mark, uint64_t sequence)
{
  bool moved = false;

  assert(sequence >= mark->first && sequence < mark->next);
  mark->slots[sequence & (mark->size - 1)].finished = true;
  while (mark->first < mark->next && mark->slots[mark->first & (mark->size - 1)].finished) {
    mark->next_offset = mark->slots[mark->first & (mark->size - 1)].offset + 1;
    mark->first++;
    moved = true;
  }
  return moved;
}

size_t sip_watermark_span(const struct sip_watermark *mark)
{
  return (size_t)(mark->next - mark->first);
}
