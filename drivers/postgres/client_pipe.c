/* client_pipe.c - jobs down a connection's pipeline, and their results back.
 *
 * Each job is [DEALLOCATE] [Parse] Bind+Execute Sync: its own transaction, unless it is between
 * BEGIN and COMMIT. What comes back is, for each of these commands, its results and a NULL, or
 * PIPELINE_ABORTED after an error, and PIPELINE_SYNC at the end. A script is no part of a pipeline:
 * the connection leaves it for as long as one runs. Nothing here blocks: PQgetResult is only called
 * when PQisBusy says that it has something. */
#include "postgres/client_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- prepared statements --- */

static void plan_free(struct sip_pg_link *link, struct sip_pg_plan *plan)
{
  sip_list_remove(&plan->node);
  link->plan_count--;
  free(plan->sql);
  free(plan);
}

void sip_pg_pipe_forget(struct sip_pg_link *link)
{
  while (!sip_list_empty(&link->plans)) {
    plan_free(link, SIP_CONTAINER(link->plans.next, struct sip_pg_plan, node));
  }
}

static struct sip_pg_plan *plan_find(struct sip_pg_link *link, const char *sql)
{
  for (struct sip_list *at = link->plans.prev; at != &link->plans; at = at->prev) {
    struct sip_pg_plan *plan = SIP_CONTAINER(at, struct sip_pg_plan, node);

    if (!plan->is_stale && strcmp(plan->sql, sql) == 0) {
      sip_list_remove(at);
      sip_list_push(&link->plans, at);
      return plan;
    }
  }
  return NULL;
}

static struct sip_pg_plan *plan_new(struct sip_pg_link *link, const char *sql)
{
  struct sip_pg_plan *plan = calloc(1, sizeof *plan);

  if (plan == NULL) {
    return NULL;
  }
  plan->sql = strdup(sql);
  if (plan->sql == NULL) {
    free(plan);
    return NULL;
  }
  (void)snprintf(plan->name, sizeof plan->name, "sipeat_%u", ++link->plan_number);
  sip_list_push(&link->plans, &plan->node);
  link->plan_count++;
  return plan;
}

/* Gives up the one that nobody has used for longest, so that there is room for one more. */
static int plan_evict(struct sip_pg_link *link, struct sip_pg_job *job)
{
  char text[64];

  for (struct sip_list *at = link->plans.next; at != &link->plans; at = at->next) {
    struct sip_pg_plan *plan = SIP_CONTAINER(at, struct sip_pg_plan, node);

    if (plan->users == 0) {
      (void)snprintf(text, sizeof text, "DEALLOCATE %s", plan->name);
      plan_free(link, plan);
      job->leading++;
      return PQsendQueryParams(link->conn, text, 0, NULL, NULL, NULL, NULL, 0);
    }
  }
  return 1;
}

/* --- sending --- */

struct parameters {
  const char *values[SIP_PG_MAX_PARAMS];
  int lengths[SIP_PG_MAX_PARAMS], formats[SIP_PG_MAX_PARAMS];
};

static void fill(struct parameters *to, const struct sip_pg_job *job)
{
  for (size_t i = 0; i < job->param_count; i++) {
    const struct sip_pg_cell *cell = &job->params[i];

    to->values[i] = cell->is_null ? NULL : job->bytes.data + cell->at;
    to->lengths[i] = (int)cell->len;
    to->formats[i] = cell->is_binary;
  }
}

/* libpq gives 1 for good. */
static int send_statement(struct sip_pg_link *link, struct sip_pg_job *job)
{
  static const char *const words[] = { "", "", "", "", "COMMIT", "ROLLBACK" };
  struct sip_pg_pool *pool = link->pool;
  const char *sql = job->sql.data == NULL ? words[job->kind] : job->sql.data;
  int count = (int)job->param_count, ok = 1;
  struct parameters p;

  fill(&p, job);
  if (job->kind != SIP_PG_STATEMENT || pool->options.statements == 0) {
    return PQsendQueryParams(link->conn, sql, count, NULL, p.values, p.lengths, p.formats, 0);
  }
  pool->counts.statements++;
  job->plan = plan_find(link, sql);
  if (job->plan == NULL) {
    if (link->plan_count >= pool->options.statements) {
      ok = plan_evict(link, job);
    }
    job->plan = ok == 1 ? plan_new(link, sql) : NULL;
    if (job->plan == NULL) {
      return 0;
    }
    job->leading++;
    pool->counts.prepared++;
    ok = PQsendPrepare(link->conn, job->plan->name, sql, 0, NULL);
  }
  job->plan->users++;
  return ok == 1 ? PQsendQueryPrepared(link->conn, job->plan->name, count, p.values, p.lengths,
                                       p.formats, 0)
                 : 0;
}

