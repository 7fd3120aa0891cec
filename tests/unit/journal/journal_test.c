/* The front of the journal: what one turn of the loop writes goes to the store together, and half
 * of those who are being told is enough for the store to begin. */
#include "journal/journal.h"

#include "support/test.h"

enum { WRITERS = 100 };

struct sip_store {
  struct sip_store_client *client;
  struct sip_batch *batch, *done; /* that was submitted; that is to be collected */
};

struct front {
  uv_loop_t loop;
  struct sip_store store;
  struct sip_journal *journal;
  struct sip_entry entries[WRITERS];
  size_t written, told;
  int status; /* of the entry that was told last */
  bool closed;
};

static struct front *front; /* a callback gets its entry only */

static void submit(struct sip_store *store, struct sip_store_client *client,
                   struct sip_batch *batch)
{
  CHECK(store->batch == NULL);
  store->client = client;
  store->batch = batch;
}

static struct sip_batch *collect(struct sip_store *store, struct sip_store_client *client)
{
  struct sip_batch *batch = store->done;

  CHECK(client == store->client);
  store->done = NULL;
  return batch;
}

static const struct sip_store_ops operations = { .submit = submit, .collect = collect };

static void on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                    const struct sip_err *err)
{
  (void)batch;
  (void)err;
  CHECK(status < 0 || entry == &front->entries[front->told]); /* in the order of their writes */
  front->told++;
  front->status = status;
}

typedef void (*write_fn)(struct sip_journal *, struct sip_entry *, sip_entry_fn);

static void write_by(struct front *f, size_t count, write_fn write)
{
  for (size_t i = 0; i < count; i++) {
    struct sip_batch *batch = sip_journal_begin(f->journal, NULL);

    CHECK(batch != NULL);
    CHECK_INT(sip_batch_op(batch, 0), 0);
    CHECK(f->written < WRITERS);
    write(f->journal, &f->entries[f->written++], on_done);
  }
}

static void write_entries(struct front *f, size_t count)
{
  write_by(f, count, sip_journal_write);
}

static void write_notes(struct front *f, size_t count)
{
  write_by(f, count, sip_journal_note);
}

/* How many statements the store has; 0: it has nothing to do. */
static size_t at_store(const struct front *f)
{
  return f->store.batch == NULL ? 0 : f->store.batch->op_count;
}

static void turn(struct front *f)
{
  (void)uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* The store is done, with that code, and its writers are told. */
static void finish(struct front *f, int code)
{
  size_t told = f->told + at_store(f);

  f->store.batch->err.code = code;
  f->store.done = f->store.batch;
  f->store.batch = NULL;
  f->store.client->on_done(f->store.client);
  while (f->told < told) {
    (void)uv_run(&f->loop, UV_RUN_ONCE);
  }
}

static void on_closed(void *arg)
{
  ((struct front *)arg)->closed = true;
}

static void open_front(struct front *f)
{
  front = f;
  CHECK_INT(uv_loop_init(&f->loop), 0);
  CHECK_INT(sip_journal_new(&f->journal, &f->loop, &operations, &f->store, NULL), 0);
}

static void close_front(struct front *f)
{
  sip_journal_close(f->journal, on_closed, f);
  while (at_store(f) > 0) {
    finish(f, 0);
  }
  (void)uv_run(&f->loop, UV_RUN_DEFAULT);
  CHECK(f->closed);
  CHECK_INT(f->told, f->written);
  CHECK_INT(uv_loop_close(&f->loop), 0);
}

static void a_few_of_one_turn_go_together_at_its_end(void)
{
  struct front f = { 0 };

  open_front(&f);
  write_entries(&f, 15);
  CHECK_INT(at_store(&f), 0);
  turn(&f);
  CHECK_INT(at_store(&f), 15);
  write_entries(&f, 3);
  turn(&f);
  CHECK_INT(at_store(&f), 15); /* one batch at a time */
  finish(&f, 0);
  turn(&f);
  CHECK_INT(at_store(&f), 3);
  close_front(&f);
}

static void notes_go_with_what_the_next_turn_writes(void)
{
  struct front f = { 0 };

  open_front(&f);
  write_notes(&f, 2);
  turn(&f);
  CHECK_INT(at_store(&f), 0);
  write_entries(&f, 1);
  turn(&f);
  CHECK_INT(at_store(&f), 3);
  finish(&f, 0);
  write_notes(&f, 1);
  write_entries(&f, 1);
  turn(&f);
  CHECK_INT(at_store(&f), 2); /* somebody waits: at once */
  finish(&f, 0);
  close_front(&f);
}

/* The loop does not sleep before. */
static void notes_wait_for_one_turn_only(void)
{
  struct front f = { 0 };

  open_front(&f);
  for (int i = 0; i < 2; i++) {
    write_notes(&f, 1);
    (void)uv_run(&f.loop, UV_RUN_ONCE);
    CHECK_INT(at_store(&f), 0);
    (void)uv_run(&f.loop, UV_RUN_NOWAIT);
    CHECK_INT(at_store(&f), 1);
    finish(&f, 0);
  }
  write_notes(&f, 1);
  close_front(&f); /* at once */
}

static void half_of_many_is_enough_to_begin(void)
{
  struct front f = { 0 };

  open_front(&f);
  write_entries(&f, 1);
  turn(&f);
  write_entries(&f, 40);
  finish(&f, 0);
  CHECK_INT(at_store(&f), 40);
  write_entries(&f, 10);
  finish(&f, 0);
  CHECK_INT(at_store(&f), 0); /* 10 are less than half of the 40 who are told now */
  write_entries(&f, 9);
  CHECK_INT(at_store(&f), 0);
  write_entries(&f, 21);
  CHECK_INT(at_store(&f), 20);
  finish(&f, 0);
  CHECK_INT(at_store(&f), 20); /* the other half */
  close_front(&f);
}

static void what_gathers_behind_a_failure_fails_with_it(void)
{
  struct front f = { 0 };

  open_front(&f);
  write_entries(&f, 2);
  turn(&f);
  write_entries(&f, 20);
  finish(&f, UV_ENOSPC);
  CHECK_INT(f.told, 22);
  CHECK_INT(f.status, UV_ENOSPC);
  CHECK(sip_journal_begin(f.journal, NULL) == NULL);
  close_front(&f);
}

int main(void)
{
  a_few_of_one_turn_go_together_at_its_end();
  notes_go_with_what_the_next_turn_writes();
  notes_wait_for_one_turn_only();
  half_of_many_is_enough_to_begin();
  what_gathers_behind_a_failure_fails_with_it();
  return 0;
}
