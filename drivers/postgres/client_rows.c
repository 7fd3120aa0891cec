/* client_rows.c - copies a result's rows into its job. Loop thread. */
#include "postgres/client_state.h"

#include <stdlib.h>
#include <string.h>

/* Type ids of pg_type: they never change (src/include/catalog/pg_type.dat). */
static const struct known {
  Oid oid, array;
  enum sip_pg_type type;
} known[] = {
  { 16, 1000, SIP_PG_BOOLEAN }, { 17, 1001, SIP_PG_BYTES },     { 20, 1016, SIP_PG_INTEGER },
  { 21, 1005, SIP_PG_INTEGER }, { 23, 1007, SIP_PG_INTEGER },   { 26, 1028, SIP_PG_INTEGER },
  { 114, 199, SIP_PG_JSON },    { 3802, 3807, SIP_PG_JSON },    { 700, 1021, SIP_PG_REAL },
  { 701, 1022, SIP_PG_REAL },   { 25, 1009, SIP_PG_TEXT },      { 1043, 1015, SIP_PG_TEXT },
  { 1042, 1014, SIP_PG_TEXT },  { 19, 1003, SIP_PG_TEXT },      { 1700, 1231, SIP_PG_TEXT },
  { 2950, 2951, SIP_PG_TEXT },  { 1082, 1182, SIP_PG_TEXT },    { 1083, 1183, SIP_PG_TEXT },
  { 1114, 1115, SIP_PG_LOCAL }, { 1184, 1185, SIP_PG_INSTANT },
};

static struct sip_pg_column column_of(Oid oid)
{
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (known[i].oid == oid || known[i].array == oid) {
      return (struct sip_pg_column){ known[i].type, known[i].array == oid };
    }
  }
  return (struct sip_pg_column){ SIP_PG_TEXT, false };
}

static int take_columns(struct sip_pg_job *job, const PGresult *result)
{
  int count = PQnfields(result);

  job->columns = calloc(count == 0 ? 1 : (size_t)count, sizeof *job->columns);
  if (job->columns == NULL) {
    return UV_ENOMEM;
  }
  for (int i = 0; i < count; i++) {
    const char *name = PQfname(result, i);

    job->columns[i] = column_of(PQftype(result, i));
    if (sip_buf_add(&job->names, name, strlen(name) + 1) < 0) {
      return UV_ENOMEM;
    }
  }
  job->column_count = (size_t)count;
  return 0;
}

static int take_bytes(struct sip_pg_job *job, const char *text)
{
  size_t len = 0;
  unsigned char *bytes = PQunescapeBytea((const unsigned char *)text, &len);
  int rc = bytes == NULL ? UV_ENOMEM : sip_buf_add(&job->bytes, bytes, len);

  PQfreemem(bytes);
  return rc;
}

/* "2026-01-02 03:04:05.678+00" is "2026-01-02T03:04:05.678Z"; infinity and years BC stay. */
static int take_time(struct sip_pg_job *job, const char *text, size_t len, bool instant)
{
  size_t at = job->bytes.len;
  bool plain = len >= 19 && text[10] == ' ' && text[len - 1] != 'C';

  if (plain && instant && strcmp(text + len - 3, "+00") == 0) {
    len -= 3;
  } else {
    instant = false;
  }
  if (sip_buf_add(&job->bytes, text, len) < 0 ||
      (instant && sip_buf_add(&job->bytes, "Z", 1) < 0)) {
    return UV_ENOMEM;
  }
  if (plain) {
    job->bytes.data[at + 10] = 'T';
  }
  return 0;
}

static int take_cell(struct sip_pg_job *job, struct sip_pg_cell *cell, const PGresult *result,
                     int row, int column)
{
  const struct sip_pg_column *type = &job->columns[column];
  const char *text = PQgetvalue(result, row, column);
  size_t len = (size_t)PQgetlength(result, row, column);
  int rc;

  *cell = (struct sip_pg_cell){ .at = job->bytes.len, .is_null = PQgetisnull(result, row, column) };
  if (cell->is_null) {
    return 0;
  }
  if (type->type == SIP_PG_BYTES && !type->is_array) {
    rc = take_bytes(job, text);
  } else if ((type->type == SIP_PG_INSTANT || type->type == SIP_PG_LOCAL) && !type->is_array) {
    rc = take_time(job, text, len, type->type == SIP_PG_INSTANT);
  } else {
    rc = sip_buf_add(&job->bytes, text, len);
  }
  cell->len = job->bytes.len - cell->at;
  return rc < 0 ? rc : sip_buf_add(&job->bytes, "", 1); /* numbers are read up to here */
}

int sip_pg_rows_take(struct sip_pg_job *job, const PGresult *result, size_t max_bytes)
{
  int rc = job->columns == NULL ? take_columns(job, result) : 0;

  for (int row = 0; rc == 0 && row < PQntuples(result); row++) {
    if (job->cell_cap - job->cell_count < job->column_count) {
      size_t cap = (job->cell_cap + job->column_count) * 2;
      struct sip_pg_cell *cells = realloc(job->cells, cap * sizeof *cells);

      if (cells == NULL) {
        return UV_ENOMEM;
      }
      job->cells = cells;
      job->cell_cap = cap;
    }
    for (size_t i = 0; rc == 0 && i < job->column_count; i++) {
      rc = take_cell(job, &job->cells[job->cell_count], result, row, (int)i);
      job->cell_count++;
    }
    job->row_count++;
    if (rc == 0 && job->bytes.len + job->cell_count * sizeof *job->cells > max_bytes) {
      rc = SIP_ETOOBIG;
    }
  }
  return rc;
}
