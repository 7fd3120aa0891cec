/* store_server.c - the connection, the tables and the lease. */
#include "postgres/store_state.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
  MIGRATION_LOCK = 0x53495045, /* of advisory locks, so that one host migrates */
  ANSWER_MS = 12000            /* longer than the server's own limits, shorter than the lease */
};

/* migrations[n] leads from version n to n + 1; the same tables as in SQLite. */
static const char *const migrations[SIP_JOURNAL_SCHEMA] = {
  "CREATE SCHEMA sipeat; CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
  "CREATE SEQUENCE host_epoch;"
  "CREATE TABLE host (epoch BIGINT PRIMARY KEY, name TEXT NOT NULL, until BIGINT NOT NULL,"
  " batch BIGINT NOT NULL DEFAULT 0);"
  "CREATE TABLE run (id BIGINT PRIMARY KEY, epoch BIGINT NOT NULL, state BIGINT NOT NULL,"
  " due BIGINT NOT NULL, at BIGINT NOT NULL, flow TEXT NOT NULL, cluster TEXT NOT NULL,"
  " topic TEXT NOT NULL, part BIGINT NOT NULL, pos BIGINT NOT NULL, event_id TEXT NOT NULL,"
  " type TEXT NOT NULL, key BYTEA, script BYTEA NOT NULL, record BYTEA NOT NULL,"
  " changed BIGINT NOT NULL, why TEXT);"
  "CREATE UNIQUE INDEX run_place ON run (flow, cluster, topic, part, pos);"
  "CREATE INDEX run_event ON run (flow, event_id);"
  "CREATE INDEX run_open ON run (id) WHERE state < 10;"
  "CREATE INDEX run_due ON run (due) WHERE state < 10 AND due > 0;"
  "CREATE TABLE record (run BIGINT NOT NULL, seq BIGINT NOT NULL, at BIGINT NOT NULL,"
  " phase BIGINT NOT NULL, scope TEXT NOT NULL, body TEXT, PRIMARY KEY (run, seq));"
  "CREATE TABLE script (hash BYTEA PRIMARY KEY, at BIGINT NOT NULL, files BYTEA NOT NULL);"
  "CREATE TABLE wait (name TEXT NOT NULL, key TEXT NOT NULL, run BIGINT NOT NULL,"
  " scope TEXT NOT NULL, PRIMARY KEY (name, key, run, scope));"
  "CREATE INDEX wait_run ON wait (run);"
  "CREATE TABLE signal (name TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL,"
  " at BIGINT NOT NULL, body TEXT, taken TEXT, PRIMARY KEY (name, key, id));"
  "CREATE TABLE audit (id BIGSERIAL PRIMARY KEY, run BIGINT NOT NULL, at BIGINT NOT NULL,"
  " who TEXT NOT NULL, verb TEXT NOT NULL, why TEXT);"
  "CREATE INDEX audit_run ON audit (run);",
};

/* The product's tables may have the same names: ours lie in a schema of their own. */
static const char session[] =
  "SET search_path = sipeat; SET synchronous_commit = on; SET lock_timeout = '8s';"
  "SET default_transaction_isolation = 'read committed'; SET statement_timeout = '10s';"
  "SET idle_in_transaction_session_timeout = '5s'"; /* frozen: its locks are given back */

const char *sip_pg_statement(int number)
{
  switch (number) {
  case SIP_STATEMENT_RUN_TAKE: /* of nobody, or of a host that is gone; not if that just writes */
    return "WITH gone AS (UPDATE host SET until = 0 WHERE epoch IN (SELECT epoch FROM host"
           " WHERE epoch = $2 AND until <= " SIP_PG_NOW " FOR UPDATE SKIP LOCKED) RETURNING epoch)"
           " UPDATE run SET epoch = $3 WHERE id = $1 AND epoch = $2 AND (epoch IN"
           " (SELECT epoch FROM gone) OR NOT EXISTS (SELECT 1 FROM host WHERE epoch = $2))";
  case SIP_STATEMENT_RUNS_ORPHANED:
    return "SELECT id, epoch FROM run WHERE state < 10 AND id > $1 AND epoch NOT IN"
           " (SELECT epoch FROM host WHERE until > " SIP_PG_NOW
           " + CAST($2 AS BIGINT) * 0) ORDER BY id LIMIT $3";
  default:
    return sip_statements[number];
  }
}

/* The server's words end in a line break. */
static int trimmed(const char *text)
{
  size_t len = strlen(text);

  while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
    len--;
  }
  return (int)len;
}

int sip_pg_refused(struct sip_store *store, const PGresult *result, struct sip_err *err,
                   const char *what)
{
  const char *text = result != NULL && *PQresultErrorMessage(result) != '\0'
                       ? PQresultErrorMessage(result)
                     : store->conn != NULL ? PQerrorMessage(store->conn)
                                           : "no memory for a connection";

  (void)sip_err_named(err, SIP_ESQL, "JOURNAL_FAILED", "journal %s: %s: %.*s", store->shown, what,
                      trimmed(text), text);
  for (char *at = err == NULL ? NULL : err->message; at != NULL && (at = strchr(at, '\n'));) {
    *at = ' ';
  }
  return SIP_ESQL;
}

bool sip_pg_may_repeat(const struct sip_store *store, const PGresult *result)
{
  const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);

  if (store->conn == NULL || PQstatus(store->conn) != CONNECTION_OK) {
    return true;
  }
  return state != NULL &&
         (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 ||     /* conflict, deadlock */
          strncmp(state, "57P", 3) == 0 || strncmp(state, "080", 3) == 0 || /* it goes down */
          strcmp(state, "25006") == 0 || strcmp(state, "25P03") == 0 || /* a standby; was idle */
          strcmp(state, "55P03") == 0 || strncmp(state, "53", 2) == 0); /* a lock; too busy */
}

