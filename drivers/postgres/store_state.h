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

enum sip_pg_outcome {
  SIP_PG_DONE,
  SIP_PG_DONE_BEFORE, /* by the try before, whose commit got no answer */
  SIP_PG_REPEAT,
  SIP_PG_FAILED
};

/* A statement's parameters in the form that libpq takes. */
struct sip_pg_parameters {
  const char *values[SIP_BATCH_MAX_CELLS];
  int lengths[SIP_BATCH_MAX_CELLS], binary[SIP_BATCH_MAX_CELLS];
  uint64_t integers[SIP_BATCH_MAX_CELLS]; /* in network order */
};

struct sip_store {
  PGconn *conn;                       /* NULL: not connected */
  bool prepared[SIP_STATEMENT_COUNT]; /* on this connection */
  char *place;                        /* owned; may hold a password: never shown */
  char shown[200];                    /* the place without secrets */
  int64_t epoch;                      /* 0: not registered yet */
  int64_t sequence;                   /* of the last transaction of batches */
  uint64_t renewed_at_ms;             /* monotonic: when the lease was renewed last */
  struct sip_buf scratch;             /* texts on their way, in another form */
  struct sip_buf sql;                 /* a script's statement on its way */
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

/** Parameters of a statement of the journal's own, or of a script's, whose types the server infers
 *  from texts. Valid until the next call. @return 0, UV_ENOMEM or SIP_EDATA */
int sip_pg_fill(struct sip_store *store, struct sip_pg_parameters *to,
                const struct sip_batch *batch, const struct sip_op *op);
int sip_pg_fill_script(struct sip_store *store, struct sip_pg_parameters *to,
                       const struct sip_batch *batch, const struct sip_op *op);

/** Takes the rows of a result into the batch. @return 0 or a negative code */
int sip_pg_take(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                const PGresult *result);

/** Sends a statement of the journal's own, which is prepared. */
bool sip_pg_send_op(struct sip_store *store, const struct sip_batch *batch,
                    const struct sip_op *op);

/** The result of the next statement of the pipeline; the caller clears it. */
PGresult *sip_pg_next_result(struct sip_store *store);

/** Reads what is still on its way, up to the end of the pipeline. */
void sip_pg_leave_pipeline(struct sip_store *store);

/** Runs the group at `first` in a savepoint. DONE also when the group has failed (batch.h). */
enum sip_pg_outcome sip_pg_run_group(struct sip_store *store, struct sip_batch *batch, size_t first,
                                     struct sip_err *err);

/** Whether the connection is gone, or the server asked to try again. */
bool sip_pg_may_repeat(const struct sip_store *store, const PGresult *result);

#endif
