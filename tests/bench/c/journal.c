/* journal.c - what five-step chains write to a journal, with nothing but SQLite.
 *
 * journal FILE CHAINS GROUP
 * Writes the records of that many chains, GROUP of them side by side, one commit for each step of a
 * group: run and first intent; each outcome with the next intent; the last outcome with the end.
 * Prints the seconds and the number of commits. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 5, INTENT = 1, OUTCOME = 2, ACTIVE = 1, DONE = 10 };

static const char *const schema =
  "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
  "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;"
  "CREATE TABLE run (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, state INTEGER NOT NULL,"
  " due INTEGER NOT NULL, at INTEGER NOT NULL, flow TEXT NOT NULL, cluster TEXT NOT NULL,"
  " topic TEXT NOT NULL, part INTEGER NOT NULL, pos INTEGER NOT NULL, event_id TEXT NOT NULL,"
  " type TEXT NOT NULL, key BLOB, script BLOB NOT NULL, record BLOB NOT NULL,"
  " changed INTEGER NOT NULL, why TEXT);"
  "CREATE UNIQUE INDEX run_place ON run (flow, cluster, topic, part, pos);"
  "CREATE INDEX run_event ON run (flow, event_id);"
  "CREATE INDEX run_open ON run (id) WHERE state < 10;"
  "CREATE TABLE record (run INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,"
  " phase INTEGER NOT NULL, scope TEXT NOT NULL, body TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID;";

static sqlite3 *db;
static sqlite3_stmt *find, *add, *keep, *end;

static void check(int rc)
{
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
    (void)fprintf(stderr, "journal: %s\n", sqlite3_errmsg(db));
    exit(1);
  }
}

static sqlite3_stmt *prepare(const char *text)
{
  sqlite3_stmt *statement = NULL;

  check(sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL));
  return statement;
}

static void run(sqlite3_stmt *statement)
{
  check(sqlite3_step(statement));
  check(sqlite3_reset(statement));
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
  check(sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC));
}

static void begin_run(sqlite3_int64 id)
{
  static const char record[300] = "{\"id\":\"an order\",\"data\":{}}";
  char event[32];

  (void)snprintf(event, sizeof event, "event-%lld", (long long)id);
  bind_text(find, 1, "bench");
  bind_text(find, 2, event);
  run(find);
  check(sqlite3_bind_int64(add, 1, id));
  check(sqlite3_bind_int64(add, 2, id)); /* the offset */
  bind_text(add, 3, event);
  check(sqlite3_bind_blob(add, 4, record, sizeof record, SQLITE_STATIC));
  run(add);
}

static void write_record(sqlite3_int64 id, int seq, int phase, int step)
{
  static const char *const bodies[] = {
    "{\"status\":\"intent\",\"key\":\"event-1234:five:reserve\",\"began_ms\":1790000000000,"
    "\"args\":\"{\\\"customerId\\\":\\\"c-1\\\",\\\"orderId\\\":\\\"o-1\\\",\\\"total\\\":1250}\"}",
    "{\"status\":\"done\",\"key\":\"event-1234:five:reserve\",\"began_ms\":1790000000000,"
    "\"args\":\"{\\\"customerId\\\":\\\"c-1\\\",\\\"orderId\\\":\\\"o-1\\\",\\\"total\\\":1250}\","
    "\"result\":\"{\\\"answer\\\":\\\"accepted\\\"}\"}",
  };
  char scope[64];

  (void)snprintf(scope, sizeof scope, "chain:five/state/steps/step-%d", step);
  check(sqlite3_bind_int64(keep, 1, id));
  check(sqlite3_bind_int(keep, 2, seq));
  check(sqlite3_bind_int(keep, 3, phase));
  bind_text(keep, 4, scope);
  bind_text(keep, 5, bodies[phase - INTENT]);
  run(keep);
}

static void write_stage(sqlite3_int64 id, int stage)
{
  if (stage == 0) {
    begin_run(id);
  } else {
    write_record(id, 2 * stage, OUTCOME, stage);
  }
  if (stage < STEPS) {
    write_record(id, 2 * stage + 1, INTENT, stage + 1);
  } else {
    check(sqlite3_bind_int64(end, 1, id));
    run(end);
  }
}

int main(int argc, char **argv)
{
  long chains = argc == 4 ? atol(argv[2]) : 0, group = argc == 4 ? atol(argv[3]) : 0, commits = 0;
  struct timespec from, to;

  if (chains < 1 || group < 1) {
    (void)fprintf(stderr, "usage: journal FILE CHAINS GROUP\n");
    return 2;
  }
  check(sqlite3_open(argv[1], &db));
  check(sqlite3_exec(db, schema, NULL, NULL, NULL));
  find = prepare("SELECT id, state FROM run WHERE flow = ?1 AND event_id = ?2 AND at >= 0");
  add = prepare("INSERT INTO run VALUES (?1, 1, 1, 0, 1790000000000, 'bench', 'cluster', 'events',"
                " 0, ?2, ?3, 'order.created', 'key', x'00', ?4, 1790000000000, NULL)"
                " ON CONFLICT DO NOTHING");
  keep = prepare("INSERT INTO record (run, seq, at, phase, scope, body) SELECT id, ?2,"
                 " 1790000000000, ?3, ?4, ?5 FROM run WHERE id = ?1 AND epoch = 1");
  end = prepare("UPDATE run SET state = 10, due = 0, changed = 1790000000000, why = NULL"
                " WHERE id = ?1 AND epoch = 1");
  (void)clock_gettime(CLOCK_MONOTONIC, &from);
  for (long first = 0; first < chains; first += group) {
    long last = first + group < chains ? first + group : chains;

    for (int stage = 0; stage <= STEPS; stage++, commits++) {
      check(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
      for (long id = first + 1; id <= last; id++) {
        write_stage(id, stage);
      }
      check(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
    }
  }
  (void)clock_gettime(CLOCK_MONOTONIC, &to);
  (void)printf("%.6f %ld\n",
               (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9,
               commits);
  return 0;
}
