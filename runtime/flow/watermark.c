/* watermark.c - a list of what is open; the watermark is its head. */
#include "flow/watermark.h"

#include "core/base.h"

#include <assert.h>

void sip_watermark_init(struct sip_watermark *mark)
{
  *mark = (struct sip_watermark){ .after = -1, .barrier = -1, .next_offset = -1 };
  sip_list_init(&mark->open);
}

void sip_watermark_deinit(struct sip_watermark *mark)
{
  sip_ranges_deinit(&mark->given_up);
  sip_ranges_deinit(&mark->before);
}

/* Follows what is open now. @return whether it moved */
static bool watermark_move(struct sip_watermark *mark)
{
  int64_t next = sip_list_empty(&mark->open)
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

void sip_watermark_take(struct sip_watermark *mark, struct sip_watermark_member *member,
                        int64_t offset)
{
  assert(offset >= 0);
  if (mark->next_offset < 0) {
    mark->next_offset = offset;
  }
  if (offset < mark->after) { /* another log under the same name: nothing of the old one holds */
    sip_ranges_clear(&mark->before);
    mark->inexact = true;
  }
  if (sip_list_empty(&mark->open) && mark->barrier < 0) {
    mark->inexact = false; /* nothing of the old one is left */
  }
  member->offset = offset;
  mark->after = offset + 1;
  sip_list_push(&mark->open, &member->link);
}

bool sip_watermark_reach(struct sip_watermark *mark, int64_t offset)
{
  if (offset <= mark->after) {
    return false;
  }
  mark->after = offset;
  mark->finished_to = offset;
  return watermark_move(mark);
}

bool sip_watermark_skip(struct sip_watermark *mark, int64_t offset)
{
  return sip_watermark_reach(mark, offset + 1);
}

bool sip_watermark_finish(struct sip_watermark *mark, struct sip_watermark_member *member)
{
  assert(!sip_list_empty(&member->link));
  sip_list_remove(&member->link);
  if (member->offset >= mark->finished_to) {
    mark->finished_to = member->offset + 1;
  }
  return watermark_move(mark);
}

void sip_watermark_give_up(struct sip_watermark *mark, struct sip_watermark_member *member)
{
  assert(!sip_list_empty(&member->link));
  sip_list_remove(&member->link);
  if (mark->barrier < 0 || member->offset < mark->barrier) {
    mark->barrier = member->offset;
  }
  if (sip_ranges_add(&mark->given_up, member->offset, member->offset + 1) < 0) {
    mark->inexact = true;
  }
}

/* The lowest offset from `from` on that is open or given up, or INT64_MAX. Both places only move
 * on. */
static int64_t next_unfinished(const struct sip_watermark *mark, int64_t from,
                               const struct sip_list **open, size_t *given_up)
{
  int64_t next = INT64_MAX;

  for (; *open != &mark->open; *open = (*open)->next) {
    next = SIP_CONTAINER((struct sip_list *)*open, struct sip_watermark_member, link)->offset;
    if (next >= from) {
      break;
    }
    next = INT64_MAX;
  }
  while (*given_up < mark->given_up.count && mark->given_up.runs[*given_up].to <= from) {
    ++*given_up;
  }
  if (*given_up < mark->given_up.count && mark->given_up.runs[*given_up].from < next) {
    next = mark->given_up.runs[*given_up].from;
  }
  return next < from ? from : next;
}

static int watermark_fill(const struct sip_watermark *mark, struct sip_ranges *out)
{
  const struct sip_list *open = mark->open.next;
  int64_t at = mark->next_offset;
  int64_t last = mark->finished_to < mark->after ? mark->finished_to : mark->after;
  size_t given_up = 0;
  int rc = 0;

  while (rc == 0 && at < last) {
    int64_t unfinished = next_unfinished(mark, at, &open, &given_up);
    int64_t end = unfinished < last ? unfinished : last;

    if (at < end) {
      rc = sip_ranges_add(out, at, end);
    }
    at = end + 1;
  }
  for (size_t i = 0; rc == 0 && i < mark->before.count; i++) {
    const struct sip_range *run = &mark->before.runs[i];
    int64_t from = run->from > mark->after ? run->from : mark->after;

    if (from < run->to) {
      rc = sip_ranges_add(out, from, run->to);
    }
  }
  return rc;
}

void sip_watermark_beyond(const struct sip_watermark *mark, struct sip_ranges *out)
{
  sip_ranges_clear(out);
  if (!mark->inexact && mark->next_offset >= 0 && watermark_fill(mark, out) < 0) {
    sip_ranges_clear(out);
  }
}
