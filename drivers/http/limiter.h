#ifndef SIP_HTTP_LIMITER_H
#define SIP_HTTP_LIMITER_H
/* limiter.h - a token bucket for each client, of a bounded number of clients. One owner.
 *
 * Who has not asked for longest is forgotten first, and then begins with a full bucket. */
#include "http/origin.h"

struct sip_limiter;

enum { SIP_LIMITER_CLIENTS = 16384 };

/** Buckets that hold `burst` requests (1 or more) and get `per_s` (above 0) each second.
 *  @return 0 or UV_ENOMEM */
int sip_limiter_new(struct sip_limiter **out, double per_s, double burst);
void sip_limiter_free(struct sip_limiter *limiter); /* accepts NULL */

/** Takes one token of the client's bucket. @return 0, or the milliseconds until there is one; a
 *  client for whom there is no memory is let through */
uint64_t sip_limiter_take(struct sip_limiter *limiter, const struct sip_origin *client,
                          uint64_t now_ms);

size_t sip_limiter_count(const struct sip_limiter *limiter); /* clients that are known */

#endif
