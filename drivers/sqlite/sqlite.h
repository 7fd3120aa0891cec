#ifndef SIP_SQLITE_H
#define SIP_SQLITE_H
/* sqlite.h - one SQLite database file, used without blocking the loop.
 *
 * A connection works on one job at a time, on libuv's pool; the others wait in its queue, in order.
 * A transaction has the connection for itself from its BEGIN to its COMMIT or ROLLBACK: jobs
 * outside of it wait. All functions are for the loop thread. Settings of every connection: WAL,
 * foreign keys on, synchronous=FULL, own busy wait. */
#include "core/base.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/list.h"
#include "core/work.h"

#include <stdatomic.h>
#include <stdbool.h>

struct sip_sqlite;    /* a connection */
struct sip_sqlite_tx; /* a transaction on it */

enum {
  SIP_SQLITE_MAX_PARAMS = 999, /* values bound to one statement */
  SIP_SQLITE_MAX_TEXTS = 32,   /* different statements in one batch */
  SIP_SQLITE_MAX_BATCH_BYTES = 64 << 20,
  SIP_SQLITE_MAX_SQL_BYTES = 1000000 /* SQLite's own default limit */
};

enum sip_sqlite_type {
  SIP_SQLITE_NULL,
  SIP_SQLITE_INTEGER,
  SIP_SQLITE_REAL,
  SIP_SQLITE_TEXT,
  SIP_SQLITE_BLOB
};

/* One typed value. Bytes of text and blobs lie in the job's `bytes` from `at` on. */
struct sip_sqlite_value {
  enum sip_sqlite_type type;
  union {
    int64_t integer;
    double real;
    struct {
      size_t at, len;
    } text;
  } as;
};

enum sip_sqlite_kind {
  SIP_SQLITE_STATEMENT, /* one statement with parameters; rows if it has any */
  SIP_SQLITE_SCRIPT,    /* any number of statements, no parameters, no rows */
  SIP_SQLITE_BATCH,     /* few statements again and again, each time with its values; no rows */
  SIP_SQLITE_OPEN,      /* the rest is for the engine and the tx functions */
  SIP_SQLITE_BEGIN,
  SIP_SQLITE_COMMIT,
  SIP_SQLITE_ROLLBACK,
  SIP_SQLITE_CLOSE
};

/* One run of a statement in a batch: the `text`-th of its texts, with the next `params` values. */
struct sip_sqlite_step {
  uint32_t text, params;
};

struct sip_sqlite_job;
/** Loop thread, once per job that was started; `job->err.code` is 0 or says what failed. Not called
 * for a job that was dropped. May call sip_sqlite_job_free(job). */
typedef void (*sip_sqlite_done_fn)(struct sip_sqlite_job *job, void *arg);

/* One thing to do, in a heap block of its own. The fields above the line are the caller's: set
 * before the start, read after `done`. */
struct sip_sqlite_job {
  enum sip_sqlite_kind kind;
  struct sip_sqlite_tx *tx; /* borrowed, until `done`: the transaction it belongs to; NULL: none */
  struct sip_buf sql;
  struct sip_buf bytes;            /* text of parameters, then of results */
  struct sip_sqlite_value *params; /* param_count of them */
  size_t param_count, param_cap;
  struct sip_sqlite_step *steps; /* of a batch: step_count of them */
  size_t step_count, step_cap;
  size_t texts[SIP_SQLITE_MAX_TEXTS + 1]; /* of a batch: where each begins in `sql`, and the end */
  size_t text_count;
  size_t stepped, stepped_bytes;  /* params, and bytes of `bytes`, that belong to steps */
  struct sip_sqlite_value *cells; /* row_count * column_count, row by row; valid after `done` */
  size_t row_count, column_count;
  struct sip_buf names; /* column names, each ended by a NUL */
  int64_t changes;      /* rows inserted, updated or deleted by this statement */
  int64_t last_id;      /* last_insert_rowid of the connection */
  struct sip_err err;   /* code 0: it worked */
  /* ---- the engine's ---- */
  struct sip_work work;
  struct sip_list link; /* in the connection's queue */
  struct sip_sqlite *db;
  sip_sqlite_done_fn done;
  void *arg;
  size_t cell_count, cell_cap;
  bool started, running, dropped;
  atomic_bool stop; /* set on the loop thread, read by the pool: give up as soon as possible */
};

