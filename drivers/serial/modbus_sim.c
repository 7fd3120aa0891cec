/* modbus_sim.c - a simulated Modbus slave: relays with motors and a drop sensor, or a dispenser
 * behind registers.
 *
 * It is as strict as the standard: frames with a wrong CRC or of another address are not there, a
 * function or register that it does not have is refused with exception 01 or 02, a quantity with
 * 03, a start while it works with 06. It answers after 5 ms.
 *
 * profile = "relay": coils 0 to 7, a motor behind each; an item falls when its coil was on for
 * fall_ms (800). Written to address 512 + n, the value is a pulse in tenths of a second. Input 2
 * sees it: for 60 ms with latch = "none", until it is read with "read". profile = "dispenser":
 * register 0 starts slot n (1 to 8), register 1 is 1 while the motor turns (motor_ms = 1500),
 * register 2 is the result: 1 delivered, 2 nothing fell, 0 none, and clears when it is read (clears
 * = 1). Both: input register 0 counts what fell (a
 * dispenser's register 3, too), register 10 is the model (0x5150).
 *
 * Settings: profile, address = 1, stock = 10 (in each slot), fall_ms, motor_ms, latch, clears.
 * Commands: state -> {orders, motor_runs, fallen, requests, on}, stock {slot, count} -> {count},
 * exception {code, times = 1} (the next requests are refused), fault {kind, times, ms}
 * (misbehave.h), with reset: coils off, result and counter 0; jam: nothing falls; silent: it falls,
 * and neither sensor nor counter see it; lie: the counter does not count what fell (relay), the
 * result says delivered though nothing fell (dispenser); mute: requests that are carried out and
 * not answered. */
#include "serial/fields.h"
#include "serial/misbehave.h"
#include "serial/modbus.h"
#include "serial/modbus_frame.h"

#include <stdlib.h>
#include <string.h>

enum {
  SLOTS = 8,
  SENSOR = 2,
  SEEN_US = 60000,
  ANSWER_US = 5000,
  MODEL_AT = 10,
  MODEL = 0x5150,
  PULSES = 512
};
enum { RELAY, DISPENSER };

struct modbus_sim {
  struct sip_party party; /* first */
  int64_t profile, address, stock, fall_us, motor_us, latch, clears;
  struct sip_misbehave faults;
  struct sip_framer framer;
  bool coils[SLOTS];
  int64_t off_us[SLOTS];   /* when a pulse is over */
  int64_t falls_us[SLOTS]; /* when the item of a motor that turns falls */
  int64_t seen_us;         /* the sensor sees something until then */
  bool latched;
  int64_t works_us; /* dispenser: until then */
  unsigned slot;
  uint16_t result, counter;
  int64_t stocks[SLOTS];
  int64_t orders, motor_runs, fallen, requests;
  uint8_t exception;
  int64_t exceptions;
  uint8_t answer[SIP_MODBUS_FRAME];
  size_t answer_size; /* 0: none waits */
  int64_t answer_us;
};

/* Something has to fall, or not. */
static bool sim_fall(struct modbus_sim *sim, int64_t now_us, unsigned slot)
{
  bool falls = sim->stocks[slot] > 0 && !sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_JAM);
  bool lies = sim->profile == RELAY && sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_LIE);

  if (!falls) {
    return false;
  }
  sim->stocks[slot]--;
  sim->fallen++;
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_SILENT)) {
    return false;
  }
  sim->counter += lies ? 0 : 1;
  sim->latched = true;
  sim->seen_us = now_us + SEEN_US;
  return true;
}

static void sim_reset(struct modbus_sim *sim)
{
  memset(sim->coils, 0, sizeof sim->coils);
  for (unsigned i = 0; i < SLOTS; i++) {
    sim->falls_us[i] = SIP_NEVER_US;
    sim->off_us[i] = SIP_NEVER_US;
  }
  sim->works_us = SIP_NEVER_US;
  sim->result = 0;
  sim->counter = 0;
  sim->latched = false;
  sim->answer_size = 0;
}

static void sim_coil(struct modbus_sim *sim, int64_t now_us, unsigned slot, bool on)
{
  if (on && !sim->coils[slot]) {
    sim->motor_runs++;
    sim->falls_us[slot] = now_us + sim->fall_us;
  } else if (!on) {
    sim->falls_us[slot] = SIP_NEVER_US;
  }
  sim->off_us[slot] = SIP_NEVER_US;
  sim->coils[slot] = on;
}

