/* client_error.c - what the server says of a failure, in the words that scripts know: SQLSTATE to
 * the codes of sipeat.sql, and what to do about it. Any thread. */
#include "postgres/client_state.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_SQL = 80 };

/* The first whose `state` begins the SQLSTATE wins (PostgreSQL manual, appendix A). */
static const struct meaning {
  const char *state, *name, *hint;
} meanings[] = {
  { "23505", "SQL_UNIQUE", NULL },
  { "23514", "SQL_CHECK", NULL },
  { "23502", "SQL_NOT_NULL", NULL },
  { "23503", "SQL_FOREIGN_KEY", NULL },
  { "23", "SQL_CONSTRAINT", NULL },
  { "44", "SQL_CONSTRAINT", NULL },
  { "40001", "SQL_CONFLICT", "run the transaction again: db:transaction(f, { retries = 5 })" },
  { "40P01", "SQL_CONFLICT", "run the transaction again: db:transaction(f, { retries = 5 })" },
  { "40", "SQL_ROLLED_BACK", NULL },
  { "25P02", "SQL_ROLLED_BACK", "an earlier statement of this transaction failed" },
  { "25P03", "SQL_LOST", "nothing was done in the transaction for too long" },
  { "25006", "SQL_READ_ONLY", "is this a standby, or the transaction read_only?" },
  { "57014", "SQL_CANCELED", NULL },
  { "55P03", "SQL_BUSY", "another transaction has the lock" },
  { "57P", "SQL_LOST", "the server ended the connection" },
  { "08", "SQL_LOST", NULL },
  { "53100", "SQL_FULL", "the server's disk is full" },
  { "53", "SQL_BUSY", "the server is out of connections or memory" },
  { "28", "SQL_AUTH", "are user and password in the URL right, and does pg_hba.conf let them in?" },
  { "3D000", "SQL_CANNOT_OPEN", "is the database's name in the URL right?" },
  { "42501", "SQL_AUTH", "this user may not: see GRANT" },
  { "58", "SQL_IO", NULL },
  { "XX001", "SQL_CORRUPT", NULL },
  { "XX002", "SQL_CORRUPT", NULL },
  { "0A000", "SQL_STALE_PLAN", NULL },
  { "26000", "SQL_STALE_PLAN", "behind a pooler of transactions: statements = 0" },
  { "22P02", "SQL_ERROR", "a value does not fit its type" },
};

static const struct meaning *meaning_of(const char *state)
{
  for (size_t i = 0; state != NULL && i < sizeof meanings / sizeof meanings[0]; i++) {
    if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0) {
      return &meanings[i];
    }
  }
  return NULL;
}

/* One line, without the line break at its end. */
static void tidy(char *text)
{
  size_t len = strlen(text);

  while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
    text[--len] = '\0';
  }
  for (; *text != '\0'; text++) {
    if (*text == '\n' || *text == '\t') {
      *text = ' ';
    }
  }
}

void sip_pg_error_of(struct sip_err *err, struct sip_pg_job *job, const PGresult *result)
{
  const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char *theirs = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
  const struct meaning *meaning = meaning_of(state);
  const char *name = meaning == NULL ? "SQL_ERROR" : meaning->name;
  const char *hint = theirs != NULL ? theirs : meaning != NULL ? meaning->hint : NULL;
  char shown[SHOWN_SQL + 1] = "";

  if (text == NULL) { /* libpq's own */
    text = PQresultErrorMessage(result);
  }
  if (strcmp(name, "SQL_CANCELED") == 0 && strstr(text, "statement timeout") != NULL) {
    name = "SQL_TIMEOUT";
    hint = "statement_timeout of sql.open, or a query that needs an index";
  } else if (strcmp(name, "SQL_STALE_PLAN") == 0 && strncmp(state, "0A", 2) == 0 &&
             strstr(text, "cached plan") == NULL) {
    name = "SQL_ERROR"; /* a feature that there is not */
  }
  job->unparsed = job->leading > 0 || (state != NULL && strcmp(state, "26000") == 0);
  if (job->sql.data != NULL) {
    (void)snprintf(shown, sizeof shown, "%s", job->sql.data);
  }
  (void)sip_err_named(err, SIP_ESQL, name, "sql: %s: %s%s%s%s (SQLSTATE %s)", shown, text,
                      hint == NULL ? "" : " [", hint == NULL ? "" : hint, hint == NULL ? "" : "]",
                      state == NULL ? "none" : state);
  tidy(err->message);
}

void sip_pg_error_lost(struct sip_err *err, const struct sip_pg_pool *pool, PGconn *conn,
                       const char *what)
{
  const char *text = PQerrorMessage(conn);
  int len = (int)strcspn(text, "\n"); /* its first line says it */

  (void)sip_err_named(err, SIP_ESQL, "SQL_LOST",
                      "sql: %s: the connection was lost while %s: %.*s; it is not known what "
                      "became of a statement that was under way",
                      pool->shown, what, len == 0 ? 20 : len,
                      len == 0 ? "the server closed it" : text);
}

void sip_pg_error_connect(struct sip_err *err, const struct sip_pg_pool *pool, const char *text)
{
  static const struct {
    const char *part, *name, *hint;
  } causes[] = {
    { "password authentication failed", "SQL_AUTH", "is the password in the URL right?" },
    { "no password supplied", "SQL_AUTH", "the URL has no password, and the server wants one" },
    { "authentication failed", "SQL_AUTH", "is the user in the URL right?" },
    { "no pg_hba.conf entry", "SQL_AUTH", "the server lets nobody in from here like this" },
    { "does not support SSL", "SQL_TLS", "sslmode=prefer connects without TLS" },
    { "certificate", "SQL_TLS", "sslrootcert names the authority, sslmode what is checked" },
    { "SSL", "SQL_TLS", "see sslmode and sslrootcert of the URL" },
    { "does not exist", "SQL_CANNOT_OPEN", "are user and database in the URL right?" },
    { "too many", "SQL_CANNOT_OPEN", "max_connections is the sum over all programs" },
    { "", "SQL_CANNOT_OPEN", "is the server running, and the host in the URL right?" },
  };
  size_t i = 0;

  while (strstr(text, causes[i].part) == NULL) {
    i++; /* the last one is in every text */
  }
  (void)sip_err_named(err, SIP_ESQL, causes[i].name, "sql: connecting to %s: %s [%s]", pool->shown,
                      text, causes[i].hint);
  tidy(err->message);
}

bool sip_pg_error_is_final(const struct sip_err *err)
{
  return err->code != 0 &&
         (strcmp(err->name, "SQL_AUTH") == 0 || strcmp(err->name, "SQL_TLS") == 0 ||
          err->code == SIP_ECONFIG || strstr(err->message, "\" does not exist") != NULL);
}
