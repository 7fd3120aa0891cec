/* modbus_job.c - what the Modbus engine asks of its device, step by step: dispensing with a relay
 * or with registers, resolving, and the small commands. The order is put on the line once. */
#include "serial/modbus_state.h"

#include <stdio.h>
#include <string.h>

enum { FALL_US = 500000, TRIES = 3, OFF_TRIES = 5, COIL_ON = 0xFF00, VALUES_BYTES = 128 };
enum { COUNTS = 8, PULSE_US = 100000, PULSE_MOST = 0x7FFF };

static bool relay(const struct modbus *modbus)
{
  return modbus->set.profile == MODBUS_RELAY;
}

static uint16_t coil(const struct modbus *modbus)
{
  return (uint16_t)(modbus->set.coil_start + modbus->orders[0].slot);
}

static size_t modbus_ask(const struct modbus *modbus, uint8_t *out, uint8_t function, int64_t start,
                         int64_t value)
{
  return sip_modbus_write(out, (uint8_t)modbus->set.address, function, (uint16_t)start,
                          (uint16_t)value);
}

/* Of a board that switches off by itself: tenths of a second, beyond the time that we watch. */
static int64_t pulse_value(int64_t job_us)
{
  int64_t tenths = (job_us + PULSE_US - 1) / PULSE_US;

  return tenths < PULSE_MOST ? tenths : PULSE_MOST;
}

static size_t modbus_life(const struct modbus *modbus, uint8_t *out)
{
  const struct modbus_settings *set = &modbus->set;

  if (set->identify_register >= 0) {
    return modbus_ask(modbus, out, SIP_MODBUS_READ_HOLDING, set->identify_register, 1);
  }
  return relay(modbus) ? modbus_ask(modbus, out, SIP_MODBUS_READ_COILS, set->coil_start, set->coils)
                       : modbus_ask(modbus, out, SIP_MODBUS_READ_HOLDING, set->state_register, 1);
}

size_t modbus_job_request(const struct modbus *modbus, uint8_t *out)
{
  static const uint8_t NONE[32] = { 0 };
  const struct modbus_settings *set = &modbus->set;
  const struct modbus_order *order = &modbus->orders[0];

  switch (modbus->step) {
  case MODBUS_ALL_OFF:
    return sip_modbus_write_many(out, (uint8_t)set->address, SIP_MODBUS_WRITE_COILS,
                                 (uint16_t)set->coil_start, (uint16_t)set->coils, NONE);
  case MODBUS_BEFORE_COIL:
  case MODBUS_AFTER_COIL:
    return modbus_ask(modbus, out, SIP_MODBUS_READ_COILS, coil(modbus), 1);
  case MODBUS_BEFORE_SENSOR:
  case MODBUS_AFTER_SENSOR:
    return modbus_ask(modbus, out, SIP_MODBUS_READ_INPUTS, set->sensor_start, set->sensor_count);
  case MODBUS_WATCH:
    if (relay(modbus)) {
      return modbus_ask(modbus, out, SIP_MODBUS_READ_INPUTS, set->sensor_start, set->sensor_count);
    }
    return modbus_ask(modbus, out, SIP_MODBUS_READ_HOLDING, set->state_register, 1);
  case MODBUS_BEFORE_STATE:
    return modbus_ask(modbus, out, SIP_MODBUS_READ_HOLDING, set->state_register, 1);
  case MODBUS_BEFORE_RESULT:
  case MODBUS_RESULT:
    return modbus_ask(modbus, out, SIP_MODBUS_READ_HOLDING, set->result_register, 1);
  case MODBUS_BEFORE_COUNT:
  case MODBUS_AFTER_COUNT:
    return modbus_ask(modbus, out, (uint8_t)set->counter_function, set->counter_register, 1);
  case MODBUS_ORDER:
    if (relay(modbus) && set->pulse_start >= 0) {
      return modbus_ask(modbus, out, SIP_MODBUS_WRITE_COIL, set->pulse_start + order->slot,
                        pulse_value(order->job_us));
    }
    if (relay(modbus)) {
      return modbus_ask(modbus, out, SIP_MODBUS_WRITE_COIL, coil(modbus), COIL_ON);
    }
    return modbus_ask(modbus, out, SIP_MODBUS_WRITE_REGISTER, set->start_register,
                      order->slot + set->slot_offset);
  case MODBUS_OFF:
    return modbus_ask(modbus, out, SIP_MODBUS_WRITE_COIL, coil(modbus), 0);
  case MODBUS_READ:
    return modbus_ask(modbus, out, (uint8_t)order->function, order->start, order->quantity);
  default:
    return modbus_life(modbus, out);
  }
}

