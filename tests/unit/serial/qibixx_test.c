/* qibixx_test.c - the Qibixx interface: vectors, scenarios, slave and master, and what its engine
 * makes of every fault. */
#include "serial/qibixx.h"

#include "serial/qibixx_frame.h"
#include "support/test.h"
#include "support/vectors.h"
#include "support/wire.h"

enum { SECOND = 1000000, ROOM = 600 };

static void vector_holds(const struct vector *vector)
{
  uint8_t bytes[ROOM];
  char again[ROOM] = "", text[ROOM] = "";
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes), len = 0;
  struct sip_qibixx_line line;
  struct vector fields, item;
  enum sip_qibixx_fault fault = sip_qibixx_read(bytes, size, &line);

  CHECK_STR(sip_qibixx_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_QIBIXX_OK) {
    return;
  }
  CHECK(vector_field(vector, "fields", &fields));
  CHECK(sip_qibixx_is(&line, 0, vector_text(&fields, "tag", 1)));
  for (size_t i = 1; i < line.count; i++) {
    CHECK(vector_item(&fields, "args", (int)i - 1, &item));
    CHECK(sip_qibixx_is(&line, i, vector_value_text(&item, 1)));
  }
  CHECK(!vector_item(&fields, "args", (int)line.count - 1, &item));
  for (size_t i = 0; i < line.count; i++) {
    len += (size_t)snprintf(again + len, sizeof again - len, "%s%.*s", i == 0 ? "" : ",",
                            (int)line.fields[i].len, line.fields[i].data);
  }
  CHECK(len < size && memcmp(again, bytes, len) == 0 && (bytes[len] == '\n' || bytes[len] == '\r'));
  CHECK_INT(sip_qibixx_describe(bytes, size, true, text, sizeof text), size);
  CHECK_HAS(text, again);
}

static void amounts_are_exact(void)
{
  static const struct {
    const char *text;
    unsigned decimals;
    int64_t minor; /* -1: none */
  } CASES[] = {
    { "1", 2, 100 },
    { "1.00", 2, 100 },
    { "500", 0, 500 },
    { "500", 2, 50000 },
    { "1.5", 2, 150 },
    { "0.01", 2, 1 },
    { "1.005", 2, -1 },
    { "1.", 2, -1 },
    { ".5", 2, -1 },
    { "", 2, -1 },
    { "-1", 2, -1 },
    { "1,0", 2, -1 },
    { "1.0.0", 2, -1 },
    { "1e3", 2, -1 },
    { " 1", 2, -1 },
    { "999999999999", 0, 999999999999 },
    { "9999999999999", 0, -1 },
  };

  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    struct sip_slice text = { CASES[i].text, strlen(CASES[i].text) };
    int64_t minor = -1;

    CHECK_INT(sip_qibixx_amount(&text, CASES[i].decimals, &minor), CASES[i].minor >= 0);
    CHECK_INT(minor, CASES[i].minor);
  }
}

/* What is on the wire that counts. */
struct counts {
  int approvals, requests, ends, stops;
};

static void count_lines(void *arg, int side, const uint8_t *bytes, size_t size)
{
  struct counts *counts = arg;

  if (side == WIRE_HOST) {
    CHECK_INT(bytes[size - 1], '\n');
    counts->approvals += size > 7 && memcmp(bytes, "C,VEND,", 7) == 0;
    counts->requests += size > 6 && memcmp(bytes, "D,REQ,", 6) == 0 && bytes[6] != '-';
    counts->ends += size > 5 && memcmp(bytes, "D,END", 5) == 0;
    counts->stops += size == 7 && memcmp(bytes, "C,STOP\n", 7) == 0;
  }
}

static struct sip_party *engine(struct wire *wire, int64_t master)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_err err = { 0 };
  struct sip_party *party;

  (void)sip_note_int(&settings, "master", master);
  (void)sip_note_int(&settings, "slave", master == 0);
  (void)sip_note_int(&settings, "vend_ms", 20000);
  (void)sip_note_int(&settings, "decision_ms", 10000);
  party = sip_protocol_qibixx.engine(&settings, wire_line(wire, WIRE_HOST), &err);
  if (party == NULL) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return party;
}

