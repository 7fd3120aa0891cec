/* batch.c - memory of a batch: three blocks that grow together. */
#include "journal/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void sip_batch_init(struct sip_batch *batch)
{
  memset(batch, 0, sizeof *batch);
  sip_list_init(&batch->link);
}

void sip_batch_deinit(struct sip_batch *batch)
{
  free(batch->ops);
  free(batch->cells);
  sip_buf_deinit(&batch->bytes);
  sip_batch_init(batch);
}

void sip_batch_clear(struct sip_batch *batch)
{
  sip_buf_clear(&batch->bytes);
  batch->op_count = 0;
  batch->cell_count = 0;
  batch->err.code = 0;
}

struct sip_batch_mark sip_batch_mark(const struct sip_batch *batch)
{
  return (struct sip_batch_mark){ batch->op_count, batch->cell_count, batch->bytes.len };
}

void sip_batch_rewind(struct sip_batch *batch, struct sip_batch_mark mark)
{
  batch->op_count = mark.ops;
  batch->cell_count = mark.cells;
  batch->bytes.len = mark.bytes;
}

/* A block with room for one more item of `size` bytes; NULL when memory is out. */
static void *grown(void *block, size_t *cap, size_t count, size_t size)
{
  size_t next = *cap < 16 ? 16 : *cap * 2;
  void *bigger;

  if (count < *cap) {
    return block;
  }
  bigger = realloc(block, next * size);
  if (bigger != NULL) {
    *cap = next;
  }
  return bigger;
}

int sip_batch_op(struct sip_batch *batch, int statement)
{
  struct sip_op *ops = grown(batch->ops, &batch->op_cap, batch->op_count, sizeof *ops);

  if (ops == NULL) {
    return UV_ENOMEM;
  }
  batch->ops = ops;
  batch->in_row = false;
  batch->ops[batch->op_count++] =
    (struct sip_op){ .statement = statement, .first = batch->cell_count, .expect = -1 };
  return 0;
}

static int batch_cell(struct sip_batch *batch, struct sip_cell cell)
{
  struct sip_cell *cells = grown(batch->cells, &batch->cell_cap, batch->cell_count, sizeof *cells);

  if (cells == NULL) {
    return UV_ENOMEM;
  }
  batch->cells = cells;
  batch->cells[batch->cell_count++] = cell;
  return 0;
}

static int batch_add(struct sip_batch *batch, struct sip_cell cell)
{
  int rc = batch_cell(batch, cell);

  assert(batch->op_count > 0);
  if (rc == 0 && !batch->in_row) {
    batch->ops[batch->op_count - 1].count++;
    assert(batch->ops[batch->op_count - 1].count <= SIP_BATCH_MAX_CELLS);
  }
  return rc;
}

int sip_batch_null(struct sip_batch *batch)
{
  return batch_add(batch, (struct sip_cell){ .type = SIP_CELL_NULL });
}

int sip_batch_integer(struct sip_batch *batch, int64_t value)
{
  return batch_add(batch, (struct sip_cell){ .type = SIP_CELL_INTEGER, .integer = value });
}

int sip_batch_real(struct sip_batch *batch, double value)
{
  return batch_add(batch, (struct sip_cell){ .type = SIP_CELL_REAL, .real = value });
}

static int batch_bytes(struct sip_batch *batch, enum sip_cell_type type, struct sip_slice slice)
{
  struct sip_cell cell = { .type = type, .at = batch->bytes.len, .len = slice.len };

  if (slice.data == NULL) {
    return sip_batch_null(batch);
  }
  if (sip_buf_add(&batch->bytes, slice.data, slice.len) < 0 ||
      sip_buf_add(&batch->bytes, "", 1) < 0) {
    batch->bytes.len = cell.at;
    return UV_ENOMEM;
  }
  return batch_add(batch, cell);
}

int sip_batch_text(struct sip_batch *batch, struct sip_slice text)
{
  return batch_bytes(batch, SIP_CELL_TEXT, text);
}

int sip_batch_blob(struct sip_batch *batch, struct sip_slice blob)
{
  return batch_bytes(batch, SIP_CELL_BLOB, blob);
}

