/* store.c - what the journal's writer does to its file, and opening and closing it. */
#include "sqlite/store.h"

#include "sqlite/page_cache.h"
#include "sqlite/store_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATEMENT_BYTES = 1000 };

/* --- running a batch: writer thread --- */

/* One row of SIP_STORE_NEXT_RECORDS. */
#define ROW "(?, ?, ?, ?, ?, ?)"

static const char *text_of(int number)
{
  static const char *const texts[] = {
    /* As RECORD_ADD, of a run that needs no look. */
    [SIP_STORE_NEXT_RECORD - SIP_STATEMENT_COUNT] =
      "INSERT INTO record (run, seq, at, phase, scope, body) VALUES ($1, $3, $4, $5, $6, $7)",
    /* The same of several; any fault ends the transaction, so what is before it is not kept aside.
     */
    [SIP_STORE_NEXT_RECORDS - SIP_STATEMENT_COUNT] =
      "INSERT OR FAIL INTO record (run, seq, at, phase, scope, body) VALUES " ROW ", " ROW ", " ROW
      ", " ROW ", " ROW ", " ROW ", " ROW ", " ROW,
    [SIP_STORE_DATA_VERSION - SIP_STATEMENT_COUNT] = "PRAGMA data_version",
    [SIP_STORE_BEGIN - SIP_STATEMENT_COUNT] = "BEGIN IMMEDIATE",
    [SIP_STORE_COMMIT - SIP_STATEMENT_COUNT] = "COMMIT",
  };

  return number < SIP_STATEMENT_COUNT ? sip_statements[number]
                                      : texts[number - SIP_STATEMENT_COUNT];
}

/* $1 to ?1: SQLite numbers what begins with $ by its first place in the text. */
int sip_store_prepare(struct sip_store *store, int number, sqlite3_stmt **out, struct sip_err *err)
{
  const char *known = text_of(number);
  char text[STATEMENT_BYTES];
  size_t len = strlen(known);

  if (store->statements[number] == NULL) {
    assert(len < sizeof text);
    for (size_t i = 0; i <= len; i++) {
      text[i] = known[i] == '$' ? '?' : known[i];
    }
    if (sqlite3_prepare_v3(store->db, text, -1, SQLITE_PREPARE_PERSISTENT,
                           &store->statements[number], NULL) != SQLITE_OK) {
      return sip_store_refused(store, err, "prepare a statement");
    }
  }
  *out = store->statements[number];
  return 0;
}

/* --- owners --- */

/* Where it is noted that a run is its owner's; another run may have the same place. */
static struct sip_store_owned *owned_at(struct sip_store *store, int64_t run)
{
  return &store->owned[((uint64_t)run * 0x9E3779B97F4A7C15U) >> (64 - SIP_STORE_OWNED_BITS)];
}

/* What was noted before counts no more. */
static void owners_forget(struct sip_store *store)
{
  store->owners_known++;
}

/* Somebody else, who has the file open too, has written to it since the last transaction. */
static int owners_look(struct sip_store *store, struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sip_store_prepare(store, SIP_STORE_DATA_VERSION, &statement, err);
  int64_t version;

  if (rc < 0) {
    return rc;
  }
  if (sqlite3_step(statement) != SQLITE_ROW) {
    rc = sip_store_refused(store, err, "look for other writers");
    (void)sqlite3_reset(statement); /* repeats the error, which was told */
    return rc;
  }
  version = sqlite3_column_int64(statement, 0);
  (void)sqlite3_reset(statement); /* it gave its row */
  if (version != store->data_version) {
    store->data_version = version;
    owners_forget(store);
  }
  return 0;
}

static bool is_owned(struct sip_store *store, const struct sip_batch *batch,
                     const struct sip_op *op)
{
  const struct sip_cell *cells = &batch->cells[op->first];
  const struct sip_store_owned *owned = owned_at(store, cells[0].integer);

  return owned->known == store->owners_known && owned->run == cells[0].integer &&
         owned->epoch == cells[1].integer;
}

