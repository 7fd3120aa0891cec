/* journal.c - what five-step chains write to a journal, with nothing but SQLite.
 *
 * journal FILE CHAINS GROUP MODEL
 * MODEL is a journal of sipeat's, of which one chain has ended. Its tables and indexes are made
 * anew in FILE, and the rows of that chain are written again for that many chains, byte by byte but
 * for what has to differ, by the journal's statements, of which each record looks at the owner of
 * its run. GROUP chains go side by side, with one commit for each step of a group: run and first
 * intent; each outcome with the next intent; the last outcome with the end. Prints the seconds,
 * those of CPU, and the number of commits. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { STEPS = 5, RECORDS = 2 * STEPS, COLUMNS = 15, ID = 1, OFFSET = 10, EVENT = 11, DONE = 10 };

static const char *const settings =
  "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
  "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000; PRAGMA foreign_keys = ON;";

static sqlite3 *db;
static sqlite3_stmt *find, *add, *keep, *end;
static sqlite3_value *run_of[COLUMNS], *body_of[RECORDS][3]; /* phase, scope, body */

static void fail(sqlite3 *of)
{
  (void)fprintf(stderr, "journal: %s\n", sqlite3_errmsg(of));
  exit(1);
}

static void check(int rc)
{
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
    fail(db);
  }
}