static struct sip_party *board(struct wire *wire)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_party *party;

  (void)sip_note_int(&settings, "stock", 1000000);
  party = sip_protocol_qibixx.simulator(&settings, wire_line(wire, WIRE_BOARD), NULL);
  CHECK(party != NULL);
  return party;
}

static struct sip_note command(const char *name, uint64_t ticket)
{
  return (struct sip_note){ .name = name, .ticket = ticket };
}

static struct sip_note with_amount(const char *name, uint64_t ticket, int64_t slot, int64_t amount)
{
  struct sip_note note = command(name, ticket);

  (void)sip_note_int(&note, "slot", slot);
  (void)sip_note_int(&note, "amount_minor", amount);
  return note;
}

static void misbehave(struct wire *wire, const char *kind)
{
  struct sip_note note = command("fault", UINT64_MAX);

  (void)sip_note_text(&note, "kind", kind);
  free(wire_ask(wire, WIRE_BOARD, &note, 0));
}

static void check_outcome(struct sip_note *note, const char *outcome, const char *code)
{
  CHECK_STR(sip_note_find(note, "outcome")->text, outcome);
  CHECK_STR(sip_note_find(note, "code")->text, code);
  free(note);
}

static void play_step(struct wire *wire, const struct vector *step)
{
  struct sip_note approve = with_amount("dispense", 1, 5, 100);
  struct sip_buf *got = &wire->ends[WIRE_BOARD].got;
  uint8_t bytes[ROOM];
  size_t size = vector_bytes(step, "hex", bytes, sizeof bytes);

  if (vector_text(step, "event", 0) != NULL) {
    wire_link(wire, false);
  } else if (strcmp(vector_text(step, "dir", 0), "in") == 0) {
    wire_put(wire, WIRE_BOARD, bytes, size);
    wire_run(wire, SECOND / 10);
  } else {
    sip_buf_clear(got);
    wire_command(wire, WIRE_HOST, &approve);
    wire_run(wire, SECOND / 10);
    CHECK_INT(got->len, size);
    CHECK(memcmp(got->data, bytes, size) == 0);
  }
}

static void scenario_holds(const struct vector *scenario)
{
  struct wire *wire = wire_new(1);
  struct counts counts = { 0 };
  struct sip_note *result;
  struct vector step;

  wire->tap = count_lines;
  wire->arg = &counts;
  wire_join(wire, engine(wire, 0), NULL);
  wire_link(wire, true);
  wire_run(wire, SECOND / 10);
  for (int i = 0; vector_item(scenario, "steps", i, &step); i++) {
    play_step(wire, &step);
  }
  result = wire_result(wire, WIRE_HOST, 1, 0);
  CHECK_INT(counts.approvals, vector_int(scenario, "dispense_frames", -1));
  CHECK_STR(sip_note_find(result, "outcome")->text,
            strcmp(vector_text(scenario, "outcome", 0), "DONE") == 0 ? "done" : "unknown");
  free(result);
  wire_free(wire);
}

static struct wire *world(uint64_t seed, int64_t master)
{
  struct wire *wire = wire_new(seed);

  wire->baud = 115200;
  wire_join(wire, engine(wire, master), board(wire));
  wire_link(wire, true);
  return wire;
}

/* A customer chooses, and the machine asks; false: it cannot. */
static bool chosen(struct wire *wire, int64_t slot, int64_t amount)
{
  struct sip_note choose = with_amount("select", UINT64_MAX, slot, amount);
  struct sip_note *note = wire_ask(wire, WIRE_BOARD, &choose, 0);
  bool ok = sip_note_number(note, "ok", 0) != 0;

  free(note);
  return ok;
}

static struct sip_note *approved(struct wire *wire, uint64_t ticket, int64_t slot, int64_t amount)
{
  struct sip_note approve = with_amount("dispense", ticket, slot, amount);

  return wire_ask(wire, WIRE_HOST, &approve, 30 * (int64_t)SECOND);
}

