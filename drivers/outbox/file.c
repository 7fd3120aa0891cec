/* file.c - the outbox's statements.
 *
 * WAL with synchronous=FULL: a commit is on the disk when it returns. A commit that only takes
 * records out is not waited for (NORMAL): when it is lost with the power, they are sent again. */
#include "outbox/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { BUSY_MS = 5000, ID_BYTES = 17 };

enum statement {
  APPEND,
  COUNT,
  REMOVE,
  REFUSE,
  SIZES,
  OLDEST,
  PROBE,
  VERSION,
  READ,
  READ_TOPIC,
  STATEMENTS
};

static const char *const texts[STATEMENTS] = {
  [APPEND] = "INSERT INTO queue (bytes, at_ms, timestamp_ms, topic_partition, topic, key, headers, "
             "value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
  [COUNT] = "SELECT count(*), ifnull(sum(bytes), 0) FROM queue WHERE seq BETWEEN ?1 AND ?2",
  [REMOVE] = "DELETE FROM queue WHERE seq BETWEEN ?1 AND ?2",
  [REFUSE] =
    "INSERT INTO refused (seq, bytes, at_ms, timestamp_ms, topic_partition, topic, key, headers, "
    "value, refused_at_ms, code, message) SELECT seq, bytes, at_ms, timestamp_ms, topic_partition, "
    "topic, key, headers, value, ?2, ?3, ?4 FROM queue WHERE seq = ?1",
  [SIZES] = "SELECT seq, bytes FROM queue ORDER BY seq",
  [OLDEST] = "SELECT at_ms FROM queue ORDER BY seq LIMIT 1",
  [PROBE] = "UPDATE outbox SET probes = probes + 1",
  [VERSION] = "PRAGMA data_version",
  [READ] =
    "SELECT seq, at_ms, timestamp_ms, topic_partition, topic, key, headers, value FROM queue "
    "WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
  [READ_TOPIC] = "SELECT seq, at_ms, timestamp_ms, topic_partition, topic, key, headers, value "
                 "FROM queue WHERE seq > ?1 AND seq <= ?2 AND topic = ?4 ORDER BY seq LIMIT ?3",
};

static const char schema[] =
  "BEGIN IMMEDIATE;"
  "CREATE TABLE outbox (id TEXT NOT NULL, probes INTEGER NOT NULL);"
  "INSERT INTO outbox VALUES (lower(hex(randomblob(8))), 0);"
  "CREATE TABLE queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL,"
  " at_ms INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, topic_partition INTEGER NOT NULL,"
  " topic TEXT NOT NULL, key BLOB, headers BLOB, value BLOB);"
  "CREATE TABLE refused (seq INTEGER PRIMARY KEY, bytes INTEGER NOT NULL,"
  " at_ms INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, topic_partition INTEGER NOT NULL,"
  " topic TEXT NOT NULL, key BLOB, headers BLOB, value BLOB,"
  " refused_at_ms INTEGER NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL);"
  "PRAGMA application_id=1399418946;" /* SIP_OUTBOX_APPLICATION */
  "PRAGMA user_version=1;"            /* SIP_OUTBOX_SCHEMA */
  "COMMIT;";

struct sip_outbox_file {
  sqlite3 *db;
  char *path;
  int lock; /* descriptor, -1 without */
  char id[ID_BYTES];
  bool durable; /* what synchronous is set to */
  int64_t data_version;
  sqlite3_stmt *statements[STATEMENTS];    /* NULL until first used */
  struct sip_outbox_totals totals, before; /* `before`: what they were at begin */
};

/* What the system said of the last write to the log. Not sqlite3_system_errno, which is 0 after
   the rollback that SQLite makes of itself. */
static int log_errno(sqlite3 *db)
{
  sqlite3_file *log = NULL;
  int number = 0;

  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
      log != NULL && log->pMethods != NULL) {
    (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number); /* else it stays 0 */
  }
  return number;
}

