/* modbus_test.c - Modbus RTU: vectors, scenarios, both profiles, and what their engine makes of
 * every fault. */
#include "serial/modbus.h"

#include "serial/checksum.h"
#include "serial/modbus_frame.h"
#include "support/test.h"
#include "support/vectors.h"
#include "support/wire.h"

#include <ctype.h>

enum { SECOND = 1000000, ROOM = 300, COIL_ON = 0xFF00 };

static const struct sip_note NO_SETTINGS = { .name = "settings" };

static void check_field(const struct vector *fields, const char *name, int64_t value)
{
  CHECK_INT(value, vector_int(fields, name, value));
}

static size_t written(const struct sip_modbus_frame *frame, bool request, uint8_t *out)
{
  uint8_t function = frame->function & 0x7F;

  if ((frame->function & SIP_MODBUS_REFUSED) != 0) {
    return sip_modbus_write_exception(out, frame->address, function, frame->exception);
  } else if (!request && frame->data != NULL) {
    return sip_modbus_write_data(out, frame->address, function, frame->data, frame->bytes);
  } else if (request && function >= SIP_MODBUS_WRITE_COILS) {
    return sip_modbus_write_many(out, frame->address, function, frame->start, frame->value,
                                 frame->data);
  }
  return sip_modbus_write(out, frame->address, function, frame->start, frame->value);
}

static void frame_holds(const struct vector *vector)
{
  bool request = strcmp(vector_text(vector, "role", 0), "request") == 0;
  uint8_t bytes[ROOM], again[ROOM];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_modbus_frame frame;
  struct vector fields, item;
  enum sip_modbus_fault fault = sip_modbus_read(bytes, size, request, &frame);
  char text[200] = "";

  CHECK_STR(sip_modbus_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_MODBUS_OK) {
    return;
  }
  CHECK_INT(written(&frame, request, again), size);
  CHECK(memcmp(again, bytes, size) == 0);
  CHECK_INT(sip_modbus_describe(bytes, size, request, text, sizeof text), size);
  CHECK(text[0] != '\0' && strcmp(text, "noise") != 0);
  if (!vector_field(vector, "fields", &fields)) {
    return;
  }
  check_field(&fields, "addr", frame.address);
  check_field(&fields, "fn", frame.function);
  check_field(&fields, "start", frame.start);
  check_field(&fields, "value", frame.value);
  check_field(&fields, "count", frame.value);
  check_field(&fields, "bytes", (int64_t)frame.bytes);
  check_field(&fields, "exception", frame.exception);
  for (int i = 0; vector_item(&fields, "regs", i, &item); i++) {
    CHECK_INT(frame.data[2 * i] << 8 | frame.data[2 * i + 1], vector_value_int(&item));
  }
}

static void vector_holds(const struct vector *vector)
{
  const char *check = vector_text(vector, "check", 0);
  uint8_t request[ROOM], response[ROOM];
  struct sip_modbus_frame frame;

  if (strcmp(check, "modbus") == 0) {
    frame_holds(vector);
  } else if (strcmp(check, "crc") == 0) {
    size_t size = vector_bytes(vector, "hex", request, sizeof request);

    CHECK_INT(sip_crc16_a001(SIP_CRC16_MODBUS, request, size),
              strtol(vector_text(vector, "value", 0), NULL, 16));
  } else {
    size_t request_size = vector_bytes(vector, "request", request, sizeof request);
    size_t response_size = vector_bytes(vector, "response", response, sizeof response);

    CHECK_STR(check, "modbus_pair");
    CHECK_STR(sip_modbus_fault_name(
                sip_modbus_pair(request, request_size, response, response_size, &frame)),
              vector_text(vector, "expect", 1));
  }
}

/* How many orders are on the wire: a coil that is switched on, a start register. */
static void count_orders(void *arg, int side, const uint8_t *bytes, size_t size)
{
  CHECK(size >= 5);
  *(int *)arg +=
    side == WIRE_HOST &&
    ((bytes[1] == SIP_MODBUS_WRITE_COIL && (bytes[4] != 0 || bytes[5] != 0)) || bytes[1] == 6);
}

