/* vtk_sim.c - a Vendotek reader: keeps its last operation and its books over a loss of power.
 *
 * It answers IDL and DIS with what it remembers; VRP when the customer has held up a card (`tap_ms`
 * later), with the amount, or 0; FIN with what it booked. The last operation number again is a
 * repetition and gets the earlier answer; any other number is a new charge, and an approved
 * operation before it that was not finished is reversed. FIN for another operation gets no answer.
 *
 * Settings: form, id, operation (its last number), event, keepalive_s, timeout_s, tap_ms.
 * Commands: state → {operation, charges, charged_minor, settled_minor, refunded_minor,
 *   deposited_minor, requests, repeats, finals, sales}: its books; decline {times}, limit
 *   {amount_minor}, start {amount_minor} (a customer begins), card; swap {id, operation} (another
 *   reader), forget (its memory is lost), fault {kind, times, ms} (misbehave.h), where reset is a
 *   loss of power at the next message (nothing is answered for 2 s; a customer who has not held up
 *   the card is gone), lie a FIN answered with another amount, and mute a message that it takes
 *   without an answer. */
#include "core/base.h"
#include "serial/fields.h"
#include "serial/misbehave.h"
#include "serial/vtk.h"
#include "serial/vtk_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOOT_US = 2000000, ID = 64, DIGITS = 24 };

struct vtk_sim {
  struct sip_party party;
  bool tcp, disabled;
  struct sip_misbehave faults;
  struct sip_framer in;
  char id[ID];
  int64_t keepalive_s, timeout_s, tap_us, limit, declines;
  /* Kept without power: the last operation. */
  int64_t operation, event, approved, booked;
  bool deposit, decided, finished;
  /* Lost without power. */
  int64_t tap_at_us, asked, dead_until_us;
  int64_t charges, charged, settled, refunded, deposited, requests, repeats, finals, sales;
};

static struct vtk_sim *sim_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct vtk_sim, party);
}

static void add_number(struct sip_vtk_message *message, uint32_t tag, char text[DIGITS],
                       int64_t number)
{
  (void)snprintf(text, DIGITS, "%" PRId64, number);
  sip_vtk_add_text(message, tag, text);
}

static void send_message(struct vtk_sim *sim, int64_t now_us, const struct sip_vtk_message *message)
{
  uint8_t frame[SIP_MISBEHAVE_FRAME];
  size_t size = sip_vtk_write(frame, sizeof frame, message, sim->tcp);

  if (!sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_MUTE)) {
    sip_misbehave_send(&sim->faults, now_us, frame, size);
  }
}

static void answer(struct vtk_sim *sim, int64_t now_us, const char *name, int64_t amount)
{
  struct sip_vtk_message message = { .proto = SIP_VTK_FROM_READER };
  char digits[2][DIGITS];

  sip_vtk_add_text(&message, SIP_VTK_NAME, name);
  add_number(&message, SIP_VTK_OPERATION, digits[0], sim->operation);
  if (amount >= 0) {
    add_number(&message, SIP_VTK_AMOUNT, digits[1], amount);
  }
  send_message(sim, now_us, &message);
}

static void answer_idle(struct vtk_sim *sim, int64_t now_us, const char *name)
{
  struct sip_vtk_message message = { .proto = SIP_VTK_FROM_READER };
  char digits[4][DIGITS];

  sip_vtk_add_text(&message, SIP_VTK_NAME, name);
  add_number(&message, SIP_VTK_OPERATION, digits[0], sim->operation);
  add_number(&message, SIP_VTK_KEEPALIVE_S, digits[1], sim->keepalive_s);
  add_number(&message, SIP_VTK_TIMEOUT_S, digits[2], sim->timeout_s);
  add_number(&message, SIP_VTK_EVENT_NUMBER, digits[3], sim->event);
  sip_vtk_add_text(&message, SIP_VTK_SYSTEM, sim->id);
  send_message(sim, now_us, &message);
}

static void heard_idle(struct vtk_sim *sim, int64_t now_us, const struct sip_vtk_message *message)
{
  if (sip_vtk_number(message, SIP_VTK_EVENT_NUMBER) == sim->event + 1) {
    sim->event++;
    sim->sales++;
  }
  sim->disabled = sip_vtk_is(message, "DIS");
  answer_idle(sim, now_us, sim->disabled ? "DIS" : "IDL");
}

/* An operation begins: what the one before held and did not finish goes back. */
static void begin(struct vtk_sim *sim, int64_t number, bool deposit)
{
  if (sim->approved > 0 && !sim->finished && !sim->deposit) {
    sim->refunded += sim->approved;
  }
  sim->operation = number;
  sim->deposit = deposit;
  sim->decided = false;
  sim->finished = false;
  sim->approved = 0;
  sim->booked = 0;
}

