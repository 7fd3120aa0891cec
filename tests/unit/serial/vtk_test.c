/* vtk_test.c - the engine for a Vendotek reader and its simulator: charges, once each. */
#include "serial/vtk.h"

#include "core/err.h"
#include "serial/vtk_frame.h"
#include "support/notes.h"
#include "support/spoil.h"
#include "support/test.h"
#include "support/wire.h"

enum { SECOND = 1000000, MINUTE = 60 * SECOND };

static struct spoil spoils[2];

static struct sip_party *make(const struct sip_note *settings, struct wire *wire, int side)
{
  struct sip_line *line = spoil_line(&spoils[side], wire_line(wire, side));
  struct sip_err err = { 0 };
  struct sip_party *party = side == WIRE_HOST ? sip_protocol_vtk.engine(settings, line, &err)
                                              : sip_protocol_vtk.simulator(settings, line, &err);

  if (party == NULL) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return party;
}

/* An engine and a reader whose last operation was 5, which have found each other. */
static struct wire *open_wire(uint64_t seed, const char *form)
{
  struct wire *wire = wire_new(seed);
  struct sip_note host = { .name = "settings" }, board = { .name = "settings" };

  CHECK(sip_note_text(&host, "form", form));
  CHECK(sip_note_text(&board, "form", form));
  CHECK(sip_note_int(&board, "operation", 5));
  wire->baud = 115200;
  wire_join(wire, make(&host, wire, WIRE_HOST), make(&board, wire, WIRE_BOARD));
  wire_link(wire, true);
  wire_run(wire, SECOND);
  return wire;
}

static int64_t books(struct wire *wire, const char *field)
{
  struct sip_note *note = wire_tell(wire, WIRE_BOARD, note_of("state"));
  int64_t value = sip_note_number(note, field, -1);

  free(note);
  return value;
}

static void check(struct wire *wire, struct sip_note note, const char *outcome, const char *code,
                  int64_t amount)
{
  struct sip_note *result = wire_tell(wire, WIRE_HOST, note);

  note_says(result, "outcome", outcome);
  note_says(result, "code", code);
  CHECK_INT(sip_note_number(result, "amount_minor", 0), amount);
  free(result);
}

static void check_books(struct wire *wire, int64_t charged, int64_t settled, int64_t refunded)
{
  CHECK_INT(books(wire, "charged_minor"), charged);
  CHECK_INT(books(wire, "settled_minor"), settled);
  CHECK_INT(books(wire, "refunded_minor"), refunded);
}

static void a_charge_is_settled_or_refunded(const char *form)
{
  struct wire *wire = open_wire(1, form);
  struct sip_note *note = wire_take(wire, WIRE_HOST, "identified");

  note_says(note, "id", "VENDOTEK-SIM 1.0");
  CHECK_INT(sip_note_number(note, "operation", -1), 5);
  free(note);
  check(wire, note_with("charge", "amount_minor", 25000), "done", "(nothing)", 25000);
  CHECK_INT(books(wire, "operation"), 6);
  check(wire, note_with("settle", "ok", 1), "done", "(nothing)", 25000);
  check_books(wire, 25000, 25000, 0);
  check(wire, note_with("charge", "amount_minor", 100), "done", "(nothing)", 100);
  check(wire, note_with("settle", "ok", 0), "done", "(nothing)", 0);
  check_books(wire, 25100, 25000, 100);
  check(wire, note_with("charge", "amount_minor", 200), "done", "(nothing)", 200);
  check(wire, note_of("refund"), "done", "(nothing)", 0);
  wire_order(wire, "decline", "times", 1);
  check(wire, note_with("charge", "amount_minor", 300), "failed", "DECLINED", 0);
  wire_order(wire, "limit", "amount_minor", 150); /* approved for less */
  check(wire, note_with("charge", "amount_minor", 300), "done", "(nothing)", 150);
  check(wire, note_with("settle", "ok", 1), "done", "(nothing)", 150);
  wire_order(wire, "limit", "amount_minor", 1000000);
  check(wire, note_with("deposit", "amount_minor", 700), "done", "(nothing)", 700);
  CHECK_INT(books(wire, "deposited_minor"), 700);
  CHECK_INT(books(wire, "operation"), 11);
  wire_free(wire);
}