/* Fills `err` from SQLite's own. Always negative. */
static int failed(const struct sip_outbox_file *file, int rc, const char *what, struct sip_err *err)
{
  int kind = rc & 0xff, number = file->db != NULL && kind == SQLITE_IOERR ? log_errno(file->db) : 0;
  bool no_room = number == ENOSPC || number == EDQUOT || number == EFBIG;
  const char *text = file->db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(file->db);

  if (kind == SQLITE_NOMEM) {
    return sip_err_set(err, UV_ENOMEM, "outbox %s: %s: out of memory", file->path, what);
  }
  if (kind == SQLITE_FULL || no_room) {
    return sip_err_named(err, SIP_ESQL, "OUTBOX_DISK_FULL",
                         "outbox %s: %s: no room on the disk (it goes on when there is some)",
                         file->path, what);
  }
  if (kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB) {
    return sip_err_named(err, SIP_EDATA, "OUTBOX_CORRUPT",
                         "outbox %s: the file is damaged (%s): stop, move it aside together with "
                         "its -wal, and see what \"sqlite3 FILE .recover\" finds in it",
                         file->path, text);
  }
  if (kind == SQLITE_READONLY || kind == SQLITE_PERM) {
    return sip_err_named(err, SIP_ESQL, "OUTBOX_READ_ONLY",
                         "outbox %s: %s: it cannot be written (may this user write the file and "
                         "its directory?)",
                         file->path, what);
  }
  return sip_err_named(err, SIP_ESQL, kind == SQLITE_BUSY ? "OUTBOX_BUSY" : "OUTBOX_IO",
                       "outbox %s: %s: %s%s%s", file->path, what, text, number != 0 ? ": " : "",
                       number != 0 ? strerror(number) : "");
}

static int run(struct sip_outbox_file *file, const char *text, const char *what,
               struct sip_err *err)
{
  int rc = sqlite3_exec(file->db, text, NULL, NULL, NULL);

  return rc == SQLITE_OK ? 0 : failed(file, rc, what, err);
}

/* --- statements --- */

static int prepare(struct sip_outbox_file *file, enum statement which, sqlite3_stmt **out,
                   struct sip_err *err)
{
  int rc = SQLITE_OK;

  if (file->statements[which] == NULL) {
    rc = sqlite3_prepare_v3(file->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                            &file->statements[which], NULL);
  }
  *out = file->statements[which];
  return rc == SQLITE_OK ? 0 : failed(file, rc, "prepare", err);
}

static void reset(sqlite3_stmt *statement)
{
  (void)sqlite3_reset(statement);          /* repeats the error of the step, which was reported */
  (void)sqlite3_clear_bindings(statement); /* always SQLITE_OK */
}

/* Runs a statement that gives no rows, with up to two numbers. */
static int change(struct sip_outbox_file *file, enum statement which, const int64_t *numbers,
                  int count, const char *what, struct sip_err *err)
{
  sqlite3_stmt *statement;
  int rc = prepare(file, which, &statement, err), step;

  if (rc < 0) {
    return rc;
  }
  for (int i = 0; i < count; i++) {
    (void)sqlite3_bind_int64(statement, i + 1, numbers[i]); /* in range: SQLITE_OK */
  }
  step = sqlite3_step(statement);
  rc = step == SQLITE_DONE ? 0 : failed(file, step, what, err);
  reset(statement);
  return rc;
}

/* Runs a statement that gives at most one row of numbers: @return 1 when it did */
static int ask(struct sip_outbox_file *file, enum statement which, const int64_t in[2],
               int64_t out[2], struct sip_err *err)
{
  sqlite3_stmt *statement;
  int rc = prepare(file, which, &statement, err), step;

  if (rc < 0) {
    return rc;
  }
  for (int i = 0; in != NULL && i < 2; i++) {
    (void)sqlite3_bind_int64(statement, i + 1, in[i]); /* in range: SQLITE_OK */
  }
  step = sqlite3_step(statement);
  if (step == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
      out[i] = sqlite3_column_int64(statement, i);
    }
  }
  rc = step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : failed(file, step, "read", err);
  reset(statement);
  return rc;
}

/* One number of a pragma or of a SELECT that is asked rarely. */
static int ask_number(struct sip_outbox_file *file, const char *text, int64_t *out,
                      struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(file->db, text, -1, &statement, NULL);

  if (rc == SQLITE_OK) {
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
      *out = sqlite3_column_int64(statement, 0);
    }
  }
  rc = rc == SQLITE_ROW ? 0 : failed(file, rc, text, err);
  (void)sqlite3_finalize(statement); /* repeats the error of the step */
  return rc;
}

/* --- opening --- */

