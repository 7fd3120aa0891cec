/* file.c - what a job does to the database file.
 *
 * Pool thread; the connection's queue sees to it that one job runs at a time. Statements are
 * prepared once and kept. A job that is told to stop gives up inside of SQLite (progress handler)
 * and while it waits for a lock of another process (busy handler); SQLite then undoes what the
 * statement had done. */
#include "sqlite/file.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  STEPS_BETWEEN_CHECKS =
    2000,              /* virtual machine steps between two looks at job->stop: some 0.1 ms */
  BUSY_WAIT_MS = 5,    /* between two tries for a lock */
  SHOWN_SQL_BYTES = 80 /* of a statement, in a message */
};

const char *sip_sqlite_code_name(int rc)
{
  switch (rc) {
  case SQLITE_CONSTRAINT_UNIQUE:
  case SQLITE_CONSTRAINT_PRIMARYKEY:
  case SQLITE_CONSTRAINT_ROWID:
    return "SQL_UNIQUE";
  case SQLITE_CONSTRAINT_CHECK:
    return "SQL_CHECK";
  case SQLITE_CONSTRAINT_FOREIGNKEY:
    return "SQL_FOREIGN_KEY";
  case SQLITE_CONSTRAINT_NOTNULL:
    return "SQL_NOT_NULL";
  default:
    break;
  }
  switch (rc & 0xff) {
  case SQLITE_CONSTRAINT:
    return "SQL_CONSTRAINT";
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return "SQL_BUSY";
  case SQLITE_FULL:
    return "SQL_FULL";
  case SQLITE_IOERR:
    return "SQL_IO";
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return "SQL_CORRUPT";
  case SQLITE_CANTOPEN:
    return "SQL_CANNOT_OPEN";
  case SQLITE_READONLY:
  case SQLITE_PERM:
    return "SQL_READ_ONLY";
  case SQLITE_TOOBIG:
    return "SQL_TOO_BIG";
  default:
    return "SQL_ERROR";
  }
}

/* The statement that runs: of a batch, one of its texts. */
static struct sip_slice text_of(const struct sip_sqlite_file *file,
                                const struct sip_sqlite_job *job)
{
  size_t at = job->text_count == 0 ? 0 : job->texts[file->text];
  size_t end = job->text_count == 0 ? job->sql.len : job->texts[file->text + 1];

  return (struct sip_slice){ job->sql.data == NULL ? "" : job->sql.data + at, end - at };
}

/* Where it begins, for a message. */
static int shown_len(const struct sip_slice *text)
{
  return text->len < SHOWN_SQL_BYTES ? (int)text->len : SHOWN_SQL_BYTES;
}

/* Fills job->err from SQLite's own. Always negative. */
static int refused(struct sip_sqlite_file *file, struct sip_sqlite_job *job, int rc)
{
  struct sip_slice shown = text_of(file, job);
  const char *hint = "";

  if ((rc & 0xff) == SQLITE_NOMEM) {
    return sip_err_set(&job->err, UV_ENOMEM, "sql: out of memory");
  }
  if ((rc & 0xff) == SQLITE_INTERRUPT) {
    return sip_err_set(&job->err, UV_ECANCELED, "sql: cancelled");
  }
  if ((rc & 0xff) == SQLITE_AUTH) {
    hint = " (BEGIN, COMMIT and ROLLBACK belong to db:transaction; ATTACH is not allowed)";
  } else if ((rc & 0xff) == SQLITE_BUSY) {
    hint = " (another process holds the file's lock)";
  }
  return sip_err_named(&job->err, SIP_ESQL, sip_sqlite_code_name(rc), "sql: %s%s, in: %.*s",
                       sqlite3_errmsg(file->handle), hint, shown_len(&shown), shown.data);
}

/* --- handlers that SQLite calls while a statement runs --- */

static int file_on_progress(void *arg)
{
  struct sip_sqlite_file *file = arg;

  return file->job != NULL &&
         atomic_load_explicit(&file->job->stop,
                              memory_order_relaxed); /* a flag, it guards nothing */
}

static int file_on_busy(void *arg, int tries)
{
  struct sip_sqlite_file *file = arg;
  uint64_t now_ms = uv_hrtime() / 1000000;

  if (tries == 0) {
    file->busy_since_ms = now_ms;
  }
  if (file_on_progress(file) || now_ms - file->busy_since_ms >= file->options.busy_timeout_ms) {
    return 0;
  }
  uv_sleep(BUSY_WAIT_MS); /* a pool thread may wait */
  return !file_on_progress(file);
}