static void what_is_lost_is_asked_again_with_its_number(void)
{
  static const char *const kinds[] = { "drop", "corrupt", "duplicate", "delay", "mute", "reset" };

  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct wire *wire = open_wire(1, "serial");

    wire_misbehave(wire, kinds[i], 1);
    check(wire, note_with("charge", "amount_minor", 25000), "done", "(nothing)", 25000);
    wire_misbehave(wire, kinds[i], 2);
    check(wire, note_with("settle", "ok", 1), "done", "(nothing)", 25000);
    check_books(wire, 25000, 25000, 0);
    CHECK_INT(books(wire, "charges"), 1);
    CHECK_INT(books(wire, "operation"), 6);
    wire_free(wire);
  }
}

static void a_hang_up_does_not_charge_twice(void)
{
  for (int at_ms = 0; at_ms < 400; at_ms += 20) {
    struct wire *wire = open_wire(1, "tcp");
    struct sip_note charge = note_with("charge", "amount_minor", 500), *result;

    wire_command(wire, WIRE_HOST, &charge);
    wire_run(wire, at_ms * 1000);
    wire_hang_up(wire, 3 * SECOND);
    result = wire_result(wire, WIRE_HOST, charge.ticket, 5 * (int64_t)MINUTE);
    note_says(result, "outcome", "done");
    free(result);
    CHECK_INT(books(wire, "charges"), 1);
    check(wire, note_with("settle", "ok", 1), "done", "(nothing)", 500);
    check_books(wire, 500, 500, 0);
    wire_free(wire);
  }
}

static void another_reader_is_not_charged(void)
{
  static const struct {
    const char *name, *field;
    int64_t value;
  } swaps[] = { { "forget", "times", 1 },     /* its number fell */
                { "swap", "operation", 900 }, /* it is far ahead */
                { "swap", "operation", 5 } }; /* the number fits, the identity does not */

  for (size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++) {
    struct wire *wire = open_wire(1, "serial");
    struct sip_note charge = note_with("charge", "amount_minor", 500), *result;

    wire_misbehave(wire, "mute", 1);
    wire_command(wire, WIRE_HOST, &charge);
    wire_run(wire, SECOND);
    wire_link(wire, false);
    wire_order(wire, swaps[i].name, swaps[i].field, swaps[i].value);
    wire_link(wire, true);
    result = wire_result(wire, WIRE_HOST, charge.ticket, 10 * (int64_t)MINUTE);
    note_says(result, "outcome", "unknown");
    note_says(result, "code", "OTHER_READER");
    free(result);
    CHECK_INT(books(wire, "requests"), 1);
    wire_free(wire);
  }
}

static void doubt_is_taken_up_again_by_number(void)
{
  struct wire *wire = open_wire(1, "serial");
  struct sip_note charge = note_with("charge", "amount_minor", 500), again = charge, next, *result;

  CHECK(sip_note_int(&charge, "deadline_ms", 90000));
  wire_misbehave(wire, "mute", 1000);
  result = wire_tell(wire, WIRE_HOST, charge);
  note_says(result, "outcome", "unknown");
  CHECK_INT(sip_note_number(result, "operation", -1), 6);
  free(result);
  next = note_with("charge", "amount_minor", 700); /* another sale has to wait */
  CHECK_INT(wire_refused(wire, WIRE_HOST, &next), SIP_EBUSY);
  wire_misbehave(wire, "mute", 0);
  wire_run(wire, MINUTE);
  check(wire, note_with("resolve", "operation", 6), "unknown", "SEEN", 0);
  note_again(&again);
  CHECK(sip_note_int(&again, "operation", 6));
  CHECK(sip_note_bool(&again, "again", true));
  check(wire, again, "done", "(nothing)", 500);
  CHECK_INT(books(wire, "charges"), 1);
  check(wire, note_with("settle", "ok", 0), "done", "(nothing)", 0);
  check_books(wire, 500, 0, 500);
  check(wire, note_with("resolve", "operation", 7), "failed", "NOT_SEEN", 0);
  check(wire, note_with("resolve", "operation", 9), "unknown", "OTHER_READER", 0);
  wire_free(wire);
}

