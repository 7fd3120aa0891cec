/* store.c - the journal's transactions on a PostgreSQL server.
 *
 * A transaction renews the lease first, which fails when the lease is over: another host may have
 * taken this one's work then. Next come the statements, in one round trip; then the commit. A
 * connection that breaks is made anew, and the transaction repeated unless its number says that it
 * was committed: the server may restart, or a standby take over, within the time of the lease. */
#include "postgres/store.h"

#include "postgres/store_state.h"
#include "postgres/store_text.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INT8_TYPE = 20, BYTEA_TYPE = 17, PAUSE_MS = 200 }; /* types: pg_type.dat of PostgreSQL */

enum outcome {
  OUTCOME_DONE,
  OUTCOME_DONE_BEFORE, /* by the try before, whose commit got no answer */
  OUTCOME_REPEAT,
  OUTCOME_FAILED
};

/* --- sending --- */

/* A statement's parameters in the form that libpq takes. */
struct parameters {
  const char *values[SIP_BATCH_MAX_CELLS];
  int lengths[SIP_BATCH_MAX_CELLS], binary[SIP_BATCH_MAX_CELLS];
  uint64_t integers[SIP_BATCH_MAX_CELLS]; /* in network order */
};

/* A text that the server would refuse, at its place in `scratch` for now: that may still move. */
static int keep_text(struct sip_buf *scratch, struct sip_slice text, size_t *at, int *len)
{
  int rc;

  *at = scratch->len;
  rc = sip_pg_text_keep(scratch, text);
  *len = (int)(scratch->len - *at);
  return rc;
}

static int fill_parameters(struct sip_store *store, struct parameters *to,
                           const struct sip_batch *batch, const struct sip_op *op)
{
  size_t kept[SIP_BATCH_MAX_CELLS];
  int rc = 0;

  sip_buf_clear(&store->scratch);
  for (size_t i = 0; rc == 0 && i < op->count; i++) {
    const struct sip_cell *cell = &batch->cells[op->first + i];
    struct sip_slice bytes = sip_batch_slice(batch, cell);

    to->binary[i] = 1;
    to->values[i] = bytes.data;
    to->lengths[i] = (int)bytes.len;
    kept[i] = SIZE_MAX;
    if (cell->type == SIP_CELL_INTEGER) {
      to->integers[i] = htobe64((uint64_t)cell->integer);
      to->values[i] = (const char *)&to->integers[i];
      to->lengths[i] = sizeof to->integers[i];
    } else if (cell->type == SIP_CELL_TEXT && !sip_pg_text_fits(bytes)) {
      rc = keep_text(&store->scratch, bytes, &kept[i], &to->lengths[i]);
    }
  }
  for (size_t i = 0; rc == 0 && i < op->count; i++) {
    to->values[i] = kept[i] == SIZE_MAX ? to->values[i] : store->scratch.data + kept[i];
  }
  return rc;
}

static void statement_name(char *out, size_t size, int number)
{
  (void)snprintf(out, size, "s%d", number);
}

static bool send_op(struct sip_store *store, const struct sip_batch *batch, const struct sip_op *op)
{
  struct parameters parameters;
  char name[16];

  statement_name(name, sizeof name, op->statement);
  return fill_parameters(store, &parameters, batch, op) == 0 &&
         PQsendQueryPrepared(store->conn, name, (int)op->count, parameters.values,
                             parameters.lengths, parameters.binary, 1) == 1;
}

static int prepare_all(struct sip_store *store, const struct sip_list *batches, struct sip_err *err,
                       enum outcome *outcome)
{
  char name[16];

  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    for (size_t i = 0; i < batch->op_count; i++) {
      int number = batch->ops[i].statement;
      PGresult *result;

      if (store->prepared[number]) {
        continue;
      }
      statement_name(name, sizeof name, number);
      result = PQsendPrepare(store->conn, name, sip_pg_statement(number), 0, NULL) == 1
                 ? sip_pg_last_result(store)
                 : NULL;
      if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        *outcome = sip_pg_may_repeat(store, result) ? OUTCOME_REPEAT : OUTCOME_FAILED;
        (void)sip_pg_refused(store, result, err, "prepare a statement");
        PQclear(result);
        return -1;
      }
      PQclear(result);
      store->prepared[number] = true;
    }
  }
  return 0;
}

