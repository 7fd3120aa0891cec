#ifndef SIP_SERIAL_QIBIXX_H
#define SIP_SERIAL_QIBIXX_H
/* qibixx.h - the Qibixx MDB-USB and MDB Pi Hat: text lines, 115200 8N1, no check and no numbers in
 * them. The interface talks to the MDB bus itself.
 *
 * As slave we are a cashless reader in a machine. Its request is the note `request`; `dispense`
 * with the same amount and slot approves it, once. The outcome is the machine's word: done after
 * VEND,SUCCESS, failed when it says that the vend failed or was cancelled. A reset of the machine
 * after the approval counts as sold on the bus, and nobody saw it: unknown.
 *
 * As master we are the machine. `charge` asks the reader, once; then our own motor runs, and
 * `settle` commits or reverts, once. A lost answer to that is unknown: the sale is closed, which
 * way is not known. An unplug between the two leaves it to the reader.
 *
 * Settings and commands: docs/serial-dispensers.md. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_qibixx;

/** The simulator; see qibixx_sim.c. */
struct sip_party *sip_qibixx_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err);

#endif
