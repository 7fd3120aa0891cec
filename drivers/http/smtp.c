/* smtp.c - the mail threads: a queue, up to four threads that each keep a connection, and the way
 * back to the loop.
 *
 * Guarded by `mu`: the two lists, waiting_count, idle, closing, and each thread's job and multi.
 * Everything else belongs to the loop thread. */
#include "http/smtp.h"

#include "core/wakeup.h"
#include "http/smtp_job.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_THREADS = 4, MAX_WAITING = 1000, MAX_KEPT = 2, MAX_SOCKETS = 16 };

struct mail_thread {
  struct sip_smtp *smtp; /* borrowed: waits for this thread before it goes */
  uv_thread_t id;
  CURLM *curl;              /* guarded: NULL once the thread ends */
  struct sip_smtp_job *job; /* guarded: what it works on */
  bool ended;               /* guarded */
  bool joined;              /* loop thread */
  int sockets[MAX_SOCKETS]; /* this thread only: what libcurl has open, -1 for a free place */
};

struct sip_smtp {
  struct sip_wakeup *wakeup;
  uv_mutex_t mu;
  uv_cond_t work;
  struct sip_list waiting, done; /* jobs */
  size_t waiting_count, idle;
  bool closing;
  size_t count; /* of threads that were started; loop thread */
  struct mail_thread threads[MAX_THREADS];
};

/* --- mail threads --- */

static curl_socket_t mail_open_socket(void *arg, curlsocktype purpose,
                                      struct curl_sockaddr *address)
{
  struct mail_thread *thread = arg;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

  (void)purpose;
  for (size_t i = 0; i < MAX_SOCKETS && fd >= 0; i++) {
    if (thread->sockets[i] < 0) {
      thread->sockets[i] = fd;
      break;
    }
  }
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int mail_close_socket(void *arg, curl_socket_t fd)
{
  struct mail_thread *thread = arg;

  for (size_t i = 0; i < MAX_SOCKETS; i++) {
    if (thread->sockets[i] == fd) {
      thread->sockets[i] = -1;
    }
  }
  return close(fd);
}

/* Makes every connection of this thread unusable: libcurl finds them dead and says nothing on them.
 * It keeps one for the next message even when the server has not answered the last (7.88,
 * smtp_done), and at the end it says QUIT and waits up to two minutes for the reply. */
static void mail_cut(struct mail_thread *thread)
{
  for (size_t i = 0; i < MAX_SOCKETS; i++) {
    if (thread->sockets[i] >= 0) {
      (void)shutdown(thread->sockets[i], SHUT_RDWR); /* fails when the peer was faster */
    }
  }
}

static CURLcode mail_transfer(struct mail_thread *thread, struct sip_smtp_job *job)
{
  CURLcode result = CURLE_ABORTED_BY_CALLBACK;
  int running = 1, left;
  CURLMsg *message;

  if (curl_easy_setopt(job->easy, CURLOPT_OPENSOCKETFUNCTION, mail_open_socket) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_OPENSOCKETDATA, thread) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_CLOSESOCKETFUNCTION, mail_close_socket) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_CLOSESOCKETDATA, thread) != CURLE_OK ||
      curl_multi_add_handle(thread->curl, job->easy) != CURLM_OK) {
    return CURLE_OUT_OF_MEMORY;
  }
  while (running > 0 && !atomic_load(&job->abort)) {
    if (curl_multi_perform(thread->curl, &running) != CURLM_OK) {
      result = CURLE_OUT_OF_MEMORY;
      break;
    }
    if (running > 0 && curl_multi_poll(thread->curl, NULL, 0, 1000, NULL) != CURLM_OK) {
      result = CURLE_OUT_OF_MEMORY;
      break;
    }
  }
  while ((message = curl_multi_info_read(thread->curl, &left)) != NULL) {
    result = message->msg == CURLMSG_DONE ? message->data.result : result;
  }
  if (result != CURLE_OK) {
    mail_cut(thread);
  }
  (void)curl_multi_remove_handle(thread->curl, job->easy); /* fails only when it is not in */
  return result;
}

