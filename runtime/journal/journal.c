/* journal.c - gathers statements into batches and hands them to the store. Loop thread, but for
 * the store's call to journal_on_done, which only wakes the loop. */
#include "journal/journal.h"

#include "core/log.h"
#include "core/metrics.h"
#include "core/wakeup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
  FULL_BYTES = 8 << 20,      /* that much in the batch that gathers: writers have to wait */
  FULL_STATEMENTS = 1 << 16, /* likewise */
  MANY_ENTRIES = 32          /* of a batch: then the next one does not wait for all of them */
};

/* What it counts; the shard NULL: nobody asked for it. */
struct journal_meter {
  struct sip_metrics_shard *shard; /* counted */
  struct sip_series *write, *entries, *waiting, *failed;
};

/* A batch with those who wait for it. */
struct journal_batch {
  struct sip_batch batch;
  struct sip_list entries;
  size_t entry_count;
  bool is_awaited; /* by one of them */
};

struct sip_journal {
  struct sip_store_client client;
  const struct sip_store_ops *ops;
  struct sip_store *store; /* borrowed: outlives the journal */
  struct sip_wakeup *wakeup;
  uv_prepare_t prepare; /* runs while something gathers: submits before the loop goes to sleep */
  uv_idle_t turn;       /* runs while notes wait for one turn more: the loop does not sleep */
  struct journal_batch batches[2];
  struct journal_batch *gathering, *at_store; /* at_store: NULL when the store has none of ours */
  struct sip_batch_mark begun;                /* where the entry that is being written begins */
  bool is_begun, closing;
  bool is_deferred;       /* what gathers has waited for a turn */
  size_t usual;           /* entries of the batch that came back last */
  struct sip_err failure; /* code 0: none */
  struct sip_journal_status status;
  struct journal_meter meter;
  uint64_t submitted_ns; /* the batch at the store */
  void (*on_closed)(void *arg);
  void *closed_arg;
};

/* Any thread. */
static void journal_on_done(struct sip_store_client *client)
{
  sip_wakeup_send(SIP_CONTAINER(client, struct sip_journal, client)->wakeup);
}

static void journal_submit(struct sip_journal *journal)
{
  struct journal_batch *full = journal->gathering;

  if (journal->at_store != NULL || full->batch.op_count == 0 || journal->is_begun) {
    return;
  }
  (void)uv_prepare_stop(&journal->prepare); /* always 0 */
  journal->is_deferred = false;
  journal->at_store = full;
  journal->gathering = &journal->batches[full == &journal->batches[0]];
  journal->submitted_ns = journal->meter.shard == NULL ? 0 : uv_hrtime();
  journal->status.batches++;
  journal->status.statements += full->batch.op_count;
  journal->ops->submit(journal->store, &journal->client, &full->batch);
}

static void journal_on_turn(uv_idle_t *turn)
{
  (void)uv_idle_stop(turn); /* always 0 */
}

/* What nobody waits for, such as the end of a run, waits for a turn: what follows the run is begun
 * in it, and shares the commit. */
static void journal_on_prepare(uv_prepare_t *prepare)
{
  struct sip_journal *journal = prepare->data;

  if (journal->gathering->is_awaited || journal->is_deferred || journal->at_store != NULL) {
    journal_submit(journal);
    return;
  }
  journal->is_deferred = true;
  (void)uv_idle_start(&journal->turn, journal_on_turn); /* fails only without a callback */
}

/* Many are being told, and as many have written as are half of them: the store may begin while the
 * loop runs the others. So two halves take turns, and neither the loop nor the disk waits. */
static bool is_half(const struct sip_journal *journal)
{
  return journal->usual >= MANY_ENTRIES && journal->gathering->entry_count >= journal->usual / 2;
}

/* Tells everybody who waited for the batch. */
static void batch_end(struct sip_journal *journal, struct journal_batch *done)
{
  const struct sip_err *err = done->batch.err.code == 0 ? NULL : &done->batch.err;
  struct sip_list entries, *node;

  sip_list_init(&entries);
  sip_list_move(&entries, &done->entries);
  journal->status.waiting -= done->entry_count;
  done->entry_count = 0;
  done->is_awaited = false;
  while ((node = sip_list_shift(&entries)) != NULL) {
    struct sip_entry *entry = SIP_CONTAINER(node, struct sip_entry, link);

    if (entry->on_done != NULL) {
      entry->on_done(entry, err == NULL ? 0 : err->code, &done->batch, err);
    }
  }
  sip_batch_clear(&done->batch);
}

