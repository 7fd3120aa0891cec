/* modbus.c - the Modbus engine: one request on the line at a time, its answer, and the pause after
 * a fault. What is asked is in modbus_job.c. On the serial thread, or in a test. */
#include "serial/modbus.h"

#include "serial/fields.h"
#include "serial/modbus_state.h"

#include <stdlib.h>
#include <string.h>

enum { FAILURES_LOST = 3, QUIET_TIMES = 4 };

static const char *const SETTINGS[] = { "profile",
                                        "address",
                                        "baud",
                                        "reply_ms",
                                        "latency_ms",
                                        "health_ms",
                                        "coil_start",
                                        "coils",
                                        "pulse_start",
                                        "sensor_start",
                                        "sensor_count",
                                        "sensor_bit",
                                        "latch",
                                        "watch_ms",
                                        "motor_ms",
                                        "start_register",
                                        "slot_offset",
                                        "state_register",
                                        "idle_value",
                                        "result_register",
                                        "result_ok",
                                        "result_failed",
                                        "result_none",
                                        "result_clears",
                                        "result_sensor",
                                        "job_ms",
                                        "counter_register",
                                        "counter_function",
                                        "identify_register",
                                        "identify_value",
                                        NULL };
/* In the order of enum modbus_verb. */
static const char *const COMMANDS[] = { "identify", "status", "counters", "dispense",
                                        "resolve",  "read",   "off",      NULL };

void modbus_tell(struct modbus *modbus, const struct sip_note *note)
{
  modbus->party.line->tell(modbus->party.line, note);
}

void modbus_answer(struct modbus *modbus, const char *code, const char *reason)
{
  struct sip_note note = { .name = "result", .ticket = modbus->orders[0].ticket };

  (void)sip_note_bool(&note, "ok", code == NULL);
  if (code != NULL) {
    (void)sip_note_text(&note, "code", code);
    (void)sip_note_text(&note, "reason", reason);
  }
  modbus_tell(modbus, &note);
}

static int64_t most(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

void modbus_go(struct modbus *modbus, enum modbus_step step, int64_t at_us)
{
  modbus->step = step;
  modbus->phase = MODBUS_PAUSES;
  modbus->tries = 0;
  modbus->next_us = most(most(at_us, modbus->next_us), sip_gap_quiet_us(&modbus->gap));
}

static void modbus_rest(struct modbus *modbus, int64_t now_us)
{
  modbus->step = MODBUS_IDLE;
  modbus->phase = MODBUS_REST;
  modbus->next_us = now_us;
}

/* The first command is over. */
static void modbus_drop(struct modbus *modbus)
{
  modbus->runs = false;
  modbus->order_count--;
  memmove(modbus->orders, modbus->orders + 1, modbus->order_count * sizeof modbus->orders[0]);
}

void modbus_next(struct modbus *modbus, int64_t now_us)
{
  if (modbus->runs) {
    modbus_drop(modbus);
  }
  modbus->health_us = now_us + modbus->set.health_us;
  modbus->step = MODBUS_IDLE;
  modbus->phase = MODBUS_REST;
  if (modbus->up && modbus->order_count > 0) {
    modbus->runs = true;
    modbus->job = (struct modbus_job){ .before = -1, .after = -1 };
    if (modbus->identified) {
      modbus_job_begin(modbus, now_us);
    } else {
      modbus_go(modbus, MODBUS_IDENTIFY, now_us);
    }
  }
}

static void modbus_lost(struct modbus *modbus, const char *code)
{
  struct sip_note note = { .name = "lost" };

  if (modbus->identified) {
    modbus->identified = false;
    (void)sip_note_text(&note, "code", code);
    modbus_tell(modbus, &note);
  }
}

static void modbus_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct modbus *modbus = (struct modbus *)party;

  if (modbus->up == up) {
    return;
  }
  modbus->up = up;
  sip_framer_reset(&modbus->framer);
  modbus->failures = 0;
  modbus->refusal = NULL;
  if (up) {
    modbus->next_us = now_us;
    modbus_go(modbus, MODBUS_IDENTIFY, now_us);
    return;
  }
  modbus_rest(modbus, now_us);
  while (modbus->order_count > 0) {
    modbus_job_abandon(modbus, "NO_LINK", "the link was lost");
    modbus_drop(modbus);
  }
  modbus_lost(modbus, "NO_LINK");
}