static void sim_refuse(struct modbus_sim *sim, const struct sip_modbus_frame *asked, uint8_t code)
{
  sim->answer_size =
    sip_modbus_write_exception(sim->answer, (uint8_t)sim->address, asked->function, code);
}

static void sim_bits(struct modbus_sim *sim, int64_t now_us, const struct sip_modbus_frame *asked)
{
  uint8_t bits[1] = { 0 };
  bool inputs = asked->function == SIP_MODBUS_READ_INPUTS;

  if (asked->start + asked->value > SLOTS) {
    sim_refuse(sim, asked, 2);
    return;
  }
  for (unsigned i = 0; i < asked->value; i++) {
    unsigned at = asked->start + i;
    bool seen = at == SENSOR && (sim->latch ? sim->latched : now_us < sim->seen_us);

    bits[0] |= (uint8_t)((inputs ? seen : sim->coils[at]) << i);
  }
  if (inputs && asked->start <= SENSOR && asked->start + asked->value > SENSOR) {
    sim->latched = false;
  }
  sim->answer_size =
    sip_modbus_write_data(sim->answer, (uint8_t)sim->address, asked->function, bits, 1);
}

static int sim_register(struct modbus_sim *sim, bool input, unsigned at)
{
  int value = -1;

  if (input) {
    value = at == 0 ? sim->counter : -1;
  } else if (at == MODEL_AT) {
    value = MODEL;
  } else if (sim->profile == DISPENSER && at == 3) {
    value = sim->counter;
  } else if (sim->profile == DISPENSER && at == 1) {
    value = sim->works_us != SIP_NEVER_US;
  } else if (sim->profile == DISPENSER && at == 2) {
    value = sim->result;
    sim->result = sim->clears ? 0 : sim->result;
  }
  return value;
}

static void sim_registers(struct modbus_sim *sim, const struct sip_modbus_frame *asked)
{
  uint8_t data[250];

  for (size_t i = 0; i < asked->value; i++) {
    int value =
      sim_register(sim, asked->function == SIP_MODBUS_READ_REGISTERS, asked->start + (unsigned)i);

    if (value < 0) {
      sim_refuse(sim, asked, 2);
      return;
    }
    data[2 * i] = (uint8_t)(value >> 8);
    data[2 * i + 1] = (uint8_t)value;
  }
  sim->answer_size = sip_modbus_write_data(sim->answer, (uint8_t)sim->address, asked->function,
                                           data, (size_t)2 * asked->value);
}

static void sim_start(struct modbus_sim *sim, int64_t now_us, const struct sip_modbus_frame *asked)
{
  if (sim->profile != DISPENSER || asked->start != 0) {
    sim_refuse(sim, asked, 2);
  } else if (asked->value < 1 || asked->value > SLOTS) {
    sim_refuse(sim, asked, 3);
  } else if (sim->works_us != SIP_NEVER_US) {
    sim_refuse(sim, asked, 6);
  } else {
    sim->orders++;
    sim->motor_runs++;
    sim->slot = asked->value - 1u;
    sim->works_us = now_us + sim->motor_us;
    sim->answer_size = sip_modbus_write(sim->answer, (uint8_t)sim->address, asked->function,
                                        asked->start, asked->value);
  }
}

static void sim_write_coils(struct modbus_sim *sim, int64_t now_us,
                            const struct sip_modbus_frame *asked)
{
  bool many = asked->function == SIP_MODBUS_WRITE_COILS;
  unsigned count = many ? asked->value : 1;

  if (sim->profile == RELAY && !many && asked->start >= PULSES && asked->start < PULSES + SLOTS) {
    unsigned slot = asked->start - PULSES;

    sim->orders++;
    sim_coil(sim, now_us, slot, true);
    sim->off_us[slot] = now_us + asked->value * INT64_C(100000);
    sim->answer_size = sip_modbus_write(sim->answer, (uint8_t)sim->address, asked->function,
                                        asked->start, asked->value);
    return;
  }
  if (sim->profile != RELAY || asked->start + count > SLOTS) {
    sim_refuse(sim, asked, 2);
    return;
  }
  for (unsigned i = 0; i < count; i++) {
    bool on = many ? asked->data[i / 8] >> i % 8 & 1 : asked->value != 0;

    sim->orders += on;
    sim_coil(sim, now_us, asked->start + i, on);
  }
  sim->answer_size = sip_modbus_write(sim->answer, (uint8_t)sim->address, asked->function,
                                      asked->start, asked->value);
}

