/* store_file.c - the file of the journal: its lock, its tables, its health. Runs before the writer
 * thread does.
 *
 * Tables are made and changed by a list of migrations; the file's user_version says how many of
 * them it has. A file that needs more than this program knows is refused, as is a damaged one. */
#include "sqlite/pages.h"
#include "sqlite/store_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  APPLICATION_ID = 0x53495045, /* "SIPE", in the file's header: SQLite's PRAGMA application_id */
  BUSY_MS = 5000,
  CACHE_KIB = 65536 /* pages of the tables that are kept in memory */
};

static const char MARK[] = "journal\n";

/* migrations[n] leads from version n to n + 1. */
static const char *const migrations[SIP_JOURNAL_SCHEMA] = {
  "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
  "CREATE TABLE host (epoch INTEGER PRIMARY KEY, name TEXT NOT NULL, until INTEGER NOT NULL);"
  "CREATE TABLE run (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, state INTEGER NOT NULL,"
  " due INTEGER NOT NULL, at INTEGER NOT NULL, flow TEXT NOT NULL, cluster TEXT NOT NULL,"
  " topic TEXT NOT NULL, part INTEGER NOT NULL, pos INTEGER NOT NULL, event_id TEXT NOT NULL,"
  " type TEXT NOT NULL, key BLOB, script BLOB NOT NULL, record BLOB NOT NULL,"
  " changed INTEGER NOT NULL, why TEXT);"
  "CREATE UNIQUE INDEX run_place ON run (flow, cluster, topic, part, pos);"
  "CREATE INDEX run_event ON run (flow, event_id);"
  "CREATE INDEX run_open ON run (id) WHERE state < 10;"
  "CREATE INDEX run_due ON run (due) WHERE state < 10 AND due > 0;"
  "CREATE TABLE record (run INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,"
  " phase INTEGER NOT NULL, scope TEXT NOT NULL, body TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID;"
  "CREATE TABLE script (hash BLOB PRIMARY KEY, at INTEGER NOT NULL, files BLOB NOT NULL);"
  "CREATE TABLE wait (name TEXT NOT NULL, key TEXT NOT NULL, run INTEGER NOT NULL,"
  " scope TEXT NOT NULL, PRIMARY KEY (name, key, run, scope)) WITHOUT ROWID;"
  "CREATE INDEX wait_run ON wait (run);"
  "CREATE TABLE signal (name TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL,"
  " at INTEGER NOT NULL, body TEXT, taken TEXT, PRIMARY KEY (name, key, id)) WITHOUT ROWID;"
  "CREATE TABLE audit (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, at INTEGER NOT NULL,"
  " who TEXT NOT NULL, verb TEXT NOT NULL, why TEXT);"
  "CREATE INDEX audit_run ON audit (run);",
};

static int damaged(struct sip_store *store, struct sip_err *err, const char *how)
{
  return sip_err_named(err, SIP_EDATA, "JOURNAL_DAMAGED",
                       "journal %s is damaged: %s; keep the file, restore a copy, or name another "
                       "one",
                       store->place, how);
}

int sip_store_refused(struct sip_store *store, struct sip_err *err, const char *what)
{
  int rc = sqlite3_extended_errcode(store->db);
  const char *hint = "";

  switch (rc & 0xff) {
  case SQLITE_NOMEM:
    return sip_err_set(err, UV_ENOMEM, "journal %s: not enough memory", store->place);
  case SQLITE_FULL:
    return sip_err_named(err, UV_ENOSPC, "JOURNAL_FULL",
                         "journal %s: the disk is full (%s); make room and start again",
                         store->place, what);
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return damaged(store, err, sqlite3_errmsg(store->db));
  case SQLITE_IOERR:
    if (rc == SQLITE_IOERR_DATA) {
      return damaged(store, err, "a page does not fit its checksum");
    }
    hint = "; is the disk well (dmesg)? What was acknowledged is kept: start again";
    break;
  case SQLITE_READONLY:
  case SQLITE_CANTOPEN:
  case SQLITE_PERM:
    hint = "; does the directory exist, and may this user write to it?";
    break;
  default:
    break;
  }
  return sip_err_named(err, SIP_ESQL, "JOURNAL_FAILED", "journal %s: %s: %s%s", store->place, what,
                       sqlite3_errmsg(store->db), hint);
}

static int file_exec(struct sip_store *store, const char *text, const char *what,
                     struct sip_err *err)
{
  return sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK
           ? 0
           : sip_store_refused(store, err, what);
}

