/* xy_test.c - the FA FB board: vectors, scenarios, and what its engine makes of every fault. */
#include "serial/xy.h"

#include "serial/xy_frame.h"
#include "support/test.h"
#include "support/vectors.h"
#include "support/wire.h"

enum { SECOND = 1000000, ROOM = 300 };

static const struct sip_note NO_SETTINGS = { .name = "settings" };

static void check_field(const struct vector *fields, const char *name, int64_t value)
{
  CHECK_INT(value, vector_int(fields, name, value));
}

static void fields_hold(const struct vector *vector, const struct sip_xy_frame *frame,
                        const uint8_t *bytes)
{
  const uint8_t *t = frame->text;
  struct vector fields;

  if (!vector_field(vector, "fields", &fields)) {
    return;
  }
  check_field(&fields, "cmd", frame->command);
  check_field(&fields, "len", bytes[3]);
  check_field(&fields, "pack", frame->number);
  if (frame->command == SIP_XY_JOB_STATUS) {
    check_field(&fields, "status", t[0]);
    check_field(&fields, "selection", sip_xy_number(t + 1, 2));
  } else if (frame->command == SIP_XY_DRIVE) {
    check_field(&fields, "drop_sensor", t[0]);
    check_field(&fields, "elevator", t[1]);
    check_field(&fields, "selection", sip_xy_number(t + 2, 2));
  } else if (frame->command == SIP_XY_BUY) {
    check_field(&fields, "selection", sip_xy_number(t, 2));
  } else if (frame->command == SIP_XY_MONEY_IN) {
    check_field(&fields, "mode", t[0]);
    check_field(&fields, "amount", sip_xy_number(t + 1, 4));
  } else if (frame->command == SIP_XY_SLOT_INFO) {
    check_field(&fields, "selection", sip_xy_number(t, 2));
    check_field(&fields, "price", sip_xy_number(t + 2, 4));
    check_field(&fields, "inventory", t[6]);
    check_field(&fields, "capacity", t[7]);
    check_field(&fields, "product", sip_xy_number(t + 8, 2));
    check_field(&fields, "state", t[10]);
  }
}

static void vector_holds(const struct vector *vector)
{
  uint8_t bytes[ROOM], again[SIP_XY_FRAME];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_xy_frame frame = { .command = 0 };
  enum sip_xy_fault fault = sip_xy_read(bytes, size, &frame);
  char text[200] = "";

  CHECK_STR(sip_xy_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_XY_OK) {
    return;
  }
  fields_hold(vector, &frame, bytes);
  CHECK_INT(sip_xy_write(again, frame.command, frame.number, frame.text, frame.size), size);
  CHECK(memcmp(again, bytes, size) == 0);
  CHECK_INT(sip_xy_describe(bytes, size, true, text, sizeof text), size);
  CHECK(text[0] != '\0' && strcmp(text, "noise") != 0);
}

static void words_are_those_of_the_frame(void)
{
  static const uint8_t DRIVE[] = { 0xFA, 0xFB, 0x06, 5, 0xA6, 1, 0, 0, 0x3C, 0x99 };
  char text[100];

  CHECK_INT(sip_xy_describe(DRIVE, sizeof DRIVE, true, text, sizeof text), sizeof DRIVE);
  CHECK_STR(text, "DRIVE #166 slot 60 sensor on lift off");
  CHECK_INT(sip_xy_describe(DRIVE, 6, true, text, sizeof text), 0);
  CHECK_INT(sip_xy_describe(DRIVE + 1, 9, true, text, sizeof text), 1);
  CHECK_STR(text, "noise");
}

/* How many orders are on the wire. */
static void count_orders(void *arg, int side, const uint8_t *bytes, size_t size)
{
  CHECK(size >= 5);
  *(int *)arg += side == WIRE_HOST && (bytes[2] == SIP_XY_DRIVE || bytes[2] == SIP_XY_BUY);
}

static struct sip_party *engine(struct wire *wire, int64_t drain, int64_t job_ms)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_err err = { 0 };
  struct sip_party *party;

  (void)sip_note_int(&settings, "drain_polls", drain);
  (void)sip_note_int(&settings, "job_ms", job_ms);
  party = sip_protocol_xy.engine(&settings, wire_line(wire, WIRE_HOST), &err);
  if (party == NULL) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return party;
}

