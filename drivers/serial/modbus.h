#ifndef SIP_SERIAL_MODBUS_H
#define SIP_SERIAL_MODBUS_H
/* modbus.h - Modbus RTU with one slave that dispenses: RS-485 or RS-232, 9600 8N1 unless set.
 *
 * profile = "relay": a motor behind a coil and a drop sensor behind an input. The coil of slot n is
 * coil_start + n. Coil and sensor have to be off; the coil is switched on once; the sensor is
 * polled every watch_ms (30) until it saw something fall or motor_ms (5000) are over; the coil is
 * switched off, always, and when the link comes up. A drop after the order is done. With latch =
 * "read" the input holds a drop until it is read, and an order that was acknowledged and saw none
 * is failed; with "none" a short drop can be missed: it is unknown. coil_start = 0, coils = 8,
 * sensor_start = 0, sensor_count = 8, sensor_bit = 2 (-1: the slot's) profile = "dispenser": the
 * slot + slot_offset (0) is written to start_register (0), state_register (1) is not idle_value (0)
 * while it works, then result_register (2) has result_ok (1), result_failed (2), or result_none
 * (0): nothing yet. With result_clears = 1 it is read once: a reply that is lost takes the result
 * with it. No board's registers are known here: set what its paper says. result_sensor = 1: the
 * result comes from a drop sensor; job_ms = 60000 Both: counter_register (-1: none) counts what
 * fell, by the function counter_function (4, or 3). It decides where nothing else is known, and
 * contradicts a result that does not fit. address = 1, baud = 9600, reply_ms = 1000, latency_ms =
 * 16 (of the adapter), identify_register
 *   (-1) with identify_value (refuses to dispense with another device), health_ms = 2000
 *
 * Commands beside the common ones: read {function, start, count} -> {values}, off (all coils).
 * There is no sequence number: after a fault the line has to be silent before the next request, and
 * between two orders there are reads, so that a late echo of the first is not the second's. An
 * answer later than twice reply_ms can still be taken for another one's. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_modbus;

/** The simulator; see modbus_sim.c. */
struct sip_party *sip_modbus_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err);

#endif