/* The first value of a statement, as a number or as text. */
static int file_ask(struct sip_store *store, const char *text, int64_t *number, char *word,
                    size_t word_bytes, struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(store->db, text, -1, &statement, NULL);

  if (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
    const char *found = (const char *)sqlite3_column_text(statement, 0);

    *number = sqlite3_column_int64(statement, 0);
    (void)snprintf(word, word_bytes, "%s", found == NULL ? "" : found);
    (void)sqlite3_finalize(statement); /* it gave its row */
    return 0;
  }
  rc = sip_store_refused(store, err, text);
  (void)sqlite3_finalize(statement); /* as above: the error was told */
  return rc;
}

int sip_store_file_size(struct sip_store *store, int64_t *out, struct sip_err *err)
{
  char word[32];

  return file_ask(store, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
                  out, word, sizeof word, err);
}

/* The lock's file says whose it is and, once there is one, that a journal lies beside it. */
static int file_sign(struct sip_store *store, struct sip_err *err)
{
  char text[80];
  int len = snprintf(text, sizeof text, "%ld\n%s", (long)getpid(), store->was_journal ? MARK : "");

  if (ftruncate(store->lock_fd, 0) < 0 || pwrite(store->lock_fd, text, (size_t)len, 0) != len) {
    return sip_err_errno(err, errno, "journal: write %s.lock", store->place);
  }
  store->note_at = len;
  return 0;
}

static int file_in_use(struct sip_store *store, const char *holder, struct sip_err *err)
{
  long pid = strtol(holder, NULL, 10);
  char who[40] = "";

  if (pid > 0) {
    (void)snprintf(who, sizeof who, " (process %ld)", pid);
  }
  return sip_err_named(err, SIP_EBUSY, "JOURNAL_IN_USE",
                       "journal %s: another process works on it%s; end that one, or give this one "
                       "a journal of its own",
                       store->place, who);
}

static int file_lock(struct sip_store *store, struct sip_err *err)
{
  char path[4096], text[80] = "";

  if (snprintf(path, sizeof path, "%s.lock", store->place) >= (int)sizeof path) {
    return sip_err_set(err, UV_ENAMETOOLONG, "journal: a path of more than 4,000 bytes");
  }
  store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (store->lock_fd < 0) {
    return sip_err_errno(
      err, errno, "journal: open %s (does the directory exist, and may this user write?)", path);
  }
  if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) {
      return sip_err_errno(err, errno, "journal: lock %s", path);
    }
    (void)!pread(store->lock_fd, text, sizeof text - 1, 0); /* who has it is a comfort */
    return file_in_use(store, text, err);
  }
  if (pread(store->lock_fd, text, sizeof text - 1, 0) < 0) {
    return sip_err_errno(err, errno, "journal: read %s", path);
  }
  store->was_journal = strstr(text, MARK) != NULL;
  return file_sign(store, err);
}

/* Whether the file's header says that its pages have checksums; an empty file has nothing to check
 * yet. */
static bool file_has_checksums(const struct sip_store *store)
{
  unsigned char reserve = SIP_PAGES_RESERVE;
  int fd = open(store->place, O_RDONLY | O_CLOEXEC);
  ssize_t len = fd < 0 ? -1 : pread(fd, &reserve, 1, SIP_PAGES_RESERVE_AT);

  if (fd >= 0) {
    (void)close(fd); /* it was read only */
  }
  return len >= 0 && reserve == SIP_PAGES_RESERVE;
}

/* SQLite takes an empty file for a new one: what was known about events would be forgotten. */
static int file_look_at_size(struct sip_store *store, struct sip_err *err)
{
  struct stat about;

  if (store->was_journal && stat(store->place, &about) == 0 && about.st_size == 0) {
    return sip_err_named(err, SIP_EDATA, "JOURNAL_DAMAGED",
                         "journal %s is empty, and was a journal before; restore a copy, or remove "
                         "it and its .lock to begin a new one",
                         store->place);
  }
  return 0;
}

static int file_migrate(struct sip_store *store, int64_t have, struct sip_err *err)
{
  char text[64];
  int rc = file_exec(store, "BEGIN IMMEDIATE", "migrate", err);

  for (int64_t version = have; rc == 0 && version < SIP_JOURNAL_SCHEMA; version++) {
    rc = file_exec(store, migrations[version], "migrate", err);
  }
  (void)snprintf(text, sizeof text, "PRAGMA user_version = %d", SIP_JOURNAL_SCHEMA);
  if (rc == 0) {
    rc = file_exec(store, text, "migrate", err);
  }
  if (rc == 0) {
    rc = file_exec(store, "COMMIT", "migrate", err);
  }
  if (rc < 0) {
    (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL); /* the first fault is the one */
  }
  return rc;
}