PGresult *sip_pg_result(struct sip_store *store)
{
  struct pollfd socket = { .fd = PQsocket(store->conn), .events = POLLIN };
  uint64_t until = uv_hrtime() / 1000000 + ANSWER_MS, now;

  while (PQisBusy(store->conn) && (now = uv_hrtime() / 1000000) < until) {
    int ready = poll(&socket, 1, (int)(until - now));

    if ((ready < 0 && errno != EINTR) || (ready > 0 && PQconsumeInput(store->conn) == 0)) {
      break;
    }
  }
  if (PQisBusy(store->conn)) {
    (void)shutdown(socket.fd, SHUT_RDWR); /* PQgetResult gives the error of a broken connection */
  }
  return PQgetResult(store->conn);
}

PGresult *sip_pg_last_result(struct sip_store *store)
{
  PGresult *last = NULL, *next;

  while ((next = sip_pg_result(store)) != NULL) {
    if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
      PQclear(next);
    } else {
      PQclear(last);
      last = next;
    }
  }
  return last;
}

PGresult *sip_pg_exec(struct sip_store *store, const char *text)
{
  return PQsendQuery(store->conn, text) == 1 ? sip_pg_last_result(store) : NULL;
}

int sip_pg_ask(struct sip_store *store, const char *text, int64_t *out, struct sip_err *err)
{
  PGresult *result = sip_pg_exec(store, text);
  ExecStatusType status = PQresultStatus(result);
  int rc = 0;

  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    rc = sip_pg_refused(store, result, err, text);
  } else if (out != NULL && PQntuples(result) > 0) {
    *out = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  }
  PQclear(result);
  return rc;
}

void sip_pg_disconnect(struct sip_store *store)
{
  PQfinish(store->conn); /* NULL is fine */
  store->conn = NULL;
  memset(store->prepared, 0, sizeof store->prepared);
}

static void forget_notice(void *arg, const PGresult *result)
{
  (void)arg; /* "relation exists already" and its like */
  (void)result;
}

int sip_pg_connect(struct sip_store *store, struct sip_err *err)
{
  /* What the place says comes later in the list, and wins. */
  const char *names[] = { "connect_timeout", "application_name", "tcp_user_timeout", "dbname",
                          NULL };
  const char *values[] = { "5", "sipeat", "10000", store->place, NULL };
  int rc;

  sip_pg_disconnect(store);
  store->conn = PQconnectdbParams(names, values, 1);
  if (store->conn == NULL || PQstatus(store->conn) != CONNECTION_OK) {
    rc = sip_pg_refused(store, NULL, err, "connect");
    sip_pg_disconnect(store);
    return rc;
  }
  (void)PQsetNoticeReceiver(store->conn, forget_notice, NULL); /* gives the one before */
  rc = sip_pg_ask(store, session, NULL, err);
  if (rc < 0) {
    sip_pg_disconnect(store);
  }
  return rc;
}

static int migrate_locked(struct sip_store *store, int64_t *before, struct sip_err *err)
{
  char text[160];
  int rc = sip_pg_ask(
    store, "SELECT CASE WHEN to_regclass('sipeat.meta') IS NULL THEN 0 ELSE 1 END", before, err);

  if (rc == 0 && *before > 0) {
    rc = sip_pg_ask(store, "SELECT value FROM meta WHERE key = 'schema'", before, err);
  }
  if (rc == 0 && *before > SIP_JOURNAL_SCHEMA) {
    return sip_err_named(err, SIP_EDATA, "JOURNAL_NEWER",
                         "journal %s: its tables are of version %lld, this program knows %d; use a "
                         "newer sipeat",
                         store->shown, (long long)*before, SIP_JOURNAL_SCHEMA);
  }
  for (int64_t version = *before; rc == 0 && version < SIP_JOURNAL_SCHEMA; version++) {
    rc = sip_pg_ask(store, migrations[version], NULL, err);
  }
  (void)snprintf(text, sizeof text,
                 "INSERT INTO meta VALUES ('schema', '%d') ON CONFLICT (key) DO UPDATE SET "
                 "value = excluded.value",
                 SIP_JOURNAL_SCHEMA);
  return rc < 0 ? rc : sip_pg_ask(store, text, NULL, err);
}

int sip_pg_migrate(struct sip_store *store, int64_t *before, struct sip_err *err)
{
  char text[80];
  int rc;

  (void)snprintf(text, sizeof text, "BEGIN; SELECT pg_advisory_xact_lock(%d)", MIGRATION_LOCK);
  rc = sip_pg_ask(store, text, NULL, err);
  if (rc == 0) {
    rc = migrate_locked(store, before, err);
  }
  if (rc == 0) {
    return sip_pg_ask(store, "COMMIT", NULL, err);
  }
  (void)sip_pg_ask(store, "ROLLBACK", NULL, NULL); /* the first fault is the one to tell */
  return rc;
}

int sip_pg_register(struct sip_store *store, struct sip_err *err)
{
  char name[80] = "host", text[300];
  size_t len = sizeof name;
  int rc;

  (void)uv_os_gethostname(name, &len); /* a name is a comfort */
  for (char *at = name; *at != '\0'; at++) {
    if (*at == '\'' || *at == '\\') {
      *at = '-';
    }
  }
  (void)snprintf(text, sizeof text,
                 "INSERT INTO host (epoch, name, until) VALUES (nextval('host_epoch'), '%s/%ld',"
                 " " SIP_PG_NOW " + %d) RETURNING epoch",
                 name, (long)getpid(), SIP_LEASE_MS);
  rc = sip_pg_ask(store, text, &store->epoch, err);
  store->renewed_at_ms = uv_hrtime() / 1000000;
  return rc;
}
