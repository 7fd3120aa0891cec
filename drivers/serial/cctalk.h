#ifndef SIP_SERIAL_CCTALK_H
#define SIP_SERIAL_CCTALK_H
/* cctalk.h - a ccTalk bus: a coin acceptor and hoppers.
 *
 * Settings: check "sum" (default) or "crc"; echo "auto" (default: learnt once with a poll), "yes",
 *   "no"; acceptor (address, default 2; 0: none); hopper (first address, default 3) and hoppers
 * (how many, default 1); coins "5,10,20" (minor units of position 1, 2, …); mask (positions
 * accepted, default 65535); counter (the acceptor's counter of events as stored durably: what came
 * since is paid when there is no doubt about it; none: nothing is paid); security (bytes of header
 * 167 in hex, default eight zeros, which hoppers without encryption take; what others want is not
 *   public); cipher (true: header 160 before each order); id (dispenses only when `identify` says
 *   so); poll_ms (default 200), reply_ms (default 250).
 * Commands of the engine, beside those of all engines: dispense {slot (1: the first hopper),
 *   quantity (coins), deadline_ms?} → {outcome, quantity, code, reason, proof, remaining}: done
 * with the code PARTIAL when fewer came out, all of them counted; counters {slot?} and resolve
 * {slot, quantity, hopper_event, hopper_total, hopper_serial}; test {slot} → {flags} (header 163);
 * stop; enable, disable, mask {mask}; reset {slot? (0: the acceptor)}. Notes: identified (of each
 * device, with address), credit {amount_minor, coin, path, counter}, lost {events, counter, code,
 * reason} (coins that nobody can name), fault, status, noise. */
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_cctalk;

/* The simulator; see cctalk_sim.c. */
struct sip_party *sip_cctalk_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err);
extern const char *const sip_cctalk_settings[];

enum { SIP_CCTALK_SECURITY_MAX = 16 };

/** The setting security; eight zeros where there is none. */
int sip_cctalk_security(uint8_t out[SIP_CCTALK_SECURITY_MAX], size_t *size,
                        const struct sip_note *settings, struct sip_err *err);

#endif
