/* lost.c - outputs that were not written. What was emitted is the producer's; only what failed is
 * copied back from it, so that what succeeds costs nothing. Loop thread only. */
#include "flow/flow.h"

#include <stdlib.h>
#include <string.h>

static struct sip_slice copy_slice(char **at, const struct sip_slice *from)
{
  struct sip_slice slice = { from->data == NULL ? NULL : *at, from->len };

  if (from->data != NULL) {
    memcpy(*at, from->data, from->len);
    *at += from->len;
  }
  return slice;
}

static char *copy_text(char **at, const char *text)
{
  char *copy = *at;
  size_t size = strlen(text) + 1;

  memcpy(copy, text, size);
  *at += size;
  return copy;
}

/* One block with everything of an output that is borrowed; NULL without memory. */
static struct sip_lost_output *lost_new(const struct sip_output *output, unsigned slot)
{
  size_t size = strlen(output->topic) + 1 + output->key.len + output->value.len;
  struct sip_lost_output *lost;
  char *at;

  for (size_t i = 0; i < output->header_count; i++) {
    size += strlen(output->headers[i].name) + 1 + output->headers[i].value.len;
  }
  lost = malloc(sizeof *lost + output->header_count * sizeof *lost->headers + size);
  if (lost == NULL) {
    return NULL;
  }
  at = (char *)&lost->headers[output->header_count];
  lost->slot = slot;
  lost->output = (struct sip_output){ .topic = copy_text(&at, output->topic), .partition = -1 };
  lost->output.key = copy_slice(&at, &output->key);
  lost->output.value = copy_slice(&at, &output->value);
  lost->output.headers = lost->headers;
  lost->output.header_count = output->header_count;
  for (size_t i = 0; i < output->header_count; i++) {
    lost->headers[i].name = copy_text(&at, output->headers[i].name);
    lost->headers[i].value = copy_slice(&at, &output->headers[i].value);
  }
  return lost;
}

void sip_event_keep_lost(struct sip_event *event, unsigned slot)
{
  const struct sip_outlet *outlet = &event->flow->outlet;
  const struct sip_output *output =
    outlet->ops->lost == NULL ? NULL : outlet->ops->lost(outlet->driver);
  struct sip_lost_output *lost = output == NULL ? NULL : lost_new(output, slot);
  struct sip_list *before = &event->lost;

  if (lost == NULL) {
    event->is_lost_unknown = true;
    return; /* the handler runs again instead */
  }
  while (before->prev != &event->lost &&
         SIP_CONTAINER(before->prev, struct sip_lost_output, link)->slot > slot) {
    before = before->prev;
  }
  sip_list_push(before, &lost->link); /* in the order in which they were emitted */
}

void sip_event_forget_lost(struct sip_event *event)
{
  struct sip_list *node;

  while ((node = sip_list_shift(&event->lost)) != NULL) {
    free(SIP_CONTAINER(node, struct sip_lost_output, link));
  }
  event->is_lost_unknown = false;
}
