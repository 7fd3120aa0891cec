/* file_test.c - the outbox's file in trouble: another process, a full disk, a file that cannot be
 * written, is damaged, of another program or of another version; kill -9 between two records. */
#include "unit/outbox/world.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct world w;

static const uint64_t PLENTY = 256 << 20;

/* Opening fails with this name, and says this. */
static void check_refused(const char *path, const char *name, const char *part)
{
  struct sip_outbox_file *file = NULL;
  struct sip_err err = { 0 };

  CHECK(sip_outbox_file_open(&file, path, &err) < 0);
  CHECK_STR(err.name, name);
  CHECK_HAS(err.message, path);
  CHECK_HAS(err.message, part);
}

static void change_with_sqlite(const char *sql)
{
  sqlite3 *db = NULL;

  CHECK_INT(sqlite3_open(w.path, &db), SQLITE_OK);
  CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static void make_file(int records)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  world_put_many(&w, client, "a", 0, records);
  WORLD_UNTIL(&w, w.reported == (size_t)records);
  world_close(&w, outbox, client);
}

static void a_file_that_another_one_has_is_refused(void)
{
  struct sip_outbox *first = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox *second = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, second);
  struct sip_err err = { 0 };
  char pid[32];

  CHECK_INT(sip_outbox_open(first, &err), 0);
  CHECK_INT(sip_outbox_open(second, &err), SIP_EBUSY);
  (void)snprintf(pid, sizeof pid, "process %ld has it", (long)getpid());
  CHECK_HAS(err.message, pid);
  CHECK(world_put(&w, client, "a", "1") < 0); /* and sending says so too */
  CHECK_STR(w.last_name, "OUTBOX_LOCKED");
  sip_outbox_free(first);
  WORLD_UNTIL(&w, world_put(&w, client, "a", "1") == 0); /* once it is free */
  WORLD_UNTIL(&w, w.reported > 0 && world_status(second).put == w.reported - w.failed);
  CHECK(w.reported > w.failed);
  world_close(&w, second, client);
}

static void a_damaged_file_is_named_and_left_alone(void)
{
  struct stat before, after;
  char page[8192];
  int fd;

  make_file(200);
  fd = open(w.path, O_RDWR);
  CHECK(fd >= 0);
  memset(page, 0x5a, sizeof page);
  CHECK_INT(pwrite(fd, page, sizeof page, 12288), sizeof page); /* pages 4 and 5 */
  CHECK_INT(fstat(fd, &before), 0);
  CHECK_INT(close(fd), 0);
  check_refused(w.path, "OUTBOX_CORRUPT", "move it aside");
  CHECK_INT(stat(w.path, &after), 0);
  CHECK_INT(after.st_size, before.st_size);
  fd = open(w.path, O_RDWR | O_TRUNC);
  CHECK_INT(write(fd, "this is no database, and never was one", 38), 38);
  CHECK_INT(close(fd), 0);
  check_refused(w.path, "OUTBOX_CORRUPT", "damaged");
}

static void files_of_others_and_other_versions_are_refused(void)
{
  make_file(1);
  change_with_sqlite("PRAGMA user_version=2");
  check_refused(w.path, "OUTBOX_VERSION", "newer");
  change_with_sqlite("PRAGMA user_version=0");
  check_refused(w.path, "OUTBOX_VERSION", "version 0");
  change_with_sqlite("PRAGMA application_id=7; PRAGMA user_version=1");
  check_refused(w.path, "OUTBOX_FOREIGN", "another program");
}

static void a_place_that_cannot_be_written_is_named(void)
{
  char path[160];
  int status = 0;
  pid_t child;

  (void)snprintf(path, sizeof path, "%s/none/outbox.db", w.dir);
  check_refused(path, "ENOENT", "directory");
  make_file(1);
  CHECK_INT(chmod(w.path, 0444), 0);
  CHECK_INT(chmod(w.dir, 0777), 0);
  (void)snprintf(path, sizeof path, "%s-lock", w.path);
  CHECK_INT(chmod(path, 0666), 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) { /* as a user who may only read the file */
    if (geteuid() == 0) {
      CHECK_INT(setuid(65534), 0);
    }
    check_refused(w.path, "OUTBOX_READ_ONLY", "may this user write");
    _exit(0);
  }
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK_INT(status, 0);
}

/* Files of this process may not grow beyond this: what a full disk is. */
static void limit_files(rlim_t bytes)
{
  struct rlimit limit;

  CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static const char large[] = "0123456789";

static void put_until_the_disk_is_full(struct sip_outbox_client *client, size_t *taken)
{
  char value[4000];

  memset(value, large[0], sizeof value);
  value[sizeof value - 1] = '\0';
  while (w.failed == 0) {
    if (world_put(&w, client, "a", value) == 0) {
      (*taken)++;
    }
    if (*taken % 10 == 0) {
      WORLD_UNTIL(&w, w.reported == *taken);
    }
    (void)uv_run(&w.loop, UV_RUN_NOWAIT);
    CHECK(*taken < 5000);
  }
}

static void a_full_disk_takes_nothing_and_loses_nothing(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);
  size_t taken = 0, safe;

  CHECK_INT(sip_outbox_open(outbox, NULL), 0);
  w.asked = client;
  limit_files(1 << 20);
  put_until_the_disk_is_full(client, &taken);
  WORLD_UNTIL(&w, w.reported == taken);
  CHECK_STR(w.last_name, "OUTBOX_DISK_FULL");
  safe = taken - w.failed;
  CHECK(safe > 50);
  CHECK_INT(world_status(outbox).put, safe);
  CHECK(world_put(&w, client, "a", "more") < 0); /* at once */
  CHECK_STR(w.last_name, "OUTBOX_DISK_FULL");
  CHECK_HAS(world_status(outbox).trouble.message, "no room on the disk");
  limit_files(RLIM_INFINITY);
  WORLD_UNTIL(&w, world_status(outbox).trouble.code == 0); /* by itself */
  CHECK_INT(world_put(&w, client, "a", "more"), 0);
  w.up = true;
  (void)uv_idle_start(&w.answers, world_on_idle);
  WORLD_UNTIL(&w, world_status(outbox).queued == 0 && w.reported == taken + 1);
  CHECK_INT(w.seen_count, safe + 1);
  world_close(&w, outbox, client);
}