static struct sip_party *made(struct sip_party *party, const struct sip_err *err)
{
  if (party == NULL) {
    SIP_TEST_FAIL("%s", err->message);
  }
  return party;
}

static struct sip_note command(const char *name, uint64_t ticket, int64_t slot)
{
  struct sip_note note = { .name = name, .ticket = ticket };

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

static void misbehave(struct wire *wire, const char *kind, int64_t times)
{
  struct sip_note note = fault(kind, times);

  free(wire_ask(wire, WIRE_BOARD, &note, 0));
}

static struct sip_note *dispensed(struct wire *wire, uint64_t ticket, int64_t slot)
{
  struct sip_note note = command("dispense", ticket, slot);

  return wire_ask(wire, WIRE_HOST, &note, 200 * (int64_t)SECOND);
}

static void check_outcome(struct sip_note *note, const char *outcome, const char *code,
                          const char *proof)
{
  CHECK_STR(sip_note_find(note, "outcome")->text, outcome);
  CHECK_STR(sip_note_find(note, "code")->text, code);
  CHECK_STR(sip_note_find(note, "proof")->text, proof);
  free(note);
}

/* Waits for a whole request of the engine. */
static size_t heard(struct wire *wire, uint8_t *out)
{
  struct sip_buf *got = &wire->ends[WIRE_BOARD].got;
  struct sip_framer framer;
  struct sip_frame frame = { .size = 0 };

  CHECK_INT(sip_framer_init(&framer, &sip_modbus_requests, NULL), 0);
  for (int i = 0; i < 4000 && got->len == 0; i++) {
    wire_run(wire, 1000);
  }
  CHECK_INT(sip_framer_feed(&framer, 0, (const uint8_t *)got->data, got->len), got->len);
  if (got->len > 0) {
    CHECK(sip_framer_next(&framer, &frame));
    CHECK_INT(frame.size, got->len);
    memcpy(out, frame.bytes, frame.size);
  }
  sip_buf_clear(got);
  sip_framer_deinit(&framer);
  return frame.size;
}

/* As a slave that has nothing on and sees nothing. */
static void answer_nothing(struct wire *wire, const uint8_t *request, size_t size)
{
  static const uint8_t NONE[1] = { 0 };
  struct sip_modbus_frame asked;
  uint8_t out[ROOM];

  CHECK_INT(sip_modbus_read(request, size, true, &asked), SIP_MODBUS_OK);
  if (asked.function <= SIP_MODBUS_READ_INPUTS) {
    wire_put(wire, WIRE_BOARD, out,
             sip_modbus_write_data(out, asked.address, asked.function, NONE, 1));
  } else {
    wire_put(wire, WIRE_BOARD, out,
             sip_modbus_write(out, asked.address, asked.function, asked.start, asked.value));
  }
  wire_run(wire, 20000);
}

static void play_step(struct wire *wire, const struct vector *step, bool first)
{
  uint8_t bytes[ROOM], request[ROOM];
  size_t size = vector_bytes(step, "hex", bytes, sizeof bytes), asked;

  if (vector_text(step, "event", 0) != NULL) {
    return; /* the next request comes after its time */
  }
  if (strcmp(vector_text(step, "dir", 0), "in") == 0) {
    wire_put(wire, WIRE_BOARD, bytes, size);
    wire_run(wire, 20000);
    return;
  }
  asked = heard(wire, request);
  while (first && !(asked == size && memcmp(request, bytes, size) == 0)) {
    CHECK(asked > 0);
    answer_nothing(wire, request, asked);
    asked = heard(wire, request);
  }
  CHECK_INT(asked, size);
  CHECK(memcmp(request, bytes, size) == 0);
}

static void scenario_holds(const struct vector *scenario)
{
  struct wire *wire = wire_new(1);
  struct sip_note order = command("dispense", 1, 0), *result;
  const char *outcome = vector_text(scenario, "outcome", 2);
  struct sip_err err = { 0 };
  struct vector step;
  uint8_t request[ROOM];
  size_t size;
  int orders = 0;

  wire->tap = count_orders;
  wire->arg = &orders;
  wire_join(wire,
            made(sip_protocol_modbus.engine(&NO_SETTINGS, wire_line(wire, WIRE_HOST), &err), &err),
            NULL);
  wire_link(wire, true);
  wire_command(wire, WIRE_HOST, &order);
  for (int i = 0; vector_item(scenario, "steps", i, &step); i++) {
    play_step(wire, &step, i == 0);
  }
  while ((result = wire_take(wire, WIRE_HOST, "result")) == NULL) {
    size = heard(wire, request);
    CHECK(size > 0);
    answer_nothing(wire, request, size);
  }
  CHECK_INT(orders, vector_int(scenario, "dispense_frames", -1));
  CHECK_INT(tolower(outcome[0]), sip_note_find(result, "outcome")->text[0]);
  free(result);
  wire_free(wire);
}

/* What the tests run with. */
struct shape {
  const char *profile, *latch;
  bool counter, clears;
  bool holding; /* the counter is a register like state and result */
};

static const struct shape SHAPES[] = {
  { "relay", "none", false, true, false },    { "relay", "read", false, true, false },
  { "relay", "none", true, true, false },     { "dispenser", "none", false, true, false },
  { "dispenser", "none", true, true, false }, { "dispenser", "none", false, false, false },
  { "dispenser", "none", true, true, true },
};

static void join(struct wire *wire, const struct shape *shape)
{
  struct sip_note host = { .name = "settings" }, board = { .name = "settings" };
  struct sip_err err = { 0 };
  struct sip_party *engine, *simulator;

  (void)sip_note_text(&host, "profile", shape->profile);
  (void)sip_note_text(&host, "latch", shape->latch);
  (void)sip_note_int(&host, "counter_register", !shape->counter ? -1 : shape->holding ? 3 : 0);
  (void)sip_note_int(&host, "counter_function", shape->holding ? 3 : 4);
  (void)sip_note_int(&host, "result_clears", shape->clears);
  (void)sip_note_int(&host, "job_ms", 6000);
  (void)sip_note_int(&host, "identify_register", 10);
  (void)sip_note_int(&host, "identify_value", 0x5150);
  (void)sip_note_text(&board, "profile", shape->profile);
  (void)sip_note_text(&board, "latch", shape->latch);
  (void)sip_note_int(&board, "clears", shape->clears);
  (void)sip_note_int(&board, "stock", 1000000);
  engine = made(sip_protocol_modbus.engine(&host, wire_line(wire, WIRE_HOST), &err), &err);
  simulator = made(sip_protocol_modbus.simulator(&board, wire_line(wire, WIRE_BOARD), &err), &err);
  wire_join(wire, engine, simulator);
  wire_link(wire, true);
}

static struct wire *world(int shape)
{
  struct wire *wire = wire_new(1);

