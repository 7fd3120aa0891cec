/* store_group.c - statements of scripts in the journal's transaction. Writer thread.
 *
 * A group runs in a savepoint: when it fails, it is taken back, and what else is in the transaction
 * goes on. Scripts neither begin nor end transactions, and change no table of the journal's. */
#include "journal/user_sql.h"
#include "sqlite/file.h"
#include "sqlite/store_state.h"

#include <ctype.h>
#include <string.h>

enum {
  LIMIT_MS = 5000,            /* for one statement: all workers wait for it */
  STEPS_BETWEEN_CHECKS = 2000 /* of SQLite's virtual machine: some 0.1 ms */
};

static bool is_ours(const char *table)
{
  static const char *const tables[] = { "meta",   "host", "run",    "record",
                                        "script", "wait", "signal", "audit" };

  for (size_t i = 0; table != NULL && i < sizeof tables / sizeof *tables; i++) {
    if (sqlite3_stricmp(table, tables[i]) == 0) {
      return true;
    }
  }
  return false;
}

static int on_authorize(void *arg, int action, const char *first, const char *second,
                        const char *database, const char *trigger)
{
  (void)arg;
  (void)database;
  (void)trigger;
  switch (action) {
  case SQLITE_TRANSACTION:
  case SQLITE_SAVEPOINT:
  case SQLITE_ATTACH:
  case SQLITE_DETACH:
  case SQLITE_PRAGMA:
    return SQLITE_DENY;
  case SQLITE_INSERT:
  case SQLITE_UPDATE:
  case SQLITE_DELETE:
  case SQLITE_DROP_TABLE:
    return is_ours(first) ? SQLITE_DENY : SQLITE_OK;
  case SQLITE_CREATE_INDEX:
  case SQLITE_CREATE_TRIGGER:
  case SQLITE_DROP_INDEX:
  case SQLITE_ALTER_TABLE:
    return is_ours(second) ? SQLITE_DENY : SQLITE_OK;
  default:
    return SQLITE_OK;
  }
}

static int on_progress(void *arg)
{
  const struct sip_store *store = arg;

  return store->until_ms != 0 && uv_hrtime() / 1000000 > store->until_ms;
}

/* A failure of the statement, not of the file. */
static int script_refused(struct sip_store *store, struct sip_err *err, const char *sql)
{
  int rc = sqlite3_extended_errcode(store->db);

  switch (rc & 0xff) {
  case SQLITE_INTERRUPT:
    return sip_err_named(err, SIP_ESCRIPT, "SQL_TIMEOUT",
                         "journal: longer than %d s, while all wait for it: %.80s", LIMIT_MS / 1000,
                         sql);
  case SQLITE_AUTH:
    return sip_err_named(err, SIP_ESCRIPT, "SQL_REFUSED",
                         "journal: a statement that rides in the journal's transaction does not "
                         "touch the journal's own tables, transactions or settings: %.80s",
                         sql);
  default:
    return sip_err_named(err, SIP_ESCRIPT, sip_sqlite_code_name(rc), "journal: %s, in: %.80s",
                         sqlite3_errmsg(store->db), sql);
  }
}

/* What no other statement would survive either. */
static bool is_of_the_file(const struct sip_store *store)
{
  switch (sqlite3_errcode(store->db) & 0xff) {
  case SQLITE_NOMEM:
  case SQLITE_FULL:
  case SQLITE_IOERR:
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_READONLY:
  case SQLITE_CANTOPEN:
  case SQLITE_PERM:
  case SQLITE_BUSY:
    return true;
  default:
    return false;
  }
}

