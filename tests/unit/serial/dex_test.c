/* dex_test.c - the engine that reads audit data and its simulator: whole dumps, or none. */
#include "serial/dex.h"

#include "core/err.h"
#include "support/notes.h"
#include "support/spoil.h"
#include "support/test.h"
#include "support/wire.h"

enum { SECOND = 1000000, MINUTE = 60 * SECOND };

static struct spoil spoils[2];

enum kind { DEX, OLD, DDCMP }; /* an old machine bids for master itself */

static struct sip_party *make(const struct sip_note *settings, struct wire *wire, int side)
{
  struct sip_line *line = spoil_line(&spoils[side], wire_line(wire, side));
  struct sip_err err = { 0 };
  struct sip_party *party = side == WIRE_HOST ? sip_protocol_dex.engine(settings, line, &err)
                                              : sip_protocol_dex.simulator(settings, line, &err);

  if (party == NULL) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return party;
}

static struct wire *open_wire(uint64_t seed, enum kind kind, int64_t block)
{
  struct wire *wire = wire_new(seed);
  struct sip_note host = { .name = "settings" }, board = { .name = "settings" };

  CHECK(sip_note_text(&host, "transport", kind == DDCMP ? "ddcmp" : "dex"));
  CHECK(sip_note_text(&board, "transport", kind == DDCMP ? "ddcmp" : "dex"));
  CHECK(sip_note_bool(&board, "bids", kind == OLD));
  CHECK(sip_note_int(&board, "block", block));
  wire->baud = kind == DDCMP ? 2400 : 9600;
  wire_join(wire, make(&host, wire, WIRE_HOST), make(&board, wire, WIRE_BOARD));
  wire_link(wire, true);
  return wire;
}

static bool same_text(const struct sip_note *a, const struct sip_note *b)
{
  const struct sip_value *left = sip_note_find(a, "text"), *right = sip_note_find(b, "text");

  return left != NULL && right != NULL && left->size == right->size &&
         memcmp(left->text, right->text, left->size) == 0;
}

static void an_audit_is_read(enum kind kind)
{
  struct wire *wire = open_wire(1, kind, 100);
  struct sip_note *state, *result;

  result = wire_tell(wire, WIRE_HOST, note_of("identify"));
  CHECK_INT(sip_note_number(result, "ok", -1), 1);
  note_says(result, "id", kind == DDCMP ? "53494D3030303031" : "MACHINE001");
  free(result);
  free(wire_take(wire, WIRE_HOST, "identified"));
  wire_run(wire, 30 * SECOND); /* the machine gives that session up */
  wire_order(wire, "vend", "slot", 3);
  state = wire_tell(wire, WIRE_BOARD, note_of("state"));
  CHECK_INT(sip_note_number(state, "reads", -1), 0);
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  CHECK_INT(sip_note_number(result, "ok", -1), 1);
  CHECK(same_text(state, result));
  note_says(result, "verdict", "ok");
  CHECK_INT(sip_note_number(result, "sessions", -1), 1);
  CHECK(sip_note_number(result, "blocks", -1) > 5);
  CHECK(memmem(sip_note_find(result, "events")->text, sip_note_find(result, "events")->size,
               "{\"event\":\"product\",\"id\":\"3\",\"price_minor\":120,\"name\":\"Product 3\","
               "\"count\":1",
               73) != NULL);
  free(state);
  free(result);
  result = wire_take(wire, WIRE_HOST, "progress");
  CHECK(result != NULL && sip_note_number(result, "bytes", 0) > 0);
  free(result);
  wire_run(wire, 5 * SECOND);
  state = wire_tell(wire, WIRE_BOARD, note_of("state"));
  CHECK_INT(sip_note_number(state, "reads", -1), 1);
  free(state);
  wire_free(wire);
}

static void what_a_machine_gets_wrong_is_said(void)
{
  static const struct {
    const char *name, *verdict;
    bool trusted;
  } wrongs[] = { { "g85_swapped", "g85_swapped", true },
                 { "g85_wrong", "g85", false },
                 { "se_wrong", "se_count", true } };
  struct wire *wire = open_wire(1, DEX, 200);
  struct sip_note *result, text = note_of("text");

  for (size_t i = 0; i < 3; i++) {
    wire_order(wire, wrongs[i].name, "times", 1);
    result = wire_tell(wire, WIRE_HOST, note_of("audit"));
    note_says(result, "verdict", wrongs[i].verdict);
    CHECK_INT(sip_note_number(result, "trusted", -1), wrongs[i].trusted);
    CHECK(sip_note_find(result, "text")->size > 500); /* it is kept all the same */
    free(result);
    wire_run(wire, 5 * SECOND);
  }
  CHECK(sip_note_text(&text, "text", "DXS*9*VA\r\nST*1*1\r\n"));
  free(wire_tell(wire, WIRE_BOARD, text));
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  note_says(result, "verdict", "missing:G85");
  free(result);
  result = wire_tell(wire, WIRE_HOST, note_of("counters"));
  note_says(result, "code", "UNTRUSTED");
  free(result);
  wire_free(wire);
}

