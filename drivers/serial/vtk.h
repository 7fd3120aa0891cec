#ifndef SIP_SERIAL_VTK_H
#define SIP_SERIAL_VTK_H
/* vtk.h - the Vendotek cashless reader (VTK 1.12), on a serial line or over TCP.
 *
 * Commands of the engine, beside those of all engines:
 *   charge {amount_minor, operation?, again?, product?, deadline_ms?}   VRP
 *     → {outcome, operation, amount_minor, code, reason, receipt}: done (approved, for that
 * amount), failed (declined or not sent) or unknown. Without `operation` the number behind the
 * reader's last one is taken and told with the note `progress` before anything is sent; a durable
 * caller reads `counters`, stores the number, and gives it. `again` takes up an operation whose
 * outcome is unknown, by its number. settle {ok | amount_minor, operation?}, refund {operation?}
 * FIN; repeated unchanged until the reader confirms it, beyond the result too (then the note
 * `settled` follows) deposit {amount_minor, …}   CDP, as charge but nothing is to be settled
 *   resolve {operation}         failed: the reader never saw it; unknown: it did, take it up again
 *   sale {amount_minor, name, product}   a sale that was paid otherwise
 *   abort, enable, disable
 * Notes: identified, status {state}, started {amount_minor} (a customer began), card, settled,
 *   fault {code, reason}, noise {dropped}. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_vtk;

/* The simulator; see vtk_sim.c. */
struct sip_party *sip_vtk_simulator(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err);
extern const char *const sip_vtk_settings[];

#endif