static void a_full_disk_is_waited_for_when_the_policy_is_to_wait(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_WAIT);
  struct sip_outbox_client *client = world_client(&w, outbox);
  char value[4000];
  size_t taken = 0;
  int rc = 0;

  memset(value, large[0], sizeof value);
  value[sizeof value - 1] = '\0';
  CHECK_INT(sip_outbox_open(outbox, NULL), 0);
  limit_files(1 << 20);
  while ((rc = world_put(&w, client, "a", value)) == 0) {
    taken++;
    (void)uv_run(&w.loop, UV_RUN_NOWAIT);
    CHECK(taken < 100000);
  }
  CHECK_INT(rc, SIP_EQUEUEFULL);
  CHECK(w.reported < taken); /* some are held */
  limit_files(RLIM_INFINITY);
  WORLD_UNTIL(&w, w.reported == taken);
  CHECK_INT(w.failed, 0);
  world_close(&w, outbox, client);
}

static void held_records_fail_at_the_end(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_WAIT);
  struct sip_outbox_client *client = world_client(&w, outbox);
  char value[4000];
  size_t taken = 0;

  memset(value, large[0], sizeof value);
  value[sizeof value - 1] = '\0';
  CHECK_INT(sip_outbox_open(outbox, NULL), 0);
  limit_files(1 << 20);
  while (world_put(&w, client, "a", value) == 0) {
    taken++;
    (void)uv_run(&w.loop, UV_RUN_NOWAIT);
  }
  world_close(&w, outbox, client);
  limit_files(RLIM_INFINITY);
  CHECK_INT(w.reported, taken);
  CHECK(w.failed > 0);
}

/* A process that puts records in and says which are safe, until it is killed. */
static void child_puts(int out)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);
  uint32_t said = 0;

  for (int i = 0;; i++) {
    world_put_many(&w, client, "a", i, 1);
    (void)uv_run(&w.loop, (size_t)i - w.reported < 1000 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    for (; said < w.reported; said++) {
      CHECK_INT(write(out, &said, sizeof said), sizeof said);
    }
  }
}

static void what_was_reported_survives_kill_9(void)
{
  struct sip_outbox *outbox;
  struct sip_outbox_client *client;
  uint32_t said = 0, count = 0;
  int pipes[2];
  pid_t child;

  CHECK_INT(pipe(pipes), 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_INT(close(pipes[0]), 0);
    CHECK_INT(uv_loop_fork(&w.loop), 0);
    child_puts(pipes[1]);
  }
  CHECK_INT(close(pipes[1]), 0);
  while (count < 500 && read(pipes[0], &said, sizeof said) == sizeof said) {
    count++;
  }
  CHECK_INT(kill(child, SIGKILL), 0);
  while (read(pipes[0], &said, sizeof said) == sizeof said) {
    count++;
  }
  CHECK_INT(close(pipes[0]), 0);
  CHECK_INT(waitpid(child, NULL, 0), child);
  CHECK(count >= 500);

  outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  client = world_client(&w, outbox);
  w.up = true;
  CHECK_INT(sip_outbox_open(outbox, NULL), 0);
  CHECK(world_status(outbox).queued >= count);
  WORLD_UNTIL(&w, world_status(outbox).queued == 0);
  for (size_t i = 0; i < w.seen_count; i++) {
    CHECK_INT(atoi(w.seen[i].value), i); /* in order, none left out */
  }
  world_close(&w, outbox, client);
}

static void what_another_process_puts_back_is_sent(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  w.up = true;
  w.refused = "1";
  world_put_many(&w, client, "a", 0, 3);
  WORLD_UNTIL(&w, world_status(outbox).refused == 1 && world_status(outbox).queued == 0);
  w.refused = NULL;
  change_with_sqlite("BEGIN; INSERT INTO queue (bytes, at_ms, timestamp_ms, topic_partition, topic,"
                     " key, headers, value) SELECT bytes, at_ms, timestamp_ms, topic_partition, "
                     "topic, key, headers, value FROM refused; DELETE FROM refused; COMMIT");
  WORLD_UNTIL(&w, w.seen_count == 3 && world_status(outbox).queued == 0);
  CHECK_STR(w.seen[2].value, "1");
  CHECK_INT(world_status(outbox).refused, 0);
  world_close(&w, outbox, client);
}

int main(int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*run)(void);
  } tests[] = {
    { "locked", a_file_that_another_one_has_is_refused },
    { "damaged", a_damaged_file_is_named_and_left_alone },
    { "others", files_of_others_and_other_versions_are_refused },
    { "place", a_place_that_cannot_be_written_is_named },
    { "disk", a_full_disk_takes_nothing_and_loses_nothing },
    { "disk_wait", a_full_disk_is_waited_for_when_the_policy_is_to_wait },
    { "held", held_records_fail_at_the_end },
    { "kill", what_was_reported_survives_kill_9 },
    { "back", what_another_process_puts_back_is_sent },
  };

  (void)signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error code then */
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    if (argc < 2 || strcmp(argv[1], tests[i].name) == 0) {
      (void)printf("%s\n", tests[i].name);
      world_start(&w);
      tests[i].run();
      world_end(&w);
    }
  }
  return 0;
}