static int take_lock(struct sip_outbox_file *file, struct sip_err *err)
{
  char path[4096], owner[32] = "";
  ssize_t len;

  if (snprintf(path, sizeof path, "%s-lock", file->path) >= (int)sizeof path) {
    return sip_err_set(err, UV_ENAMETOOLONG, "outbox %s: the path is too long", file->path);
  }
  file->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file->lock < 0) {
    return sip_err_errno(err, errno, "outbox: open %s (may this user write to its directory?)",
                         path);
  }
  if (flock(file->lock, LOCK_EX | LOCK_NB) != 0) {
    int number = errno;

    len = pread(file->lock, owner, sizeof owner - 1, 0); /* only for the message */
    owner[len > 0 ? strcspn(owner, "\n") : 0] = '\0';
    if (number != EWOULDBLOCK) {
      return sip_err_errno(err, number, "outbox: lock %s", path);
    }
    return sip_err_named(err, SIP_EBUSY, "OUTBOX_LOCKED",
                         "outbox %s: process %s has it (give each process a file of its own with "
                         "--outbox or SIPEAT_OUTBOX)",
                         file->path, owner[0] != '\0' ? owner : "another one");
  }
  len = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
  if (ftruncate(file->lock, 0) != 0 || pwrite(file->lock, owner, (size_t)len, 0) != len) {
    return 0; /* a full disk: the lock holds all the same, only its owner has no name */
  }
  return 0;
}

static int check_pages(struct sip_outbox_file *file, struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(file->db, "PRAGMA quick_check(1)", -1, &statement, NULL);

  if (rc == SQLITE_OK) {
    rc = sqlite3_step(statement);
  }
  if (rc != SQLITE_ROW) {
    rc = failed(file, rc, "check", err);
  } else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0) {
    rc = sip_err_named(err, SIP_EDATA, "OUTBOX_CORRUPT",
                       "outbox %s: the file is damaged (%s): move it aside together with its -wal, "
                       "and see what \"sqlite3 FILE .recover\" finds in it",
                       file->path, (const char *)sqlite3_column_text(statement, 0));
  } else {
    rc = 0;
  }
  (void)sqlite3_finalize(statement); /* repeats the error of the step */
  return rc;
}

/* Whose file it is, and of which version; makes the tables in an empty one. */
static int check_schema(struct sip_outbox_file *file, struct sip_err *err)
{
  int64_t application = 0, version = 0, tables = 0;
  int rc = ask_number(file, "PRAGMA application_id", &application, err);

  if (rc == 0) {
    rc = ask_number(file, "PRAGMA user_version", &version, err);
  }
  if (rc == 0) {
    rc = ask_number(file, "SELECT count(*) FROM sqlite_schema", &tables, err);
  }
  if (rc < 0) {
    return rc;
  }
  if (tables == 0 && application == 0) {
    return run(file, schema, "make the tables", err);
  }
  if (application != SIP_OUTBOX_APPLICATION) {
    return sip_err_named(err, SIP_EDATA, "OUTBOX_FOREIGN",
                         "outbox %s: this is a database of another program", file->path);
  }
  if (version != SIP_OUTBOX_SCHEMA) {
    return sip_err_named(err, SIP_EDATA, "OUTBOX_VERSION",
                         "outbox %s: its schema is version %" PRId64 ", this program knows %d%s",
                         file->path, version, SIP_OUTBOX_SCHEMA,
                         version > SIP_OUTBOX_SCHEMA ? " (it was written by a newer one)" : "");
  }
  return check_pages(file, err);
}

static int read_id(struct sip_outbox_file *file, struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(file->db, "SELECT id FROM outbox", -1, &statement, NULL);

  if (rc == SQLITE_OK) {
    rc = sqlite3_step(statement);
  }
  if (rc == SQLITE_ROW && sqlite3_column_type(statement, 0) == SQLITE_TEXT) {
    (void)snprintf(file->id, sizeof file->id, "%s",
                   (const char *)sqlite3_column_text(statement, 0));
    rc = 0;
  } else {
    rc = failed(file, rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, "read", err);
  }
  (void)sqlite3_finalize(statement); /* repeats the error of the step */
  return rc;
}