/* The store has answered. */
static void journal_measure(const struct sip_journal *journal)
{
  const struct journal_meter *meter = &journal->meter;

  if (meter->shard != NULL) {
    sip_series_observe(meter->write, (double)(uv_hrtime() - journal->submitted_ns) / 1e9);
    sip_series_set(meter->entries, (double)journal->status.entries);
    sip_series_set(meter->waiting, (double)journal->status.waiting);
  }
}

/* What gathered behind a batch that failed fails with it: it was to be written after it. */
static void journal_fail(struct sip_journal *journal, const struct sip_err *err)
{
  if (journal->failure.code != 0) {
    return;
  }
  journal->failure = *err;
  if (journal->meter.shard != NULL) {
    sip_series_set(journal->meter.failed, 1);
  }
  sip_log(SIP_LOG_ERROR, "journal", NULL, "%s; nothing new is begun", err->message);
  (void)uv_prepare_stop(&journal->prepare); /* always 0 */
  journal->gathering->batch.err = *err;
  batch_end(journal, journal->gathering);
}

static void journal_on_turn_close(uv_handle_t *handle)
{
  struct sip_journal *journal = handle->data;
  void (*on_closed)(void *arg) = journal->on_closed;
  void *arg = journal->closed_arg;

  sip_batch_deinit(&journal->batches[0].batch);
  sip_batch_deinit(&journal->batches[1].batch);
  sip_metrics_shard_unref(journal->meter.shard);
  free(journal);
  if (on_closed != NULL) {
    on_closed(arg);
  }
}

static void journal_on_prepare_close(uv_handle_t *handle)
{
  struct sip_journal *journal = handle->data;

  uv_close((uv_handle_t *)&journal->turn, journal_on_turn_close);
}

static void journal_look_at_close(struct sip_journal *journal)
{
  if (!journal->closing || journal->at_store != NULL || journal->gathering->batch.op_count > 0 ||
      uv_is_closing((uv_handle_t *)&journal->prepare)) {
    return;
  }
  sip_wakeup_close(journal->wakeup);
  uv_close((uv_handle_t *)&journal->prepare, journal_on_prepare_close);
}

/* The store has answered. */
static void journal_on_wakeup(void *arg)
{
  struct sip_journal *journal = arg;
  struct sip_batch *batch;

  while ((batch = journal->ops->collect(journal->store, &journal->client)) != NULL) {
    struct journal_batch *done = SIP_CONTAINER(batch, struct journal_batch, batch);

    assert(done == journal->at_store);
    journal->at_store = NULL;
    journal->usual = done->entry_count;
    if (batch->err.code != 0) {
      journal_fail(journal, &batch->err);
    }
    batch_end(journal, done);
    journal_measure(journal);
  }
  if (journal->usual < MANY_ENTRIES || journal->closing || is_half(journal)) { /* else soon */
    journal_submit(journal);
  }
  journal_look_at_close(journal);
}

int sip_journal_new(struct sip_journal **out, uv_loop_t *loop, const struct sip_store_ops *ops,
                    struct sip_store *store, struct sip_err *err)
{
  struct sip_journal *journal = calloc(1, sizeof *journal);
  int rc;

  if (journal == NULL) {
    return sip_err_set(err, UV_ENOMEM, "journal: not enough memory");
  }
  for (size_t i = 0; i < 2; i++) {
    sip_batch_init(&journal->batches[i].batch);
    sip_list_init(&journal->batches[i].entries);
  }
  sip_list_init(&journal->client.done);
  journal->client.on_done = journal_on_done;
  journal->ops = ops;
  journal->store = store;
  journal->gathering = &journal->batches[0];
  rc = sip_wakeup_new(&journal->wakeup, loop, journal_on_wakeup, journal);
  if (rc < 0) {
    free(journal);
    return sip_err_set(err, rc, "journal: %s", uv_strerror(rc));
  }
  (void)uv_prepare_init(loop, &journal->prepare); /* always 0 */
  journal->prepare.data = journal;
  (void)uv_idle_init(loop, &journal->turn); /* likewise */
  journal->turn.data = journal;
  *out = journal;
  return 0;
}

