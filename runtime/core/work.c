/* work.c - one blocking call on libuv's pool. */
#include "core/work.h"

#include "core/base.h"

static void work_on_run(uv_work_t *req)
{
  struct sip_work *work = SIP_CONTAINER(req, struct sip_work, req);

  work->run(work);
}

static void work_on_done(uv_work_t *req, int status)
{
  struct sip_work *work = SIP_CONTAINER(req, struct sip_work, req);

  work->done(work, status);
}

int sip_work_start(uv_loop_t *loop, struct sip_work *work, sip_work_run_fn run,
                   sip_work_done_fn done)
{
  work->run = run;
  work->done = done;
  return uv_queue_work(loop, &work->req, work_on_run, work_on_done);
}

void sip_work_cancel(struct sip_work *work)
{
  (void)uv_cancel(
    (uv_req_t *)&work->req); /* UV_EBUSY: it runs already, and its result is ignored by the owner */
}
