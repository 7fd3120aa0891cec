/* store_suite.c - see store_suite.h */
#include "support/store_suite.h"

#include "support/journal_world.h"
#include "support/test.h"

enum { MANY = 500 };

static const struct store_kind *kind;

static void changes(struct world *w, const long long *expected, size_t count)
{
  CHECK_INT(world_write(w), 0);
  CHECK_INT(w->answer.op_count, count);
  for (size_t i = 0; i < count; i++) {
    if (world_changes(w, i) != expected[i]) {
      SIP_TEST_FAIL("statement %zu of the entry changes %lld rows, expected %lld", i,
                    world_changes(w, i), expected[i]);
    }
  }
}

#define CHECK_CHANGES(w, ...)                                                                      \
  changes((w), (const long long[]){ __VA_ARGS__ },                                                 \
          sizeof((const long long[]){ __VA_ARGS__ }) / sizeof(long long))

/* What one statement gives. */
static void check_rows(struct world *w, const char *expected)
{
  CHECK_INT(world_write(w), 0);
  CHECK_STR(world_rows(w, 0), expected);
}

static void runs_and_records(struct world *w)
{
  world_say_run(w, 7, 1, 42, "event-1");
  world_say_record(w, 7, 1, 1);
  world_say_run(w, 8, 1, 42, "event-2"); /* the place is known */
  world_say_record(w, 7, 9, 2);          /* a stranger's epoch */
  world_say(w, SIP_STATEMENT_RUN_STATE, "iiiiit", 7LL, 9LL, 10LL, 0LL, 1005LL, "stranger");
  world_say(w, SIP_STATEMENT_RUN_STATE, "iiiiit", 7LL, 1LL, 2LL, 5000LL, 1006LL, "asleep");
  CHECK_CHANGES(w, 1, 1, 0, 0, 0, 1);
  world_say(w, SIP_STATEMENT_RUN_GET, "i", 7LL);
  check_rows(w,
             "7|1|2|5000|1000|flow|cluster|topic|3|42|event-1|request.created|-|hash|record|1006|"
             "asleep");
  world_say(w, SIP_STATEMENT_RUN_AT, "tttii", "flow", "cluster", "topic", 3LL, 42LL);
  CHECK_INT(world_write(w), 0);
  CHECK_INT(w->answer.ops[0].row_count, 1);
  world_say(w, SIP_STATEMENT_RUN_OF_EVENT, "tti", "flow", "event-1", 1000LL);
  check_rows(w, "7|2");
  world_say(w, SIP_STATEMENT_RUN_OF_EVENT, "tti", "flow", "event-1", 1001LL);
  check_rows(w, "");
  world_say(w, SIP_STATEMENT_RECORDS, "i", 7LL);
  check_rows(w, "1|1001|1|chain:drink/step:payment|{}");
  world_say(w, SIP_STATEMENT_RUNS_OPEN, "ii", 0LL, 10LL);
  CHECK_INT(world_write(w), 0);
  CHECK_INT(w->answer.ops[0].row_count, 1);
  world_say(w, SIP_STATEMENT_RUNS_OPEN, "ii", 7LL, 10LL);
  check_rows(w, "");
  world_say(w, SIP_STATEMENT_RUNS_DUE, "iii", 1LL, 4999LL, 10LL);
  check_rows(w, "");
  world_say(w, SIP_STATEMENT_RUNS_DUE, "iii", 1LL, 5000LL, 10LL);
  CHECK_INT(world_write(w), 0);
  CHECK_INT(w->answer.ops[0].row_count, 1);
  world_say(w, SIP_STATEMENT_COUNTS, "");
  check_rows(w, "2|1|1000");
  world_say(w, SIP_STATEMENT_COUNTS_OPEN, "");
  check_rows(w, "2|1|1000");
}