static void a_machine_sells(void)
{
  static const struct {
    const char *fault, *outcome, *code;
  } CASES[] = {
    { NULL, "done", "DELIVERED" },   { "jam", "failed", "VEND_FAILED" },
    { "reset", "unknown", "RESET" }, { "mute", "unknown", "NOT_SEEN" },
    { NULL, "done", "DELIVERED" },
  };
  struct wire *wire = world(1, 0);
  struct sip_note *note = wire_await(wire, WIRE_HOST, "identified", SECOND);

  CHECK(sip_note_is(note, "id", "0123456789ab") && sip_note_is(note, "version", "4.0.2.0"));
  free(note);
  wire_run(wire, SECOND);
  for (uint64_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    if (CASES[i].fault != NULL) {
      misbehave(wire, CASES[i].fault);
    }
    CHECK(chosen(wire, 5, 150));
    note = wire_await(wire, WIRE_HOST, "request", SECOND);
    CHECK_INT(sip_note_number(note, "amount_minor", -1), 150);
    CHECK_INT(sip_note_number(note, "slot", -1), 5);
    free(note);
    check_outcome(approved(wire, i + 1, 5, 150), CASES[i].outcome, CASES[i].code);
    wire_run(wire, SECOND);
  }
  CHECK_INT(wire_state(wire, "orders"), 5);
  wire_free(wire);
}

static void what_was_not_asked_for_is_not_approved(void)
{
  struct wire *wire = world(1, 0);
  struct counts counts = { 0 };
  struct sip_note deny = command("deny", 9), *note;

  wire->tap = count_lines;
  wire->arg = &counts;
  wire_run(wire, SECOND);
  check_outcome(approved(wire, 1, 5, 150), "failed", "NO_REQUEST");
  CHECK(chosen(wire, 5, 150));
  free(wire_await(wire, WIRE_HOST, "request", SECOND));
  check_outcome(approved(wire, 2, 5, 140), "failed", "MISMATCH");
  check_outcome(approved(wire, 3, 6, 150), "failed", "MISMATCH");
  note = wire_ask(wire, WIRE_HOST, &deny, SECOND);
  CHECK_INT(sip_note_number(note, "ok", -1), 1);
  free(note);
  check_outcome(approved(wire, 4, 5, 150), "failed", "NO_REQUEST");
  CHECK_INT(counts.approvals, 0);
  CHECK_INT(counts.stops, 1);
  wire_run(wire, SECOND);
  CHECK(chosen(wire, 5, 150));
  wire_run(wire, 11 * (int64_t)SECOND); /* nobody decides */
  CHECK_INT(counts.stops, 2);
  check_outcome(approved(wire, 5, 5, 150), "failed", "NO_REQUEST");
  wire_free(wire);
}

static void the_end_of_a_long_line_is_no_line(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note approve = with_amount("dispense", 1, 5, 100);
  char line[ROOM];

  wire_join(wire, engine(wire, 0), NULL);
  wire_link(wire, true);
  wire_put(wire, WIRE_BOARD, "c,STATUS,VEND,1.00,5\n", 21);
  wire_run(wire, SECOND);
  wire_command(wire, WIRE_HOST, &approve);
  memset(line, 'x', sizeof line);
  for (size_t pad = 240; pad < 300; pad++) {
    memcpy(line + pad, "c,VEND,SUCCESS\n", 15);
    wire_put(wire, WIRE_BOARD, line, pad + 15);
    wire_run(wire, SECOND / 10);
    CHECK(wire_take(wire, WIRE_HOST, "result") == NULL);
  }
  wire_put(wire, WIRE_BOARD, "c,VEND,SUCC", 11); /* a line that was cut, then the next one */
  wire_put(wire, WIRE_BOARD, "r,ACK\n", 6);
  wire_run(wire, SECOND / 10);
  CHECK(wire_take(wire, WIRE_HOST, "result") == NULL);
  wire_put(wire, WIRE_BOARD, "c,VEND,SUCCESS\r\n", 16);
  check_outcome(wire_result(wire, WIRE_HOST, 1, SECOND), "done", "DELIVERED");
  wire_free(wire);
}

static void put(struct wire *wire, const char *line)
{
  wire_put(wire, WIRE_BOARD, line, strlen(line));
  wire_run(wire, SECOND / 10);
}