struct sip_sqlite_options {
  uint64_t busy_timeout_ms; /* how long a job waits for another process's lock; 0: 5,000 */
  size_t max_result_bytes;  /* rows of one job; 0: 64 MiB; beyond it the job fails with TOO_BIG */
  size_t max_queue; /* jobs that may wait; 0: 10,000; beyond it a start fails with QUEUE_FULL */
  bool is_private;  /* a new file is for its owner only, and so is the folder made for it */
  bool sync_normal; /* synchronous=NORMAL: faster; a power cut may lose the last commits */
};

/** An empty job, or NULL when memory is out. */
struct sip_sqlite_job *sip_sqlite_job_new(enum sip_sqlite_kind kind);

/** Frees a job, in whatever state: one that waits leaves the queue, one that runs is stopped and
 * freed when its thread is done with it; `done` is not called in either case. Accepts NULL. */
void sip_sqlite_job_free(struct sip_sqlite_job *job);

/** Appends a parameter. @return 0, UV_ENOMEM, or SIP_ETOOBIG when the statement, or the step, has
 * SIP_SQLITE_MAX_PARAMS */
int sip_sqlite_job_bind(struct sip_sqlite_job *job, const struct sip_sqlite_value *value);
/** The same for text and blobs: `type` is SIP_SQLITE_TEXT or SIP_SQLITE_BLOB, the bytes are copied.
 */
int sip_sqlite_job_bind_bytes(struct sip_sqlite_job *job, enum sip_sqlite_type type,
                              const char *data, size_t len);

/** Ends a step of a batch: the values that were bound since the last one are those of `sql`.
 * @return 0, UV_ENOMEM, or SIP_ETOOBIG: more than SIP_SQLITE_MAX_TEXTS different statements */
int sip_sqlite_job_step(struct sip_sqlite_job *job, const char *sql, size_t len);

/** Forgets the values that were bound since the last step. */
void sip_sqlite_job_unbind(struct sip_sqlite_job *job);

/** What a batch takes in memory. */
size_t sip_sqlite_job_bytes(const struct sip_sqlite_job *job);

/** A connection that is opened by `job` (of kind SIP_SQLITE_OPEN, with the path in job->sql;
 * ":memory:" works). When `done` reports a failure, the connection is useless and must still be
 * closed.
 *  @return 0 or a negative code: then there is no connection, and the job was not taken */
int sip_sqlite_new(struct sip_sqlite **out, uv_loop_t *loop,
                   const struct sip_sqlite_options *options, struct sip_sqlite_job *job,
                   sip_sqlite_done_fn done, void *arg, struct sip_err *err);

/** Queues a job. @return 0; SIP_EQUEUEFULL, SIP_ECLOSED or another code with `err`: `done` is not
 * called then */
int sip_sqlite_start(struct sip_sqlite *db, struct sip_sqlite_job *job, sip_sqlite_done_fn done,
                     void *arg, struct sip_err *err);

/** Refuses new jobs, ends the waiting ones with UV_ECANCELED (their `done` runs before this
 * returns), lets the one that runs end, closes the file on the pool and frees. An open transaction
 * is rolled back. NULL is fine. */
void sip_sqlite_close(struct sip_sqlite *db);

/** A transaction, not begun: start a job of kind BEGIN with job->tx, then jobs with it, then COMMIT
 * or ROLLBACK. NULL when memory is out. */
struct sip_sqlite_tx *sip_sqlite_tx_new(struct sip_sqlite *db);

/** Forgets it; one that is open is rolled back first. No job of it may be waiting for its `done`.
 * NULL is fine. */
void sip_sqlite_tx_free(struct sip_sqlite_tx *tx);

/** Whether it has the connection now. */
bool sip_sqlite_tx_open(const struct sip_sqlite_tx *tx);

#endif
