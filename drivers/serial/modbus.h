#ifndef SIP_SERIAL_MODBUS_H
#define SIP_SERIAL_MODBUS_H
/* modbus.h - Modbus RTU with one slave that dispenses: RS-485 or RS-232, 9600 8N1 unless set.
 *
 * A relay is a motor behind a coil and a drop sensor behind an input. Coil and sensor have to be
 * off; the coil is switched on once; the sensor is polled until it saw something fall or the
 * motor's time is over; the coil is switched off, always, and when the link comes up. A drop after
 * the order is done. Where the input holds a drop until it is read, an order that was acknowledged
 * and saw none is failed; else a short drop can be missed, and it is unknown.
 *
 * A dispenser is a start register, a state register and a result register. A result that clears
 * when it is read is read once: a reply that is lost takes it along, and the outcome is unknown. No
 * board's registers are known here: set what its paper says.
 *
 * Either may have a counter of what fell. It decides where nothing else is known, and contradicts a
 * result that does not fit.
 *
 * There is no sequence number: after a fault the line has to be silent before the next request, and
 * between two orders there are reads, so that a late echo of the first is not the second's. An
 * answer later than twice reply_ms can still be taken for another one's.
 *
 * Settings and commands: docs/serial-dispensers.md. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_modbus;

/** The simulator; see modbus_sim.c. */
struct sip_party *sip_modbus_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err);

#endif
