/* sqlite.c - a connection: the queue of its jobs, its transaction, its end.
 *
 * Loop thread only. What the jobs do is in file.c. A job is in one of three places: with its owner,
 * in the queue, or running. The connection frees itself once its closing job is through. */
#include "sqlite/sqlite.h"

#include "sqlite/file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct sip_sqlite {
  uv_loop_t *loop;             /* borrowed: outlives the connection */
  struct sip_sqlite_file file; /* the running job's, while there is one */
  struct sip_list queue;       /* jobs that wait */
  size_t queued;
  struct sip_sqlite_job *running; /* borrowed; owned when it was dropped */
  struct sip_sqlite_tx *tx;       /* borrowed: has the connection; NULL: nobody */
  struct sip_sqlite_job *closer;  /* made in advance, so that closing cannot fail */
  size_t transactions;            /* that point here; the connection outlives them */
  bool closing, closed;           /* jobs are refused; the file is closed */
};

struct sip_sqlite_tx {
  struct sip_sqlite *db;       /* counted in db->transactions */
  struct sip_sqlite_job *undo; /* ROLLBACK, made in advance; NULL while it is on its way */
  bool orphan;                 /* its owner is gone: the engine frees it */
};

static void db_pump(struct sip_sqlite *db);

static void job_destroy(struct sip_sqlite_job *job)
{
  sip_buf_deinit(&job->sql);
  sip_buf_deinit(&job->bytes);
  sip_buf_deinit(&job->names);
  free(job->params);
  free(job->steps);
  free(job->cells);
  free(job);
}

void sip_sqlite_job_free(struct sip_sqlite_job *job)
{
  if (job == NULL) {
    return;
  }
  if (job->running) {
    job->dropped = true;
    atomic_store_explicit(&job->stop, true, memory_order_relaxed);
    sip_work_cancel(&job->work); /* if no thread has begun it; its end comes in either case */
    return;
  }
  if (job->started) {
    sip_list_remove(&job->link);
    job->db->queued--;
  }
  job_destroy(job);
}

/* Hands the job back. */
static void job_end(struct sip_sqlite_job *job)
{
  job->started = false;
  job->running = false;
  if (job->dropped) {
    job_destroy(job);
  } else {
    job->done(job, job->arg);
  }
}

/* Ends the waiting jobs of `tx`, or all of them for NULL. */
static void queue_refuse(struct sip_sqlite *db, const struct sip_sqlite_tx *tx, int code,
                         const char *why)
{
  struct sip_list refused, kept, *node;

  sip_list_init(&refused);
  sip_list_init(&kept);
  while ((node = sip_list_shift(&db->queue)) != NULL) {
    struct sip_sqlite_job *job = SIP_CONTAINER(node, struct sip_sqlite_job, link);

    sip_list_push(tx == NULL || job->tx == tx ? &refused : &kept, node);
  }
  sip_list_move(&db->queue, &kept);
  while ((node = sip_list_shift(&refused)) != NULL) {
    struct sip_sqlite_job *job = SIP_CONTAINER(node, struct sip_sqlite_job, link);

    db->queued--;
    (void)sip_err_set(&job->err, code, "sql: %s", why);
    job_end(job);
  }
}

/* --- transactions --- */

static void db_free_if_unused(struct sip_sqlite *db)
{
  if (db->closed && db->transactions == 0) {
    sip_sqlite_job_free(db->closer);
    free(db);
  }
}

static void tx_destroy(struct sip_sqlite_tx *tx)
{
  struct sip_sqlite *db = tx->db;

  sip_sqlite_job_free(tx->undo);
  free(tx);
  db->transactions--;
  db_free_if_unused(db);
}

/* The rollback of a transaction that nobody owns any more has run, or was refused because the file
 * closes. */
static void undo_on_done(struct sip_sqlite_job *job, void *arg)
{
  struct sip_sqlite_tx *tx = job->tx;

  (void)arg;
  sip_sqlite_job_free(job);
  tx_destroy(tx);
}

