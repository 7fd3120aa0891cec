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
    (struct sip_op){ .statement = statement, .first = batch->cell_count };
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
  return (struct sip_slice){ batch->bytes.data + cell->at, cell->len };
}

const struct sip_cell *sip_batch_cell(const struct sip_batch *batch, const struct sip_op *op,
                                      size_t row, size_t column)
{
  assert(row < op->row_count && column < op->columns);
  return &batch->cells[op->row_first + row * op->columns + column];
}