  join(wire, &SHAPES[shape]);
  return wire;
}

/* The counter is read until it says the same twice. */
static void a_counter_like_a_result_is_read_twice(void)
{
  struct wire *wire = world(6);
  struct sip_note *note = dispensed(wire, 1, 3);

  CHECK_INT(sip_note_number(note, "count_before", -1), 0);
  CHECK_INT(sip_note_number(note, "count", -1), 1);
  check_outcome(note, "done", "DELIVERED", "sensor");
  misbehave(wire, "jam", 1);
  misbehave(wire, "lie", 1);
  check_outcome(dispensed(wire, 2, 3), "unknown", "CONTRADICTION", "none");
  wire_free(wire);
}

static void each_shape_dispenses(void)
{
  static const char *const PROOFS[] = {
    "sensor", "sensor", "sensor", "sensor", "sensor", "sensor"
  };

  for (int i = 0; i < 6; i++) {
    struct wire *wire = world(i);
    struct sip_note *note;
    int orders = 0;

    wire->tap = count_orders;
    wire->arg = &orders;
    for (uint64_t j = 1; j <= 5; j++) {
      check_outcome(dispensed(wire, j, 3), "done", "DELIVERED", PROOFS[i]);
    }
    CHECK_INT(orders, 5);
    CHECK_INT(wire_state(wire, "fallen"), 5);
    CHECK_INT(wire_state(wire, "motor_runs"), 5);
    CHECK_INT(wire_state(wire, "on"), 0);
    note = wire_take(wire, WIRE_HOST, "identified");
    CHECK(note != NULL && sip_note_is(note, "id", "address 1"));
    free(note);
    wire_free(wire);
  }
}

static void what_does_not_fall_is_told_as_far_as_known(void)
{
  static const char *const OUTCOMES[] = { "unknown", "failed", "failed",
                                          "failed",  "failed", "failed" };
  static const char *const CODES[] = { "NOT_SEEN", "NO_DROP", "NO_DROP", "JAM", "JAM", "JAM" };
  static const char *const PROOFS[] = { "none", "sensor", "counter", "sensor", "sensor", "sensor" };

  for (int i = 0; i < 6; i++) {
    struct wire *wire = world(i);

    misbehave(wire, "jam", 1);
    check_outcome(dispensed(wire, 1, 3), OUTCOMES[i], CODES[i], PROOFS[i]);
    CHECK_INT(wire_state(wire, "on"), 0);
    CHECK_INT(wire_state(wire, "orders"), 1);
    check_outcome(dispensed(wire, 2, 3), "done", "DELIVERED", "sensor");
    wire_free(wire);
  }
}

static void refusals_and_half_refusals(void)
{
  static const struct {
    int code;
    const char *outcome, *result;
  } CASES[] = {
    { 1, "failed", "REFUSED" },     { 2, "failed", "REFUSED" },     { 3, "failed", "REFUSED" },
    { 4, "unknown", "NO_ANSWER" },  { 5, "unknown", "NOT_SEEN" },   { 6, "failed", "REFUSED" },
    { 10, "unknown", "NO_ANSWER" }, { 11, "unknown", "NO_ANSWER" },
  };

  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    struct wire *wire = world(3);
    struct sip_note order = command("dispense", 1, 3);
    struct sip_note refuse = { .name = "exception", .ticket = 2 };
    int orders = 0;

    (void)sip_note_int(&refuse, "code", CASES[i].code);
    wire_run(wire, SECOND);
    wire->tap = count_orders;
    wire->arg = &orders;
    wire_command(wire, WIRE_HOST, &order);
    while (orders == 0) {
      wire_run(wire, 100);
    }
    free(wire_ask(wire, WIRE_BOARD, &refuse, 0)); /* the order is on its way */
    check_outcome(wire_result(wire, WIRE_HOST, 1, 20 * (int64_t)SECOND), CASES[i].outcome,
                  CASES[i].result, "none");
    CHECK_INT(orders, 1);
    CHECK_INT(wire_state(wire, "motor_runs"), 0);
    wire_free(wire);
  }
}

