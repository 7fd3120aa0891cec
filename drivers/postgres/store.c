/* store.c - the journal's transactions on a PostgreSQL server.
 *
 * A transaction renews the lease first, which fails when the lease is over: another host may have
 * taken this one's work then. Next come the statements, in one round trip; then the commit. A
 * connection that breaks is made anew, and the transaction repeated unless its number says that it
 * was committed: the server may restart, or a standby take over, within the time of the lease. */
#include "postgres/store.h"

#include "postgres/store_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAUSE_MS = 200 };

/* --- the journal's own statements --- */

static void statement_name(char *out, size_t size, int number)
{
  (void)snprintf(out, size, "s%d", number);
}

bool sip_pg_send_op(struct sip_store *store, const struct sip_batch *batch, const struct sip_op *op)
{
  struct sip_pg_parameters parameters;
  char name[16];

  statement_name(name, sizeof name, op->statement);
  return sip_pg_fill(store, &parameters, batch, op) == 0 &&
         PQsendQueryPrepared(store->conn, name, (int)op->count, parameters.values,
                             parameters.lengths, parameters.binary, 1) == 1;
}

static int prepare_all(struct sip_store *store, const struct sip_list *batches, struct sip_err *err,
                       enum sip_pg_outcome *outcome)
{
  char name[16];

  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    for (size_t i = 0; i < batch->op_count; i++) {
      int number = batch->ops[i].statement;
      PGresult *result;

      if (number == SIP_BATCH_SQL || store->prepared[number]) {
        continue;
      }
      statement_name(name, sizeof name, number);
      result = PQsendPrepare(store->conn, name, sip_pg_statement(number), 0, NULL) == 1
                 ? sip_pg_last_result(store)
                 : NULL;
      if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        *outcome = sip_pg_may_repeat(store, result) ? SIP_PG_REPEAT : SIP_PG_FAILED;
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

/* The result of the next statement of the pipeline; the caller clears it. */
PGresult *sip_pg_next_result(struct sip_store *store)
{
  PGresult *result = sip_pg_result(store), *end;

  if (result != NULL && PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
    end = sip_pg_result(store); /* NULL, which ends a statement's results */
    PQclear(end);
  }
  return result;
}

static enum sip_pg_outcome receive_op(struct sip_store *store, struct sip_batch *batch,
                                      struct sip_op *op, struct sip_err *err)
{
  PGresult *result = sip_pg_next_result(store);
  ExecStatusType status = PQresultStatus(result);
  enum sip_pg_outcome outcome = SIP_PG_DONE;
  int rc;

  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    outcome = sip_pg_may_repeat(store, result) ? SIP_PG_REPEAT : SIP_PG_FAILED;
    (void)sip_pg_refused(store, result, err, "run a statement");
  } else if ((rc = sip_pg_take(store, batch, op, result)) < 0) {
    outcome = SIP_PG_FAILED;
    (void)sip_err_set(err, rc, "journal %s: an answer does not fit into memory", store->shown);
  }
  PQclear(result);
  return outcome;
}

/* --- a transaction --- */

/* Why the host's row did not take the transaction: it has it already, or the lease is over. */
static enum sip_pg_outcome not_begun(struct sip_store *store, struct sip_err *err)
{
  char text[100];
  int64_t sequence = -1;

  (void)snprintf(text, sizeof text, "ROLLBACK; SELECT batch FROM host WHERE epoch = %lld",
                 (long long)store->epoch);
  if (sip_pg_ask(store, text, &sequence, err) < 0) {
    return SIP_PG_REPEAT;
  } else if (sequence == store->sequence) {
    return SIP_PG_DONE_BEFORE;
  }
  (void)sip_err_named(err, SIP_EFENCED, "JOURNAL_FENCED",
                      "journal %s: this host did not answer for %d s and its work may have been "
                      "given to another one; start it again",
                      store->shown, SIP_LEASE_MS / 1000);
  return SIP_PG_FAILED;
}

/* BEGIN and the lease, by the server's clock. The host's row stays locked until the end: nobody
 * takes its runs meanwhile. */
static enum sip_pg_outcome begin(struct sip_store *store, struct sip_err *err)
{
  char text[300];
  PGresult *result;
  enum sip_pg_outcome outcome = SIP_PG_DONE;
  bool is_ours;

