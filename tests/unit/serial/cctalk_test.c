/* cctalk_test.c - the ccTalk engine and its simulator: payouts and credit, as they should go and as
 * they should not. */
#include "serial/cctalk.h"

#include "core/err.h"
#include "support/notes.h"
#include "support/spoil.h"
#include "support/test.h"
#include "support/wire.h"

enum { SECOND = 1000000, MINUTE = 60 * SECOND };

struct bench {
  struct wire *wire;
  unsigned orders; /* frames with header 167 that the engine sent */
};

static void count_orders(void *arg, int side, const uint8_t *bytes, size_t size)
{
  struct bench *bench = arg;

  if (side == WIRE_HOST && size > 3 && bytes[3] == 167) {
    bench->orders++;
  }
}

static struct spoil spoils[2];

static struct sip_party *make(const struct sip_note *settings, struct wire *wire, int side)
{
  struct sip_line *line = spoil_line(&spoils[side], wire_line(wire, side));
  struct sip_err err = { 0 };
  struct sip_party *party = side == WIRE_HOST ? sip_protocol_cctalk.engine(settings, line, &err)
                                              : sip_protocol_cctalk.simulator(settings, line, &err);

  if (party == NULL) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return party;
}

static struct sip_note settings_of(const char *check, const char *echo)
{
  struct sip_note settings = { .name = "settings" };

  CHECK(sip_note_text(&settings, "check", check));
  CHECK(sip_note_text(&settings, "echo", echo));
  return settings;
}

/* An engine and a bus, which have found each other. */
static void bench_open(struct bench *bench, uint64_t seed, const char *check, const char *echo)
{
  struct sip_note host = settings_of(check, "auto"), board = settings_of(check, echo);

  CHECK(sip_note_text(&host, "coins", "5,10,20,50,100,200"));
  *bench = (struct bench){ .wire = wire_new(seed) };
  bench->wire->tap = count_orders;
  bench->wire->arg = bench;
  wire_join(bench->wire, make(&host, bench->wire, WIRE_HOST),
            make(&board, bench->wire, WIRE_BOARD));
  wire_link(bench->wire, true);
  wire_run(bench->wire, 5 * SECOND);
}

static struct sip_note *ask(struct bench *bench, int side, const char *name)
{
  struct sip_note note = note_of(name);

  return wire_ask(bench->wire, side, &note, MINUTE);
}

static struct sip_note *ask_with(struct bench *bench, int side, const char *name, const char *field,
                                 int64_t value)
{
  struct sip_note note = note_of(name);

  CHECK(sip_note_int(&note, field, value));
  return wire_ask(bench->wire, side, &note, 2 * (int64_t)MINUTE);
}

static void order(struct bench *bench, int side, const char *name, const char *field, int64_t value)
{
  free(ask_with(bench, side, name, field, value));
}

static void fault(struct bench *bench, const char *kind, int64_t times)
{
  struct sip_note note = note_of("fault");

  CHECK(sip_note_text(&note, "kind", kind));
  CHECK(sip_note_int(&note, "times", times));
  free(wire_ask(bench->wire, WIRE_BOARD, &note, SECOND));
}

static int64_t state(struct bench *bench, const char *field)
{
  struct sip_note *note = ask(bench, WIRE_BOARD, "state");
  int64_t value = sip_note_number(note, field, -1);

  free(note);
  return value;
}

static void check_dispense(struct bench *bench, int64_t coins, const char *outcome,
                           const char *code, int64_t quantity)
{
  unsigned before = bench->orders;
  struct sip_note *result = ask_with(bench, WIRE_HOST, "dispense", "quantity", coins);

  note_says(result, "outcome", outcome);
  note_says(result, "code", code);
  CHECK_INT(sip_note_number(result, "quantity", -1), quantity);
  CHECK(bench->orders - before <= 1);
  free(result);
}