/* The board stops answering right when the order comes: `mute` carries it out. */
static struct sip_note *ordered_in_silence(struct wire *wire)
{
  struct sip_note order = command("dispense", 1, 3);
  int orders = 0;

  wire_run(wire, SECOND);
  wire->tap = count_orders;
  wire->arg = &orders;
  wire_command(wire, WIRE_HOST, &order);
  while (orders == 0) {
    wire_run(wire, 100);
  }
  misbehave(wire, "mute", 1);
  return wire_result(wire, WIRE_HOST, 1, 60 * (int64_t)SECOND);
}

static void an_order_without_an_answer_is_looked_after(void)
{
  static const char *const OUTCOMES[] = { "unknown", "done", "done", "done", "done", "unknown" };
  static const char *const PROOFS[] = { "none", "sensor", "counter", "sensor", "sensor", "none" };

  for (int i = 0; i < 6; i++) {
    struct wire *wire = world(i);
    struct sip_note *note = ordered_in_silence(wire);

    CHECK_STR(sip_note_find(note, "outcome")->text, OUTCOMES[i]);
    CHECK_STR(sip_note_find(note, "proof")->text, PROOFS[i]);
    free(note);
    CHECK_INT(wire_state(wire, "orders"), 1);
    CHECK_INT(wire_state(wire, "on"), 0);
    wire_free(wire);
  }
}