static void looking_around(struct world *w)
{
  world_say(w, SIP_STATEMENT_RUNS_OF_EVENT, "t", "event-1");
  check_rows(w, "7|2");
  world_say(w, SIP_STATEMENT_OPEN_BEFORE, "ii", 8LL, 10LL);
  check_rows(w, "7|1|2|5000|1000|flow|cluster|topic|3|42|event-1|request.created|-|hash|-|1006|"
                "asleep");
  world_say(w, SIP_STATEMENT_OPEN_BEFORE, "ii", 7LL, 10LL);
  check_rows(w, "");
  world_say(w, SIP_STATEMENT_ENDED_BEFORE, "ii", 8LL, 10LL);
  check_rows(w, "");
  world_say(w, SIP_STATEMENT_PAGE_END, "ii", 0LL, 10LL);
  check_rows(w, "7");
  world_say(w, SIP_STATEMENT_PAGE_END, "ii", 7LL, 10LL);
  check_rows(w, "-");
}

/* A person's word: the run is taken from whoever has it, as it was seen. */
static void seizing(struct world *w)
{
  world_say(w, SIP_STATEMENT_RUN_SEIZE, "iii", 7LL, 1LL, 5LL);
  world_say_record(w, 7, 0, 2);
  world_say(w, SIP_STATEMENT_RUN_SEIZE, "iii", 7LL, 1LL, 2LL);
  world_say_record(w, 7, 0, 2);
  world_say(w, SIP_STATEMENT_RUN_TAKE, "iii", 7LL, 0LL, 1LL);
  CHECK_CHANGES(w, 0, 0, 1, 1, 1);
}

static void scripts_waits_and_signals(struct world *w)
{
  world_say(w, SIP_STATEMENT_SCRIPT_ADD, "bib", "hash", 900LL, "files");
  world_say(w, SIP_STATEMENT_SCRIPT_ADD, "bib", "hash", 901LL, "others");
  world_say(w, SIP_STATEMENT_WAIT_ADD, "ttit", "paid", "order-1", 7LL, "scope");
  world_say(w, SIP_STATEMENT_WAIT_ADD, "ttit", "paid", "order-1", 7LL, "scope");
  world_say(w, SIP_STATEMENT_SIGNAL_ADD, "tttit", "paid", "order-1", "s1", 1007LL, "{\"a\":1}");
  world_say(w, SIP_STATEMENT_SIGNAL_ADD, "tttit", "paid", "order-1", "s1", 1008LL, "{}");
  CHECK_CHANGES(w, 1, 1, 1, 0, 1, 0);
  world_say(w, SIP_STATEMENT_SCRIPT_GET, "b", "hash");
  check_rows(w, "files");
  world_say(w, SIP_STATEMENT_SCRIPTS_USED, "");
  check_rows(w, "hash|901|1");
  world_say(w, SIP_STATEMENT_WAITS_FOR, "tt", "paid", "order-1");
  check_rows(w, "7|scope");
  world_say(w, SIP_STATEMENT_SIGNALS_FOR, "ttt", "paid", "order-1", "7/a");
  check_rows(w, "s1|1007|{\"a\":1}");
  world_say(w, SIP_STATEMENT_WAIT_DROP, "it", 7LL, "other");
  world_say(w, SIP_STATEMENT_WAIT_DROP, "it", 7LL, "scope");
  world_say(w, SIP_STATEMENT_SIGNAL_TAKE, "tttt", "paid", "order-1", "s1", "7/a");
  world_say(w, SIP_STATEMENT_SIGNAL_TAKE, "tttt", "paid", "order-1", "s1", "7/b");
  world_say(w, SIP_STATEMENT_SIGNAL_TAKE, "tttt", "paid", "order-1", "s1", "7/a");
  world_say(w, SIP_STATEMENT_SIGNAL_ADD, "tttit", "paid", "order-1", "s1", 1008LL, "{}");
  CHECK_CHANGES(w, 0, 1, 1, 0, 1, 0);
  world_say(w, SIP_STATEMENT_SIGNALS_FOR, "ttt", "paid", "order-1", "7/b");
  check_rows(w, "");
  world_say(w, SIP_STATEMENT_SIGNALS_FOR, "ttt", "paid", "order-1", "7/a");
  check_rows(w, "s1|1007|{\"a\":1}");
  world_say(w, SIP_STATEMENT_SIGNAL_ADD, "tttit", "paid", "order-2", "s2", 1009LL, "{}");
  world_say(w, SIP_STATEMENT_PURGE_SIGNALS, "i", 1009LL);
  world_say(w, SIP_STATEMENT_PURGE_SIGNALS, "i", 1010LL);
  world_say(w, SIP_STATEMENT_WAIT_ADD, "ttit", "paid", "order-3", 7LL, "scope");
  world_say(w, SIP_STATEMENT_WAITS_END, "ii", 7LL, 9LL);
  world_say(w, SIP_STATEMENT_WAITS_END, "ii", 7LL, 1LL);
  CHECK_CHANGES(w, 1, 1, 1, 1, 0, 1);
}