/* What a statement that was run says about owners. */
static void owners_learn(struct sip_store *store, const struct sip_batch *batch,
                         const struct sip_op *op)
{
  if (op->statement == SIP_STATEMENT_RUN_ADD || op->statement == SIP_STATEMENT_RECORD_ADD) {
    if (op->changes == 1) {
      const struct sip_cell *cells = &batch->cells[op->first];

      *owned_at(store, cells[0].integer) =
        (struct sip_store_owned){ cells[0].integer, cells[1].integer, store->owners_known };
    }
  } else if (op->statement < SIP_STATEMENT_META_GET && op->statement != SIP_STATEMENT_RUN_STATE) {
    owners_forget(store); /* it may have changed one */
  }
}

/* Whose a run is was seen in this transaction, or in one before since which nobody has changed an
 * owner: then its record needs no look at it. */
static int store_run_op(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                        struct sip_err *err)
{
  bool is_known = op->statement == SIP_STATEMENT_RECORD_ADD && is_owned(store, batch, op);
  sqlite3_stmt *statement = NULL;
  int rc =
    sip_store_prepare(store, is_known ? SIP_STORE_NEXT_RECORD : op->statement, &statement, err);

  rc = rc < 0 ? rc : sip_store_step(store, statement, batch, op, err);
  if (rc == 0) {
    owners_learn(store, batch, op);
  }
  return rc;
}

/* Whether so many records from `first` on are of runs that need no look. */
static bool are_owned(struct sip_store *store, const struct sip_batch *batch, size_t first)
{
  size_t end = first + SIP_STORE_ROWS;

  for (; first < end && first < batch->op_count; first++) {
    const struct sip_op *op = &batch->ops[first];

    if (op->statement != SIP_STATEMENT_RECORD_ADD || op->group > 0 ||
        op->count != SIP_STORE_RECORD_CELLS || !is_owned(store, batch, op)) {
      return false;
    }
  }
  return first == end;
}

static int store_run_records(struct sip_store *store, struct sip_batch *batch, size_t first,
                             struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sip_store_prepare(store, SIP_STORE_NEXT_RECORDS, &statement, err);

  return rc < 0 ? rc : sip_store_step_records(store, statement, batch, &batch->ops[first], err);
}

/* @return 0, a negative code, or SIP_STORE_AGAIN */
static int store_run(struct sip_store *store, struct sip_batch *batch, struct sip_err *err)
{
  size_t count;
  int rc = 0;

  for (size_t i = 0; rc == 0 && i < batch->op_count; i += count) {
    count = batch->ops[i].group > 0 ? batch->ops[i].group : 1;
    if (batch->ops[i].group > 0) {
      rc = sip_store_run_group(store, batch, i, err);
      owners_forget(store); /* a script's statements may write anywhere */
    } else if (are_owned(store, batch, i)) {
      count = SIP_STORE_ROWS;
      rc = store_run_records(store, batch, i, err);
    } else {
      rc = store_run_op(store, batch, &batch->ops[i], err);
    }
  }
  return rc;
}

static int store_exec(struct sip_store *store, const char *text, struct sip_err *err)
{
  return sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK
           ? 0
           : sip_store_refused(store, err, text);
}

/* A statement of the store's own, without parameters and rows. */
static int store_say(struct sip_store *store, int number, struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sip_store_prepare(store, number, &statement, err);

  if (rc == 0) {
    rc =
      sqlite3_step(statement) == SQLITE_DONE ? 0 : sip_store_refused(store, err, text_of(number));
    (void)sqlite3_reset(statement); /* repeats the error, which was told */
  }
  return rc;
}

/* The log grows by commits and is carried over into the file here, where a fault is seen: what was
 * committed is in the log still, so only what comes next fails. */
static void store_checkpoint(struct sip_store *store)
{
  int rc;

  if (store->wal_pages < SIP_STORE_WAL_PAGES) {
    return;
  }
  rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  store->wal_pages = 0;
  if (rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_LOCKED) { /* somebody reads: later */
    (void)sip_store_refused(store, &store->failure, "carry the log over");
  }
}

/* @return 0, a negative code, or SIP_STORE_AGAIN */
static int store_transact(struct sip_store *store, struct sip_list *batches, struct sip_err *err)
{
  int rc = store_say(store, SIP_STORE_BEGIN, err);

  rc = rc < 0 ? rc : owners_look(store, err);
  for (struct sip_list *node = batches->next; rc == 0 && node != batches; node = node->next) {
    rc = store_run(store, SIP_CONTAINER(node, struct sip_batch, link), err);
  }
  if (rc == 0) {
    rc = store_say(store, SIP_STORE_COMMIT, err);
  }
  if (rc != 0) {
    owners_forget(store); /* what was learned is taken back */
  }
  if (rc != 0 && !sqlite3_get_autocommit(store->db)) {
    (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL); /* the first fault is the one */
  }
  return rc;
}

