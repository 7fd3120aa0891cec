#ifndef SIP_HTTP_PEERS_H
#define SIP_HTTP_PEERS_H
/* peers.h - how many connections each client has. One owner. */
#include "http/origin.h"

struct sip_peers;
struct sip_peer;

/** @return 0 or UV_ENOMEM */
int sip_peers_new(struct sip_peers **out);
void sip_peers_free(struct sip_peers *peers); /* accepts NULL; no connection is left */

/** How many it has. */
unsigned sip_peers_count(const struct sip_peers *peers, const struct sip_origin *client);

/** One connection more. @return who to give to sip_peers_leave, or NULL without memory */
struct sip_peer *sip_peers_join(struct sip_peers *peers, const struct sip_origin *client);
void sip_peers_leave(struct sip_peers *peers, struct sip_peer *peer); /* accepts NULL */

#endif
