/* pty.c - pseudo-terminals, which libserialport does not open: as a port like any other, and the
 * board's end of a new one. Locked by flock only: TIOCEXCL would outlive the program that set it,
 * for as long as the other end is open. */
#include "serial/lock.h"
#include "serial/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

struct pty {
  struct sip_serial_port port;
  int host;                 /* of a simulator: the host's end, so that nobody's leaving hangs up */
  char link[SIP_PORT_NAME]; /* to it; "": none */
};

static const struct sip_port_ops pty_ops;

static struct pty *pty_of(struct sip_serial_port *port)
{
  return SIP_CONTAINER(port, struct pty, port);
}

static struct pty *pty_new(const char *path, struct sip_err *err)
{
  struct pty *pty = calloc(1, sizeof *pty);

  if (pty == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "open %s: no memory for the port", path);
    return NULL;
  }
  pty->port.ops = &pty_ops;
  pty->port.fd = -1;
  pty->host = -1;
  (void)snprintf(pty->port.path, sizeof pty->port.path, "%s", path); /* as long */
  return pty;
}

static void pty_close(struct sip_serial_port *port)
{
  struct pty *pty = pty_of(port);
  char target[SIP_PORT_NAME];
  ssize_t size;

  if (pty->link[0] != '\0') {
    size = readlink(pty->link, target, sizeof target - 1);
    target[size < 0 ? 0 : size] = '\0';
    if (strcmp(target, port->path) == 0) { /* and not somebody else's by now */
      (void)unlink(pty->link);
    }
  }
  if (port->fd >= 0) {
    if (pty->host >= 0) { /* a host's last bytes stay for the board to read */
      (void)tcflush(port->fd, TCOFLUSH);
    }
    (void)close(port->fd); /* there is nothing to do about a failure */
  }
  if (pty->host >= 0) {
    (void)close(pty->host);
  }
  free(pty);
}

static const struct sip_port_ops pty_ops = { sip_port_fd_read,    sip_port_fd_write,
                                             sip_port_fd_drained, sip_port_no_lines,
                                             sip_port_no_break,   pty_close };

int sip_pty_open(struct sip_serial_port **out, const char *path, enum sip_flow flow,
                 struct sip_err *err)
{
  struct pty *pty = pty_new(path, err);
  int rc;

  if (pty == NULL) {
    return UV_ENOMEM;
  }
  pty->port.fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (pty->port.fd < 0) {
    rc = errno == EBUSY ? sip_lock_busy(path, err) : sip_port_refused(path, errno, err);
    goto cleanup;
  }
  rc = sip_lock_descriptor(pty->port.fd, path, false, err);
  if (rc == 0) {
    rc = sip_port_fd_raw(pty->port.fd, path, err);
  }
  if (rc == 0) {
    rc = sip_port_fd_flow(pty->port.fd, path, flow, err);
  }
  if (rc < 0) {
    goto cleanup;
  }
  sip_port_fd_flush(&pty->port);
  *out = &pty->port;
  return 0;
cleanup:
  pty_close(&pty->port);
  return rc;
}

/* A link by the wanted name, in the place of an older link. */
static int make_link(struct pty *pty, const char *name, struct sip_err *err)
{
  char draft[SIP_PORT_NAME + 16];
  struct stat info;

  if (lstat(name, &info) == 0 && !S_ISLNK(info.st_mode)) {
    return sip_err_set(err, UV_EEXIST, "link %s: there is a file of this name", name);
  }
  (void)snprintf(draft, sizeof draft, "%s.%ld", name, (long)gettid());
  (void)unlink(draft); /* mostly there is none */
  if (symlink(pty->port.path, draft) < 0) {
    return sip_err_errno(err, errno, "link %s to %s", name, pty->port.path);
  }
  if (rename(draft, name) < 0) {
    int failed = errno;

    (void)unlink(draft);
    return sip_err_errno(err, failed, "link %s to %s", name, pty->port.path);
  }
  (void)snprintf(pty->link, sizeof pty->link, "%s", name); /* as long */
  return 0;
}

int sip_port_simulate(struct sip_serial_port **out, const struct sip_port_settings *settings,
                      struct sip_err *err)
{
  struct pty *pty = pty_new("", err);
  int rc;

  if (pty == NULL) {
    return UV_ENOMEM;
  }
  pty->port.dumb = true;
  pty->port.fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (pty->port.fd < 0 || grantpt(pty->port.fd) < 0 || unlockpt(pty->port.fd) < 0 ||
      ptsname_r(pty->port.fd, pty->port.path, sizeof pty->port.path) != 0) {
    rc = sip_err_errno(err, errno, "simulate: a pseudo-terminal");
    goto cleanup;
  }
  pty->host = open(pty->port.path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (pty->host < 0) {
    rc = sip_err_errno(err, errno, "simulate: open %s", pty->port.path);
    goto cleanup;
  }
  rc = sip_port_fd_raw(pty->host, pty->port.path, err);
  if (rc == 0 && settings->name[0] != '\0') {
    rc = make_link(pty, settings->name, err);
  }
  if (rc < 0) {
    goto cleanup;
  }
  (void)snprintf(pty->port.stable, sizeof pty->port.stable, "%s", settings->name);
  *out = &pty->port;
  return 0;
cleanup:
  pty_close(&pty->port);
  return rc;
}
