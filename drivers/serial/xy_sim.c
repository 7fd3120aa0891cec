/* xy_sim.c - a simulated FA FB board: polls, turns motors, keeps stock, and reports.
 *
 * It is as strict as the description: an answer counts within 100 ms of its poll, frames with a
 * wrong check are not there, a frame of its own is repeated up to five times with the same number
 * until it is acknowledged. It does not suppress a repeated order (suppress = 1: it does, by the
 * packet number): a host that repeats one turns the motor twice, and `state` shows it.
 *
 * Settings: slots = 60, stock = 10 (in each), poll_ms = 200, motor_ms = 1500, suppress = 0.
 * Commands: state -> {orders, motor_runs, fallen, polls, answered, late}, stock {slot, count} ->
 * {count}, coin {amount_minor, mode = 1}, select {slot}, fault {kind, times, ms} (misbehave.h),
 * with reset: forgets its order and what it had to say, and is quiet for a second; jam: status 03
 * and nothing falls; silent: it falls, status 03; lie: status 02 and nothing falls; mute: the end
 * of an order is not reported. */
#include "serial/fields.h"
#include "serial/misbehave.h"
#include "serial/xy.h"
#include "serial/xy_frame.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_US = 100000, RESET_US = 1000000, SAYS = 16, SAY_BYTES = 16, TRIES = 6, SLOTS = 1000 };

/* A frame that the board has to bring to the host. */
struct say {
  uint8_t command;
  uint8_t text[SAY_BYTES];
  size_t size;
  unsigned tries;
};

struct xy_sim {
  struct sip_party party; /* first */
  int64_t slots, stock, poll_us, motor_us, suppress;
  struct sip_misbehave faults;
  struct sip_framer framer;
  int64_t next_us;   /* poll, or frame */
  int64_t window_us; /* until then an answer counts */
  bool awaits, said; /* an answer; to a frame of ours rather than to a poll */
  uint8_t number;
  struct say says[SAYS];
  unsigned say_count;
  uint8_t last_number, last_command; /* of the host's last order */
  int64_t motor_until_us;            /* SIP_NEVER_US: no motor turns */
  uint16_t slot;
  bool sensor;
  int64_t orders, motor_runs, fallen, polls, answered, late;
  uint8_t stocks[SLOTS];
};

static void sim_say(struct xy_sim *sim, uint8_t command, const uint8_t *text, size_t size)
{
  if (sim->say_count < SAYS) { /* as in the board: what does not fit is lost */
    struct say *say = &sim->says[sim->say_count++];

    *say = (struct say){ .command = command, .size = size };
    memcpy(say->text, text, size);
  }
}

static void sim_job_status(struct xy_sim *sim, uint8_t status)
{
  uint8_t text[] = { status, (uint8_t)(sim->slot >> 8), (uint8_t)sim->slot };

  sim_say(sim, SIP_XY_JOB_STATUS, text, sizeof text);
}

static void sim_send(struct xy_sim *sim, int64_t now_us, uint8_t command, uint8_t number,
                     const uint8_t *text, size_t size)
{
  uint8_t frame[SIP_XY_FRAME];

  sip_misbehave_send(&sim->faults, now_us, frame, sip_xy_write(frame, command, number, text, size));
}

static void sim_reset(struct xy_sim *sim, int64_t now_us)
{
  sim->say_count = 0;
  sim->number = 1;
  sim->awaits = false;
  sim->motor_until_us = SIP_NEVER_US;
  sim->next_us = now_us + RESET_US;
  sim->last_number = 0;
}

static void sim_order(struct xy_sim *sim, int64_t now_us, const struct sip_xy_frame *frame)
{
  bool drive = frame->command == SIP_XY_DRIVE;
  size_t at = drive ? 2 : 0;
  uint16_t slot, turning;

  if (frame->size < at + 2) {
    return;
  }
  if (sim->suppress && frame->number == sim->last_number && frame->command == sim->last_command) {
    return;
  }
  sim->last_number = frame->number;
  sim->last_command = frame->command;
  sim->orders++;
  slot = (uint16_t)sip_xy_number(frame->text + at, 2);
  if (slot == 0 || slot > sim->slots) { /* a motor that turns goes on */
    turning = sim->slot;
    sim->slot = slot;
    sim_job_status(sim, 0x06);
    sim->slot = turning;
    return;
  }
  sim->slot = slot;
  sim->sensor = !drive || frame->text[0] != 0;
  sim->motor_runs++;
  sim->motor_until_us = now_us + sim->motor_us;
  sim_job_status(sim, 0x01);
}

static void sim_motor_end(struct xy_sim *sim, int64_t now_us)
{
  uint8_t *stock = &sim->stocks[sim->slot - 1];
  bool falls = *stock > 0, seen;

  sim->motor_until_us = SIP_NEVER_US;
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
    sim_reset(sim, now_us);
    return;
  }
  falls = falls && !sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_JAM);
  seen = falls && !sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_SILENT);
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_LIE)) {
    falls = false;
    seen = true;
  }
  *stock -= falls ? 1 : 0;
  sim->fallen += falls ? 1 : 0;
  if (!sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_MUTE)) {
    sim_job_status(sim, seen || !sim->sensor ? 0x02 : 0x03);
  }
}

