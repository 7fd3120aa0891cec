#ifndef SIP_SERIAL_MODBUS_STATE_H
#define SIP_SERIAL_MODBUS_STATE_H
/* modbus_state.h - what the Modbus engine knows; shared by its files alone. */
#include "serial/modbus_frame.h"
#include "serial/party.h"

enum { MODBUS_ORDERS = 8, MODBUS_RELAY = 0, MODBUS_DISPENSER = 1, MODBUS_LATCH_READ = 1 };

struct modbus_settings {
  int64_t profile, address, baud, reply_us, latency_us, health_us;
  int64_t coil_start, coils, pulse_start, sensor_start, sensor_count, sensor_bit, latch, watch_us,
    motor_us;
  int64_t start_register, slot_offset, state_register, idle_value;
  int64_t result_register, result_ok, result_failed, result_none, result_clears, result_sensor;
  int64_t job_us;
  int64_t counter_register, counter_function, identify_register, identify_value;
};

/* One request and what is done with its answer. */
enum modbus_step {
  MODBUS_IDLE,
  MODBUS_IDENTIFY,
  MODBUS_ALL_OFF,
  MODBUS_HEALTH,
  MODBUS_BEFORE_COIL, /* relay: before the order */
  MODBUS_BEFORE_SENSOR,
  MODBUS_BEFORE_STATE, /* dispenser: before the order */
  MODBUS_BEFORE_RESULT,
  MODBUS_BEFORE_COUNT,
  MODBUS_ORDER,
  MODBUS_WATCH, /* sensor or state */
  MODBUS_OFF,
  MODBUS_AFTER_SENSOR,
  MODBUS_AFTER_COIL,
  MODBUS_RESULT,
  MODBUS_AFTER_COUNT,
  MODBUS_READ /* a command's own */
};

enum modbus_verb {
  MODBUS_DO_IDENTIFY,
  MODBUS_DO_STATUS,
  MODBUS_DO_COUNTERS,
  MODBUS_DO_DISPENSE,
  MODBUS_DO_RESOLVE,
  MODBUS_DO_READ,
  MODBUS_DO_OFF,
  MODBUS_VERBS
};

/* A command that waits or runs. */
struct modbus_order {
  enum modbus_verb verb;
  uint64_t ticket;
  uint16_t slot;
  int64_t count, job_us; /* count: the counter before, -1: not known */
  int64_t function, start, quantity;
};

/* What the order on the wire was answered with. */
enum modbus_taken { MODBUS_NOT_SENT, MODBUS_SENT, MODBUS_ACCEPTED, MODBUS_REFUSED };

/* A dispense, or the resolving of one. */
struct modbus_job {
  bool resolves;
  enum modbus_taken taken;
  uint8_t exception;
  int64_t deadline_us;
  bool dropped;          /* the sensor saw something fall */
  bool sensor_lost;      /* an answer that may have said so */
  bool off;              /* the coil was read as off in the end; dispenser: it was idle */
  bool busy;             /* it still works */
  bool worked;           /* it was seen at work after the order */
  unsigned counts;       /* readings of the counter that were not the last */
  int64_t before, after; /* counter; -1: not known */
  int64_t result;        /* -1: not known */
  bool result_lost;      /* an answer that had it */
};

enum modbus_phase { MODBUS_REST, MODBUS_PAUSES, MODBUS_WAITS };

struct modbus {
  struct sip_party party; /* first */
  struct modbus_settings set;
  struct sip_framer framer;
  struct sip_gap gap;
  bool up, identified, told_lost;
  const char *refusal; /* why it is not the right device; NULL */
  enum modbus_step step;
  enum modbus_phase phase;
  unsigned tries;
  int64_t next_us;  /* when the request may go, or its answer is given up */
  int64_t quiet_us; /* after a fault: what comes until then delays the next request, up to here */
  uint8_t request[SIP_MODBUS_FRAME];
  size_t request_size;
  int64_t health_us;                         /* when the device is asked for a sign of life */
  unsigned failures;                         /* of those, in a row */
  struct modbus_order orders[MODBUS_ORDERS]; /* the first one runs, if `runs` */
  unsigned order_count;
  bool runs;
  struct modbus_job job;
};

void modbus_tell(struct modbus *modbus, const struct sip_note *note);

/** Asks `step` at `at_us` or when the line is silent. */
void modbus_go(struct modbus *modbus, enum modbus_step step, int64_t at_us);

/** Ends the running command; the next one begins. */
void modbus_next(struct modbus *modbus, int64_t now_us);

/** The result of a command that has ok, and, if not, code and reason. */
void modbus_answer(struct modbus *modbus, const char *code, const char *reason);

/** A sign of life was, or was not, given; then as modbus_next. */
void modbus_alive(struct modbus *modbus, int64_t now_us, bool alive);

/* modbus_job.c. */

/** Writes the request of the step. @return its size */
size_t modbus_job_request(const struct modbus *modbus, uint8_t *out);

/** How often the step's request may be sent. */
unsigned modbus_job_tries(const struct modbus *modbus);

/** Begins orders[0]. */
void modbus_job_begin(struct modbus *modbus, int64_t now_us);

/** The step was answered: `frame` with data, an echo or an exception. */
void modbus_job_answered(struct modbus *modbus, int64_t now_us,
                         const struct sip_modbus_frame *frame);

/** The step was not answered, however often it could be asked; `sent`: it was on the wire. */
void modbus_job_silent(struct modbus *modbus, int64_t now_us, bool sent);

/** Tells the result of orders[0], which may not have begun, because it cannot go on. */
void modbus_job_abandon(struct modbus *modbus, const char *code, const char *reason);

#endif