static struct sip_party *board(struct wire *wire)
{
  struct sip_party *party =
    sip_protocol_xy.simulator(&NO_SETTINGS, wire_line(wire, WIRE_BOARD), NULL);

  CHECK(party != NULL);
  return party;
}

static struct sip_note dispense(uint64_t ticket, int64_t slot)
{
  struct sip_note note = { .name = "dispense", .ticket = ticket };

  (void)sip_note_int(&note, "slot", slot);
  return note;
}

static struct sip_note fault(const char *kind, int64_t times)
{
  struct sip_note note = { .name = "fault", .ticket = UINT64_MAX };

  (void)sip_note_text(&note, "kind", kind);
  (void)sip_note_int(&note, "times", times);
  return note;
}

/* The outcome of the next dispense of the slot. */
static struct sip_note *dispensed(struct wire *wire, uint64_t ticket, int64_t slot)
{
  struct sip_note command = dispense(ticket, slot);

  return wire_ask(wire, WIRE_HOST, &command, 120 * (int64_t)SECOND);
}

static void check_outcome(struct sip_note *note, const char *outcome, const char *code)
{
  CHECK_STR(sip_note_find(note, "outcome")->text, outcome);
  CHECK_STR(sip_note_find(note, "code")->text, code);
  free(note);
}

static const char *lower(const char *outcome)
{
  return strcmp(outcome, "DONE") == 0     ? "done"
         : strcmp(outcome, "FAILED") == 0 ? "failed"
                                          : "unknown";
}

static void play_step(struct wire *wire, const struct vector *step, size_t *read)
{
  const char *event = vector_text(step, "event", 0);
  struct sip_buf *got = &wire->ends[WIRE_BOARD].got;
  struct sip_xy_frame frame, want;
  uint8_t bytes[ROOM];
  size_t size = vector_bytes(step, "hex", bytes, sizeof bytes);

  if (event != NULL && strcmp(event, "hangup") == 0) {
    wire_link(wire, false);
  } else if (event != NULL) {
    wire_run(wire, 61 * (int64_t)SECOND);
  } else if (strcmp(vector_text(step, "dir", 0), "in") == 0) {
    wire_run(wire, SECOND / 5);
    wire_put(wire, WIRE_BOARD, bytes, size);
    wire_run(wire, SECOND / 20);
  } else { /* the number is the engine's own */
    CHECK_INT(got->len - *read, size);
    CHECK_INT(sip_xy_read((const uint8_t *)got->data + *read, size, &frame), SIP_XY_OK);
    CHECK_INT(sip_xy_read(bytes, size, &want), SIP_XY_OK);
    CHECK_INT(frame.command, want.command);
    CHECK_INT(frame.size, want.size);
    CHECK(memcmp(frame.text, want.text, want.size) == 0);
    *read = got->len;
  }
}

static void scenario_holds(const struct vector *scenario)
{
  struct wire *wire = wire_new(1);
  struct sip_note command = dispense(1, 60);
  struct vector step;
  size_t read = 0;
  int orders = 0;

  wire->tap = count_orders;
  wire->arg = &orders;
  wire_join(wire, engine(wire, 0, 60000), NULL);
  wire_link(wire, true);
  wire_command(wire, WIRE_HOST, &command);
  for (int i = 0; vector_item(scenario, "steps", i, &step); i++) {
    play_step(wire, &step, &read);
  }
  CHECK_INT(orders, vector_int(scenario, "dispense_frames", -1));
  {
    struct sip_note *result = wire_result(wire, WIRE_HOST, 1, 0);

    CHECK_STR(sip_note_find(result, "outcome")->text, lower(vector_text(scenario, "outcome", 0)));
    free(result);
  }
  wire_free(wire);
}

static struct wire *world(uint64_t seed, int64_t job_ms)
{
  struct wire *wire = wire_new(seed);

  wire->baud = 57600;
  wire_join(wire, engine(wire, 2, job_ms), board(wire));
  wire_link(wire, true);
  return wire;
}

