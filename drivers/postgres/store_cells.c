/* store_cells.c - parameters and rows, between a batch and libpq. Writer thread. */
#include "postgres/store_state.h"
#include "postgres/store_text.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { /* pg_type.dat of PostgreSQL */
       BOOL_TYPE = 16,
       BYTEA_TYPE = 17,
       INT8_TYPE = 20,
       INT2_TYPE = 21,
       INT4_TYPE = 23,
       FLOAT4_TYPE = 700,
       FLOAT8_TYPE = 701
};

/* A text that the server would refuse, at its place in `scratch` for now: that may still move. */
static int keep_text(struct sip_buf *scratch, struct sip_slice text, size_t *at, int *len)
{
  int rc;

  *at = scratch->len;
  rc = sip_pg_text_keep(scratch, text);
  *len = (int)(scratch->len - *at);
  return rc;
}

int sip_pg_fill(struct sip_store *store, struct sip_pg_parameters *to,
                const struct sip_batch *batch, const struct sip_op *op)
{
  size_t kept[SIP_BATCH_MAX_CELLS];
  int rc = 0;

  sip_buf_clear(&store->scratch);
  for (size_t i = 0; rc == 0 && i < op->count; i++) {
    const struct sip_cell *cell = &batch->cells[op->first + i];
    struct sip_slice bytes = sip_batch_slice(batch, cell);

    to->binary[i] = 1;
    to->values[i] = bytes.data;
    to->lengths[i] = (int)bytes.len;
    kept[i] = SIZE_MAX;
    if (cell->type == SIP_CELL_INTEGER) {
      to->integers[i] = htobe64((uint64_t)cell->integer);
      to->values[i] = (const char *)&to->integers[i];
      to->lengths[i] = sizeof to->integers[i];
    } else if (cell->type == SIP_CELL_TEXT && !sip_pg_text_fits(bytes)) {
      rc = keep_text(&store->scratch, bytes, &kept[i], &to->lengths[i]);
    }
  }
  for (size_t i = 0; rc == 0 && i < op->count; i++) {
    to->values[i] = kept[i] == SIZE_MAX ? to->values[i] : store->scratch.data + kept[i];
  }
  return rc;
}

/* A number as text, at its place in `scratch` for now. */
static int keep_number(struct sip_buf *scratch, const struct sip_cell *cell, size_t *at)
{
  int rc;

  *at = scratch->len;
  rc = cell->type == SIP_CELL_INTEGER ? sip_buf_addf(scratch, "%lld", (long long)cell->integer)
                                      : sip_buf_addf(scratch, "%.17g", cell->real);
  return rc < 0 ? rc : sip_buf_add(scratch, "", 1);
}

int sip_pg_fill_script(struct sip_store *store, struct sip_pg_parameters *to,
                       const struct sip_batch *batch, const struct sip_op *op)
{
  size_t kept[SIP_BATCH_MAX_CELLS], count = op->count - 1; /* without the statement's text */
  int rc = 0;

  for (size_t i = 0; rc == 0 && i < count; i++) {
    const struct sip_cell *cell = &batch->cells[op->first + 1 + i];
    struct sip_slice bytes = sip_batch_slice(batch, cell);

    to->binary[i] = cell->type == SIP_CELL_BLOB;
    to->values[i] = bytes.data;
    to->lengths[i] = (int)bytes.len;
    kept[i] = SIZE_MAX;
    if (cell->type == SIP_CELL_INTEGER || cell->type == SIP_CELL_REAL) {
      rc = keep_number(&store->scratch, cell, &kept[i]);
    } else if (cell->type == SIP_CELL_TEXT && memchr(bytes.data, 0, bytes.len) != NULL) {
      rc = SIP_EDATA; /* it would end there */
    }
  }
  for (size_t i = 0; rc == 0 && i < count; i++) {
    to->values[i] = kept[i] == SIZE_MAX ? to->values[i] : store->scratch.data + kept[i];
  }
  return rc;
}

