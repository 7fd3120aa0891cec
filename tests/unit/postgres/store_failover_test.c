/* The journal when its server restarts in the middle, answers too late or not at all, and when a
 * host was frozen: what is acknowledged is there once, and who lost the lease writes nothing. */
#include "postgres/store.h"

#include "support/journal_world.h"
#include "support/postgres.h"
#include "support/test.h"

#include <libpq-fe.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CRASHES = 4, ENTRIES = 40 };

static struct postgres server;
static const struct sip_store_ops *ops;
static char place[300];
static int acknowledged;

static int64_t ask(const char *statement)
{
  return postgres_sql(place, statement);
}

static void open_new(struct world *w)
{
  (void)snprintf(place, sizeof place, "%s", postgres_new_place(&server));
  world_open(w, ops, place);
}

static void on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                    const struct sip_err *err)
{
  (void)entry;
  (void)batch;
  if (status != 0) {
    SIP_TEST_FAIL("a write fails: %s", err->message);
  }
  acknowledged++;
}

/* A run and a note of it, which nothing would keep from being there twice. */
static void say_once(struct world *w, long long id)
{
  world_say_run(w, id, w->report.epoch, id, "event");
  world_say(w, SIP_STATEMENT_AUDIT_ADD, "iiitt0", id, w->report.epoch, 1LL, "who", "verb");
}

static void check_once(long long count)
{
  CHECK_INT(ask("SELECT count(*) FROM sipeat.run"), count);
  CHECK_INT(ask("SELECT count(*) FROM sipeat.audit"), count);
  CHECK_INT(ask("SELECT count(DISTINCT run) FROM sipeat.audit"), count);
}

static void wait_for(struct world *w, int count)
{
  while (acknowledged < count) {
    (void)uv_run(&w->loop, UV_RUN_ONCE);
  }
}

/* The server ends as in a crash while entries are on their way, in each round a little later. */
static void a_restart_in_the_middle_loses_and_repeats_nothing(void)
{
  static struct sip_entry entries[CRASHES][ENTRIES];
  struct world w;
  int interrupted = 0;

  open_new(&w);
  acknowledged = 0;
  for (int round = 0; round < CRASHES; round++) {
    for (int i = 0; i < ENTRIES; i++) {
      say_once(&w, round * ENTRIES + i + 1);
      w.batch = NULL;
      sip_journal_write(w.journal, &entries[round][i], on_done);
      if (i % 8 == 0) {
        (void)uv_run(&w.loop, UV_RUN_NOWAIT); /* so that there are several transactions */
      }
    }
    wait_for(&w, round * ENTRIES + 1);
    uv_sleep((unsigned)round * 2); /* the rest is on its way: each time a little further */
    (void)uv_run(&w.loop, UV_RUN_NOWAIT);
    interrupted += acknowledged < (round + 1) * ENTRIES;
    postgres_crash(&server);
    wait_for(&w, (round + 1) * ENTRIES);
    postgres_up(&server);
  }
  CHECK(interrupted > 0);
  check_once(CRASHES * ENTRIES);
  world_close(&w);
}

static void wait_until(const char *statement)
{
  for (int waited = 0; ask(statement) == 0; waited += 5) {
    CHECK(waited < 10000);
    uv_sleep(5); /* between two looks at the server */
  }
}

/* Commits are durable, but not answered: they wait for a standby that never comes. */
static void hold_answers(void)
{
  (void)ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  (void)ask("SELECT CASE WHEN pg_reload_conf() THEN 1 END");
  wait_until("SELECT CASE current_setting('synchronous_standby_names') WHEN 'nobody' THEN 1 END");
}

static void answer_again(void)
{
  char path[120];
  FILE *file;

  (void)snprintf(path, sizeof path, "%s/data/postgresql.auto.conf", server.directory);
  file = fopen(path, "w");
  CHECK(file != NULL);
  CHECK_INT(fclose(file), 0);
}

static void a_commit_without_an_answer_is_not_repeated(bool is_crash)
{
  struct sip_entry entry;
  struct world w;

  open_new(&w);
  acknowledged = 0;
  hold_answers();
  say_once(&w, 1);
  w.batch = NULL;
  sip_journal_write(w.journal, &entry, on_done);
  (void)uv_run(&w.loop, UV_RUN_NOWAIT);
  wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
  CHECK_INT(acknowledged, 0);
  answer_again();
  if (is_crash) {
    postgres_crash(&server);
    postgres_up(&server);
  } else { /* only the connection breaks */
    (void)ask("SELECT CASE WHEN pg_reload_conf() THEN 1 END");
    (void)ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
              " WHERE wait_event = 'SyncRep'");
  }
  wait_for(&w, 1);
  check_once(1);
  CHECK_INT(ask("SELECT max(batch) FROM sipeat.host"), 1);
  world_close(&w);
}

