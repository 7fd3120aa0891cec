/* The journal's file on a disk that fails: whatever fails wherever, the journal says so and takes
 * nothing more, and the next opening finds all that was acknowledged and no half of anything. */
#include "sqlite/store.h"

#include "support/directory.h"
#include "support/fault_vfs.h"
#include "support/journal_world.h"
#include "support/test.h"

#include <sqlite3.h>
#include <unistd.h>

enum { ENTRIES = 6, BIG_ENTRIES = 60, BIG_BYTES = 400 * 1024 };

static const struct sip_store_ops *ops;
static char place[300];

/* What the journal at `path` holds: runs 1 to n, each whole. @return n */
static long long count_whole(const char *path)
{
  struct world w;
  long long runs = 0;

  world_open(&w, ops, path);
  for (;;) {
    world_say(&w, SIP_STATEMENT_RUN_GET, "i", runs + 1);
    world_say(&w, SIP_STATEMENT_RECORDS, "i", runs + 1);
    CHECK_INT(world_write(&w), 0);
    CHECK_INT(w.answer.ops[0].row_count, w.answer.ops[1].row_count);
    if (w.answer.ops[0].row_count == 0) {
      break;
    }
    runs++;
  }
  world_say(&w, SIP_STATEMENT_COUNTS, "");
  CHECK_INT(world_write(&w), 0);
  if (runs > 0) {
    CHECK_INT(w.answer.cells[w.answer.ops[0].row_first + 1].integer, runs);
  }
  world_close(&w);
  return runs;
}

static void check_failed(struct world *w, int status)
{
  struct sip_err err = { 0 };

  CHECK(status < 0);
  CHECK_HAS(w->err.message, place);
  CHECK(strstr(w->err.message, "disk is full") != NULL ||
        strstr(w->err.message, "disk I/O error") != NULL);
  CHECK(strstr(w->err.message, "make room") != NULL || strstr(w->err.message, "dmesg") != NULL);
  CHECK_STR(w->err.name, status == UV_ENOSPC ? "JOURNAL_FULL" : "JOURNAL_FAILED");
  CHECK(sip_journal_begin(w->journal, &err) == NULL);
  CHECK_INT(err.code, SIP_ECLOSED);
}

/* A worker that knows of no failure yet gets it, too. */
static void check_others(const struct world *w)
{
  struct world other;

  world_join(&other, w);
  world_say_run(&other, 1000, 1, 1000, "event");
  CHECK(world_write(&other) < 0);
  CHECK_STR(other.err.message, w->err.message);
  world_close(&other);
}

/* Writes entries of a run and a record until one fails. @return how many were acknowledged */
static long long write_entries(struct world *w, long long from, int count)
{
  int status = 0;

  for (long long id = from; id < from + count; id++) {
    world_say_run(w, id, w->report.epoch, id, "event");
    world_say_record(w, id, w->report.epoch, 1);
    status = world_write(w);
    if (status < 0) {
      check_failed(w, status);
      check_others(w);
      return id - 1;
    }
  }
  return from + count - 1;
}

/* One life of a journal with one fault in it. @return whether the fault came up */
static bool life_is_survived(enum fault fault, int at)
{
  struct world w;
  long long acknowledged = 0, found;
  bool happened;

  test_new_path(place, sizeof place, "journal.db");
  fault_vfs_arm(fault, at);
  if (world_try_open(&w, ops, place) < 0) {
    CHECK(fault_vfs_happened());
    CHECK_HAS(w.err.message, place);
  } else {
    acknowledged = write_entries(&w, 1, ENTRIES);
    world_close(&w);
    CHECK(fault_vfs_happened() || acknowledged == ENTRIES);
  }
  happened = fault_vfs_happened();
  fault_vfs_arm(FAULT_NONE, 0);
  found = count_whole(place);
  if (found < acknowledged || found > acknowledged + 1) {
    SIP_TEST_FAIL("fault %d at %d: %lld acknowledged, %lld found", (int)fault, at, acknowledged,
                  found);
  }
  fault_vfs_forget(place);
  return happened;
}

static int sweep(enum fault fault)
{
  int at = 1;

  while (life_is_survived(fault, at)) {
    at++;
  }
  CHECK(at > ENTRIES); /* it reached each of the commits */
  return at - 1;
}

/* Pages that differ from those before: SQLite writes no others. */
static int write_big(struct world *w, int n)
{
  static char bytes[BIG_BYTES + 1];

  memset(bytes, 'a' + n % 26, BIG_BYTES);
  world_say(w, SIP_STATEMENT_META_SET, "tt", "big", bytes);
  return world_write(w);
}