static void decide(struct vtk_sim *sim, int64_t now_us, bool aborted)
{
  sim->tap_at_us = SIP_NEVER_US;
  if (!sim->decided) {
    sim->decided = true;
    sim->approved = sim->asked < sim->limit ? sim->asked : sim->limit;
    if (aborted || sim->disabled || sim->declines > 0) {
      sim->approved = 0;
      sim->declines -= sim->declines > 0 && !aborted;
    } else if (sim->deposit) {
      sim->deposited += sim->approved;
    } else {
      sim->charges++;
      sim->charged += sim->approved;
    }
  }
  answer(sim, now_us, sim->deposit ? "CDP" : "VRP", sim->approved);
}

static void heard_request(struct vtk_sim *sim, int64_t now_us,
                          const struct sip_vtk_message *message, bool deposit)
{
  int64_t number = sip_vtk_number(message, SIP_VTK_OPERATION);
  int64_t amount = sip_vtk_number(message, SIP_VTK_AMOUNT);

  if (number < 1 || amount < 1) {
    return;
  }
  sim->requests++;
  if (number != sim->operation) {
    begin(sim, number, deposit);
  } else {
    sim->repeats++;
  }
  if (sim->decided) {
    answer(sim, now_us, sim->deposit ? "CDP" : "VRP", sim->approved);
  } else if (sim->tap_at_us == SIP_NEVER_US) {
    sim->asked = amount;
    sim->tap_at_us = now_us + sim->tap_us;
  }
}

static void heard_final(struct vtk_sim *sim, int64_t now_us, const struct sip_vtk_message *message)
{
  int64_t amount = sip_vtk_number(message, SIP_VTK_AMOUNT);

  if (sip_vtk_number(message, SIP_VTK_OPERATION) != sim->operation || sim->deposit || amount < 0) {
    return;
  }
  sim->finals++;
  if (!sim->finished) {
    sim->tap_at_us = SIP_NEVER_US;
    sim->decided = true;
    sim->finished = true;
    sim->booked = amount < sim->approved ? amount : sim->approved;
    sim->settled += sim->booked;
    sim->refunded += sim->approved - sim->booked;
  }
  amount = sim->booked + (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_LIE) ? 1 : 0);
  answer(sim, now_us, "FIN", amount);
}

static void take(struct vtk_sim *sim, int64_t now_us, const struct sip_frame *frame)
{
  struct sip_vtk_message message;

  if (now_us < sim->dead_until_us ||
      sip_vtk_read(&message, frame->bytes, frame->size, sim->tcp) != SIP_VTK_OK ||
      message.proto != SIP_VTK_FROM_HOST) {
    return;
  }
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
    sim->tap_at_us = SIP_NEVER_US;
    sim->dead_until_us = now_us + BOOT_US;
    return;
  }
  if (sip_vtk_is(&message, "IDL") || sip_vtk_is(&message, "DIS")) {
    heard_idle(sim, now_us, &message);
  } else if (sip_vtk_is(&message, "VRP") || sip_vtk_is(&message, "CDP")) {
    heard_request(sim, now_us, &message, sip_vtk_is(&message, "CDP"));
  } else if (sip_vtk_is(&message, "FIN")) {
    heard_final(sim, now_us, &message);
  } else if (sip_vtk_is(&message, "ABR") && sim->tap_at_us != SIP_NEVER_US) {
    decide(sim, now_us, true);
  }
}

static void sim_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct vtk_sim *sim = sim_of(party);
  struct sip_frame frame;

  while (sip_framer_take(&sim->in, now_us, &bytes, &size, &frame)) {
    take(sim, now_us, &frame);
  }
}

static void sim_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct vtk_sim *sim = sim_of(party);

  (void)now_us;
  (void)up;
  sip_framer_reset(&sim->in);
  sip_misbehave_reset(&sim->faults);
}

static int64_t sim_due_us(const struct sip_party *party)
{
  const struct vtk_sim *sim = SIP_CONTAINER(party, const struct vtk_sim, party);
  int64_t frame = sip_framer_due_us(&sim->in), due = sip_misbehave_due_us(&sim->faults);

  frame = frame == SIP_NEVER_US ? frame : frame + 1;
  due = frame < due ? frame : due;
  return sim->tap_at_us < due ? sim->tap_at_us : due;
}

static void sim_on_due(struct sip_party *party, int64_t now_us)
{
  struct vtk_sim *sim = sim_of(party);
  struct sip_frame frame;

  if (sip_framer_late(&sim->in, now_us)) {
    while (sip_framer_next(&sim->in, &frame)) {
      take(sim, now_us, &frame);
    }
  }
  if (now_us >= sim->tap_at_us) {
    decide(sim, now_us, false);
  }
  sip_misbehave_on_due(&sim->faults, now_us);
}

