/* journal_world.c - see journal_world.h */
#include "support/journal_world.h"

#include "support/test.h"

#include <stdarg.h>

struct writing {
  struct sip_entry entry;
  struct world *world;
  int status, calls;
};

static void *copied(const void *from, size_t bytes)
{
  void *to = malloc(bytes == 0 ? 1 : bytes);

  CHECK(to != NULL);
  return bytes == 0 ? to : memcpy(to, from, bytes);
}

/* Only what the entry gave: its statements, and all cells and bytes that they may point to. */
static void keep_answer(struct world *w, const struct sip_entry *entry,
                        const struct sip_batch *batch)
{
  sip_batch_deinit(&w->answer);
  w->answer.ops = copied(batch->ops + entry->first, entry->count * sizeof *batch->ops);
  w->answer.op_count = entry->count;
  w->answer.cells = copied(batch->cells, batch->cell_count * sizeof *batch->cells);
  w->answer.cell_count = batch->cell_count;
  CHECK_INT(sip_buf_add(&w->answer.bytes, batch->bytes.data, batch->bytes.len), 0);
}

static void on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                    const struct sip_err *err)
{
  struct writing *writing = SIP_CONTAINER(entry, struct writing, entry);

  CHECK((status == 0) == (err == NULL));
  writing->status = status;
  writing->calls++;
  if (status == 0) {
    keep_answer(writing->world, entry, batch);
  } else {
    writing->world->err = *err;
  }
}

static void start(struct world *w, const struct sip_store_ops *ops, struct sip_store *store)
{
  w->ops = ops;
  w->store = store;
  sip_batch_init(&w->answer);
  CHECK_INT(uv_loop_init(&w->loop), 0);
  CHECK_INT(sip_journal_new(&w->journal, &w->loop, ops, store, NULL), 0);
}

int world_try_open(struct world *w, const struct sip_store_ops *ops, const char *place)
{
  struct sip_store *store = NULL;
  int rc;

  memset(w, 0, sizeof *w);
  rc = ops->open(&store, place, &w->report, &w->err);
  if (rc == 0) {
    start(w, ops, store);
  }
  return rc;
}

void world_open(struct world *w, const struct sip_store_ops *ops, const char *place)
{
  if (world_try_open(w, ops, place) < 0) {
    SIP_TEST_FAIL("open %s: %s", place, w->err.message);
  }
}

void world_join(struct world *w, const struct world *host)
{
  memset(w, 0, sizeof *w);
  w->is_guest = true;
  w->report = host->report;
  start(w, host->ops, host->store);
}

void world_close(struct world *w)
{
  sip_journal_close(w->journal, NULL, NULL);
  (void)uv_run(&w->loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&w->loop), 0);
  sip_batch_deinit(&w->answer);
  if (!w->is_guest) {
    w->ops->close(w->store);
  }
}

static struct sip_slice slice_of(const char *text)
{
  return (struct sip_slice){ text, text == NULL ? 0 : strlen(text) };
}

static void begin(struct world *w)
{
  struct sip_err err = { 0 };

  if (w->batch == NULL && (w->batch = sip_journal_begin(w->journal, &err)) == NULL) {
    SIP_TEST_FAIL("begin: %s", err.message);
  }
}

void world_group(struct world *w)
{
  begin(w);
  w->group = w->batch->op_count;
}

void world_group_end(struct world *w)
{
  sip_batch_group(w->batch, w->group);
}

void world_expect(struct world *w, long long rows)
{
  sip_batch_expect(w->batch, rows);
}

const char *world_group_failure(struct world *w, size_t first)
{
  const struct sip_op *op = sip_batch_failed(&w->answer, first);

  return op == NULL ? "" : world_rows(w, (size_t)(op - w->answer.ops));
}

