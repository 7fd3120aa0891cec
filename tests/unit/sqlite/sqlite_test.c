/* sqlite_test.c - the SQLite engine: values, errors, transactions, cancelling, closing. */
#include "sqlite/sqlite.h"

#include "support/test.h"

#include <sqlite3.h>
#include <unistd.h>

static uv_loop_t loop;

/* How a job ended, kept when the job is freed. */
struct outcome {
  int calls, code;
  struct sip_err err;
  struct sip_sqlite_job *job; /* the caller frees it */
};

static void on_done(struct sip_sqlite_job *job, void *arg)
{
  struct outcome *outcome = arg;

  outcome->calls++;
  outcome->code = job->err.code;
  outcome->err = job->err;
  outcome->job = job;
}

static void on_done_never(struct sip_sqlite_job *job, void *arg)
{
  (void)job;
  (void)arg;
  SIP_TEST_FAIL("done was called for a job that was dropped");
}

static struct sip_sqlite_job *job_of(enum sip_sqlite_kind kind, const char *sql)
{
  struct sip_sqlite_job *job = sip_sqlite_job_new(kind);

  CHECK(job != NULL);
  CHECK_INT(sip_buf_adds(&job->sql, sql), 0);
  return job;
}

static void wait_for(const struct outcome *outcome)
{
  while (outcome->calls == 0) {
    CHECK(uv_run(&loop, UV_RUN_ONCE) != 0 || outcome->calls != 0);
  }
}

static struct sip_sqlite *open_with(const char *path, const struct sip_sqlite_options *options)
{
  struct outcome outcome = { 0 };
  struct sip_sqlite *db = NULL;
  struct sip_err err;

  CHECK_INT(
    sip_sqlite_new(&db, &loop, options, job_of(SIP_SQLITE_OPEN, path), on_done, &outcome, &err), 0);
  wait_for(&outcome);
  CHECK_STR(outcome.code == 0 ? "" : outcome.err.message, "");
  sip_sqlite_job_free(outcome.job);
  return db;
}

static struct sip_sqlite *open_memory(void)
{
  struct sip_sqlite_options options = { 0 };

  return open_with(":memory:", &options);
}

/* Starts a job and waits for its end; the caller frees outcome.job. */
static struct outcome run_job(struct sip_sqlite *db, struct sip_sqlite_job *job)
{
  struct outcome outcome = { 0 };
  struct sip_err err = { 0 };

  if (sip_sqlite_start(db, job, on_done, &outcome, &err) < 0) {
    SIP_TEST_FAIL("start: %s", err.message);
  }
  wait_for(&outcome);
  return outcome;
}

/* Runs a statement that returns nothing of interest; gives its error's name, "" when it worked.
 * Static storage. */
static const char *run_in(struct sip_sqlite *db, struct sip_sqlite_tx *tx,
                          enum sip_sqlite_kind kind, const char *sql)
{
  static struct outcome outcome;
  struct sip_sqlite_job *job = job_of(kind, sql);

  job->tx = tx;
  outcome = run_job(db, job);
  sip_sqlite_job_free(outcome.job);
  return outcome.code == 0 ? "" : outcome.err.name;
}

static const char *run(struct sip_sqlite *db, const char *sql)
{
  return run_in(db, NULL, SIP_SQLITE_STATEMENT, sql);
}

static int64_t number_of(struct sip_sqlite *db, const char *sql)
{
  struct outcome outcome = run_job(db, job_of(SIP_SQLITE_STATEMENT, sql));
  int64_t number;

  CHECK_STR(outcome.code == 0 ? "" : outcome.err.message, "");
  CHECK_INT(outcome.job->row_count, 1);
  number = outcome.job->cells[0].as.integer;
  sip_sqlite_job_free(outcome.job);
  return number;
}

/* --- values --- */