static int file_on_authorize(void *arg, int action, const char *a, const char *b, const char *c,
                             const char *d)
{
  struct sip_sqlite_file *file = arg;

  (void)a;
  (void)b;
  (void)c;
  (void)d;
  if (action == SQLITE_ATTACH || action == SQLITE_DETACH) {
    return SQLITE_DENY;
  }
  return action == SQLITE_TRANSACTION && !file->trusted ? SQLITE_DENY : SQLITE_OK;
}

/* --- prepared statements --- */

static void cached_drop(struct sip_sqlite_cached *cached)
{
  (void)sqlite3_finalize(
    cached->statement); /* repeats the error of its last step, which was reported */
  free(cached->sql);
  memset(cached, 0, sizeof *cached);
}

static struct sip_sqlite_cached *cached_find(struct sip_sqlite_file *file,
                                             const struct sip_slice *sql)
{
  struct sip_sqlite_cached *oldest = &file->cache[0];

  for (size_t i = 0; i < SIP_SQLITE_CACHE; i++) {
    struct sip_sqlite_cached *cached = &file->cache[i];

    if (cached->statement != NULL && cached->sql_len == sql->len &&
        memcmp(cached->sql, sql->data, sql->len) == 0) {
      return cached;
    }
    if (cached->used < oldest->used) {
      oldest = cached;
    }
  }
  cached_drop(oldest);
  return oldest;
}

static bool is_blank(const char *text, const char *end)
{
  while (text < end && (strchr(" \t\r\n;", *text) != NULL)) {
    text++;
  }
  return text == end;
}

/* The statement that runs, ready to bind. */
static int file_prepare(struct sip_sqlite_file *file, struct sip_sqlite_job *job,
                        sqlite3_stmt **out)
{
  struct sip_slice sql = text_of(file, job);
  struct sip_sqlite_cached *cached = cached_find(file, &sql);
  const char *end = sql.data + sql.len, *tail = NULL;
  int rc;

  cached->used = ++file->clock;
  if (cached->statement != NULL) {
    *out = cached->statement;
    return 0;
  }
  rc = sqlite3_prepare_v3(file->handle, sql.data, (int)sql.len, SQLITE_PREPARE_PERSISTENT,
                          &cached->statement, &tail);
  if (rc != SQLITE_OK) {
    return refused(file, job, rc);
  }
  if (cached->statement == NULL || !is_blank(tail, end)) {
    cached_drop(cached);
    return sip_err_named(
      &job->err, SIP_ESQL, "SQL_ERROR", "sql: expected one statement%s, in: %.*s",
      tail < end ? " (use db:script for several)" : "", shown_len(&sql), sql.data);
  }
  cached->sql = malloc(sql.len);
  if (cached->sql == NULL) {
    cached_drop(cached);
    return sip_err_set(&job->err, UV_ENOMEM, "sql: out of memory");
  }
  memcpy(cached->sql, sql.data, sql.len);
  cached->sql_len = sql.len;
  *out = cached->statement;
  return 0;
}

static int bind_one(sqlite3_stmt *statement, int index, const struct sip_sqlite_job *job,
                    const struct sip_sqlite_value *value)
{
  /* The bytes of a single statement move when its rows are added to them; those of a batch stay. */
  void (*keep)(void *) = job->kind == SIP_SQLITE_BATCH ? SQLITE_STATIC : SQLITE_TRANSIENT;
  const char *data = job->bytes.data == NULL ? "" : job->bytes.data; /* empty text, and no other */

  switch (value->type) {
  case SIP_SQLITE_INTEGER:
    return sqlite3_bind_int64(statement, index, value->as.integer);
  case SIP_SQLITE_REAL:
    return sqlite3_bind_double(statement, index, value->as.real);
  case SIP_SQLITE_TEXT:
    return sqlite3_bind_text64(statement, index, data + value->as.text.at, value->as.text.len, keep,
                               SQLITE_UTF8);
  case SIP_SQLITE_BLOB:
    return sqlite3_bind_blob64(statement, index, data + value->as.text.at, value->as.text.len,
                               keep);
  default:
    return sqlite3_bind_null(statement, index);
  }
}

static int bind_all(struct sip_sqlite_file *file, struct sip_sqlite_job *job,
                    sqlite3_stmt *statement, size_t first, size_t count)
{
  int wanted = sqlite3_bind_parameter_count(statement), rc;
  struct sip_slice sql;

  if ((size_t)wanted != count) {
    sql = text_of(file, job);
    return sip_err_named(&job->err, SIP_ESQL, "SQL_ERROR",
                         "sql: the statement has %d parameters and got %zu values, in: %.*s",
                         wanted, count, shown_len(&sql), sql.data);
  }
  for (int i = 0; i < wanted; i++) {
    rc = bind_one(statement, i + 1, job, &job->params[first + (size_t)i]);
    if (rc != SQLITE_OK) {
      return refused(file, job, rc);
    }
  }
  return 0;
}

