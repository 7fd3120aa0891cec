/* store.c - what the journal's writer does to its file, and opening and closing it. */
#include "sqlite/store.h"

#include "sqlite/store_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATEMENT_BYTES = 1000 };

/* As RECORD_ADD, of a run that needs no look. */
static const char next_record[] =
  "INSERT INTO record (run, seq, at, phase, scope, body) VALUES ($1, $3, $4, $5, $6, $7)";

/* --- running a batch: writer thread --- */

/* $1 to ?1: SQLite numbers what begins with $ by its first place in the text. */
int sip_store_prepare(struct sip_store *store, int number, sqlite3_stmt **out, struct sip_err *err)
{
  const char *known = number == SIP_STORE_NEXT_RECORD ? next_record : sip_statements[number];
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

/* Its first two parameters are those of the last run that was found to be its owner's. */
static bool is_of_last_run(const struct sip_store *store, const struct sip_batch *batch,
                           const struct sip_op *op)
{
  const struct sip_cell *cells = &batch->cells[op->first];

  return store->has_last_run && cells[0].integer == store->last_run &&
         cells[1].integer == store->last_epoch;
}

/* A record follows another one of its run, or the run itself: that the run is still its owner's was
 * seen a moment ago, in this transaction. */
static int store_run_op(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                        struct sip_err *err)
{
  bool is_record = op->statement == SIP_STATEMENT_RECORD_ADD;
  bool follows = is_record && is_of_last_run(store, batch, op);
  sqlite3_stmt *statement = NULL;
  int rc =
    sip_store_prepare(store, follows ? SIP_STORE_NEXT_RECORD : op->statement, &statement, err);

  rc = rc < 0 ? rc : sip_store_step(store, statement, batch, op, err);
  store->has_last_run =
    rc == 0 && op->changes == 1 && (is_record || op->statement == SIP_STATEMENT_RUN_ADD);
  if (store->has_last_run) {
    store->last_run = batch->cells[op->first].integer;
    store->last_epoch = batch->cells[op->first + 1].integer;
  }
  return rc;
}

/* @return 0, a negative code, or SIP_STORE_AGAIN */
static int store_run(struct sip_store *store, struct sip_batch *batch, struct sip_err *err)
{
  size_t count;
  int rc = 0;

  for (size_t i = 0; rc == 0 && i < batch->op_count; i += count) {
    count = batch->ops[i].group > 0 ? batch->ops[i].group : 1;
    store->has_last_run = store->has_last_run && batch->ops[i].group == 0;
    rc = batch->ops[i].group > 0 ? sip_store_run_group(store, batch, i, err)
                                 : store_run_op(store, batch, &batch->ops[i], err);
  }
  return rc;
}

static int store_exec(struct sip_store *store, const char *text, struct sip_err *err)
{
  return sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK
           ? 0
           : sip_store_refused(store, err, text);
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
  int rc = store_exec(store, "BEGIN IMMEDIATE", err);

  store->has_last_run = false;
  for (struct sip_list *node = batches->next; rc == 0 && node != batches; node = node->next) {
    rc = store_run(store, SIP_CONTAINER(node, struct sip_batch, link), err);
  }
  if (rc == 0) {
    rc = store_exec(store, "COMMIT", err);
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
  return &operations;
}
