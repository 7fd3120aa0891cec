#ifndef SIP_SERIAL_SERIAL_H
#define SIP_SERIAL_SERIAL_H
/* serial.h - lines: each a party and a port that the serial thread joins.
 *
 * One thread for all lines of the process. It owns ports and parties; commands go to it and notes
 * come back as copies. When a port is lost the thread closes it at once, tells the party, and opens
 * it again under its stable name, after pauses from 100 ms to 2 s. It tells `link` notes of its
 * own: {up = true, path, stale} or {up = false, message, code}.
 *
 * A line belongs to one loop: its functions are called there, and its callbacks come there. */
#include "serial/port.h"

#include <uv.h>

enum {
  SIP_SERIAL_LINES = 256,   /* of a process */
  SIP_SERIAL_COMMANDS = 64, /* of a line that have no result yet */
  SIP_SERIAL_EVENTS = 4096, /* of a line that nobody has taken; then the oldest go */
  SIP_SERIAL_EVENT_BYTES = 4 << 20,
  SIP_SERIAL_OUTPUT = 64 << 10 /* bytes of a line that wait for its port */
};

struct sip_serial;
struct sip_serial_line;

/** The thread starts with its first line, with real-time priority where that is allowed. Counted:
 *  one reference, and one of each line. */
int sip_serial_new(struct sip_serial **out, struct sip_err *err);
struct sip_serial *sip_serial_ref(struct sip_serial *serial);

/** The last one ends the thread, after all lines were closed: waits for it. NULL is fine. */
void sip_serial_unref(struct sip_serial *serial);

bool sip_serial_is_realtime(struct sip_serial *serial);

struct sip_serial_options {
  const struct sip_protocol *protocol; /* static */
  const struct sip_note *settings;     /* of the party; borrowed for the call */
  const struct sip_port_settings *port;
  unsigned settle_ms; /* after the opening, before the party is told: a board that resets then */
  bool simulate;      /* the other end: a new pseudo-terminal with the protocol's simulator */
  bool reopen;        /* a lost port is opened again, for as long as it takes */
  bool patient;       /* and so is one that is not there at first */
};

struct sip_serial_callbacks {
  void (*on_result)(void *arg, struct sip_note *result); /* of a command; now yours: free() */
  void (*on_change)(void *arg); /* there are notes to take, or the link changed */
};

/** A new line; the port is opened by and by. Fails at once where the settings are wrong. */
int sip_serial_open(struct sip_serial_line **out, struct sip_serial *serial, uv_loop_t *loop,
                    const struct sip_serial_options *options,
                    const struct sip_serial_callbacks *callbacks, void *arg, struct sip_err *err);

/** Sends a command, copied, with a ticket that is not 0. One result of that ticket follows, or one
 *  note `refused` {code, name, message}. Commands of every line, beside those of its protocol:
 *  `lines` {dtr?, rts?} → {ok, dtr, rts, cts, dsr, dcd, ri}, `break` {ms}; of a simulator: `unplug`
 *  and `replug`. @return 0; SIP_EQUEUEFULL when too many have no result */
int sip_serial_command(struct sip_serial_line *line, const struct sip_note *command,
                       struct sip_err *err);

/** The oldest note that nobody asked for, or progress of a command; now yours: free(). NULL: none.
 */
struct sip_note *sip_serial_next(struct sip_serial_line *line);

/** Puts a note, which it takes over, behind those: for a result whose asker is gone. */
void sip_serial_keep(struct sip_serial_line *line, struct sip_note *note);

struct sip_serial_state {
  bool up;
  unsigned attempts;     /* ends of openings, good and bad */
  unsigned opened, lost; /* times */
  uint64_t bytes_in, bytes_out;
  uint64_t dropped; /* notes that nobody took */
  char path[SIP_PORT_NAME];
  struct sip_err err; /* of the last failure */
};

void sip_serial_state(struct sip_serial_line *line, struct sip_serial_state *out);

/* Bytes that came or left at once, or a part of them. */
struct sip_serial_traffic {
  int64_t at_ms; /* since 1970-01-01 UTC */
  bool out;
  unsigned size;
  uint8_t bytes[64];
};

enum { SIP_SERIAL_TRAFFIC = 64 };

/** Copies the last ones, oldest first. @param out  SIP_SERIAL_TRAFFIC of them @return how many */
size_t sip_serial_traffic(struct sip_serial_line *line, struct sip_serial_traffic *out);

/** No callback comes afterwards; what has no result gets none. The port is closed soon: at once,
 *  but for raw bytes, which have a second to leave. NULL is fine. */
void sip_serial_close(struct sip_serial_line *line);

#endif