static int file_check(struct sip_store *store, int64_t *version, struct sip_err *err)
{
  char word[200] = "";
  int64_t application = 0, number = 0;
  int rc = file_ask(store, "PRAGMA application_id", &application, word, sizeof word, err);

  if (rc == 0) {
    rc = file_ask(store, "PRAGMA user_version", version, word, sizeof word, err);
  }
  if (rc == 0 && application == APPLICATION_ID && !file_has_checksums(store)) {
    return damaged(store, err, "its header says that pages have no checksums");
  }
  if (rc == 0 && application != APPLICATION_ID &&
      (application != 0 || !file_has_checksums(store))) { /* 0: the start of a new one */
    return sip_err_named(err, SIP_EDATA, "JOURNAL_DAMAGED",
                         "journal %s: a database of another program", store->place);
  }
  if (rc == 0 && *version > SIP_JOURNAL_SCHEMA) {
    return sip_err_named(err, SIP_EDATA, "JOURNAL_NEWER",
                         "journal %s: its tables are of version %lld, this program knows %d; use a "
                         "newer sipeat",
                         store->place, (long long)*version, SIP_JOURNAL_SCHEMA);
  }
  if (rc == 0) {
    rc = file_ask(store, "PRAGMA quick_check(1)", &number, word, sizeof word, err);
  }
  if (rc == 0 && strcmp(word, "ok") != 0) {
    return damaged(store, err, word);
  }
  return rc;
}

static int file_on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
  struct sip_store *store = arg;

  (void)db;
  (void)name;
  store->wal_pages = pages;
  return SQLITE_OK;
}

static int file_set_up(struct sip_store *store, struct sip_err *err)
{
  char text[300];

  (void)snprintf(text, sizeof text,
                 "PRAGMA page_size = %d; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                 "PRAGMA application_id = %d; PRAGMA cache_size = -%d;"
                 "PRAGMA locking_mode = NORMAL; PRAGMA foreign_keys = ON",
                 SIP_PAGES_BYTES, APPLICATION_ID, CACHE_KIB);
  (void)sqlite3_wal_hook(store->db, file_on_commit,
                         store); /* in place of SQLite's own checkpoint */
  return file_exec(store, text, "open", err);
}

/* The lock says that nobody else has the file: whoever had it before owns nothing any more. */
static int file_take(struct sip_store *store, int64_t *epoch, struct sip_err *err)
{
  char text[200], word[32];
  int rc =
    file_ask(store, "SELECT coalesce(max(epoch), 0) + 1 FROM host", epoch, word, sizeof word, err);

  if (rc == 0) {
    (void)snprintf(text, sizeof text,
                   "BEGIN IMMEDIATE; DELETE FROM host; INSERT INTO host VALUES (%lld, 'this',"
                   " 9223372036854775807); COMMIT",
                   (long long)*epoch);
    rc = file_exec(store, text, "take it over", err);
  }
  return rc;
}

int sip_store_open_file(struct sip_store *store, struct sip_store_report *report,
                        struct sip_err *err)
{
  int flags =
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  int64_t version = 0;
  int reserve = SIP_PAGES_RESERVE;
  char wal[4096];
  int rc = file_lock(store, err);

  if (rc == 0) {
    rc = file_look_at_size(store, err);
  }
  if (rc < 0) {
    return rc;
  }
  (void)snprintf(wal, sizeof wal, "%s-wal", store->place); /* fits: the lock's name did */
  report->was_interrupted = access(wal, F_OK) == 0;        /* a clean close takes the log away */
  if (sqlite3_open_v2(store->place, &store->db, flags, sip_pages_vfs()) != SQLITE_OK) {
    return store->db == NULL ? sip_err_set(err, UV_ENOMEM, "journal: not enough memory")
                             : sip_store_refused(store, err, "open");
  }
  (void)sqlite3_busy_timeout(store->db, BUSY_MS); /* somebody looks at the file, or copies it */
  /* For a new file; another one has what it has. */
  (void)sqlite3_file_control(store->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
  rc = file_check(store, &version, err);
  if (rc == 0) {
    rc = file_set_up(store, err);
  }
  if (rc == 0 && version < SIP_JOURNAL_SCHEMA) {
    rc = file_migrate(store, version, err);
  }
  if (rc == 0) {
    rc = file_take(store, &report->epoch, err);
  }
  if (rc == 0 && !store->was_journal) {
    store->was_journal = true;
    rc = file_sign(store, err);
  }
  report->migrated = version;
  report->schema = SIP_JOURNAL_SCHEMA;
  return rc;
}