static void notes_of_people(struct world *w)
{
  world_say(w, SIP_STATEMENT_AUDIT_ADD, "iiittt", 7LL, 1LL, 1010LL, "ada", "retry",
            "board is back");
  world_say(w, SIP_STATEMENT_AUDIT_ADD, "iiittt", 7LL, 9LL, 1010LL, "bob", "retry", "too late");
  world_say(w, SIP_STATEMENT_META_SET, "tt", "a", "1");
  world_say(w, SIP_STATEMENT_META_SET, "tt", "a", "2");
  CHECK_CHANGES(w, 1, 0, 1, 1);
  world_say(w, SIP_STATEMENT_AUDIT, "i", 7LL);
  check_rows(w, "1010|ada|retry|board is back");
  world_say(w, SIP_STATEMENT_META_GET, "t", "a");
  check_rows(w, "2");
  world_say(w, SIP_STATEMENT_META_GET, "t", "b");
  check_rows(w, "");
}

static void purges(struct world *w)
{
  static const int of_runs[] = { SIP_STATEMENT_PURGE_RECORDS, SIP_STATEMENT_PURGE_AUDIT,
                                 SIP_STATEMENT_PURGE_RUNS };

  for (size_t i = 0; i < 3; i++) {
    world_say(w, of_runs[i], "iii", 9999LL, 0LL, 10LL); /* it is open */
  }
  world_say(w, SIP_STATEMENT_PURGE_SCRIPTS, "i", 9999LL);
  world_say(w, SIP_STATEMENT_RUN_STATE, "iiiiit", 7LL, 1LL, 10LL, 0LL, 1011LL, NULL);
  CHECK_CHANGES(w, 0, 0, 0, 0, 1);
  for (size_t i = 0; i < 3; i++) {
    world_say(w, of_runs[i], "iii", 1011LL, 0LL, 10LL); /* not that long ago */
    world_say(w, of_runs[i], "iii", 1012LL, 7LL, 10LL); /* of those behind it */
    world_say(w, of_runs[i], "iii", 1012LL, 0LL, 7LL);
  }
  world_say(w, SIP_STATEMENT_PURGE_SCRIPTS, "i", 901LL);
  world_say(w, SIP_STATEMENT_PURGE_SCRIPTS, "i", 902LL);
  CHECK_CHANGES(w, 0, 0, 2, 0, 0, 1, 0, 0, 1, 0, 1);
}

static void every_statement_says_the_same(void)
{
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  CHECK_INT(w.report.migrated, 0);
  CHECK_INT(w.report.schema, SIP_JOURNAL_SCHEMA);
  CHECK_INT(w.report.epoch, 1);
  runs_and_records(&w);
  looking_around(&w);
  seizing(&w);
  scripts_waits_and_signals(&w);
  notes_of_people(&w);
  purges(&w);
  world_close(&w);
}

