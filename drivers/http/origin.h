#ifndef SIP_HTTP_ORIGIN_H
#define SIP_HTTP_ORIGIN_H
/* origin.h - whose request it is: addresses of clients, and what proxies say of them. Any thread.
 */
#include "core/base.h"
#include "core/err.h"

#include <stdbool.h>
#include <sys/socket.h>

enum { SIP_ORIGIN_BYTES = 16 };

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. */
struct sip_origin {
  unsigned char bytes[SIP_ORIGIN_BYTES];
};

/* The addresses whose first `bits` are these. */
struct sip_network {
  struct sip_origin address;
  unsigned bits; /* 0 to 128 */
};

/** All zeroes for what is no IP address. */
void sip_origin_of(struct sip_origin *out, const struct sockaddr *address);

/** "192.0.2.7", "2001:db8::1", "[2001:db8::1]:443" or "192.0.2.7:443". @return whether it is one */
bool sip_origin_parse(struct sip_origin *out, const struct sip_slice *text);

/** As texts write it; at most 46 bytes with the NUL. */
void sip_origin_show(const struct sip_origin *key, char *out, size_t size);

/** Who it counts as for limits: of an IPv6 address only the first 64 bits, which one host has. */
struct sip_origin sip_origin_client(const struct sip_origin *key);

/** "10.0.0.0/8", "::1", "192.0.2.7". @return 0 or UV_EINVAL with a hint */
int sip_network_parse(struct sip_network *out, const char *text, struct sip_err *err);
bool sip_network_has(const struct sip_network *network, const struct sip_origin *key);

/** The client behind proxies: the last address of x-forwarded-for (`list`, empty: none) that is not
 * of a trusted network, or the first one when all are. `peer` is who is connected; an entry that is
 * no address ends the walk at who wrote it. */
void sip_origin_forwarded(struct sip_origin *out, const struct sip_origin *peer,
                          const struct sip_slice *list, const struct sip_network *trusted,
                          size_t count);

#endif