static void it_dispenses_and_says_so(void)
{
  struct wire *wire = world(1, 60000);
  struct sip_note *note = dispensed(wire, 7, 12);

  CHECK(sip_note_is(note, "proof", "sensor"));
  CHECK_INT(sip_note_number(note, "quantity", -1), 1);
  check_outcome(note, "done", "DELIVERED");
  CHECK_INT(wire_state(wire, "motor_runs"), 1);
  CHECK_INT(wire_state(wire, "late"), 0);
  note = wire_take(wire, WIRE_HOST, "identified");
  CHECK(note != NULL && sip_note_is(note, "kind", "xy"));
  free(note);
  check_outcome(dispensed(wire, 8, 61), "failed", "NO_MOTOR");
  wire_free(wire);
}

/* Of all exchanges, each within its poll. */
static void polls_are_answered_in_time(void)
{
  struct wire *wire = world(1, 60000);

  wire_run(wire, 100 * (int64_t)SECOND);
  CHECK(wire_state(wire, "polls") >= 499);
  CHECK(wire_state(wire, "polls") - wire_state(wire, "answered") <= 1);
  CHECK_INT(wire_state(wire, "late"), 0);
  wire_free(wire);
}

static void a_jam_locks_the_slot(void)
{
  struct wire *wire = world(1, 60000);
  struct sip_note jam = fault("jam", 1), clear = { .name = "clear", .ticket = 5 };
  struct sip_note *note;

  free(wire_ask(wire, WIRE_BOARD, &jam, 0));
  check_outcome(dispensed(wire, 1, 3), "failed", "JAM");
  note = wire_await(wire, WIRE_HOST, "fault", 0);
  CHECK_INT(sip_note_number(note, "slot", -1), 3);
  free(note);
  check_outcome(dispensed(wire, 2, 3), "failed", "LOCKED");
  check_outcome(dispensed(wire, 3, 4), "done", "DELIVERED");
  CHECK_INT(wire_state(wire, "motor_runs"), 2);
  (void)sip_note_int(&clear, "slot", 3);
  free(wire_ask(wire, WIRE_HOST, &clear, 0));
  check_outcome(dispensed(wire, 4, 3), "done", "DELIVERED");
  wire_free(wire);
}

static void what_is_in_doubt_is_not_ordered_again(void)
{
  struct wire *wire = world(1, 3000);
  struct sip_note mute = fault("mute", 1), resolve = { .name = "resolve", .ticket = 5 };

  free(wire_ask(wire, WIRE_BOARD, &mute, 0));
  check_outcome(dispensed(wire, 1, 3), "unknown", "DEADLINE");
  check_outcome(dispensed(wire, 2, 3), "failed", "IN_DOUBT");
  (void)sip_note_int(&resolve, "slot", 3);
  check_outcome(wire_ask(wire, WIRE_HOST, &resolve, 0), "unknown", "NOT_KNOWN");
  check_outcome(dispensed(wire, 3, 3), "failed", "IN_DOUBT");
  check_outcome(dispensed(wire, 4, 4), "done", "DELIVERED");
  CHECK_INT(wire_state(wire, "orders"), 2);
  wire_run(wire, 10 * (int64_t)SECOND); /* longer than the board may still answer */
  check_outcome(dispensed(wire, 6, 3), "done", "DELIVERED");
  wire_free(wire);
}

/* The host was started anew while the motor turned: the result comes to somebody new. */
static void a_result_of_before_resolves(void)
{
  struct wire *wire = world(1, 60000);
  struct sip_note command = dispense(1, 9), resolve = { .name = "resolve", .ticket = 2 };
  struct sip_note *note;

  wire_command(wire, WIRE_HOST, &command);
  wire_run(wire, SECOND);
  CHECK_INT(wire_state(wire, "motor_runs"), 1);
  wire->ends[WIRE_HOST].party->ops->free(wire->ends[WIRE_HOST].party);
  check_outcome(wire_result(wire, WIRE_HOST, 1, 0), "unknown", "LINK");
  wire->ends[WIRE_HOST].party = engine(wire, 12, 60000);
  wire->ends[WIRE_HOST].party->ops->on_link(wire->ends[WIRE_HOST].party, wire->now_us, true);
  command = dispense(3, 10); /* waits until the old results were there */
  wire_command(wire, WIRE_HOST, &command);
  (void)sip_note_int(&resolve, "slot", 9);
  check_outcome(wire_ask(wire, WIRE_HOST, &resolve, 0), "unknown", "NOT_READY");
  note = wire_await(wire, WIRE_HOST, "late", 3 * (int64_t)SECOND);
  CHECK_INT(sip_note_number(note, "slot", -1), 9);
  free(note);
  check_outcome(wire_ask(wire, WIRE_HOST, &resolve, 0), "done", "DELIVERED");
  check_outcome(wire_result(wire, WIRE_HOST, 3, 10 * (int64_t)SECOND), "done", "DELIVERED");
  CHECK_INT(wire_state(wire, "orders"), 2);
  wire_free(wire);
}

