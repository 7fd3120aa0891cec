/* alloc_test.c - the SQLite engine when SQLite runs out of memory: the n-th of its allocations
 * fails, n = 1, 2, …, until the whole scenario passes. Each round ends in a clean error, and leaves
 * no handle and nothing locked. */
#include "sqlite/sqlite.h"

#include "support/test.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

static uv_loop_t loop;
static sqlite3_mem_methods real;
static atomic_int countdown; /* allocations until one fails; 0: none does. Pool threads count too */
static char path[] = "/tmp/sipeat-sqlite-alloc-XXXXXX";

static bool fails_now(void)
{
  return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

static void *fault_malloc(int size)
{
  return fails_now() ? NULL : real.xMalloc(size);
}

static void *fault_realloc(void *block, int size)
{
  return fails_now() ? NULL : real.xRealloc(block, size);
}

static void on_done(struct sip_sqlite_job *job, void *arg)
{
  (void)job;
  *(int *)arg = 1;
}

/* Runs the job and frees it; its code. A start that is refused counts as a failure too. */
static int run_job(struct sip_sqlite *db, struct sip_sqlite_job *job)
{
  int done = 0, rc;

  rc = sip_sqlite_start(db, job, on_done, &done, NULL);
  if (rc == 0) {
    while (!done) {
      (void)uv_run(&loop, UV_RUN_ONCE); /* whether more is active does not matter here */
    }
    rc = job->err.code;
  }
  if (rc < 0 && job->err.code < 0) {
    CHECK(job->err.message[0] != '\0');
  }
  sip_sqlite_job_free(job);
  return rc;
}

static int run(struct sip_sqlite *db, struct sip_sqlite_tx *tx, enum sip_sqlite_kind kind,
               const char *sql)
{
  struct sip_sqlite_job *job = sip_sqlite_job_new(kind);

  CHECK(job != NULL);
  CHECK_INT(sip_buf_adds(&job->sql, sql), 0);
  job->tx = tx;
  return run_job(db, job);
}

/* A transaction of one insert and a reading; 0 when everything worked. */
static int work(struct sip_sqlite *db)
{
  struct sip_sqlite_tx *tx = sip_sqlite_tx_new(db);
  int rc;

  CHECK(tx != NULL);
  rc = run(db, tx, SIP_SQLITE_BEGIN, "");
  if (rc == 0) {
    rc = run(db, tx, SIP_SQLITE_STATEMENT, "INSERT INTO t (name) VALUES (hex(randomblob(5000)))");
  }
  if (rc == 0) {
    rc = run(db, tx, SIP_SQLITE_COMMIT, "");
  }
  sip_sqlite_tx_free(tx);
  return rc != 0
           ? rc
           : run(db, NULL, SIP_SQLITE_STATEMENT, "SELECT n, name FROM t ORDER BY name LIMIT 3");
}

static int scenario(void)
{
  struct sip_sqlite_options options = { 0 };
  struct sip_sqlite_job *open_job = sip_sqlite_job_new(SIP_SQLITE_OPEN);
  struct sip_sqlite *db = NULL;
  int done = 0, rc;

  CHECK_INT(unlink(path), 0); /* each round begins with nothing */
  CHECK(open_job != NULL);
  CHECK_INT(sip_buf_adds(&open_job->sql, path), 0);
  CHECK_INT(sip_sqlite_new(&db, &loop, &options, open_job, on_done, &done, NULL), 0);
  while (!done) {
    (void)uv_run(&loop, UV_RUN_ONCE); /* as above */
  }
  rc = open_job->err.code;
  sip_sqlite_job_free(open_job);
  if (access(path, F_OK) != 0) { /* memory ran out before the file was made */
    CHECK_INT(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
  }
  if (rc == 0) {
    rc = run(db, NULL, SIP_SQLITE_SCRIPT,
             "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, name TEXT)");
  }
  if (rc == 0) {
    rc = work(db);
  }
  sip_sqlite_close(db);
  (void)uv_run(&loop, UV_RUN_DEFAULT); /* 0: nothing is left, and SIP_TEST_END checks it */
  return rc;
}

int main(void)
{
  sqlite3_mem_methods faulty;
  int fd = mkstemp(path), rounds = 0, rc;

  CHECK(fd >= 0);
  CHECK_INT(close(fd), 0);
  CHECK_INT(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
  faulty = real;
  faulty.xMalloc = fault_malloc;
  faulty.xRealloc = fault_realloc;
  CHECK_INT(sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty), SQLITE_OK);
  CHECK_INT(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0),
            SQLITE_OK); /* every allocation is seen */
  CHECK_INT(uv_loop_init(&loop), 0);
  do {
    CHECK(++rounds < 20000);
    atomic_store(&countdown, rounds);
    rc = scenario();
  } while (rc != 0 || atomic_load(&countdown) == 0);
  (void)printf("%d allocations\n", rounds);
  CHECK(rounds > 100);
  atomic_store(&countdown, 0);
  CHECK_INT(scenario(), 0);
  CHECK_INT(unlink(path), 0);
  SIP_TEST_END(&loop);
  return 0;
}
