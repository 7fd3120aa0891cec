/* job.c - memory of a job: its statement, its parameters and its rows. Any thread that owns the
 * job. */
#include "sqlite/sqlite.h"

#include "sqlite/file.h"

#include <stdlib.h>
#include <string.h>

struct sip_sqlite_job *sip_sqlite_job_new(enum sip_sqlite_kind kind)
{
  struct sip_sqlite_job *job = calloc(1, sizeof *job);

  if (job != NULL) {
    job->kind = kind;
    sip_list_init(&job->link);
    atomic_init(&job->stop, false);
  }
  return job;
}

/* A block of `size`-byte items that has room for `want` of them; NULL when memory is out. */
static void *grown(void *block, size_t *cap, size_t want, size_t size)
{
  size_t next = *cap < 8 ? 8 : *cap;
  void *bigger;

  while (next < want) {
    next *= 2;
  }
  if (next > SIZE_MAX / size) {
    return NULL;
  }
  bigger = realloc(block, next * size);
  if (bigger != NULL) {
    *cap = next;
  }
  return bigger;
}

int sip_sqlite_job_bind(struct sip_sqlite_job *job, const struct sip_sqlite_value *value)
{
  struct sip_sqlite_value *params;

  if (job->param_count - job->stepped == SIP_SQLITE_MAX_PARAMS) {
    return SIP_ETOOBIG;
  }
  if (job->param_count == job->param_cap) {
    params = grown(job->params, &job->param_cap, job->param_count + 1, sizeof *params);
    if (params == NULL) {
      return UV_ENOMEM;
    }
    job->params = params;
  }
  job->params[job->param_count++] = *value;
  return 0;
}

int sip_sqlite_job_bind_bytes(struct sip_sqlite_job *job, enum sip_sqlite_type type,
                              const char *data, size_t len)
{
  struct sip_sqlite_value value = { .type = type };

  value.as.text.at = job->bytes.len;
  value.as.text.len = len;
  if (sip_buf_add(&job->bytes, data, len) < 0) {
    return UV_ENOMEM;
  }
  return sip_sqlite_job_bind(job, &value);
}

/* The number of a text of the batch; added when it is new. */
static int batch_text(struct sip_sqlite_job *job, const char *sql, size_t len)
{
  for (size_t i = 0; i < job->text_count; i++) {
    const size_t at = job->texts[i];

    if (job->texts[i + 1] - at == len && memcmp(job->sql.data + at, sql, len) == 0) {
      return (int)i;
    }
  }
  if (job->text_count == SIP_SQLITE_MAX_TEXTS) {
    return SIP_ETOOBIG;
  }
  if (sip_buf_add(&job->sql, sql, len) < 0) {
    return UV_ENOMEM;
  }
  job->texts[++job->text_count] = job->sql.len;
  return (int)job->text_count - 1;
}

int sip_sqlite_job_step(struct sip_sqlite_job *job, const char *sql, size_t len)
{
  int text = batch_text(job, sql, len);
  struct sip_sqlite_step *steps;

  if (text < 0) {
    return text;
  }
  if (job->step_count == job->step_cap) {
    steps = grown(job->steps, &job->step_cap, job->step_count + 1, sizeof *steps);
    if (steps == NULL) {
      return UV_ENOMEM;
    }
    job->steps = steps;
  }
  job->steps[job->step_count++] =
    (struct sip_sqlite_step){ (uint32_t)text, (uint32_t)(job->param_count - job->stepped) };
  job->stepped = job->param_count;
  job->stepped_bytes = job->bytes.len;
  return 0;
}

void sip_sqlite_job_unbind(struct sip_sqlite_job *job)
{
  job->param_count = job->stepped;
  job->bytes.len = job->stepped_bytes;
}

size_t sip_sqlite_job_bytes(const struct sip_sqlite_job *job)
{
  return job->sql.len + job->bytes.len + job->step_count * sizeof *job->steps +
         job->param_count * sizeof *job->params;
}

int sip_sqlite_job_reserve_cells(struct sip_sqlite_job *job, size_t count)
{
  struct sip_sqlite_value *cells;

  if (job->cell_cap - job->cell_count >= count) {
    return 0;
  }
  cells = grown(job->cells, &job->cell_cap, job->cell_count + count, sizeof *cells);
  if (cells == NULL) {
    return UV_ENOMEM;
  }
  job->cells = cells;
  return 0;
}