static void what_is_written_is_there_after_a_reopening(void)
{
  char place[300];
  struct world w;

  (void)snprintf(place, sizeof place, "%s", kind->new_place());
  world_open(&w, kind->ops, place);
  world_say_run(&w, 7, 1, 42, "event-1");
  world_say_record(&w, 7, 1, 1);
  CHECK_INT(world_write(&w), 0);
  world_say_record(&w, 7, 1, 2); /* thought better of it */
  sip_journal_rewind(w.journal);
  w.batch = NULL;
  world_close(&w);

  world_open(&w, kind->ops, place);
  CHECK_INT(w.report.migrated, SIP_JOURNAL_SCHEMA);
  CHECK_INT(w.report.was_interrupted, 0);
  CHECK_INT(w.report.epoch, 2);
  world_say(&w, SIP_STATEMENT_RECORDS, "i", 7LL);
  check_rows(&w, "1|1001|1|chain:drink/step:payment|{}");
  world_say(&w, SIP_STATEMENT_RUNS_ORPHANED, "iii", 0LL, 2000LL, 10LL);
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(w.answer.ops[0].row_count, 1);
  world_say(&w, SIP_STATEMENT_RUN_TAKE, "iii", 7LL, 1LL, 2LL);
  world_say(&w, SIP_STATEMENT_RUN_TAKE, "iii", 7LL, 1LL, 3LL); /* somebody else was faster */
  world_say_record(&w, 7, 1, 2);                               /* under the epoch before */
  world_say_record(&w, 7, 2, 2);
  CHECK_CHANGES(&w, 1, 0, 0, 1);
  world_say(&w, SIP_STATEMENT_RUNS_ORPHANED, "iii", 0LL, 2000LL, 10LL);
  check_rows(&w, "");
  world_close(&w);
}

/* Texts come from outside: no byte of them may stop the journal, and none may change. */
static void bytes_come_back_as_they_were(void)
{
  static const struct sip_slice texts[] = {
    { "", 0 },
    { "a\0b", 3 },
    { "\xff\xfe", 2 },
    { "\xc3\xa9", 2 },
    { "\x1b"
      "61",
      3 },
    { "\xed\xa0\x80", 3 },
    { "\xf4\x90\x80\x80", 4 },
  };
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    world_say(&w, SIP_STATEMENT_META_SET, "tr", "bytes", texts[i]);
    world_say(&w, SIP_STATEMENT_META_SET, "rt", texts[i], "as a key");
    world_say(&w, SIP_STATEMENT_META_GET, "t", "bytes");
    world_say(&w, SIP_STATEMENT_META_GET, "r", texts[i]);
    CHECK_INT(world_write(&w), 0);
    CHECK_INT(w.answer.ops[2].row_count, 1);
    struct sip_slice found =
      sip_batch_slice(&w.answer, sip_batch_cell(&w.answer, &w.answer.ops[2], 0, 0));
    CHECK_INT(found.len, texts[i].len);
    CHECK(memcmp(found.data, texts[i].data, found.len) == 0);
    CHECK_STR(world_rows(&w, 3), "as a key");
  }
  world_say_run(&w, INT64_MIN, 1, INT64_MAX, "");
  world_say(&w, SIP_STATEMENT_AUDIT_ADD, "iiitt0", INT64_MIN, 1LL, INT64_MAX, "", "verb");
  world_say(&w, SIP_STATEMENT_AUDIT, "i", INT64_MIN);
  CHECK_INT(world_write(&w), 0);
  CHECK_STR(world_rows(&w, 2), "9223372036854775807||verb|-");
  world_close(&w);
}

/* That records follow each other makes none of them pass the fence. */
static void a_run_that_is_taken_among_its_records_takes_no_more(void)
{
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  world_say_run(&w, 7, 1, 42, "event-1");
  world_say_record(&w, 7, 1, 1);
  world_say_record(&w, 7, 1, 2);
  world_say_record(&w, 7, 2, 3); /* not its owner */
  world_say_record(&w, 7, 1, 3);
  world_say_record(&w, 8, 1, 1); /* there is no such run */
  world_say(&w, SIP_STATEMENT_RUN_SEIZE, "iii", 7LL, 1LL, 1LL);
  world_say_record(&w, 7, 1, 4);
  world_say_record(&w, 7, 0, 4);
  world_say_record(&w, 7, 0, 5);
  world_say_record(&w, 7, 1, 6);
  CHECK_CHANGES(&w, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 0);
  world_close(&w);
}

