/* peers.c - how many connections each client has. One owner. */
#include "http/peers.h"

#include "core/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS = 1024 };

struct sip_peer {
  struct sip_peer *next; /* of its chain */
  struct sip_origin client;
  unsigned connections;
};

struct sip_peers {
  struct sip_peer *chains[CHAINS]; /* owned, with what follows */
};

int sip_peers_new(struct sip_peers **out)
{
  struct sip_peers *peers = calloc(1, sizeof *peers);

  if (peers == NULL) {
    return UV_ENOMEM;
  }
  *out = peers;
  return 0;
}

void sip_peers_free(struct sip_peers *peers)
{
  free(peers);
}

static size_t chain_of(const struct sip_origin *client)
{
  uint64_t hash = sip_hash(SIP_HASH_INIT, client->bytes, sizeof client->bytes);

  return (hash ^ hash >> 32) % CHAINS;
}

static struct sip_peer *find(const struct sip_peers *peers, const struct sip_origin *client)
{
  struct sip_peer *peer = peers->chains[chain_of(client)];

  while (peer != NULL && memcmp(&peer->client, client, sizeof *client) != 0) {
    peer = peer->next;
  }
  return peer;
}

unsigned sip_peers_count(const struct sip_peers *peers, const struct sip_origin *client)
{
  const struct sip_peer *peer = find(peers, client);

  return peer == NULL ? 0 : peer->connections;
}

struct sip_peer *sip_peers_join(struct sip_peers *peers, const struct sip_origin *client)
{
  struct sip_peer *peer = find(peers, client), **chain = &peers->chains[chain_of(client)];

  if (peer == NULL) {
    peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
      return NULL;
    }
    peer->client = *client;
    peer->next = *chain;
    *chain = peer;
  }
  peer->connections++;
  return peer;
}

void sip_peers_leave(struct sip_peers *peers, struct sip_peer *peer)
{
  struct sip_peer **at;

  if (peer == NULL || --peer->connections > 0) {
    return;
  }
  at = &peers->chains[chain_of(&peer->client)];
  while (*at != peer) {
    assert(*at != NULL);
    at = &(*at)->next;
  }
  *at = peer->next;
  free(peer);
}
