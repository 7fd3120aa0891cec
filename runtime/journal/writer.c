/* writer.c - the queue before the thread, and the clients' queues behind it. */
#include "journal/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct sip_writer {
  struct sip_store *store; /* borrowed: outlives the writer */
  sip_writer_run_fn run;
  uint64_t idle_ms;
  struct sip_err failure; /* the thread's; code 0: none */
  pthread_t thread;
  pthread_mutex_t mutex; /* guards what follows, and every client's `done` */
  pthread_cond_t submitted;
  struct sip_list queue; /* of batches */
  bool stopping;
};

/* The mutex is held. */
static void writer_hand_back(struct sip_list *batches)
{
  struct sip_list *node;

  while ((node = sip_list_shift(batches)) != NULL) {
    struct sip_store_client *client = SIP_CONTAINER(node, struct sip_batch, link)->client;

    sip_list_push(&client->done, node);
    client->on_done(client); /* takes no lock of ours; the client lives until it has collected */
  }
}

/* After a failure nothing is written any more, whichever worker asks: what is durable is known to
 * the next start only. */
static void writer_run(struct sip_writer *writer, struct sip_list *batches)
{
  struct sip_list *first = batches->next;

  if (writer->failure.code == 0) {
    writer->run(writer->store, batches);
    if (first != batches) {
      writer->failure = SIP_CONTAINER(first, struct sip_batch, link)->err;
    }
    return;
  }
  for (struct sip_list *node = first; node != batches; node = node->next) {
    SIP_CONTAINER(node, struct sip_batch, link)->err = writer->failure;
  }
}

/* Waits until something is submitted; false when the idle time is over first. The mutex is held. */
static bool writer_wait(struct sip_writer *writer)
{
  struct timespec until;

  if (writer->idle_ms == 0) {
    (void)pthread_cond_wait(&writer->submitted, &writer->mutex);
    return true;
  }
  (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
  until.tv_sec += (time_t)(writer->idle_ms / 1000);
  until.tv_nsec += (long)(writer->idle_ms % 1000) * 1000000L;
  if (until.tv_nsec >= 1000000000L) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000L;
  }
  return pthread_cond_timedwait(&writer->submitted, &writer->mutex, &until) != ETIMEDOUT;
}

static void *writer_main(void *arg)
{
  struct sip_writer *writer = arg;
  struct sip_list batches;

  sip_list_init(&batches);
  (void)pthread_mutex_lock(&writer->mutex);
  for (;;) {
    while (sip_list_empty(&writer->queue) && !writer->stopping && writer_wait(writer)) {
    }
    if (sip_list_empty(&writer->queue) && writer->stopping) {
      break;
    }
    sip_list_move(&batches, &writer->queue);
    (void)pthread_mutex_unlock(&writer->mutex);
    writer_run(writer, &batches);
    (void)pthread_mutex_lock(&writer->mutex);
    writer_hand_back(&batches);
  }
  (void)pthread_mutex_unlock(&writer->mutex);
  return NULL;
}

void sip_writer_submit(struct sip_writer *writer, struct sip_store_client *client,
                       struct sip_batch *batch)
{
  batch->client = client;
  (void)pthread_mutex_lock(&writer->mutex);
  sip_list_push(&writer->queue, &batch->link);
  (void)pthread_mutex_unlock(&writer->mutex);
  (void)pthread_cond_signal(&writer->submitted); /* who wakes up finds the mutex free */
}

struct sip_batch *sip_writer_collect(struct sip_writer *writer, struct sip_store_client *client)
{
  struct sip_list *node;

  (void)pthread_mutex_lock(&writer->mutex);
  node = sip_list_shift(&client->done);
  (void)pthread_mutex_unlock(&writer->mutex);
  return node == NULL ? NULL : SIP_CONTAINER(node, struct sip_batch, link);
}

static void writer_free(struct sip_writer *writer)
{
  (void)pthread_cond_destroy(&writer->submitted); /* nobody waits */
  (void)pthread_mutex_destroy(&writer->mutex);    /* nobody holds it */
  free(writer);
}

int sip_writer_start(struct sip_writer **out, struct sip_store *store, sip_writer_run_fn run,
                     uint64_t idle_ms, struct sip_err *err)
{
  struct sip_writer *writer = calloc(1, sizeof *writer);
  pthread_condattr_t monotonic;
  sigset_t all, before;
  int rc;

  if (writer == NULL) {
    return sip_err_set(err, UV_ENOMEM, "journal: no memory for its writer");
  }
  writer->store = store;
  writer->run = run;
  writer->idle_ms = idle_ms;
  sip_list_init(&writer->queue);
  (void)pthread_mutex_init(&writer->mutex, NULL); /* always 0 with default attributes */
  (void)pthread_condattr_init(&monotonic);        /* as the others: always 0 with glibc */
  (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&writer->submitted, &monotonic);
  (void)pthread_condattr_destroy(&monotonic);
  (void)sigfillset(&all); /* signals are for the loop threads */
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  rc = pthread_create(&writer->thread, NULL, writer_main, writer);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc != 0) {
    writer_free(writer);
    return sip_err_errno(err, rc, "journal: start its writer");
  }
  (void)pthread_setname_np(writer->thread, "sip-journal"); /* a name is a comfort */
  *out = writer;
  return 0;
}

void sip_writer_stop(struct sip_writer *writer)
{
  if (writer == NULL) {
    return;
  }
  (void)pthread_mutex_lock(&writer->mutex);
  writer->stopping = true;
  (void)pthread_cond_signal(&writer->submitted);
  (void)pthread_mutex_unlock(&writer->mutex);
  (void)pthread_join(writer->thread, NULL);
  writer_free(writer);
}