/* Nor that they follow each other from one transaction to the next. */
static void a_run_that_is_taken_between_its_records_takes_no_more(void)
{
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  world_say_run(&w, 7, 1, 42, "event-1");
  world_say_run(&w, 8, 1, 43, "event-2");
  world_say_record(&w, 7, 1, 1);
  CHECK_CHANGES(&w, 1, 1, 1);
  world_say_record(&w, 7, 1, 2);
  world_say_record(&w, 8, 1, 1);
  world_say_record(&w, 8, 2, 2); /* not its owner */
  CHECK_CHANGES(&w, 1, 1, 0);
  world_say(&w, SIP_STATEMENT_RUN_SEIZE, "iii", 7LL, 1LL, 1LL);
  CHECK_CHANGES(&w, 1);
  world_say_record(&w, 7, 1, 3);
  world_say_record(&w, 8, 1, 2);
  CHECK_CHANGES(&w, 0, 1);
  world_say(&w, SIP_STATEMENT_RUN_STATE, "iiiii0", 8LL, 1LL, 10LL, 0LL, 5LL);
  CHECK_CHANGES(&w, 1);
  world_say_record(&w, 8, 1, 3);
  CHECK_CHANGES(&w, 1);
  world_say(&w, SIP_STATEMENT_PURGE_RUNS, "iii", 1000LL, 0LL, 1000LL);
  CHECK_CHANGES(&w, 1);
  world_say_record(&w, 8, 1, 4); /* there is no such run any more */
  CHECK_CHANGES(&w, 0);
  world_close(&w);
}

/* However many follow each other, each of them counts for itself. */
static void many_records_are_written_one_and_all(void)
{
  enum { RECORDS = 21 };
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  world_say_run(&w, 7, 1, 42, "event-1");
  world_say_run(&w, 8, 1, 43, "event-2");
  for (long long seq = 1; seq <= RECORDS; seq++) {
    world_say_record(&w, 7, 1, seq);
    world_say_record(&w, 8, seq == RECORDS - 1 ? 2 : 1, seq); /* once it is not its owner */
  }
  CHECK_INT(world_write(&w), 0);
  for (size_t i = 0; i < 2 + (size_t)2 * RECORDS; i++) {
    CHECK_INT(world_changes(&w, i), i != 1 + (size_t)2 * (RECORDS - 1));
  }
  world_say(&w, SIP_STATEMENT_RECORDS, "i", 7LL);
  world_say(&w, SIP_STATEMENT_RECORDS, "i", 8LL);
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(w.answer.ops[0].row_count, RECORDS);
  CHECK_INT(w.answer.ops[1].row_count, RECORDS - 1);
  for (long long seq = 1; seq <= RECORDS; seq++) {
    world_say_record(&w, 7, 1, RECORDS + seq % (RECORDS - 1)); /* one is there, two are the same */
  }
  CHECK_INT(world_write(&w), SIP_ESQL);
  world_close(&w);
}

static size_t told; /* the statement that is told next: in the order of writing */

static void count_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                       const struct sip_err *err)
{
  CHECK(err == NULL && batch->ops[entry->first].statement == SIP_STATEMENT_RECORD_ADD);
  CHECK_INT(status, 0);
  CHECK_INT(entry->first, told);
  told++;
}

static void what_is_written_in_one_turn_shares_a_commit(void)
{
  static struct sip_entry entries[2][MANY];
  struct world w[2];
  long long run = 1;

  world_open(&w[0], kind->ops, kind->new_place());
  world_join(&w[1], &w[0]);
  for (size_t i = 0; i < 2; i++, run++) {
    world_say_run(&w[i], run, 1, run, "event");
    CHECK_INT(world_write(&w[i]), 0);
  }
  for (size_t i = 0; i < 2; i++) {
    for (long long n = 0; n < MANY; n++) {
      world_say_record(&w[i], (long long)i + 1, 1, n + 1);
      w[i].batch = NULL;
      sip_journal_write(w[i].journal, &entries[i][n], count_done);
    }
    sip_journal_forget(&entries[i][MANY - 1]); /* it is written all the same */
    told = 0;
    while (sip_journal_status(w[i].journal).waiting > 0) {
      (void)uv_run(&w[i].loop, UV_RUN_ONCE);
    }
    CHECK_INT(told, MANY - 1);
  }
  world_say(&w[1], SIP_STATEMENT_RECORDS, "i", 1LL);
  CHECK_INT(world_write(&w[1]), 0);
  CHECK_INT(w[1].answer.ops[0].row_count, MANY);
  CHECK_INT(sip_journal_status(w[0].journal).batches, 2);
  CHECK_INT(sip_journal_status(w[1].journal).entries, MANY + 2);
  CHECK_INT(sip_journal_status(w[1].journal).batches, 3);
  world_close(&w[1]);
  world_close(&w[0]);
}