static void a_silent_board_gets_no_order(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note command = dispense(1, 9), *note;
  int orders = 0;

  wire->tap = count_orders;
  wire->arg = &orders;
  wire_join(wire, engine(wire, 0, 60000), NULL);
  check_outcome(dispensed(wire, 1, 9), "failed", "NO_LINK");
  wire_link(wire, true);
  check_outcome(dispensed(wire, 2, 9), "failed", "NOT_SENT");
  command = dispense(3, 9);
  wire_command(wire, WIRE_HOST, &command);
  command.ticket = 4;
  wire_command(wire, WIRE_HOST, &command);
  check_outcome(wire_result(wire, WIRE_HOST, 4, 0), "failed", "BUSY");
  wire_link(wire, false);
  check_outcome(wire_result(wire, WIRE_HOST, 3, 0), "failed", "NO_LINK");
  CHECK_INT(orders, 0);
  note = wire_take(wire, WIRE_HOST, "identified");
  CHECK(note == NULL);
  wire_free(wire);
}

static void wrong_commands_are_refused(void)
{
  struct wire *wire = world(1, 60000);
  struct sip_note command = { .name = "dispense", .ticket = 1 };
  struct sip_err err = { 0 };
  struct sip_note settings = { .name = "settings" };

  CHECK_INT(wire_refused(wire, WIRE_HOST, &command), UV_EINVAL);
  command = dispense(1, 70000);
  CHECK_INT(wire_refused(wire, WIRE_HOST, &command), UV_EINVAL);
  command = dispense(1, 7);
  (void)sip_note_int(&command, "quantity", 2);
  CHECK_INT(wire_refused(wire, WIRE_HOST, &command), UV_EINVAL);
  command.name = "explode";
  CHECK_INT(wire_refused(wire, WIRE_HOST, &command), SIP_ENOTFOUND);
  CHECK_INT(wire_refused(wire, WIRE_BOARD, &command), SIP_ENOTFOUND);
  command = fault("fire", 1);
  CHECK_INT(wire_refused(wire, WIRE_BOARD, &command), UV_EINVAL);
  (void)sip_note_int(&settings, "job_msec", 1);
  CHECK(sip_protocol_xy.engine(&settings, wire_line(wire, WIRE_HOST), &err) == NULL);
  CHECK_HAS(err.message, "did you mean \"job_ms\"?");
  wire_free(wire);
}

/* Frames that may be repeated are, with their number, and the answer finds who asked. */
static void other_commands_are_answered(void)
{
  static const char *const PLAIN[] = { "machine", "lift", "sync", "cancel", "identify", "status" };
  struct wire *wire = world(1, 60000);
  struct sip_note command = { .name = "slot", .ticket = 1 }, drop = fault("drop", 2), *note;

  wire_run(wire, SECOND);
  (void)sip_note_int(&command, "slot", 5);
  note = wire_ask(wire, WIRE_HOST, &command, 3 * (int64_t)SECOND);
  CHECK_INT(sip_note_number(note, "status", -1), 1);
  free(note);
  for (size_t i = 0; i < sizeof PLAIN / sizeof PLAIN[0]; i++) {
    command = (struct sip_note){ .name = PLAIN[i], .ticket = 10 + i };
    free(wire_ask(wire, WIRE_BOARD, &drop, 0));
    note = wire_ask(wire, WIRE_HOST, &command, 10 * (int64_t)SECOND);
    CHECK_INT(sip_note_number(note, "ok", -1), 1);
    free(note);
  }
  command = (struct sip_note){ .name = "inventory", .ticket = 30 };
  (void)sip_note_int(&command, "slot", 5);
  (void)sip_note_int(&command, "count", 0);
  free(wire_ask(wire, WIRE_HOST, &command, 3 * (int64_t)SECOND));
  check_outcome(dispensed(wire, 31, 5), "failed", "JAM"); /* the motor turns, nothing falls */
  for (uint64_t i = 0; i < 8; i++) {
    command = (struct sip_note){ .name = "machine", .ticket = 40 + i };
    wire_command(wire, WIRE_HOST, &command);
  }
  CHECK_INT(wire_refused(wire, WIRE_HOST, &command), SIP_EQUEUEFULL);
  wire_free(wire);
}

