/* lane_test.c - order within a key, independence between keys, removal from anywhere. */
#include "flow/lane.h"

#include "support/test.h"

static struct sip_slice slice(const char *text)
{
  return (struct sip_slice){ text, strlen(text) };
}

static void one_key_is_a_queue(void)
{
  struct sip_lane_member a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
  struct sip_slice key = slice("m-1");
  struct sip_lanes lanes;

  CHECK_INT(sip_lanes_init(&lanes), 0);
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &a), 1);
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &b), 0);
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &c), 0);
  CHECK_INT(sip_lane_push(&lanes, 1, &key, &d), 1); /* the same key of another partition */
  CHECK_INT(lanes.count, 2);
  CHECK(sip_lane_remove(&lanes, &b) == NULL); /* from the middle: nobody's turn comes */
  CHECK(sip_lane_remove(&lanes, &a) == &c);
  CHECK(sip_lane_remove(&lanes, &c) == NULL);
  CHECK(sip_lane_remove(&lanes, &c) == NULL); /* in no lane any more */
  CHECK(sip_lane_remove(&lanes, &d) == NULL);
  CHECK_INT(lanes.count, 0);
  sip_lanes_deinit(&lanes);
}

static void many_and_long_keys_do_not_mix(void)
{
  enum { KEYS = 20000 };
  static struct sip_lane_member first[KEYS], second[KEYS];
  static char long_key[100000];
  struct sip_lanes lanes;
  struct sip_slice key;
  char text[32];

  CHECK_INT(sip_lanes_init(&lanes), 0);
  for (int i = 0; i < KEYS; i++) {
    (void)snprintf(text, sizeof text, "key-%d", i);
    key = slice(text);
    CHECK_INT(sip_lane_push(&lanes, 3, &key, &first[i]), 1);
    CHECK_INT(sip_lane_push(&lanes, 3, &key, &second[i]), 0);
  }
  CHECK_INT(lanes.count, KEYS);
  for (int i = 0; i < KEYS; i++) {
    CHECK(sip_lane_remove(&lanes, &first[i]) == &second[i]);
    CHECK(sip_lane_remove(&lanes, &second[i]) == NULL);
  }
  memset(long_key, 'k', sizeof long_key);
  key = (struct sip_slice){ long_key, sizeof long_key };
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &first[0]), 1);
  long_key[sizeof long_key - 1] = 'x'; /* the bytes were copied */
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &first[1]), 1);
  key.len = 0;
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &first[2]), 1);
  CHECK_INT(sip_lane_push(&lanes, 0, &key, &first[3]), 0);
  for (int i = 3; i >= 0; i--) {
    (void)sip_lane_remove(&lanes, &first[i]);
  }
  CHECK_INT(lanes.count, 0);
  sip_lanes_deinit(&lanes);
}

int main(void)
{
  one_key_is_a_queue();
  many_and_long_keys_do_not_mix();
  return 0;
}