static void tx_undo(struct sip_sqlite_tx *tx)
{
  struct sip_sqlite *db = tx->db;
  struct sip_sqlite_job *undo = tx->undo;

  tx->undo = NULL;
  undo->started = true;
  sip_list_push(&db->queue, &undo->link); /* the only job of tx, so it is next */
  db->queued++;
}

/* What a job means for who has the connection; `ran` is false when no thread has begun it. */
static void tx_after(struct sip_sqlite *db, const struct sip_sqlite_job *job, bool ran)
{
  struct sip_sqlite_tx *tx = job->tx;

  if (tx == NULL) {
    return;
  }
  if (ran && job->kind == SIP_SQLITE_BEGIN && job->err.code == 0) {
    db->tx = tx;
  } else if (ran && (job->kind == SIP_SQLITE_COMMIT || job->kind == SIP_SQLITE_ROLLBACK)) {
    db->tx = NULL;
    queue_refuse(db, tx, SIP_ECLOSED, "the transaction is over");
  }
  if (!tx->orphan || job->done == undo_on_done) {
    return;
  }
  if (db->tx == tx) {
    tx_undo(tx);
  } else {
    tx_destroy(tx);
  }
}

struct sip_sqlite_tx *sip_sqlite_tx_new(struct sip_sqlite *db)
{
  struct sip_sqlite_tx *tx = calloc(1, sizeof *tx);

  if (tx == NULL) {
    return NULL;
  }
  tx->db = db;
  tx->undo = sip_sqlite_job_new(SIP_SQLITE_ROLLBACK);
  if (tx->undo == NULL) {
    free(tx);
    return NULL;
  }
  tx->undo->tx = tx;
  tx->undo->db = db;
  tx->undo->done = undo_on_done;
  db->transactions++;
  return tx;
}

void sip_sqlite_tx_free(struct sip_sqlite_tx *tx)
{
  struct sip_sqlite *db = tx == NULL ? NULL : tx->db;

  if (tx == NULL) {
    return;
  }
  queue_refuse(db, tx, SIP_ECLOSED, "the transaction is over");
  if (db->running != NULL && db->running->tx == tx) {
    tx->orphan = true; /* tx_after sees to it */
  } else if (db->tx == tx) {
    tx->orphan = true;
    tx_undo(tx);
    db_pump(db);
  } else {
    tx_destroy(tx);
  }
}

bool sip_sqlite_tx_open(const struct sip_sqlite_tx *tx)
{
  return tx->db->tx == tx;
}

/* --- the queue --- */

static void work_on_run(struct sip_work *work)
{
  struct sip_sqlite_job *job = SIP_CONTAINER(work, struct sip_sqlite_job, work);

  sip_sqlite_file_run(&job->db->file, job);
}

static void work_on_done(struct sip_work *work, int status)
{
  struct sip_sqlite_job *job = SIP_CONTAINER(work, struct sip_sqlite_job, work);
  struct sip_sqlite *db = job->db;

  if (status < 0) {
    (void)sip_err_set(&job->err, status, "sql: cancelled");
  }
  db->running = NULL;
  if (job->kind == SIP_SQLITE_CLOSE) {
    job->running = false;
    job->started = false;
    db->tx = NULL;
    db->closed = true;
    if (sip_list_empty(&db->queue)) {
      db_free_if_unused(db);
    } else { /* the rollback of a transaction that was given up meanwhile: that frees all */
      queue_refuse(db, NULL, SIP_ECLOSED, "the database was closed");
    }
    return;
  }
  tx_after(db, job, status == 0);
  job_end(job);
  db_pump(db);
}

/* The next job that may run; NULL when none. */
static struct sip_sqlite_job *queue_next(struct sip_sqlite *db)
{
  for (struct sip_list *node = db->queue.next; node != &db->queue; node = node->next) {
    struct sip_sqlite_job *job = SIP_CONTAINER(node, struct sip_sqlite_job, link);

    if (db->tx == NULL || job->tx == db->tx) {
      sip_list_remove(node);
      db->queued--;
      return job;
    }
  }
  return NULL;
}