static void values_come_back_as_they_went_in(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_job *job =
    job_of(SIP_SQLITE_STATEMENT, "SELECT ?1 AS a, ?2 AS b, ?3 AS c, ?4 AS d, ?5 AS e, ?6 AS f");
  struct sip_sqlite_value value = { .type = SIP_SQLITE_INTEGER, .as.integer = INT64_MAX };
  struct outcome outcome;

  CHECK_INT(sip_sqlite_job_bind(job, &value), 0);
  value.type = SIP_SQLITE_REAL;
  value.as.real = 0.1;
  CHECK_INT(sip_sqlite_job_bind(job, &value), 0);
  CHECK_INT(sip_sqlite_job_bind_bytes(job, SIP_SQLITE_TEXT, "a\0b", 3), 0);
  CHECK_INT(sip_sqlite_job_bind_bytes(job, SIP_SQLITE_BLOB, "\xff\x00", 2), 0);
  CHECK_INT(sip_sqlite_job_bind_bytes(job, SIP_SQLITE_TEXT, "", 0), 0);
  value.type = SIP_SQLITE_NULL;
  CHECK_INT(sip_sqlite_job_bind(job, &value), 0);
  outcome = run_job(db, job);
  CHECK_INT(outcome.code, 0);
  CHECK_INT(job->row_count, 1);
  CHECK_INT(job->column_count, 6);
  CHECK(memcmp(job->names.data, "a\0b\0c\0d\0e\0f", 12) == 0);
  CHECK_INT(job->cells[0].type, SIP_SQLITE_INTEGER);
  CHECK(job->cells[0].as.integer == INT64_MAX);
  CHECK_INT(job->cells[1].type, SIP_SQLITE_REAL);
  CHECK(job->cells[1].as.real == 0.1);
  CHECK_INT(job->cells[2].type, SIP_SQLITE_TEXT);
  CHECK_INT(job->cells[2].as.text.len, 3);
  CHECK(memcmp(job->bytes.data + job->cells[2].as.text.at, "a\0b", 3) == 0);
  CHECK_INT(job->cells[3].type, SIP_SQLITE_BLOB);
  CHECK(memcmp(job->bytes.data + job->cells[3].as.text.at, "\xff\x00", 2) == 0);
  CHECK_INT(job->cells[4].type, SIP_SQLITE_TEXT);
  CHECK_INT(job->cells[4].as.text.len, 0);
  CHECK_INT(job->cells[5].type, SIP_SQLITE_NULL);
  sip_sqlite_job_free(job);
  sip_sqlite_close(db);
}

