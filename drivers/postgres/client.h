#ifndef SIP_POSTGRES_CLIENT_H
#define SIP_POSTGRES_CLIENT_H
/* client.h - a PostgreSQL database for scripts: a pool of connections, used without blocking.
 *
 * Jobs wait in one queue, in order, and are sent down the pipeline of a connection; each is a
 * transaction of its own. A sip_pg_tx has one connection for itself from its BEGIN to its COMMIT
 * or ROLLBACK. Connections come and go between `min` and `max`; when one breaks, what it had not
 * been sent yet goes to another one, and what was under way fails with SQL_LOST. All functions are
 * for the loop thread, and so is the work, but for the look-up of host names and the requests to
 * cancel, which are on libuv's pool. */
#include "core/base.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/list.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct sip_pg_pool;
struct sip_pg_link; /* a connection */
struct sip_pg_tx;   /* a transaction */
struct sip_pg_plan; /* a statement that a connection has prepared */

enum { SIP_PG_MAX_PARAMS = 999, SIP_PG_MAX_SQL_BYTES = 1000000 };

enum sip_pg_kind {
  SIP_PG_STATEMENT, /* one statement with parameters; rows if it has any */
  SIP_PG_SCRIPT,    /* any number of statements, no parameters, no rows */
  SIP_PG_PING,      /* nothing: that there is a connection */
  SIP_PG_BEGIN,     /* with job->tx; its sql says how */
  SIP_PG_COMMIT,
  SIP_PG_ROLLBACK
};

/* What a column's text is to be made into. */
enum sip_pg_type {
  SIP_PG_TEXT, /* also numeric, whose digits are all kept */
  SIP_PG_INTEGER,
  SIP_PG_REAL,
  SIP_PG_BOOLEAN,
  SIP_PG_BYTES,   /* the cell holds the bytes themselves */
  SIP_PG_INSTANT, /* timestamptz: the cell is RFC 3339 in UTC */
  SIP_PG_LOCAL,   /* timestamp: the same without an offset */
  SIP_PG_JSON
};

struct sip_pg_column {
  enum sip_pg_type type; /* of an array: of its elements */
  bool is_array;         /* the cell is the array's text: see sip_pg_array_next */
};

/* Bytes in the job's `bytes` from `at` on. */
struct sip_pg_cell {
  size_t at, len;
  bool is_null, is_binary; /* binary: a parameter for bytea */
};

struct sip_pg_job;
/** Loop thread, once per job that was started; `job->err.code` is 0 or says what failed. Not called
 * for a job that was dropped. May call sip_pg_job_free(job). */
typedef void (*sip_pg_done_fn)(struct sip_pg_job *job, void *arg);

/* One thing to do, in a heap block of its own. The fields above the line are the caller's: set
 * before the start, read after `done`. */
struct sip_pg_job {
  enum sip_pg_kind kind;
  struct sip_pg_tx *tx; /* borrowed, until `done`: the transaction it belongs to; NULL: none */
  struct sip_buf sql;   /* with $1 … for its parameters */
  struct sip_buf bytes; /* parameters, then results */
  struct sip_pg_cell *params;
  size_t param_count;
  struct sip_pg_cell *cells; /* row_count * column_count, row by row; valid after `done` */
  struct sip_pg_column *columns;
  size_t row_count, column_count;
  struct sip_buf names; /* column names, each ended by a NUL */
  int64_t changes;      /* rows inserted, updated or deleted */
  struct sip_err err;   /* code 0: it worked */
  /* ---- the engine's ---- */
  struct sip_list node; /* in the pool's queue, or a link's list */
  struct sip_pg_pool *pool;
  struct sip_pg_link *link; /* the connection that it was given to, or NULL */
  struct sip_pg_plan *plan; /* borrowed from the link while it is under way */
  sip_pg_done_fn done;
  void *arg;
  uint64_t deadline_ms; /* of the loop's time: how long it may wait for a connection */
  size_t param_cap, cell_count, cell_cap, param_bytes;
  unsigned leading; /* commands before its own: DEALLOCATE, Parse */
  bool started, sent, dropped, canceled, repeated;
  bool unparsed; /* the server does not have its plan */
};