static void devices_are_found_with_and_without_echo(void)
{
  static const char *const checks[] = { "sum", "crc" };
  static const char *const echoes[] = { "yes", "no" };

  for (int i = 0; i < 4; i++) {
    struct bench bench;
    struct sip_note *note;

    bench_open(&bench, 1, checks[i / 2], echoes[i % 2]);
    note = ask(&bench, WIRE_HOST, "identify");
    note_says(note, "id", "2:12345678 3:12345679");
    note_says(note, "kind", "Coin Acceptor");
    free(note);
    note = ask(&bench, WIRE_HOST, "status");
    note_says(note, "state", "ready");
    note_says(note, "echo", echoes[i % 2]);
    free(note);
    check_dispense(&bench, 3, "done", "(nothing)", 3);
    CHECK_INT(state(&bench, "fell"), 3);
    CHECK_INT(state(&bench, "on"), 0);
    wire_free(bench.wire);
  }
}

static void payouts_that_fail_say_why(void)
{
  struct sip_note hasty = note_of("dispense"), *result;
  struct bench bench;
  unsigned orders;

  bench_open(&bench, 1, "sum", "no");
  order(&bench, WIRE_BOARD, "nak", "times", 1);
  check_dispense(&bench, 2, "failed", "REFUSED", 0);
  order(&bench, WIRE_BOARD, "refill", "coins", -98);
  check_dispense(&bench, 5, "done", "PARTIAL", 2);
  check_dispense(&bench, 5, "failed", "EMPTY", 0);
  order(&bench, WIRE_BOARD, "refill", "coins", 100);
  fault(&bench, "jam", 1);
  check_dispense(&bench, 1, "failed", "EMPTY", 0);
  check_dispense(&bench, 1, "done", "(nothing)", 1);
  CHECK_INT(state(&bench, "fell"), 3);
  orders = bench.orders;
  CHECK(sip_note_int(&hasty, "deadline_ms", 1)); /* too late before it begins */
  result = wire_ask(bench.wire, WIRE_HOST, &hasty, SECOND);
  note_says(result, "code", "TIMEOUT");
  note_says(result, "outcome", "failed");
  CHECK_INT(bench.orders, orders);
  free(result);
  order(&bench, WIRE_BOARD, "busy", "times", 2); /* asked again */
  check_dispense(&bench, 1, "done", "(nothing)", 1);
  wire_free(bench.wire);
}

static void what_contradicts_itself_is_unknown(void)
{
  struct bench bench;
  struct sip_note note = note_of("dispense");
  struct sip_note *result;

  bench_open(&bench, 1, "sum", "no");
  fault(&bench, "lie", 30);
  check_dispense(&bench, 2, "unknown", "COUNTERS", 3);
  fault(&bench, "lie", 0);
  CHECK(sip_note_int(&note, "quantity", 20));
  wire_command(bench.wire, WIRE_HOST, &note);
  wire_run(bench.wire, SECOND);
  fault(&bench, "reset", 1);
  result = wire_result(bench.wire, WIRE_HOST, note.ticket, MINUTE);
  note_says(result, "outcome", "unknown");
  note_says(result, "code", "RESET");
  CHECK_INT(sip_note_number(result, "quantity", -1), state(&bench, "fell") - 2);
  free(result);
  wire_free(bench.wire);
}

/* The answer to the order is lost, or the order is: only the counters tell. */
static void a_lost_answer_is_read_from_the_counters(void)
{
  struct bench bench;

  bench_open(&bench, 1, "sum", "no");
  fault(&bench, "drop", 0);
  for (int i = 0; i < 12; i++) { /* each answer of a payout in turn */
    struct sip_note note = note_of("dispense");
    struct sip_note *result;
    int64_t before = state(&bench, "fell");
    unsigned orders = bench.orders;

    CHECK(sip_note_int(&note, "quantity", 2));
    wire_command(bench.wire, WIRE_HOST, &note);
    wire_run(bench.wire, i * 40000);
    fault(&bench, "drop", 1);
    result = wire_result(bench.wire, WIRE_HOST, note.ticket, MINUTE);
    note_says(result, "outcome", "done");
    CHECK_INT(state(&bench, "fell") - before, 2);
    CHECK_INT(bench.orders - orders, 1);
    free(result);
    fault(&bench, "drop", 0);
  }
  wire_free(bench.wire);
}