static sqlite3_stmt *prepare(sqlite3 *in, const char *text)
{
  sqlite3_stmt *statement = NULL;

  if (sqlite3_prepare_v3(in, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
    fail(in);
  }
  return statement;
}

static sqlite3_value *value_of(sqlite3_stmt *row, int column)
{
  sqlite3_value *value = sqlite3_value_dup(sqlite3_column_value(row, column));

  if (value == NULL) {
    (void)fputs("journal: not enough memory\n", stderr);
    exit(1);
  }
  return value;
}

/* The tables of the model, and the rows of its first chain that has ended. */
static void read_model(const char *path)
{
  sqlite3 *model = NULL;
  sqlite3_stmt *rows;
  int count = 0;

  if (sqlite3_open_v2(path, &model, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
    fail(model);
  }
  rows = prepare(model, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL");
  while (sqlite3_step(rows) == SQLITE_ROW) {
    check(sqlite3_exec(db, (const char *)sqlite3_column_text(rows, 0), NULL, NULL, NULL));
  }
  (void)sqlite3_finalize(rows);
  rows = prepare(model, "SELECT id, epoch, 1, due, at, flow, cluster, topic, part, pos, event_id,"
                        " type, key, script, record FROM run WHERE state = 10 LIMIT 1");
  if (sqlite3_step(rows) != SQLITE_ROW) {
    (void)fputs("journal: no chain has ended in the model\n", stderr);
    exit(1);
  }
  for (int i = 0; i < COLUMNS; i++) {
    run_of[i] = value_of(rows, i);
  }
  (void)sqlite3_finalize(rows);
  rows = prepare(model, "SELECT phase, scope, body FROM record WHERE run = ?1 ORDER BY seq");
  (void)sqlite3_bind_value(rows, 1, run_of[0]);
  for (; count < RECORDS && sqlite3_step(rows) == SQLITE_ROW; count++) {
    for (int i = 0; i < 3; i++) {
      body_of[count][i] = value_of(rows, i);
    }
  }
  (void)sqlite3_finalize(rows);
  (void)sqlite3_close(model);
  if (count != RECORDS) {
    (void)fprintf(stderr, "journal: the model's chain has %d records, not %d\n", count, RECORDS);
    exit(1);
  }
}

static void run(sqlite3_stmt *statement)
{
  int rc;

  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
  }
  check(rc);
  check(sqlite3_reset(statement));
}

static double cpu_s(void)
{
  struct rusage used;

  (void)getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static sqlite3_int64 now_ms(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (sqlite3_int64)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Ids as large as sipeat's. */
static sqlite3_int64 id_of(long number)
{
  return sqlite3_value_int64(run_of[ID - 1]) + number;
}

static void begin_run(long number)
{
  char event[80];
  int len = sqlite3_value_bytes(run_of[EVENT - 1]);

  /* an event's id of the same length */
  len = len < (int)sizeof event ? len : (int)sizeof event - 1;
  (void)snprintf(event, sizeof event, "%0*ld", len, number);
  check(sqlite3_bind_value(find, 1, run_of[5]));
  check(sqlite3_bind_text(find, 2, event, -1, SQLITE_STATIC));
  check(sqlite3_bind_int64(find, 3, now_ms() - 7LL * 24 * 3600 * 1000));
  run(find);
  for (int i = 0; i < COLUMNS; i++) {
    check(sqlite3_bind_value(add, i + 1, run_of[i]));
  }
  check(sqlite3_bind_int64(add, ID, id_of(number)));
  check(sqlite3_bind_int64(add, OFFSET, number));
  check(sqlite3_bind_text(add, EVENT, event, -1, SQLITE_STATIC));
  run(add);
}

static void write_record(sqlite3_int64 id, int seq)
{
  check(sqlite3_bind_int64(keep, 1, id));
  check(sqlite3_bind_value(keep, 2, run_of[1]));
  check(sqlite3_bind_int(keep, 3, seq));
  check(sqlite3_bind_int64(keep, 4, now_ms()));
  for (int i = 0; i < 3; i++) {
    check(sqlite3_bind_value(keep, 5 + i, body_of[seq - 1][i]));
  }
  run(keep);
}

static void write_stage(long number, int stage)
{
  sqlite3_int64 id = id_of(number);

  if (stage == 0) {
    begin_run(number);
  } else {
    write_record(id, 2 * stage);
  }
  if (stage < STEPS) {
    write_record(id, 2 * stage + 1);
  } else {
    check(sqlite3_bind_int64(end, 1, id));
    check(sqlite3_bind_value(end, 2, run_of[1]));
    check(sqlite3_bind_int(end, 3, DONE));
    check(sqlite3_bind_int(end, 4, 0));
    check(sqlite3_bind_int64(end, 5, now_ms()));
    run(end);
  }
}

int main(int argc, char **argv)
{
  long chains = argc == 5 ? atol(argv[2]) : 0, group = argc == 5 ? atol(argv[3]) : 0, commits = 0;
  struct timespec from, to;
  double cpu_from;

  if (chains < 1 || group < 1) {
    (void)fprintf(stderr, "usage: journal FILE CHAINS GROUP MODEL\n");
    return 2;
  }
  check(sqlite3_open(argv[1], &db));
  check(sqlite3_exec(db, settings, NULL, NULL, NULL));
  read_model(argv[4]);
  find = prepare(db, "SELECT id, state FROM run WHERE flow = ?1 AND event_id = ?2 AND at >= ?3");
  add = prepare(db, "INSERT INTO run (id, epoch, state, due, at, flow, cluster, topic, part, pos,"
                    " event_id, type, key, script, record, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
                    " ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?5) ON CONFLICT DO NOTHING");
  keep = prepare(db, "INSERT INTO record (run, seq, at, phase, scope, body) SELECT id,"
                     " CAST(?3 AS BIGINT), CAST(?4 AS BIGINT), CAST(?5 AS BIGINT),"
                     " CAST(?6 AS TEXT), CAST(?7 AS TEXT) FROM run WHERE id = ?1 AND epoch = ?2");
  end = prepare(db, "UPDATE run SET state = ?3, due = ?4, changed = ?5, why = ?6"
                    " WHERE id = ?1 AND epoch = ?2");
  cpu_from = cpu_s();
  (void)clock_gettime(CLOCK_MONOTONIC, &from);
  for (long first = 0; first < chains; first += group) {
    long last = first + group < chains ? first + group : chains;

    for (int stage = 0; stage <= STEPS; stage++, commits++) {
      check(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
      for (long number = first + 1; number <= last; number++) {
        write_stage(number, stage);
      }
      check(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
    }
  }
  (void)clock_gettime(CLOCK_MONOTONIC, &to);
  (void)printf("%.6f %.6f %ld\n",
               (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9,
               cpu_s() - cpu_from, commits);
  return 0;
}