static void counts_resolve_a_vend(void)
{
  struct wire *wire = open_wire(1, DEX, 200);
  struct sip_note *before, resolve, *result;

  wire_order(wire, "vend", "slot", 7);
  before = wire_tell(wire, WIRE_HOST, note_with("counters", "slot", 7));
  CHECK_INT(sip_note_number(before, "vends", -1), 1);
  CHECK_INT(sip_note_number(before, "slot_vends", -1), 1);
  CHECK_INT(sip_note_number(before, "slot_value_minor", -1), 160);
  for (int i = 0; i < 3; i++) {
    static const char *const outcomes[] = { "failed", "done", "unknown" };

    wire_run(wire, 5 * SECOND);
    resolve = note_with("resolve", "slot", 7);
    CHECK(sip_note_int(&resolve, "slot_vends", sip_note_number(before, "slot_vends", -1)));
    result = wire_tell(wire, WIRE_HOST, resolve);
    note_says(result, "outcome", outcomes[i]);
    free(result);
    wire_order(wire, "vend", "slot", 7);
  }
  resolve = note_with("resolve", "slot", 70);
  CHECK(sip_note_int(&resolve, "slot_vends", 0));
  result = wire_tell(wire, WIRE_HOST, resolve);
  note_says(result, "outcome", "unknown");
  note_says(result, "code", "NO_COUNTER");
  free(result);
  free(before);
  wire_free(wire);
}

static void a_refusal_is_said(void)
{
  struct wire *wire = open_wire(1, DEX, 200);
  struct sip_note busy = note_of("audit"), odd = note_of("dispense"), *result;

  for (int code = 1; code <= 5; code++) {
    wire_order(wire, "code", "code", code);
    result = wire_tell(wire, WIRE_HOST, note_of("audit"));
    note_says(result, "code", code == 3 ? "(nothing)" : "REFUSED"); /* 3: try again */
    free(result);
    wire_run(wire, 5 * SECOND);
  }
  CHECK_INT(wire_refused(wire, WIRE_HOST, &odd), UV_EINVAL);
  wire_command(wire, WIRE_HOST, &busy);
  odd = note_of("audit");
  CHECK_INT(wire_refused(wire, WIRE_HOST, &odd), SIP_EBUSY);
  wire_run(wire, SECOND);
  wire_link(wire, false);
  result = wire_result(wire, WIRE_HOST, busy.ticket, SECOND);
  note_says(result, "code", "LINK");
  free(result);
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  note_says(result, "code", "NO_LINK");
  free(result);
  wire_free(wire);
  wire = open_wire(1, DDCMP, 200);
  wire_order(wire, "code", "code", 1);
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  note_says(result, "code", "REFUSED");
  free(result);
  wire_misbehave(wire, "mute", 1000000);
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  note_says(result, "code", "TIMEOUT");
  free(result);
  wire_free(wire);
}

static void faults_are_overcome(enum kind kind)
{
  static const char *const kinds[] = { "drop", "corrupt", "duplicate", "delay", "mute", "reset" };

  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct wire *wire = open_wire(i + 1, kind, 60);

    for (int at = 0; at < 12; at++) { /* another moment of the session each time */
      struct sip_note audit = note_of("audit");
      struct sip_note *result, *state = wire_tell(wire, WIRE_BOARD, note_of("state"));

      wire_command(wire, WIRE_HOST, &audit);
      wire_run(wire, at * SECOND / 3);
      wire_misbehave(wire, kinds[i], 1);
      result = wire_result(wire, WIRE_HOST, audit.ticket, 5 * (int64_t)MINUTE);
      note_says(result, "verdict", "ok");
      CHECK(same_text(state, result));
      free(state);
      free(result);
      wire_misbehave(wire, kinds[i], 0);
      wire_run(wire, 10 * SECOND);
    }
    wire_free(wire);
  }
}