/* The register that was read last, and how often the result was. */
struct reads {
  int at, results;
};

static void note_register(void *arg, int side, const uint8_t *bytes, size_t size)
{
  struct reads *reads = arg;

  CHECK(size >= 5);
  if (side == WIRE_HOST) {
    reads->at = bytes[1] == SIP_MODBUS_READ_HOLDING ? bytes[2] << 8 | bytes[3] : -1;
    reads->results += reads->at == 2;
  }
}

/* The answer to the read that clears the result is lost: it is not asked for again. */
static void a_lost_result_is_unknown(void)
{
  for (int clears = 0; clears < 2; clears++) {
    struct shape shape = { "dispenser", "none", false, clears != 0, false };
    struct wire *wire = wire_new(1);
    struct sip_note order = command("dispense", 1, 3);
    struct reads reads = { .at = -1 };

    join(wire, &shape);
    wire->tap = note_register;
    wire->arg = &reads;
    wire_command(wire, WIRE_HOST, &order);
    while (wire_state(wire, "fallen") == 0 || reads.at != 2) {
      wire_run(wire, 100);
    }
    misbehave(wire, "drop", 1);
    check_outcome(wire_result(wire, WIRE_HOST, 1, 20 * (int64_t)SECOND),
                  clears ? "unknown" : "done", clears ? "NOT_SEEN" : "DELIVERED",
                  clears ? "none" : "sensor");
    CHECK_INT(reads.results, clears ? 2 : 3); /* before the order, and once after it; or again */
    wire_free(wire);
  }
}

static void what_contradicts_itself_is_unknown(void)
{
  struct wire *wire = world(4);

  misbehave(wire, "jam", 1);
  misbehave(wire, "lie", 1); /* the result says delivered, the counter has not moved */
  check_outcome(dispensed(wire, 1, 3), "unknown", "CONTRADICTION", "none");
  wire_free(wire);
}

static void a_hang_up_is_resolved_by_reading(void)
{
  for (int i = 0; i < 6; i++) {
    struct wire *wire = world(i);
    struct sip_note order = command("dispense", 1, 3), resolve = command("resolve", 2, 3);
    struct sip_note counters = { .name = "counters", .ticket = 3 }, *note;
    bool known = SHAPES[i].counter || strcmp(SHAPES[i].latch, "read") == 0 ||
                 (strcmp(SHAPES[i].profile, "dispenser") == 0 && SHAPES[i].clears);

    note = wire_ask(wire, WIRE_HOST, &counters, 10 * (int64_t)SECOND);
    CHECK_INT(sip_note_number(note, "ok", 0), 1);
    CHECK_INT(sip_note_number(note, "count", -1), SHAPES[i].counter ? 0 : -1);
    (void)sip_note_int(&resolve, "count", sip_note_number(note, "count", -1));
    free(note);
    wire_command(wire, WIRE_HOST, &order);
    while (wire_state(wire, "motor_runs") == 0) {
      wire_run(wire, 1000);
    }
    wire_hang_up(wire, 3 * (int64_t)SECOND);
    check_outcome(wire_result(wire, WIRE_HOST, 1, SECOND), "unknown", "NO_LINK", "none");
    wire_run(wire, 5 * (int64_t)SECOND);
    CHECK_INT(wire_state(wire, "on"), 0); /* switched off when the link came back */
    note = wire_ask(wire, WIRE_HOST, &resolve, 20 * (int64_t)SECOND);
    if (!known) { /* what the register has may be of the order before */
      check_outcome(note, "unknown", "NOT_KNOWN", "none");
    } else {
      CHECK_STR(sip_note_find(note, "outcome")->text, "done");
      free(note);
    }
    CHECK_INT(wire_state(wire, "orders"), 1);
    wire_free(wire);
  }
}

