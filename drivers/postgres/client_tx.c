/* client_tx.c - transactions, and the memory of jobs. Loop thread only. */
#include "postgres/client_state.h"

#include <stdlib.h>
#include <string.h>

/* --- jobs --- */

struct sip_pg_job *sip_pg_job_new(enum sip_pg_kind kind)
{
  struct sip_pg_job *job = calloc(1, sizeof *job);

  if (job != NULL) {
    job->kind = kind;
    sip_list_init(&job->node);
  }
  return job;
}

void sip_pg_job_forget_rows(struct sip_pg_job *job)
{
  free(job->cells);
  free(job->columns);
  job->cells = NULL;
  job->columns = NULL;
  sip_buf_clear(&job->names);
  job->row_count = job->column_count = job->cell_count = job->cell_cap = 0;
  job->changes = 0;
}

void sip_pg_job_free(struct sip_pg_job *job)
{
  if (job == NULL) {
    return;
  }
  if (job->started && job->sent) { /* its results come, and are thrown away */
    job->dropped = true;
    if (job->kind == SIP_PG_STATEMENT || job->kind == SIP_PG_SCRIPT) {
      sip_pg_link_cancel(job->link, job);
    }
    return;
  }
  if (job->started) {
    sip_list_remove(&job->node);
    if (job->link == NULL) {
      job->pool->queued--;
    }
  }
  sip_pg_job_forget_rows(job);
  sip_buf_deinit(&job->sql);
  sip_buf_deinit(&job->bytes);
  sip_buf_deinit(&job->names);
  free(job->params);
  free(job);
}

int sip_pg_job_bind(struct sip_pg_job *job, const char *data, size_t len, bool is_binary)
{
  struct sip_pg_cell *cell;

  if (job->param_count == SIP_PG_MAX_PARAMS) {
    return SIP_ETOOBIG;
  }
  if (job->param_count == job->param_cap) {
    size_t cap = job->param_cap == 0 ? 8 : job->param_cap * 2;
    struct sip_pg_cell *params = realloc(job->params, cap * sizeof *params);

    if (params == NULL) {
      return UV_ENOMEM;
    }
    job->params = params;
    job->param_cap = cap;
  }
  cell = &job->params[job->param_count];
  *cell = (struct sip_pg_cell){ job->bytes.len, len, data == NULL, is_binary };
  if (data != NULL && (sip_buf_add(&job->bytes, data, len) < 0 ||
                       sip_buf_add(&job->bytes, "", 1) < 0)) { /* libpq wants an end */
    job->bytes.len = cell->at;
    return UV_ENOMEM;
  }
  job->param_count++;
  return 0;
}

/* --- transactions --- */

struct sip_pg_tx *sip_pg_tx_new(struct sip_pg_pool *pool)
{
  struct sip_pg_tx *tx = calloc(1, sizeof *tx);

  if (tx == NULL) {
    return NULL;
  }
  tx->undo = sip_pg_job_new(SIP_PG_ROLLBACK);
  if (tx->undo == NULL) {
    free(tx);
    return NULL;
  }
  tx->undo->tx = tx;
  tx->pool = pool;
  pool->transactions++;
  pool->refs++;
  return tx;
}

static void tx_destroy(struct sip_pg_tx *tx)
{
  struct sip_pg_pool *pool = tx->pool;

  sip_pg_job_free(tx->undo);
  free(tx);
  pool->transactions--;
  sip_pg_pool_unref(pool);
}

static void undo_on_done(struct sip_pg_job *job, void *arg)
{
  (void)arg;
  job->tx->undo = job;
  tx_destroy(job->tx);
}

void sip_pg_tx_free(struct sip_pg_tx *tx)
{
  struct sip_pg_job *undo;

  if (tx == NULL) {
    return;
  }
  undo = tx->undo;
  if (tx->link == NULL) {
    tx_destroy(tx);
    return;
  }
  tx->undo = NULL;
  if (sip_pg_start(tx->pool, undo, undo_on_done, NULL, NULL) < 0) { /* else it may be gone */
    tx->undo = undo;
    tx_destroy(tx);
  }
}

bool sip_pg_tx_open(const struct sip_pg_tx *tx)
{
  return tx->link != NULL;
}
