#ifndef SIP_JOB_H
#define SIP_JOB_H
/* job.h - one blocking call that a task awaits: it runs on the work pool, and its results are
 * pushed when the task goes on. What was called for a task that was stopped runs to its end, and
 * its result is dropped. Loop thread, but for `run`. */
#include "core/work.h"
#include "vm/task.h"

struct sip_job;

struct sip_job_kind {
  const char *what;                                 /* begins the message of a failure */
  size_t size;                                      /* of the struct that begins with the job */
  void (*run)(struct sip_job *job);                 /* pool thread: its own fields only */
  int (*finish)(lua_State *L, struct sip_job *job); /* it has run: pushes results; may throw */
  void (*free)(struct sip_job *job);                /* frees the block, however far it got */
};

/** The first member of its owner's block. */
struct sip_job {
  const struct sip_job_kind *kind; /* borrowed: for ever */
  struct sip_wait wait;
  struct sip_work work;
  bool running, collected;
};

/** Pushes the box of a job, whose block is zeroed beyond its first member. Throws without memory.
 */
void *sip_job_new(lua_State *L, const struct sip_job_kind *kind);

/** Last thing that a function does, with the job's box on the stack: return sip_job_await(...). */
int sip_job_await(lua_State *L, struct sip_job *job);

#endif