static void a_statement_that_breaks_a_rule_stops_the_journal(void)
{
  char place[300];
  struct sip_err err = { 0 };
  struct world w;

  (void)snprintf(place, sizeof place, "%s", kind->new_place());
  world_open(&w, kind->ops, place);
  world_say_run(&w, 7, 1, 42, "event-1");
  world_say_record(&w, 7, 1, 1);
  CHECK_INT(world_write(&w), 0);
  world_say_record(&w, 7, 1, 2);
  world_say_record(&w, 7, 1, 1); /* twice */
  CHECK_INT(world_write(&w), SIP_ESQL);
  CHECK_STR(w.err.name, "JOURNAL_FAILED");
  CHECK(sip_journal_failure(w.journal) != NULL);
  CHECK(sip_journal_begin(w.journal, &err) == NULL);
  CHECK_INT(err.code, SIP_ECLOSED);
  CHECK_HAS(err.message, w.err.message);
  world_close(&w);

  world_open(&w, kind->ops, place);
  world_say(&w, SIP_STATEMENT_RECORDS, "i", 7LL); /* nothing of that entry is there */
  check_rows(&w, "1|1001|1|chain:drink/step:payment|{}");
  world_close(&w);
}

static void say_sql(struct world *w, const char *sql, long long expect)
{
  world_say(w, SIP_BATCH_SQL, "t", sql);
  world_expect(w, expect);
}

static const char *count_stock(struct world *w)
{
  world_group(w);
  say_sql(w, "SELECT name, count FROM stock ORDER BY name", -1);
  world_group_end(w);
  CHECK_INT(world_write(w), 0);
  CHECK_STR(world_group_failure(w, 0), "");
  return world_rows(w, 0);
}

static void make_stock(struct world *w)
{
  world_say_run(w, 7, 1, 7, "event");
  world_group(w);
  say_sql(w,
          "CREATE TABLE stock (name TEXT PRIMARY KEY, count INTEGER NOT NULL CHECK (count >= 0),"
          " price DOUBLE PRECISION)",
          -1);
  world_say(w, SIP_BATCH_SQL, "ttid",
            "INSERT INTO stock (name, count, price) VALUES (?, ?, ?) -- ?", "cola", 2LL, 1.5);
  world_group_end(w);
  CHECK_INT(world_write(w), 0);
  CHECK_STR(world_group_failure(w, 1), "");
  CHECK_INT(world_changes(w, 1), 0);
  CHECK_INT(world_changes(w, 2), 1);
  CHECK_STR(count_stock(w), "name|count;cola|2");
}

/* A group: take one from the stock, and say so in a record of the run. */
static void say_take(struct world *w, const char *name, long long epoch, long long seq)
{
  world_group(w);
  world_say(w, SIP_BATCH_SQL, "ti0",
            "UPDATE stock SET count = count - ?1 WHERE name = COALESCE(?2, 'cola') AND '?' <> ''",
            1LL);
  world_expect(w, 1);
  world_say(w, SIP_BATCH_SQL, "tt",
            "SELECT price, 1 > 0 AS yes, NULL AS none FROM stock"
            " WHERE name = ?",
            name);
  world_expect(w, 1);
  world_say_record(w, 7, epoch, seq);
  world_expect(w, 1);
  world_group_end(w);
}

