#ifndef SIP_SQLITE_STORE_H
#define SIP_SQLITE_STORE_H
/* store.h - the journal in a SQLite file: WAL, synchronous=FULL, one writer thread that commits
 * what several workers submitted in one transaction. */
#include "journal/port.h"

/** `place` is a file; beside it lie PLACE-wal, PLACE-shm and PLACE.lock, which keeps a second
 * process away. Called before there are threads. */
const struct sip_store_ops *sip_sqlite_store_operations(void);

#endif
