/* rfc2217.c - serial servers over TCP that let us set speed and modem lines: telnet with the option
 * of RFC 2217. Bytes FF are doubled both ways (RFC 854); settings are refused when the server
 * answers with others than it was asked for. */
#include "serial/port.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SE = 240, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255 };
enum { BINARY = 0, SUPPRESS_GO_AHEAD = 3, COM_PORT = 44 };
enum { /* of the client; the server's are higher by SERVER */
       SET_BAUD = 1,
       SET_BITS = 2,
       SET_PARITY = 3,
       SET_STOP = 4,
       SET_CONTROL = 5,
       MODEM_STATE = 7,
       SUSPEND = 8,
       RESUME = 9,
       MODEM_MASK = 11,
       PURGE = 12,
       SERVER = 100
};
enum {
  NO_FLOW = 1, /* then XON and XOFF, RTS and CTS */
  BREAK_ON = 5,
  BREAK_OFF = 6,
  DTR_ON = 8,
  DTR_OFF = 9,
  RTS_ON = 11,
  RTS_OFF = 12
};

enum { ANSWER_MS = 3000, CHUNK = 512 };

enum state { DATA, COMMAND, OPTION, SUB, SUB_COMMAND };

struct rfc2217 {
  struct sip_serial_port port;
  enum state state;
  uint8_t verb;         /* before an option */
  uint8_t sub[16];      /* of a subnegotiation: what fits */
  size_t sub_size;      /* may be more than that: then it is none of ours */
  uint8_t control[256]; /* to be sent between data */
  size_t control_size;
  bool control_full;    /* something did not fit: the connection is of no more use */
  bool half;            /* of a doubled FF, one was sent */
  bool agreed, refused; /* the option */
  uint32_t answered;    /* bits of the settings that the server named */
  uint32_t values[8];   /* with these values */
  int modem;            /* its last MODEM_STATE, or -1 */
  int dtr, rts;         /* as we set them, or -1 */
};

static struct rfc2217 *rfc2217_of(struct sip_serial_port *port)
{
  return SIP_CONTAINER(port, struct rfc2217, port);
}

/* --- what we say --- */

static void control_add(struct rfc2217 *telnet, const uint8_t *bytes, size_t size)
{
  if (telnet->control_size + size > sizeof telnet->control) {
    telnet->control_full = true;
    return;
  }
  memcpy(telnet->control + telnet->control_size, bytes, size);
  telnet->control_size += size;
}

static void say(struct rfc2217 *telnet, uint8_t verb, uint8_t option)
{
  uint8_t bytes[] = { IAC, verb, option };

  control_add(telnet, bytes, sizeof bytes);
}

/* A setting of `size` bytes, the high one first. */
static void ask(struct rfc2217 *telnet, uint8_t setting, uint32_t value, size_t size)
{
  uint8_t bytes[4 + 2 * 4 + 2] = { IAC, SB, COM_PORT, setting };
  size_t n = 4;

  for (size_t i = size; i > 0; i--) {
    bytes[n] = (uint8_t)(value >> (8 * (i - 1)));
    if (bytes[n++] == IAC) {
      bytes[n++] = IAC;
    }
  }
  bytes[n++] = IAC;
  bytes[n++] = SE;
  control_add(telnet, bytes, n);
}

/* Sends what it can of that. @return 1 when all has left, 0, or a negative code */
static int control_flush(struct rfc2217 *telnet, struct sip_err *err)
{
  long put;

  if (telnet->control_full) {
    return sip_err_set(err, SIP_EDATA, "%s: the server asks without end", telnet->port.path);
  }
  if (telnet->control_size == 0) {
    return 1;
  }
  if (telnet->half) { /* nothing may stand between the two */
    return 0;
  }
  put = sip_tcp_write(&telnet->port, telnet->control, telnet->control_size, err);
  if (put < 0) {
    return (int)put;
  }
  telnet->control_size -= (size_t)put;
  memmove(telnet->control, telnet->control + put, telnet->control_size);
  return telnet->control_size == 0;
}

