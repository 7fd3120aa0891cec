/* store_group.c - statements of scripts in the journal's transaction. Writer thread.
 *
 * A group goes in one round trip, in a savepoint that is taken back when it fails. A script's
 * statements see the product's tables, not the journal's, which lie in a schema of their own. */
#include "journal/user_sql.h"
#include "postgres/store_state.h"

#include <stdlib.h>
#include <string.h>

/* Constraints that would wait for the COMMIT are checked at once: the COMMIT is everybody's. */
static const char *const prologue[] = { "SAVEPOINT local", "SET CONSTRAINTS ALL IMMEDIATE" };
static const char THEIRS[] = "SET LOCAL search_path TO DEFAULT";
static const char OURS[] = "SET LOCAL search_path = sipeat";

static bool send_text(struct sip_store *store, const char *text)
{
  return PQsendQueryParams(store->conn, text, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

/* @return 0, or a negative code: SIP_ECLOSED for a connection that takes nothing */
static int send_script(struct sip_store *store, const struct sip_batch *batch,
                       const struct sip_op *op, struct sip_err *err)
{
  struct sip_slice sql = sip_batch_slice(batch, &batch->cells[op->first]);
  struct sip_pg_parameters parameters;
  int rc;

  sip_buf_clear(&store->scratch);
  rc = sip_pg_fill_script(store, &parameters, batch, op);
  if (rc == 0) {
    sip_buf_clear(&store->sql);
    rc = sip_user_sql_number(&store->sql, sql);
  }
  if (rc == SIP_EDATA) {
    return sip_err_named(err, SIP_ESCRIPT, "SQL_ERROR",
                         "journal: a text with a zero byte, for: %.80s", sql.data);
  } else if (rc < 0) {
    return sip_err_set(err, rc, "journal %s: not enough memory", store->shown);
  }
  return PQsendQueryParams(store->conn, store->sql.data, (int)op->count - 1, NULL,
                           parameters.values, parameters.lengths, parameters.binary, 0) == 1
           ? 0
           : SIP_ECLOSED;
}

/* Everything of the group, each statement behind one that says whose tables it means. */
static int send_group(struct sip_store *store, const struct sip_batch *batch, size_t first,
                      size_t *last, struct sip_err *err)
{
  bool sent = PQenterPipelineMode(store->conn) == 1 && send_text(store, prologue[0]) &&
              send_text(store, prologue[1]);
  int rc = sent ? 0 : SIP_ECLOSED;

  for (size_t i = first; rc == 0 && i < first + batch->ops[first].group; i++) {
    const struct sip_op *op = &batch->ops[i];

    *last = i;
    if (!send_text(store, op->statement == SIP_BATCH_SQL ? THEIRS : OURS)) {
      rc = SIP_ECLOSED;
    } else if (op->statement == SIP_BATCH_SQL) {
      rc = send_script(store, batch, op, err);
    } else {
      rc = sip_pg_send_op(store, batch, op) ? 0 : SIP_ECLOSED;
    }
  }
  if (rc == 0 && !send_text(store, OURS)) {
    rc = SIP_ECLOSED;
  }
  return PQpipelineSync(store->conn) == 1 ? rc : SIP_ECLOSED;
}

static const char *code_of(const char *state)
{
  static const char *const codes[][2] = {
    { "23505", "SQL_UNIQUE" },      { "23514", "SQL_CHECK" },   { "23502", "SQL_NOT_NULL" },
    { "23503", "SQL_FOREIGN_KEY" }, { "57014", "SQL_TIMEOUT" }, { "42501", "SQL_REFUSED" },
  };

  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    if (strcmp(codes[i][0], state) == 0) {
      return codes[i][1];
    }
  }
  return strncmp(state, "23", 2) == 0 ? "SQL_CONSTRAINT" : "SQL_ERROR";
}

/* What an error means: the group's own, the connection's, or the server's. */
static enum sip_pg_outcome refused(struct sip_store *store, const PGresult *result,
                                   struct sip_err *why)
{
  const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char *words = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

  if (sip_pg_may_repeat(store, result)) {
    (void)sip_pg_refused(store, result, why, "run a statement");
    return SIP_PG_REPEAT;
  } else if (state == NULL || strncmp(state, "XX", 2) == 0 || strncmp(state, "58", 2) == 0) {
    (void)sip_pg_refused(store, result, why, "run a statement");
    return SIP_PG_FAILED;
  }
  (void)sip_err_named(why, SIP_ESCRIPT, code_of(state), "journal: %s", words == NULL ? "" : words);
  return SIP_PG_DONE;
}

/* A result that must be that of a command; `why` is filled in otherwise. */
static enum sip_pg_outcome receive_word(struct sip_store *store, struct sip_err *why)
{
  PGresult *result = sip_pg_next_result(store);
  enum sip_pg_outcome outcome =
    PQresultStatus(result) == PGRES_COMMAND_OK ? SIP_PG_DONE : refused(store, result, why);

  PQclear(result);
  return outcome;
}

static enum sip_pg_outcome receive_one(struct sip_store *store, struct sip_batch *batch,
                                       struct sip_op *op, struct sip_err *why)
{
  enum sip_pg_outcome outcome = receive_word(store, why);
  PGresult *result;
  int rc;

  if (outcome != SIP_PG_DONE || why->code != 0) {
    return outcome;
  }
  result = sip_pg_next_result(store);
  if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
    outcome = refused(store, result, why);
  } else if ((rc = sip_pg_take(store, batch, op, result)) < 0) {
    (void)sip_err_set(why, rc, "journal: an answer does not fit into memory");
    outcome = rc == SIP_ETOOBIG ? SIP_PG_DONE : SIP_PG_FAILED;
  } else {
    (void)sip_batch_check(batch, op, why);
  }
  PQclear(result);
  return outcome;
}