static void what_was_settled_stays(void)
{
  struct wire *wire = open_wire(1, "serial");
  struct sip_note settle = note_with("settle", "ok", 1), other;

  check(wire, note_with("charge", "amount_minor", 500), "done", "(nothing)", 500);
  wire_misbehave(wire, "drop", 1000);
  CHECK(sip_note_int(&settle, "deadline_ms", 5000));
  check(wire, settle, "unknown", "TIMEOUT", 500);
  other = note_with("settle", "ok", 0);
  CHECK_INT(wire_refused(wire, WIRE_HOST, &other), UV_EINVAL);
  wire_misbehave(wire, "drop", 0);
  free(wire_await(wire, WIRE_HOST, "settled", 10 * (int64_t)MINUTE));
  check_books(wire, 500, 500, 0);
  check(wire, note_with("charge", "amount_minor", 100), "done", "(nothing)", 100);
  wire_misbehave(wire, "lie", 1);
  check(wire, note_with("settle", "ok", 1), "unknown", "AMOUNT", 100);
  wire_free(wire);
}

/* After a restart the caller knows the number and the amount that it stored. */
static void an_operation_is_settled_after_a_restart(void)
{
  struct wire *wire = open_wire(1, "serial");
  struct sip_note settle = note_with("settle", "operation", 6), host = { .name = "settings" };

  check(wire, note_with("charge", "amount_minor", 500), "done", "(nothing)", 500);
  wire_link(wire, false);
  wire->ends[WIRE_HOST].party->ops->free(wire->ends[WIRE_HOST].party);
  wire->ends[WIRE_HOST].party = make(&host, wire, WIRE_HOST);
  wire_link(wire, true);
  wire_run(wire, SECOND);
  CHECK(sip_note_int(&settle, "amount_minor", 500));
  check(wire, settle, "done", "(nothing)", 500);
  check_books(wire, 500, 500, 0);
  note_again(&settle);
  settle.fields[0].number = 5; /* an older one */
  check(wire, settle, "unknown", "OTHER_READER", 500);
  wire_free(wire);
}

static void silence_is_noticed(void)
{
  struct wire *wire = open_wire(1, "serial");
  struct sip_note *note;

  wire_forget(wire, WIRE_HOST);
  wire_misbehave(wire, "mute", 1000);
  note = wire_await(wire, WIRE_HOST, "fault", MINUTE); /* three keepalives of 10 s and 8 s */
  note_says(note, "code", "INACTIVE");
  free(note);
  wire_misbehave(wire, "mute", 0);
  wire_run(wire, 11 * SECOND);
  note = wire_tell(wire, WIRE_HOST, note_of("status"));
  note_says(note, "state", "idle");
  free(note);
  free(wire_tell(wire, WIRE_BOARD, note_with("start", "amount_minor", 900)));
  note = wire_await(wire, WIRE_HOST, "started", SECOND);
  CHECK_INT(sip_note_number(note, "amount_minor", -1), 900);
  free(note);
  free(wire_tell(wire, WIRE_HOST, note_of("disable")));
  wire_run(wire, SECOND);
  check(wire, note_with("charge", "amount_minor", 5), "failed", "DISABLED", 0);
  free(wire_tell(wire, WIRE_HOST, note_of("enable")));
  wire_run(wire, SECOND);
  check(wire, note_with("sale", "amount_minor", 900), "done", "(nothing)", 0);
  CHECK_INT(books(wire, "sales"), 1);
  wire_link(wire, false);
  check(wire, note_with("charge", "amount_minor", 5), "failed", "NO_LINK", 0);
  wire_free(wire);
}