static void sim_request(struct modbus_sim *sim, int64_t now_us,
                        const struct sip_modbus_frame *asked)
{
  sim->requests++;
  if (sim->exceptions > 0) {
    sim->exceptions--;
    sim_refuse(sim, asked, sim->exception);
    return;
  }
  switch (asked->function) {
  case SIP_MODBUS_READ_COILS:
  case SIP_MODBUS_READ_INPUTS:
    if (asked->value == 0) {
      sim_refuse(sim, asked, 3);
    } else {
      sim_bits(sim, now_us, asked);
    }
    break;
  case SIP_MODBUS_READ_HOLDING:
  case SIP_MODBUS_READ_REGISTERS:
    if (asked->value == 0 || asked->value > 125) {
      sim_refuse(sim, asked, 3);
    } else {
      sim_registers(sim, asked);
    }
    break;
  case SIP_MODBUS_WRITE_COIL:
  case SIP_MODBUS_WRITE_COILS:
    sim_write_coils(sim, now_us, asked);
    break;
  case SIP_MODBUS_WRITE_REGISTER:
    sim_start(sim, now_us, asked);
    break;
  default:
    sim_refuse(sim, asked, 1);
  }
}

static void sim_frames(struct modbus_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_modbus_frame asked;
  struct sip_frame raw;

  while (sip_framer_take(&sim->framer, now_us, &bytes, &size, &raw)) {
    enum sip_modbus_fault fault = sip_modbus_read(raw.bytes, raw.size, true, &asked);

    if ((asked.address != sim->address && asked.address != 0) || sim->answer_size > 0) {
      continue; /* of another slave; or it is about to answer, and does not hear */
    }
    if (fault == SIP_MODBUS_OK || (fault == SIP_MODBUS_VALUE && asked.start >= PULSES)) {
      sim_request(sim, now_us, &asked);
    } else {
      sim_refuse(sim, &asked, 3);
    }
    if (asked.address == 0 || sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_MUTE)) {
      sim->answer_size = 0;
    }
    sim->answer_us = now_us + ANSWER_US;
  }
}

static void sim_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct modbus_sim *sim = (struct modbus_sim *)party;

  sim_frames(sim, now_us, bytes, size);
}

static void sim_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct modbus_sim *sim = (struct modbus_sim *)party;

  (void)now_us;
  (void)up; /* the device goes on either way */
  sip_framer_reset(&sim->framer);
  sip_misbehave_reset(&sim->faults);
  sim->answer_size = 0;
}

static int64_t sim_due_us(const struct sip_party *party)
{
  const struct modbus_sim *sim = (const struct modbus_sim *)party;
  int64_t due_us = sip_framer_due_us(&sim->framer);
  int64_t other_us = sip_misbehave_due_us(&sim->faults);

  due_us = other_us < due_us ? other_us : due_us;
  due_us = sim->works_us < due_us ? sim->works_us : due_us;
  for (unsigned i = 0; i < SLOTS; i++) {
    due_us = sim->falls_us[i] < due_us ? sim->falls_us[i] : due_us;
    due_us = sim->off_us[i] < due_us ? sim->off_us[i] : due_us;
  }
  return sim->answer_size > 0 && sim->answer_us < due_us ? sim->answer_us : due_us;
}

static void sim_motors(struct modbus_sim *sim, int64_t now_us)
{
  for (unsigned i = 0; i < SLOTS; i++) {
    if (sim->falls_us[i] <= now_us) {
      sim->falls_us[i] = SIP_NEVER_US;
      if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
        sim_reset(sim);
      } else {
        (void)sim_fall(sim, now_us, i);
      }
    }
    if (sim->off_us[i] <= now_us) {
      sim_coil(sim, now_us, i, false);
    }
  }
  if (sim->works_us <= now_us) {
    bool seen;

    sim->works_us = SIP_NEVER_US;
    if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
      sim_reset(sim);
      return;
    }
    seen = sim_fall(sim, now_us, sim->slot);
    seen = sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_LIE) || seen;
    sim->result = seen ? 1 : 2;
  }
}

