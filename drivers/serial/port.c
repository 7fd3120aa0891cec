/* port.c - opening a port by its name, and what the kinds of ports share. Opening: any thread. */
#include "serial/port.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static bool begins(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

/* Whether the kernel lists it as a tty: only those does libserialport open. */
static bool is_listed_tty(const char *path)
{
  char node[SIP_PORT_NAME + 32];
  const char *base = strrchr(path, '/');

  (void)snprintf(node, sizeof node, "/sys/class/tty/%s", base == NULL ? path : base + 1);
  return !begins(path, "/dev/pts/") && access(node, F_OK) == 0;
}

static int open_device(struct sip_serial_port **out, const struct sip_port_settings *settings,
                       struct sip_err *err)
{
  char path[PATH_MAX];
  struct stat info;

  /* libserialport knows no links: /dev/serial/by-id/… is resolved first. */
  if (realpath(settings->name, path) == NULL || stat(path, &info) < 0) {
    return sip_port_refused(settings->name, errno, err);
  }
  if (!S_ISCHR(info.st_mode) || strlen(path) >= SIP_PORT_NAME) {
    return sip_err_set(err, UV_ENOTTY, "open %s: this is no serial port", settings->name);
  }
  return is_listed_tty(path) ? sip_tty_open(out, path, settings, err)
                             : sip_pty_open(out, path, settings->flow, err);
}

int sip_port_open(struct sip_serial_port **out, const struct sip_port_settings *settings,
                  struct sip_err *err)
{
  struct sip_serial_port *port = NULL;
  int rc;

  if (begins(settings->name, "tcp://")) {
    rc = sip_tcp_open(&port, settings->name, err);
  } else if (begins(settings->name, "rfc2217://")) {
    rc = sip_rfc2217_open(&port, settings, err);
  } else if (settings->name[0] == '/') {
    rc = open_device(&port, settings, err);
  } else {
    rc = sip_err_set(err, UV_EINVAL,
                     "open %s: a port is \"/dev/…\", \"tcp://host:port\" or "
                     "\"rfc2217://host:port\"",
                     settings->name);
  }
  if (rc < 0) {
    return rc;
  }
  if (port->stable[0] == '\0') {
    (void)snprintf(port->stable, sizeof port->stable, "%s", settings->name); /* as long */
  }
  *out = port;
  return 0;
}

void sip_port_close(struct sip_serial_port *port)
{
  if (port != NULL) {
    port->ops->close(port);
  }
}

/* A group may use the port, mostly dialout; nobody is told to become one of root's. */
static int port_denied(const char *path, int errnum, struct sip_err *err)
{
  const char *name = "dialout";
  struct group entry, *found = NULL;
  struct stat info;
  char room[1024];

  if (stat(path, &info) == 0) {
    if ((info.st_mode & 060) != 060 || info.st_gid == 0) {
      return sip_err_set(err, -errnum,
                         "open %s: permission denied (no group may use it, its mode is %04o: a "
                         "udev rule gives it to dialout; sipeat serial doctor says more)",
                         path, (unsigned)info.st_mode & 07777);
    }
    if (getgrgid_r(info.st_gid, &entry, room, sizeof room, &found) == 0 && found != NULL) {
      name = found->gr_name;
    }
  }
  return sip_err_set(err, -errnum,
                     "open %s: permission denied (is this user in the group %s? sudo usermod -aG "
                     "%s $USER, then log in again)",
                     path, name, name);
}

int sip_port_refused(const char *path, int errnum, struct sip_err *err)
{
  switch (errnum) {
  case EACCES:
  case EPERM:
    return port_denied(path, errnum, err);
  case ENOENT:
  case ENXIO:
  case ENODEV:
    return sip_err_set(err, -errnum,
                       "open %s: no such port (is it plugged in? sipeat serial list shows what is "
                       "there)",
                       path);
  default:
    return sip_err_errno(err, errnum, "open %s", path);
  }
}

long sip_port_fd_read(struct sip_serial_port *port, void *bytes, size_t size, struct sip_err *err)
{
  ssize_t got;

  do {
    got = read(port->fd, bytes, size);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    return got;
  }
  if (got == 0) { /* VMIN is 1: silence is EAGAIN, and this is a hang-up */
    return sip_err_set(err, UV_EOF, "%s: the other end hung up", port->path);
  }
  return errno == EAGAIN ? 0 : sip_err_errno(err, errno, "%s: gone while reading", port->path);
}

long sip_port_fd_write(struct sip_serial_port *port, const void *bytes, size_t size,
                       struct sip_err *err)
{
  ssize_t put;

  do {
    put = write(port->fd, bytes, size);
  } while (put < 0 && errno == EINTR);
  if (put >= 0) {
    return put;
  }
  return errno == EAGAIN ? 0 : sip_err_errno(err, errno, "%s: gone while writing", port->path);
}

bool sip_port_fd_drained(struct sip_serial_port *port)
{
  int left = 0;

  return ioctl(port->fd, TIOCOUTQ, &left) < 0 || left == 0;
}

int sip_port_no_lines(struct sip_serial_port *port, struct sip_port_lines *lines,
                      struct sip_err *err)
{
  (void)lines;
  return sip_err_set(err, UV_ENOTSUP, "%s has no DTR and RTS", port->path);
}

int sip_port_no_break(struct sip_serial_port *port, bool on, struct sip_err *err)
{
  (void)on;
  return sip_err_set(err, UV_ENOTSUP, "%s knows no break", port->path);
}

int sip_port_fd_raw(int fd, const char *path, struct sip_err *err)
{
  struct termios mode;

  if (tcgetattr(fd, &mode) < 0) {
    return errno == ENOTTY ? sip_err_set(err, UV_ENOTTY, "open %s: this is no serial port", path)
                           : sip_err_errno(err, errno, "open %s: its mode", path);
  }
  cfmakeraw(&mode);
  mode.c_iflag &= (tcflag_t) ~(IXOFF | IXANY);
  mode.c_cflag &= (tcflag_t) ~(HUPCL | CRTSCTS); /* DTR stays up when we leave: no reset */
  mode.c_cflag |= CLOCAL | CREAD;
  mode.c_cc[VMIN] = 1; /* with 0, silence would look like a hang-up */
  mode.c_cc[VTIME] = 0;
  return tcsetattr(fd, TCSANOW, &mode) < 0 ? sip_err_errno(err, errno, "open %s: raw mode", path)
                                           : 0;
}

int sip_port_fd_flow(int fd, const char *path, enum sip_flow flow, struct sip_err *err)
{
  struct termios mode;

  if (flow == SIP_FLOW_NONE) {
    return 0;
  }
  if (tcgetattr(fd, &mode) < 0) {
    return sip_err_errno(err, errno, "open %s: its mode", path);
  }
  if (flow == SIP_FLOW_HARD) {
    mode.c_cflag |= CRTSCTS;
  } else {
    mode.c_iflag |= IXON | IXOFF;
  }
  return tcsetattr(fd, TCSANOW, &mode) < 0
           ? sip_err_errno(err, errno, "open %s: flow control", path)
           : 0;
}

void sip_port_fd_flush(struct sip_serial_port *port)
{
  int waiting = 0;

  if (ioctl(port->fd, FIONREAD, &waiting) == 0 && waiting > 0) {
    port->stale = (size_t)waiting;
  }
  (void)tcflush(port->fd, TCIOFLUSH); /* what it cannot drop is read as noise */
}