static void sim_asked(struct xy_sim *sim, const struct sip_xy_frame *frame)
{
  uint8_t text[SAY_BYTES] = { 0 };
  uint32_t slot;

  switch (frame->command) {
  case SIP_XY_CHECK_SLOT:
    if (frame->size < 2) {
      return;
    }
    slot = sip_xy_number(frame->text, 2);
    text[0] = slot == 0 || slot > (uint32_t)sim->slots ? 0x03
              : sim->stocks[slot - 1] > 0              ? 0x01
                                                       : 0x02;
    memcpy(text + 1, frame->text, 2);
    sim_say(sim, SIP_XY_SLOT_STATUS, text, 3);
    break;
  case SIP_XY_SET_INVENTORY:
    slot = frame->size < 3 ? 0 : sip_xy_number(frame->text, 2);
    if (slot > 0 && slot <= (uint32_t)sim->slots) {
      sim->stocks[slot - 1] = frame->text[2];
    }
    break;
  case SIP_XY_SET_INTERVAL:
    if (frame->size >= 1 && frame->text[0] >= 1 && frame->text[0] <= 20) {
      sim->poll_us = frame->text[0] * INT64_C(100000);
    }
    break;
  case SIP_XY_MACHINE_ASK:
    sim_say(sim, SIP_XY_MACHINE_STATUS, text, SAY_BYTES);
    break;
  case SIP_XY_LIFT_ASK:
    sim_say(sim, SIP_XY_LIFT_STATUS, text, 2);
    break;
  default:
    break; /* acknowledged, and of no consequence here */
  }
}

static void sim_frame(struct xy_sim *sim, int64_t now_us, const struct sip_xy_frame *frame)
{
  if (!sim->awaits || now_us > sim->window_us) {
    sim->late++;
    return;
  }
  if (frame->command == SIP_XY_ACK) {
    sim->awaits = false;
    sim->answered++;
    if (sim->said) {
      sim->number = sim->number == 255 ? 1 : (uint8_t)(sim->number + 1);
      sim->say_count--;
      memmove(sim->says, sim->says + 1, sim->say_count * sizeof sim->says[0]);
    }
    return;
  }
  if (sim->said || frame->number == 0) {
    return; /* only an ACK answers the board's own frame */
  }
  sim->awaits = false;
  sim->answered++;
  sim_send(sim, now_us, SIP_XY_ACK, 0, NULL, 0);
  if (frame->command == SIP_XY_DRIVE || frame->command == SIP_XY_BUY) {
    sim_order(sim, now_us, frame);
  } else {
    sim_asked(sim, frame);
  }
}

static void sim_frames(struct xy_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_frame raw;
  struct sip_xy_frame frame;

  while (sip_framer_take(&sim->framer, now_us, &bytes, &size, &raw)) {
    if (sip_xy_read(raw.bytes, raw.size, &frame) == SIP_XY_OK) {
      sim_frame(sim, now_us, &frame);
    }
  }
}

static void sim_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct xy_sim *sim = (struct xy_sim *)party;

  sim_frames(sim, now_us, bytes, size);
}

static void sim_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct xy_sim *sim = (struct xy_sim *)party;

  sip_framer_reset(&sim->framer);
  sip_misbehave_reset(&sim->faults);
  sim->awaits = false;
  if (up && sim->next_us == SIP_NEVER_US) {
    sim->next_us = now_us + sim->poll_us;
  }
}

static int64_t sim_due_us(const struct sip_party *party)
{
  const struct xy_sim *sim = (const struct xy_sim *)party;
  const int64_t times[] = { sim->next_us, sim->motor_until_us, sip_framer_due_us(&sim->framer),
                            sip_misbehave_due_us(&sim->faults) };
  int64_t due_us = SIP_NEVER_US;

  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    due_us = times[i] < due_us ? times[i] : due_us;
  }
  return due_us;
}

/* Time for a poll, or for what the board has to say. */
static void sim_turn(struct xy_sim *sim, int64_t now_us)
{
  struct say *say = &sim->says[0];

  if (sim->say_count > 0 && say->tries == TRIES) {
    sim->say_count--; /* once and five repeats: the board gives it up */
    memmove(sim->says, sim->says + 1, sim->say_count * sizeof sim->says[0]);
  }
  sim->next_us = now_us + sim->poll_us;
  sim->window_us = now_us + WINDOW_US;
  sim->awaits = true;
  sim->said = sim->say_count > 0;
  if (sim->said) {
    say->tries++;
    sim_send(sim, now_us, say->command, sim->number, say->text, say->size);
  } else {
    sim->polls++;
    sim_send(sim, now_us, SIP_XY_POLL, 0, NULL, 0);
  }
}

