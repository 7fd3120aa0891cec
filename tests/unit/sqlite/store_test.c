/* The journal in a SQLite file: what is written is there after a reopening, nobody writes for an
 * owner that has lost his run, and files that cannot be used are refused with the reason. */
#include "sqlite/store.h"

#include "journal/journal.h"
#include "journal/statements.h"
#include "support/test.h"

#include <sqlite3.h>
#include <unistd.h>

static const struct sip_store_ops *ops;
static char place[256];

static struct sip_store *open_store(struct sip_store_report *report)
{
  struct sip_store *store = NULL;
  struct sip_err err = { 0 };

  if (ops->open(&store, place, report, &err) < 0) {
    SIP_TEST_FAIL("open: %s", err.message);
  }
  return store;
}

static struct sip_slice text(const char *words)
{
  return (struct sip_slice){ words, strlen(words) };
}

static void add_run(struct sip_batch *batch, int64_t id, int64_t epoch, int64_t offset)
{
  CHECK_INT(sip_batch_op(batch, SIP_STATEMENT_RUN_ADD), 0);
  CHECK_INT(sip_batch_integer(batch, id), 0);
  CHECK_INT(sip_batch_integer(batch, epoch), 0);
  CHECK_INT(sip_batch_integer(batch, SIP_RUN_ACTIVE), 0);
  CHECK_INT(sip_batch_integer(batch, 0), 0);
  CHECK_INT(sip_batch_integer(batch, 1000), 0);
  for (const char *const *word = (const char *const[]){ "flow", "cluster", "topic", NULL };
       *word != NULL; word++) {
    CHECK_INT(sip_batch_text(batch, text(*word)), 0);
  }
  CHECK_INT(sip_batch_integer(batch, 3), 0);
  CHECK_INT(sip_batch_integer(batch, offset), 0);
  CHECK_INT(sip_batch_text(batch, text("event-1")), 0);
  CHECK_INT(sip_batch_text(batch, text("request.created")), 0);
  CHECK_INT(sip_batch_blob(batch, (struct sip_slice){ NULL, 0 }), 0);
  CHECK_INT(sip_batch_blob(batch, text("hash")), 0);
  CHECK_INT(sip_batch_blob(batch, (struct sip_slice){ "a\0b", 3 }), 0);
}

static void add_record(struct sip_batch *batch, int64_t run, int64_t epoch, int64_t seq)
{
  CHECK_INT(sip_batch_op(batch, SIP_STATEMENT_RECORD_ADD), 0);
  CHECK_INT(sip_batch_integer(batch, run), 0);
  CHECK_INT(sip_batch_integer(batch, epoch), 0);
  CHECK_INT(sip_batch_integer(batch, seq), 0);
  CHECK_INT(sip_batch_integer(batch, 1000 + seq), 0);
  CHECK_INT(sip_batch_integer(batch, SIP_PHASE_INTENT), 0);
  CHECK_INT(sip_batch_text(batch, text("chain:drink/step:payment")), 0);
  CHECK_INT(sip_batch_text(batch, text("{}")), 0);
}

static void ask(struct sip_batch *batch, int statement, int64_t argument)
{
  CHECK_INT(sip_batch_op(batch, statement), 0);
  CHECK_INT(sip_batch_integer(batch, argument), 0);
}

struct answer {
  struct sip_entry entry;
  int status, calls;
  int64_t changes[4], rows[4], columns[4];
  char record[16];
};

static void on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                    const struct sip_err *err)
{
  struct answer *answer = SIP_CONTAINER(entry, struct answer, entry);

  CHECK((status == 0) == (err == NULL));
  answer->status = status;
  answer->calls++;
  for (size_t i = 0; status == 0 && i < entry->count && i < 4; i++) {
    const struct sip_op *op = &batch->ops[entry->first + i];

    answer->changes[i] = op->changes;
    answer->rows[i] = (int64_t)op->row_count;
    answer->columns[i] = (int64_t)op->columns;
    if (op->statement == SIP_STATEMENT_RUN_GET && op->row_count == 1) {
      struct sip_slice bytes = sip_batch_slice(batch, sip_batch_cell(batch, op, 0, 14));

      CHECK_INT(bytes.len, 3);
      memcpy(answer->record, bytes.data, bytes.len);
    }
  }
}

static void wait_for(uv_loop_t *loop, const struct answer *answer)
{
  while (answer->calls == 0) {
    (void)uv_run(loop, UV_RUN_ONCE);
  }
}