/* A host in a process of its own: writes when it is told to, and says how that went. */
static void be_host(int in, int out)
{
  struct world w;
  char word;
  int status;

  world_open(&w, ops, place);
  for (long long seq = 1; read(in, &word, 1) == 1; seq++) {
    if (seq == 1) {
      world_say_run(&w, 1, 1, 1, "event");
    }
    world_say_run(&w, 100 + seq, 1, 100 + seq, "new event");
    world_say_record(&w, 1, 1, seq);
    status = world_write(&w);
    if (status < 0) {
      CHECK_STR(w.err.name, "JOURNAL_FENCED");
    }
    CHECK_INT(write(out, &status, sizeof status), sizeof status);
  }
  _exit(0);
}

static int tell(int to, int from)
{
  int status;

  CHECK_INT(write(to, "w", 1), 1);
  CHECK_INT(read(from, &status, sizeof status), sizeof status);
  return status;
}

static void a_frozen_host_is_fenced(void)
{
  int to[2], from[2], status;
  struct world w;
  pid_t host;

  (void)snprintf(place, sizeof place, "%s", postgres_new_place(&server));
  CHECK_INT(pipe(to), 0);
  CHECK_INT(pipe(from), 0);
  host = fork();
  CHECK(host >= 0);
  if (host == 0) {
    (void)close(to[1]); /* so that reading ends with the test */
    be_host(to[0], from[1]);
  }
  CHECK_INT(tell(to[1], from[0]), 0);
  CHECK_INT(kill(host, SIGSTOP), 0);
  CHECK_INT(waitpid(host, &status, WUNTRACED), host);
  (void)ask("UPDATE sipeat.host SET until = 1 WHERE epoch = 1"); /* as if 15 s had gone by */
  world_open(&w, ops, place);
  CHECK_INT(w.report.epoch, 2);
  world_say(&w, SIP_STATEMENT_RUNS_ORPHANED, "iii", 1LL, 0LL, 10LL);
  world_say(&w, SIP_STATEMENT_RUN_TAKE, "iii", 1LL, 1LL, 2LL);
  world_say_record(&w, 1, 2, 2);
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(w.answer.ops[0].row_count, 1);
  CHECK_INT(world_changes(&w, 1), 1);
  CHECK_INT(world_changes(&w, 2), 1);
  CHECK_INT(kill(host, SIGCONT), 0);
  CHECK_INT(tell(to[1], from[0]), SIP_EFENCED); /* the new run, too, is not there */
  CHECK_INT(ask("SELECT count(*) FROM sipeat.run"), 2);
  CHECK_INT(ask("SELECT count(*) FROM sipeat.record"), 2);
  world_close(&w);
  CHECK_INT(kill(host, SIGKILL), 0);
  CHECK_INT(waitpid(host, &status, 0), host);
}

/* Also when nobody has taken anything. */
static void a_lease_that_is_over_is_not_renewed(void)
{
  struct world w;

  open_new(&w);
  world_say_run(&w, 1, 1, 1, "event");
  CHECK_INT(world_write(&w), 0);
  (void)ask("UPDATE sipeat.host SET until = 1 WHERE epoch = 1");
  world_say_run(&w, 2, 1, 2, "event");
  CHECK_INT(world_write(&w), SIP_EFENCED);
  CHECK_STR(w.err.name, "JOURNAL_FENCED");
  CHECK_INT(ask("SELECT count(*) FROM sipeat.run"), 1);
  world_close(&w);
}

/* Its lease is over, but its transaction is not: nobody takes its runs, and nobody waits for it. */
static void runs_of_a_host_that_writes_are_not_taken(void)
{
  struct world a, b;
  PGconn *conn;

  open_new(&a);
  world_say_run(&a, 1, 1, 1, "event");
  CHECK_INT(world_write(&a), 0);
  world_close(&a);
  world_open(&b, ops, place);
  conn = PQconnectdb(place);
  PQclear(PQexec(conn, "BEGIN; UPDATE sipeat.host SET batch = batch WHERE epoch = 1"));
  CHECK_INT(PQtransactionStatus(conn), PQTRANS_INTRANS);
  world_say(&b, SIP_STATEMENT_RUN_TAKE, "iii", 1LL, 1LL, 2LL);
  CHECK_INT(world_write(&b), 0);
  CHECK_INT(world_changes(&b, 0), 0);
  PQfinish(conn);
  wait_until("SELECT CASE count(*) WHEN 0 THEN 1 END FROM pg_stat_activity"
             " WHERE state = 'idle in transaction'");
  world_say(&b, SIP_STATEMENT_RUN_TAKE, "iii", 1LL, 1LL, 2LL);
  CHECK_INT(world_write(&b), 0);
  CHECK_INT(world_changes(&b, 0), 1);
  world_close(&b);
}

int main(void)
{
  ops = sip_postgres_store_operations();
  postgres_start(&server);
  a_restart_in_the_middle_loses_and_repeats_nothing();
  a_commit_without_an_answer_is_not_repeated(true);
  a_commit_without_an_answer_is_not_repeated(false);
  a_frozen_host_is_fenced();
  a_lease_that_is_over_is_not_renewed();
  runs_of_a_host_that_writes_are_not_taken();
  (void)printf("ok\n");
  return 0;
}
