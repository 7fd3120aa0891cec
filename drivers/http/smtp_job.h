#ifndef SIP_HTTP_SMTP_JOB_H
#define SIP_HTTP_SMTP_JOB_H
/* smtp_job.h - one message on its way: what smtp.c hands to a mail thread and gets back.
 *
 * Made and freed on the loop thread. Between the hand-over to a thread and its return only that
 * thread touches it, except for `abort`. */
#include "core/buf.h"
#include "core/list.h"
#include "http/smtp.h"
#include "http/target.h"

#include <stdatomic.h>
#include <stdbool.h>

enum smtp_stage {
  SMTP_STAGE_HELLO,
  SMTP_STAGE_AUTH,
  SMTP_STAGE_MAIL,
  SMTP_STAGE_RCPT,
  SMTP_STAGE_DATA
};

struct sip_smtp_job {
  struct sip_list link;  /* in the engine's waiting or done list; guarded by its mutex */
  struct sip_smtp *smtp; /* borrowed: lives longer than a job that is not done */
  CURL *easy;
  char detail[CURL_ERROR_SIZE];
  struct sip_target target;
  struct curl_slist *to; /* the envelope, in the order of RCPT; libcurl borrows it */
  struct sip_buf message;
  size_t sent; /* bytes of it that libcurl has read */
  CURLcode result;
  atomic_bool abort; /* set by the loop thread, read by the mail thread */
  sip_smtp_done_fn on_done;
  void *arg;     /* borrowed: the starter's */
  bool done;     /* loop thread only: no thread and no queue has it any more */
  bool orphan;   /* loop thread only: freed by its starter while it ran */
  bool canceled; /* loop thread only: on_done was told at the engine's close */
  /* what the server said, from libcurl's debug callback */
  enum smtp_stage stage;
  struct curl_slist *rcpt; /* borrowed from `to`: whose reply comes next */
  uint64_t quit_ms;        /* when QUIT was said, of uv_hrtime in milliseconds; 0: not */
  int status;              /* of the reply to the last command, 0 before it came */
  char reply[200];         /* its last line, printable ASCII */
  struct sip_smtp_refusal *refusals;
  size_t refusal_count;
};

/** Checks the request and makes the libcurl handle. The message is taken over in any case. */
int sip_smtp_job_new(struct sip_smtp_job **out, const struct sip_smtp_request *request,
                     struct sip_err *err);
void sip_smtp_job_destroy(struct sip_smtp_job *job);

/** Fills `err` from what the thread brought back; code 0 for success. */
void sip_smtp_job_explain(const struct sip_smtp_job *job, struct sip_err *err);

#endif
