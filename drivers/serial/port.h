#ifndef SIP_SERIAL_PORT_H
#define SIP_SERIAL_PORT_H
/* port.h - the outer end of a line: a tty, a pseudo-terminal, a TCP connection.
 *
 * Opening may block (drivers, name servers), so it is done on a thread of its own; an open port is
 * used by one thread at a time and never blocks. */
#include "core/base.h"
#include "serial/party.h"

#define SIP_PORT_NAME 256u /* bytes of a port's name, with its NUL */

enum sip_flow { SIP_FLOW_NONE, SIP_FLOW_HARD, SIP_FLOW_SOFT }; /* RTS and CTS; XON and XOFF */

struct sip_port_settings {
  /* "/dev/…", "tcp://host:port", "rfc2217://host:port"; of a simulator, the link that is wanted */
  char name[SIP_PORT_NAME];
  struct sip_line_settings line;
  bool rs485; /* the driver turns the direction with RTS */
  enum sip_flow flow;
};

/* Of the modem lines; -1: not known, or left alone. */
struct sip_port_lines {
  int dtr, rts, cts, dsr, dcd, ri;
};

struct sip_serial_port;

struct sip_port_ops {
  /* How many bytes; 0: none now; negative: the port is gone, and `err` says how. */
  long (*read)(struct sip_serial_port *port, void *bytes, size_t size, struct sip_err *err);
  /* How many of them were taken; 0: none now; negative: the port is gone. */
  long (*write)(struct sip_serial_port *port, const void *bytes, size_t size, struct sip_err *err);
  /* Whether all that was taken has left the machine, as far as it knows. */
  bool (*drained)(struct sip_serial_port *port);
  /* Sets dtr and rts, unless they are -1, then reads all. UV_ENOTSUP where there are none. */
  int (*lines)(struct sip_serial_port *port, struct sip_port_lines *lines, struct sip_err *err);
  /* Begins or ends a break. UV_ENOTSUP where there is none. */
  int (*brk)(struct sip_serial_port *port, bool on, struct sip_err *err);
  /* Drops what was not sent, and frees the port. */
  void (*close)(struct sip_serial_port *port);
};

struct sip_serial_port {
  const struct sip_port_ops *ops;
  int fd;
  bool held;                  /* the other end wants no bytes now: wait, and do not write */
  bool dumb;                  /* a simulator's: nobody need listen */
  size_t stale;               /* bytes that lay there when it was opened, and were dropped */
  char path[SIP_PORT_NAME];   /* what was opened: "/dev/ttyUSB0" */
  char stable[SIP_PORT_NAME]; /* the name to find the same one again */
};

/** Opens what the name says. May block for some seconds. @return 0 or a negative code: UV_ENOENT,
 *  UV_EACCES, SIP_EBUSY when somebody has it, … */
int sip_port_open(struct sip_serial_port **out, const struct sip_port_settings *settings,
                  struct sip_err *err);

/** A new pseudo-terminal, of which this is the board's end: `path` is what the host opens, and
 *  `settings->name`, unless it is empty, a link to that, until the port is closed. */
int sip_port_simulate(struct sip_serial_port **out, const struct sip_port_settings *settings,
                      struct sip_err *err);

/** NULL is fine. */
void sip_port_close(struct sip_serial_port *port);

/* --- what the kinds of ports share, and their ways in --- */

/** read(2) and write(2) in the shape above; the end of a file is UV_EOF. */
long sip_port_fd_read(struct sip_serial_port *port, void *bytes, size_t size, struct sip_err *err);
long sip_port_fd_write(struct sip_serial_port *port, const void *bytes, size_t size,
                       struct sip_err *err);

/** Output queue empty (TIOCOUTQ). */
bool sip_port_fd_drained(struct sip_serial_port *port);

/** Without modem lines: UV_ENOTSUP. */
int sip_port_no_lines(struct sip_serial_port *port, struct sip_port_lines *lines,
                      struct sip_err *err);
int sip_port_no_break(struct sip_serial_port *port, bool on, struct sip_err *err);

/** Names the file that could not be opened, and what to do about it. @return a negative code */
int sip_port_refused(const char *path, int errnum, struct sip_err *err);

/** Bytes as they are, at once, without flow control; no hang-up at close. */
int sip_port_fd_raw(int fd, const char *path, struct sip_err *err);

/** Flow control, on top of that. */
int sip_port_fd_flow(int fd, const char *path, enum sip_flow flow, struct sip_err *err);

/** Drops what came before we listened, and remembers how much it was. */
void sip_port_fd_flush(struct sip_serial_port *port);

/* `path` is without links; `settings->name` is what was asked for. */
int sip_tty_open(struct sip_serial_port **out, const char *path,
                 const struct sip_port_settings *settings, struct sip_err *err);
int sip_pty_open(struct sip_serial_port **out, const char *path, enum sip_flow flow,
                 struct sip_err *err);
int sip_tcp_open(struct sip_serial_port **out, const char *name, struct sip_err *err);
int sip_rfc2217_open(struct sip_serial_port **out, const struct sip_port_settings *settings,
                     struct sip_err *err);

/** send(2) in the shape above. */
long sip_tcp_write(struct sip_serial_port *port, const void *bytes, size_t size,
                   struct sip_err *err);

/** A connection to the address behind "scheme://". @return a descriptor, or a negative code */
int sip_tcp_connect(const char *name, struct sip_err *err);

#endif