unsigned modbus_job_tries(const struct modbus *modbus)
{
  switch (modbus->step) {
  case MODBUS_ORDER:
  case MODBUS_HEALTH:
  case MODBUS_WATCH: /* is asked again anyway */
    return 1;
  case MODBUS_OFF:
    return OFF_TRIES;
  case MODBUS_AFTER_SENSOR: /* what an answer that is lost had, is gone */
    return modbus->set.latch == MODBUS_LATCH_READ ? 1 : TRIES;
  case MODBUS_RESULT:
    return modbus->set.result_clears ? 1 : TRIES;
  default:
    return TRIES;
  }
}

static void modbus_outcome(struct modbus *modbus, const char *outcome, const char *code,
                           const char *reason, const char *proof)
{
  struct sip_note note = { .name = "result", .ticket = modbus->orders[0].ticket };

  (void)sip_note_text(&note, "outcome", outcome);
  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  (void)sip_note_text(&note, "proof", proof);
  (void)sip_note_int(&note, "slot", modbus->orders[0].slot);
  (void)sip_note_int(&note, "quantity", strcmp(outcome, "done") == 0 ? 1 : 0);
  if (modbus->job.before >= 0) {
    (void)sip_note_int(&note, "count_before", modbus->job.before);
  }
  if (modbus->job.after >= 0) {
    (void)sip_note_int(&note, "count", modbus->job.after);
  }
  modbus_tell(modbus, &note);
}

static void modbus_fault(struct modbus *modbus, const char *code, const char *reason)
{
  struct sip_note note = { .name = "fault" };

  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  (void)sip_note_int(&note, "slot", modbus->orders[0].slot);
  modbus_tell(modbus, &note);
}

void modbus_job_abandon(struct modbus *modbus, const char *code, const char *reason)
{
  enum modbus_verb verb = modbus->orders[0].verb;

  if (!modbus->runs) { /* the job is that of another command */
    modbus->job = (struct modbus_job){ .before = -1, .after = -1 };
  }
  if (verb == MODBUS_DO_DISPENSE && modbus->job.taken == MODBUS_NOT_SENT) {
    modbus_outcome(modbus, "failed", code, "nothing was sent: there was no device", "none");
  } else if (verb == MODBUS_DO_DISPENSE || verb == MODBUS_DO_RESOLVE) {
    modbus_outcome(modbus, "unknown", code, reason, "none");
  } else {
    modbus_answer(modbus, code, reason);
  }
}

/* Ends a dispense of which nothing is on the wire. */
static void modbus_unsent(struct modbus *modbus, int64_t now_us, const char *code,
                          const char *reason)
{
  modbus_outcome(modbus, "failed", code, reason, "none");
  modbus_next(modbus, now_us);
}

/* What the counter says: 1 something fell, 0 nothing, -1 it does not know. */
static int modbus_counted(const struct modbus_job *job)
{
  if (job->before < 0 || job->after < 0 || job->after < job->before) {
    return -1;
  }
  return job->after > job->before ? 1 : 0;
}

