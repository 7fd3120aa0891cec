/* tty.c - real ports, opened and set up by libserialport; read and written directly, since only
 * poll(2) and read(2) tell silence from a hang-up (serial-protocols, section 9). */
#include "serial/lock.h"
#include "serial/port.h"
#include "serial/sysfs.h"

#include <errno.h>
#include <libserialport.h>
#include <linux/serial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct tty {
  struct sip_serial_port port;
  struct sp_port *sp; /* NULL until found */
  struct sip_lock lock;
};

static struct tty *tty_of(struct sip_serial_port *port)
{
  return SIP_CONTAINER(port, struct tty, port);
}

static void tty_close(struct sip_serial_port *port)
{
  struct tty *tty = tty_of(port);

  if (port->fd >= 0) {
    (void)tcflush(port->fd, TCOFLUSH); /* else close waits for the bytes to leave, up to 30 s */
    (void)ioctl(port->fd, TIOCNXCL);   /* of a port that is gone this fails, and need not be */
    (void)sp_close(tty->sp);           /* there is nothing to do about a failure */
  }
  sp_free_port(tty->sp);
  sip_lock_release(&tty->lock);
  free(tty);
}

static int tty_lines(struct sip_serial_port *port, struct sip_port_lines *lines,
                     struct sip_err *err)
{
  int on = (lines->dtr == 1 ? TIOCM_DTR : 0) | (lines->rts == 1 ? TIOCM_RTS : 0);
  int off = (lines->dtr == 0 ? TIOCM_DTR : 0) | (lines->rts == 0 ? TIOCM_RTS : 0), now;

  if ((on != 0 && ioctl(port->fd, TIOCMBIS, &on) < 0) ||
      (off != 0 && ioctl(port->fd, TIOCMBIC, &off) < 0) || ioctl(port->fd, TIOCMGET, &now) < 0) {
    return errno == ENOTTY || errno == EINVAL
             ? sip_port_no_lines(port, lines, err)
             : sip_err_errno(err, errno, "%s: DTR and RTS", port->path);
  }
  lines->dtr = (now & TIOCM_DTR) != 0;
  lines->rts = (now & TIOCM_RTS) != 0;
  lines->cts = (now & TIOCM_CTS) != 0;
  lines->dsr = (now & TIOCM_DSR) != 0;
  lines->dcd = (now & TIOCM_CD) != 0;
  lines->ri = (now & TIOCM_RI) != 0;
  return 0;
}

static int tty_break(struct sip_serial_port *port, bool on, struct sip_err *err)
{
  if (ioctl(port->fd, on ? TIOCSBRK : TIOCCBRK) < 0) {
    return sip_err_errno(err, errno, "%s: break", port->path);
  }
  return 0;
}

static const struct sip_port_ops tty_ops = { sip_port_fd_read,    sip_port_fd_write,
                                             sip_port_fd_drained, tty_lines,
                                             tty_break,           tty_close };

/* --- opening --- */

static int tty_failed(enum sp_return result, const char *what, const char *path,
                      struct sip_err *err)
{
  int failed = result == SP_ERR_FAIL ? sp_last_error_code() : 0;

  switch (result) {
  case SP_ERR_ARG:
    return sip_err_set(err, UV_EINVAL, "open %s: %s: libserialport refuses it", path, what);
  case SP_ERR_MEM:
    return sip_err_set(err, UV_ENOMEM, "open %s: %s: out of memory", path, what);
  case SP_ERR_SUPP:
    return sip_err_set(err, UV_ENOTSUP, "open %s: %s: this port cannot do that", path, what);
  default:
    return sip_err_errno(err, failed > 0 ? failed : EIO, "open %s: %s", path, what);
  }
}

static int fill_config(struct sp_port_config *config, const struct sip_line_settings *line)
{
  static const enum sp_parity parities[] = { SP_PARITY_NONE, SP_PARITY_EVEN, SP_PARITY_ODD,
                                             SP_PARITY_MARK, SP_PARITY_SPACE };
  int rc = sp_set_config_baudrate(config, (int)line->baud);

  rc = rc < 0 ? rc : sp_set_config_bits(config, (int)line->bits);
  rc = rc < 0 ? rc : sp_set_config_parity(config, parities[line->parity]);
  rc = rc < 0 ? rc : sp_set_config_stopbits(config, (int)line->stop);
  rc = rc < 0 ? rc : sp_set_config_dtr(config, (enum sp_dtr)line->dtr);
  return rc < 0 ? rc : sp_set_config_rts(config, (enum sp_rts)line->rts);
}