/* @return 1, or 0: libpq says why */
static int send_job(struct sip_pg_link *link, struct sip_pg_job *job)
{
  job->leading = 0;
  job->param_bytes = job->bytes.len;
  if (job->kind == SIP_PG_SCRIPT) {
    link->in_script = true;
    if (PQpipelineStatus(link->conn) != PQ_PIPELINE_OFF && PQexitPipelineMode(link->conn) != 1) {
      return 0;
    }
    return PQsendQuery(link->conn, job->sql.data);
  }
  if (PQpipelineStatus(link->conn) == PQ_PIPELINE_OFF && PQenterPipelineMode(link->conn) != 1) {
    return 0;
  }
  if (job->kind != SIP_PG_PING && send_statement(link, job) != 1) {
    return 0;
  }
  return PQpipelineSync(link->conn);
}

static int lost(struct sip_pg_link *link, struct sip_err *err, const char *what)
{
  sip_pg_error_lost(err, link->pool, link->conn, what);
  return err->code;
}

int sip_pg_pipe_send(struct sip_pg_link *link, struct sip_err *err)
{
  int left;

  while (!sip_list_empty(&link->waiting) && !link->in_script) {
    struct sip_pg_job *job = SIP_CONTAINER(link->waiting.next, struct sip_pg_job, node);

    if (link->sent_count >= link->pool->options.pipeline ||
        (job->kind == SIP_PG_SCRIPT && link->sent_count > 0)) {
      break;
    }
    if (link->sent_count == 0) {
      link->heard_ms = uv_now(link->pool->loop); /* from now on an answer is due */
    }
    sip_list_remove(&job->node);
    sip_list_push(&link->sent, &job->node);
    link->sent_count++;
    job->sent = true;
    if (send_job(link, job) != 1) {
      return lost(link, err, "sending a statement");
    }
  }
  left = PQflush(link->conn);
  if (left < 0) {
    return lost(link, err, "sending a statement");
  }
  if (sip_pg_link_watch(link, UV_READABLE | (left > 0 ? UV_WRITABLE : 0)) < 0) {
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for a connection");
  }
  return 0;
}

/* --- results --- */

static void refuse(struct sip_pg_job *job, int rc, const struct sip_pg_pool *pool)
{
  if (rc == SIP_ETOOBIG) {
    (void)sip_err_set(&job->err, rc,
                      "sql: the rows take more than %zu bytes (max_result; add a LIMIT)",
                      pool->options.max_result_bytes);
  } else if (rc == UV_ENOMEM) {
    (void)sip_err_set(&job->err, rc, "sql: no memory for the rows");
  } else {
    (void)sip_err_set(&job->err, rc, "sql: the server sent a value that does not parse");
  }
}

/* One result of the job's own command, or of one before it. */
static void take_result(struct sip_pg_link *link, struct sip_pg_job *job, const PGresult *result)
{
  const char *tag;
  int rc = 0;

  switch (PQresultStatus(result)) {
  case PGRES_SINGLE_TUPLE:
  case PGRES_TUPLES_OK:
    if (job->leading == 0 && job->err.code == 0 && !job->dropped && job->kind != SIP_PG_SCRIPT) {
      rc = sip_pg_rows_take(job, result, link->pool->options.max_result_bytes);
    }
    break;
  case PGRES_COMMAND_OK:
    break;
  case PGRES_PIPELINE_ABORTED: /* the error came before */
    return;
  case PGRES_COPY_IN:
  case PGRES_COPY_OUT:
  case PGRES_COPY_BOTH:
    (void)sip_err_named(&job->err, SIP_ESQL, "SQL_ERROR", "sql: COPY is not supported");
    return; /* the caller ends the connection */
  default:
    if (job->err.code == 0) {
      sip_pg_error_of(&job->err, job, result);
    }
    return;
  }
  if (rc < 0) {
    refuse(job, rc, link->pool);
    sip_pg_job_forget_rows(job);
    sip_pg_link_cancel(link, job);
  }
  tag = PQcmdStatus((PGresult *)result); /* it only reads */
  if (job->kind == SIP_PG_COMMIT && strcmp(tag, "ROLLBACK") == 0) {
    (void)sip_err_named(&job->err, SIP_ESQL, "SQL_ROLLED_BACK",
                        "sql: an earlier error had already ended the transaction");
  }
  if (job->leading == 0 && strncmp(tag, "SELECT", 6) != 0 && job->kind == SIP_PG_STATEMENT) {
    job->changes = strtoll(PQcmdTuples((PGresult *)result), NULL, 10);
  }
}

/* A statement that a request to cancel another one has hit, or whose plan is of no use any more,
 * has had no effect and may go once more. */