static void what_is_written_is_there_after_a_reopening(void)
{
  struct sip_store_report report;
  struct sip_journal *journal = NULL;
  struct answer first = { 0 }, second = { 0 }, third = { 0 };
  struct sip_store *store;
  struct sip_batch *batch;
  uv_loop_t loop;

  CHECK_INT(uv_loop_init(&loop), 0);
  store = open_store(&report);
  CHECK_INT(report.migrated, 0);
  CHECK_INT(report.was_interrupted, 0);
  CHECK_INT(sip_journal_new(&journal, &loop, ops, store, NULL), 0);
  batch = sip_journal_begin(journal, NULL);
  add_run(batch, 7, 1, 42);
  add_record(batch, 7, 1, 1);
  sip_journal_write(journal, &first.entry, on_done);
  batch = sip_journal_begin(journal, NULL); /* thought better of it */
  add_record(batch, 7, 1, 2);
  sip_journal_rewind(journal);
  batch = sip_journal_begin(journal, NULL); /* the same place again, and a stranger's epoch */
  add_run(batch, 8, 1, 42);
  add_record(batch, 7, 9, 2);
  sip_journal_write(journal, &second.entry, on_done);
  wait_for(&loop, &second);
  CHECK_INT(first.status, 0);
  CHECK_INT(first.changes[0], 1);
  CHECK_INT(first.changes[1], 1);
  CHECK_INT(second.changes[0], 0);
  CHECK_INT(second.changes[1], 0);
  CHECK_INT(sip_journal_status(journal).batches, 1);
  sip_journal_close(journal, NULL, NULL);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  ops->close(store);

  store = open_store(&report);
  CHECK_INT(report.migrated, SIP_JOURNAL_SCHEMA);
  CHECK_INT(report.was_interrupted, 0);
  CHECK_INT(sip_journal_new(&journal, &loop, ops, store, NULL), 0);
  batch = sip_journal_begin(journal, NULL);
  ask(batch, SIP_STATEMENT_RUN_GET, 7);
  ask(batch, SIP_STATEMENT_RECORDS, 7);
  ask(batch, SIP_STATEMENT_RUN_GET, 8);
  sip_journal_write(journal, &third.entry, on_done);
  wait_for(&loop, &third);
  CHECK_INT(third.status, 0);
  CHECK_INT(third.rows[0], 1);
  CHECK_INT(third.columns[0], 17);
  CHECK(memcmp(third.record, "a\0b", 3) == 0);
  CHECK_INT(third.rows[1], 1);
  CHECK_INT(third.rows[2], 0);
  sip_journal_close(journal, NULL, NULL);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  ops->close(store);
  CHECK_INT(uv_loop_close(&loop), 0);
}

static void refused(int code, const char *part)
{
  struct sip_store_report report;
  struct sip_store *store = NULL;
  struct sip_err err = { 0 };

  CHECK_INT(ops->open(&store, place, &report, &err), code);
  CHECK_HAS(err.message, place);
  CHECK_HAS(err.message, part);
}

static void a_second_one_is_refused(void)
{
  struct sip_store_report report;
  struct sip_store *store = open_store(&report);

  refused(SIP_EBUSY, "another process works on it");
  ops->close(store);
}

static void change(const char *statement)
{
  sqlite3 *db = NULL;

  CHECK_INT(sqlite3_open(place, &db), SQLITE_OK);
  CHECK_INT(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
  CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static void files_that_cannot_be_used_are_refused(void)
{
  char junk[8192];
  FILE *file;

  change("PRAGMA user_version = 99");
  refused(SIP_EDATA, "version 99");
  change("PRAGMA user_version = 1; PRAGMA application_id = 77");
  refused(SIP_EDATA, "another program");
  memset(junk, 'x', sizeof junk);
  file = fopen(place, "wb");
  CHECK(file != NULL && fwrite(junk, sizeof junk, 1, file) == 1);
  CHECK_INT(fclose(file), 0);
  refused(SIP_EDATA, "damaged");
  CHECK_INT(unlink(place), 0);
  (void)snprintf(place, sizeof place, "/nonexistent/journal.db");
  refused(UV_ENOENT, "does the directory exist");
}

int main(void)
{
  char directory[] = "/tmp/sipeat-store-XXXXXX";
  char leftover[300];

  ops = sip_sqlite_store_operations();
  CHECK(mkdtemp(directory) != NULL);
  (void)snprintf(place, sizeof place, "%s/journal.db", directory);
  what_is_written_is_there_after_a_reopening();
  a_second_one_is_refused();
  files_that_cannot_be_used_are_refused();
  (void)snprintf(leftover, sizeof leftover, "%s/journal.db.lock", directory);
  CHECK_INT(unlink(leftover), 0);
  CHECK_INT(rmdir(directory), 0);
  (void)printf("ok\n");
  return 0;
}