static void an_unplugged_payout_is_unknown_and_resolved_by_reading(void)
{
  struct bench bench;
  struct sip_note note = note_of("dispense"), resolve = note_of("resolve");
  struct sip_note *counters, *result;

  bench_open(&bench, 1, "sum", "yes");
  counters = ask(&bench, WIRE_HOST, "counters");
  CHECK(sip_note_int(&note, "quantity", 5));
  wire_command(bench.wire, WIRE_HOST, &note);
  wire_run(bench.wire, SECOND);
  wire_hang_up(bench.wire, 2 * SECOND);
  result = wire_result(bench.wire, WIRE_HOST, note.ticket, MINUTE);
  note_says(result, "outcome", "unknown");
  note_says(result, "code", "LINK");
  free(result);
  wire_run(bench.wire, 10 * SECOND);
  CHECK(sip_note_int(&resolve, "quantity", 5));
  for (unsigned i = 0; i < counters->count; i++) {
    if (counters->fields[i].kind == SIP_VALUE_INT) {
      CHECK(sip_note_int(&resolve, counters->fields[i].name, counters->fields[i].number));
    }
  }
  result = wire_ask(bench.wire, WIRE_HOST, &resolve, MINUTE);
  note_says(result, "outcome", "done");
  CHECK_INT(sip_note_number(result, "quantity", -1), 5);
  CHECK_INT(bench.orders, 1);
  free(result);
  order(&bench, WIRE_BOARD, "swap", "slot", 1); /* another hopper: nothing is known of it */
  wire_link(bench.wire, false);
  wire_link(bench.wire, true);
  wire_run(bench.wire, 10 * SECOND);
  note_again(&resolve);
  result = wire_ask(bench.wire, WIRE_HOST, &resolve, MINUTE);
  note_says(result, "outcome", "unknown");
  note_says(result, "code", "OTHER_DEVICE");
  free(result);
  free(counters);
  wire_free(bench.wire);
}

static int64_t credit_until_now(struct bench *bench)
{
  struct sip_note *note;
  int64_t sum = 0;

  while ((note = wire_take(bench->wire, WIRE_HOST, "credit")) != NULL) {
    sum += sip_note_number(note, "amount_minor", 0);
    free(note);
  }
  return sum;
}

static void coins_are_credited_once(void)
{
  static const int values[] = { 5, 10, 20, 50, 100, 200 };
  struct bench bench;
  struct sip_note *note;

  bench_open(&bench, 1, "sum", "no");
  for (int i = 0; i < 300; i++) { /* the counter wraps */
    order(&bench, WIRE_BOARD, "coin", "position", 1 + i % 6);
    wire_run(bench.wire, SECOND);
    CHECK_INT(credit_until_now(&bench), values[i % 6]);
  }
  order(&bench, WIRE_BOARD, "coin", "count", 8); /* three more than the buffer holds */
  note = wire_await(bench.wire, WIRE_HOST, "lost", SECOND);
  CHECK_INT(sip_note_number(note, "events", -1), 3);
  free(note);
  wire_run(bench.wire, SECOND);
  CHECK_INT(credit_until_now(&bench), 25);
  fault(&bench, "reset", 1);
  note = wire_await(bench.wire, WIRE_HOST, "lost", 5 * (int64_t)SECOND);
  note_says(note, "code", "RESET");
  free(note);
  wire_run(bench.wire, 5 * SECOND); /* it is configured anew */
  order(&bench, WIRE_BOARD, "coin", "position", 3);
  wire_run(bench.wire, SECOND);
  CHECK_INT(credit_until_now(&bench), 20);
  order(&bench, WIRE_BOARD, "error", "error", 14);
  note = wire_await(bench.wire, WIRE_HOST, "fault", SECOND);
  note_says(note, "code", "COIN_ERROR");
  CHECK_INT(sip_note_number(note, "error", -1), 14);
  free(note);
  wire_free(bench.wire);
}