/* The numbers of the host's last frames that have one. */
static void note_number(void *arg, int side, const uint8_t *bytes, size_t size)
{
  uint8_t *numbers = arg;

  CHECK(size >= 5);
  if (side == WIRE_HOST && bytes[3] > 0) {
    memmove(numbers + 1, numbers, 5);
    numbers[0] = bytes[4];
  }
}

static void a_repeat_keeps_its_number(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note ask = { .name = "machine", .ticket = 1 }, *note;
  static const uint8_t POLL[] = { 0xFA, 0xFB, 0x41, 0x00, 0x40 };
  uint8_t numbers[6] = { 0 };

  wire->tap = note_number;
  wire->arg = numbers;
  wire_join(wire, engine(wire, 0, 60000), NULL);
  wire_link(wire, true);
  wire_command(wire, WIRE_HOST, &ask);
  ask.ticket = 2;
  wire_command(wire, WIRE_HOST, &ask);
  for (int i = 0; i < 6; i++) { /* it is never acknowledged: five times, then the next one */
    wire_put(wire, WIRE_BOARD, POLL, sizeof POLL);
    wire_run(wire, SECOND / 5);
  }
  CHECK(memcmp(numbers, (const uint8_t[]){ 2, 1, 1, 1, 1, 1 }, 6) == 0);
  note = wire_result(wire, WIRE_HOST, 1, 0);
  CHECK(sip_note_is(note, "code", "NO_ACK"));
  free(note);
  wire_free(wire);
}

/* A poll that was behind a damaged frame is answered, unless the thread came too late for it. */
static void a_late_answer_is_none(void)
{
  static const uint8_t BYTES[] = { 0xFA, 0xFB, 0x04, 0xFF, 0xFA, 0xFB, 0x41, 0x00, 0x40 };
  struct wire *wire = wire_new(1);
  struct sip_party *party = engine(wire, 0, 60000);

  wire_join(wire, party, NULL);
  wire_link(wire, true);
  party->ops->on_bytes(party, wire->now_us, BYTES, sizeof BYTES);
  party->ops->on_due(party, wire->now_us + 66001);
  CHECK_INT(wire->sent, 1);
  party->ops->on_bytes(party, wire->now_us + 200000, BYTES, sizeof BYTES);
  party->ops->on_due(party, wire->now_us + 350000);
  CHECK_INT(wire->sent, 1);
  wire_free(wire);
}

/* The board says it until it is acknowledged: that is one coin. */
static void a_coin_is_told_once(void)
{
  struct wire *wire = world(1, 60000);
  struct sip_note coin = { .name = "coin", .ticket = 1 }, *note;
  int64_t sum = 0;

  (void)sip_note_int(&coin, "amount_minor", 500);
  wire->faults = WIRE_FAULTS & ~(WIRE_HANG_UP | WIRE_DELAY);
  wire->per_10000 = 2000;
  for (int i = 0; i < 50; i++) {
    wire_command(wire, WIRE_BOARD, &coin);
    wire_run(wire, 3 * (int64_t)SECOND);
  }
  while ((note = wire_take(wire, WIRE_HOST, "credit")) != NULL) {
    sum += sip_note_number(note, "amount_minor", -1);
    free(note);
  }
  CHECK_INT(sum, 50 * 500);
  wire_free(wire);
}

