/* rfc2217.c - serial servers over TCP that let us set speed and modem lines (RFC 2217). Settings
 * are refused when the server answers with others than it was asked for. */
#include "serial/port.h"
#include "serial/telnet.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {              /* values of SIP_TELNET_CONTROL */
       NO_FLOW = 1, /* then XON and XOFF, RTS and CTS */
       BREAK_ON = 5,
       BREAK_OFF = 6,
       DTR_ON = 8,
       DTR_OFF = 9,
       RTS_ON = 11,
       RTS_OFF = 12
};

enum { ANSWER_MS = 3000, CHUNK = 512 };

struct rfc2217 {
  struct sip_serial_port port;
  struct sip_telnet telnet;
  int dtr, rts; /* as we set them, or -1 */
};

static struct rfc2217 *rfc2217_of(struct sip_serial_port *port)
{
  return SIP_CONTAINER(port, struct rfc2217, port);
}

/* Sends what it can of what is to be said between data. @return 1 when all has left, 0, or a
 * negative code */
static int control_flush(struct rfc2217 *server, struct sip_err *err)
{
  struct sip_telnet *telnet = &server->telnet;
  long put;

  if (telnet->control_full) {
    return sip_err_set(err, SIP_EDATA, "%s: the server asks without end", server->port.path);
  }
  if (telnet->control_size == 0) {
    return 1;
  }
  if (telnet->half) { /* nothing may stand between the two */
    return 0;
  }
  put = sip_tcp_write(&server->port, telnet->control, telnet->control_size, err);
  if (put < 0) {
    return (int)put;
  }
  sip_telnet_control_sent(telnet, (size_t)put);
  return telnet->control_size == 0;
}

static long rfc2217_read(struct sip_serial_port *port, void *bytes, size_t size,
                         struct sip_err *err)
{
  struct rfc2217 *server = rfc2217_of(port);
  long got = sip_port_fd_read(port, bytes, size, err), data;
  int rc;

  if (got < 0) {
    return got;
  }
  data = (long)sip_telnet_take(&server->telnet, bytes, (size_t)got);
  port->held = server->telnet.held;
  rc = control_flush(server, err); /* what it asked for */
  return rc < 0 ? rc : data;
}

static long rfc2217_write(struct sip_serial_port *port, const void *bytes, size_t size,
                          struct sip_err *err)
{
  struct rfc2217 *server = rfc2217_of(port);
  size_t count = size < CHUNK ? size : CHUNK;
  uint8_t wire[2 * CHUNK];
  int rc = control_flush(server, err);
  long put;

  if (rc < 0 || (rc == 0 && !server->telnet.half)) {
    return rc;
  }
  put = sip_tcp_write(port, wire, sip_telnet_wrap(&server->telnet, bytes, count, wire), err);
  return put < 0 ? put : (long)sip_telnet_sent(&server->telnet, bytes, count, (size_t)put);
}

static bool rfc2217_drained(struct sip_serial_port *port)
{
  return rfc2217_of(port)->telnet.control_size == 0 && sip_port_fd_drained(port);
}

static int rfc2217_lines(struct sip_serial_port *port, struct sip_port_lines *lines,
                         struct sip_err *err)
{
  struct rfc2217 *server = rfc2217_of(port);
  int modem = server->telnet.modem, rc;

  if (lines->dtr >= 0) {
    sip_telnet_ask(&server->telnet, SIP_TELNET_CONTROL, lines->dtr ? DTR_ON : DTR_OFF, 1);
    server->dtr = lines->dtr;
  }
  if (lines->rts >= 0) {
    sip_telnet_ask(&server->telnet, SIP_TELNET_CONTROL, lines->rts ? RTS_ON : RTS_OFF, 1);
    server->rts = lines->rts;
  }
  *lines = (struct sip_port_lines){ server->dtr, server->rts, -1, -1, -1, -1 };
  if (modem >= 0) { /* bits as of a 16450 (RFC 2217, NOTIFY-MODEMSTATE) */
    lines->cts = (modem >> 4) & 1;
    lines->dsr = (modem >> 5) & 1;
    lines->ri = (modem >> 6) & 1;
    lines->dcd = (modem >> 7) & 1;
  }
  rc = control_flush(server, err);
  return rc < 0 ? rc : 0;
}