static void modbus_end(struct modbus *modbus, int64_t now_us)
{
  const struct modbus_settings *set = &modbus->set;
  const struct modbus_job *job = &modbus->job;
  int counted = modbus_counted(job);
  bool over = job->off && !job->busy;
  bool says_done = relay(modbus) ? job->dropped : job->result == set->result_ok;
  bool says_failed = !relay(modbus) && job->result == set->result_failed;
  const char *sensor = relay(modbus) || set->result_sensor ? "sensor" : "none";

  if ((!relay(modbus) && ((says_done && counted == 0) || (says_failed && counted == 1))) ||
      (job->taken == MODBUS_REFUSED && (says_done || counted == 1))) {
    modbus_outcome(modbus, "unknown", "CONTRADICTION",
                   "what the device says of the order contradicts itself", "none");
  } else if (says_done) {
    modbus_outcome(modbus, "done", "DELIVERED", "delivered", sensor);
  } else if (counted == 1) {
    modbus_outcome(modbus, "done", "DELIVERED", "the counter says so", "counter");
  } else if (job->taken == MODBUS_REFUSED) {
    modbus_outcome(modbus, "failed", "REFUSED", "the device refused the order", "none");
  } else if (says_failed) {
    modbus_outcome(modbus, "failed", "JAM", "the device says that nothing came out", sensor);
  } else if (counted == 0 && over) {
    modbus_outcome(modbus, "failed", "NO_DROP", "the counter says that nothing came out",
                   "counter");
  } else if (relay(modbus) && set->latch == MODBUS_LATCH_READ && !job->sensor_lost && over &&
             job->taken == MODBUS_ACCEPTED) {
    modbus_outcome(modbus, "failed", "NO_DROP", "the sensor saw nothing fall", "sensor");
  } else if (job->resolves && job->busy) {
    modbus_outcome(modbus, "unknown", "NOT_READY", "the device still works: ask again", "none");
  } else if (job->resolves) {
    modbus_outcome(modbus, "unknown", "NOT_KNOWN", "nothing says what came of the order", "none");
  } else {
    modbus_outcome(modbus, "unknown", job->taken == MODBUS_ACCEPTED ? "NOT_SEEN" : "NO_ANSWER",
                   job->taken == MODBUS_ACCEPTED
                     ? "the order was taken; nothing says what came of it"
                     : "the order was not answered, and nothing says what came of it",
                   "none");
  }
  modbus_next(modbus, now_us);
}

/* The counter is read where there is one, then comes `step`; MODBUS_IDLE: the end. */
static void modbus_count_or(struct modbus *modbus, enum modbus_step count, enum modbus_step step,
                            int64_t now_us)
{
  if (modbus->set.counter_register >= 0) {
    modbus_go(modbus, count, now_us);
  } else if (step == MODBUS_IDLE) {
    modbus_end(modbus, now_us);
  } else {
    modbus_go(modbus, step, now_us);
  }
}