  (void)snprintf(text, sizeof text,
                 "BEGIN; UPDATE host SET batch = %lld, until = " SIP_PG_NOW
                 " + %d WHERE epoch = %lld AND until > " SIP_PG_NOW " AND batch < %lld",
                 (long long)store->sequence, SIP_LEASE_MS, (long long)store->epoch,
                 (long long)store->sequence);
  result = sip_pg_exec(store, text);
  is_ours = result != NULL && strcmp(PQcmdTuples(result), "1") == 0;
  if (PQresultStatus(result) != PGRES_COMMAND_OK) {
    outcome = sip_pg_may_repeat(store, result) ? SIP_PG_REPEAT : SIP_PG_FAILED;
    (void)sip_pg_refused(store, result, err, "begin");
  }
  PQclear(result);
  return outcome == SIP_PG_DONE && !is_ours ? not_begun(store, err) : outcome;
}

static bool has_group(const struct sip_batch *batch)
{
  for (size_t i = 0; i < batch->op_count; i++) {
    if (batch->ops[i].group > 0) {
      return true;
    }
  }
  return false;
}

/* Some statements of one batch, behind each other. */
struct span {
  struct sip_batch *batch;
  size_t first, count;
};

static bool send_span(struct sip_store *store, struct span span)
{
  bool sent = true;

  for (size_t i = span.first; sent && i < span.first + span.count; i++) {
    sent = sip_pg_send_op(store, span.batch, &span.batch->ops[i]);
  }
  return sent;
}

static enum sip_pg_outcome receive_span(struct sip_store *store, struct span span,
                                        struct sip_err *err)
{
  enum sip_pg_outcome outcome = SIP_PG_DONE;

  for (size_t i = span.first; i < span.first + span.count && outcome == SIP_PG_DONE; i++) {
    outcome = receive_op(store, span.batch, &span.batch->ops[i], err);
  }
  return outcome;
}

/* What is still on its way after a failure, up to the end of the pipeline. */
void sip_pg_leave_pipeline(struct sip_store *store)
{
  PGresult *result;
  bool ended = false;

  while (!ended && PQstatus(store->conn) == CONNECTION_OK) {
    result = sip_pg_next_result(store);
    ended = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
  }
  (void)PQexitPipelineMode(store->conn); /* fails only when the connection is broken */
}

static enum sip_pg_outcome commit(struct sip_store *store, struct sip_err *err)
{
  PGresult *result = sip_pg_exec(store, "COMMIT");
  enum sip_pg_outcome outcome = SIP_PG_DONE;

