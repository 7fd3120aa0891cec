/* list_test.c - order, removal, moving. */
#include "core/list.h"

#include "core/base.h"
#include "support/test.h"

struct item {
  struct sip_list link;
  int number;
};

static int shift_number(struct sip_list *head)
{
  struct sip_list *node = sip_list_shift(head);

  return node == NULL ? -1 : SIP_CONTAINER(node, struct item, link)->number;
}

int main(void)
{
  struct item items[5];
  struct sip_list a, b;

  sip_list_init(&a);
  sip_list_init(&b);
  CHECK(sip_list_empty(&a));
  CHECK_INT(shift_number(&a), -1);
  for (int i = 0; i < 5; i++) {
    items[i].number = i;
    sip_list_push(&a, &items[i].link);
  }
  sip_list_remove(&items[2].link);
  sip_list_remove(&items[2].link); /* alone: harmless */
  sip_list_push(&b, &items[2].link);
  sip_list_move(&b, &a);
  CHECK(sip_list_empty(&a));
  sip_list_move(&b, &a);
  CHECK_INT(shift_number(&b), 2);
  CHECK_INT(shift_number(&b), 0);
  CHECK_INT(shift_number(&b), 1);
  CHECK_INT(shift_number(&b), 3);
  CHECK_INT(shift_number(&b), 4);
  CHECK_INT(shift_number(&b), -1);
  return 0;
}