/* SQLite writes each page in two pieces; the disk gets many pages in one. */
static void the_log_is_written_in_few_pieces(void)
{
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  fault_vfs_arm(FAULT_NONE, 0);
  world_open(&w, ops, place);
  CHECK_INT(write_big(&w, 0), 0);
  fault_vfs_arm(FAULT_NONE, 0);
  CHECK_INT(write_big(&w, 1), 0);
  CHECK_INT(fault_vfs_syncs(), 1);
  CHECK(fault_vfs_writes() < BIG_BYTES / 4096 / 5);
  world_close(&w);
  fault_vfs_forget(place);
}

/* When the log is carried over into the file, that file fails. */
static void a_checkpoint_that_fails_stops_the_journal(enum fault fault, int at)
{
  struct world w;
  long long acknowledged;
  int status = 0, n = 0;

  test_new_path(place, sizeof place, "journal.db");
  fault_vfs_arm(FAULT_NONE, 0);
  world_open(&w, ops, place);
  acknowledged = write_entries(&w, 1, 1);
  fault_vfs_arm(fault, at); /* behind the log's own writes and syncs of these entries */
  while (status == 0 && n < BIG_ENTRIES) {
    status = write_big(&w, n++);
  }
  CHECK(fault_vfs_happened());
  check_failed(&w, status);
  check_others(&w);
  world_close(&w);
  CHECK_INT(count_whole(place), acknowledged);
  fault_vfs_forget(place);
}

/* In: writes and syncs until the first checkpoint, found by a run without a fault. */
static void checkpoints_fail(void)
{
  int writes = 0, syncs = 0, n = 0;
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  fault_vfs_arm(FAULT_NONE, 0);
  world_open(&w, ops, place);
  (void)write_entries(&w, 1, 1);
  fault_vfs_arm(FAULT_NONE, 0);
  for (int before = 0; syncs <= before + 1; n++) { /* two more than before: a checkpoint's too */
    CHECK(n < BIG_ENTRIES);
    before = syncs;
    writes = fault_vfs_writes();
    CHECK_INT(write_big(&w, n), 0);
    syncs = fault_vfs_syncs();
  }
  world_close(&w);
  fault_vfs_forget(place);
  writes += 2 * BIG_BYTES / 4096 + 40; /* well behind the log's writes of the last commit */
  a_checkpoint_that_fails_stops_the_journal(FAULT_SYNC, syncs);
  a_checkpoint_that_fails_stops_the_journal(FAULT_SYNC, syncs - 1);
  a_checkpoint_that_fails_stops_the_journal(FAULT_FULL, writes);
  a_checkpoint_that_fails_stops_the_journal(FAULT_WRITE, writes + 1);
  a_checkpoint_that_fails_stops_the_journal(FAULT_SHORT, writes + 2);
}

/* The power goes after each acknowledgement: nothing acknowledged is lost, whatever the disk had
 * done beyond what was synced. Without syncs that is not so: they are what it rests on. */
static void power_cuts(void)
{
  char image[300];
  long long acknowledged, lost = 0;
  struct world w;

  for (int dropped = 0; dropped <= 1; dropped++) {
    test_new_path(place, sizeof place, "journal.db");
    fault_vfs_arm(FAULT_NONE, 0);
    world_open(&w, ops, place);
    fault_vfs_drop_syncs(dropped == 1);
    for (long long n = 1; n <= ENTRIES; n++) {
      acknowledged = write_entries(&w, n, 1);
      CHECK_INT(acknowledged, n);
      for (uint64_t seed = 0; seed < 8; seed++) {
        test_new_path(image, sizeof image, "image.db");
        fault_vfs_power_cut(place, image, seed * 0x9e3779b97f4a7c15u);
        if (dropped == 0) {
          CHECK_INT(count_whole(image), n);
        } else if (seed == 0) {
          lost += n - count_whole(image);
        }
        fault_vfs_forget(image);
      }
    }
    world_close(&w);
    fault_vfs_forget(place);
  }
  CHECK_INT(lost, ENTRIES * (ENTRIES + 1) / 2); /* all of it, each time */
}

int main(void)
{
  int full, torn, written, synced;

  ops = sip_sqlite_store_operations();
  fault_vfs_install();
  full = sweep(FAULT_FULL);
  torn = sweep(FAULT_SHORT);
  written = sweep(FAULT_WRITE);
  synced = sweep(FAULT_SYNC);
  the_log_is_written_in_few_pieces();
  checkpoints_fail();
  power_cuts();
  (void)printf("ok: failed at each of %d, %d and %d writes and %d syncs\n", full, torn, written,
               synced);
  return 0;
}