/* --- receiving --- */

static int take_text(struct sip_store *store, struct sip_batch *batch, struct sip_slice bytes)
{
  int rc;

  if (!sip_pg_text_is_kept(bytes)) {
    return sip_batch_text(batch, bytes);
  }
  sip_buf_clear(&store->scratch);
  rc = sip_pg_text_restore(&store->scratch, bytes);
  return rc < 0
           ? rc
           : sip_batch_text(batch, (struct sip_slice){ store->scratch.data, store->scratch.len });
}

static int take_cell(struct sip_store *store, struct sip_batch *batch, const PGresult *result,
                     int row, int column)
{
  struct sip_slice bytes;
  uint64_t integer;

  if (PQgetisnull(result, row, column)) {
    return sip_batch_null(batch);
  }
  bytes.data = PQgetvalue(result, row, column);
  bytes.len = (size_t)PQgetlength(result, row, column);
  if (PQftype(result, column) == INT8_TYPE) {
    memcpy(&integer, bytes.data, sizeof integer);
    return sip_batch_integer(batch, (int64_t)be64toh(integer));
  }
  return PQftype(result, column) == BYTEA_TYPE ? sip_batch_blob(batch, bytes)
                                               : take_text(store, batch, bytes);
}

static int take_result(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                       PGresult *result)
{
  int rows = PQntuples(result), columns = PQnfields(result), rc = 0;

  op->row_count = 0; /* of an earlier try */
  op->changes = PQresultStatus(result) == PGRES_TUPLES_OK ? 0 : atoll(PQcmdTuples(result));
  for (int row = 0; rc == 0 && row < rows; row++) {
    rc = sip_batch_row(batch, op, (size_t)columns);
    for (int column = 0; rc == 0 && column < columns; column++) {
      rc = take_cell(store, batch, result, row, column);
    }
  }
  return rc;
}

/* The result of the next statement of the pipeline; the caller clears it. */
static PGresult *next_result(struct sip_store *store)
{
  PGresult *result = sip_pg_result(store), *end;

  if (result != NULL && PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
    end = sip_pg_result(store); /* NULL, which ends a statement's results */
    PQclear(end);
  }
  return result;
}

static enum outcome receive_op(struct sip_store *store, struct sip_batch *batch, struct sip_op *op,
                               struct sip_err *err)
{
  PGresult *result = next_result(store);
  ExecStatusType status = PQresultStatus(result);
  enum outcome outcome = OUTCOME_DONE;
  int rc;

  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    outcome = sip_pg_may_repeat(store, result) ? OUTCOME_REPEAT : OUTCOME_FAILED;
    (void)sip_pg_refused(store, result, err, "run a statement");
  } else if ((rc = take_result(store, batch, op, result)) < 0) {
    outcome = OUTCOME_FAILED;
    (void)sip_err_set(err, rc, "journal %s: an answer does not fit into memory", store->shown);
  }
  PQclear(result);
  return outcome;
}

/* --- a transaction --- */

/* Why the host's row did not take the transaction: it has it already, or the lease is over. */
static enum outcome not_begun(struct sip_store *store, struct sip_err *err)
{
  char text[100];
  int64_t sequence = -1;

  (void)snprintf(text, sizeof text, "ROLLBACK; SELECT batch FROM host WHERE epoch = %lld",
                 (long long)store->epoch);
  if (sip_pg_ask(store, text, &sequence, err) < 0) {
    return OUTCOME_REPEAT;
  } else if (sequence == store->sequence) {
    return OUTCOME_DONE_BEFORE;
  }
  (void)sip_err_named(err, SIP_EFENCED, "JOURNAL_FENCED",
                      "journal %s: this host did not answer for %d s and its work may have been "
                      "given to another one; start it again",
                      store->shown, SIP_LEASE_MS / 1000);
  return OUTCOME_FAILED;
}