void world_say(struct world *w, int statement, const char *types, ...)
{
  va_list args;

  begin(w);
  CHECK_INT(sip_batch_op(w->batch, statement), 0);
  va_start(args, types);
  for (; *types != '\0'; types++) {
    int rc = *types == 'i'   ? sip_batch_integer(w->batch, va_arg(args, long long))
             : *types == 'd' ? sip_batch_real(w->batch, va_arg(args, double))
             : *types == 't' ? sip_batch_text(w->batch, slice_of(va_arg(args, const char *)))
             : *types == 'b' ? sip_batch_blob(w->batch, slice_of(va_arg(args, const char *)))
             : *types == 'r' ? sip_batch_text(w->batch, va_arg(args, struct sip_slice))
                             : sip_batch_null(w->batch);

    CHECK_INT(rc, 0);
  }
  va_end(args);
}

void world_say_run(struct world *w, long long id, long long epoch, long long offset,
                   const char *event_id)
{
  world_say(w, SIP_STATEMENT_RUN_ADD, "iiiiitttiitt0bb", id, epoch, (long long)SIP_RUN_ACTIVE, 0LL,
            1000LL, "flow", "cluster", "topic", 3LL, offset, event_id, "request.created", "hash",
            "record");
}

void world_say_record(struct world *w, long long run, long long epoch, long long seq)
{
  world_say(w, SIP_STATEMENT_RECORD_ADD, "iiiiitt", run, epoch, seq, 1000 + seq,
            (long long)SIP_PHASE_INTENT, "chain:drink/step:payment", "{}");
}

int world_write(struct world *w)
{
  struct writing writing = { .world = w };

  CHECK(w->batch != NULL);
  w->batch = NULL;
  sip_journal_write(w->journal, &writing.entry, on_done);
  while (writing.calls == 0) {
    (void)uv_run(&w->loop, UV_RUN_ONCE);
  }
  return writing.status;
}

long long world_changes(const struct world *w, size_t n)
{
  CHECK(n < w->answer.op_count);
  return w->answer.ops[n].changes;
}

static void show_cell(const struct sip_batch *batch, const struct sip_cell *cell, char *out,
                      size_t size)
{
  struct sip_slice bytes = sip_batch_slice(batch, cell);

  if (cell->type == SIP_CELL_INTEGER) {
    (void)snprintf(out, size, "%lld", (long long)cell->integer);
    return;
  }
  if (cell->type == SIP_CELL_REAL) {
    (void)snprintf(out, size, "%.6f", cell->real);
    return;
  }
  (void)snprintf(out, size, "%s", cell->type == SIP_CELL_NULL ? "-" : "");
  for (size_t i = 0, at = 0; i < bytes.len && at + 5 < size; i++) {
    unsigned char byte = (unsigned char)bytes.data[i];

    at += (size_t)snprintf(out + at, size - at, byte < ' ' || byte > '~' ? "\\%02x" : "%c", byte);
  }
}

const char *world_rows(struct world *w, size_t n)
{
  const struct sip_op *op = &w->answer.ops[n];
  size_t at = 0;

  CHECK(n < w->answer.op_count);
  w->text[0] = '\0';
  for (size_t i = 0; i < op->row_count * op->columns; i++) {
    at += (size_t)snprintf(w->text + at, sizeof w->text - at, "%s",
                           i == 0                 ? ""
                           : i % op->columns == 0 ? ";"
                                                  : "|");
    show_cell(&w->answer, sip_batch_cell(&w->answer, op, i / op->columns, i % op->columns),
              w->text + at, sizeof w->text - at);
    at += strlen(w->text + at);
  }
  return w->text;
}

void world_refused(const struct sip_store_ops *ops, const char *place, const char *shown, int code,
                   const char *part)
{
  struct world w;
  int rc = world_try_open(&w, ops, place);

  if (rc != code) {
    SIP_TEST_FAIL("open %s gives %d, expected %d (%s): %s", place, rc, code, part, w.err.message);
  }
  CHECK_HAS(w.err.message, shown);
  CHECK_HAS(w.err.message, part);
}