static void a_stored_counter_pays_what_came_meanwhile(void)
{
  static const struct {
    int stored, coins;
    int64_t credit;
  } cases[] = { { -1, 4, 0 }, { 0, 4, 20 }, { 2, 4, 10 }, { 4, 4, 0 }, { 100, 4, 0 } };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct bench bench = { .wire = wire_new(1) };
    struct sip_note host = settings_of("sum", "no"), board = settings_of("sum", "no");
    struct sip_note coin = note_of("coin"), *note;

    CHECK(sip_note_text(&host, "coins", "5"));
    CHECK(sip_note_int(&host, "counter", cases[i].stored));
    wire_join(bench.wire, NULL, make(&board, bench.wire, WIRE_BOARD));
    wire_link(bench.wire, true);
    wire_put(bench.wire, WIRE_HOST, "\x02\x02\x01\xE7\xFF\xFF\x16", 7);
    wire_put(bench.wire, WIRE_HOST, "\x02\x01\x01\xE4\x01\x17", 6);
    wire_run(bench.wire, SECOND);
    CHECK(sip_note_int(&coin, "count", cases[i].coins));
    free(wire_ask(bench.wire, WIRE_BOARD, &coin, SECOND));
    wire_link(bench.wire, false);
    bench.wire->ends[WIRE_HOST].party = make(&host, bench.wire, WIRE_HOST);
    wire_link(bench.wire, true);
    wire_run(bench.wire, 5 * SECOND);
    CHECK_INT(credit_until_now(&bench), cases[i].credit);
    note = wire_take(bench.wire, WIRE_HOST, "counting");
    CHECK_INT(sip_note_number(note, "counter", -1), cases[i].coins);
    free(note);
    note = wire_take(bench.wire, WIRE_HOST, "lost");
    CHECK_INT(note != NULL, cases[i].stored == 100);
    free(note);
    wire_free(bench.wire);
  }
}

static void a_swapped_acceptor_pays_nothing_for_its_past(void)
{
  struct bench bench;
  struct sip_note *note;

  bench_open(&bench, 1, "sum", "no");
  wire_forget(bench.wire, WIRE_HOST);
  wire_link(bench.wire, false);
  order(&bench, WIRE_BOARD, "swap", "slot", 0);
  wire_link(bench.wire, true);
  note = wire_await(bench.wire, WIRE_HOST, "fault", 5 * (int64_t)SECOND);
  note_says(note, "code", "SWAPPED");
  free(note);
  wire_run(bench.wire, 5 * SECOND);
  CHECK_INT(credit_until_now(&bench), 0);
  wire_free(bench.wire);
}

/* It drives the line without a pause, during a payout and before one. */
static void a_board_that_never_stops_is_survived(void)
{
  struct sip_note note = note_of("dispense");
  struct bench bench;
  struct sip_note *result;

  bench_open(&bench, 1, "sum", "no");
  CHECK(sip_note_int(&note, "quantity", 20));
  wire_command(bench.wire, WIRE_HOST, &note);
  wire_run(bench.wire, SECOND);
  fault(&bench, "forever", 200000);
  result = wire_result(bench.wire, WIRE_HOST, note.ticket, 2 * (int64_t)MINUTE);
  CHECK(!sip_note_is(result, "outcome", "failed"));
  free(result);
  wire_run(bench.wire, 10 * (int64_t)SECOND);
  CHECK_INT(bench.orders, 1);
  result = ask_with(&bench, WIRE_HOST, "dispense", "quantity", 1);
  CHECK(!sip_note_is(result, "outcome", "done") || state(&bench, "fell") == 21);
  free(result);
  CHECK(bench.orders <= 2);
  fault(&bench, "forever", 0);
  wire_run(bench.wire, 20 * (int64_t)SECOND);
  check_dispense(&bench, 1, "done", "(nothing)", 1);
  wire_free(bench.wire);
}