/* --- jobs --- */

static int run_statement(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  sqlite3_stmt *statement = NULL;
  int before = sqlite3_total_changes(file->handle), rc, step = SQLITE_OK;

  rc = file_prepare(file, job, &statement);
  if (rc < 0) {
    return rc;
  }
  rc = bind_all(file, job, statement, 0, job->param_count);
  while (rc == 0 && (step = sqlite3_step(statement)) == SQLITE_ROW) {
    rc = sip_sqlite_take_row(file, job, statement);
  }
  if (rc == 0 && step != SQLITE_DONE) {
    rc = refused(file, job, step);
  }
  (void)sqlite3_reset(statement);          /* repeats the error of the step, which was reported */
  (void)sqlite3_clear_bindings(statement); /* always SQLITE_OK */
  job->changes = sqlite3_total_changes(file->handle) == before ? 0 : sqlite3_changes(file->handle);
  job->last_id = sqlite3_last_insert_rowid(file->handle);
  return rc;
}

/* Runs a step of a batch; rows that it gives are not kept. */
static int run_step(struct sip_sqlite_file *file, struct sip_sqlite_job *job,
                    sqlite3_stmt *statement, size_t first, size_t count)
{
  int rc = bind_all(file, job, statement, first, count), step;

  if (rc < 0) {
    return rc;
  }
  do {
    step = sqlite3_step(statement);
  } while (step == SQLITE_ROW);
  if (step != SQLITE_DONE) {
    rc = refused(file, job, step);
  }
  (void)sqlite3_reset(statement); /* repeats the error of the step, which was reported */
  return rc;
}

/* The statements of a batch are fewer than the cache has places, so none of them goes meanwhile. */
static int run_batch(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  sqlite3_stmt *statements[SIP_SQLITE_MAX_TEXTS] = { NULL };
  int before = sqlite3_total_changes(file->handle), rc = 0;
  size_t first = 0;

  _Static_assert((int)SIP_SQLITE_MAX_TEXTS < (int)SIP_SQLITE_CACHE, "a batch fits into the cache");
  for (file->text = 0; rc == 0 && file->text < job->text_count; file->text++) {
    rc = file_prepare(file, job, &statements[file->text]);
  }
  for (size_t i = 0; rc == 0 && i < job->step_count; i++) {
    file->text = job->steps[i].text;
    rc = run_step(file, job, statements[file->text], first, job->steps[i].params);
    first += job->steps[i].params;
  }
  for (size_t i = 0; i < job->text_count && statements[i] != NULL; i++) {
    (void)sqlite3_clear_bindings(statements[i]); /* always SQLITE_OK */
  }
  file->text = 0;
  job->changes = sqlite3_total_changes(file->handle) - before;
  job->last_id = sqlite3_last_insert_rowid(file->handle);
  return rc;
}

/* Statements of the engine's own, or of a script. */
static int run_text(struct sip_sqlite_file *file, struct sip_sqlite_job *job, const char *text)
{
  int rc = sqlite3_exec(file->handle, text, NULL, NULL, NULL);

  return rc == SQLITE_OK ? 0 : refused(file, job, rc);
}

static int run_trusted(struct sip_sqlite_file *file, struct sip_sqlite_job *job, const char *text)
{
  int rc;

  file->trusted = true;
  rc = run_text(file, job, text);
  file->trusted = false;
  return rc;
}

static int run_commit(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  struct sip_err kept;
  int rc;

  if (sqlite3_get_autocommit(file->handle)) {
    return sip_err_named(&job->err, SIP_ESQL, "SQL_ROLLED_BACK",
                         "sql: an earlier error has rolled the transaction back");
  }
  rc = run_trusted(file, job, "COMMIT");
  if (rc < 0 && !sqlite3_get_autocommit(file->handle)) {
    kept = job->err;
    (void)run_trusted(file, job, "ROLLBACK"); /* the commit's error is the one to tell */
    job->err = kept;
  }
  return rc;
}

static int run_rollback(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  return sqlite3_get_autocommit(file->handle) ? 0 : run_trusted(file, job, "ROLLBACK");
}

/* Makes the file, and its folder when that is missing, for nobody but their owner. One that is
 * there is not touched: a descriptor of it that is closed would end the locks of this process on
 * it. What fails shows when the file is opened. */