/* BEGIN and the lease, by the server's clock. The host's row stays locked until the end: nobody
 * takes its runs meanwhile. */
static enum outcome begin(struct sip_store *store, struct sip_err *err)
{
  char text[300];
  PGresult *result;
  enum outcome outcome = OUTCOME_DONE;
  bool is_ours;

  (void)snprintf(text, sizeof text,
                 "BEGIN; UPDATE host SET batch = %lld, until = " SIP_PG_NOW
                 " + %d WHERE epoch = %lld AND until > " SIP_PG_NOW " AND batch < %lld",
                 (long long)store->sequence, SIP_LEASE_MS, (long long)store->epoch,
                 (long long)store->sequence);
  result = sip_pg_exec(store, text);
  is_ours = result != NULL && strcmp(PQcmdTuples(result), "1") == 0;
  if (PQresultStatus(result) != PGRES_COMMAND_OK) {
    outcome = sip_pg_may_repeat(store, result) ? OUTCOME_REPEAT : OUTCOME_FAILED;
    (void)sip_pg_refused(store, result, err, "begin");
  }
  PQclear(result);
  return outcome == OUTCOME_DONE && !is_ours ? not_begun(store, err) : outcome;
}

static bool send_all(struct sip_store *store, const struct sip_list *batches)
{
  bool sent = PQenterPipelineMode(store->conn) == 1;

  for (struct sip_list *node = batches->next; sent && node != batches; node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    for (size_t i = 0; sent && i < batch->op_count; i++) {
      sent = send_op(store, batch, &batch->ops[i]);
    }
  }
  return sent && PQpipelineSync(store->conn) == 1;
}

static enum outcome receive_all(struct sip_store *store, const struct sip_list *batches,
                                struct sip_err *err)
{
  enum outcome worst = OUTCOME_DONE;

  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    for (size_t i = 0; i < batch->op_count && worst == OUTCOME_DONE; i++) {
      worst = receive_op(store, batch, &batch->ops[i], err);
    }
  }
  return worst;
}

/* What is still on its way after a failure, up to the end of the pipeline. */
static void leave_pipeline(struct sip_store *store)
{
  PGresult *result;
  bool ended = false;

  while (!ended && PQstatus(store->conn) == CONNECTION_OK) {
    result = next_result(store);
    ended = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
  }
  (void)PQexitPipelineMode(store->conn); /* fails only when the connection is broken */
}

static enum outcome commit(struct sip_store *store, struct sip_err *err)
{
  PGresult *result = sip_pg_exec(store, "COMMIT");
  enum outcome outcome = OUTCOME_DONE;

  if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdStatus(result), "COMMIT") != 0) {
    outcome = sip_pg_may_repeat(store, result) ? OUTCOME_REPEAT : OUTCOME_FAILED;
    (void)sip_pg_refused(store, result, err, "commit");
  } else {
    store->renewed_at_ms = uv_hrtime() / 1000000;
  }
  PQclear(result);
  return outcome;
}

static void rollback(struct sip_store *store)
{
  if (store->conn != NULL && PQstatus(store->conn) == CONNECTION_OK &&
      PQtransactionStatus(store->conn) != PQTRANS_IDLE) {
    (void)sip_pg_ask(store, "ROLLBACK", NULL, NULL); /* the first fault is the one to tell */
  }
}

static void forget_results(const struct sip_list *batches)
{
  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    for (size_t i = 0; i < batch->op_count; i++) {
      batch->ops[i].row_count = 0;
      batch->ops[i].columns = 0;
    }
  }
}

static enum outcome transact(struct sip_store *store, const struct sip_list *batches,
                             struct sip_err *err)
{
  enum outcome outcome = OUTCOME_DONE;

  if (prepare_all(store, batches, err, &outcome) < 0) {
    return outcome;
  }
  outcome = begin(store, err);
  if (outcome == OUTCOME_DONE && !sip_list_empty(batches)) {
    forget_results(batches); /* of an earlier try */
    if (send_all(store, batches)) {
      outcome = receive_all(store, batches, err);
    } else {
      outcome = OUTCOME_REPEAT;
      (void)sip_pg_refused(store, NULL, err, "send statements");
    }
    leave_pipeline(store);
  }
  if (outcome == OUTCOME_DONE) {
    outcome = commit(store, err);
  }
  if (outcome != OUTCOME_DONE) {
    rollback(store);
  }
  return outcome;
}