/* A hopper at another address answers for the one that was asked: that is no answer. */
static void an_answer_from_another_address_counts_nothing(void)
{
  struct sip_note host = settings_of("sum", "no"), note = note_of("identify");
  struct bench bench = { .wire = wire_new(1) };
  struct sip_note *result;

  wire_join(bench.wire, make(&host, bench.wire, WIRE_HOST), NULL);
  wire_link(bench.wire, true);
  for (int i = 0; i < 200; i++) { /* an ACK of device 7 to whatever is asked */
    wire_run(bench.wire, 50000);
    wire_put(bench.wire, WIRE_BOARD, "\x01\x00\x07\x00\xF8", 5);
  }
  result = wire_ask(bench.wire, WIRE_HOST, &note, SECOND);
  CHECK_INT(sip_note_number(result, "ok", -1), 0);
  free(result);
  note = note_of("dispense");
  result = wire_ask(bench.wire, WIRE_HOST, &note, SECOND);
  note_says(result, "code", "NOT_READY");
  free(result);
  wire_free(bench.wire);
}

static void check_ok(struct bench *bench, struct sip_note note, int64_t ok)
{
  struct sip_note *result = wire_ask(bench->wire, WIRE_HOST, &note, MINUTE);

  CHECK_INT(sip_note_number(result, "ok", -1), ok);
  free(result);
}

/* What a technician does: stop, switch off, choose coins, look at the hopper, reset. */
static void other_commands_are_obeyed(void)
{
  struct sip_note note = note_with("dispense", "quantity", 20);
  struct sip_note *result;
  struct bench bench;

  bench_open(&bench, 1, "sum", "no");
  wire_command(bench.wire, WIRE_HOST, &note);
  wire_run(bench.wire, SECOND);
  check_ok(&bench, note_of("stop"), 1);
  result = wire_result(bench.wire, WIRE_HOST, note.ticket, MINUTE);
  note_says(result, "outcome", "done");
  note_says(result, "code", "PARTIAL");
  CHECK_INT(sip_note_number(result, "quantity", -1), state(&bench, "fell"));
  free(result);
  check_ok(&bench, note_of("stop"), 0);
  check_ok(&bench, note_of("disable"), 1);
  order(&bench, WIRE_BOARD, "coin", "position", 1);
  check_ok(&bench, note_of("enable"), 1);
  check_ok(&bench, note_with("mask", "mask", 2), 1);
  order(&bench, WIRE_BOARD, "coin", "position", 1);
  order(&bench, WIRE_BOARD, "coin", "position", 2);
  wire_run(bench.wire, 2 * SECOND);
  CHECK_INT(credit_until_now(&bench), 10); /* the others fell through */
  check_ok(&bench, note_with("reset", "slot", 1), 1);
  result = ask_with(&bench, WIRE_HOST, "test", "slot", 1);
  CHECK_INT(sip_note_number(result, "flags", -1), 64); /* it was switched on */
  free(result);
  CHECK_INT(state(&bench, "event"), 0);
  check_dispense(&bench, 2, "done", "(nothing)", 2);
  wire_free(bench.wire);
}