static void make_private(const char *path)
{
  char folder[4096];
  int fd;

  if (path[0] == '\0' || strcmp(path, ":memory:") == 0 || strlen(path) >= sizeof folder) {
    return;
  }
  (void)snprintf(folder, sizeof folder, "%s", path);
  (void)mkdir(dirname(folder), 0700); /* mostly it is there */
  fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) {
    (void)close(fd); /* nothing was written */
  }
}

/* Of two that do this with the same new file at once, one is told SQLITE_BUSY without the handler
 * being asked. */
static int use_wal(struct sip_sqlite_file *file)
{
  int rc, tries = 0;

  do {
    rc = sqlite3_exec(file->handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
  } while ((rc & 0xff) == SQLITE_BUSY && file_on_busy(file, tries++) != 0);
  return rc;
}

static int run_open(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  int flags =
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  /* SQLite deletes a file without a name as soon as it has opened it. */
  const char *path = strcmp(job->sql.data, ":temporary:") == 0 ? "" : job->sql.data;
  int rc;

  if (file->options.is_private) {
    make_private(path);
  }
  rc = sqlite3_open_v2(path, &file->handle, flags, NULL);
  if (file->handle == NULL) {
    return sip_err_set(&job->err, UV_ENOMEM, "sql: open %s: out of memory", job->sql.data);
  }
  if (rc == SQLITE_OK) {
    (void)sqlite3_busy_handler(file->handle, file_on_busy, file); /* SQLITE_OK on an open handle */
    sqlite3_progress_handler(file->handle, STEPS_BETWEEN_CHECKS, file_on_progress, file);
    (void)sqlite3_set_authorizer(file->handle, file_on_authorize, file); /* as above */
    rc = use_wal(file);
  }
  if (rc == SQLITE_OK) {
    rc =
      sqlite3_exec(file->handle,
                   file->options.sync_normal ? "PRAGMA foreign_keys=ON; PRAGMA synchronous=NORMAL"
                                             : "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL",
                   NULL, NULL, NULL);
  }
  if (rc != SQLITE_OK) {
    return sip_err_named(
      &job->err, SIP_ESQL, sip_sqlite_code_name(rc),
      "sql: open %s: %s (does the directory exist, and may this user write to it?)", job->sql.data,
      sqlite3_errmsg(file->handle));
  }
  return 0;
}

static void run_close(struct sip_sqlite_file *file)
{
  for (size_t i = 0; i < SIP_SQLITE_CACHE; i++) {
    cached_drop(&file->cache[i]);
  }
  (void)sqlite3_close_v2(
    file->handle); /* always SQLITE_OK; rolls an open transaction back; NULL is fine */
  file->handle = NULL;
}

static bool ends_transaction_itself(const struct sip_sqlite_job *job)
{
  return job->kind == SIP_SQLITE_COMMIT || job->kind == SIP_SQLITE_ROLLBACK;
}

static int run_kind(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  if (job->kind == SIP_SQLITE_OPEN) {
    return run_open(file, job);
  }
  if (file->handle == NULL) {
    return sip_err_set(&job->err, SIP_ECLOSED, "sql: the database is not open");
  }
  if (job->tx != NULL && job->kind != SIP_SQLITE_BEGIN && !ends_transaction_itself(job) &&
      sqlite3_get_autocommit(file->handle)) {
    return sip_err_named(&job->err, SIP_ESQL, "SQL_ROLLED_BACK",
                         "sql: an earlier error has rolled the transaction back");
  }
  switch (job->kind) {
  case SIP_SQLITE_BEGIN: /* IMMEDIATE: the lock now, so that no later statement fails for want of it
                          */
    return run_trusted(file, job, "BEGIN IMMEDIATE");
  case SIP_SQLITE_COMMIT:
    return run_commit(file, job);
  case SIP_SQLITE_ROLLBACK:
    return run_rollback(file, job);
  case SIP_SQLITE_SCRIPT:
    return run_text(file, job, job->sql.data);
  case SIP_SQLITE_BATCH:
    return run_batch(file, job);
  default:
    return run_statement(file, job);
  }
}

void sip_sqlite_file_run(struct sip_sqlite_file *file, struct sip_sqlite_job *job)
{
  if (job->kind == SIP_SQLITE_CLOSE) {
    run_close(file);
    return;
  }
  file->job = ends_transaction_itself(job) ? NULL : job; /* an end is never given up half-way */
  if (run_kind(file, job) == 0) {
    job->err.code = 0;
  }
  file->job = NULL;
}