/* Sends the step's request. One that does not leave is as one without an answer, but for what it
 * says about an order. */
static void modbus_send(struct modbus *modbus, int64_t now_us)
{
  int rc;

  modbus->request_size = modbus_job_request(modbus, modbus->request);
  modbus->tries++;
  sip_framer_reset(&modbus->framer); /* half a frame from before belongs to nothing */
  rc = modbus->party.line->send(modbus->party.line, modbus->request, modbus->request_size);
  if (rc < 0) {
    modbus->phase = MODBUS_REST;
    modbus_job_silent(modbus, now_us, false);
    return;
  }
  if (modbus->step == MODBUS_ORDER) {
    modbus->job.taken = MODBUS_SENT; /* from now on, whatever happens to the link */
  }
  (void)sip_gap_mark(&modbus->gap, now_us, modbus->request_size);
  modbus->phase = MODBUS_WAITS;
  modbus->next_us = modbus->gap.end_us + modbus->set.reply_us;
}

/* Nothing that answers the request came. */
static void modbus_silent(struct modbus *modbus, int64_t now_us)
{
  unsigned tries = modbus->tries;

  modbus->phase = MODBUS_PAUSES;
  modbus->next_us = now_us + modbus->set.latency_us + sip_gap_us((unsigned)modbus->set.baud);
  if (modbus->step != MODBUS_OFF) {                  /* which is the same again, and urgent */
    modbus->next_us = now_us + modbus->set.reply_us; /* until then an answer may be late */
  }
  modbus->quiet_us = now_us + QUIET_TIMES * modbus->set.reply_us;
  if (tries >= modbus_job_tries(modbus)) {
    modbus->phase = MODBUS_REST;
    modbus_job_silent(modbus, now_us, true);
  }
}

static void modbus_frame(struct modbus *modbus, int64_t now_us, const struct sip_frame *raw)
{
  struct sip_modbus_frame frame;
  enum sip_modbus_fault fault;

  if (modbus->phase != MODBUS_WAITS) {
    return; /* late */
  }
  fault = sip_modbus_pair(modbus->request, modbus->request_size, raw->bytes, raw->size, &frame);
  if (fault == SIP_MODBUS_OK || fault == SIP_MODBUS_EXCEPTION) {
    modbus->phase = MODBUS_REST;
    modbus->next_us = now_us;
    modbus->failures = 0;
    modbus_job_answered(modbus, now_us, &frame);
  } /* else: of another slave, or of an earlier request: the answer may still come */
}

static void modbus_frames(struct modbus *modbus, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_frame raw;
  uint64_t dropped;

  while (sip_framer_take(&modbus->framer, now_us, &bytes, &size, &raw)) {
    modbus_frame(modbus, now_us, &raw);
  }
  dropped = sip_framer_noise(&modbus->framer);
  if (dropped > 0) {
    struct sip_note note = { .name = "noise" };

    (void)sip_note_int(&note, "dropped", (int64_t)dropped);
    modbus_tell(modbus, &note);
  }
}

static void modbus_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes,
                            size_t size)
{
  struct modbus *modbus = (struct modbus *)party;
  int64_t wire_us = sip_gap_wire_us((unsigned)modbus->set.baud, size);

  (void)sip_gap_mark(&modbus->gap, now_us - wire_us, size);
  if (modbus->phase == MODBUS_PAUSES && now_us < modbus->quiet_us) {
    /* Until silence, but not for ever: a motor may have to be switched off. */
    modbus->next_us = most(modbus->next_us, now_us + modbus->set.latency_us +
                                              sip_gap_us((unsigned)modbus->set.baud));
  }
  modbus_frames(modbus, now_us, bytes, size);
}

static int64_t modbus_due_us(const struct sip_party *party)
{
  const struct modbus *modbus = (const struct modbus *)party;
  int64_t due_us = sip_framer_due_us(&modbus->framer);
  int64_t step_us = modbus->phase == MODBUS_REST ? modbus->health_us : modbus->next_us;

  return modbus->up && step_us < due_us ? step_us : due_us;
}