int sip_journal_count(struct sip_journal *journal, struct sip_metrics_shard *shard,
                      struct sip_err *err)
{
  struct journal_meter *meter = &journal->meter;
  const struct {
    struct sip_metric_spec spec;
    struct sip_series **series;
  } metrics[] = {
    { { .kind = SIP_HISTOGRAM,
        .name = "sipeat_journal_write_seconds",
        .help = "From handing a batch to the disk until it is safe there." },
      &meter->write },
    { { .kind = SIP_COUNTER, .name = "sipeat_journal_entries", .help = "Entries written." },
      &meter->entries },
    { { .kind = SIP_GAUGE,
        .name = "sipeat_journal_waiting",
        .help = "Entries that are not safe yet.",
        .merge = SIP_MERGE_SUM },
      &meter->waiting },
    { { .kind = SIP_GAUGE,
        .name = "sipeat_journal_failed",
        .help = "1 once it could not be written: nothing new is begun, and the program ends.",
        .merge = SIP_MERGE_MAX },
      &meter->failed },
  };
  struct sip_metric *metric = NULL;
  int rc = 0;

  for (size_t i = 0; rc == 0 && i < sizeof metrics / sizeof metrics[0]; i++) {
    rc = sip_metric_declare(&metric, shard, &metrics[i].spec, err);
    if (rc == 0) {
      *metrics[i].series = sip_metric_series(metric, NULL);
    }
  }
  if (rc == 0) {
    meter->shard = sip_metrics_shard_ref(shard);
  }
  return rc;
}

static bool is_full(const struct sip_batch *batch)
{
  return batch->bytes.len >= FULL_BYTES || batch->op_count >= FULL_STATEMENTS;
}

struct sip_batch *sip_journal_begin(struct sip_journal *journal, struct sip_err *err)
{
  struct sip_batch *batch = &journal->gathering->batch;

  assert(!journal->is_begun);
  if (journal->failure.code != 0) {
    (void)sip_err_named(err, SIP_ECLOSED, "JOURNAL_FAILED", "the journal accepts nothing: %s",
                        journal->failure.message);
    return NULL;
  }
  if (journal->closing) {
    (void)sip_err_set(err, SIP_ECLOSED, "the journal is closing");
    return NULL;
  }
  if (is_full(batch)) {
    (void)sip_err_set(err, SIP_EQUEUEFULL, "the journal's disk does not keep up; try again");
    return NULL;
  }
  journal->is_begun = true;
  journal->begun = sip_batch_mark(batch);
  return batch;
}

void sip_journal_rewind(struct sip_journal *journal)
{
  assert(journal->is_begun);
  journal->is_begun = false;
  sip_batch_rewind(&journal->gathering->batch, journal->begun);
}

void sip_journal_write(struct sip_journal *journal, struct sip_entry *entry, sip_entry_fn on_done)
{
  journal->gathering->is_awaited = true;
  sip_journal_note(journal, entry, on_done); /* as any other from here on */
}

void sip_journal_note(struct sip_journal *journal, struct sip_entry *entry, sip_entry_fn on_done)
{
  struct journal_batch *batch = journal->gathering;

  assert(journal->is_begun);
  journal->is_begun = false;
  entry->first = journal->begun.ops;
  entry->count = batch->batch.op_count - entry->first;
  entry->on_done = on_done;
  assert(entry->count > 0);
  sip_list_init(&entry->link);
  sip_list_push(&batch->entries, &entry->link);
  batch->entry_count++;
  journal->status.entries++;
  journal->status.waiting++;
  (void)uv_prepare_start(&journal->prepare, journal_on_prepare); /* fails only without a callback */
  if (is_half(journal)) {
    journal_submit(journal);
  }
}

void sip_journal_forget(struct sip_entry *entry)
{
  entry->on_done = NULL;
  sip_list_remove(&entry->link);
}

const struct sip_err *sip_journal_failure(const struct sip_journal *journal)
{
  return journal->failure.code == 0 ? NULL : &journal->failure;
}

struct sip_journal_status sip_journal_status(const struct sip_journal *journal)
{
  return journal->status;
}

void sip_journal_close(struct sip_journal *journal, void (*on_closed)(void *arg), void *arg)
{
  journal->closing = true;
  journal->on_closed = on_closed;
  journal->closed_arg = arg;
  journal_submit(journal);
  journal_look_at_close(journal);
}