/* The host was started anew while the motor turns. */
static void what_still_works_is_asked_again(void)
{
  struct wire *wire = world(3);
  struct sip_note order = command("dispense", 1, 3), resolve = command("resolve", 2, 3);

  wire_run(wire, SECOND);
  wire_command(wire, WIRE_HOST, &order);
  while (wire_state(wire, "motor_runs") == 0) {
    wire_run(wire, 1000);
  }
  wire_hang_up(wire, SECOND / 10);
  check_outcome(wire_result(wire, WIRE_HOST, 1, SECOND), "unknown", "NO_LINK", "none");
  wire_run(wire, SECOND / 2);
  check_outcome(wire_ask(wire, WIRE_HOST, &resolve, SECOND), "unknown", "NOT_READY", "none");
  wire_run(wire, 2 * (int64_t)SECOND);
  resolve.ticket = 3;
  check_outcome(wire_ask(wire, WIRE_HOST, &resolve, SECOND), "done", "DELIVERED", "sensor");
  wire_free(wire);
}

static void another_device_does_not_dispense(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note host = { .name = "settings" }, *note;
  struct sip_err err = { 0 };
  int orders = 0;

  (void)sip_note_int(&host, "identify_register", 10);
  (void)sip_note_int(&host, "identify_value", 0x4242);
  wire->tap = count_orders;
  wire->arg = &orders;
  wire_join(
    wire, made(sip_protocol_modbus.engine(&host, wire_line(wire, WIRE_HOST), &err), &err),
    made(sip_protocol_modbus.simulator(&NO_SETTINGS, wire_line(wire, WIRE_BOARD), &err), &err));
  wire_link(wire, true);
  check_outcome(dispensed(wire, 1, 3), "failed", "WRONG_DEVICE", "none");
  note = wire_await(wire, WIRE_HOST, "fault", 0);
  CHECK(sip_note_is(note, "code", "WRONG_DEVICE"));
  free(note);
  CHECK_INT(orders, 0);
  wire_free(wire);
}

/* A board that switches off by itself does so when nobody is there any more. */
static void a_pulse_ends_without_us(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note host = { .name = "settings" }, order = command("dispense", 1, 3);
  struct sip_err err = { 0 };

  (void)sip_note_int(&host, "pulse_start", 512);
  (void)sip_note_int(&host, "motor_ms", 1950);
  wire_join(
    wire, made(sip_protocol_modbus.engine(&host, wire_line(wire, WIRE_HOST), &err), &err),
    made(sip_protocol_modbus.simulator(&NO_SETTINGS, wire_line(wire, WIRE_BOARD), &err), &err));
  wire_link(wire, true);
  check_outcome(dispensed(wire, 2, 4), "done", "DELIVERED", "sensor");
  CHECK_INT(wire_state(wire, "on"), 0);
  wire_command(wire, WIRE_HOST, &order);
  while (wire_state(wire, "motor_runs") == 1) {
    wire_run(wire, 1000);
  }
  wire_link(wire, false);
  wire_run(wire, 1900000);
  CHECK_INT(wire_state(wire, "on"), 1);
  wire_run(wire, 200000);
  CHECK_INT(wire_state(wire, "on"), 0);
  check_outcome(wire_result(wire, WIRE_HOST, 1, 0), "unknown", "NO_LINK", "none");
  CHECK_INT(wire_state(wire, "orders"), 2);
  wire_free(wire);
}

