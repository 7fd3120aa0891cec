#ifndef SIP_POSTGRES_STORE_STATE_H
#define SIP_POSTGRES_STORE_STATE_H
/* store_state.h - what the files of the store share. The writer's thread has it all once it runs.
 */
#include "core/buf.h"
#include "journal/port.h"
#include "journal/statements.h"
#include "journal/writer.h"

#include <libpq-fe.h>
#include <stdbool.h>

enum { SIP_LEASE_MS = 15000, SIP_BEAT_MS = 3000 };

#define SIP_PG_NOW                                                                                 \
  "(extract(epoch FROM clock_timestamp()) * 1000)::bigint" /* the server's, in ms */

struct sip_store {
  PGconn *conn;                       /* NULL: not connected */
  bool prepared[SIP_STATEMENT_COUNT]; /* on this connection */
  char *place;                        /* owned; may hold a password: never shown */
  char shown[200];                    /* the place without secrets */
  int64_t epoch;                      /* 0: not registered yet */
  int64_t sequence;                   /* of the last transaction of batches */
  uint64_t renewed_at_ms;             /* monotonic: when the lease was renewed last */
  struct sip_buf scratch;             /* texts on their way, in another form */
  struct sip_writer *writer;          /* owned */
};

/** Connects, and makes the session what the journal needs. Blocks for up to ten seconds.
 *  @return 0 or a negative code */
int sip_pg_connect(struct sip_store *store, struct sip_err *err);
void sip_pg_disconnect(struct sip_store *store);

/** Makes and migrates the tables. @return 0 or a negative code */
int sip_pg_migrate(struct sip_store *store, int64_t *before, struct sip_err *err);

/** Becomes a host with a lease. @return 0 or a negative code */
int sip_pg_register(struct sip_store *store, struct sip_err *err);

/** The text of a statement: some need the server's clock. */
const char *sip_pg_statement(int number);

/** As PQgetResult, but waits for some seconds at most and breaks the connection then. */
PGresult *sip_pg_result(struct sip_store *store);

/** The last result of what was sent; the first that is an error. NULL without memory. */
PGresult *sip_pg_last_result(struct sip_store *store);

/** As PQexec, with that limit. The caller clears the result. */
PGresult *sip_pg_exec(struct sip_store *store, const char *text);

/** Runs one statement outside of a pipeline; `out` (may be NULL) gets its first value as a number.
 *  @return 0 or a negative code */
int sip_pg_ask(struct sip_store *store, const char *text, int64_t *out, struct sip_err *err);

/** Fills `err` with what the server, or the connection, said. @return the code, negative */
int sip_pg_refused(struct sip_store *store, const PGresult *result, struct sip_err *err,
                   const char *what);

/** Whether the connection is gone, or the server asked to try again. */
bool sip_pg_may_repeat(const struct sip_store *store, const PGresult *result);

#endif