static void tell_state(const struct vtk_sim *sim, struct sip_note *note)
{
  (void)sip_note_int(note, "operation", sim->operation);
  (void)sip_note_int(note, "charges", sim->charges);
  (void)sip_note_int(note, "charged_minor", sim->charged);
  (void)sip_note_int(note, "settled_minor", sim->settled);
  (void)sip_note_int(note, "refunded_minor", sim->refunded);
  (void)sip_note_int(note, "deposited_minor", sim->deposited);
  (void)sip_note_int(note, "requests", sim->requests);
  (void)sip_note_int(note, "repeats", sim->repeats);
  (void)sip_note_int(note, "finals", sim->finals);
  (void)sip_note_int(note, "sales", sim->sales);
}

/* The reader's memory as of a new one. */
static void forget(struct vtk_sim *sim, int64_t operation)
{
  begin(sim, operation, false);
  sim->decided = true;
  sim->finished = true;
  sim->event = 0;
  sim->tap_at_us = SIP_NEVER_US;
}

static void set_id(struct vtk_sim *sim, const struct sip_note *note, const char *otherwise)
{
  const struct sip_value *id = sip_note_find(note, "id");

  if (id != NULL && id->kind == SIP_VALUE_TEXT) {
    (void)snprintf(sim->id, sizeof sim->id, "%.*s", (int)id->size, id->text);
  } else {
    (void)snprintf(sim->id, sizeof sim->id, "%s", otherwise);
  }
}

static int sim_obey(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct vtk_sim *sim = sim_of(party);
  const char *name = command->name;

  if (strcmp(name, "state") == 0) {
    tell_state(sim, result);
  } else if (strcmp(name, "decline") == 0) {
    sim->declines = sip_note_number(command, "times", 1);
  } else if (strcmp(name, "limit") == 0) {
    sim->limit = sip_note_number(command, "amount_minor", INT64_MAX);
  } else if (strcmp(name, "start") == 0) {
    answer(sim, now_us, "STA", sip_note_number(command, "amount_minor", -1));
  } else if (strcmp(name, "card") == 0) {
    answer(sim, now_us, "MFR", -1);
  } else if (strcmp(name, "swap") == 0) {
    set_id(sim, command, "another reader");
    forget(sim, sip_note_number(command, "operation", 0));
  } else if (strcmp(name, "forget") == 0) {
    forget(sim, 0);
  } else {
    return sip_err_set(err, UV_EINVAL, "vtk simulator: there is no command \"%s\"", name);
  }
  return 0;
}

static int sim_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  return sip_misbehave_obey(&sim_of(party)->faults, party, now_us, command, sim_obey, err);
}

static void sim_free(struct sip_party *party)
{
  struct vtk_sim *sim = sim_of(party);

  sip_framer_deinit(&sim->in);
  free(sim);
}

static const struct sip_party_ops SIM_OPS = { .on_link = sim_on_link,
                                              .on_bytes = sim_on_bytes,
                                              .due_us = sim_due_us,
                                              .on_due = sim_on_due,
                                              .command = sim_command,
                                              .free = sim_free };

static int read_settings(struct vtk_sim *sim, const struct sip_note *settings, struct sip_err *err)
{
  static const char *const forms[] = { "serial", "tcp", NULL };
  int64_t tap_ms;
  int form = sip_fields_word(settings, "vtk", "form", forms, err);

  if (form < 0 || sip_fields_known(settings, "vtk", sip_vtk_settings, err) < 0 ||
      sip_fields_int(settings, "vtk", "operation", 0, 99999999, 0, &sim->operation, err) < 0 ||
      sip_fields_int(settings, "vtk", "event", 0, 99999999, 0, &sim->event, err) < 0 ||
      sip_fields_int(settings, "vtk", "keepalive_s", 1, 3600, 10, &sim->keepalive_s, err) < 0 ||
      sip_fields_int(settings, "vtk", "timeout_s", 1, 3600, 60, &sim->timeout_s, err) < 0 ||
      sip_fields_int(settings, "vtk", "tap_ms", 0, 3600000, 300, &tap_ms, err) < 0) {
    return UV_EINVAL;
  }
  sim->tcp = form == 1;
  sim->tap_us = tap_ms * 1000;
  set_id(sim, settings, "VENDOTEK-SIM 1.0");
  return 0;
}

struct sip_party *sip_vtk_simulator(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err)
{
  struct vtk_sim *sim = calloc(1, sizeof *sim);

  if (sim == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "vtk: no memory for the simulator");
    return NULL;
  }
  sim->party = (struct sip_party){ .ops = &SIM_OPS, .line = line };
  sim->limit = INT64_MAX;
  sim->tap_at_us = SIP_NEVER_US;
  sim->decided = true;
  sim->finished = true;
  sip_misbehave_init(&sim->faults, line);
  if (read_settings(sim, settings, err) < 0) {
    sim_free(&sim->party);
    return NULL;
  }
  if (sip_framer_init(&sim->in, sim->tcp ? &sip_vtk_framing_tcp : &sip_vtk_framing, NULL) < 0) {
    sim_free(&sim->party);
    (void)sip_err_set(err, UV_ENOMEM, "vtk: no memory for the simulator");
    return NULL;
  }
  return &sim->party;
}