static bool may_repeat(const struct sip_pg_link *link, struct sip_pg_job *job)
{
  bool hit = strcmp(job->err.name, "SQL_CANCELED") == 0 && link->was_canceled && !job->canceled;
  bool stale = job->plan != NULL && strcmp(job->err.name, "SQL_STALE_PLAN") == 0;

  if (stale) {
    job->plan->is_stale = true;
    (void)snprintf(job->err.name, sizeof job->err.name, "SQL_ERROR");
  }
  return (hit || stale) && job->tx == NULL && !job->repeated && !job->dropped;
}

/* A job is through: its connection may be somebody else's now. */
static void job_through(struct sip_pg_link *link, struct sip_pg_job *job)
{
  struct sip_pg_pool *pool = link->pool;
  bool ends = job->kind == SIP_PG_COMMIT || job->kind == SIP_PG_ROLLBACK ||
              (job->kind == SIP_PG_BEGIN && job->err.code != 0);
  bool repeat = may_repeat(link, job);

  sip_list_remove(&job->node);
  link->sent_count--;
  link->used_ms = uv_now(pool->loop);
  if (link->sent_count == 0 && link->canceller == NULL) {
    link->was_canceled = false;
  }
  if (job->plan != NULL) {
    job->plan->users--;
    job->plan->is_stale = job->plan->is_stale || job->unparsed;
    if (job->unparsed && job->plan->users == 0) { /* other stale ones are evicted in time */
      plan_free(link, job->plan);
    }
    job->plan = NULL;
  }
  if (ends && link->tx != NULL) {
    link->tx->link = NULL;
    link->tx = NULL;
  }
  if (repeat) {
    memset(&job->err, 0, sizeof job->err);
    sip_pg_job_forget_rows(job);
    job->bytes.len = job->param_bytes;
    job->unparsed = false;
    job->repeated = true;
    job->sent = false;
    sip_list_push(&link->waiting, &job->node);
    link->again = true;
    return;
  }
  sip_pg_job_end(job);
}

/* After a script: is a transaction open that it began itself, or gone that it was in? */
static bool script_left_it(struct sip_pg_link *link, struct sip_pg_job *job)
{
  PGTransactionStatusType now = PQtransactionStatus(link->conn);
  bool inside = now == PQTRANS_INTRANS || now == PQTRANS_INERROR;

  if (inside == (link->tx != NULL)) {
    return true;
  }
  if (job->err.code == 0) {
    (void)sip_err_named(&job->err, SIP_ESQL, "SQL_ERROR",
                        "sql: a script that begins a transaction ends it, and no other");
  }
  return false;
}

/* The end of a command's results. */
static int command_end(struct sip_pg_link *link, struct sip_pg_job *job, struct sip_err *err)
{
  bool good;

  link->row_mode = false;
  if (job->kind != SIP_PG_SCRIPT) {
    job->leading -= job->leading > 0;
    return 0;
  }
  good = script_left_it(link, job);
  link->in_script = false;
  if (!good) {
    *err = job->err;
  }
  job_through(link, job);
  return good ? 0 : SIP_ESQL;
}

static int take_next(struct sip_pg_link *link, struct sip_pg_job *job, PGresult *result,
                     struct sip_err *err)
{
  ExecStatusType status = PQresultStatus(result);

  link->heard_ms = uv_now(link->pool->loop);
  if (result == NULL) {
    return command_end(link, job, err);
  }
  if (status == PGRES_PIPELINE_SYNC) {
    PQclear(result);
    link->row_mode = false;
    job_through(link, job);
    return 0;
  }
  take_result(link, job, result);
  PQclear(result);
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
    *err = job->err;
    return err->code;
  }
  return 0;
}

int sip_pg_pipe_read(struct sip_pg_link *link, struct sip_err *err)
{
  PGnotify *notice;
  int rc = 0;

  if (PQconsumeInput(link->conn) != 1 && PQisBusy(link->conn)) {
    return lost(link, err, "reading an answer");
  }
  while (rc == 0 && link->state != SIP_PG_GONE && link->sent_count > 0) {
    struct sip_pg_job *job = SIP_CONTAINER(link->sent.next, struct sip_pg_job, node);

    if (job->canceled && !link->was_canceled) {
      sip_pg_link_cancel(link, job); /* now it is its turn */
    }
    if (!link->row_mode) {
      link->row_mode = PQsetSingleRowMode(link->conn) == 1;
    }
    if (PQisBusy(link->conn)) {
      break;
    }
    rc = take_next(link, job, PQgetResult(link->conn), err);
    if (rc == 0 && PQstatus(link->conn) != CONNECTION_OK) {
      rc = lost(link, err, "reading an answer");
    }
  }
  while (rc == 0 && link->state != SIP_PG_GONE && (notice = PQnotifies(link->conn)) != NULL) {
    PQfreemem(notice); /* nobody listens on these connections */
  }
  if (rc == 0 && link->state != SIP_PG_GONE && PQstatus(link->conn) != CONNECTION_OK) {
    rc = lost(link, err, "waiting");
  }
  return rc;
}