/* A server may have had enough of a kept connection (OpenSMTPD takes 100 messages on one), and then
 * refuses the sender of the next. Nothing was handed over. */
static bool mail_was_stale(const struct sip_smtp_job *job)
{
  long made = 1;

  return job->result != CURLE_OK && !atomic_load(&job->abort) && job->stage <= SMTP_STAGE_MAIL &&
         job->status < 500 &&
         curl_easy_getinfo(job->easy, CURLINFO_NUM_CONNECTS, &made) == CURLE_OK && made == 0;
}

static void mail_deliver(struct mail_thread *thread, struct sip_smtp_job *job)
{
  job->result = mail_transfer(thread, job);
  if (mail_was_stale(job)) { /* once more: the failure has cut the connection, so on a new one */
    job->sent = 0;
    job->quit_ms = 0;
    job->result = mail_transfer(thread, job);
  }
}

/* Takes the next job, waiting for it; NULL when the engine closes. Called with the lock held, as is
 * its return. */
static struct sip_smtp_job *mail_next(struct sip_smtp *smtp)
{
  struct sip_list *node;

  for (;;) {
    if (smtp->closing) {
      return NULL;
    }
    node = sip_list_shift(&smtp->waiting);
    if (node != NULL) {
      smtp->waiting_count--;
      return SIP_CONTAINER(node, struct sip_smtp_job, link);
    }
    smtp->idle++;
    uv_cond_wait(&smtp->work, &smtp->mu);
    smtp->idle--;
  }
}

static void mail_run(void *arg)
{
  struct mail_thread *thread = arg;
  struct sip_smtp *smtp = thread->smtp;
  struct sip_smtp_job *job;
  CURLM *curl;

  (void)pthread_setname_np(pthread_self(), "sip-mail"); /* for people only */
  uv_mutex_lock(&smtp->mu);
  while ((job = mail_next(smtp)) != NULL) {
    thread->job = job;
    uv_mutex_unlock(&smtp->mu);
    mail_deliver(thread, job);
    uv_mutex_lock(&smtp->mu);
    thread->job = NULL;
    sip_list_push(&smtp->done, &job->link);
    sip_wakeup_send(smtp->wakeup);
  }
  curl = thread->curl;
  thread->curl = NULL;
  uv_mutex_unlock(&smtp->mu);
  mail_cut(thread);
  (void)curl_multi_cleanup(curl);
  uv_mutex_lock(&smtp->mu);
  thread->ended = true;
  sip_wakeup_send(smtp->wakeup);
  uv_mutex_unlock(&smtp->mu);
}

/* --- loop thread --- */

static void smtp_free(struct sip_smtp *smtp)
{
  uv_cond_destroy(&smtp->work);
  uv_mutex_destroy(&smtp->mu);
  sip_wakeup_close(smtp->wakeup);
  free(smtp);
  curl_global_cleanup();
}

static void job_finish(struct sip_smtp_job *job)
{
  struct sip_err err;

  job->done = true;
  if (job->orphan) {
    sip_smtp_job_destroy(job);
  } else if (!job->canceled) {
    sip_smtp_job_explain(job, &err);
    job->on_done(job, &err, job->arg); /* may free the job */
  }
}

static bool smtp_join(struct sip_smtp *smtp)
{
  bool all = true;

  for (size_t i = 0; i < smtp->count; i++) {
    struct mail_thread *thread = &smtp->threads[i];
    bool ended;

    uv_mutex_lock(&smtp->mu);
    ended = thread->ended;
    uv_mutex_unlock(&smtp->mu);
    if (ended && !thread->joined) {
      (void)uv_thread_join(&thread->id); /* at its last line: no wait */
      thread->joined = true;
    }
    all = all && thread->joined;
  }
  return all;
}