static void a_device_of_another_address_is_not_ours(void)
{
  struct wire *wire = wire_new(1);
  struct sip_note board = { .name = "settings" };
  struct sip_err err = { 0 };

  (void)sip_note_int(&board, "address", 2);
  wire_join(wire,
            made(sip_protocol_modbus.engine(&NO_SETTINGS, wire_line(wire, WIRE_HOST), &err), &err),
            made(sip_protocol_modbus.simulator(&board, wire_line(wire, WIRE_BOARD), &err), &err));
  wire_link(wire, true);
  check_outcome(dispensed(wire, 1, 3), "failed", "NO_ANSWER", "none");
  CHECK_INT(wire_state(wire, "requests"), 0);
  wire_free(wire);
}

static void a_missing_device_gets_no_order(void)
{
  struct wire *wire = wire_new(1);
  struct sip_err err = { 0 };
  int orders = 0;

  wire->tap = count_orders;
  wire->arg = &orders;
  wire_join(wire,
            made(sip_protocol_modbus.engine(&NO_SETTINGS, wire_line(wire, WIRE_HOST), &err), &err),
            NULL);
  check_outcome(dispensed(wire, 1, 3), "failed", "NO_LINK", "none");
  wire_link(wire, true);
  check_outcome(dispensed(wire, 2, 3), "failed", "NO_ANSWER", "none");
  CHECK_INT(orders, 0);
  wire_free(wire);
}

static void other_commands_are_answered(void)
{
  struct wire *wire = world(3);
  struct sip_note ask = { .name = "read", .ticket = 1 }, *note;

  (void)sip_note_int(&ask, "function", 3);
  (void)sip_note_int(&ask, "start", 10);
  note = wire_ask(wire, WIRE_HOST, &ask, 10 * (int64_t)SECOND);
  CHECK_STR(sip_note_find(note, "values")->text, "20816");
  free(note);
  ask.count = 1;
  (void)sip_note_int(&ask, "start", 0);
  (void)sip_note_int(&ask, "count", 3);
  CHECK_INT(wire_refused(wire, WIRE_HOST, &ask), UV_EINVAL); /* would clear the result */
  ask = (struct sip_note){ .name = "status", .ticket = 2 };
  note = wire_ask(wire, WIRE_HOST, &ask, 10 * (int64_t)SECOND);
  CHECK_STR(sip_note_find(note, "state")->text, "idle");
  free(note);
  ask = (struct sip_note){ .name = "identify", .ticket = 3 };
  note = wire_ask(wire, WIRE_HOST, &ask, 10 * (int64_t)SECOND);
  CHECK_STR(sip_note_find(note, "id")->text, "address 1");
  free(note);
  for (uint64_t i = 0; i < 8; i++) {
    ask = command("dispense", 10 + i, 3);
    wire_command(wire, WIRE_HOST, &ask);
  }
  CHECK_INT(wire_refused(wire, WIRE_HOST, &ask), SIP_EQUEUEFULL);
  for (uint64_t i = 0; i < 8; i++) {
    check_outcome(wire_result(wire, WIRE_HOST, 10 + i, 20 * (int64_t)SECOND), "done", "DELIVERED",
                  "sensor");
  }
  misbehave(wire, "mute", 20);
  note = wire_await(wire, WIRE_HOST, "lost", 60 * (int64_t)SECOND);
  free(note);
  wire_free(wire);
}

/* The coil is switched off although noise comes without a pause. */
static void a_line_that_never_stops_does_not_keep_a_motor_on(void)
{
  struct wire *wire = world(0);
  struct sip_note order = command("dispense", 1, 3);

  wire_run(wire, SECOND);
  wire_command(wire, WIRE_HOST, &order);
  while (wire_state(wire, "motor_runs") == 0) {
    wire_run(wire, 1000);
  }
  misbehave(wire, "forever", 60000);
  wire_run(wire, 30 * (int64_t)SECOND);
  CHECK_INT(wire_state(wire, "on"), 0);
  free(wire_result(wire, WIRE_HOST, 1, 100 * (int64_t)SECOND));
  CHECK_INT(wire_state(wire, "orders"), 1);
  wire_free(wire);
}