static void wrong_settings_and_commands_are_refused(void)
{
  struct sip_note settings = settings_of("parity", "no"), far = settings_of("sum", "no");
  struct sip_note odd = note_of("dance"), slot = note_of("dispense"), many = note_of("dispense");
  struct sip_err err = { 0 };
  struct bench bench;

  bench_open(&bench, 1, "sum", "no");
  CHECK(sip_protocol_cctalk.engine(&settings, wire_line(bench.wire, WIRE_HOST), &err) == NULL);
  CHECK_HAS(err.message, "check");
  CHECK(sip_note_int(&far, "acceptor", 3));
  CHECK(sip_protocol_cctalk.engine(&far, wire_line(bench.wire, WIRE_HOST), &err) == NULL);
  CHECK_HAS(err.message, "address");
  CHECK_INT(wire_refused(bench.wire, WIRE_HOST, &odd), UV_EINVAL);
  CHECK(sip_note_int(&slot, "slot", 2));
  CHECK_INT(wire_refused(bench.wire, WIRE_HOST, &slot), UV_EINVAL);
  CHECK(sip_note_int(&many, "quantity", 256));
  CHECK_INT(wire_refused(bench.wire, WIRE_HOST, &many), UV_EINVAL);
  CHECK_INT(bench.orders, 0);
  wire_free(bench.wire);
}

/* Truth and what the engine said, of one payout. */
static void check_payout(struct bench *bench, const struct sip_note *result, int64_t ordered,
                         int64_t fell, unsigned orders)
{
  int64_t said = sip_note_number(result, "quantity", -1);

  CHECK(orders <= 1);
  CHECK(fell <= ordered);
  if (sip_note_is(result, "outcome", "done")) {
    CHECK_INT(said, fell);
    CHECK(fell == ordered || sip_note_is(result, "code", "PARTIAL"));
  } else if (sip_note_is(result, "outcome", "failed")) {
    CHECK_INT(fell, 0);
  } else {
    note_says(result, "outcome", "unknown");
  }
  (void)bench;
}

/* Each byte of what is said during a payout, in either direction, is another one. */
static void each_byte_may_be_wrong(int side, const char *check, const char *echo)
{
  unsigned done = 0, rounds = 0;
  uint64_t sent = 0;
  struct bench bench;

  bench_open(&bench, 1, check, echo);
  for (uint64_t at = 0; at <= sent; at++) {
    uint64_t before = spoils[side].sent;
    int64_t fell = state(&bench, "fell");
    unsigned orders = bench.orders;
    struct sip_note *result;

    if (at > 0) { /* the first time nothing is wrong */
      spoil_next(&spoils[side], at - 1, (uint8_t)(1u << at % 8));
    }
    result = ask_with(&bench, WIRE_HOST, "dispense", "quantity", 1);
    check_payout(&bench, result, 1, state(&bench, "fell") - fell, bench.orders - orders);
    done += sip_note_is(result, "outcome", "done");
    rounds++;
    sent = at == 0 ? spoils[side].sent - before : sent;
    free(result);
    order(&bench, WIRE_BOARD, "refill", "coins", 1);
  }
  CHECK(sent > 50);
  CHECK(done + 20 > rounds); /* a damaged order is not taken; all else is asked again */
  wire_free(bench.wire);
}

/* A payout that is in doubt is looked into until the hopper can be read. */
static bool settle_doubt(struct bench *bench, const struct sip_note *counters, int64_t ordered,
                         int64_t fell_before)
{
  for (int i = 0; i < 20; i++) {
    struct sip_note resolve = note_of("resolve");
    struct sip_note *result;
    bool known;

    CHECK(sip_note_int(&resolve, "quantity", ordered));
    for (unsigned j = 0; j < counters->count; j++) {
      if (counters->fields[j].kind == SIP_VALUE_INT) {
        CHECK(sip_note_int(&resolve, counters->fields[j].name, counters->fields[j].number));
      }
    }
    wire_run(bench->wire, 10 * (int64_t)SECOND);
    result = wire_ask(bench->wire, WIRE_HOST, &resolve, 2 * (int64_t)MINUTE);
    check_payout(bench, result, ordered, state(bench, "fell") - fell_before, 0);
    known = !sip_note_is(result, "outcome", "unknown");
    free(result);
    if (known) {
      return true;
    }
  }
  return false;
}

