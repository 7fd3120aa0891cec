/* job.c - jobs of the work pool, awaited by tasks. */
#include "vm/job.h"

#include "core/base.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char JOB[] = "sipeat.job";

/* The block is freed by whoever comes last: the box's __gc, or the end of the work. */
static int job_gc(lua_State *L)
{
  struct sip_job **box = luaL_checkudata(L, 1, JOB);
  struct sip_job *job = *box;

  *box = NULL;
  if (job != NULL && job->running) {
    job->collected = true;
    sip_work_cancel(&job->work);
  } else if (job != NULL) {
    job->kind->free(job);
  }
  return 0;
}

void *sip_job_new(lua_State *L, const struct sip_job_kind *kind)
{
  struct sip_job **box = sip_box_new(L, JOB, job_gc);
  struct sip_job *job = calloc(1, kind->size);

  if (job == NULL) {
    luaL_error(L, "%s: out of memory", kind->what);
    return NULL; /* not reached */
  }
  job->kind = kind;
  *box = job;
  return job;
}

/* Pool thread. */
static void job_run(struct sip_work *work)
{
  struct sip_job *job = SIP_CONTAINER(work, struct sip_job, work);

  job->kind->run(job);
}

static void job_done(struct sip_work *work, int status)
{
  struct sip_job *job = SIP_CONTAINER(work, struct sip_job, work);

  job->running = false;
  if (job->collected) {
    job->kind->free(job);
  } else {
    sip_wake(&job->wait, status);
  }
}

static int job_finish(lua_State *L, struct sip_wait *wait)
{
  struct sip_job *job = SIP_CONTAINER(wait, struct sip_job, wait);

  return wait->status < 0 ? sip_push_error(L, wait->status, job->kind->what)
                          : job->kind->finish(L, job);
}

int sip_job_await(lua_State *L, struct sip_job *job)
{
  int rc;

  sip_wait_init(&job->wait, NULL, job_finish);
  rc = sip_work_start(sip_vm_loop(L), &job->work, job_run, job_done);
  if (rc < 0) {
    return sip_push_error(L, rc, job->kind->what);
  }
  job->running = true;
  return sip_await(L, &job->wait, SIP_FOREVER);
}