static void modbus_on_due(struct sip_party *party, int64_t now_us)
{
  struct modbus *modbus = (struct modbus *)party;

  if (sip_framer_late(&modbus->framer, now_us)) {
    modbus_frames(modbus, now_us, NULL, 0);
  }
  if (!modbus->up) {
    return;
  }
  if (modbus->phase == MODBUS_WAITS && now_us >= modbus->next_us) {
    modbus_silent(modbus, now_us);
  } else if (modbus->phase == MODBUS_PAUSES && now_us >= modbus->next_us) {
    modbus_send(modbus, now_us);
  } else if (modbus->phase == MODBUS_REST && now_us >= modbus->health_us) {
    modbus->health_us = now_us + modbus->set.health_us;
    modbus_go(modbus, modbus->identified ? MODBUS_HEALTH : MODBUS_IDENTIFY, now_us);
  }
}

/* The sign of life was, or was not, there. */
void modbus_alive(struct modbus *modbus, int64_t now_us, bool alive)
{
  if (!alive && ++modbus->failures >= FAILURES_LOST) {
    modbus_lost(modbus, "SILENT");
  }
  modbus_next(modbus, now_us);
}

static int modbus_fill(const struct modbus *modbus, struct modbus_order *order,
                       const struct sip_note *command, struct sip_err *err)
{
  const struct modbus_settings *set = &modbus->set;
  bool relay = set->profile == MODBUS_RELAY;
  int64_t slot = 0, quantity;
  int rc = 0;

  order->count = -1;
  if (order->verb == MODBUS_DO_DISPENSE || order->verb == MODBUS_DO_RESOLVE) {
    rc = sip_fields_need(command, "modbus", "slot", 0, relay ? set->coils - 1 : 65535, &slot, err);
    order->slot = (uint16_t)slot;
    rc = rc < 0 ? rc : sip_fields_int(command, "modbus", "quantity", 1, 1, 1, &quantity, err);
    rc = rc < 0 ? rc
                : sip_fields_int(command, "modbus", "deadline_ms", 1, 3600000,
                                 (relay ? set->motor_us : set->job_us) / 1000, &order->job_us, err);
    order->job_us *= 1000;
  }
  if (rc == 0 && order->verb == MODBUS_DO_RESOLVE) {
    rc = sip_fields_int(command, "modbus", "count", -1, 65535, -1, &order->count, err);
  }
  if (rc == 0 && order->verb == MODBUS_DO_READ) {
    rc = sip_fields_need(command, "modbus read", "function", 1, 4, &order->function, err);
    rc =
      rc < 0 ? rc : sip_fields_need(command, "modbus read", "start", 0, 65535, &order->start, err);
    rc = rc < 0 ? rc
                : sip_fields_int(command, "modbus read", "count", 1, 16, 1, &order->quantity, err);
    if (rc == 0 && !relay && set->result_clears && order->function >= SIP_MODBUS_READ_HOLDING &&
        order->start <= set->result_register &&
        order->start + order->quantity > set->result_register) {
      rc = sip_err_set(err, UV_EINVAL,
                       "modbus read: register %d is the result, which clears when it is read "
                       "(resolve reads it)",
                       (int)set->result_register);
    }
  }
  return rc;
}

static int modbus_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err)
{
  struct modbus *modbus = (struct modbus *)party;
  struct modbus_order order = { .verb = MODBUS_VERBS, .ticket = command->ticket };
  int rc;

  for (int verb = 0; COMMANDS[verb] != NULL; verb++) {
    order.verb = strcmp(COMMANDS[verb], command->name) == 0 ? (enum modbus_verb)verb : order.verb;
  }
  if (order.verb == MODBUS_VERBS) {
    return sip_err_set(err, SIP_ENOTFOUND, "modbus: there is no command \"%s\"", command->name);
  }
  rc = modbus_fill(modbus, &order, command, err);
  if (rc < 0) {
    return rc;
  }
  if (modbus->order_count == MODBUS_ORDERS) {
    return sip_err_set(err, SIP_EQUEUEFULL, "modbus %s: %d commands wait already", command->name,
                       MODBUS_ORDERS);
  }
  modbus->orders[modbus->order_count++] = order;
  if (!modbus->up) {
    modbus_job_abandon(modbus, "NO_LINK", "the link is down");
    modbus_drop(modbus);
  } else if (modbus->phase == MODBUS_REST) {
    modbus_next(modbus, now_us);
  }
  return 0;
}

static void modbus_free(struct sip_party *party)
{
  struct modbus *modbus = (struct modbus *)party;

  modbus_on_link(party, 0, false);
  sip_framer_deinit(&modbus->framer);
  free(modbus);
}

