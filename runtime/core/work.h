#ifndef SIP_CORE_WORK_H
#define SIP_CORE_WORK_H
/* work.h - one blocking call on libuv's pool.
 *
 * A job is embedded in its owner's heap block. `run` is on a pool thread and touches only the job's
 * own fields; `done` is on the loop thread, always called exactly once (status UV_ECANCELED when it
 * never ran), and may free the block. */
#include <uv.h>

struct sip_work;
typedef void (*sip_work_run_fn)(struct sip_work *work);
typedef void (*sip_work_done_fn)(struct sip_work *work, int status);

struct sip_work {
  uv_work_t req;
  sip_work_run_fn run;
  sip_work_done_fn done;
};

/** @return 0 or a libuv code; after a failure `done` is not called */
int sip_work_start(uv_loop_t *loop, struct sip_work *work, sip_work_run_fn run,
                   sip_work_done_fn done);

/** Takes a job back that no thread has begun; `done` follows with UV_ECANCELED. Otherwise it runs
 * to its end. */
void sip_work_cancel(struct sip_work *work);

#endif