static void dispense_with_a_fault(struct wire *wire, int shape)
{
  struct sip_note *note;

  join(wire, &SHAPES[shape]);
  note = dispensed(wire, 1, 3);
  wire_run(wire, 5 * (int64_t)SECOND);
  wire_check_order(wire, note, 0, 0);
  CHECK_INT(wire_state(wire, "on"), 0);
  free(note);
}

static void relay_with_a_fault(struct wire *wire)
{
  dispense_with_a_fault(wire, 1);
}

static void dispenser_with_a_fault(struct wire *wire)
{
  dispense_with_a_fault(wire, 4);
}

struct tally {
  int done, failed, unknown;
};

static void converse(struct wire *wire, struct tally *tally, uint64_t ticket)
{
  static const char *const FAULTS[] = { "jam",       "mute",    "reset", "drop",
                                        "duplicate", "corrupt", "delay" };
  int64_t runs = wire_state(wire, "motor_runs"), fallen = wire_state(wire, "fallen");
  struct sip_note *note;

  if (wire_random(wire, 20) == 0) {
    misbehave(wire, FAULTS[wire_random(wire, sizeof FAULTS / sizeof FAULTS[0])], 1);
  }
  note = dispensed(wire, ticket, 1 + (int64_t)wire_random(wire, 7));
  tally->done += sip_note_is(note, "outcome", "done");
  tally->failed += sip_note_is(note, "outcome", "failed");
  if (sip_note_is(note, "outcome", "unknown")) {
    tally->unknown++;
    wire_run(wire, 8 * (int64_t)SECOND);
  }
  wire_check_order(wire, note, runs, fallen);
  free(note);
  wire_run(wire, SECOND / 10); /* without a link there was no time */
  wire_forget(wire, WIRE_HOST);
}

static void conversation_of_100000_frames(int shape, uint64_t seed)
{
  struct wire *wire = wire_new(seed);
  struct tally tally = { 0 };
  uint64_t ticket = 1;

  join(wire, &SHAPES[shape]);
  wire->faults = WIRE_FAULTS;
  wire->per_10000 = 100;
  wire->delay_us = 1500000; /* beyond the time for an answer */
  while (wire->sent < 100000) {
    converse(wire, &tally, ticket++);
  }
  (void)printf(
    "seed %d, %s, %s%s: %d frames, %d faults, %d hang-ups: %d done, %d failed, %d unknown\n",
    (int)seed, SHAPES[shape].profile, SHAPES[shape].latch, SHAPES[shape].counter ? ", counter" : "",
    (int)wire->sent, (int)wire->faulty, (int)wire->hang_ups, tally.done, tally.failed,
    tally.unknown);
  CHECK(tally.done > 500 && tally.unknown > 5 && wire->faulty > 500);
  wire_free(wire);
}

int main(void)
{
  vectors_each("modbus", 35, vector_holds);
  vectors_scenarios("modbus", 3, scenario_holds);
  each_shape_dispenses();
  a_counter_like_a_result_is_read_twice();
  what_does_not_fall_is_told_as_far_as_known();
  refusals_and_half_refusals();
  an_order_without_an_answer_is_looked_after();
  a_lost_result_is_unknown();
  what_contradicts_itself_is_unknown();
  a_hang_up_is_resolved_by_reading();
  what_still_works_is_asked_again();
  another_device_does_not_dispense();
  a_pulse_ends_without_us();
  a_device_of_another_address_is_not_ours();
  a_missing_device_gets_no_order();
  other_commands_are_answered();
  a_line_that_never_stops_does_not_keep_a_motor_on();
  (void)printf("%u faults at single places of a relay\n",
               wire_sweep(WIRE_FAULTS, relay_with_a_fault));
  (void)printf("%u of a dispenser\n", wire_sweep(WIRE_FAULTS, dispenser_with_a_fault));
  for (uint64_t seed = 1; seed <= (getenv("SIPEAT_SOAK") == NULL ? 1 : 200); seed++) {
    for (int i = 0; i < 7; i++) {
      conversation_of_100000_frames(i, seed);
    }
  }
  return 0;
}