/* --- what the server says --- */

static void on_option(struct rfc2217 *telnet, uint8_t option)
{
  bool ours = option == BINARY || option == SUPPRESS_GO_AHEAD;

  if (option == COM_PORT && (telnet->verb == DO || telnet->verb == DONT)) {
    telnet->agreed = telnet->verb == DO;
    telnet->refused = telnet->verb == DONT;
  } else if (telnet->verb == DO && !ours) {
    say(telnet, WONT, option);
  } else if (telnet->verb == WILL && !ours && option != COM_PORT) {
    say(telnet, DONT, option);
  }
}

static void on_sub(struct rfc2217 *telnet)
{
  uint32_t value = 0;
  unsigned setting;

  if (telnet->sub_size < 2 || telnet->sub_size > sizeof telnet->sub || telnet->sub[0] != COM_PORT ||
      telnet->sub[1] < SERVER) {
    return;
  }
  setting = telnet->sub[1] - (unsigned)SERVER;
  for (size_t i = 2; i < telnet->sub_size; i++) {
    value = value << 8 | telnet->sub[i];
  }
  if (setting == SUSPEND || setting == RESUME) {
    telnet->port.held = setting == SUSPEND;
  } else if (setting == MODEM_STATE) {
    telnet->modem = (int)(value & 0xFF);
  } else if (setting >= SET_BAUD && setting <= SET_CONTROL) {
    telnet->values[setting] = value;
    telnet->answered |= 1u << setting;
  }
}

static void sub_add(struct rfc2217 *telnet, uint8_t byte)
{
  if (telnet->sub_size < sizeof telnet->sub) {
    telnet->sub[telnet->sub_size] = byte;
  }
  telnet->sub_size += telnet->sub_size <= sizeof telnet->sub;
}

static void on_command(struct rfc2217 *telnet, uint8_t byte)
{
  telnet->state = DATA;
  if (byte >= WILL) {
    telnet->verb = byte;
    telnet->state = OPTION;
  } else if (byte == SB) {
    telnet->sub_size = 0;
    telnet->state = SUB;
  }
}

/* Takes one byte of the connection. @return whether it is data */
static bool take(struct rfc2217 *telnet, uint8_t byte)
{
  switch (telnet->state) {
  case DATA:
    telnet->state = byte == IAC ? COMMAND : DATA;
    return byte != IAC;
  case COMMAND:
    if (byte == IAC) {
      telnet->state = DATA;
      return true;
    }
    on_command(telnet, byte);
    return false;
  case OPTION:
    telnet->state = DATA;
    on_option(telnet, byte);
    return false;
  case SUB:
    if (byte == IAC) {
      telnet->state = SUB_COMMAND;
    } else {
      sub_add(telnet, byte);
    }
    return false;
  default: /* SUB_COMMAND */
    telnet->state = byte == SE ? DATA : SUB;
    if (byte == SE) {
      on_sub(telnet);
    } else if (byte == IAC) {
      sub_add(telnet, byte);
    }
    return false;
  }
}

/* --- the port --- */

static long rfc2217_read(struct sip_serial_port *port, void *bytes, size_t size,
                         struct sip_err *err)
{
  struct rfc2217 *telnet = rfc2217_of(port);
  uint8_t *data = bytes;
  long got = sip_port_fd_read(port, bytes, size, err), kept = 0;
  int rc;

  for (long i = 0; i < got; i++) {
    uint8_t byte = data[i];

    if (take(telnet, byte)) {
      data[kept++] = byte;
    }
  }
  if (got < 0) {
    return got;
  }
  rc = control_flush(telnet, err); /* what it asked for */
  return rc < 0 ? rc : kept;
}

static long rfc2217_write(struct sip_serial_port *port, const void *bytes, size_t size,
                          struct sip_err *err)
{
  struct rfc2217 *telnet = rfc2217_of(port);
  const uint8_t *data = bytes;
  uint8_t wire[2 * CHUNK];
  size_t count = size < CHUNK ? size : CHUNK, n = 0, used = 0;
  long put, taken;
  int rc = control_flush(telnet, err);