static void a_machine_that_never_stops_is_survived(enum kind kind)
{
  struct wire *wire = open_wire(1, kind, 200);
  struct sip_note *result;

  wire_misbehave(wire, "forever", 3000);
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  CHECK(sip_note_is(result, "code", "TIMEOUT") || sip_note_is(result, "code", "TOO_BIG") ||
        sip_note_is(result, "code", "REFUSED") || sip_note_is(result, "verdict", "ok"));
  free(result);
  wire_misbehave(wire, "forever", 0);
  wire_run(wire, 30 * SECOND);
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  note_says(result, "verdict", "ok");
  free(result);
  wire_free(wire);
}

/* Each byte of an audit, in either direction, is another one. */
static void each_byte_may_be_wrong(enum kind kind, int side)
{
  struct wire *wire = open_wire(1, kind, 200);
  uint64_t sent = 0;

  for (uint64_t at = 0; at <= sent; at++) {
    uint64_t before = spoils[side].sent;
    struct sip_note *state = wire_tell(wire, WIRE_BOARD, note_of("state")), *result;

    if (at > 0) { /* the first time nothing is wrong */
      spoil_next(&spoils[side], at - 1, (uint8_t)(1u << at % 8));
    }
    result = wire_tell(wire, WIRE_HOST, note_of("audit"));
    note_says(result, "verdict", "ok");
    CHECK(same_text(state, result));
    sent = at == 0 ? spoils[side].sent - before : sent;
    free(state);
    free(result);
    wire_forget(wire, WIRE_HOST);
    wire_run(wire, 20 * SECOND);
  }
  CHECK(sent > 20);
  wire_free(wire);
}

struct tally {
  unsigned audits, whole, flagged, failed;
  int64_t sessions;
};

static void one_audit(struct wire *wire, struct tally *tally)
{
  struct sip_note vend = note_with("vend", "slot", 1 + tally->audits % 10);
  struct sip_note *state, *result;

  CHECK(sip_note_bool(&vend, "cashless", tally->audits % 3 == 0));
  free(wire_tell(wire, WIRE_BOARD, vend));
  state = wire_tell(wire, WIRE_BOARD, note_of("state"));
  result = wire_tell(wire, WIRE_HOST, note_of("audit"));
  tally->audits++;
  tally->sessions += sip_note_number(result, "sessions", 0);
  if (sip_note_number(result, "ok", 0) == 0) {
    tally->failed++;
  } else if (sip_note_number(result, "trusted", 0) != 0) {
    tally->whole++;
    CHECK(same_text(state, result));
  } else {
    tally->flagged++;
    CHECK(!same_text(state, result));
  }
  free(state);
  free(result);
  wire_forget(wire, WIRE_HOST);
  wire_run(wire, 3 * SECOND);
}

static void a_long_conversation(enum kind kind, uint64_t seed)
{
  static const char *const names[] = { "dex", "dex, old machine", "ddcmp" };
  struct wire *wire = open_wire(seed, kind, 40);
  struct tally tally = { .audits = 0 };

  wire->faults = WIRE_FAULTS;
  wire->per_10000 = 100;
  while (wire->ends[0].pieces + wire->ends[1].pieces < 100000) {
    one_audit(wire, &tally);
  }
  (void)printf("%s: %u audits in %lld sessions: %u whole, %u flagged, %u failed; %llu faults\n",
               names[kind], tally.audits, (long long)tally.sessions, tally.whole, tally.flagged,
               tally.failed, (unsigned long long)wire->faulty);
  CHECK(tally.whole * 10 > tally.audits * 9);
  CHECK(tally.flagged * 100 <= tally.audits);
  wire_free(wire);
}

int main(void)
{
  an_audit_is_read(DEX);
  an_audit_is_read(OLD);
  an_audit_is_read(DDCMP);
  what_a_machine_gets_wrong_is_said();
  counts_resolve_a_vend();
  a_refusal_is_said();
  faults_are_overcome(DEX);
  faults_are_overcome(OLD);
  faults_are_overcome(DDCMP);
  a_machine_that_never_stops_is_survived(DEX);
  a_machine_that_never_stops_is_survived(OLD);
  a_machine_that_never_stops_is_survived(DDCMP);
  each_byte_may_be_wrong(DEX, WIRE_HOST);
  each_byte_may_be_wrong(DEX, WIRE_BOARD);
  each_byte_may_be_wrong(DDCMP, WIRE_HOST);
  each_byte_may_be_wrong(DDCMP, WIRE_BOARD);
  a_long_conversation(DEX, 1);
  a_long_conversation(OLD, 2);
  a_long_conversation(DDCMP, 3);
  (void)printf("ok\n");
  return 0;
}