static void a_request_is_aborted(void)
{
  struct wire *wire = open_wire(1, "serial");
  struct sip_note charge = note_with("charge", "amount_minor", 500), *result;

  result = wire_tell(wire, WIRE_HOST, note_of("abort"));
  note_says(result, "code", "NOTHING");
  free(result);
  wire_command(wire, WIRE_HOST, &charge);
  wire_run(wire, SECOND / 10); /* the card comes later */
  free(wire_tell(wire, WIRE_HOST, note_of("abort")));
  result = wire_result(wire, WIRE_HOST, charge.ticket, SECOND / 10);
  note_says(result, "outcome", "failed");
  note_says(result, "code", "DECLINED");
  free(result);
  CHECK_INT(books(wire, "charges"), 0);
  wire_free(wire);
}

/* CON, DAT and DSC are for readers that want our network: they get no answer, and change nothing.
 */
static void what_is_not_spoken_is_ignored(void)
{
  static const char *const NAMES[4] = { "CON", "DAT", "DSC", "XYZ" };
  struct wire *wire = open_wire(1, "serial");
  struct sip_line *reader = wire_line(wire, WIRE_BOARD);
  struct sip_note charge = note_with("charge", "amount_minor", 500), *result;

  wire_command(wire, WIRE_HOST, &charge);
  for (size_t i = 0; i < 4; i++) {
    struct sip_vtk_message message = { .proto = SIP_VTK_FROM_READER };
    uint8_t frame[64];
    size_t size;

    sip_vtk_add_text(&message, SIP_VTK_NAME, NAMES[i]);
    size = sip_vtk_write(frame, sizeof frame, &message, false);
    CHECK(size > 0);
    CHECK_INT(reader->send(reader, frame, size), 0);
    wire_run(wire, SECOND / 100);
  }
  result = wire_result(wire, WIRE_HOST, charge.ticket, MINUTE);
  note_says(result, "outcome", "done");
  free(result);
  CHECK_INT(books(wire, "charges"), 1);
  CHECK_INT(books(wire, "requests"), 1);
  wire_free(wire);
}

static void a_reader_that_never_stops_is_survived(void)
{
  struct wire *wire = open_wire(1, "serial");
  struct sip_note charge = note_with("charge", "amount_minor", 500), *result;

  wire_misbehave(wire, "forever", 300000);
  result = wire_tell(wire, WIRE_HOST, charge);
  CHECK(sip_note_is(result, "outcome", "unknown") || books(wire, "charges") == 1);
  free(result);
  wire_misbehave(wire, "forever", 0);
  wire_run(wire, MINUTE);
  CHECK(books(wire, "charges") <= 1);
  wire_free(wire);
}

/* Each byte of a charge and its end, in either direction, is another one. */
static void each_byte_may_be_wrong(int side)
{
  uint64_t sent = 0;

  for (uint64_t at = 0; at <= sent; at++) {
    struct wire *wire = open_wire(1, "serial");
    uint64_t before = spoils[side].sent;

    if (at > 0) { /* the first time nothing is wrong */
      spoil_next(&spoils[side], at - 1, (uint8_t)(1u << at % 8));
    }
    check(wire, note_with("charge", "amount_minor", 25000), "done", "(nothing)", 25000);
    check(wire, note_with("settle", "ok", 1), "done", "(nothing)", 25000);
    check_books(wire, 25000, 25000, 0);
    CHECK_INT(books(wire, "charges"), 1);
    sent = at == 0 ? spoils[side].sent - before : sent;
    wire_free(wire);
  }
  CHECK(sent >= 44); /* VRP and FIN */
}

struct sums {
  int64_t charged, settled, charges;
  unsigned rounds, declined, failed, doubts;
};