void modbus_job_begin(struct modbus *modbus, int64_t now_us)
{
  const struct modbus_order *order = &modbus->orders[0];
  bool resolves = order->verb == MODBUS_DO_RESOLVE;

  modbus->job = (struct modbus_job){ .resolves = resolves,
                                     .taken = resolves ? MODBUS_SENT : MODBUS_NOT_SENT,
                                     .before = resolves ? order->count : -1,
                                     .after = -1,
                                     .result = -1 };
  switch (order->verb) {
  case MODBUS_DO_DISPENSE:
    modbus_go(modbus, relay(modbus) ? MODBUS_BEFORE_COIL : MODBUS_BEFORE_STATE, now_us);
    break;
  case MODBUS_DO_RESOLVE:
    if (!relay(modbus)) {
      modbus->job.deadline_us = now_us;
      modbus_go(modbus, MODBUS_WATCH, now_us);
    } else if (modbus->set.latch == MODBUS_LATCH_READ) {
      modbus_go(modbus, MODBUS_AFTER_SENSOR, now_us);
    } else { /* what the beam sees now is not of that order */
      modbus_go(modbus, MODBUS_AFTER_COIL, now_us);
    }
    break;
  case MODBUS_DO_COUNTERS:
    if (modbus->set.counter_register < 0) {
      modbus_answer(modbus, NULL, NULL);
      modbus_next(modbus, now_us);
      return;
    }
    modbus_go(modbus, MODBUS_AFTER_COUNT, now_us);
    break;
  case MODBUS_DO_READ:
    modbus_go(modbus, MODBUS_READ, now_us);
    break;
  case MODBUS_DO_OFF:
    modbus_go(modbus, relay(modbus) ? MODBUS_ALL_OFF : MODBUS_HEALTH, now_us);
    break;
  case MODBUS_DO_STATUS:
    modbus->orders[0].function = relay(modbus) ? SIP_MODBUS_READ_COILS : SIP_MODBUS_READ_HOLDING;
    modbus->orders[0].start = relay(modbus) ? modbus->set.coil_start : modbus->set.state_register;
    modbus->orders[0].quantity = relay(modbus) ? modbus->set.coils : 1;
    modbus_go(modbus, MODBUS_READ, now_us);
    break;
  default:
    modbus_go(modbus, MODBUS_HEALTH, now_us);
  }
}

static uint16_t first_register(const struct sip_modbus_frame *frame)
{
  return frame->bytes >= 2 ? (uint16_t)(frame->data[0] << 8 | frame->data[1]) : 0;
}

static bool sensor_set(const struct modbus *modbus, const struct sip_modbus_frame *frame)
{
  int64_t bit = modbus->set.sensor_bit < 0 ? modbus->orders[0].slot : modbus->set.sensor_bit;

  return (size_t)bit / 8 < frame->bytes && (frame->data[bit / 8] >> bit % 8 & 1) != 0;
}

static void modbus_ready(struct modbus *modbus, int64_t now_us)
{
  struct sip_note note = { .name = "identified" };
  char id[32];

  if (!modbus->identified) {
    modbus->identified = true;
    (void)snprintf(id, sizeof id, "address %d", (int)modbus->set.address);
    (void)sip_note_text(&note, "kind", "modbus");
    (void)sip_note_text(&note, "id", id);
    modbus_tell(modbus, &note);
  }
  if (modbus->runs && modbus->orders[0].verb == MODBUS_DO_OFF) {
    modbus_answer(modbus, NULL, NULL);
    modbus_next(modbus, now_us);
  } else if (modbus->runs) {
    modbus_job_begin(modbus, now_us);
  } else {
    modbus_next(modbus, now_us);
  }
}

/* The device gave its sign of life. */
static void modbus_identified(struct modbus *modbus, int64_t now_us,
                              const struct sip_modbus_frame *frame)
{
  const struct modbus_settings *set = &modbus->set;

  modbus->refusal = set->identify_register >= 0 &&
                        (frame->exception != 0 || first_register(frame) != set->identify_value)
                      ? "another device: identify_register is not identify_value"
                      : NULL;
  if (modbus->refusal != NULL) {
    modbus_fault(modbus, "WRONG_DEVICE", modbus->refusal);
    if (modbus->runs) {
      modbus_job_abandon(modbus, "WRONG_DEVICE", modbus->refusal);
    }
    modbus_next(modbus, now_us);
  } else if (relay(modbus)) {
    modbus_go(modbus, MODBUS_ALL_OFF, now_us);
  } else {
    modbus_ready(modbus, now_us);
  }
}