static enum sip_pg_outcome receive_group(struct sip_store *store, struct sip_batch *batch,
                                         size_t first, size_t *last, struct sip_err *why)
{
  enum sip_pg_outcome outcome = receive_word(store, why);

  *last = first;
  if (outcome == SIP_PG_DONE && why->code == 0) {
    outcome = receive_word(store, why);
  }
  for (size_t i = first;
       outcome == SIP_PG_DONE && why->code == 0 && i < first + batch->ops[first].group; i++) {
    *last = i;
    outcome = receive_one(store, batch, &batch->ops[i], why);
  }
  return outcome;
}

/* Which statement may not be sent at all. */
static int check_group(const struct sip_batch *batch, size_t first, size_t *last,
                       struct sip_err *why)
{
  for (*last = first; *last < first + batch->ops[first].group; (*last)++) {
    const struct sip_op *op = &batch->ops[*last];

    if (op->statement == SIP_BATCH_SQL &&
        sip_user_sql_check(sip_batch_slice(batch, &batch->cells[op->first]), why) < 0) {
      return why->code;
    }
  }
  return 0;
}

static enum sip_pg_outcome fail_group(struct sip_store *store, struct sip_batch *batch,
                                      size_t first, size_t last, const struct sip_err *why,
                                      struct sip_err *err)
{
  if (sip_batch_fail(batch, first, &batch->ops[last], why) < 0) {
    (void)sip_err_set(err, UV_ENOMEM, "journal %s: not enough memory", store->shown);
    return SIP_PG_FAILED;
  }
  return SIP_PG_DONE;
}

enum sip_pg_outcome sip_pg_run_group(struct sip_store *store, struct sip_batch *batch, size_t first,
                                     struct sip_err *err)
{
  struct sip_err why = { 0 };
  enum sip_pg_outcome outcome;
  size_t last = first;
  int rc = check_group(batch, first, &last, &why);

  if (rc < 0) {
    return fail_group(store, batch, first, last, &why, err);
  }
  rc = send_group(store, batch, first, &last, &why);
  outcome = rc == 0             ? receive_group(store, batch, first, &last, &why)
            : rc == SIP_ECLOSED ? SIP_PG_REPEAT
            : rc == SIP_ESCRIPT ? SIP_PG_DONE
                                : SIP_PG_FAILED;
  sip_pg_leave_pipeline(store);
  if (rc == SIP_ECLOSED) {
    (void)sip_pg_refused(store, NULL, err, "send statements");
  } else if (outcome != SIP_PG_DONE) {
    *err = why;
  }
  if (outcome != SIP_PG_DONE) {
    return outcome;
  }
  rc = sip_pg_ask(store,
                  why.code == 0 ? "RELEASE SAVEPOINT local"
                                : "ROLLBACK TO SAVEPOINT local; RELEASE SAVEPOINT local",
                  NULL, err);
  if (rc < 0) {
    return SIP_PG_REPEAT;
  }
  return why.code == 0 ? SIP_PG_DONE : fail_group(store, batch, first, last, &why, err);
}
