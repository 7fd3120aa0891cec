/* store.c - what the journal's writer does to its file, and opening and closing it. */
#include "sqlite/store.h"

#include "sqlite/store_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATEMENT_BYTES = 1000 };

/* --- running a batch: writer thread --- */

/* $1 to ?1: SQLite numbers what begins with $ by its first place in the text. */
static int store_prepare(struct sip_store *store, int number, sqlite3_stmt **out,
                         struct sip_err *err)
{
  char text[STATEMENT_BYTES];
  size_t len = strlen(sip_statements[number]);

  if (store->statements[number] == NULL) {
    assert(len < sizeof text);
    for (size_t i = 0; i <= len; i++) {
      text[i] = sip_statements[number][i] == '$' ? '?' : sip_statements[number][i];
    }
    if (sqlite3_prepare_v3(store->db, text, -1, SQLITE_PREPARE_PERSISTENT,
                           &store->statements[number], NULL) != SQLITE_OK) {
      return sip_store_refused(store, err, "prepare a statement");
    }
  }
  *out = store->statements[number];
  return 0;
}

/* The bytes stay where they are until the statement is reset: only rows move the batch's buffer,
 * and a statement that gives rows takes a copy of its parameters. */
static int bind_cell(sqlite3_stmt *statement, int index, const struct sip_batch *batch,
                     const struct sip_cell *cell, bool copied)
{
  sqlite3_destructor_type life = copied ? SQLITE_TRANSIENT : SQLITE_STATIC;
  const char *data = batch->bytes.data + cell->at;

  switch (cell->type) {
  case SIP_CELL_INTEGER:
    return sqlite3_bind_int64(statement, index, cell->integer);
  case SIP_CELL_TEXT:
    return sqlite3_bind_text64(statement, index, data, cell->len, life, SQLITE_UTF8);
  case SIP_CELL_BLOB:
    return sqlite3_bind_blob64(statement, index, data, cell->len, life);
  default:
    return sqlite3_bind_null(statement, index);
  }
}

static int take_cell(struct sip_batch *batch, sqlite3_stmt *statement, int column)
{
  struct sip_slice bytes;

  switch (sqlite3_column_type(statement, column)) {
  case SQLITE_INTEGER:
    return sip_batch_integer(batch, sqlite3_column_int64(statement, column));
  case SQLITE_NULL:
    return sip_batch_null(batch);
  case SQLITE_TEXT:
    bytes.data = (const char *)sqlite3_column_text(statement, column);
    bytes.len = (size_t)sqlite3_column_bytes(statement, column);
    return bytes.data == NULL ? UV_ENOMEM : sip_batch_text(batch, bytes);
  default:
    bytes.data = sqlite3_column_blob(statement, column);
    bytes.len = (size_t)sqlite3_column_bytes(statement, column);
    bytes.data = bytes.len == 0 ? "" : bytes.data; /* an empty blob has no address */
    return bytes.data == NULL ? UV_ENOMEM : sip_batch_blob(batch, bytes);
  }
}

static int take_row(struct sip_batch *batch, struct sip_op *op, sqlite3_stmt *statement)
{
  int columns = sqlite3_column_count(statement);
  int rc = sip_batch_row(batch, op, (size_t)columns);

  for (int i = 0; rc == 0 && i < columns; i++) {
    rc = take_cell(batch, statement, i);
  }
  return rc;
}

static int store_run_op(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                        struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = store_prepare(store, op->statement, &statement, err), step = SQLITE_ROW;

  if (rc < 0) {
    return rc;
  }
  for (size_t i = 0; i < op->count && step == SQLITE_ROW; i++) {
    if (bind_cell(statement, (int)i + 1, batch, &batch->cells[op->first + i],
                  sqlite3_column_count(statement) > 0) != SQLITE_OK) {
      step = SQLITE_ERROR;
    }
  }
  while (rc == 0 && step == SQLITE_ROW && (step = sqlite3_step(statement)) == SQLITE_ROW) {
    rc = take_row(batch, op, statement);
  }
  if (rc < 0) {
    rc = sip_err_set(err, rc, "journal %s: an answer does not fit into memory", store->place);
  } else if (step != SQLITE_DONE) {
    rc = sip_store_refused(store, err, "run a statement");
  }
  op->changes = sqlite3_column_count(statement) > 0 ? 0 : sqlite3_changes64(store->db);
  (void)sqlite3_reset(statement);          /* repeats the error of the step, which was told */
  (void)sqlite3_clear_bindings(statement); /* always SQLITE_OK */
  return rc;
}

static int store_run(struct sip_store *store, struct sip_batch *batch, struct sip_err *err)
{
  int rc = 0;

  for (size_t i = 0; rc == 0 && i < batch->op_count; i++) {
    rc = store_run_op(store, batch, &batch->ops[i], err);
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

/* All of the batches in one transaction: durable together, or not at all. */
static void store_commit(struct sip_store *store, struct sip_list *batches)
{
  struct sip_err err = { 0 };
  int rc;

  if (store->failure.code != 0) {
    err = store->failure;
  } else {
    (void)store_exec(store, "BEGIN IMMEDIATE", &err);
  }
  rc = err.code;
  for (struct sip_list *node = batches->next; rc == 0 && node != batches; node = node->next) {
    rc = store_run(store, SIP_CONTAINER(node, struct sip_batch, link), &err);
  }
  if (rc == 0) {
    rc = store_exec(store, "COMMIT", &err);
  }
  if (rc < 0 && !sqlite3_get_autocommit(store->db)) {
    (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL); /* the first fault is the one */
  }
  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    SIP_CONTAINER(node, struct sip_batch, link)->err = err; /* code 0 when all is well */
  }
  if (rc == 0) {
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
  for (size_t i = 0; i < SIP_STATEMENT_COUNT; i++) {
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
    .close = store_close,
  };

  return &operations;
}