  if (rc < 0 || (rc == 0 && !telnet->half)) {
    return rc;
  }
  for (size_t i = 0; i < count; i++) {
    if (data[i] == IAC && !(i == 0 && telnet->half)) {
      wire[n++] = IAC;
    }
    wire[n++] = data[i];
  }
  put = sip_tcp_write(port, wire, n, err);
  if (put <= 0) {
    return put;
  }
  for (taken = 0; taken < (long)count; taken++) { /* how many bytes of data that was */
    size_t need = data[taken] == IAC && !(taken == 0 && telnet->half) ? 2 : 1;

    if (used + need > (size_t)put) {
      break;
    }
    used += need;
  }
  telnet->half = used < (size_t)put;
  return taken;
}

static bool rfc2217_drained(struct sip_serial_port *port)
{
  return rfc2217_of(port)->control_size == 0 && sip_port_fd_drained(port);
}

static int rfc2217_lines(struct sip_serial_port *port, struct sip_port_lines *lines,
                         struct sip_err *err)
{
  struct rfc2217 *telnet = rfc2217_of(port);
  int rc;

  if (lines->dtr >= 0) {
    ask(telnet, SET_CONTROL, lines->dtr ? DTR_ON : DTR_OFF, 1);
    telnet->dtr = lines->dtr;
  }
  if (lines->rts >= 0) {
    ask(telnet, SET_CONTROL, lines->rts ? RTS_ON : RTS_OFF, 1);
    telnet->rts = lines->rts;
  }
  *lines = (struct sip_port_lines){ telnet->dtr, telnet->rts, -1, -1, -1, -1 };
  if (telnet->modem >= 0) { /* bits as of a 16450 (RFC 2217, NOTIFY-MODEMSTATE) */
    lines->cts = (telnet->modem >> 4) & 1;
    lines->dsr = (telnet->modem >> 5) & 1;
    lines->ri = (telnet->modem >> 6) & 1;
    lines->dcd = (telnet->modem >> 7) & 1;
  }
  rc = control_flush(telnet, err);
  return rc < 0 ? rc : 0;
}

static int rfc2217_break(struct sip_serial_port *port, bool on, struct sip_err *err)
{
  struct rfc2217 *telnet = rfc2217_of(port);
  int rc;

  ask(telnet, SET_CONTROL, on ? BREAK_ON : BREAK_OFF, 1);
  rc = control_flush(telnet, err);
  return rc < 0 ? rc : 0;
}

static void rfc2217_close(struct sip_serial_port *port)
{
  (void)close(port->fd); /* there is nothing to do about a failure */
  free(rfc2217_of(port));
}

static const struct sip_port_ops rfc2217_ops = { rfc2217_read,  rfc2217_write, rfc2217_drained,
                                                 rfc2217_lines, rfc2217_break, rfc2217_close };

/* --- opening --- */