static void a_request_that_comes_again_is_one(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note approve = with_amount("dispense", 1, 5, 100);
  struct counts counts = { 0 };

  wire->tap = count_lines;
  wire->arg = &counts;
  wire_join(wire, engine(wire, 0), NULL);
  wire_link(wire, true);
  put(wire, "c,STATUS,VEND,1.00,5\n");
  wire_command(wire, WIRE_HOST, &approve);
  free(wire_take(wire, WIRE_HOST, "request"));
  put(wire, "c,STATUS,VEND,1.00,5\n");
  CHECK(wire_take(wire, WIRE_HOST, "request") == NULL);
  approve.ticket = 2;
  check_outcome(wire_ask(wire, WIRE_HOST, &approve, 0), "failed", "BUSY");
  put(wire, "c,VEND,SUCCESS\n");
  check_outcome(wire_result(wire, WIRE_HOST, 1, 0), "done", "DELIVERED");
  CHECK_INT(counts.approvals, 1);
  wire_free(wire);
}

/* An answer that comes after the state was asked for may be to either. */
static void a_late_end_is_unknown(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note charge = with_amount("charge", 1, 5, 100), settle = command("settle", 2);
  struct counts counts = { 0 };

  wire->tap = count_lines;
  wire->arg = &counts;
  wire_join(wire, engine(wire, 2), NULL);
  wire_link(wire, true);
  put(wire, "v,4.0.2.0,0123456789ab\n");
  put(wire, "d,STATUS,IDLE\n");
  wire_command(wire, WIRE_HOST, &charge);
  put(wire, "d,STATUS,VEND\n");
  put(wire, "d,STATUS,RESULT,1\n"); /* cut: no amount, no approval */
  CHECK(wire_take(wire, WIRE_HOST, "result") == NULL);
  put(wire, "d,STATUS,RESULT,1,1.00\n");
  check_outcome(wire_result(wire, WIRE_HOST, 1, 0), "done", "APPROVED");
  (void)sip_note_int(&settle, "ok", 1);
  wire_command(wire, WIRE_HOST, &settle);
  wire_run(wire, 3 * (int64_t)SECOND / 2);
  put(wire, "d,STATUS,IDLE\n");
  CHECK(wire_take(wire, WIRE_HOST, "result") == NULL);
  put(wire, "d,STATUS,IDLE,#,2,1978,1,2,60,0,2\n");
  check_outcome(wire_result(wire, WIRE_HOST, 2, 0), "unknown", "COMMIT");
  CHECK_INT(counts.ends, 1);
  wire_free(wire);
}

static struct sip_note *charged(struct wire *wire, uint64_t ticket, int64_t amount)
{
  struct sip_note charge = with_amount("charge", ticket, 5, amount);

  return wire_ask(wire, WIRE_HOST, &charge, 60 * (int64_t)SECOND);
}

static struct sip_note *settled(struct wire *wire, uint64_t ticket, bool ok)
{
  struct sip_note settle = command("settle", ticket);

  (void)sip_note_bool(&settle, "ok", ok);
  return wire_ask(wire, WIRE_HOST, &settle, 60 * (int64_t)SECOND);
}

static void a_reader_pays(void)
{
  struct wire *wire = world(1, 2);
  struct counts counts = { 0 };
  struct sip_note card = command("card", UINT64_MAX), cancel = command("cancel", 50), *note;

  wire->tap = count_lines;
  wire->arg = &counts;
  check_outcome(charged(wire, 1, 150), "failed", "NOT_READY");
  wire_run(wire, 2 * (int64_t)SECOND);
  check_outcome(settled(wire, 2, true), "failed", "NOT_APPROVED");
  note = charged(wire, 3, 150);
  CHECK_INT(sip_note_number(note, "amount_minor", -1), 150);
  check_outcome(note, "done", "APPROVED");
  check_outcome(charged(wire, 4, 150), "failed", "NOT_READY");
  check_outcome(settled(wire, 5, true), "done", "SETTLED");
  check_outcome(charged(wire, 6, 200), "done", "APPROVED");
  check_outcome(settled(wire, 7, false), "done", "SETTLED");
  check_outcome(charged(wire, 8, 1001), "failed", "DENIED");
  CHECK_INT(wire_state(wire, "committed"), 1);
  CHECK_INT(wire_state(wire, "reverted"), 1);
  CHECK_INT(wire_state(wire, "charged_minor"), 150);
  (void)sip_note_int(&card, "amount_minor", 5000);
  free(wire_ask(wire, WIRE_BOARD, &card, 0));
  note = wire_await(wire, WIRE_HOST, "credit", SECOND);
  CHECK_INT(sip_note_number(note, "amount_minor", -1), 5000);
  free(note);
  card = with_amount("charge", 9, 5, 300);
  wire_command(wire, WIRE_HOST, &card);
  wire_run(wire, SECOND / 10);
  free(wire_ask(wire, WIRE_HOST, &cancel, SECOND));
  check_outcome(wire_result(wire, WIRE_HOST, 9, SECOND), "failed", "CANCELLED");
  check_outcome(charged(wire, 10, 300), "done", "APPROVED");
  misbehave(wire, "mute");
  check_outcome(settled(wire, 11, true), "unknown", "COMMIT");
  CHECK_INT(wire_state(wire, "committed"), 2);
  CHECK_INT(counts.ends, 3);
  CHECK_INT(counts.requests, 5);
  wire_free(wire);
}