/* Statements of a script and a record: all of them or none, while others go on beside them. */
static void statements_of_scripts_ride_along(void)
{
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  make_stock(&w);
  say_take(&w, "cola", 1, 1);
  say_take(&w, "tea", 1, 2); /* expects a row that is not there */
  world_say_record(&w, 7, 1, 9);
  say_take(&w, "cola", 5, 3); /* no longer ours */
  CHECK_INT(world_write(&w), 0);
  CHECK_STR(world_group_failure(&w, 0), "");
  CHECK_STR(world_rows(&w, 1), "price|yes|none;1.500000|1|-");
  CHECK_HAS(world_group_failure(&w, 3), "SQL_EXPECTED|journal: 1 rows expected, 0 found: SELECT");
  CHECK(w.answer.ops[4].has_failed);
  CHECK_INT(world_changes(&w, 3), 0);
  CHECK_INT(world_changes(&w, 6), 1);
  CHECK_HAS(world_group_failure(&w, 7), "JOURNAL_FENCED|");
  CHECK_STR(count_stock(&w), "name|count;cola|1");
  say_take(&w, "cola", 1, 4);
  say_take(&w, "cola", 1, 5); /* there is none left */
  CHECK_INT(world_write(&w), 0);
  CHECK_STR(world_group_failure(&w, 0), "");
  CHECK_HAS(world_group_failure(&w, 3), "SQL_CHECK|");
  world_say(&w, SIP_STATEMENT_RECORDS, "i", 7LL);
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(w.answer.ops[0].row_count, 3); /* 1, 9 and 4 */
  world_close(&w);
}

/* Each of them fails alone. */
static void statements_that_may_not_ride_along(void)
{
  static const char *const cases[][2] = {
    { "COMMIT", "SQL_REFUSED" },
    { " /* x */ -- y\n ROLLBACK", "SQL_REFUSED" },
    { "PRAGMA user_version = 7", "SQL_REFUSED" },
    { "", "SQL_REFUSED" },
    { "SELECT 1; SELECT 2", "SQL_" },
    { "SELECT nonsense FROM nowhere", "SQL_ERROR" },
    { "SELECT ?", "SQL_ERROR" },
    { "INSERT INTO stock (name, count) VALUES ('cola', 1)", "SQL_UNIQUE" },
    { "INSERT INTO stock (name) VALUES ('tea')", "SQL_NOT_NULL" },
    { "INSERT INTO late VALUES (1, 2)", "SQL_FOREIGN_KEY" },
    { "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
      " SELECT i, '"
      "0123456789012345678901234567890123456789012345678901234567890123456789"
      "' || i FROM n n1 WHERE i < 1 OR i IN (SELECT i FROM n)",
      "" },
  };
  struct world w;

  world_open(&w, kind->ops, kind->new_place());
  make_stock(&w);
  world_group(&w);
  say_sql(&w,
          "CREATE TABLE late (id INTEGER PRIMARY KEY, other INTEGER REFERENCES late (id)"
          " DEFERRABLE INITIALLY DEFERRED)",
          -1);
  world_group_end(&w);
  CHECK_INT(world_write(&w), 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    world_say(&w, SIP_STATEMENT_META_SET, "tt", "case", "said");
    world_group(&w);
    say_sql(&w, "UPDATE stock SET count = count + 1", 1);
    say_sql(&w, cases[i][0], -1);
    world_group_end(&w);
    world_say(&w, SIP_STATEMENT_META_GET, "t", "case");
    CHECK_INT(world_write(&w), 0);
    CHECK_HAS(world_group_failure(&w, 1), cases[i][1]);
    CHECK_INT(w.answer.ops[3].row_count, 1);
  }
  CHECK_STR(count_stock(&w), "name|count;cola|3"); /* only the last one held */
  world_close(&w);
}

void store_suite(const struct store_kind *of)
{
  kind = of;
  every_statement_says_the_same();
  what_is_written_is_there_after_a_reopening();
  bytes_come_back_as_they_were();
  a_run_that_is_taken_among_its_records_takes_no_more();
  a_run_that_is_taken_between_its_records_takes_no_more();
  many_records_are_written_one_and_all();
  what_is_written_in_one_turn_shares_a_commit();
  a_statement_that_breaks_a_rule_stops_the_journal();
  statements_of_scripts_ride_along();
  statements_that_may_not_ride_along();
}
