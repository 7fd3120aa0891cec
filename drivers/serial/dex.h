#ifndef SIP_SERIAL_DEX_H
#define SIP_SERIAL_DEX_H
/* dex.h - reads a vending machine's audit data over DEX/UCS, or over DDCMP.
 *
 * Settings: transport "dex" (default) or "ddcmp"; id (ours, up to 10 characters, default
 * SIPEAT0001) and revision (default R01L01), as the first handshake says them; baud (of the line,
 * for DDCMP's times and its START; default 9600, 2400 with ddcmp); deadline_ms (of a command,
 * default 60000). Commands of the engine: identify (both handshakes, nothing is read), status,
 * audit → {text (as it came), events (JSON), verdict, trusted, g85, se, records, id, revision};
 * counters {slot?} → {vends, value_minor, slot_vends, slot_value_minor}; resolve {slot, quantity,
 * slot_vends}: the totals since initialisation say what the machine sold from the slot since then.
 * Each of them that reads, reads all; a machine may clear its totals since reset after a read that
 * was completed. A session that breaks off is begun anew until the deadline. Notes: progress
 * {blocks, bytes} (with the ticket), identified, status, noise. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_dex;

enum { SIP_DEX_ID = 10, SIP_DEX_REVISION = 6 };

/* The simulator; see dex_sim.c. */
struct sip_party *sip_dex_simulator(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err);
extern const char *const sip_dex_settings[];

/** Copies the text `name` into `out`, padded with '0' to `size`; `otherwise` where it is not given.
 * UV_EINVAL when it is longer, or not made of letters, digits and blanks. */
int sip_dex_setting(const struct sip_note *settings, const char *name, const char *otherwise,
                    char *out, size_t size, struct sip_err *err);

#endif
