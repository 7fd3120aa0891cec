/* The journal in a SQLite file: what every store does, and files that cannot be used. */
#include "sqlite/store.h"

#include "sqlite/pages.h"
#include "support/directory.h"
#include "support/journal_world.h"
#include "support/store_suite.h"
#include "support/test.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct sip_store_ops *ops;
static char place[300];

static void refused(int code, const char *part)
{
  world_refused(ops, place, place, code, part);
}

static void a_second_one_is_refused(void)
{
  char holder[60];
  int ready[2], byte;
  struct world w;
  pid_t child;

  test_new_path(place, sizeof place, "journal.db");
  CHECK_INT(pipe(ready), 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    world_open(&w, ops, place);
    (void)write(ready[1], "x", 1); /* the reader waits for it, or for our end */
    for (;;) {
      (void)pause();
    }
  }
  CHECK_INT(read(ready[0], &byte, 1), 1);
  (void)snprintf(holder, sizeof holder, "process %ld", (long)child);
  refused(SIP_EBUSY, holder);
  CHECK_INT(kill(child, SIGKILL), 0);
  CHECK_INT(waitpid(child, NULL, 0), child);
  CHECK_INT(close(ready[0]), 0);
  CHECK_INT(close(ready[1]), 0);
  world_open(&w, ops, place); /* the lock has died with it */
  CHECK_INT(w.report.was_interrupted, 1);
  refused(SIP_EBUSY, "another process works on it");
  world_close(&w);
}

static void change(const char *vfs, const char *statement)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, reserve = SIP_PAGES_RESERVE;
  sqlite3 *db = NULL;

  CHECK_INT(sqlite3_open_v2(place, &db, flags, vfs), SQLITE_OK);
  if (vfs != NULL) {
    CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve), SQLITE_OK);
  }
  CHECK_INT(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
  CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

/* Somebody else in the file, for a moment: waited for, and no failure. */
static void another_writer_is_waited_for(void)
{
  struct sip_entry entry;
  struct world w;
  sqlite3 *db = NULL;

  test_new_path(place, sizeof place, "journal.db");
  world_open(&w, ops, place);
  CHECK_INT(sqlite3_open(place, &db), SQLITE_OK);
  CHECK_INT(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  world_say_run(&w, 1, 1, 1, "event");
  w.batch = NULL;
  sip_journal_write(w.journal, &entry, NULL);
  (void)uv_run(&w.loop, UV_RUN_NOWAIT); /* the writer has it, and waits */
  CHECK_INT(sip_journal_status(w.journal).waiting, 1);
  CHECK_INT(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
  CHECK_INT(sqlite3_close(db), SQLITE_OK);
  while (sip_journal_status(w.journal).waiting > 0) {
    (void)uv_run(&w.loop, UV_RUN_ONCE);
  }
  CHECK(sip_journal_failure(w.journal) == NULL);
  world_close(&w);
}

/* Somebody else who has taken a run meanwhile is noticed at its next record. */
static void another_writer_takes_a_run(void)
{
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  world_open(&w, ops, place);
  world_say_run(&w, 7, 1, 42, "event");
  world_say_record(&w, 7, 1, 1);
  CHECK_INT(world_write(&w), 0);
  world_say_record(&w, 7, 1, 2);
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(world_changes(&w, 0), 1);
  change(sip_pages_vfs(), "UPDATE run SET epoch = 2 WHERE id = 7");
  world_say_record(&w, 7, 1, 3);
  world_say_record(&w, 7, 2, 3);
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(world_changes(&w, 0), 0);
  CHECK_INT(world_changes(&w, 1), 1);
  world_close(&w);
}

static void write_file(const void *bytes, size_t len)
{
  FILE *file = fopen(place, "wb");

  CHECK(file != NULL && fwrite(bytes, 1, len, file) == len);
  CHECK_INT(fclose(file), 0);
}

static void versions_are_looked_at(void)
{
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  change(sip_pages_vfs(), "PRAGMA application_id = 1397313605"); /* left before it had tables */
  world_open(&w, ops, place);
  CHECK_INT(w.report.migrated, 0);
  world_close(&w);
  change(sip_pages_vfs(), "PRAGMA user_version = 99");
  refused(SIP_EDATA, "version 99");
  change(sip_pages_vfs(), "PRAGMA user_version = 1; PRAGMA application_id = 77");
  refused(SIP_EDATA, "another program");
  test_new_path(place, sizeof place, "other.db");
  change(NULL, "CREATE TABLE theirs (n)");
  refused(SIP_EDATA, "another program");
}

static void files_that_are_no_journals(void)
{
  char junk[8192];
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  memset(junk, 'x', sizeof junk);
  write_file(junk, sizeof junk);
  refused(SIP_EDATA, "damaged");
  test_new_path(place, sizeof place, "journal.db");
  write_file(junk, 0); /* empty, and never was a journal */
  world_open(&w, ops, place);
  world_close(&w);
  write_file(junk, 0);
  refused(SIP_EDATA, "is empty, and was a journal before");
  (void)snprintf(place, sizeof place, "/nonexistent/journal.db");
  refused(UV_ENOENT, "does the directory exist");
}

/* Rights mean nothing to root: as somebody else. */
static void without_rights(void (*look)(void))
{
  int status = -1;
  pid_t child = fork();

  CHECK(child >= 0);
  if (child == 0) {
    if (geteuid() == 0) {
      CHECK_INT(setgid(65534), 0);
      CHECK_INT(setuid(65534), 0);
    }
    look();
    _exit(0);
  }
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK_INT(status, 0);
}

static void file_is_read_only(void)
{
  refused(SIP_ESQL, "may this user write to it?");
}

static void directory_is_read_only(void)
{
  refused(UV_EACCES, "may this user write?");
}

static void places_without_rights(void)
{
  char lock[320];
  struct world w;

  test_new_path(place, sizeof place, "journal.db");
  world_open(&w, ops, place);
  world_close(&w);
  (void)snprintf(lock, sizeof lock, "%s.lock", place);
  CHECK_INT(chmod(lock, 0666), 0);
  CHECK_INT(chmod(place, 0444), 0);
  CHECK_INT(chmod(test_directory(), 0777), 0);
  without_rights(file_is_read_only);
  CHECK_INT(unlink(lock), 0);
  CHECK_INT(chmod(test_directory(), 0555), 0);
  without_rights(directory_is_read_only);
  CHECK_INT(chmod(test_directory(), 0777), 0);
}

static const char *new_place(void)
{
  test_new_path(place, sizeof place, "journal.db");
  return place;
}

int main(void)
{
  const struct store_kind kind = { sip_sqlite_store_operations(), new_place };

  ops = kind.ops;
  store_suite(&kind);
  a_second_one_is_refused();
  another_writer_is_waited_for();
  another_writer_takes_a_run();
  versions_are_looked_at();
  files_that_are_no_journals();
  places_without_rights();
  (void)printf("ok\n");
  return 0;
}