/* A small command has what it asked for. */
static void modbus_told(struct modbus *modbus, int64_t now_us, const struct sip_modbus_frame *frame)
{
  const struct modbus_order *order = &modbus->orders[0];
  struct sip_note note = { .name = "result", .ticket = order->ticket };
  char text[VALUES_BYTES] = "", id[32];
  size_t len = 0, width = order->function >= SIP_MODBUS_READ_HOLDING ? 2 : 1;
  bool idle = relay(modbus);

  (void)sip_note_bool(&note, "ok", frame->exception == 0);
  if (frame->exception != 0) {
    (void)sip_note_text(&note, "code", "REFUSED");
    (void)sip_note_int(&note, "exception", frame->exception);
  } else if (order->verb == MODBUS_DO_IDENTIFY) {
    (void)snprintf(id, sizeof id, "address %d", (int)modbus->set.address);
    (void)sip_note_text(&note, "kind", "modbus");
    (void)sip_note_text(&note, "id", id);
    (void)sip_note_text(&note, "version", "");
  } else if (order->verb == MODBUS_DO_STATUS) {
    for (size_t i = 0; relay(modbus) && i < frame->bytes; i++) {
      idle = idle && frame->data[i] == 0;
    }
    idle = idle || (!relay(modbus) && first_register(frame) == modbus->set.idle_value);
    (void)sip_note_text(&note, "state", idle ? "idle" : "dispensing");
  } else if (order->verb == MODBUS_DO_COUNTERS) {
    (void)sip_note_int(&note, "count", first_register(frame));
  } else {
    for (size_t i = 0; i + width <= frame->bytes && len < sizeof text; i += width) {
      len += (size_t)snprintf(text + len, sizeof text - len, "%s%u", i == 0 ? "" : ",",
                              width == 2 ? (unsigned)(frame->data[i] << 8 | frame->data[i + 1])
                                         : frame->data[i]);
    }
    (void)sip_note_text(&note, "values", text);
  }
  modbus_tell(modbus, &note);
  modbus_next(modbus, now_us);
}

/* Before the order of a relay: coil and sensor have to be off. */
static void modbus_before_relay(struct modbus *modbus, int64_t now_us,
                                const struct sip_modbus_frame *frame)
{
  if (modbus->step == MODBUS_BEFORE_COIL) {
    if ((frame->data[0] & 1) != 0) {
      modbus_unsent(modbus, now_us, "COIL_ON", "nothing was sent: the coil is on already");
    } else {
      modbus_go(modbus, MODBUS_BEFORE_SENSOR, now_us);
    }
    return;
  }
  if (!sensor_set(modbus, frame)) {
    modbus_count_or(modbus, MODBUS_BEFORE_COUNT, MODBUS_ORDER, now_us);
  } else if (modbus->set.latch == MODBUS_LATCH_READ && !modbus->job.dropped) {
    modbus->job.dropped = true; /* of before; reading has cleared it, which is looked at */
    modbus_go(modbus, MODBUS_BEFORE_SENSOR, now_us);
  } else {
    modbus_unsent(modbus, now_us, "SENSOR_SET",
                  "nothing was sent: the drop sensor sees something already");
  }
}

/* Before the order of a dispenser: it has to be idle, and old results are taken away. */
static void modbus_before_dispenser(struct modbus *modbus, int64_t now_us,
                                    const struct sip_modbus_frame *frame)
{
  if (modbus->step == MODBUS_BEFORE_STATE) {
    if (first_register(frame) != modbus->set.idle_value) {
      modbus_unsent(modbus, now_us, "BUSY", "nothing was sent: the device is busy");
    } else {
      modbus_go(modbus, MODBUS_BEFORE_RESULT, now_us);
    }
    return;
  }
  if (first_register(frame) != modbus->set.result_none) {
    struct sip_note note = { .name = "late" };

    (void)sip_note_int(&note, "result", first_register(frame));
    modbus_tell(modbus, &note);
  }
  modbus_count_or(modbus, MODBUS_BEFORE_COUNT, MODBUS_ORDER, now_us);
}