static int take_text(struct sip_store *store, struct sip_batch *batch, struct sip_slice bytes)
{
  int rc;

  if (!sip_pg_text_is_kept(bytes)) {
    return sip_batch_text(batch, bytes);
  }
  sip_buf_clear(&store->scratch);
  rc = sip_pg_text_restore(&store->scratch, bytes);
  return rc < 0
           ? rc
           : sip_batch_text(batch, (struct sip_slice){ store->scratch.data, store->scratch.len });
}

/* Of a script's statement: everything comes as text. */
static int take_script_cell(struct sip_batch *batch, const PGresult *result, int row, int column)
{
  const char *text = PQgetvalue(result, row, column);
  struct sip_slice bytes = { text, (size_t)PQgetlength(result, row, column) };
  unsigned char *blob;
  int rc;

  switch (PQftype(result, column)) {
  case BOOL_TYPE:
    return sip_batch_integer(batch, *text == 't');
  case INT8_TYPE:
  case INT2_TYPE:
  case INT4_TYPE:
    return sip_batch_integer(batch, strtoll(text, NULL, 10));
  case FLOAT4_TYPE:
  case FLOAT8_TYPE:
    return sip_batch_real(batch, strtod(text, NULL));
  case BYTEA_TYPE:
    blob = PQunescapeBytea((const unsigned char *)text, &bytes.len);
    bytes.data = (const char *)blob;
    rc = blob == NULL ? UV_ENOMEM : sip_batch_blob(batch, bytes);
    PQfreemem(blob);
    return rc;
  default:
    return sip_batch_text(batch, bytes);
  }
}

static int take_cell(struct sip_store *store, struct sip_batch *batch, const struct sip_op *op,
                     const PGresult *result, int row, int column)
{
  struct sip_slice bytes;
  uint64_t integer;

  if (PQgetisnull(result, row, column)) {
    return sip_batch_null(batch);
  } else if (op->statement == SIP_BATCH_SQL) {
    return take_script_cell(batch, result, row, column);
  }
  bytes.data = PQgetvalue(result, row, column);
  bytes.len = (size_t)PQgetlength(result, row, column);
  if (PQftype(result, column) == INT8_TYPE) {
    memcpy(&integer, bytes.data, sizeof integer);
    return sip_batch_integer(batch, (int64_t)be64toh(integer));
  }
  return PQftype(result, column) == BYTEA_TYPE ? sip_batch_blob(batch, bytes)
                                               : take_text(store, batch, bytes);
}

static int take_names(struct sip_batch *batch, struct sip_op *op, const PGresult *result)
{
  int columns = PQnfields(result), rc = sip_batch_row(batch, op, (size_t)columns);

  for (int i = 0; rc == 0 && i < columns; i++) {
    const char *name = PQfname(result, i);

    rc = sip_batch_text(batch, (struct sip_slice){ name, strlen(name) });
  }
  op->has_names = true;
  return rc;
}

int sip_pg_take(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                const PGresult *result)
{
  int rows = PQntuples(result), columns = PQnfields(result), rc = 0;
  size_t before = batch->bytes.len;
  bool is_script = op->statement == SIP_BATCH_SQL, gives = columns > 0;

  op->changes = gives ? 0 : strtoll(PQcmdTuples((PGresult *)result), NULL, 10);
  if (is_script && gives) {
    rc = take_names(batch, op, result);
  }
  for (int row = 0; rc == 0 && row < rows; row++) {
    rc = sip_batch_row(batch, op, (size_t)columns);
    for (int column = 0; rc == 0 && column < columns; column++) {
      rc = take_cell(store, batch, op, result, row, column);
    }
    if (rc == 0 && is_script && batch->bytes.len - before > SIP_BATCH_MAX_ROWS_BYTES) {
      rc = SIP_ETOOBIG;
    }
  }
  return rc;
}