static void sim_on_due(struct sip_party *party, int64_t now_us)
{
  struct modbus_sim *sim = (struct modbus_sim *)party;

  if (sip_framer_late(&sim->framer, now_us)) {
    sim_frames(sim, now_us, NULL, 0);
  }
  sip_misbehave_on_due(&sim->faults, now_us);
  sim_motors(sim, now_us);
  if (sim->answer_size > 0 && sim->answer_us <= now_us) {
    sip_misbehave_send(&sim->faults, now_us, sim->answer, sim->answer_size);
    sim->answer_size = 0;
  }
}

static int sim_obey(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct modbus_sim *sim = (struct modbus_sim *)party;
  int64_t slot = 0, first = sim->profile == DISPENSER ? 1 : 0, code = 0, on = 0;
  int rc = 0;

  (void)now_us;
  if (strcmp(command->name, "state") == 0) {
    for (unsigned i = 0; i < SLOTS; i++) {
      on += sim->coils[i];
    }
    (void)sip_note_int(result, "orders", sim->orders);
    (void)sip_note_int(result, "motor_runs", sim->motor_runs);
    (void)sip_note_int(result, "fallen", sim->fallen);
    (void)sip_note_int(result, "requests", sim->requests);
    (void)sip_note_int(result, "on", on);
  } else if (strcmp(command->name, "stock") == 0) {
    rc = sip_fields_need(command, "stock", "slot", first, SLOTS - 1 + first, &slot, err);
    if (rc == 0) {
      int64_t *stock = &sim->stocks[slot - first];

      rc = sip_fields_int(command, "stock", "count", 0, 100000000, *stock, stock, err);
      (void)sip_note_int(result, "count", *stock);
    }
  } else if (strcmp(command->name, "exception") == 0) {
    rc = sip_fields_need(command, "exception", "code", 1, 255, &code, err);
    sim->exception = (uint8_t)code;
    rc = rc < 0
           ? rc
           : sip_fields_int(command, "exception", "times", 0, 1000000, 1, &sim->exceptions, err);
  } else {
    rc = sip_err_set(err, SIP_ENOTFOUND,
                     "the simulated Modbus slave has no command \"%s\" (fault, state, stock, "
                     "exception)",
                     command->name);
  }
  return rc;
}

static int sim_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  return sip_misbehave_obey(&((struct modbus_sim *)party)->faults, party, now_us, command, sim_obey,
                            err);
}

static void sim_free(struct sip_party *party)
{
  struct modbus_sim *sim = (struct modbus_sim *)party;

  sip_framer_deinit(&sim->framer);
  free(sim);
}

static int sim_settings(struct modbus_sim *sim, const struct sip_note *settings,
                        struct sip_err *err)
{
  static const char *const PROFILES[] = { "relay", "dispenser", NULL };
  static const char *const LATCHES[] = { "none", "read", NULL };
  const struct sip_setting fields[] = {
    { "profile", PROFILES, 0, 0, 0, 1, &sim->profile },
    { "address", NULL, 1, 247, 1, 1, &sim->address },
    { "stock", NULL, 0, 100000000, 10, 1, &sim->stock },
    { "fall_ms", NULL, 1, 600000, 800, 1000, &sim->fall_us },
    { "motor_ms", NULL, 1, 600000, 1500, 1000, &sim->motor_us },
    { "latch", LATCHES, 0, 0, 0, 1, &sim->latch },
    { "clears", NULL, 0, 1, 1, 1, &sim->clears },
  };

  return sip_fields_settings(settings, "simulated modbus", fields, sizeof fields / sizeof fields[0],
                             err);
}

struct sip_party *sip_modbus_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err)
{
  static const struct sip_party_ops OPS = { sim_on_link, sim_on_bytes, sim_due_us,
                                            sim_on_due,  sim_command,  sim_free };
  struct modbus_sim *sim = calloc(1, sizeof *sim);
  int rc;

  if (sim == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "modbus: no memory for the simulator");
    return NULL;
  }
  sim->party = (struct sip_party){ &OPS, line };
  rc = sim_settings(sim, settings, err);
  if (rc == 0 && sip_framer_init(&sim->framer, &sip_modbus_requests, NULL) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "modbus: no memory for the simulator");
  }
  if (rc < 0) {
    free(sim);
    return NULL;
  }
  sip_misbehave_init(&sim->faults, line);
  sim_reset(sim);
  for (unsigned i = 0; i < SLOTS; i++) {
    sim->stocks[i] = sim->stock;
  }
  return &sim->party;
}