static void changes_count_this_statement_only(void)
{
  struct sip_sqlite *db = open_memory();
  struct outcome outcome;

  CHECK_STR(run_in(db, NULL, SIP_SQLITE_SCRIPT,
                   "CREATE TABLE t (n INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3);"),
            "");
  outcome = run_job(db, job_of(SIP_SQLITE_STATEMENT, "UPDATE t SET n = n + 10 WHERE n > 1"));
  CHECK_INT(outcome.job->changes, 2);
  sip_sqlite_job_free(outcome.job);
  outcome = run_job(db, job_of(SIP_SQLITE_STATEMENT, "SELECT count(*) FROM t"));
  CHECK_INT(outcome.job->changes, 0);
  sip_sqlite_job_free(outcome.job);
  outcome = run_job(db, job_of(SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (77)"));
  CHECK_INT(outcome.job->last_id, 77);
  sip_sqlite_job_free(outcome.job);
  sip_sqlite_close(db);
}

/* --- errors --- */

static void errors_have_stable_names(void)
{
  static const struct {
    const char *sql, *name;
  } cases[] = {
    { "INSERT INTO t (n, p) VALUES (1, 5)", "SQL_UNIQUE" },
    { "INSERT INTO t (n, p) VALUES (2, -1)", "SQL_CHECK" },
    { "INSERT INTO t (n, p) VALUES (3, NULL)", "SQL_NOT_NULL" },
    { "INSERT INTO child VALUES (99)", "SQL_FOREIGN_KEY" },
    { "SELECT nonsense", "SQL_ERROR" },
    { "SELECT 1; SELECT 2", "SQL_ERROR" },
    { "  ", "SQL_ERROR" },
    { "SELECT ?1", "SQL_ERROR" },
    { "BEGIN", "SQL_ERROR" },
    { "ATTACH ':memory:' AS other", "SQL_ERROR" },
  };
  struct sip_sqlite *db = open_memory();

  CHECK_STR(run_in(db, NULL, SIP_SQLITE_SCRIPT,
                   "CREATE TABLE t (n INTEGER PRIMARY KEY, p INTEGER NOT NULL CHECK (p >= 0));"
                   "CREATE TABLE child (n INTEGER REFERENCES t (n)); INSERT INTO t VALUES (1, 1);"),
            "");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CHECK_STR(run(db, cases[i].sql), cases[i].name);
  }
  CHECK_INT(number_of(db, "SELECT count(*) FROM t"), 1);
  sip_sqlite_close(db);
}

static void file_that_is_no_database_is_refused(void)
{
  struct sip_sqlite_options options = { 0 };
  struct outcome outcome = { 0 };
  struct sip_sqlite *db = NULL;
  struct sip_err err;
  static const char *const paths[] = { "/proc/self/exe", "/nowhere/at/all.db" };
  static const char *const names[] = { "SQL_", "SQL_CANNOT_OPEN" };

  for (size_t i = 0; i < 2; i++) {
    memset(&outcome, 0, sizeof outcome);
    CHECK_INT(sip_sqlite_new(&db, &loop, &options, job_of(SIP_SQLITE_OPEN, paths[i]), on_done,
                             &outcome, &err),
              0);
    wait_for(&outcome);
    CHECK(outcome.code < 0);
    CHECK_HAS(outcome.err.name, names[i]);
    CHECK_HAS(outcome.err.message, paths[i]);
    sip_sqlite_job_free(outcome.job);
    sip_sqlite_close(db);
  }
}

static void too_many_rows_are_refused(void)
{
  struct sip_sqlite_options options = { .max_result_bytes = 10000 };
  struct sip_sqlite *db = open_with(":memory:", &options);
  static const char SQL[] =
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";

  CHECK_STR(run(db, SQL), "TOO_BIG");
  CHECK_STR(run(db, "SELECT 1"), "");
  sip_sqlite_close(db);
}

static void more_statements_than_the_cache_holds_still_work(void)
{
  struct sip_sqlite *db = open_memory();
  char sql[64];

  for (int i = 0; i < 300; i++) {
    (void)snprintf(sql, sizeof sql, "SELECT %d", i % 100);
    CHECK_INT(number_of(db, sql), i % 100);
  }
  sip_sqlite_close(db);
}

/* --- transactions --- */

static void jobs_outside_wait_for_the_transaction(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);
  struct sip_sqlite_job *outside = job_of(SIP_SQLITE_STATEMENT, "SELECT count(*) FROM t");
  struct outcome outcome = { 0 };

  CHECK_STR(run(db, "CREATE TABLE t (n)"), "");
  CHECK(!sip_sqlite_tx_open(tx));
  CHECK_STR(run_in(db, tx, SIP_SQLITE_BEGIN, ""), "");
  CHECK(sip_sqlite_tx_open(tx));
  CHECK_INT(sip_sqlite_start(db, outside, on_done, &outcome, NULL), 0);
  CHECK_STR(run_in(db, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (1)"), "");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (2)"), "");
  CHECK_INT(outcome.calls, 0);
  CHECK_STR(run_in(db, tx, SIP_SQLITE_COMMIT, ""), "");
  wait_for(&outcome);
  CHECK_INT(outside->cells[0].as.integer, 2);
  sip_sqlite_job_free(outside);
  sip_sqlite_tx_free(tx);
  sip_sqlite_close(db);
}

static void forgotten_transaction_is_rolled_back(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);

  CHECK_STR(run(db, "CREATE TABLE t (n)"), "");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_BEGIN, ""), "");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (1)"), "");
  sip_sqlite_tx_free(tx);
  CHECK_INT(number_of(db, "SELECT count(*) FROM t"), 0);
  sip_sqlite_close(db);
}

static void transaction_forgotten_while_it_begins_lets_go(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);
  struct sip_sqlite_job *begin = sip_sqlite_job_new(SIP_SQLITE_BEGIN);

  CHECK_STR(run(db, "CREATE TABLE t (n)"), "");
  begin->tx = tx;
  CHECK_INT(sip_sqlite_start(db, begin, on_done_never, NULL, NULL), 0);
  sip_sqlite_job_free(begin);
  sip_sqlite_tx_free(tx);
  CHECK_STR(run(db, "INSERT INTO t VALUES (1)"), "");
  sip_sqlite_close(db);
}

