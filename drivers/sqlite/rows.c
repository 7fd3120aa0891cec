/* rows.c - copies a statement's rows into its job. Pool thread. */
#include "sqlite/file.h"

#include <string.h>

static int take_bytes(struct sip_sqlite_job *job, struct sip_sqlite_value *cell, const void *data,
                      int len)
{
  cell->as.text.at = job->bytes.len;
  cell->as.text.len = (size_t)len;
  return len == 0 ? 0 : sip_buf_add(&job->bytes, data, (size_t)len);
}

static int take_cell(struct sip_sqlite_job *job, sqlite3_stmt *statement, int column)
{
  struct sip_sqlite_value *cell = &job->cells[job->cell_count++];
  const void *data;

  memset(cell, 0, sizeof *cell);
  switch (sqlite3_column_type(statement, column)) {
  case SQLITE_INTEGER:
    cell->type = SIP_SQLITE_INTEGER;
    cell->as.integer = sqlite3_column_int64(statement, column);
    return 0;
  case SQLITE_FLOAT:
    cell->type = SIP_SQLITE_REAL;
    cell->as.real = sqlite3_column_double(statement, column);
    return 0;
  case SQLITE_TEXT: /* the bytes before their count: asking for text may convert */
    cell->type = SIP_SQLITE_TEXT;
    data = sqlite3_column_text(statement, column);
    return data == NULL ? UV_ENOMEM
                        : take_bytes(job, cell, data, sqlite3_column_bytes(statement, column));
  case SQLITE_BLOB: /* NULL for an empty one */
    cell->type = SIP_SQLITE_BLOB;
    data = sqlite3_column_blob(statement, column);
    return take_bytes(job, cell, data, sqlite3_column_bytes(statement, column));
  default:
    cell->type = SIP_SQLITE_NULL;
    return 0;
  }
}

static int take_names(struct sip_sqlite_job *job, sqlite3_stmt *statement)
{
  const char *name;

  job->column_count = (size_t)sqlite3_column_count(statement);
  for (size_t i = 0; i < job->column_count; i++) {
    name = sqlite3_column_name(statement, (int)i);
    if (name == NULL || sip_buf_add(&job->names, name, strlen(name) + 1) < 0) {
      return UV_ENOMEM;
    }
  }
  return 0;
}

int sip_sqlite_take_row(const struct sip_sqlite_file *file, struct sip_sqlite_job *job,
                        sqlite3_stmt *statement)
{
  size_t size;

  if (job->row_count == 0 && take_names(job, statement) < 0) {
    return sip_err_set(&job->err, UV_ENOMEM, "sql: out of memory");
  }
  if (sip_sqlite_job_reserve_cells(job, job->column_count) < 0) {
    return sip_err_set(&job->err, UV_ENOMEM, "sql: out of memory");
  }
  for (size_t i = 0; i < job->column_count; i++) {
    if (take_cell(job, statement, (int)i) < 0) {
      return sip_err_set(&job->err, UV_ENOMEM, "sql: out of memory");
    }
  }
  job->row_count++;
  size = job->bytes.len + job->cell_count * sizeof *job->cells;
  if (size > file->options.max_result_bytes) {
    return sip_err_set(&job->err, SIP_ETOOBIG,
                       "sql: the rows are larger than %zu bytes (use LIMIT)",
                       file->options.max_result_bytes);
  }
  return 0;
}