static enum outcome try_once(struct sip_store *store, const struct sip_list *batches,
                             struct sip_err *err)
{
  if ((store->conn == NULL || PQstatus(store->conn) != CONNECTION_OK) &&
      sip_pg_connect(store, err) < 0) {
    return OUTCOME_REPEAT;
  }
  return transact(store, batches, err);
}

/* The writer's: repeats until it is done, refused, or the lease has run out. */
static void store_run(struct sip_store *store, struct sip_list *batches)
{
  struct sip_err err = { 0 };
  enum outcome outcome;

  store->sequence++;
  while ((outcome = try_once(store, batches, &err)) == OUTCOME_REPEAT &&
         uv_hrtime() / 1000000 - store->renewed_at_ms < SIP_LEASE_MS) {
    uv_sleep(PAUSE_MS); /* a thread of its own may wait */
  }
  if (outcome == OUTCOME_DONE || outcome == OUTCOME_DONE_BEFORE) {
    err.code = 0;
  }
  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    SIP_CONTAINER(node, struct sip_batch, link)->err = err;
  }
}

/* --- open and close --- */

static void store_submit(struct sip_store *store, struct sip_store_client *client,
                         struct sip_batch *batch)
{
  sip_writer_submit(store->writer, client, batch);
}

static struct sip_batch *store_collect(struct sip_store *store, struct sip_store_client *client)
{
  return sip_writer_collect(store->writer, client);
}

static void store_free(struct sip_store *store)
{
  sip_pg_disconnect(store);
  sip_buf_deinit(&store->scratch);
  free(store->place);
  free(store);
}

/* The place without what stands between the user's name and the host. */
static void show_place(struct sip_store *store)
{
  const char *host = strrchr(store->place, '@');

  (void)snprintf(store->shown, sizeof store->shown, "%s%s",
                 host != NULL ? "postgresql://…" : "in PostgreSQL", host != NULL ? host : "");
  store->shown[strcspn(store->shown, "?")] = '\0';
}

static int store_set_up(struct sip_store *store, struct sip_store_report *report,
                        struct sip_err *err)
{
  int rc = sip_pg_connect(store, err);

  if (rc == 0) {
    rc = sip_pg_migrate(store, &report->migrated, err);
  }
  if (rc == 0) {
    rc = sip_pg_register(store, err);
  }
  report->epoch = store->epoch;
  report->schema = SIP_JOURNAL_SCHEMA;
  report->was_interrupted = false; /* hosts that were are found by their leases */
  return rc < 0 ? rc : sip_writer_start(&store->writer, store, store_run, SIP_BEAT_MS, err);
}

static int store_open(struct sip_store **out, const char *place, struct sip_store_report *report,
                      struct sip_err *err)
{
  struct sip_store *store = calloc(1, sizeof *store);
  int rc;

  if (store == NULL || (store->place = strdup(place)) == NULL) {
    free(store);
    return sip_err_set(err, UV_ENOMEM, "journal: not enough memory");
  }
  show_place(store);
  rc = store_set_up(store, report, err);
  if (rc < 0) {
    store_free(store);
    return rc;
  }
  *out = store;
  return 0;
}

/* Gives the lease back, so that nobody waits for its end. */
static void store_close(struct sip_store *store)
{
  char text[100];

  sip_writer_stop(store->writer);
  if (store->conn != NULL) {
    (void)snprintf(text, sizeof text, "UPDATE host SET until = 0 WHERE epoch = %lld",
                   (long long)store->epoch);
    (void)sip_pg_ask(store, text, NULL, NULL); /* else the lease runs out by itself */
  }
  store_free(store);
}

const struct sip_store_ops *sip_postgres_store_operations(void)
{
  static const struct sip_store_ops operations = {
    .open = store_open,
    .submit = store_submit,
    .collect = store_collect,
    .close = store_close,
  };

  return &operations;
}