static void transaction_that_sqlite_gave_up_says_so(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);
  struct sip_sqlite_job *job;
  struct sip_err err;

  CHECK_STR(run(db, "CREATE TABLE t (n UNIQUE)"), "");
  CHECK_STR(run(db, "INSERT INTO t VALUES (1)"), "");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_BEGIN, ""), "");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (2)"), "");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_STATEMENT, "INSERT OR ROLLBACK INTO t VALUES (1)"),
            "SQL_UNIQUE");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (3)"), "SQL_ROLLED_BACK");
  CHECK_STR(run_in(db, tx, SIP_SQLITE_COMMIT, ""), "SQL_ROLLED_BACK");
  CHECK_INT(number_of(db, "SELECT count(*) FROM t"), 1);
  job = job_of(SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (4)");
  job->tx = tx;
  CHECK_INT(sip_sqlite_start(db, job, on_done_never, NULL, &err), SIP_ECLOSED);
  sip_sqlite_job_free(job);
  sip_sqlite_tx_free(tx);
  sip_sqlite_close(db);
}

/* --- cancelling and closing --- */

static const char FOREVER[] =
  "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";

static void dropped_statement_stops_and_the_next_one_runs(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_job *running = job_of(SIP_SQLITE_STATEMENT, FOREVER);
  struct sip_sqlite_job *waiting = job_of(SIP_SQLITE_STATEMENT, "SELECT 1");

  CHECK_INT(sip_sqlite_start(db, running, on_done_never, NULL, NULL), 0);
  CHECK_INT(sip_sqlite_start(db, waiting, on_done_never, NULL, NULL), 0);
  sip_sqlite_job_free(waiting);
  sip_sqlite_job_free(running);
  CHECK_INT(number_of(db, "SELECT 7"), 7);
  sip_sqlite_close(db);
}

static void closing_ends_what_waits(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);
  struct sip_sqlite_job *running = job_of(SIP_SQLITE_STATEMENT, FOREVER);
  struct sip_sqlite_job *waiting = job_of(SIP_SQLITE_STATEMENT, "SELECT 1"), *late;
  struct outcome outcome = { 0 };
  struct sip_err err;

  CHECK_STR(run_in(db, tx, SIP_SQLITE_BEGIN, ""), "");
  running->tx = tx;
  CHECK_INT(sip_sqlite_start(db, running, on_done_never, NULL, NULL), 0);
  CHECK_INT(sip_sqlite_start(db, waiting, on_done, &outcome, NULL), 0);
  sip_sqlite_close(db);
  CHECK_INT(outcome.calls, 1);
  CHECK_INT(outcome.code, UV_ECANCELED);
  sip_sqlite_job_free(waiting);
  late = job_of(SIP_SQLITE_STATEMENT, "SELECT 1");
  CHECK_INT(sip_sqlite_start(db, late, on_done_never, NULL, &err), SIP_ECLOSED);
  sip_sqlite_job_free(late);
  sip_sqlite_job_free(running);
  sip_sqlite_tx_free(tx);
}

static void closing_after_a_forgotten_transaction_frees_it(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db), *later = sip_sqlite_tx_new(db);
  struct sip_sqlite_job *running = job_of(SIP_SQLITE_STATEMENT, FOREVER);

  CHECK_STR(run_in(db, tx, SIP_SQLITE_BEGIN, ""), "");
  running->tx = tx;
  CHECK_INT(sip_sqlite_start(db, running, on_done_never, NULL, NULL), 0);
  sip_sqlite_job_free(running);
  sip_sqlite_tx_free(tx);
  sip_sqlite_close(db);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  CHECK(
    !sip_sqlite_tx_open(later)); /* the connection is there as long as a transaction points at it */
  sip_sqlite_tx_free(later);
}

static void transaction_forgotten_while_the_file_closes_is_freed(void)
{
  struct sip_sqlite *db = open_memory();
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);

  CHECK_STR(run_in(db, tx, SIP_SQLITE_BEGIN, ""), "");
  sip_sqlite_close(db); /* on its way on another thread */
  sip_sqlite_tx_free(tx);
}

