#ifndef SIP_POSTGRES_STORE_H
#define SIP_POSTGRES_STORE_H
/* store.h - the journal in a PostgreSQL database, shared by several hosts.
 *
 * Every opening is a host with an epoch of its own and a lease, which each transaction renews. A
 * host whose lease has run out may be declared gone by another one, and writes nothing any more. */
#include "journal/port.h"

/** `place` is a connection string, as in postgresql://user@host/database. */
const struct sip_store_ops *sip_postgres_store_operations(void);

#endif
