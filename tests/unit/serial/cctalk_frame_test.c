/* cctalk_frame_test.c - ccTalk as it stands in the specification: vectors both ways, and scenarios.
 */
#include "serial/cctalk_frame.h"

#include "serial/cctalk.h"
#include "support/framing.h"
#include "support/test.h"
#include "support/vectors.h"
#include "support/wire.h"

enum { SECOND = 1000000, STEPS = 12 };

static void data_holds(const struct vector *fields, const struct sip_cctalk_frame *frame)
{
  struct vector item;

  if (!vector_item(fields, "data", 0, &item)) {
    return;
  }
  for (int i = 0; vector_item(fields, "data", i, &item); i++) {
    CHECK(i < frame->size);
    CHECK_INT(frame->data[i], vector_value_int(&item));
  }
}

static void frame_holds(const struct vector *vector, bool crc)
{
  struct sip_cctalk_form form = { .crc = crc };
  struct sip_cctalk_frame frame = { .dest = 0 };
  uint8_t bytes[300], again[SIP_CCTALK_FRAME_MAX];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  enum sip_cctalk_fault fault = sip_cctalk_read(&frame, bytes, size, crc);
  struct vector fields;
  char text[400];

  CHECK_STR(sip_cctalk_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_CCTALK_OK) {
    return;
  }
  if (vector_field(vector, "fields", &fields)) {
    CHECK_INT(frame.dest, vector_int(&fields, "dest", frame.dest));
    CHECK_INT(frame.src, vector_int(&fields, "src", frame.src));
    CHECK_INT(frame.header, vector_int(&fields, "header", frame.header));
    data_holds(&fields, &frame);
  }
  CHECK_INT(sip_cctalk_write(again, &frame, crc), size);
  CHECK(memcmp(again, bytes, size) == 0);
  CHECK_INT(sip_cctalk_describe(bytes, size, true, text, sizeof text), size);
  CHECK(strcmp(text, "noise") != 0);
  form.dest = frame.dest; /* as a receiver has it */
  framing_holds(&sip_cctalk_framing, &form, bytes, size, NULL);
}

static bool is_true(const struct vector *vector, const char *key)
{
  struct vector value;

  CHECK(vector_field(vector, key, &value));
  return value.value->type == SIP_JSON_TRUE;
}

static void events_hold(const struct vector *vector)
{
  struct sip_cctalk_delta delta;
  struct vector expect, last;

  CHECK(vector_field(vector, "last", &last));
  delta = sip_cctalk_delta(last.value->type == SIP_JSON_NULL ? -1 : (int)vector_value_int(&last),
                           (int)vector_int(vector, "cur", -1));
  CHECK(vector_field(vector, "expect", &expect));
  CHECK_INT(delta.fresh, vector_int(&expect, "new", -1));
  CHECK_INT(delta.lost, vector_int(&expect, "lost", -1));
  CHECK_INT(delta.reset, is_true(&expect, "reset"));
  CHECK_INT(delta.baseline, is_true(&expect, "baseline"));
}

static void echo_holds(const struct vector *vector)
{
  static const char *const names[] = { "ok", "no_reply", "incomplete", "echo_corrupt",
                                       "echo_missing" };
  uint8_t sent[64], came[64], reply[64];
  size_t sent_size = vector_bytes(vector, "tx", sent, sizeof sent);
  size_t came_size = vector_bytes(vector, "rx", came, sizeof came);
  size_t reply_size = vector_bytes(vector, "reply", reply, sizeof reply), at;
  enum sip_cctalk_echo echo = sip_cctalk_echo(sent, sent_size, came, came_size, false, &at);

  CHECK_STR(names[echo], vector_text(vector, "expect", 0));
  if (echo == SIP_CCTALK_ECHO_OK) {
    CHECK_INT(came_size - at, reply_size);
    CHECK(memcmp(came + at, reply, reply_size) == 0);
  }
}

static void vector_holds(const struct vector *vector)
{
  const char *check = vector_text(vector, "check", 1);

  if (strcmp(check, "cctalk_events") == 0) {
    events_hold(vector);
  } else if (strcmp(check, "cctalk_echo") == 0) {
    echo_holds(vector);
  } else {
    frame_holds(vector, strcmp(check, "cctalk_crc") == 0);
  }
}

/* A board that plays a scenario, and what else the engine asks as a hopper at rest would. */
struct play {
  struct wire *wire;
  const struct vector *scenario;
  int step; /* the next one */
  unsigned orders;
  uint8_t status[16]; /* the last answer to 166 */
  size_t status_size;
};

static bool step_bytes(const struct play *play, int at, const char *dir, uint8_t *out, size_t *size)
{
  struct vector step;

  if (!vector_item(play->scenario, "steps", at, &step) || vector_text(&step, "dir", 1) == NULL ||
      strcmp(vector_text(&step, "dir", 1), dir) != 0) {
    return false;
  }
  *size = vector_bytes(&step, "hex", out, 64);
  return true;
}