static int64_t now_ms(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there always is this clock */
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sends what there is to say, and listens until `done`. Data is from before us, and dropped. */
static int converse(struct rfc2217 *telnet, bool (*done)(const struct rfc2217 *telnet),
                    const char *what, struct sip_err *err)
{
  int64_t until = now_ms() + ANSWER_MS, left;
  uint8_t bytes[CHUNK];
  long got;
  int rc = control_flush(telnet, err);

  while (rc >= 0 && !done(telnet)) {
    struct pollfd wait = { .fd = telnet->port.fd,
                           .events = (short)(rc == 0 ? POLLIN | POLLOUT : POLLIN) };

    left = until - now_ms();
    if (left <= 0) {
      return sip_err_set(err, UV_ETIMEDOUT,
                         "open %s: the server does not answer %s (raw bytes: "
                         "tcp://)",
                         telnet->port.path, what);
    }
    if (poll(&wait, 1, (int)left) < 0 && errno != EINTR) {
      return sip_err_errno(err, errno, "open %s", telnet->port.path);
    }
    got = rfc2217_read(&telnet->port, bytes, sizeof bytes, err);
    telnet->port.stale += got > 0 ? (size_t)got : 0;
    rc = got < 0 ? (int)got : control_flush(telnet, err);
  }
  return rc < 0 ? rc : 0;
}

static bool has_option(const struct rfc2217 *telnet)
{
  return telnet->agreed || telnet->refused;
}

static bool has_settings(const struct rfc2217 *telnet)
{
  uint32_t all = 1u << SET_BAUD | 1u << SET_BITS | 1u << SET_PARITY | 1u << SET_STOP;

  return (telnet->answered & all) == all;
}

static int set_up(struct rfc2217 *telnet, const struct sip_port_settings *settings,
                  struct sip_err *err)
{
  static const uint8_t parities[] = { 1, 3, 2, 4, 5 }; /* none, even, odd, mark, space */
  static const uint8_t flows[] = { NO_FLOW, NO_FLOW + 2, NO_FLOW + 1 };
  const struct sip_line_settings *line = &settings->line;
  const uint32_t wanted[] = { 0, line->baud, line->bits, parities[line->parity], line->stop };
  static const char *const names[] = { "", "baud", "bits", "parity", "stop" };
  struct sip_port_lines lines = { line->dtr, line->rts, -1, -1, -1, -1 };
  int rc;

  for (unsigned i = SET_BAUD; i <= SET_STOP; i++) {
    ask(telnet, (uint8_t)i, wanted[i], i == SET_BAUD ? 4 : 1);
  }
  ask(telnet, SET_CONTROL, flows[settings->flow], 1);
  ask(telnet, MODEM_MASK, 0xF0, 1); /* the states, not their changes */
  ask(telnet, PURGE, 3, 1);
  rc = rfc2217_lines(&telnet->port, &lines, err);
  if (rc == 0) {
    rc = converse(telnet, has_settings, "the settings", err);
  }
  for (unsigned i = SET_BAUD; rc == 0 && i <= SET_STOP; i++) {
    if (telnet->values[i] != wanted[i]) {
      rc = sip_err_set(err, UV_EINVAL, "open %s: the server says %s %u, not %u", telnet->port.path,
                       names[i], telnet->values[i], wanted[i]);
    }
  }
  return rc;
}

int sip_rfc2217_open(struct sip_serial_port **out, const struct sip_port_settings *settings,
                     struct sip_err *err)
{
  int fd = sip_tcp_connect(settings->name, err), rc;
  struct rfc2217 *telnet;

  if (fd < 0) {
    return fd;
  }
  telnet = calloc(1, sizeof *telnet);
  if (telnet == NULL) {
    (void)close(fd);
    return sip_err_set(err, UV_ENOMEM, "open %s: no memory for the port", settings->name);
  }
  telnet->port.ops = &rfc2217_ops;
  telnet->port.fd = fd;
  telnet->modem = telnet->dtr = telnet->rts = -1;
  (void)snprintf(telnet->port.path, sizeof telnet->port.path, "%s", settings->name);
  say(telnet, WILL, COM_PORT);
  say(telnet, WILL, BINARY);
  say(telnet, DO, BINARY);
  say(telnet, WILL, SUPPRESS_GO_AHEAD);
  say(telnet, DO, SUPPRESS_GO_AHEAD);
  rc = converse(telnet, has_option, "RFC 2217", err);
  if (rc == 0 && telnet->refused) {
    rc = sip_err_set(err, UV_ENOTSUP, "open %s: the server knows no RFC 2217 (raw bytes: tcp://)",
                     settings->name);
  }
  if (rc == 0) {
    rc = set_up(telnet, settings, err);
  }
  if (rc < 0) {
    rfc2217_close(&telnet->port);
    return rc;
  }
  *out = &telnet->port;
  return 0;
}