static int rfc2217_break(struct sip_serial_port *port, bool on, struct sip_err *err)
{
  struct rfc2217 *server = rfc2217_of(port);
  int rc;

  sip_telnet_ask(&server->telnet, SIP_TELNET_CONTROL, on ? BREAK_ON : BREAK_OFF, 1);
  rc = control_flush(server, err);
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
static int converse(struct rfc2217 *server, bool (*done)(const struct sip_telnet *telnet),
                    const char *what, struct sip_err *err)
{
  int64_t until = now_ms() + ANSWER_MS, left;
  uint8_t bytes[CHUNK];
  long got;
  int rc = control_flush(server, err);

  while (rc >= 0 && !done(&server->telnet)) {
    struct pollfd wait = { .fd = server->port.fd,
                           .events = (short)(rc == 0 ? POLLIN | POLLOUT : POLLIN) };

    left = until - now_ms();
    if (left <= 0) {
      return sip_err_set(err, UV_ETIMEDOUT,
                         "open %s: the server does not answer %s (raw bytes: "
                         "tcp://)",
                         server->port.path, what);
    }
    if (poll(&wait, 1, (int)left) < 0 && errno != EINTR) {
      return sip_err_errno(err, errno, "open %s", server->port.path);
    }
    got = rfc2217_read(&server->port, bytes, sizeof bytes, err);
    server->port.stale += got > 0 ? (size_t)got : 0;
    rc = got < 0 ? (int)got : control_flush(server, err);
  }
  return rc < 0 ? rc : 0;
}

static bool has_option(const struct sip_telnet *telnet)
{
  return telnet->agreed || telnet->refused;
}

static bool has_settings(const struct sip_telnet *telnet)
{
  uint32_t all =
    1u << SIP_TELNET_BAUD | 1u << SIP_TELNET_BITS | 1u << SIP_TELNET_PARITY | 1u << SIP_TELNET_STOP;

  return (telnet->answered & all) == all;
}

static int set_up(struct rfc2217 *server, const struct sip_port_settings *settings,
                  struct sip_err *err)
{
  static const uint8_t parities[] = { 1, 3, 2, 4, 5 }; /* none, even, odd, mark, space */
  static const uint8_t flows[] = { NO_FLOW, NO_FLOW + 2, NO_FLOW + 1 };
  const struct sip_line_settings *line = &settings->line;
  const uint32_t wanted[] = { 0, line->baud, line->bits, parities[line->parity], line->stop };
  static const char *const names[] = { "", "baud", "bits", "parity", "stop" };
  struct sip_port_lines lines = { line->dtr, line->rts, -1, -1, -1, -1 };
  int rc;

  for (unsigned i = SIP_TELNET_BAUD; i <= SIP_TELNET_STOP; i++) {
    sip_telnet_ask(&server->telnet, (uint8_t)i, wanted[i], i == SIP_TELNET_BAUD ? 4 : 1);
  }
  sip_telnet_ask(&server->telnet, SIP_TELNET_CONTROL, flows[settings->flow], 1);
  /* The states of the modem lines, not their changes. */
  sip_telnet_ask(&server->telnet, SIP_TELNET_MODEM_MASK, 0xF0, 1);
  sip_telnet_ask(&server->telnet, SIP_TELNET_PURGE, 3, 1);
  rc = rfc2217_lines(&server->port, &lines, err);
  if (rc == 0) {
    rc = converse(server, has_settings, "the settings", err);
  }
  for (unsigned i = SIP_TELNET_BAUD; rc == 0 && i <= SIP_TELNET_STOP; i++) {
    if (server->telnet.values[i] != wanted[i]) {
      rc = sip_err_set(err, UV_EINVAL, "open %s: the server says %s %u, not %u", server->port.path,
                       names[i], server->telnet.values[i], wanted[i]);
    }
  }
  return rc;
}

int sip_rfc2217_open(struct sip_serial_port **out, const struct sip_port_settings *settings,
                     struct sip_err *err)
{
  int fd = sip_tcp_connect(settings->name, err), rc;
  struct rfc2217 *server;

  if (fd < 0) {
    return fd;
  }
  server = calloc(1, sizeof *server);
  if (server == NULL) {
    (void)close(fd);
    return sip_err_set(err, UV_ENOMEM, "open %s: no memory for the port", settings->name);
  }
  server->port.ops = &rfc2217_ops;
  server->port.fd = fd;
  server->dtr = server->rts = -1;
  sip_telnet_begin(&server->telnet);
  (void)snprintf(server->port.path, sizeof server->port.path, "%s", settings->name);
  rc = converse(server, has_option, "RFC 2217", err);
  if (rc == 0 && server->telnet.refused) {
    rc = sip_err_set(err, UV_ENOTSUP, "open %s: the server knows no RFC 2217 (raw bytes: tcp://)",
                     settings->name);
  }
  if (rc == 0) {
    rc = set_up(server, settings, err);
  }
  if (rc < 0) {
    rfc2217_close(&server->port);
    return rc;
  }
  *out = &server->port;
  return 0;
}