static int set_up(struct tty *tty, const struct sip_line_settings *line, struct sip_err *err)
{
  struct sp_port_config *config = NULL;
  int rc = sp_new_config(&config);

  /* After sip_port_fd_raw: libserialport refuses to end flow control and leave RTS alone. */
  rc = rc < 0 ? rc : fill_config(config, line);
  rc = rc < 0 ? rc : sp_set_config(tty->sp, config);
  if (rc < 0) {
    char what[64];

    (void)snprintf(what, sizeof what, "%u baud, %u%c%u", line->baud, line->bits,
                   "NEOMS"[line->parity], line -> stop);
    rc = tty_failed((enum sp_return)rc, what, tty->port.path, err);
  }
  sp_free_config(config);
  return rc;
}

/* The adapter hands bytes on at once instead of after 16 ms, where its driver has that. */
static void set_low_latency(const struct tty *tty)
{
  char driver[32];
  struct serial_struct serial;

  sip_sysfs_driver(tty->port.path, driver, sizeof driver);
  if (strcmp(driver, "ftdi_sio") == 0 && ioctl(tty->port.fd, TIOCGSERIAL, &serial) == 0) {
    serial.flags |= ASYNC_LOW_LATENCY;
    if (ioctl(tty->port.fd, TIOCSSERIAL, &serial) < 0) { /* older kernels want more rights */
      (void)sip_sysfs_set_latency(tty->port.path, 1);    /* a late byte is still a byte */
    }
  }
}

static int set_rs485(const struct tty *tty, struct sip_err *err)
{
  struct serial_rs485 mode = { .flags = SER_RS485_ENABLED | SER_RS485_RTS_ON_SEND };

  if (ioctl(tty->port.fd, TIOCSRS485, &mode) == 0) {
    return 0;
  }
  if (errno == ENOTTY || errno == EINVAL) {
    return sip_err_set(err, UV_ENOTSUP,
                       "open %s: rs485: its driver does not turn the direction (an adapter with "
                       "automatic direction needs no rs485)",
                       tty->port.path);
  }
  return sip_err_errno(err, errno, "open %s: rs485", tty->port.path);
}

static int tty_found(struct tty *tty, struct sip_err *err)
{
  enum sp_return result = sp_get_port_by_name(tty->port.path, &tty->sp);
  int failed;

  if (result != SP_OK) {
    tty->sp = NULL;
    return tty_failed(result, "find it", tty->port.path, err);
  }
  result = sp_open(tty->sp, SP_MODE_READ_WRITE);
  if (result == SP_OK && sp_get_port_handle(tty->sp, &tty->port.fd) == SP_OK) {
    return 0;
  }
  failed = result == SP_ERR_FAIL ? sp_last_error_code() : EIO;
  if (failed == EBUSY) {
    return sip_lock_busy(tty->port.path, err);
  }
  return sip_port_refused(tty->port.path, failed > 0 ? failed : EIO, err);
}

int sip_tty_open(struct sip_serial_port **out, const char *path,
                 const struct sip_port_settings *settings, struct sip_err *err)
{
  struct tty *tty = calloc(1, sizeof *tty);
  int rc;

  if (tty == NULL) {
    return sip_err_set(err, UV_ENOMEM, "open %s: no memory for the port", path);
  }
  tty->port.ops = &tty_ops;
  tty->port.fd = -1;
  (void)snprintf(tty->port.path, sizeof tty->port.path, "%s", path); /* as long */
  rc = sip_lock_take(&tty->lock, SIP_LOCK_DIRECTORY, path, err);
  if (rc == 0) {
    rc = tty_found(tty, err);
  }
  if (rc == 0) {
    rc = sip_lock_descriptor(tty->port.fd, path, true, err);
  }
  if (rc == 0) {
    rc = sip_port_fd_raw(tty->port.fd, path, err);
  }
  if (rc == 0) {
    rc = set_up(tty, &settings->line, err);
  }
  if (rc == 0) {
    rc = sip_port_fd_flow(tty->port.fd, path, settings->flow, err);
  }
  if (rc == 0 && settings->rs485) {
    rc = set_rs485(tty, err);
  }
  if (rc < 0) {
    tty_close(&tty->port);
    return rc;
  }
  set_low_latency(tty);
  sip_port_fd_flush(&tty->port);
  /* ttyUSB0 may be another board's tomorrow: what udev calls it stays. */
  if (strcmp(settings->name, path) == 0) {
    sip_sysfs_stable_name(path, tty->port.stable, sizeof tty->port.stable);
  }
  *out = &tty->port;
  return 0;
}