int sip_batch_add(struct sip_batch *batch, int statement, const int64_t *numbers,
                  size_t number_count, const struct sip_slice *texts, size_t text_count)
{
  struct sip_batch_mark before = sip_batch_mark(batch);
  int rc = sip_batch_op(batch, statement);

  for (size_t i = 0; rc == 0 && i < number_count; i++) {
    rc = sip_batch_integer(batch, numbers[i]);
  }
  for (size_t i = 0; rc == 0 && i < text_count; i++) {
    rc = sip_batch_text(batch, texts[i]);
  }
  if (rc < 0) {
    sip_batch_rewind(batch, before);
  }
  return rc;
}

int sip_batch_sql(struct sip_batch *batch, struct sip_slice sql)
{
  int rc = sip_batch_op(batch, SIP_BATCH_SQL);

  return rc < 0 ? rc : sip_batch_text(batch, sql);
}

void sip_batch_expect(struct sip_batch *batch, int64_t rows)
{
  assert(batch->op_count > 0);
  batch->ops[batch->op_count - 1].expect = rows;
}

void sip_batch_group(struct sip_batch *batch, size_t first)
{
  assert(first < batch->op_count);
  batch->ops[first].group = batch->op_count - first;
}

const struct sip_op *sip_batch_failed(const struct sip_batch *batch, size_t first)
{
  for (size_t i = first; i < first + batch->ops[first].group; i++) {
    if (batch->ops[i].has_failed) {
      return &batch->ops[i];
    }
  }
  return NULL;
}

static void op_forget(struct sip_op *op)
{
  op->row_count = 0;
  op->columns = 0;
  op->changes = 0;
  op->has_failed = false;
  op->has_names = false;
}

int sip_batch_fail(struct sip_batch *batch, size_t first, struct sip_op *op,
                   const struct sip_err *why)
{
  int rc;

  for (size_t i = first; i < first + batch->ops[first].group; i++) {
    op_forget(&batch->ops[i]);
  }
  op->has_failed = true;
  rc = sip_batch_row(batch, op, 2);
  if (rc == 0) {
    rc = sip_batch_text(batch, (struct sip_slice){ why->name, strlen(why->name) });
  }
  return rc < 0 ? rc
                : sip_batch_text(batch, (struct sip_slice){ why->message, strlen(why->message) });
}

int sip_batch_check(const struct sip_batch *batch, const struct sip_op *op, struct sip_err *err)
{
  int64_t rows = op->columns > 0 ? (int64_t)op->row_count - op->has_names : op->changes;

  if (op->expect < 0 || rows == op->expect) {
    return 0;
  } else if (op->statement != SIP_BATCH_SQL) {
    return sip_err_named(err, SIP_ESCRIPT, "JOURNAL_FENCED",
                         "journal: the run belongs to another host now");
  }
  return sip_err_named(err, SIP_ESCRIPT, "SQL_EXPECTED",
                       "journal: %lld rows expected, %lld found: %.80s", (long long)op->expect,
                       (long long)rows, sip_batch_slice(batch, &batch->cells[op->first]).data);
}

void sip_batch_forget(struct sip_batch *batch, bool failures)
{
  for (size_t i = 0; i < batch->op_count; i++) {
    if (failures || !batch->ops[i].has_failed) {
      op_forget(&batch->ops[i]);
    }
  }
}

int sip_batch_row(struct sip_batch *batch, struct sip_op *op, size_t columns)
{
  if (columns == 0 || columns > SIP_BATCH_MAX_CELLS) {
    return SIP_ETOOBIG;
  }
  if (op->row_count == 0) {
    op->row_first = batch->cell_count;
    op->columns = columns;
  }
  op->row_count++;
  batch->in_row = true;
  return 0;
}

struct sip_slice sip_batch_slice(const struct sip_batch *batch, const struct sip_cell *cell)
{
  if (cell->type != SIP_CELL_TEXT && cell->type != SIP_CELL_BLOB) {
    return (struct sip_slice){ NULL, 0 };
  }
  if (cell->len == 0) {
    return (struct sip_slice){ "", 0 }; /* nothing else may be in the buffer, and it NULL */
  }
  return (struct sip_slice){ batch->bytes.data + cell->at, cell->len };
}

const struct sip_cell *sip_batch_cell(const struct sip_batch *batch, const struct sip_op *op,
                                      size_t row, size_t column)
{
  assert(row < op->row_count && column < op->columns);
  return &batch->cells[op->row_first + row * op->columns + column];
}
