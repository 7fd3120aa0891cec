/* lane.c - lanes in a hash table of fixed size: a flow's events in flight are bounded, so the
 * chains stay short. */
#include "flow/lane.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { INLINE_KEY_BYTES = 48 };

struct sip_lane {
  struct sip_list link;    /* in its bucket, or among the spare ones */
  struct sip_list members; /* the first one runs */
  uint64_t hash;
  uint64_t log;
  size_t len;
  char *key; /* owned when longer than `inlined`, else points there */
  char inlined[INLINE_KEY_BYTES];
};

int sip_lanes_init(struct sip_lanes *lanes)
{
  lanes->buckets = malloc(SIP_LANE_BUCKETS * sizeof *lanes->buckets);
  if (lanes->buckets == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < SIP_LANE_BUCKETS; i++) {
    sip_list_init(&lanes->buckets[i]);
  }
  sip_list_init(&lanes->spare);
  lanes->count = 0;
  return 0;
}

void sip_lanes_deinit(struct sip_lanes *lanes)
{
  struct sip_list *node;

  if (lanes->buckets == NULL) {
    return;
  }
  assert(lanes->count == 0);
  while ((node = sip_list_shift(&lanes->spare)) != NULL) {
    free(SIP_CONTAINER(node, struct sip_lane, link));
  }
  free(lanes->buckets);
  lanes->buckets = NULL;
}

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

/* In words of eight bytes; the last one may repeat some of those before it. */
static uint64_t lane_hash(uint64_t log, const struct sip_slice *key)
{
  uint64_t hash = hash_word(log, key->len), word = 0;
  size_t at = 0;

  for (; key->len - at > sizeof word; at += sizeof word) {
    memcpy(&word, key->data + at, sizeof word);
    hash = hash_word(hash, word);
  }
  if (key->len >= sizeof word) {
    memcpy(&word, key->data + key->len - sizeof word, sizeof word);
  } else {
    for (word = 0; at < key->len; at++) {
      word = word << 8 | (unsigned char)key->data[at];
    }
  }
  return hash_word(hash, word);
}

static struct sip_lane *lane_find(struct sip_lanes *lanes, uint64_t hash, uint64_t log,
                                  const struct sip_slice *key)
{
  struct sip_list *head = &lanes->buckets[hash & (SIP_LANE_BUCKETS - 1)];

  for (struct sip_list *node = head->next; node != head; node = node->next) {
    struct sip_lane *lane = SIP_CONTAINER(node, struct sip_lane, link);

    if (lane->hash == hash && lane->log == log && lane->len == key->len &&
        memcmp(lane->key, key->data, key->len) == 0) {
      return lane;
    }
  }
  return NULL;
}

static struct sip_lane *lane_new(struct sip_lanes *lanes, uint64_t hash, uint64_t log,
                                 const struct sip_slice *key)
{
  struct sip_list *node = sip_list_shift(&lanes->spare);
  struct sip_lane *lane =
    node == NULL ? malloc(sizeof *lane) : SIP_CONTAINER(node, struct sip_lane, link);

  if (lane == NULL) {
    return NULL;
  }
  lane->key = key->len <= INLINE_KEY_BYTES ? lane->inlined : malloc(key->len);
  if (lane->key == NULL) {
    free(lane);
    return NULL;
  }
  memcpy(lane->key, key->data, key->len);
  lane->len = key->len;
  lane->hash = hash;
  lane->log = log;
  sip_list_init(&lane->members);
  sip_list_push(&lanes->buckets[hash & (SIP_LANE_BUCKETS - 1)], &lane->link);
  lanes->count++;
  return lane;
}

int sip_lane_push(struct sip_lanes *lanes, uint64_t log, const struct sip_slice *key,
                  struct sip_lane_member *member)
{
  uint64_t hash = lane_hash(log, key);
  struct sip_lane *lane = lane_find(lanes, hash, log, key);
  int first = lane == NULL;

  if (lane == NULL) {
    lane = lane_new(lanes, hash, log, key);
    if (lane == NULL) {
      return UV_ENOMEM;
    }
  }
  member->lane = lane;
  sip_list_push(&lane->members, &member->link);
  return first;
}

struct sip_slice sip_lane_key(const struct sip_lane_member *member)
{
  const struct sip_lane *lane = member->lane;

  return lane == NULL ? (struct sip_slice){ NULL, 0 } : (struct sip_slice){ lane->key, lane->len };
}

long sip_lane_followers(const struct sip_lane_member *member)
{
  long count = 0;

  if (member->lane == NULL) {
    return -1;
  }
  for (const struct sip_list *node = member->link.next; node != &member->lane->members;
       node = node->next) {
    count++;
  }
  return count;
}

struct sip_lane_member *sip_lane_remove(struct sip_lanes *lanes, struct sip_lane_member *member)
{
  struct sip_lane *lane = member->lane;
  bool was_first;

  if (lane == NULL) {
    return NULL;
  }
  was_first = lane->members.next == &member->link;
  sip_list_remove(&member->link);
  member->lane = NULL;
  if (!sip_list_empty(&lane->members)) {
    return was_first ? SIP_CONTAINER(lane->members.next, struct sip_lane_member, link) : NULL;
  }
  sip_list_remove(&lane->link);
  if (lane->key != lane->inlined) {
    free(lane->key);
  }
  sip_list_unshift(&lanes->spare, &lane->link);
  lanes->count--;
  return NULL;
}