static void a_board_that_never_stops_is_survived(void)
{
  struct wire *wire = world(1, 3000);
  struct sip_note forever = fault("forever", 10000);

  wire_run(wire, SECOND);
  free(wire_ask(wire, WIRE_BOARD, &forever, 0));
  free(dispensed(wire, 1, 3)); /* whatever came of it */
  CHECK(wire_state(wire, "motor_runs") <= 1);
  wire_run(wire, 30 * (int64_t)SECOND);
  check_outcome(dispensed(wire, 2, 4), "done", "DELIVERED");
  wire_free(wire);
}

static void dispense_with_a_fault(struct wire *wire)
{
  struct sip_note *note;

  wire->baud = 57600;
  wire_join(wire, engine(wire, 1, 4000), board(wire));
  wire_link(wire, true);
  note = dispensed(wire, 1, 9);
  wire_run(wire, 3 * (int64_t)SECOND); /* an order that is late has turned its motor */
  wire_check_order(wire, note, 0, 0);
  free(note);
}

struct tally {
  int done, failed, unknown, coins;
};

static void converse(struct wire *wire, struct tally *tally, uint64_t ticket)
{
  static const char *const FAULTS[] = { "jam",       "mute",    "reset", "drop",
                                        "duplicate", "corrupt", "delay" };
  int64_t runs = wire_state(wire, "motor_runs"), fallen = wire_state(wire, "fallen");
  int64_t slot = 1 + (int64_t)wire_random(wire, 60);
  struct sip_note command = { .name = "stock", .ticket = UINT64_MAX }, *note;

  (void)sip_note_int(&command, "slot", slot);
  (void)sip_note_int(&command, "count", 5);
  free(wire_ask(wire, WIRE_BOARD, &command, 0));
  if (wire_random(wire, 20) == 0) {
    command = fault(FAULTS[wire_random(wire, sizeof FAULTS / sizeof FAULTS[0])], 1);
    free(wire_ask(wire, WIRE_BOARD, &command, 0));
  }
  note = dispensed(wire, ticket, slot);
  tally->done += sip_note_is(note, "outcome", "done");
  tally->failed += sip_note_is(note, "outcome", "failed");
  if (sip_note_is(note, "outcome", "unknown")) {
    tally->unknown++;
    wire_run(wire, 3 * (int64_t)SECOND);
  }
  wire_check_order(wire, note, runs, fallen);
  free(note);
  if (wire_random(wire, 4) == 0) {
    command = (struct sip_note){ .name = "clear", .ticket = UINT64_MAX };
    (void)sip_note_int(&command, "slot", slot);
    wire_run(wire, 10 * (int64_t)SECOND);
    free(wire_ask(wire, WIRE_HOST, &command, 0));
  }
  wire_forget(wire, WIRE_HOST);
}

static void conversation_of_100000_frames(uint64_t seed)
{
  struct wire *wire = world(seed, 4000);
  struct tally tally = { 0 };
  uint64_t ticket = 1;

  wire->faults = WIRE_FAULTS;
  wire->per_10000 = 100;
  while (wire->sent < 100000) {
    converse(wire, &tally, ticket++);
  }
  (void)printf("seed %d: %d frames, %d faults, %d hang-ups: %d done, %d failed, %d unknown\n",
               (int)seed, (int)wire->sent, (int)wire->faulty, (int)wire->hang_ups, tally.done,
               tally.failed, tally.unknown);
  CHECK(tally.done > 1000 && tally.unknown > 10 && wire->faulty > 500);
  wire_free(wire);
}

int main(void)
{
  vectors_each("xy", 28, vector_holds);
  words_are_those_of_the_frame();
  vectors_scenarios("xy", 6, scenario_holds);
  it_dispenses_and_says_so();
  polls_are_answered_in_time();
  a_jam_locks_the_slot();
  what_is_in_doubt_is_not_ordered_again();
  a_result_of_before_resolves();
  a_silent_board_gets_no_order();
  wrong_commands_are_refused();
  other_commands_are_answered();
  a_repeat_keeps_its_number();
  a_late_answer_is_none();
  a_coin_is_told_once();
  a_board_that_never_stops_is_survived();
  (void)printf("%u faults at single places\n", wire_sweep(WIRE_FAULTS, dispense_with_a_fault));
  for (uint64_t seed = 1; seed <= (getenv("SIPEAT_SOAK") == NULL ? 2 : 1000); seed++) {
    conversation_of_100000_frames(seed);
  }
  return 0;
}