struct sip_pg_options {
  const char *url;               /* copied; postgres://… or postgresql://… */
  size_t min, max;               /* connections */
  size_t pipeline;               /* statements under way on one connection when all are busy */
  size_t statements;             /* prepared ones that a connection keeps; 0: none */
  size_t max_result_bytes;       /* rows of one job; beyond it the job fails with TOO_BIG */
  size_t max_queue;              /* jobs that may wait; beyond it a start fails with QUEUE_FULL */
  uint64_t wait_ms;              /* how long a job waits for a connection */
  uint64_t connect_timeout_ms;   /* of one attempt */
  uint64_t statement_timeout_ms; /* of the server; 0: none */
  uint64_t idle_ms;              /* a connection beyond `min` that rests for so long is closed */
  uint64_t health_ms;            /* one that rests for so long is asked whether it is there */
};

struct sip_pg_status {
  size_t connections, idle, held, connecting, waiting, under_way;
  uint64_t opened, broken, statements, prepared; /* since the start */
};

/** An empty job, or NULL when memory is out. */
struct sip_pg_job *sip_pg_job_new(enum sip_pg_kind kind);

/** Frees a job, in whatever state: one that waits leaves the queue, one that runs is cancelled at
 * the server; `done` is not called in either case. NULL is fine. */
void sip_pg_job_free(struct sip_pg_job *job);

/** Appends a parameter as text, or as bytes for bytea; NULL data is NULL. @return 0, UV_ENOMEM, or
 *  SIP_ETOOBIG when there are SIP_PG_MAX_PARAMS */
int sip_pg_job_bind(struct sip_pg_job *job, const char *data, size_t len, bool is_binary);

/** Sets the statement, with its question marks (? and ?1) made into $1 …; ?? is a question mark. A
 *  statement that has $1 … is taken as it is. Texts, names and comments are left alone.
 *  @return 0, UV_ENOMEM, SIP_ETOOBIG, or SIP_EDATA for one that begins or ends a transaction */
int sip_pg_job_set_sql(struct sip_pg_job *job, const char *text, size_t len, struct sip_err *err);

/** A pool without connections: they come with the first job. @return 0 or a negative code: the URL
 *  does not parse (SIP_ECONFIG), or memory is out */
int sip_pg_pool_new(struct sip_pg_pool **out, uv_loop_t *loop, const struct sip_pg_options *options,
                    struct sip_err *err);

/** Refuses new jobs, ends all others with UV_ECANCELED (their `done` runs before this returns),
 * closes the connections and frees. NULL is fine. */
void sip_pg_pool_close(struct sip_pg_pool *pool);

void sip_pg_pool_status(const struct sip_pg_pool *pool, struct sip_pg_status *out);

/** Queues a job. @return 0; SIP_EQUEUEFULL, SIP_ECLOSED or another code with `err`: `done` is not
 * called then */
int sip_pg_start(struct sip_pg_pool *pool, struct sip_pg_job *job, sip_pg_done_fn done, void *arg,
                 struct sip_err *err);

/** A transaction, not begun: start a job of kind BEGIN with job->tx, then jobs with it, then COMMIT
 * or ROLLBACK. NULL when memory is out. */
struct sip_pg_tx *sip_pg_tx_new(struct sip_pg_pool *pool);

/** Forgets it; one that is open is rolled back first. No job of it may be waiting for its `done`.
 * NULL is fine. */
void sip_pg_tx_free(struct sip_pg_tx *tx);

/** Whether it has a connection now. */
bool sip_pg_tx_open(const struct sip_pg_tx *tx);

enum sip_pg_token { SIP_PG_END, SIP_PG_OPEN, SIP_PG_CLOSE, SIP_PG_ITEM, SIP_PG_NULL, SIP_PG_WRONG };

/** The next part of an array's text from `*at` on; of an ITEM, `out` gets the text, its escapes
 *  replaced, after being emptied. WRONG: this is no array, or memory is out. */
enum sip_pg_token sip_pg_array_next(struct sip_slice text, size_t *at, struct sip_buf *out);

/** "host:port" of the n-th server that a URL names, from 0 on; one on this machine is "localhost".
 * @return false: there are not so many, or the URL does not parse */
bool sip_pg_place(const char *url, size_t n, char *out, size_t size);

#endif
