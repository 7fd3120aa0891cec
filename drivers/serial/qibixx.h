#ifndef SIP_SERIAL_QIBIXX_H
#define SIP_SERIAL_QIBIXX_H
/* qibixx.h - the Qibixx MDB-USB and MDB Pi Hat: text lines, 115200 8N1, no check and no numbers in
 * them. The interface talks to the MDB bus itself.
 *
 * slave = 1 (we are a cashless reader in a machine): the machine's request is the note `request`
 * {amount_minor, slot}; `dispense` with the same amount and slot approves it, once; `deny` refuses
 * it, as decision_ms (60000) do. The outcome is the machine's word: done after VEND,SUCCESS, failed
 * when it says that the vend failed, was cancelled, or refused the approval; a reset of the machine
 * after the approval counts as sold on the bus, and nobody saw it: unknown. `session`
 * {amount_minor} opens one with a credit. master = 1 or 2 (we are the machine; authorisation or
 * selection first): `charge` {amount_minor, slot} asks the reader, once: outcome and approved
 * amount_minor. Then our own motor runs, and `settle` {ok = 1} commits or {ok = 0} reverts, once. A
 * lost answer to that is unknown: the sale is closed, which way is not known. An unplug between the
 * two leaves it to the reader.
 *
 * Settings: slave = 1, master = 0, decimals = 2, reply_ms = 1000, decision_ms = 60000, vend_ms =
 * 120000 (the machine's delivery), health_ms = 5000. Notes: request, credit {amount_minor, -1: not
 * known}, late {outcome}. `cancel` takes a charge back that is not decided. There are no counters.
 */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_qibixx;

/** The simulator; see qibixx_sim.c. */
struct sip_party *sip_qibixx_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err);

#endif