static void smtp_finish_done(struct sip_smtp *smtp)
{
  struct sip_list done, *node;

  sip_list_init(&done);
  uv_mutex_lock(&smtp->mu);
  sip_list_move(&done, &smtp->done);
  uv_mutex_unlock(&smtp->mu);
  while ((node = sip_list_shift(&done)) != NULL) {
    job_finish(SIP_CONTAINER(node, struct sip_smtp_job, link));
  }
}

static void smtp_on_wakeup(void *arg)
{
  struct sip_smtp *smtp = arg;
  bool closing;

  smtp_finish_done(smtp);
  uv_mutex_lock(&smtp->mu);
  closing = smtp->closing;
  uv_mutex_unlock(&smtp->mu);
  if (closing && smtp_join(smtp)) {
    smtp_finish_done(smtp); /* what the threads gave back on their last steps */
    smtp_free(smtp);
  }
}

int sip_smtp_new(struct sip_smtp **out, uv_loop_t *loop, struct sip_err *err)
{
  struct sip_smtp *smtp = calloc(1, sizeof *smtp);
  int rc = UV_ENOMEM;

  if (smtp == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    free(smtp);
    return sip_err_set(err, UV_ENOMEM, "mail: no memory");
  }
  rc = uv_mutex_init(&smtp->mu);
  if (rc < 0) {
    goto no_mutex;
  }
  rc = uv_cond_init(&smtp->work);
  if (rc < 0) {
    goto no_cond;
  }
  rc = sip_wakeup_new(&smtp->wakeup, loop, smtp_on_wakeup, smtp);
  if (rc < 0) {
    goto no_wakeup;
  }
  sip_list_init(&smtp->waiting);
  sip_list_init(&smtp->done);
  *out = smtp;
  return 0;
no_wakeup:
  uv_cond_destroy(&smtp->work);
no_cond:
  uv_mutex_destroy(&smtp->mu);
no_mutex:
  free(smtp);
  curl_global_cleanup();
  return sip_err_set(err, rc, "mail: the engine does not start");
}

/* One more thread, if it helps and may be. @return 0 when there is one to do the work */
static int smtp_staff(struct sip_smtp *smtp, size_t waiting, size_t idle)
{
  struct mail_thread *thread = &smtp->threads[smtp->count];

  if (waiting <= idle || smtp->count == MAX_THREADS) {
    return 0;
  }
  thread->smtp = smtp;
  for (size_t i = 0; i < MAX_SOCKETS; i++) {
    thread->sockets[i] = -1;
  }
  thread->curl = curl_multi_init();
  if (thread->curl == NULL ||
      curl_multi_setopt(thread->curl, CURLMOPT_MAXCONNECTS, (long)MAX_KEPT) != CURLM_OK ||
      uv_thread_create(&thread->id, mail_run, thread) < 0) {
    if (thread->curl != NULL) {
      (void)curl_multi_cleanup(thread->curl);
      thread->curl = NULL;
    }
    return smtp->count > 0 ? 0 : UV_EAGAIN;
  }
  smtp->count++;
  return 0;
}

int sip_smtp_send(struct sip_smtp_job **out, struct sip_smtp *smtp,
                  const struct sip_smtp_request *request, sip_smtp_done_fn on_done, void *arg,
                  struct sip_err *err)
{
  struct sip_smtp_job *job = NULL;
  size_t waiting, idle;
  bool closing;
  int rc;