static int read_oldest(struct sip_outbox_file *file, struct sip_err *err)
{
  int64_t at_ms[2] = { 0, 0 };
  int rc = ask(file, OLDEST, NULL, at_ms, err);

  if (rc >= 0) {
    file->totals.oldest_at_ms = rc > 0 ? at_ms[0] : 0;
  }
  return rc < 0 ? rc : 0;
}

static int read_refused(struct sip_outbox_file *file, struct sip_err *err)
{
  int64_t count = 0, bytes = 0;
  int rc = ask_number(file, "SELECT count(*) FROM refused", &count, err);

  if (rc == 0) {
    rc = ask_number(file, "SELECT ifnull(sum(bytes), 0) FROM refused", &bytes, err);
  }
  if (rc == 0) {
    file->totals.refused = (uint64_t)count;
    file->totals.refused_bytes = (uint64_t)bytes;
  }
  return rc;
}

/* Counts what was put in behind the last record that is known. */
static int read_newer(struct sip_outbox_file *file, struct sip_err *err)
{
  const int64_t range[2] = { file->totals.last_seq + 1, INT64_MAX };
  int64_t found[2] = { 0, 0 }, last = 0;
  int rc = ask(file, COUNT, range, found, err);

  if (rc >= 0) {
    rc = ask_number(file, "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'queue'",
                    &last, err);
  }
  if (rc == 0) {
    file->totals.queued += (uint64_t)found[0];
    file->totals.queued_bytes += (uint64_t)found[1];
    file->totals.last_seq = last;
  }
  return rc;
}

