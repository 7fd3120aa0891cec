/* limiter.c - token buckets by client. One owner. */
#include "http/limiter.h"

#include "core/hash.h"
#include "core/list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS = 1024 };

struct bucket {
  struct sip_list recent; /* in the limiter's list, who asked last at its end */
  struct bucket *next;    /* of its chain */
  struct sip_origin client;
  double tokens;
  uint64_t at_ms; /* when they were counted */
};

struct sip_limiter {
  double per_ms, burst;
  struct sip_list recent;
  struct bucket *chains[CHAINS]; /* owned, with what follows */
  size_t count;
};

int sip_limiter_new(struct sip_limiter **out, double per_s, double burst)
{
  struct sip_limiter *limiter = calloc(1, sizeof *limiter);

  if (limiter == NULL) {
    return UV_ENOMEM;
  }
  limiter->per_ms = per_s / 1000;
  limiter->burst = burst;
  sip_list_init(&limiter->recent);
  *out = limiter;
  return 0;
}

void sip_limiter_free(struct sip_limiter *limiter)
{
  struct sip_list *node;

  if (limiter == NULL) {
    return;
  }
  while ((node = sip_list_shift(&limiter->recent)) != NULL) {
    free(SIP_CONTAINER(node, struct bucket, recent));
  }
  free(limiter);
}

static struct bucket **chain_of(struct sip_limiter *limiter, const struct sip_origin *client)
{
  uint64_t hash = sip_hash(SIP_HASH_INIT, client->bytes, sizeof client->bytes);

  return &limiter->chains[(hash ^ hash >> 32) % CHAINS];
}

/* Where the pointer to the client's bucket is, or would be. */
static struct bucket **find(struct sip_limiter *limiter, const struct sip_origin *client)
{
  struct bucket **at = chain_of(limiter, client);

  while (*at != NULL && memcmp(&(*at)->client, client, sizeof *client) != 0) {
    at = &(*at)->next;
  }
  return at;
}

static struct bucket *add(struct sip_limiter *limiter, const struct sip_origin *client,
                          uint64_t now_ms)
{
  struct bucket *bucket, **chain;

  if (limiter->count == SIP_LIMITER_CLIENTS) {
    bucket = SIP_CONTAINER(sip_list_shift(&limiter->recent), struct bucket, recent);
    chain = find(limiter, &bucket->client);
    *chain = bucket->next;
  } else {
    bucket = malloc(sizeof *bucket);
    if (bucket == NULL) {
      return NULL;
    }
    limiter->count++;
    sip_list_init(&bucket->recent);
  }
  chain = chain_of(limiter, client);
  bucket->next = *chain;
  *chain = bucket;
  bucket->client = *client;
  bucket->tokens = limiter->burst;
  bucket->at_ms = now_ms;
  return bucket;
}

uint64_t sip_limiter_take(struct sip_limiter *limiter, const struct sip_origin *client,
                          uint64_t now_ms)
{
  struct bucket *bucket = *find(limiter, client);

  bucket = bucket != NULL ? bucket : add(limiter, client, now_ms);
  if (bucket == NULL) {
    return 0;
  }
  sip_list_remove(&bucket->recent);
  sip_list_push(&limiter->recent, &bucket->recent);
  bucket->tokens += (double)(now_ms - bucket->at_ms) * limiter->per_ms;
  bucket->tokens = bucket->tokens < limiter->burst ? bucket->tokens : limiter->burst;
  bucket->at_ms = now_ms;
  if (bucket->tokens >= 1) {
    bucket->tokens -= 1;
    return 0;
  }
  return (uint64_t)ceil((1 - bucket->tokens) / limiter->per_ms);
}

size_t sip_limiter_count(const struct sip_limiter *limiter)
{
  return limiter->count;
}