/* All of the batches in one transaction: durable together, or not at all. A group that ended the
 * transaction has failed then and is passed over the next time, so this comes to an end. */
static void store_commit(struct sip_store *store, struct sip_list *batches)
{
  struct sip_err err = store->failure;

  while (err.code == 0 && store_transact(store, batches, &err) == SIP_STORE_AGAIN) {
    for (struct sip_list *node = batches->next; node != batches; node = node->next) {
      sip_batch_forget(SIP_CONTAINER(node, struct sip_batch, link), false);
    }
  }
  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    SIP_CONTAINER(node, struct sip_batch, link)->err = err; /* code 0 when all is well */
  }
  if (err.code == 0) {
    store_checkpoint(store);
  }
}

/* --- loop threads --- */

static void store_submit(struct sip_store *store, struct sip_store_client *client,
                         struct sip_batch *batch)
{
  sip_writer_submit(store->writer, client, batch);
}

static struct sip_batch *store_collect(struct sip_store *store, struct sip_store_client *client)
{
  return sip_writer_collect(store->writer, client);
}

/* --- open and close --- */

static void store_free(struct sip_store *store)
{
  for (size_t i = 0; i < SIP_STORE_STATEMENTS; i++) {
    (void)sqlite3_finalize(store->statements[i]); /* repeats an error that was told */
  }
  (void)sqlite3_close_v2(store->db); /* always SQLITE_OK; NULL is fine */
  if (store->lock_fd >= 0) {
    (void)close(store->lock_fd); /* gives the lock back */
  }
  free(store->place);
  free(store);
}

static int store_open(struct sip_store **out, const char *place, struct sip_store_report *report,
                      struct sip_err *err)
{
  struct sip_store *store = calloc(1, sizeof *store);
  int rc;

  if (store == NULL) {
    return sip_err_set(err, UV_ENOMEM, "journal %s: not enough memory", place);
  }
  store->lock_fd = -1;
  store->owners_known = 1;
  store->place = strdup(place);
  rc = store->place == NULL ? sip_err_set(err, UV_ENOMEM, "journal %s: not enough memory", place)
                            : sip_store_open_file(store, report, err);
  if (rc == 0) {
    rc = sip_writer_start(&store->writer, store, store_commit, 0, err);
  }
  if (rc < 0) {
    store_free(store);
    return rc;
  }
  *out = store;
  return 0;
}

static int store_note(struct sip_store *store, const char *line, struct sip_err *err)
{
  ssize_t len = (ssize_t)strlen(line);

  return ftruncate(store->lock_fd, store->note_at) < 0 ||
             pwrite(store->lock_fd, line, (size_t)len, store->note_at) != len
           ? sip_err_errno(err, errno, "journal: write %s.lock", store->place)
           : 0;
}

/* The writer is idle: it leaves the file alone until something is submitted. */
static int store_shrink(struct sip_store *store, int64_t *before, int64_t *after,
                        struct sip_err *err)
{
  int rc = sip_store_file_size(store, before, err);

  if (rc == 0) {
    rc = store_exec(store, "VACUUM", err);
  }
  if (rc == 0) { /* what VACUUM wrote to the log goes to the file, which is cut then */
    rc = store_exec(store, "PRAGMA wal_checkpoint(TRUNCATE)", err);
  }
  return rc == 0 ? sip_store_file_size(store, after, err) : rc;
}

static void store_close(struct sip_store *store)
{
  sip_writer_stop(store->writer);
  store_free(store);
}

const struct sip_store_ops *sip_sqlite_store_operations(void)
{
  static const struct sip_store_ops operations = {
    .open = store_open,
    .submit = store_submit,
    .collect = store_collect,
    .note = store_note,
    .shrink = store_shrink,
    .close = store_close,
  };

  /* The count of all its memory, which nobody asks for, is two locks for each allocation. Once
   * SQLite is in use this is refused: then it counts. */
  (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  sip_page_cache_use();
  return &operations;
}