static int open_database(struct sip_outbox_file *file, struct sip_err *err)
{
  int rc = sqlite3_open_v2(
    file->path, &file->db,
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

  if (rc != SQLITE_OK) {
    return failed(file, rc, "open", err);
  }
  (void)sqlite3_busy_timeout(file->db, BUSY_MS); /* always SQLITE_OK */
  if (sqlite3_db_readonly(file->db, "main") == 1) {
    return failed(file, SQLITE_READONLY, "open", err);
  }
  file->durable = true;
  return run(file,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
             "PRAGMA journal_size_limit=16777216;",
             "open", err);
}

int sip_outbox_file_open(struct sip_outbox_file **out, const char *path, struct sip_err *err)
{
  struct sip_outbox_file *file = calloc(1, sizeof *file);
  int rc = UV_ENOMEM;

  if (file != NULL) {
    file->lock = -1;
    file->path = strdup(path);
  }
  if (file == NULL || file->path == NULL) {
    (void)sip_err_set(err, rc, "outbox %s: out of memory", path);
    goto cleanup;
  }
  if ((rc = take_lock(file, err)) < 0 || (rc = open_database(file, err)) < 0 ||
      (rc = check_schema(file, err)) < 0 || (rc = read_id(file, err)) < 0 ||
      (rc = read_newer(file, err)) < 0 || (rc = read_refused(file, err)) < 0 ||
      (rc = read_oldest(file, err)) < 0 ||
      (rc = ask_number(file, "PRAGMA data_version", &file->data_version, err)) < 0) {
    goto cleanup;
  }
  *out = file;
  file = NULL; /* handed over */
cleanup:
  sip_outbox_file_close(file);
  return rc;
}

void sip_outbox_file_close(struct sip_outbox_file *file)
{
  if (file == NULL) {
    return;
  }
  for (int i = 0; i < STATEMENTS; i++) {
    (void)sqlite3_finalize(file->statements[i]); /* repeats an error that was reported */
  }
  (void)sqlite3_close_v2(file->db); /* always SQLITE_OK; NULL is fine */
  if (file->lock >= 0) {
    (void)close(file->lock); /* gives the lock back, and cannot lose anything */
  }
  free(file->path);
  free(file);
}

const char *sip_outbox_file_id(const struct sip_outbox_file *file)
{
  return file->id;
}

const struct sip_outbox_totals *sip_outbox_file_totals(const struct sip_outbox_file *file)
{
  return &file->totals;
}

int sip_outbox_file_refresh(struct sip_outbox_file *file, struct sip_err *err)
{
  int64_t version[2] = { 0, 0 };
  int rc = ask(file, VERSION, NULL, version, err);

  if (rc < 0 || version[0] == file->data_version) {
    return rc < 0 ? rc : 0;
  }
  if ((rc = read_newer(file, err)) == 0 && (rc = read_refused(file, err)) == 0 &&
      (rc = read_oldest(file, err)) == 0) {
    file->data_version = version[0];
  }
  return rc;
}

/* --- transactions --- */

int sip_outbox_file_begin(struct sip_outbox_file *file, bool durable, struct sip_err *err)
{
  int rc = 0;

  if (durable != file->durable) {
    rc = run(file, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", "begin", err);
  }
  if (rc == 0) {
    file->durable = durable;
    rc = run(file, "BEGIN IMMEDIATE", "begin", err);
  }
  if (rc == 0) {
    rc = sip_outbox_file_refresh(file, err); /* now nobody else writes */
  }
  file->before = file->totals;
  return rc;
}

int sip_outbox_file_commit(struct sip_outbox_file *file, struct sip_err *err)
{
  int rc = read_oldest(file, err);

  return rc < 0 ? rc : run(file, "COMMIT", "write", err);
}

void sip_outbox_file_rollback(struct sip_outbox_file *file)
{
  if (!sqlite3_get_autocommit(file->db)) {
    (void)sqlite3_exec(file->db, "ROLLBACK", NULL, NULL,
                       NULL); /* the first error is the one to tell */
  }
  file->totals = file->before;
}

static int bind_slice(sqlite3_stmt *statement, int index, const struct sip_slice *slice)
{
  if (slice->data == NULL) {
    return sqlite3_bind_null(statement, index);
  }
  return sqlite3_bind_blob64(statement, index, slice->data, slice->len, SQLITE_STATIC);
}

int sip_outbox_file_append(struct sip_outbox_file *file, struct sip_outbox_record *record,
                           struct sip_err *err)
{
  sqlite3_stmt *s;
  int rc = prepare(file, APPEND, &s, err), step;

  if (rc < 0) {
    return rc;
  }
  if ((step = sqlite3_bind_int64(s, 1, (int64_t)record->bytes)) == SQLITE_OK &&
      (step = sqlite3_bind_int64(s, 2, record->at_ms)) == SQLITE_OK &&
      (step = sqlite3_bind_int64(s, 3, record->timestamp_ms)) == SQLITE_OK &&
      (step = sqlite3_bind_int64(s, 4, record->partition)) == SQLITE_OK &&
      (step = sqlite3_bind_text(s, 5, record->topic, -1, SQLITE_STATIC)) == SQLITE_OK &&
      (step = bind_slice(s, 6, &record->key)) == SQLITE_OK &&
      (step = bind_slice(s, 7, &record->headers)) == SQLITE_OK &&
      (step = bind_slice(s, 8, &record->value)) == SQLITE_OK) {
    step = sqlite3_step(s);
  }
  rc = step == SQLITE_DONE ? 0 : failed(file, step, "write", err);
  reset(s);
  if (rc == 0) {
    record->seq = sqlite3_last_insert_rowid(file->db);
    file->totals.last_seq = record->seq;
    file->totals.queued++;
    file->totals.queued_bytes += record->bytes;
  }
  return rc;
}

int sip_outbox_file_remove(struct sip_outbox_file *file, int64_t first, int64_t last,
                           struct sip_err *err)
{
  const int64_t range[2] = { first, last };
  int64_t found[2] = { 0, 0 };
  int rc = ask(file, COUNT, range, found, err);

  if (rc > 0 && found[0] > 0) {
    rc = change(file, REMOVE, range, 2, "write", err);
    file->totals.queued -= (uint64_t)found[0];
    file->totals.queued_bytes -= (uint64_t)found[1];
  }
  return rc < 0 ? rc : 0;
}

int sip_outbox_file_refuse(struct sip_outbox_file *file, const struct sip_outbox_record *record,
                           int64_t now_ms, struct sip_err *err)
{
  const struct sip_outbox_refusal *why = record->refusal;
  sqlite3_stmt *s;
  int rc = prepare(file, REFUSE, &s, err), step;

  if (rc < 0) {
    return rc;
  }
  if ((step = sqlite3_bind_int64(s, 1, record->seq)) == SQLITE_OK &&
      (step = sqlite3_bind_int64(s, 2, now_ms)) == SQLITE_OK &&
      (step = sqlite3_bind_text(s, 3, why->code, -1, SQLITE_STATIC)) == SQLITE_OK &&
      (step = sqlite3_bind_text(s, 4, why->message, -1, SQLITE_STATIC)) == SQLITE_OK) {
    step = sqlite3_step(s);
  }
  rc = step == SQLITE_DONE ? 0 : failed(file, step, "write", err);
  reset(s);
  if (rc == 0 && sqlite3_changes(file->db) > 0) {
    file->totals.refused++;
    file->totals.refused_bytes += record->bytes;
    rc = sip_outbox_file_remove(file, record->seq, record->seq, err);
  }
  return rc;
}

int64_t sip_outbox_file_drop(struct sip_outbox_file *file, uint64_t bytes, struct sip_err *err)
{
  sqlite3_stmt *s;
  uint64_t freed = 0;
  int64_t count = 0, last = 0;
  int rc = prepare(file, SIZES, &s, err), step = SQLITE_DONE;

  if (rc < 0) {
    return rc;
  }
  while (freed < bytes && (step = sqlite3_step(s)) == SQLITE_ROW) {
    last = sqlite3_column_int64(s, 0);
    freed += (uint64_t)sqlite3_column_int64(s, 1);
    count++;
  }
  rc = step == SQLITE_ROW || step == SQLITE_DONE ? 0 : failed(file, step, "read", err);
  reset(s);
  if (rc == 0 && count > 0) {
    rc = sip_outbox_file_remove(file, 0, last, err);
  }
  return rc < 0 ? rc : count;
}

int sip_outbox_file_probe(struct sip_outbox_file *file, struct sip_err *err)
{
  return change(file, PROBE, NULL, 0, "write", err);
}

/* --- reading --- */

static struct sip_slice column(sqlite3_stmt *s, int index)
{
  struct sip_slice slice = { NULL, 0 };

  if (sqlite3_column_type(s, index) != SQLITE_NULL) {
    slice.data = sqlite3_column_blob(s, index); /* before the length, as SQLite wants it */
    slice.len = (size_t)sqlite3_column_bytes(s, index);
    slice.data = slice.data == NULL ? "" : slice.data; /* empty is not null */
  }
  return slice;
}

static struct sip_outbox_record *row(sqlite3_stmt *s)
{
  const struct sip_slice topic = column(s, 4), key = column(s, 5), headers = column(s, 6),
                         value = column(s, 7);
  struct sip_outbox_record *record = sip_outbox_record_of(&topic, &key, &value, &headers);

  if (record != NULL) {
    record->seq = sqlite3_column_int64(s, 0);
    record->at_ms = sqlite3_column_int64(s, 1);
    record->timestamp_ms = sqlite3_column_int64(s, 2);
    record->partition = sqlite3_column_int(s, 3);
  }
  return record;
}

int sip_outbox_file_read(struct sip_outbox_file *file, const char *topic, int64_t after,
                         int64_t upto, int max_records, size_t max_bytes, struct sip_list *out,
                         struct sip_err *err)
{
  struct sip_list found;
  sqlite3_stmt *s;
  size_t bytes = 0;
  int count = 0, step = SQLITE_DONE, rc = prepare(file, topic == NULL ? READ : READ_TOPIC, &s, err);

  if (rc < 0) {
    return rc;
  }
  sip_list_init(&found);
  (void)sqlite3_bind_int64(s, 1, after); /* in range: SQLITE_OK, as the next two */
  (void)sqlite3_bind_int64(s, 2, upto);
  (void)sqlite3_bind_int(s, 3, max_records);
  if (topic != NULL) {
    step = sqlite3_bind_text(s, 4, topic, -1, SQLITE_STATIC);
    rc = step == SQLITE_OK ? 0 : failed(file, step, "read", err);
  }
  while (rc == 0 && bytes < max_bytes && (step = sqlite3_step(s)) == SQLITE_ROW) {
    struct sip_outbox_record *record = row(s);

    if (record == NULL) {
      rc = sip_err_set(err, UV_ENOMEM, "outbox %s: no memory to read a record", file->path);
      break;
    }
    bytes += record->bytes;
    count++;
    sip_list_push(&found, &record->link);
  }
  if (rc == 0 && step != SQLITE_ROW && step != SQLITE_DONE && step != SQLITE_OK) {
    rc = failed(file, step, "read", err);
  }
  reset(s);
  if (rc < 0) {
    sip_outbox_records_free(&found);
    return rc;
  }
  sip_list_move(out, &found);
  return count;
}