static void an_unplug_leaves_a_charge_in_doubt(void)
{
  struct wire *wire = world(1, 2);
  struct sip_note charge = with_amount("charge", 1, 5, 100);

  wire_run(wire, 2 * (int64_t)SECOND);
  wire_command(wire, WIRE_HOST, &charge);
  wire_run(wire, SECOND / 10);
  wire_hang_up(wire, SECOND);
  check_outcome(wire_result(wire, WIRE_HOST, 1, SECOND), "unknown", "LINK");
  check_outcome(charged(wire, 2, 100), "failed", "NOT_READY");
  wire_run(wire, 5 * (int64_t)SECOND); /* it is switched on again */
  check_outcome(charged(wire, 3, 100), "done", "APPROVED");
  wire_free(wire);
}

static void roles_and_commands_are_checked(void)
{
  struct wire *wire = world(1, 0);
  struct sip_note charge = with_amount("charge", 1, 5, 100), session = command("session", 2);
  struct sip_note status = command("status", 3), *note;

  CHECK_INT(wire_refused(wire, WIRE_HOST, &charge), UV_EINVAL);
  charge.name = "explode";
  CHECK_INT(wire_refused(wire, WIRE_HOST, &charge), SIP_ENOTFOUND);
  CHECK_INT(wire_refused(wire, WIRE_BOARD, &charge), SIP_ENOTFOUND);
  (void)sip_note_int(&session, "amount_minor", 200);
  note = wire_ask(wire, WIRE_HOST, &session, 10 * (int64_t)SECOND);
  CHECK_INT(sip_note_number(note, "ok", -1), 0); /* not enabled yet */
  free(note);
  wire_run(wire, SECOND);
  session.ticket = 4;
  note = wire_ask(wire, WIRE_HOST, &session, 10 * (int64_t)SECOND);
  CHECK_INT(sip_note_number(note, "ok", -1), 1);
  free(note);
  note = wire_ask(wire, WIRE_HOST, &status, 0);
  CHECK_STR(sip_note_find(note, "state")->text, "session");
  free(note);
  CHECK(chosen(wire, 5, 150));
  wire_run(wire, SECOND);
  check_outcome(approved(wire, 5, 5, 150), "done", "DELIVERED");
  wire_free(wire);
}

struct tally {
  int done, failed, unknown, skipped;
};

/* One sale, if the machine comes to ask for one. */
static void sell(struct wire *wire, struct tally *tally, uint64_t ticket)
{
  int64_t runs = wire_state(wire, "motor_runs"), fallen = wire_state(wire, "fallen");
  struct sip_note *request = NULL, *note;

  if (chosen(wire, 5, 150)) {
    wire_run(wire, SECOND);
    request = wire_take(wire, WIRE_HOST, "request");
  }
  if (request == NULL) {
    tally->skipped++;
    wire_run(wire, 3 * (int64_t)SECOND);
    return;
  }
  note = approved(wire, ticket, sip_note_number(request, "slot", -1) < 0 ? 5 : 5,
                  sip_note_number(request, "amount_minor", -1));
  tally->done += sip_note_is(note, "outcome", "done");
  tally->failed += sip_note_is(note, "outcome", "failed");
  tally->unknown += sip_note_is(note, "outcome", "unknown");
  wire_run(wire, 4 * (int64_t)SECOND);
  wire_check_order(wire, note, runs, fallen);
  free(request);
  free(note);
}

