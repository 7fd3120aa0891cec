/* watermark.c - a list of what is open; the watermark is its head. */
#include "flow/watermark.h"

#include "core/base.h"

#include <assert.h>

void sip_watermark_init(struct sip_watermark *mark)
{
  sip_list_init(&mark->open);
  mark->after = -1;
  mark->barrier = -1;
  mark->next_offset = -1;
}

void sip_watermark_take(struct sip_watermark *mark, struct sip_watermark_member *member,
                        int64_t offset)
{
  assert(offset >= 0);
  if (mark->next_offset < 0) {
    mark->next_offset = offset;
  }
  member->offset = offset;
  mark->after = offset + 1;
  sip_list_push(&mark->open, &member->link);
}

bool sip_watermark_finish(struct sip_watermark *mark, struct sip_watermark_member *member)
{
  int64_t next;

  assert(!sip_list_empty(&member->link));
  sip_list_remove(&member->link);
  next = sip_list_empty(&mark->open)
           ? mark->after
           : SIP_CONTAINER(mark->open.next, struct sip_watermark_member, link)->offset;
  if (mark->barrier >= 0 && next > mark->barrier) {
    next = mark->barrier;
  }
  if (next == mark->next_offset) {
    return false;
  }
  mark->next_offset = next;
  return true;
}

void sip_watermark_give_up(struct sip_watermark *mark, struct sip_watermark_member *member)
{
  assert(!sip_list_empty(&member->link));
  sip_list_remove(&member->link);
  if (mark->barrier < 0 || member->offset < mark->barrier) {
    mark->barrier = member->offset;
  }
}