static int prepare_script(struct sip_store *store, const char *sql, size_t parameters,
                          sqlite3_stmt **out, struct sip_err *err)
{
  const char *tail = "";
  int rc;

  (void)sqlite3_set_authorizer(store->db, on_authorize, store); /* always SQLITE_OK */
  rc = sqlite3_prepare_v2(store->db, sql, -1, out, &tail);
  (void)sqlite3_set_authorizer(store->db, NULL, NULL);
  while (rc == SQLITE_OK && isspace((unsigned char)*tail)) {
    tail++;
  }
  if (rc != SQLITE_OK) {
    return script_refused(store, err, sql);
  } else if (*out == NULL || *tail != '\0') {
    return sip_err_named(err, SIP_ESCRIPT, "SQL_REFUSED", "journal: one statement, in: %.80s", sql);
  } else if ((size_t)sqlite3_bind_parameter_count(*out) != parameters) {
    return sip_err_named(err, SIP_ESCRIPT, "SQL_ERROR",
                         "journal: %d parameters, %zu given, in: %.80s",
                         sqlite3_bind_parameter_count(*out), parameters, sql);
  }
  return 0;
}

static int run_script(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                      struct sip_err *err)
{
  struct sip_slice sql = sip_batch_slice(batch, &batch->cells[op->first]);
  sqlite3_stmt *statement = NULL;
  int rc = sip_user_sql_check(sql, err);

  if (rc == 0) {
    rc = prepare_script(store, sql.data, op->count - 1, &statement, err);
  }
  if (rc == 0) {
    store->until_ms = uv_hrtime() / 1000000 + LIMIT_MS;
    rc = sip_store_step(store, statement, batch, op, err);
    store->until_ms = 0;
    if (rc == SIP_ESQL && !is_of_the_file(store)) {
      sql = sip_batch_slice(batch, &batch->cells[op->first]); /* rows have moved it */
      rc = script_refused(store, err, sql.data);
    }
  }
  (void)sqlite3_finalize(statement); /* repeats the error of the step, which was told */
  return rc;
}

static int run_one(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                   struct sip_err *err)
{
  sqlite3_stmt *statement = NULL;
  int rc;

  if (op->statement == SIP_BATCH_SQL) {
    rc = run_script(store, batch, op, err);
  } else {
    rc = sip_store_prepare(store, op->statement, &statement, err);
    rc = rc < 0 ? rc : sip_store_step(store, statement, batch, op, err);
  }
  return rc < 0 ? rc : sip_batch_check(batch, op, err);
}

/* Foreign keys that wait for a COMMIT must hold here: the COMMIT is everybody's. */
static int check_deferred(struct sip_store *store, struct sip_err *err)
{
  int open = 0, highest = 0;

  (void)sqlite3_db_status(store->db, SQLITE_DBSTATUS_DEFERRED_FKS, &open, &highest, 0);
  return open == 0 ? 0
                   : sip_err_named(err, SIP_ESCRIPT, "SQL_FOREIGN_KEY",
                                   "journal: a foreign key points nowhere at the end");
}

static int savepoint(struct sip_store *store, const char *text, struct sip_err *err)
{
  return sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK
           ? 0
           : sip_store_refused(store, err, text);
}

int sip_store_run_group(struct sip_store *store, struct sip_batch *batch, size_t first,
                        struct sip_err *err)
{
  size_t end = first + batch->ops[first].group, i = first;
  struct sip_err why = { 0 };
  int rc;

  if (sip_batch_failed(batch, first) != NULL) {
    return 0; /* the time before: it ended the transaction */
  }
  sqlite3_progress_handler(store->db, STEPS_BETWEEN_CHECKS, on_progress, store);
  rc = savepoint(store, "SAVEPOINT local", err);
  if (rc < 0) {
    return rc;
  }
  for (; rc == 0 && i < end; i++) {
    rc = run_one(store, batch, &batch->ops[i], &why);
  }
  rc = rc == 0 ? check_deferred(store, &why) : rc;
  if (rc == 0) {
    return savepoint(store, "RELEASE local", err);
  } else if (rc != SIP_ESCRIPT && rc != SIP_ETOOBIG) {
    *err = why;
    return rc;
  }
  rc = sip_batch_fail(batch, first, &batch->ops[i - 1], &why);
  if (rc < 0) {
    return sip_err_set(err, rc, "journal %s: not enough memory", store->place);
  }
  return sqlite3_get_autocommit(store->db)
           ? SIP_STORE_AGAIN
           : savepoint(store, "ROLLBACK TO local; RELEASE local", err);
}
