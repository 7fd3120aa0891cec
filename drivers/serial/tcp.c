/* tcp.c - serial servers over TCP: raw bytes. */
#include "serial/port.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  CONNECT_MS = 5000, /* for one address */
  /* A server that vanishes without a word is noticed after five seconds and three more probes. */
  KEEPALIVE_S = 5,
  PROBE_S = 1,
  PROBES = 3,
  UNANSWERED_MS = 8000
};

/* "tcp://host:port", "tcp://[::1]:port" */
static int split_address(const char *name, char *host, size_t size, char *service, size_t room,
                         struct sip_err *err)
{
  const char *address = strstr(name, "://"), *colon;
  size_t length;

  address = address == NULL ? name : address + 3;
  colon = strrchr(address, ':');
  length = colon == NULL ? 0 : (size_t)(colon - address);
  if (length > 2 && address[0] == '[' && address[length - 1] == ']') {
    address++;
    length -= 2;
  }
  if (length == 0 || length >= size || colon[1] == '\0' || strlen(colon + 1) >= room) {
    return sip_err_set(err, UV_EINVAL, "open %s: the address is \"host:port\"", name);
  }
  memcpy(host, address, length);
  host[length] = '\0';
  (void)snprintf(service, room, "%s", colon + 1);
  return 0;
}

static void set_option(int fd, int level, int option, int value)
{
  /* Later notice of a dead server is all that a failure means. */
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* Waits for a connection under way. @return 0 or an errno */
static int await_connection(int fd)
{
  struct pollfd wait = { .fd = fd, .events = POLLOUT };
  socklen_t size = sizeof(int);
  int failed = 0, count = poll(&wait, 1, CONNECT_MS);

  if (count == 0) {
    return ETIMEDOUT;
  }
  if (count < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0) {
    return errno;
  }
  return failed;
}

/* @return a descriptor, or a negative errno */
static int connect_to(const struct addrinfo *to)
{
  int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
  int failed = 0;

  if (fd < 0) {
    return -errno;
  }
  if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
    failed = errno == EINPROGRESS ? await_connection(fd) : errno;
  }
  if (failed != 0) {
    (void)close(fd);
    return -failed;
  }
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS);
  return fd;
}

int sip_tcp_connect(const char *name, struct sip_err *err)
{
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
  char host[SIP_PORT_NAME], service[32];
  int rc = split_address(name, host, sizeof host, service, sizeof service, err);

  if (rc < 0) {
    return rc;
  }
  rc = getaddrinfo(host, service, &hints, &list);
  if (rc != 0) {
    return sip_err_named(err, UV_EAI_NONAME, "EDNS", "open %s: %s", name, gai_strerror(rc));
  }
  rc = -EHOSTUNREACH;
  for (const struct addrinfo *to = list; rc < 0 && to != NULL; to = to->ai_next) {
    rc = connect_to(to);
  }
  freeaddrinfo(list);
  return rc < 0 ? sip_err_errno(err, -rc, "open %s", name) : rc;
}

long sip_tcp_write(struct sip_serial_port *port, const void *bytes, size_t size,
                   struct sip_err *err)
{
  ssize_t put;

  do {
    put = send(port->fd, bytes, size, MSG_NOSIGNAL); /* the end of a connection is no signal */
  } while (put < 0 && errno == EINTR);
  if (put >= 0) {
    return put;
  }
  return errno == EAGAIN ? 0 : sip_err_errno(err, errno, "%s: gone while writing", port->path);
}

static void tcp_close(struct sip_serial_port *port)
{
  (void)close(port->fd); /* there is nothing to do about a failure */
  free(port);
}

static const struct sip_port_ops tcp_ops = { sip_port_fd_read,    sip_tcp_write,
                                             sip_port_fd_drained, sip_port_no_lines,
                                             sip_port_no_break,   tcp_close };

int sip_tcp_open(struct sip_serial_port **out, const char *name, struct sip_err *err)
{
  int fd = sip_tcp_connect(name, err);
  struct sip_serial_port *port;

  if (fd < 0) {
    return fd;
  }
  port = calloc(1, sizeof *port);
  if (port == NULL) {
    (void)close(fd);
    return sip_err_set(err, UV_ENOMEM, "open %s: no memory for the port", name);
  }
  port->ops = &tcp_ops;
  port->fd = fd;
  (void)snprintf(port->path, sizeof port->path, "%s", name); /* as long */
  *out = port;
  return 0;
}
