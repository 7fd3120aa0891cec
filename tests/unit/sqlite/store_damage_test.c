/* Files of a journal that somebody or something has changed, and a writer that is killed: what is
 * found is whole, and damage is named at the start. */
#include "sqlite/store.h"

#include "support/directory.h"
#include "support/journal_world.h"
#include "support/test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENTRIES = 12, FILE_MAX = 1 << 20, KILLS = 12, FLIPS = 100 };

/* The files of a journal, as bytes. */
struct files {
  char main[FILE_MAX], wal[FILE_MAX];
  size_t main_len, wal_len;
};

static const struct sip_store_ops *ops;
static struct files whole;

static size_t read_file(const char *path, char *out)
{
  FILE *file = fopen(path, "rb");
  size_t len;

  CHECK(file != NULL);
  len = fread(out, 1, FILE_MAX, file);
  CHECK(len < FILE_MAX);
  CHECK_INT(fclose(file), 0);
  return len;
}

static void write_file(const char *path, const char *bytes, size_t len)
{
  FILE *file = fopen(path, "wb");

  CHECK(file != NULL);
  CHECK_INT(fwrite(bytes, 1, len, file), len);
  CHECK_INT(fclose(file), 0);
}

static void write_entries(struct world *w, long long from, long long count)
{
  for (long long id = from; id < from + count; id++) {
    world_say_run(w, id, w->report.epoch, id, "event");
    world_say_record(w, id, w->report.epoch, 1);
    CHECK_INT(world_write(w), 0);
  }
}

/* A journal whose log was not carried over, as a crash leaves it. */
static void make_files(void)
{
  char place[300], wal[320];
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  (void)snprintf(wal, sizeof wal, "%s-wal", place);
  world_open(&w, ops, place);
  write_entries(&w, 1, ENTRIES / 2);
  world_close(&w); /* that part is in the file itself */
  world_open(&w, ops, place);
  write_entries(&w, ENTRIES / 2 + 1, ENTRIES / 2);
  whole.main_len = read_file(place, whole.main);
  whole.wal_len = read_file(wal, whole.wal);
  world_close(&w);
}

static void put_files(char *place, size_t size, const struct files *files)
{
  char wal[320];

  test_new_path(place, size, "damaged.db");
  (void)snprintf(wal, sizeof wal, "%s-wal", place);
  write_file(place, files->main, files->main_len);
  write_file(wal, files->wal, files->wal_len);
}

/* What the open journal holds: runs 1 to n, each with its record. @return n */
static long long count_whole(struct world *w)
{
  long long runs = 0;

  for (;;) {
    world_say(w, SIP_STATEMENT_RUN_GET, "i", runs + 1);
    world_say(w, SIP_STATEMENT_RECORDS, "i", runs + 1);
    CHECK_INT(world_write(w), 0);
    CHECK_INT(w->answer.ops[0].row_count, w->answer.ops[1].row_count);
    if (w->answer.ops[0].row_count == 0) {
      return runs;
    }
    runs++;
  }
}

/* The log cut anywhere: what was complete before the cut is there, and nothing half. */
static void a_cut_log_gives_what_was_before_the_cut(void)
{
  static struct files cut;
  long long before = ENTRIES / 2, found;
  char place[300];
  struct world w;

  cut = whole;
  for (size_t len = 0; len <= whole.wal_len; len += 1373) { /* in headers, and within pages */
    cut.wal_len = len;
    put_files(place, sizeof place, &cut);
    world_open(&w, ops, place);
    found = count_whole(&w);
    CHECK(found >= before && found <= ENTRIES);
    before = found;
    world_close(&w);
  }
  cut.wal_len = whole.wal_len;
  memset(cut.wal + cut.wal_len - 2000, 0x55, 2000); /* the last page of the log is torn */
  put_files(place, sizeof place, &cut);
  world_open(&w, ops, place);
  CHECK_INT(count_whole(&w), ENTRIES - 1);
  world_close(&w);
}

static void damaged(const char *place)
{
  world_refused(ops, place, place, SIP_EDATA, "damaged");
}

static void a_torn_file_is_named(void)
{
  static struct files torn;
  char place[300];

  torn = whole;
  torn.wal_len = 0;
  torn.main_len -= 2048; /* half of the last page */
  put_files(place, sizeof place, &torn);
  damaged(place);
  torn.main_len = 4096; /* only the first */
  put_files(place, sizeof place, &torn);
  damaged(place);
}

/* One bit at a time, anywhere in the file. */
static void flipped_bits_are_named(void)
{
  static struct files flipped;
  uint64_t seed = 42;
  char place[300];

  for (int n = 0; n < FLIPS; n++) {
    struct world w;
    size_t bit;

    seed = seed * 6364136223846793005u + 1442695040888963407u;
    flipped = whole;
    flipped.wal_len = 0;
    bit = (size_t)(seed >> 33) % (flipped.main_len * 8);
    flipped.main[bit / 8] ^= (char)(1 << bit % 8);
    put_files(place, sizeof place, &flipped);
    CHECK_INT(world_try_open(&w, ops, place), SIP_EDATA);
    CHECK_STR(w.err.name, "JOURNAL_DAMAGED");
    CHECK_HAS(w.err.message, place);
  }
}

static void write_until_killed(const char *place, long long from, int out)
{
  struct world w;

  world_open(&w, ops, place);
  for (long long id = from;; id++) {
    write_entries(&w, id, 1);
    CHECK_INT(write(out, &id, sizeof id), sizeof id);
  }
}

/* kill -9 after each of some acknowledgements, in the middle of the next write. */
static void a_killed_writer_loses_nothing(void)
{
  long long acknowledged = 0, id;
  char place[300];
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  for (int n = 0; n < KILLS; n++) {
    int out[2];
    pid_t child;

    CHECK_INT(pipe(out), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      write_until_killed(place, acknowledged + 1, out[1]);
    }
    CHECK_INT(close(out[1]), 0);
    for (int wanted = n + 1; wanted > 0; wanted--) {
      CHECK_INT(read(out[0], &id, sizeof id), sizeof id);
    }
    CHECK_INT(kill(child, SIGKILL), 0);
    CHECK_INT(waitpid(child, NULL, 0), child);
    while (read(out[0], &id, sizeof id) == sizeof id) {
    }
    CHECK_INT(close(out[0]), 0);
    world_open(&w, ops, place);
    CHECK_INT(w.report.was_interrupted, 1);
    acknowledged = count_whole(&w);
    CHECK(acknowledged == id || acknowledged == id + 1);
    world_close(&w);
  }
}

int main(void)
{
  ops = sip_sqlite_store_operations();
  make_files();
  a_cut_log_gives_what_was_before_the_cut();
  a_torn_file_is_named();
  flipped_bits_are_named();
  a_killed_writer_loses_nothing();
  (void)printf("ok\n");
  return 0;
}
