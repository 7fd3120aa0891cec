#ifndef SIP_CORE_LIST_H
#define SIP_CORE_LIST_H
/* list.h - intrusive doubly linked list. A head and a member are both a struct sip_list; a lone
 * node points at itself. */
#include <stdbool.h>
#include <stddef.h>

struct sip_list {
  struct sip_list *next, *prev; /* borrowed: the nodes live in their owners */
};

static inline void sip_list_init(struct sip_list *node)
{
  node->next = node;
  node->prev = node;
}

static inline bool sip_list_empty(const struct sip_list *head)
{
  return head->next == head;
}

/** Puts `node`, which is in no list, at the end. */
static inline void sip_list_push(struct sip_list *head, struct sip_list *node)
{
  node->prev = head->prev;
  node->next = head;
  head->prev->next = node;
  head->prev = node;
}

/** Puts `node`, which is in no list, at the beginning: of what is kept to be used again, that is
 *  what a cache still has. */
static inline void sip_list_unshift(struct sip_list *head, struct sip_list *node)
{
  sip_list_push(head->next, node);
}

/** Takes `node` out; harmless when it is in no list (but initialised). */
static inline void sip_list_remove(struct sip_list *node)
{
  node->prev->next = node->next;
  node->next->prev = node->prev;
  sip_list_init(node);
}

/** Takes the first node out, or gives NULL. */
static inline struct sip_list *sip_list_shift(struct sip_list *head)
{
  struct sip_list *node = head->next;

  if (node == head) {
    return NULL;
  }
  sip_list_remove(node);
  return node;
}

/** Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void sip_list_move(struct sip_list *to, struct sip_list *from)
{
  if (sip_list_empty(from)) {
    return;
  }
  from->next->prev = to->prev;
  to->prev->next = from->next;
  from->prev->next = to;
  to->prev = from->prev;
  sip_list_init(from);
}

#endif