  if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdStatus(result), "COMMIT") != 0) {
    outcome = sip_pg_may_repeat(store, result) ? SIP_PG_REPEAT : SIP_PG_FAILED;
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

static enum sip_pg_outcome not_sent(struct sip_store *store, struct sip_err *err)
{
  (void)sip_pg_refused(store, NULL, err, "send statements");
  return SIP_PG_REPEAT;
}

/* All batches without groups, in one round trip. */
static enum sip_pg_outcome run_plain(struct sip_store *store, const struct sip_list *batches,
                                     struct sip_err *err)
{
  enum sip_pg_outcome outcome = SIP_PG_DONE;
  bool sent = PQenterPipelineMode(store->conn) == 1;

  for (struct sip_list *node = batches->next; sent && node != batches; node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    sent = has_group(batch) || send_span(store, (struct span){ batch, 0, batch->op_count });
  }
  if (!sent || PQpipelineSync(store->conn) != 1) {
    outcome = not_sent(store, err);
  }
  for (struct sip_list *node = batches->next; outcome == SIP_PG_DONE && node != batches;
       node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    if (!has_group(batch)) {
      outcome = receive_span(store, (struct span){ batch, 0, batch->op_count }, err);
    }
  }
  sip_pg_leave_pipeline(store);
  return outcome;
}

static enum sip_pg_outcome run_span(struct sip_store *store, struct span span, struct sip_err *err)
{
  enum sip_pg_outcome outcome;
  bool sent = PQenterPipelineMode(store->conn) == 1 && send_span(store, span) &&
              PQpipelineSync(store->conn) == 1;

  outcome = sent ? receive_span(store, span, err) : not_sent(store, err);
  sip_pg_leave_pipeline(store);
  return outcome;
}

/* A batch with groups: what follows a group is sent when the group is known to hold. */
static enum sip_pg_outcome run_grouped(struct sip_store *store, struct sip_batch *batch,
                                       struct sip_err *err)
{
  enum sip_pg_outcome outcome = SIP_PG_DONE;
  size_t i = 0, next;

  for (; outcome == SIP_PG_DONE && i < batch->op_count; i = next) {
    next = i + (batch->ops[i].group > 0 ? batch->ops[i].group : 1);
    if (batch->ops[i].group > 0) {
      outcome = sip_pg_run_group(store, batch, i, err);
      continue;
    }
    while (next < batch->op_count && batch->ops[next].group == 0) {
      next++;
    }
    outcome = run_span(store, (struct span){ batch, i, next - i }, err);
  }
  return outcome;
}

static enum sip_pg_outcome run_all(struct sip_store *store, const struct sip_list *batches,
                                   struct sip_err *err)
{
  enum sip_pg_outcome outcome;

  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    sip_batch_forget(SIP_CONTAINER(node, struct sip_batch, link), true); /* of an earlier try */
  }
  outcome = run_plain(store, batches, err);
  for (struct sip_list *node = batches->next; outcome == SIP_PG_DONE && node != batches;
       node = node->next) {
    struct sip_batch *batch = SIP_CONTAINER(node, struct sip_batch, link);

    if (has_group(batch)) {
      outcome = run_grouped(store, batch, err);
    }
  }
  return outcome;
}

static enum sip_pg_outcome transact(struct sip_store *store, const struct sip_list *batches,
                                    struct sip_err *err)
{
  enum sip_pg_outcome outcome = SIP_PG_DONE;

  if (prepare_all(store, batches, err, &outcome) < 0) {
    return outcome;
  }
  outcome = begin(store, err);
  if (outcome == SIP_PG_DONE && !sip_list_empty(batches)) {
    outcome = run_all(store, batches, err);
  }
  if (outcome == SIP_PG_DONE) {
    outcome = commit(store, err);
  }
  if (outcome != SIP_PG_DONE) {
    rollback(store);
  }
  return outcome;
}

static enum sip_pg_outcome try_once(struct sip_store *store, const struct sip_list *batches,
                                    struct sip_err *err)
{
  if ((store->conn == NULL || PQstatus(store->conn) != CONNECTION_OK) &&
      sip_pg_connect(store, err) < 0) {
    return SIP_PG_REPEAT;
  }
  return transact(store, batches, err);
}

/* The writer's: repeats until it is done, refused, or the lease has run out. */
static void store_run(struct sip_store *store, struct sip_list *batches)
{
  struct sip_err err = { 0 };
  enum sip_pg_outcome outcome;

  store->sequence++;
  while ((outcome = try_once(store, batches, &err)) == SIP_PG_REPEAT &&
         uv_hrtime() / 1000000 - store->renewed_at_ms < SIP_LEASE_MS) {
    uv_sleep(PAUSE_MS); /* a thread of its own may wait */
  }
  if (outcome == SIP_PG_DONE || outcome == SIP_PG_DONE_BEFORE) {
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
  sip_buf_deinit(&store->sql);
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
  report->is_shared = true;
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
