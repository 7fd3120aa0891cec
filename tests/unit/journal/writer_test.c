/* The writer's thread: what waits when it comes back goes together, each worker gets its own back,
 * and after a failure nothing is run any more. */
#include "journal/writer.h"

#include "support/test.h"

#include <stdatomic.h>

enum { WORKERS = 2, BATCHES = 3 };

struct worker {
  struct sip_store_client client;
  uv_sem_t told;
};

struct sip_store {
  uv_sem_t begun, goes_on;
  atomic_int runs, together, idle;
  atomic_int fails;
};

static void on_told(struct sip_store_client *client)
{
  uv_sem_post(&SIP_CONTAINER(client, struct worker, client)->told);
}

static void run(struct sip_store *store, struct sip_list *batches)
{
  struct sip_err err = { 0 };
  int count = 0;

  if (sip_list_empty(batches)) {
    (void)atomic_fetch_add(&store->idle, 1);
    uv_sem_post(&store->begun);
    return;
  }
  if (atomic_load(&store->fails)) {
    (void)sip_err_set(&err, UV_ENOSPC, "no room");
  }
  for (struct sip_list *node = batches->next; node != batches; node = node->next) {
    SIP_CONTAINER(node, struct sip_batch, link)->err = err;
    count++;
  }
  (void)atomic_fetch_add(&store->runs, 1);
  atomic_store(&store->together, count);
  uv_sem_post(&store->begun);
  uv_sem_wait(&store->goes_on);
}

static struct sip_batch *wait_for(struct sip_writer *writer, struct worker *worker)
{
  struct sip_batch *batch;

  uv_sem_wait(&worker->told);
  batch = sip_writer_collect(writer, &worker->client);
  CHECK(batch != NULL);
  return batch;
}

static void start(struct sip_store *store, struct worker *workers, struct sip_writer **writer,
                  uint64_t idle_ms)
{
  CHECK_INT(uv_sem_init(&store->begun, 0), 0);
  CHECK_INT(uv_sem_init(&store->goes_on, 0), 0);
  for (size_t i = 0; i < WORKERS; i++) {
    sip_list_init(&workers[i].client.done);
    workers[i].client.on_done = on_told;
    CHECK_INT(uv_sem_init(&workers[i].told, 0), 0);
  }
  CHECK_INT(sip_writer_start(writer, store, run, idle_ms, NULL), 0);
}

static void stop(struct sip_store *store, struct worker *workers, struct sip_writer *writer)
{
  sip_writer_stop(writer);
  uv_sem_destroy(&store->begun);
  uv_sem_destroy(&store->goes_on);
  for (size_t i = 0; i < WORKERS; i++) {
    uv_sem_destroy(&workers[i].told);
  }
}

static void what_waits_goes_together_until_a_failure(void)
{
  static struct sip_store store;
  struct worker workers[WORKERS];
  struct sip_batch batches[BATCHES];
  struct sip_writer *writer = NULL;

  start(&store, workers, &writer, 0);
  for (size_t i = 0; i < BATCHES; i++) {
    sip_batch_init(&batches[i]);
  }
  sip_writer_submit(writer, &workers[0].client, &batches[0]);
  uv_sem_wait(&store.begun); /* it is in a commit now */
  sip_writer_submit(writer, &workers[1].client, &batches[1]);
  sip_writer_submit(writer, &workers[0].client, &batches[2]);
  atomic_store(&store.fails, 1);
  uv_sem_post(&store.goes_on);
  uv_sem_wait(&store.begun);
  CHECK_INT(atomic_load(&store.together), 2);
  uv_sem_post(&store.goes_on);
  CHECK(wait_for(writer, &workers[0]) == &batches[0]);
  CHECK_INT(batches[0].err.code, 0);
  CHECK(wait_for(writer, &workers[0]) == &batches[2]);
  CHECK(wait_for(writer, &workers[1]) == &batches[1]);
  CHECK(sip_writer_collect(writer, &workers[1].client) == NULL);
  CHECK_INT(batches[1].err.code, UV_ENOSPC);
  atomic_store(&store.fails, 0); /* there is room again: for the next start only */
  sip_batch_clear(&batches[1]);
  sip_writer_submit(writer, &workers[1].client, &batches[1]);
  CHECK(wait_for(writer, &workers[1]) == &batches[1]);
  CHECK_INT(batches[1].err.code, UV_ENOSPC);
  CHECK_STR(batches[1].err.message, "no room");
  CHECK_INT(atomic_load(&store.runs), 2);
  CHECK_INT(atomic_load(&store.idle), 0);
  stop(&store, workers, writer);
}

static void when_nothing_comes_it_is_told(void)
{
  static struct sip_store store;
  struct worker workers[WORKERS];
  struct sip_writer *writer = NULL;

  start(&store, workers, &writer, 5);
  uv_sem_wait(&store.begun);
  uv_sem_wait(&store.begun);
  CHECK(atomic_load(&store.idle) >= 2);
  stop(&store, workers, writer);
}

int main(void)
{
  what_waits_goes_together_until_a_failure();
  when_nothing_comes_it_is_told();
  (void)printf("ok\n");
  return 0;
}
