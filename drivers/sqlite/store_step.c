/* store_step.c - one statement: its parameters, its rows. Writer thread. */
#include "sqlite/store_state.h"

#include <string.h>

/* The bytes stay where they are until the statement is reset: only rows move the batch's buffer,
 * and a statement that gives rows takes a copy of its parameters. */
static int bind_cell(sqlite3_stmt *statement, int index, const struct sip_batch *batch,
                     const struct sip_cell *cell, bool copied)
{
  sqlite3_destructor_type life = copied ? SQLITE_TRANSIENT : SQLITE_STATIC;
  const char *data = sip_batch_slice(batch, cell).data; /* NULL for numbers */

  switch (cell->type) {
  case SIP_CELL_INTEGER:
    return sqlite3_bind_int64(statement, index, cell->integer);
  case SIP_CELL_REAL:
    return sqlite3_bind_double(statement, index, cell->real);
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
  case SQLITE_FLOAT:
    return sip_batch_real(batch, sqlite3_column_double(statement, column));
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

/* What a script asks for has names. */
static int take_names(struct sip_batch *batch, struct sip_op *op, sqlite3_stmt *statement)
{
  int columns = sqlite3_column_count(statement);
  int rc = sip_batch_row(batch, op, (size_t)columns);

  for (int i = 0; rc == 0 && i < columns; i++) {
    const char *name = sqlite3_column_name(statement, i);

    rc = name == NULL ? UV_ENOMEM : sip_batch_text(batch, (struct sip_slice){ name, strlen(name) });
  }
  op->has_names = true;
  return rc;
}

static int bind_all(sqlite3_stmt *statement, const struct sip_batch *batch, const struct sip_op *op)
{
  size_t skipped = op->statement == SIP_BATCH_SQL; /* its text */
  bool copied = sqlite3_column_count(statement) > 0;
  int rc = SQLITE_OK;

  for (size_t i = skipped; rc == SQLITE_OK && i < op->count; i++) {
    rc = bind_cell(statement, (int)(i - skipped) + 1, batch, &batch->cells[op->first + i], copied);
  }
  return rc;
}

int sip_store_step(struct sip_store *store, sqlite3_stmt *statement, struct sip_batch *batch,
                   struct sip_op *op, struct sip_err *err)
{
  bool is_script = op->statement == SIP_BATCH_SQL, gives = sqlite3_column_count(statement) > 0;
  int64_t total = sqlite3_total_changes64(store->db);
  size_t before = batch->bytes.len;
  int rc = 0, step = bind_all(statement, batch, op) == SQLITE_OK ? SQLITE_ROW : SQLITE_ERROR;

  if (step == SQLITE_ROW && is_script && gives) {
    rc = take_names(batch, op, statement);
  }
  while (rc == 0 && step == SQLITE_ROW && (step = sqlite3_step(statement)) == SQLITE_ROW) {
    rc = take_row(batch, op, statement);
    if (rc == 0 && is_script && batch->bytes.len - before > SIP_BATCH_MAX_ROWS_BYTES) {
      rc = SIP_ETOOBIG;
    }
  }
  if (rc < 0) {
    rc = sip_err_set(err, rc, "journal %s: an answer does not fit into memory", store->place);
  } else if (step != SQLITE_DONE) {
    rc = sip_store_refused(store, err, "run a statement");
  }
  /* What changes no rows, such as CREATE, leaves the count of the statement before. */
  total = sqlite3_total_changes64(store->db) - total;
  op->changes = gives || total == 0 ? 0 : sqlite3_changes64(store->db);
  (void)sqlite3_reset(statement);          /* repeats the error of the step, which was told */
  (void)sqlite3_clear_bindings(statement); /* always SQLITE_OK */
  return rc;
}

/* The parameters of a record that are columns: all but the epoch. */
static int bind_record(sqlite3_stmt *statement, int before, const struct sip_batch *batch,
                       const struct sip_op *op)
{
  int rc = SQLITE_OK;

  for (size_t i = 0; rc == SQLITE_OK && i < op->count; i++) {
    if (i != 1) {
      rc = bind_cell(statement, ++before, batch, &batch->cells[op->first + i], false);
    }
  }
  return rc;
}

int sip_store_step_records(struct sip_store *store, sqlite3_stmt *statement,
                           const struct sip_batch *batch, struct sip_op *ops, struct sip_err *err)
{
  int columns = sqlite3_bind_parameter_count(statement) / SIP_STORE_ROWS, rc = SQLITE_OK;

  for (int i = 0; rc == SQLITE_OK && i < SIP_STORE_ROWS; i++) {
    rc = bind_record(statement, i * columns, batch, &ops[i]);
    ops[i].changes = 1; /* else the whole transaction is taken back */
  }
  rc = rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_DONE
         ? 0
         : sip_store_refused(store, err, "run a statement");
  (void)sqlite3_reset(statement);          /* repeats the error of the step, which was told */
  (void)sqlite3_clear_bindings(statement); /* always SQLITE_OK */
  return rc;
}
