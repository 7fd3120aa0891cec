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

enum {
  SIP_BATCH_MAX_CELLS = 64,          /* of one statement or row */
  SIP_BATCH_SQL = -1,                /* instead of a number: a script's own statement */
  SIP_BATCH_MAX_ROWS_BYTES = 4 << 20 /* of what the statements of one group give */
};

enum sip_cell_type { SIP_CELL_NULL, SIP_CELL_INTEGER, SIP_CELL_REAL, SIP_CELL_TEXT, SIP_CELL_BLOB };

/* One value. Bytes lie in the batch's `bytes` from `at` on, followed by a NUL. */
struct sip_cell {
  enum sip_cell_type type;
  union {
    int64_t integer;
    double real;
  };
  size_t at, len;
};

/* One statement of the store's table, by number (enum sip_statement in statements.h), or a text of
 * a script's, which is its first parameter.
 *
 * Several in a row may be a group: all of them happen, or, when one fails or does not do what is
 * expected, none; what else is in the transaction goes on. */
struct sip_op {
  int statement;
  size_t group;                /* on the first one: of how many from here on; 0: of none */
  int64_t expect;              /* in a group: rows that it must change or give; -1: any number */
  bool has_failed;             /* out: for this one nothing of the group is there; its one row is a
                                  code and a message */
  bool has_names;              /* out: the first row has the names of the columns */
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

/** A whole statement whose parameters are numbers and, behind them, texts. @return 0 or UV_ENOMEM
 */
int sip_batch_add(struct sip_batch *batch, int statement, const int64_t *numbers,
                  size_t number_count, const struct sip_slice *texts, size_t text_count);

/** A parameter of the last statement, or a cell of the row that was begun last. Bytes are copied; a
 * slice without data is NULL. @return 0 or UV_ENOMEM */
int sip_batch_null(struct sip_batch *batch);
int sip_batch_integer(struct sip_batch *batch, int64_t value);
int sip_batch_real(struct sip_batch *batch, double value);
int sip_batch_text(struct sip_batch *batch, struct sip_slice text);
int sip_batch_blob(struct sip_batch *batch, struct sip_slice blob);

/** A statement of a script's own; only in a group. @return 0 or UV_ENOMEM */
int sip_batch_sql(struct sip_batch *batch, struct sip_slice sql);

/** What the last statement must change or give. */
void sip_batch_expect(struct sip_batch *batch, int64_t rows);

/** Makes a group of the statements from `first` on to the last one. */
void sip_batch_group(struct sip_batch *batch, size_t first);

/** The statement of the group at `first` that failed, or NULL. */
const struct sip_op *sip_batch_failed(const struct sip_batch *batch, size_t first);

/** The store's: the statement `op` of the group at `first` has failed as `why` says. What the group
 *  gave is forgotten. @return 0 or UV_ENOMEM */
int sip_batch_fail(struct sip_batch *batch, size_t first, struct sip_op *op,
                   const struct sip_err *why);

/** The store's: did the statement do what is expected of it? @return 0 or SIP_ESCRIPT */
int sip_batch_check(const struct sip_batch *batch, const struct sip_op *op, struct sip_err *err);

/** The store's, before another try: forgets what the statements gave; those of groups that failed
 *  only with `failures`. */
void sip_batch_forget(struct sip_batch *batch, bool failures);

/** The store's: begins a row of the statement `op` with `columns` cells, which follow.
 *  @return 0, UV_ENOMEM or SIP_ETOOBIG */
int sip_batch_row(struct sip_batch *batch, struct sip_op *op, size_t columns);

/** The bytes of a cell; data NULL for an SQL NULL. Valid until the batch changes. */
struct sip_slice sip_batch_slice(const struct sip_batch *batch, const struct sip_cell *cell);

/** A cell of a row of a statement. */
const struct sip_cell *sip_batch_cell(const struct sip_batch *batch, const struct sip_op *op,
                                      size_t row, size_t column);

#endif