static void sell_with_a_fault(struct wire *wire)
{
  struct tally tally = { 0 };

  wire->baud = 115200;
  wire_join(wire, engine(wire, 0), board(wire));
  wire_link(wire, true);
  wire_run(wire, 2 * (int64_t)SECOND);
  sell(wire, &tally, 1);
}

/* Charge and settle: no more requests and ends than commands. */
static void pay(struct wire *wire, struct tally *tally, uint64_t ticket)
{
  int64_t requests = wire_state(wire, "requests"), committed = wire_state(wire, "committed");
  int64_t reverted = wire_state(wire, "reverted");
  bool keeps = wire_random(wire, 3) > 0;
  struct sip_note *note = charged(wire, ticket, 150);
  bool paid = sip_note_is(note, "outcome", "done");

  CHECK(wire_state(wire, "requests") - requests <= 1);
  CHECK(!paid || wire_state(wire, "requests") - requests == 1);
  tally->failed += sip_note_is(note, "outcome", "failed");
  tally->unknown += sip_note_is(note, "outcome", "unknown");
  tally->done += paid;
  free(note);
  free(settled(wire, ticket + 1, paid && keeps));
  wire_run(wire, 6 * (int64_t)SECOND);
  CHECK(wire_state(wire, "committed") - committed <= 1);
  CHECK(wire_state(wire, "reverted") + wire_state(wire, "committed") - reverted - committed <= 1);
}

static void pay_with_a_fault(struct wire *wire)
{
  struct tally tally = { 0 };

  wire->baud = 115200;
  wire_join(wire, engine(wire, 2), board(wire));
  wire_link(wire, true);
  wire_run(wire, 2 * (int64_t)SECOND);
  pay(wire, &tally, 1);
}

static void conversation_of_100000_lines(int64_t master, uint64_t seed)
{
  static const char *const FAULTS[] = { "jam", "mute", "drop", "duplicate", "corrupt", "delay" };
  struct wire *wire = world(seed, master);
  struct tally tally = { 0 };

  wire->faults = WIRE_FAULTS;
  wire->per_10000 = 100;
  wire_run(wire, 2 * (int64_t)SECOND);
  for (uint64_t ticket = 1; wire->sent < 100000; ticket += 2) {
    if (wire_random(wire, 30) == 0) {
      misbehave(wire, FAULTS[wire_random(wire, sizeof FAULTS / sizeof FAULTS[0])]);
    }
    if (master) {
      pay(wire, &tally, ticket);
    } else {
      sell(wire, &tally, ticket);
    }
    wire_forget(wire, WIRE_HOST);
  }
  (void)printf("seed %d, %s: %d lines, %d faults, %d hang-ups: %d done, %d failed, %d unknown\n",
               (int)seed, master ? "master" : "slave", (int)wire->sent, (int)wire->faulty,
               (int)wire->hang_ups, tally.done, tally.failed, tally.unknown);
  CHECK(tally.done > 1000 && tally.unknown > 10 && wire->faulty > 500);
  wire_free(wire);
}

int main(void)
{
  vectors_each("qibixx", 46, vector_holds);
  amounts_are_exact();
  vectors_scenarios("qibixx", 3, scenario_holds);
  a_machine_sells();
  what_was_not_asked_for_is_not_approved();
  the_end_of_a_long_line_is_no_line();
  a_request_that_comes_again_is_one();
  a_late_end_is_unknown();
  a_reader_pays();
  an_unplug_leaves_a_charge_in_doubt();
  roles_and_commands_are_checked();
  (void)printf("%u faults at single places of a sale\n",
               wire_sweep(WIRE_FAULTS, sell_with_a_fault));
  (void)printf("%u of a payment\n", wire_sweep(WIRE_FAULTS, pay_with_a_fault));
  for (uint64_t seed = 1; seed <= (getenv("SIPEAT_SOAK") == NULL ? 1 : 500); seed++) {
    conversation_of_100000_lines(0, seed);
    conversation_of_100000_lines(2, seed);
  }
  return 0;
}