static void db_run(struct sip_sqlite *db, struct sip_sqlite_job *job)
{
  int rc;

  job->running = true;
  db->running = job;
  rc = sip_work_start(db->loop, &job->work, work_on_run, work_on_done);
  assert(rc == 0); /* uv_queue_work fails for a NULL callback only */
  (void)rc;
}

/* Starts the next job, unless one runs. */
static void db_pump(struct sip_sqlite *db)
{
  struct sip_sqlite_job *job;

  if (db->running != NULL) {
    return;
  }
  job = queue_next(db);
  if (job == NULL && db->closing && !db->closed) {
    job = db->closer;
  }
  if (job != NULL) {
    db_run(db, job);
  }
}

int sip_sqlite_start(struct sip_sqlite *db, struct sip_sqlite_job *job, sip_sqlite_done_fn done,
                     void *arg, struct sip_err *err)
{
  assert(!job->started);
  if (db->closing) {
    return sip_err_set(err, SIP_ECLOSED, "sql: the database was closed");
  }
  if (job->tx != NULL && job->kind != SIP_SQLITE_BEGIN && db->tx != job->tx) {
    return sip_err_set(err, SIP_ECLOSED, "sql: the transaction is over");
  }
  if (db->queued >= db->file.options.max_queue) {
    return sip_err_set(err, SIP_EQUEUEFULL, "sql: %zu statements wait already", db->queued);
  }
  if (job->kind <= SIP_SQLITE_BATCH &&
      (job->sql.len == 0 || job->sql.len > SIP_SQLITE_MAX_SQL_BYTES ||
       memchr(job->sql.data, '\0', job->sql.len) != NULL)) {
    return sip_err_named(err, SIP_ESQL, "SQL_ERROR",
                         "sql: a statement is text of 1 to %d bytes without NUL",
                         SIP_SQLITE_MAX_SQL_BYTES);
  }
  job->db = db;
  job->done = done;
  job->arg = arg;
  job->started = true;
  sip_list_push(&db->queue, &job->link);
  db->queued++;
  db_pump(db);
  return 0;
}

int sip_sqlite_new(struct sip_sqlite **out, uv_loop_t *loop,
                   const struct sip_sqlite_options *options, struct sip_sqlite_job *job,
                   sip_sqlite_done_fn done, void *arg, struct sip_err *err)
{
  struct sip_sqlite *db = NULL;
  struct sip_sqlite_options *o;

  if (job->sql.len == 0 || memchr(job->sql.data, '\0', job->sql.len) != NULL) {
    return sip_err_set(err, UV_EINVAL, "sql: open: a path is text of at least 1 byte without NUL");
  }
  db = calloc(1, sizeof *db);
  if (db == NULL) {
    return sip_err_set(err, UV_ENOMEM, "sql: open %s: out of memory", job->sql.data);
  }
  db->closer = sip_sqlite_job_new(SIP_SQLITE_CLOSE);
  if (db->closer == NULL) {
    free(db);
    return sip_err_set(err, UV_ENOMEM, "sql: open %s: out of memory", job->sql.data);
  }
  db->closer->db = db;
  db->loop = loop;
  sip_list_init(&db->queue);
  o = &db->file.options;
  *o = *options;
  o->busy_timeout_ms = o->busy_timeout_ms == 0 ? 5000 : o->busy_timeout_ms;
  o->max_result_bytes = o->max_result_bytes == 0 ? (size_t)64 << 20 : o->max_result_bytes;
  o->max_queue = o->max_queue == 0 ? 10000 : o->max_queue;
  *out = db;
  return sip_sqlite_start(db, job, done, arg, err);
}

void sip_sqlite_close(struct sip_sqlite *db)
{
  if (db == NULL || db->closing) {
    return;
  }
  db->closing = true;
  queue_refuse(db, NULL, UV_ECANCELED, "the database was closed");
  db_pump(db);
}
