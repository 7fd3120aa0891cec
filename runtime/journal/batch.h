#ifndef SIP_JOURNAL_BATCH_H
#define SIP_JOURNAL_BATCH_H
/* batch.h - statements for a journal's database, and what they gave: one block that goes to the
 * store's thread and comes back.
 *
 * Whoever holds it owns it: the loop thread fills it, the store runs it, the loop thread reads it.
 * Nothing is allocated per statement once a batch has reached its size. */
#include "core/base.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/list.h"

#include <stdbool.h>

enum { SIP_BATCH_MAX_CELLS = 24 }; /* of one statement or row */

enum sip_cell_type { SIP_CELL_NULL, SIP_CELL_INTEGER, SIP_CELL_TEXT, SIP_CELL_BLOB };

/* One value. Bytes lie in the batch's `bytes` from `at` on, followed by a NUL. */
struct sip_cell {
  enum sip_cell_type type;
  int64_t integer;
  size_t at, len;
};

/* One statement of the store's table, by number (enum sip_statement in port.h). */
struct sip_op {
  int statement;
  size_t first, count;         /* its parameters in `cells` */
  size_t row_first, row_count; /* out: its rows, each of `columns` cells, one after the other */
  size_t columns;              /* out */
  int64_t changes;             /* out: rows inserted, updated or deleted */
};

struct sip_store_client;

struct sip_batch {
  struct sip_list link;            /* in a queue of the holder */
  struct sip_store_client *client; /* borrowed: who gets it back; set by the store */
  struct sip_op *ops;              /* owned */
  size_t op_count, op_cap;
  struct sip_cell *cells; /* owned: parameters, then rows */
  size_t cell_count, cell_cap;
  struct sip_buf bytes;
  bool in_row;        /* the next cell belongs to a row, not to the last statement */
  struct sip_err err; /* out: code 0 when all of it is durable */
};

void sip_batch_init(struct sip_batch *batch);
void sip_batch_deinit(struct sip_batch *batch);

/** Empties it, and keeps the memory. */
void sip_batch_clear(struct sip_batch *batch);

/** What a batch held before something was added that did not fit whole. */
struct sip_batch_mark {
  size_t ops, cells, bytes;
};
struct sip_batch_mark sip_batch_mark(const struct sip_batch *batch);
void sip_batch_rewind(struct sip_batch *batch, struct sip_batch_mark mark);

/** Begins a statement; its parameters follow, in order. @return 0 or UV_ENOMEM */
int sip_batch_op(struct sip_batch *batch, int statement);

/** A parameter of the last statement, or a cell of the row that was begun last. Bytes are copied; a
 * slice without data is NULL. @return 0 or UV_ENOMEM */
int sip_batch_null(struct sip_batch *batch);
int sip_batch_integer(struct sip_batch *batch, int64_t value);
int sip_batch_text(struct sip_batch *batch, struct sip_slice text);
int sip_batch_blob(struct sip_batch *batch, struct sip_slice blob);

/** The store's: begins a row of the statement `op` with `columns` cells, which follow.
 *  @return 0, UV_ENOMEM or SIP_ETOOBIG */
int sip_batch_row(struct sip_batch *batch, struct sip_op *op, size_t columns);

/** The bytes of a cell; data NULL for an SQL NULL. Valid until the batch changes. */
struct sip_slice sip_batch_slice(const struct sip_batch *batch, const struct sip_cell *cell);

/** A cell of a row of a statement. */
const struct sip_cell *sip_batch_cell(const struct sip_batch *batch, const struct sip_op *op,
                                      size_t row, size_t column);

#endif