static void sim_on_due(struct sip_party *party, int64_t now_us)
{
  struct xy_sim *sim = (struct xy_sim *)party;

  if (sip_framer_late(&sim->framer, now_us)) {
    sim_frames(sim, now_us, NULL, 0);
  }
  sip_misbehave_on_due(&sim->faults, now_us);
  if (sim->motor_until_us <= now_us) {
    sim_motor_end(sim, now_us);
  }
  if (sim->next_us <= now_us) {
    sim_turn(sim, now_us);
  }
}

static int sim_slot(const struct xy_sim *sim, const struct sip_note *command, int64_t *slot,
                    struct sip_err *err)
{
  return sip_fields_need(command, command->name, "slot", 1, sim->slots, slot, err);
}

static int sim_obey(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct xy_sim *sim = (struct xy_sim *)party;
  int64_t slot = 0, amount = 0, mode = 0, count = 0;
  int rc = 0;

  (void)now_us;
  if (strcmp(command->name, "state") == 0) {
    (void)sip_note_int(result, "orders", sim->orders);
    (void)sip_note_int(result, "motor_runs", sim->motor_runs);
    (void)sip_note_int(result, "fallen", sim->fallen);
    (void)sip_note_int(result, "polls", sim->polls);
    (void)sip_note_int(result, "answered", sim->answered);
    (void)sip_note_int(result, "late", sim->late);
  } else if (strcmp(command->name, "stock") == 0) {
    rc = sim_slot(sim, command, &slot, err);
    if (rc == 0) {
      rc = sip_fields_int(command, "stock", "count", 0, 255, sim->stocks[slot - 1], &count, err);
    }
    if (rc == 0) {
      sim->stocks[slot - 1] = (uint8_t)count;
      (void)sip_note_int(result, "count", count);
    }
  } else if (strcmp(command->name, "coin") == 0) {
    rc = sip_fields_need(command, "coin", "amount_minor", 0, UINT32_MAX, &amount, err);
    rc = rc < 0 ? rc : sip_fields_int(command, "coin", "mode", 0, 255, 1, &mode, err);
    if (rc == 0) {
      uint8_t text[] = { (uint8_t)mode, (uint8_t)(amount >> 24), (uint8_t)(amount >> 16),
                         (uint8_t)(amount >> 8), (uint8_t)amount };

      sim_say(sim, SIP_XY_MONEY_IN, text, sizeof text);
    }
  } else if (strcmp(command->name, "select") == 0) {
    rc = sim_slot(sim, command, &slot, err);
    if (rc == 0) {
      uint8_t text[] = { (uint8_t)(slot >> 8), (uint8_t)slot };

      sim_say(sim, SIP_XY_SELECT, text, sizeof text);
    }
  } else {
    rc = sip_err_set(err, SIP_ENOTFOUND,
                     "the simulated xy board has no command \"%s\" (fault, state, stock, coin, "
                     "select)",
                     command->name);
  }
  return rc;
}

static int sim_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  struct xy_sim *sim = (struct xy_sim *)party;
  int rc = sip_misbehave_obey(&sim->faults, party, now_us, command, sim_obey, err);

  if (rc == 0 && sim->motor_until_us == SIP_NEVER_US && strcmp(command->name, "fault") == 0 &&
      sip_note_is(command, "kind", "reset") &&
      sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
    sim_reset(sim, now_us); /* with a motor on: when it would have stopped */
  }
  return rc;
}

static void sim_free(struct sip_party *party)
{
  struct xy_sim *sim = (struct xy_sim *)party;

  sip_framer_deinit(&sim->framer);
  free(sim);
}

struct sip_party *sip_xy_simulator(const struct sip_note *settings, struct sip_line *line,
                                   struct sip_err *err)
{
  static const struct sip_party_ops OPS = { sim_on_link, sim_on_bytes, sim_due_us,
                                            sim_on_due,  sim_command,  sim_free };
  struct xy_sim *sim = calloc(1, sizeof *sim);
  int rc;

  if (sim == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "xy: no memory for the simulator");
    return NULL;
  }
  const struct sip_setting fields[] = {
    { "slots", NULL, 1, SLOTS, 60, 1, &sim->slots },
    { "stock", NULL, 0, 255, 10, 1, &sim->stock },
    { "poll_ms", NULL, 110, 2000, 200, 1000, &sim->poll_us },
    { "motor_ms", NULL, 1, 600000, 1500, 1000, &sim->motor_us },
    { "suppress", NULL, 0, 1, 0, 1, &sim->suppress },
  };
  sim->party = (struct sip_party){ &OPS, line };
  rc = sip_fields_settings(settings, "simulated xy", fields, sizeof fields / sizeof fields[0], err);
  if (rc == 0 && sip_framer_init(&sim->framer, &sip_xy_framing, NULL) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "xy: no memory for the simulator");
  }
  if (rc < 0) {
    free(sim);
    return NULL;
  }
  sip_misbehave_init(&sim->faults, line);
  sim->next_us = SIP_NEVER_US;
  sim->motor_until_us = SIP_NEVER_US;
  sim->number = 1;
  memset(sim->stocks, (int)sim->stock, sizeof sim->stocks);
  return &sim->party;
}