static int modbus_settings(struct modbus_settings *set, const struct sip_note *note,
                           struct sip_err *err)
{
  static const char *const PROFILES[] = { "relay", "dispenser", NULL };
  static const char *const LATCHES[] = { "none", "read", NULL };
  const struct sip_setting fields[] = {
    { "profile", PROFILES, 0, 0, 0, 1, &set->profile },
    { "address", NULL, 1, 247, 1, 1, &set->address },
    { "baud", NULL, 300, 4000000, 9600, 1, &set->baud },
    { "reply_ms", NULL, 10, 60000, 1000, 1000, &set->reply_us },
    { "latency_ms", NULL, 0, 1000, 16, 1000, &set->latency_us },
    { "health_ms", NULL, 100, 3600000, 2000, 1000, &set->health_us },
    { "coil_start", NULL, 0, 65535, 0, 1, &set->coil_start },
    { "coils", NULL, 1, 256, 8, 1, &set->coils },
    { "pulse_start", NULL, -1, 65279, -1, 1, &set->pulse_start },
    { "sensor_start", NULL, 0, 65535, 0, 1, &set->sensor_start },
    { "sensor_count", NULL, 1, 256, 8, 1, &set->sensor_count },
    { "sensor_bit", NULL, -1, 255, 2, 1, &set->sensor_bit },
    { "latch", LATCHES, 0, 0, 0, 1, &set->latch },
    { "watch_ms", NULL, 5, 10000, 30, 1000, &set->watch_us },
    { "motor_ms", NULL, 10, 600000, 5000, 1000, &set->motor_us },
    { "start_register", NULL, 0, 65535, 0, 1, &set->start_register },
    { "slot_offset", NULL, 0, 65535, 0, 1, &set->slot_offset },
    { "state_register", NULL, 0, 65535, 1, 1, &set->state_register },
    { "idle_value", NULL, 0, 65535, 0, 1, &set->idle_value },
    { "result_register", NULL, 0, 65535, 2, 1, &set->result_register },
    { "result_ok", NULL, 0, 65535, 1, 1, &set->result_ok },
    { "result_failed", NULL, 0, 65535, 2, 1, &set->result_failed },
    { "result_none", NULL, 0, 65535, 0, 1, &set->result_none },
    { "result_clears", NULL, 0, 1, 1, 1, &set->result_clears },
    { "result_sensor", NULL, 0, 1, 1, 1, &set->result_sensor },
    { "job_ms", NULL, 100, 3600000, 60000, 1000, &set->job_us },
    { "counter_register", NULL, -1, 65535, -1, 1, &set->counter_register },
    { "counter_function", NULL, 3, 4, 4, 1, &set->counter_function },
    { "identify_register", NULL, -1, 65535, -1, 1, &set->identify_register },
    { "identify_value", NULL, 0, 65535, 0, 1, &set->identify_value },
  };
  int rc = sip_fields_settings(note, "modbus", fields, sizeof fields / sizeof fields[0], err);

  if (rc == 0 && set->sensor_bit >= set->sensor_count) {
    rc = sip_err_set(err, UV_EINVAL, "modbus: sensor_bit is not below sensor_count");
  }
  return rc;
}

static const struct sip_party_ops OPS = { modbus_on_link, modbus_on_bytes, modbus_due_us,
                                          modbus_on_due,  modbus_command,  modbus_free };

static struct sip_party *modbus_engine(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err)
{
  struct modbus *modbus = calloc(1, sizeof *modbus);

  if (modbus == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "modbus: no memory for the engine");
    return NULL;
  }
  modbus->party = (struct sip_party){ &OPS, line };
  if (modbus_settings(&modbus->set, settings, err) < 0) {
    free(modbus);
    return NULL;
  }
  if (sip_framer_init(&modbus->framer, &sip_modbus_responses, NULL) < 0) {
    (void)sip_err_set(err, UV_ENOMEM, "modbus: no memory for the engine");
    free(modbus);
    return NULL;
  }
  modbus->gap.baud = (unsigned)modbus->set.baud;
  return &modbus->party;
}

const struct sip_protocol sip_protocol_modbus = {
  .name = "modbus",
  .title = "Modbus RTU: relay with drop sensor, or dispenser registers",
  .line = { 9600, 8, 1, SIP_PARITY_NONE, -1, -1 },
  .proof = "counter",
  .settings = SETTINGS,
  .commands = COMMANDS,
  .engine = modbus_engine,
  .simulator = sip_modbus_simulator,
  .describe = sip_modbus_describe,
};