static void modbus_ordered(struct modbus *modbus, int64_t now_us,
                           const struct sip_modbus_frame *frame)
{
  struct modbus_job *job = &modbus->job;
  uint8_t exception = frame == NULL ? 0 : frame->exception;

  job->exception = exception;
  job->dropped = false;
  job->deadline_us = now_us + modbus->orders[0].job_us;
  /* 01 to 03 and 06 refuse before anything moves; 05 says that it has begun; the rest says nothing
   * about the order. */
  if (frame == NULL) {
    job->taken = MODBUS_SENT;
  } else if (exception == 0 || exception == 5) {
    job->taken = MODBUS_ACCEPTED;
  } else {
    job->taken = exception <= 3 || exception == 6 ? MODBUS_REFUSED : MODBUS_SENT;
  }
  if (job->taken != MODBUS_ACCEPTED && relay(modbus)) {
    modbus_go(modbus, MODBUS_OFF, now_us);
  } else if (job->taken == MODBUS_REFUSED) {
    modbus_end(modbus, now_us);
  } else {
    modbus_go(modbus, MODBUS_WATCH, now_us + modbus->set.watch_us);
  }
}

static void modbus_watched(struct modbus *modbus, int64_t now_us,
                           const struct sip_modbus_frame *frame)
{
  struct modbus_job *job = &modbus->job;
  bool late = now_us >= job->deadline_us;

  if (relay(modbus)) {
    job->dropped = frame != NULL && sensor_set(modbus, frame);
    job->sensor_lost = job->sensor_lost || frame == NULL;
    modbus_go(modbus, job->dropped || late ? MODBUS_OFF : MODBUS_WATCH,
              now_us + (job->dropped || late ? 0 : modbus->set.watch_us));
    return;
  }
  job->busy = frame == NULL || first_register(frame) != modbus->set.idle_value;
  job->off = !job->busy;
  job->worked = job->worked || (frame != NULL && job->busy);
  if (job->busy && !late) {
    modbus_go(modbus, MODBUS_WATCH, now_us + modbus->set.watch_us);
  } else if (job->busy) {
    modbus_end(modbus, now_us);
  } else {
    modbus_go(modbus, MODBUS_RESULT, now_us);
  }
}

static void modbus_resulted(struct modbus *modbus, int64_t now_us,
                            const struct sip_modbus_frame *frame)
{
  struct modbus_job *job = &modbus->job;

  job->result_lost = frame == NULL;
  job->result = frame == NULL ? -1 : first_register(frame);
  if (job->result >= 0 && !job->worked && !modbus->set.result_clears) {
    job->result = modbus->set.result_none; /* of another order, as far as is known */
  }
  if (job->result == modbus->set.result_none && job->taken == MODBUS_ACCEPTED &&
      now_us < job->deadline_us) {
    modbus_go(modbus, MODBUS_WATCH, now_us + modbus->set.watch_us); /* it is yet to come */
    return;
  }
  modbus_count_or(modbus, MODBUS_AFTER_COUNT, MODBUS_IDLE, now_us);
}

/* After the coil was switched off: what is seen then. `frame` NULL: not answered. */
static void modbus_after(struct modbus *modbus, int64_t now_us,
                         const struct sip_modbus_frame *frame)
{
  struct modbus_job *job = &modbus->job;

  if (modbus->step == MODBUS_OFF) {
    if (frame == NULL) {
      modbus_fault(modbus, "COIL_STUCK", "the coil could not be switched off");
    }
    modbus_go(modbus, MODBUS_AFTER_SENSOR, now_us + FALL_US);
  } else if (modbus->step == MODBUS_AFTER_SENSOR) {
    job->dropped = job->dropped || (frame != NULL && sensor_set(modbus, frame));
    job->sensor_lost = job->sensor_lost || frame == NULL;
    modbus_go(modbus, MODBUS_AFTER_COIL, now_us);
  } else {
    job->off = frame != NULL && (frame->data[0] & 1) == 0;
    if (!job->off) {
      modbus_fault(modbus, "COIL_STUCK", "the coil is on, or does not say that it is off");
    }
    modbus_count_or(modbus, MODBUS_AFTER_COUNT, MODBUS_IDLE, now_us);
  }
}

/* Takes the counter. One that is read as state and result are is read until it is the same twice:
 * an answer to one of those could come late, and be taken for it. */