  rc = sip_smtp_job_new(&job, request, err);
  if (rc < 0) {
    return rc;
  }
  job->smtp = smtp;
  job->on_done = on_done;
  job->arg = arg;
  uv_mutex_lock(&smtp->mu);
  closing = smtp->closing;
  waiting = smtp->waiting_count + 1;
  idle = smtp->idle;
  uv_mutex_unlock(&smtp->mu);
  if (closing) {
    rc = sip_err_set(err, SIP_ECLOSED, "mail: the program is shutting down");
  } else if (waiting > MAX_WAITING) {
    rc = sip_err_set(err, SIP_EQUEUEFULL, "mail: %d messages are waiting already", MAX_WAITING);
  } else if (smtp_staff(smtp, waiting, idle) < 0) {
    rc = sip_err_set(err, UV_EAGAIN, "mail: no thread can be started");
  }
  if (rc < 0) {
    sip_smtp_job_destroy(job);
    return rc;
  }
  uv_mutex_lock(&smtp->mu);
  sip_list_push(&smtp->waiting, &job->link);
  smtp->waiting_count++;
  uv_cond_signal(&smtp->work);
  uv_mutex_unlock(&smtp->mu);
  *out = job;
  return 0;
}

/* Where the job is; stops it if a thread has it. The lock is held. */
static void job_stop(struct sip_smtp *smtp, struct sip_smtp_job *job)
{
  atomic_store(&job->abort, true);
  for (size_t i = 0; i < smtp->count; i++) {
    if (smtp->threads[i].job == job && smtp->threads[i].curl != NULL) {
      (void)curl_multi_wakeup(smtp->threads[i].curl); /* else it notices within a second */
    }
  }
}

/* Waiting jobs are taken out of the queue; of the others false is returned, and the thread gives
 * them back. */
static bool smtp_withdraw(struct sip_smtp *smtp, struct sip_smtp_job *job)
{
  bool waiting = false;

  uv_mutex_lock(&smtp->mu);
  for (struct sip_list *node = smtp->waiting.next; node != &smtp->waiting && !waiting;
       node = node->next) {
    waiting = node == &job->link;
  }
  if (waiting) {
    sip_list_remove(&job->link);
    smtp->waiting_count--;
  } else {
    job_stop(smtp, job);
  }
  uv_mutex_unlock(&smtp->mu);
  return waiting;
}

void sip_smtp_job_free(struct sip_smtp_job *job)
{
  if (job == NULL) {
    return;
  }
  if (job->done || smtp_withdraw(job->smtp, job)) {
    sip_smtp_job_destroy(job);
  } else {
    job->orphan = true; /* freed when its thread gives it back */
  }
}

size_t sip_smtp_job_refusals(const struct sip_smtp_job *job, const struct sip_smtp_refusal **out)
{
  *out = job->refusals;
  return job->refusal_count;
}

static void job_cancel(struct sip_smtp_job *job)
{
  struct sip_err err = { 0 };

  job->canceled = true;
  (void)sip_err_set(&err, UV_ECANCELED, "mail %s: canceled by the end of the program",
                    job->target.text);
  job->on_done(job, &err, job->arg);
}

void sip_smtp_close(struct sip_smtp *smtp)
{
  struct sip_smtp_job *running[MAX_THREADS];
  struct sip_list waiting, *node;
  size_t count = 0;

  if (smtp == NULL) {
    return;
  }
  sip_list_init(&waiting);
  uv_mutex_lock(&smtp->mu);
  assert(!smtp->closing);
  smtp->closing = true;
  sip_list_move(&waiting, &smtp->waiting);
  smtp->waiting_count = 0;
  for (size_t i = 0; i < smtp->count; i++) {
    if (smtp->threads[i].job != NULL) {
      running[count] = smtp->threads[i].job;
      job_stop(smtp, running[count++]);
    }
  }
  uv_cond_broadcast(&smtp->work);
  uv_mutex_unlock(&smtp->mu);
  for (node = waiting.next; node != &waiting; node = node->next) {
    SIP_CONTAINER(node, struct sip_smtp_job, link)->done = true;
  }
  while ((node = sip_list_shift(&waiting)) != NULL) { /* on_done may free others of the list */
    job_cancel(SIP_CONTAINER(node, struct sip_smtp_job, link));
  }
  for (size_t i = 0; i < count; i++) {
    if (!running[i]->orphan) {
      job_cancel(running[i]);
    }
  }
  sip_wakeup_send(smtp->wakeup); /* frees the engine, at once when it has no thread */
}
