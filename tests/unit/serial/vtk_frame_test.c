/* vtk_frame_test.c - VTK as it stands in its document: vectors both ways, and the scenario. */
#include "serial/vtk_frame.h"

#include "serial/vtk.h"
#include "support/framing.h"
#include "support/test.h"
#include "support/vectors.h"
#include "support/wire.h"

enum { SECOND = 1000000, ROOM = 600 };

static void hex_of(const uint8_t *bytes, size_t size, char *out)
{
  for (size_t i = 0; i < size; i++) {
    (void)snprintf(out + 2 * i, 3, "%02X", bytes[i]);
  }
  out[2 * size] = '\0';
}

static void fields_hold(const struct vector *vector, const struct sip_vtk_message *message)
{
  struct vector fields, pair, item;
  char text[2 * ROOM + 1];

  if (!vector_field(vector, "fields", &fields)) {
    return;
  }
  if (vector_text(&fields, "proto", 1) != NULL) {
    (void)snprintf(text, sizeof text, "%04X", message->proto);
    CHECK_STR(text, vector_text(&fields, "proto", 1));
  }
  if (!vector_item(&fields, "tlv", 0, &pair)) {
    return;
  }
  for (int i = 0; vector_item(&fields, "tlv", i, &pair); i++) {
    CHECK((unsigned)i < message->count);
    item = (struct vector){ pair.text, pair.value + 1 };
    (void)snprintf(text, sizeof text, "%02X", message->fields[i].tag);
    CHECK_STR(text, vector_value_text(&item, 1));
    item.value = pair.value + 2;
    hex_of(message->fields[i].bytes, message->fields[i].size, text);
    CHECK_STR(text, vector_value_text(&item, 1));
  }
}

static void frame_holds(const struct vector *vector, bool tcp)
{
  uint8_t bytes[ROOM], again[ROOM];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_vtk_message message;
  enum sip_vtk_fault fault = sip_vtk_read(&message, bytes, size, tcp);
  char text[400];

  CHECK_STR(sip_vtk_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_VTK_OK) {
    return;
  }
  fields_hold(vector, &message);
  CHECK_INT(sip_vtk_describe(bytes, size, true, text, sizeof text), size);
  CHECK(text[0] != '\0' && strcmp(text, "noise") != 0);
  if (message.count > 0) { /* cards' messages are not ours to write */
    CHECK_INT(sip_vtk_write(again, sizeof again, &message, tcp), size);
    CHECK(memcmp(again, bytes, size) == 0);
  }
  if (!tcp) { /* over TCP no byte is another one */
    framing_holds(&sip_vtk_framing, NULL, bytes, size, NULL);
  }
}

static void stream_holds(const struct vector *vector)
{
  struct sip_framer framer;
  struct sip_frame frame;
  struct vector item;
  uint8_t bytes[ROOM];
  int found = 0;

  CHECK_INT(sip_framer_init(&framer, &sip_vtk_framing, NULL), 0);
  for (int i = 0; vector_item(vector, "chunks", i, &item); i++) {
    size_t size = vector_value_bytes(&item, bytes, sizeof bytes);

    CHECK_INT(sip_framer_feed(&framer, i, bytes, size), size);
    while (sip_framer_next(&framer, &frame)) {
      CHECK(vector_item(vector, "frames", found++, &item));
      CHECK_INT(vector_value_bytes(&item, bytes, sizeof bytes), frame.size);
      CHECK(memcmp(bytes, frame.bytes, frame.size) == 0);
    }
  }
  CHECK(!vector_item(vector, "frames", found, &item));
  CHECK_INT(framer.dropped, vector_int(vector, "dropped", -1));
  sip_framer_deinit(&framer);
}

static void vector_holds(const struct vector *vector)
{
  const char *check = vector_text(vector, "check", 1);

  if (strcmp(check, "stream") == 0) {
    stream_holds(vector);
  } else {
    frame_holds(vector, strcmp(check, "vtk_tcp") == 0);
  }
}

/* What the engine sends beside the scenario's frames: IDL, which the reader answers. */
static void answer_idle(struct wire *wire, const char *operation)
{
  struct sip_vtk_message idle = { .proto = SIP_VTK_FROM_READER };
  uint8_t bytes[ROOM];

  sip_vtk_add_text(&idle, SIP_VTK_NAME, "IDL");
  sip_vtk_add_text(&idle, SIP_VTK_OPERATION, operation);
  wire_put(wire, WIRE_BOARD, bytes, sip_vtk_write(bytes, sizeof bytes, &idle, false));
}

/* Runs until the engine has sent something else than IDL, which has to be `want`. */
static void expect_frame(struct wire *wire, const char **operation, const uint8_t *want,
                         size_t size)
{
  struct sip_buf *got = &wire->ends[WIRE_BOARD].got;
  struct sip_vtk_message message;

  for (int i = 0; i < 3000; i++) {
    wire_run(wire, SECOND / 10);
    if (got->len == 0) {
      continue;
    }
    CHECK_INT(sip_vtk_read(&message, (const uint8_t *)got->data, got->len, false), SIP_VTK_OK);
    if (!sip_vtk_is(&message, "IDL")) {
      CHECK_INT(got->len, size);
      CHECK(memcmp(got->data, want, size) == 0);
      sip_buf_clear(got);
      *operation = "6";
      return;
    }
    sip_buf_clear(got);
    answer_idle(wire, *operation);
  }
  SIP_TEST_FAIL("the engine does not send what the scenario says");
}

static void scenario_holds(const struct vector *scenario)
{
  static const struct sip_note settings = { .name = "settings" };
  struct sip_note charge = { .name = "charge", .ticket = 1 };
  struct sip_note settle = { .name = "settle", .ticket = 2 };
  struct wire *wire = wire_new(1);
  const char *operation = "5";
  struct vector step;
  bool settled = false;

  wire_join(wire, sip_protocol_vtk.engine(&settings, wire_line(wire, WIRE_HOST), NULL), NULL);
  wire_link(wire, true);
  CHECK(sip_note_int(&charge, "amount_minor", 25000));
  CHECK(sip_note_bool(&settle, "ok", true));
  wire_command(wire, WIRE_HOST, &charge);
  for (int i = 0; vector_item(scenario, "steps", i, &step); i++) {
    const char *event = vector_text(&step, "event", 1);
    uint8_t bytes[ROOM];
    size_t size = event != NULL ? 0 : vector_bytes(&step, "hex", bytes, sizeof bytes);

    if (event != NULL && strcmp(event, "hangup") == 0) {
      wire_link(wire, false);
      wire_link(wire, true);
    } else if (event == NULL && strcmp(vector_text(&step, "dir", 1), "out") == 0) {
      expect_frame(wire, &operation, bytes, size);
    } else if (event == NULL) {
      wire_put(wire, WIRE_BOARD, bytes, size);
      free(wire_result(wire, WIRE_HOST, settled ? 2 : 1, SECOND));
      if (!settled) {
        wire_command(wire, WIRE_HOST, &settle);
        settled = true;
      }
    }
  }
  CHECK(settled);
  wire_free(wire);
}

int main(void)
{
  vectors_each("vtk", 29, vector_holds);
  vectors_scenarios("vtk", 1, scenario_holds);
  (void)printf("ok\n");
  return 0;
}
