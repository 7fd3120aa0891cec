/* holds_test.c - held keys end by their time, by a replay, and when there are too many. */
#include "flow/holds.h"

#include "support/test.h"

static void a_hold_ends_with_its_time_or_by_hand(void)
{
  struct sip_slice name = { "k1", 2 };
  struct sip_hold first = { sip_hold_key(&name), 10, 1000 }, again = { first.key, 20, 9000 };
  struct sip_hold other = { 2, 30, 500 };
  struct sip_holds holds = { .count = 0 };

  CHECK(sip_holds_find(&holds, first.key, 0) == NULL);
  CHECK(!sip_holds_add(&holds, &first));
  CHECK(!sip_holds_add(&holds, &again)); /* the first one counts */
  CHECK(!sip_holds_add(&holds, &other));
  CHECK_INT(sip_holds_find(&holds, first.key, 999)->after, 10);
  CHECK_INT(holds.count, 1); /* the other one is over */
  CHECK(sip_holds_find(&holds, first.key, 1000) == NULL);
  CHECK_INT(holds.count, 0);
  CHECK(!sip_holds_add(&holds, &first));
  sip_holds_remove(&holds, first.key);
  CHECK(sip_holds_find(&holds, first.key, 0) == NULL);
}

static void the_oldest_one_makes_room(void)
{
  struct sip_holds holds = { .count = 0 };

  for (uint64_t i = 0; i < SIP_HOLDS_MAX + 5; i++) {
    struct sip_hold hold = { i, (int64_t)i, 1000 };

    CHECK_INT(sip_holds_add(&holds, &hold), i >= SIP_HOLDS_MAX);
  }
  CHECK(sip_holds_find(&holds, 4, 0) == NULL);
  CHECK_INT(sip_holds_find(&holds, 5, 0)->after, 5);
  CHECK_INT(sip_holds_find(&holds, SIP_HOLDS_MAX + 4, 0)->after, SIP_HOLDS_MAX + 4);
}

int main(void)
{
  a_hold_ends_with_its_time_or_by_hand();
  the_oldest_one_makes_room();
  return 0;
}