static void put(struct play *play, uint8_t from, uint8_t header, const char *data, size_t size)
{
  struct sip_cctalk_frame frame = { .dest = SIP_CCTALK_HOST,
                                    .src = from,
                                    .header = header,
                                    .size = (uint8_t)size,
                                    .data = (const uint8_t *)data };
  uint8_t bytes[SIP_CCTALK_FRAME_MAX];

  wire_put(play->wire, WIRE_BOARD, bytes, sip_cctalk_write(bytes, &frame, false));
}

static void at_rest(struct play *play, const struct sip_cctalk_frame *asked)
{
  char total[3] = { 0x10, 0x27, 0 };

  switch (asked->header) {
  case SIP_CCTALK_DISPENSE_COUNT: /* the order of the scenario is the fifth one */
    total[0] = (char)(total[0] + (play->status[4] == 5 ? play->status[6] : 0));
    put(play, asked->dest, 0, total, sizeof total);
    break;
  case SIP_CCTALK_SERIAL_NUMBER:
    put(play, asked->dest, 0, total, sizeof total);
    break;
  case SIP_CCTALK_TEST_HOPPER:
    put(play, asked->dest, 0, "\x00", 1);
    break;
  case SIP_CCTALK_HOPPER_STATUS:
    wire_put(play->wire, WIRE_BOARD, play->status, play->status_size);
    break;
  default:
    put(play, asked->dest, 0, "", 0);
    break;
  }
}

static void play_on(struct play *play, const uint8_t *bytes, size_t size)
{
  struct sip_cctalk_frame asked;
  uint8_t want[64], in[64];
  size_t want_size, in_size;

  CHECK_INT(sip_cctalk_read(&asked, bytes, size, false), SIP_CCTALK_OK);
  play->orders += asked.header == SIP_CCTALK_DISPENSE;
  if (!step_bytes(play, play->step, "out", want, &want_size) || want_size != size ||
      memcmp(want, bytes, size) != 0) {
    at_rest(play, &asked);
    return;
  }
  play->step++;
  if (!step_bytes(play, play->step, "in", in, &in_size)) {
    play->step++; /* an event: nothing comes */
    return;
  }
  while (step_bytes(play, play->step, "in", in, &in_size)) {
    play->step++;
    wire_put(play->wire, WIRE_BOARD, in, in_size);
  }
  if (asked.header == SIP_CCTALK_HOPPER_STATUS) {
    memcpy(play->status, in, in_size);
    play->status_size = in_size;
  }
}

/* Each piece that comes for the board is one frame of the engine's. */
static void run(struct play *play, int64_t for_us)
{
  for (int64_t until = play->wire->now_us + for_us; play->wire->now_us < until;) {
    wire_run(play->wire, 1000);
    if (play->wire->ends[WIRE_BOARD].got.len > 0) {
      struct sip_buf *got = &play->wire->ends[WIRE_BOARD].got;

      play_on(play, (const uint8_t *)got->data, got->len);
      sip_buf_clear(got);
    }
  }
}

static void scenario_holds(const struct vector *scenario)
{
  static const uint8_t rest[] = { 1, 4, 3, 0, 4, 0, 1, 0, 0xF3 };
  struct sip_note settings = { .name = "settings" }, order = { .name = "dispense", .ticket = 1 };
  struct play play = { .wire = wire_new(1), .scenario = scenario, .status_size = sizeof rest };
  const char *outcome = vector_text(scenario, "outcome", 2);
  struct sip_note *result;

  memcpy(play.status, rest, sizeof rest);
  CHECK(sip_note_int(&settings, "acceptor", 0));
  CHECK(sip_note_text(&settings, "echo", "no"));
  CHECK(sip_note_int(&order, "quantity", 2));
  wire_join(play.wire, sip_protocol_cctalk.engine(&settings, wire_line(play.wire, WIRE_HOST), NULL),
            NULL);
  wire_link(play.wire, true);
  run(&play, 2 * SECOND);
  wire_command(play.wire, WIRE_HOST, &order);
  run(&play, 10 * SECOND);
  result = wire_result(play.wire, WIRE_HOST, 1, 1);
  CHECK(sip_note_is(result, "outcome", "done") == (strcmp(outcome, "DONE") == 0));
  CHECK(sip_note_is(result, "outcome", "failed") == (strcmp(outcome, "FAILED") == 0));
  CHECK(sip_note_is(result, "outcome", "unknown") == (strcmp(outcome, "UNKNOWN") == 0));
  CHECK_INT(play.orders, vector_int(scenario, "dispense_frames", -1));
  CHECK(play.step >= 2);
  free(result);
  wire_free(play.wire);
}

int main(void)
{
  vectors_each("cctalk", 44, vector_holds);
  vectors_scenarios("cctalk", 3, scenario_holds);
  (void)printf("ok\n");
  return 0;
}