static bool read_counters(struct bench *bench, struct sip_note **counters)
{
  *counters = ask(bench, WIRE_HOST, "counters");
  if (sip_note_number(*counters, "ok", 0) != 0) {
    return true;
  }
  free(*counters);
  return false;
}

/* 1 of 100 pieces is lost, late, twice, cut, merged, wrong, behind noise, or the link goes away. */
static void a_long_conversation(const char *check, const char *echo, uint64_t seed)
{
  unsigned doubts = 0, unresolved = 0, rounds = 0;
  struct bench bench;
  static const int values[] = { 5, 10, 20, 50, 100, 200 };
  int64_t inserted = 0, credit;

  bench_open(&bench, seed, check, echo);
  order(&bench, WIRE_BOARD, "refill", "coins", 10000000);
  bench.wire->faults = WIRE_FAULTS;
  bench.wire->per_10000 = 100;
  while (bench.wire->ends[0].pieces + bench.wire->ends[1].pieces < 100000) {
    struct sip_note note = note_of("dispense"), *counters, *result;
    int64_t ordered = 1 + rounds % 4, fell = state(&bench, "fell");
    unsigned orders = bench.orders;

    order(&bench, WIRE_BOARD, "coin", "position", 1 + rounds % 6);
    inserted += values[rounds++ % 6];
    wire_run(bench.wire, 3 * (int64_t)SECOND);
    if (!read_counters(&bench, &counters)) {
      continue;
    }
    CHECK(sip_note_int(&note, "quantity", ordered));
    result = wire_ask(bench.wire, WIRE_HOST, &note, 2 * (int64_t)MINUTE);
    check_payout(&bench, result, ordered, state(&bench, "fell") - fell, bench.orders - orders);
    if (sip_note_is(result, "outcome", "unknown")) {
      doubts++;
      unresolved += !settle_doubt(&bench, counters, ordered, fell);
    }
    CHECK(bench.orders - orders <= 1);
    free(result);
    free(counters);
  }
  bench.wire->faults = 0;
  wire_run(bench.wire, 30 * (int64_t)SECOND);
  credit = credit_until_now(&bench);
  (void)printf("%s, echo %s: %u payouts, %u in doubt, %u of them for good; %llu faults, credit "
               "%lld\n",
               check, echo, rounds, doubts, unresolved, (unsigned long long)bench.wire->faulty,
               (long long)credit);
  CHECK_INT(state(&bench, "fell"), state(&bench, "total") - 10000);
  CHECK_INT(credit, inserted);
  CHECK_INT(unresolved, 0);
  CHECK(doubts > 0);
  wire_free(bench.wire);
}

int main(void)
{
  each_byte_may_be_wrong(WIRE_HOST, "sum", "no");
  each_byte_may_be_wrong(WIRE_BOARD, "sum", "no");
  each_byte_may_be_wrong(WIRE_BOARD, "crc", "yes");
  a_long_conversation("sum", "no", 1);
  a_long_conversation("sum", "yes", 2);
  a_long_conversation("crc", "yes", 3);
  devices_are_found_with_and_without_echo();
  payouts_that_fail_say_why();
  what_contradicts_itself_is_unknown();
  a_lost_answer_is_read_from_the_counters();
  an_unplugged_payout_is_unknown_and_resolved_by_reading();
  coins_are_credited_once();
  a_stored_counter_pays_what_came_meanwhile();
  a_swapped_acceptor_pays_nothing_for_its_past();
  a_board_that_never_stops_is_survived();
  an_answer_from_another_address_counts_nothing();
  other_commands_are_obeyed();
  wrong_settings_and_commands_are_refused();
  (void)printf("ok\n");
  return 0;
}