/* Brings an operation whose outcome is unknown to an end; true: it was charged. */
static bool take_up(struct wire *wire, int64_t number, int64_t amount)
{
  for (int i = 0; i < 50; i++) {
    struct sip_note again = note_with("charge", "amount_minor", amount), *result;
    bool done, failed;

    CHECK(sip_note_int(&again, "operation", number));
    CHECK(sip_note_bool(&again, "again", true));
    result = wire_tell(wire, WIRE_HOST, again);
    done = sip_note_is(result, "outcome", "done");
    failed = sip_note_is(result, "outcome", "failed");
    free(result);
    if (done || failed) {
      return done;
    }
  }
  SIP_TEST_FAIL("operation %lld stays in doubt", (long long)number);
}

static void settle(struct wire *wire, int64_t number, int64_t amount)
{
  for (int i = 0; i < 50; i++) {
    struct sip_note note = note_with("settle", "operation", number), *result;
    bool done;

    CHECK(sip_note_int(&note, "amount_minor", amount));
    result = wire_tell(wire, WIRE_HOST, note);
    done = sip_note_is(result, "outcome", "done");
    CHECK(done || sip_note_is(result, "code", "TIMEOUT"));
    free(result);
    if (done) {
      return;
    }
  }
  SIP_TEST_FAIL("operation %lld is not settled", (long long)number);
}

static void one_sale(struct wire *wire, struct sums *sums)
{
  int64_t amount = 100 + sums->rounds % 50;
  struct sip_note charge = note_with("charge", "amount_minor", amount), *result;
  int64_t number;
  bool charged;

  CHECK(sip_note_int(&charge, "deadline_ms", sums->rounds % 2 == 0 ? 30000 : 180000));
  result = wire_tell(wire, WIRE_HOST, charge);
  number = sip_note_number(result, "operation", -1);
  charged = sip_note_is(result, "outcome", "done");

  if (sip_note_is(result, "outcome", "unknown")) {
    sums->doubts++;
    charged = take_up(wire, number, amount);
  } else if (!charged) {
    sums->declined += sip_note_is(result, "code", "DECLINED");
    sums->failed += !sip_note_is(result, "code", "DECLINED");
  }
  free(result);
  if (charged) {
    int64_t delivered = sums->rounds % 7 == 0 ? 0 : amount;

    sums->charges++;
    sums->charged += amount;
    sums->settled += delivered;
    settle(wire, number, delivered);
  }
  sums->rounds++;
}

static void a_long_conversation(const char *form, unsigned faults, uint64_t seed)
{
  struct wire *wire = open_wire(seed, form);
  struct sums sums = { .charged = 0 };

  wire->faults = faults;
  wire->per_10000 = 100;
  while (wire->ends[0].pieces + wire->ends[1].pieces < 100000) {
    if (sums.rounds % 10 == 3) {
      wire_order(wire, "decline", "times", 1);
    }
    one_sale(wire, &sums);
    wire_forget(wire, WIRE_HOST);
  }
  (void)printf("%s: %u sales, %u declined, %u not sent, %u in doubt; %llu faults\n", form,
               sums.rounds, sums.declined, sums.failed, sums.doubts,
               (unsigned long long)wire->faulty);
  CHECK_INT(books(wire, "charges"), sums.charges);
  check_books(wire, sums.charged, sums.settled, sums.charged - sums.settled);
  wire_free(wire);
}

int main(void)
{
  a_charge_is_settled_or_refunded("serial");
  a_charge_is_settled_or_refunded("tcp");
  what_is_lost_is_asked_again_with_its_number();
  a_hang_up_does_not_charge_twice();
  another_reader_is_not_charged();
  doubt_is_taken_up_again_by_number();
  what_was_settled_stays();
  an_operation_is_settled_after_a_restart();
  silence_is_noticed();
  a_request_is_aborted();
  what_is_not_spoken_is_ignored();
  a_reader_that_never_stops_is_survived();
  each_byte_may_be_wrong(WIRE_HOST);
  each_byte_may_be_wrong(WIRE_BOARD);
  a_long_conversation("serial", WIRE_FAULTS, 1);
  /* TCP loses nothing, or everything. */
  a_long_conversation("tcp", WIRE_DELAY | WIRE_SPLIT | WIRE_MERGE | WIRE_HANG_UP, 2);
  (void)printf("ok\n");
  return 0;
}
