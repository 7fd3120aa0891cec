#ifndef SIP_SERIAL_XY_H
#define SIP_SERIAL_XY_H
/* xy.h - the FA FB dispenser board: RS-232, 57600 8N1.
 *
 * The board polls, every 200 ms, and wants an answer within 100 ms: the frame that waits, or ACK.
 * So everything that is asked of it waits for a poll in a queue of few, and a dispense order leaves
 * once, in answer to one poll. After the link came up the first polls (`drain_polls`, 5) are only
 * acknowledged: results of orders from before come then.
 *
 * A dispense ends done with status 02 or 24; the proof is the drop sensor when 06 asked for it.
 * 03 (nothing fell) and 06 (no motor) are failed; a slot that failed with 03 or 04 is locked until
 * `clear`, since an item may hang in it. All else is unknown, and while the board may still say how
 * it ended (twice job_ms), another order for that slot is refused before anything is sent. The
 * board has no counter: `resolve` knows only what the board said late.
 *
 * Settings and commands: docs/serial-dispensers.md. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_xy;

/** The simulator; see xy_sim.c. */
struct sip_party *sip_xy_simulator(const struct sip_note *settings, struct sip_line *line,
                                   struct sip_err *err);

#endif