static void full_queue_refuses(void)
{
  struct sip_sqlite_options options = { .max_queue = 1 };
  struct sip_sqlite *db = open_with(":memory:", &options);
  struct sip_sqlite_job *running = job_of(SIP_SQLITE_STATEMENT, FOREVER);
  struct sip_sqlite_job *waiting = job_of(SIP_SQLITE_STATEMENT, "SELECT 1");
  struct sip_sqlite_job *refused = job_of(SIP_SQLITE_STATEMENT, "SELECT 2");
  struct sip_err err;

  CHECK_INT(sip_sqlite_start(db, running, on_done_never, NULL, NULL), 0);
  CHECK_INT(sip_sqlite_start(db, waiting, on_done_never, NULL, NULL), 0);
  CHECK_INT(sip_sqlite_start(db, refused, on_done_never, NULL, &err), SIP_EQUEUEFULL);
  sip_sqlite_job_free(refused);
  sip_sqlite_job_free(waiting);
  sip_sqlite_job_free(running);
  sip_sqlite_close(db);
}

/* --- two connections to one file --- */

static void lock_of_another_is_waited_for_within_bounds(void)
{
  struct sip_sqlite_options options = { .busy_timeout_ms = 30 },
                            patient = { .busy_timeout_ms = 60000 };
  char path[] = "/tmp/sipeat-sqlite-XXXXXX", wal[64];
  int fd = mkstemp(path);
  struct sip_sqlite *holder, *other, *waiter;
  struct sip_sqlite_tx *tx;
  struct sip_sqlite_job *job = job_of(SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (3)");

  CHECK(fd >= 0);
  (void)close(fd);
  holder = open_with(path, &options);
  other = open_with(path, &options);
  waiter = open_with(path, &patient);
  CHECK_STR(run(holder, "CREATE TABLE t (n)"), "");
  tx = sip_sqlite_tx_new(holder);
  CHECK_STR(run_in(holder, tx, SIP_SQLITE_BEGIN, ""), "");
  CHECK_STR(run_in(holder, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t VALUES (1)"), "");
  CHECK_STR(run(other, "INSERT INTO t VALUES (2)"), "SQL_BUSY");
  CHECK_INT(number_of(other, "SELECT count(*) FROM t"), 0); /* WAL: reading does not wait */
  CHECK_INT(sip_sqlite_start(waiter, job, on_done_never, NULL, NULL), 0);
  sip_sqlite_job_free(job);
  (void)uv_run(&loop, UV_RUN_DEFAULT); /* ends long before the minute: the wait was given up */
  CHECK_STR(run_in(holder, tx, SIP_SQLITE_COMMIT, ""), "");
  CHECK_INT(number_of(other, "SELECT sum(n) FROM t"), 1);
  sip_sqlite_tx_free(tx);
  sip_sqlite_close(holder);
  sip_sqlite_close(other);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  sip_sqlite_close(waiter); /* alone: of several at once each may take another for the last one */
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  (void)snprintf(wal, sizeof wal, "%s-wal", path);
  CHECK(access(wal, F_OK) != 0); /* the last one to close leaves one file */
  CHECK_INT(unlink(path), 0);
}

int main(void)
{
  CHECK_INT(uv_loop_init(&loop), 0);
  values_come_back_as_they_went_in();
  changes_count_this_statement_only();
  errors_have_stable_names();
  file_that_is_no_database_is_refused();
  too_many_rows_are_refused();
  more_statements_than_the_cache_holds_still_work();
  jobs_outside_wait_for_the_transaction();
  forgotten_transaction_is_rolled_back();
  transaction_forgotten_while_it_begins_lets_go();
  transaction_that_sqlite_gave_up_says_so();
  dropped_statement_stops_and_the_next_one_runs();
  closing_ends_what_waits();
  closing_after_a_forgotten_transaction_frees_it();
  transaction_forgotten_while_the_file_closes_is_freed();
  full_queue_refuses();
  lock_of_another_is_waited_for_within_bounds();
  SIP_TEST_END(&loop);
  return 0;
}