static bool modbus_count(struct modbus *modbus, int64_t now_us,
                         const struct sip_modbus_frame *frame, int64_t *count)
{
  int64_t value = frame == NULL ? -1 : first_register(frame);
  bool alike = !relay(modbus) && modbus->set.counter_function == SIP_MODBUS_READ_HOLDING;

  if (alike && value >= 0 && value != *count && modbus->job.counts++ < COUNTS) {
    *count = value;
    modbus_go(modbus, modbus->step, now_us);
    return false;
  }
  *count = alike && value != *count ? -1 : value;
  return true;
}

/* The step has an answer with data, or, `frame` NULL, none that can be used. */
static void modbus_step(struct modbus *modbus, int64_t now_us, const struct sip_modbus_frame *frame)
{
  struct modbus_job *job = &modbus->job;

  switch (modbus->step) {
  case MODBUS_WATCH:
    modbus_watched(modbus, now_us, frame);
    break;
  case MODBUS_RESULT:
    modbus_resulted(modbus, now_us, frame);
    break;
  case MODBUS_AFTER_COUNT:
    if (modbus_count(modbus, now_us, frame, &job->after)) {
      modbus_end(modbus, now_us);
    }
    break;
  case MODBUS_BEFORE_COUNT:
    if (modbus_count(modbus, now_us, frame, &job->before)) {
      modbus_go(modbus, MODBUS_ORDER, now_us);
    }
    break;
  case MODBUS_BEFORE_COIL:
  case MODBUS_BEFORE_SENSOR:
    modbus_before_relay(modbus, now_us, frame);
    break;
  case MODBUS_BEFORE_STATE:
  case MODBUS_BEFORE_RESULT:
    modbus_before_dispenser(modbus, now_us, frame);
    break;
  default:
    modbus_after(modbus, now_us, frame);
  }
}

static bool dispenses(const struct modbus *modbus)
{
  return modbus->runs && (modbus->orders[0].verb == MODBUS_DO_DISPENSE ||
                          modbus->orders[0].verb == MODBUS_DO_RESOLVE);
}

void modbus_job_answered(struct modbus *modbus, int64_t now_us,
                         const struct sip_modbus_frame *frame)
{
  if (modbus->step == MODBUS_IDENTIFY) {
    modbus_identified(modbus, now_us, frame);
  } else if (modbus->step == MODBUS_ALL_OFF) {
    modbus_ready(modbus, now_us);
  } else if (modbus->step == MODBUS_ORDER) {
    modbus_ordered(modbus, now_us, frame);
  } else if (dispenses(modbus)) {
    if (frame->exception == 0) {
      modbus_step(modbus, now_us, frame);
    } else {
      modbus_job_silent(modbus, now_us, true); /* it does not say what was asked */
    }
  } else if (modbus->runs) {
    modbus_told(modbus, now_us, frame);
  } else {
    modbus_alive(modbus, now_us, true);
  }
}

void modbus_job_silent(struct modbus *modbus, int64_t now_us, bool sent)
{
  bool before = modbus->step >= MODBUS_BEFORE_COIL && modbus->step <= MODBUS_BEFORE_COUNT;

  if (modbus->step == MODBUS_ORDER && !sent) {
    modbus_unsent(modbus, now_us, "NO_LINK", "nothing was sent: the link did not take it");
  } else if (modbus->step == MODBUS_ORDER) {
    modbus_ordered(modbus, now_us, NULL);
  } else if (modbus->step <= MODBUS_HEALTH || !dispenses(modbus)) {
    if (modbus->runs) {
      modbus_job_abandon(modbus, "NO_ANSWER", "the device does not answer");
    }
    modbus_alive(modbus, now_us, false);
  } else if (before) {
    modbus_unsent(modbus, now_us, "NO_ANSWER", "nothing was sent: the device does not answer");
  } else {
    modbus_step(modbus, now_us, NULL);
  }
}
