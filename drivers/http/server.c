/* server.c - listening, driving libmicrohttpd from the loop, deadlines of connections, stopping.
 * Loop thread only.
 *
 * libmicrohttpd waits on an epoll descriptor of its own, which libuv watches. Its own timeout
 * restarts with each byte, so the deadlines that a slow client could stretch are kept here. */
#include "http/server.h"

#include "core/log.h"
#include "core/random.h"
#include "http/server_state.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SWEEP_MS = 500, BACKLOG = 1024, ID_DIGITS = 10 };

void sip_server_options_init(struct sip_server_options *options)
{
  *options = (struct sip_server_options){
    .host = "127.0.0.1",
    .max_head_bytes = 16384,
    .max_body_bytes = (size_t)8 << 20,
    .header_timeout_ms = 10000,
    .body_timeout_ms = 60000,
    .idle_timeout_ms = 60000,
    .max_connections = 1024,
    .max_per_client = 512,
  };
}

/* --- connections --- */

static bool is_proxy(const struct sip_server *server, const struct sip_origin *remote)
{
  for (size_t i = 0; i < server->options.proxy_count; i++) {
    if (sip_network_has(&server->proxies[i], remote)) {
      return true;
    }
  }
  return false;
}

/* Asked before a connection is made. */
static enum MHD_Result connection_on_accept(void *arg, const struct sockaddr *address,
                                            socklen_t len)
{
  struct sip_server *server = arg;
  struct sip_origin remote, client;

  (void)len;
  sip_origin_of(&remote, address);
  client = sip_origin_client(&remote);
  return is_proxy(server, &remote) ||
             sip_peers_count(server->peers, &client) < server->options.max_per_client
           ? MHD_YES
           : MHD_NO;
}

static void connection_on_change(void *arg, struct MHD_Connection *mhd, void **context,
                                 enum MHD_ConnectionNotificationCode what)
{
  struct sip_server *server = arg;
  struct connection *connection = *context;
  struct sip_origin client;

  if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
    *context = NULL;
    if (connection != NULL) {
      if (connection->lingers && !server->secure) {
        sip_linger_on(server->linger, connection->fd);
      }
      sip_list_remove(&connection->link);
      sip_peers_leave(server->peers, connection->peer);
      server->connection_count--;
      free(connection);
    }
    return;
  }
  connection = calloc(1, sizeof *connection);
  if (connection == NULL) {
    return; /* sip_exchange_on_data finds none and closes it */
  }
  connection->server = server;
  connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  connection->deadline = uv_now(server->loop) + server->options.header_timeout_ms;
  sip_origin_of(&connection->remote,
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
  connection->trusted = is_proxy(server, &connection->remote);
  client = sip_origin_client(&connection->remote);
  connection->peer = connection->trusted ? NULL : sip_peers_join(server->peers, &client);
  sip_list_push(&server->connections, &connection->link);
  server->connection_count++;
  *context = connection;
}

/* libmicrohttpd sees the end of the connection and does the rest. */
static void connection_cut(struct connection *connection)
{
  connection->deadline = SIP_FOREVER;
  (void)shutdown(connection->fd, SHUT_RDWR); /* fails when the client was faster */
}

/* --- driving --- */

static void server_on_timer(uv_timer_t *timer);

static void server_run(struct sip_server *server)
{
  MHD_UNSIGNED_LONG_LONG wait_ms;

  if (server->daemon == NULL) {
    return;
  }
  assert(!server->in_mhd);
  if (server->kicked) {
    server->kicked = false;
    (void)uv_prepare_stop(&server->kick); /* always 0 */
  }
  server->in_mhd = true;
  (void)MHD_run(server->daemon); /* fails only on a daemon of another kind */
  server->in_mhd = false;
  if (server->kicked) { /* the loop must not wait before the kick */
    (void)uv_timer_start(&server->timer, server_on_timer, 0, 0); /* fails only while closing */
    return;
  }
  if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES) {
    (void)uv_timer_start(&server->timer, server_on_timer, wait_ms, 0);
  } else {
    (void)uv_timer_stop(&server->timer); /* always 0 */
  }
}

/* What was kicked runs behind the tasks of the next turn. Before, it would find no answers, and
 * suspend their connections. */
static void server_run_unless_kicked(struct sip_server *server)
{
  if (!server->kicked) {
    server_run(server);
  }
}

static void server_on_timer(uv_timer_t *timer)
{
  server_run_unless_kicked(timer->data);
}

static void server_on_prepare(uv_prepare_t *prepare)
{
  server_run(prepare->data);
}

void sip_server_kick(struct sip_server *server)
{
  if (!server->kicked) {
    server->kicked = true;
    (void)uv_prepare_start(&server->kick, server_on_prepare); /* fails only without a callback */
  }
}

static void server_on_poll(uv_poll_t *poll, int status, int events)
{
  (void)status;
  (void)events;
  server_run_unless_kicked(poll->data);
}

static void server_finish_stop(struct sip_server *server)
{
  sip_server_stopped_fn on_stopped = server->on_stopped;
  void *arg = server->stopped_arg;

  sip_server_free(server);
  if (on_stopped != NULL) {
    on_stopped(arg);
  }
}

static void server_on_sweep(uv_timer_t *timer)
{
  struct sip_server *server = timer->data;
  uint64_t now = uv_now(server->loop);
  struct sip_list *node;
  bool busy = false;

  for (node = server->connections.next; node != &server->connections; node = node->next) {
    struct connection *connection = SIP_CONTAINER(node, struct connection, link);

    busy = busy || connection->busy;
    if (connection->deadline < now || (server->stopping && !connection->busy)) {
      connection_cut(connection);
    }
  }
  if (server->stopping && (!busy || server->stop_at <= now)) {
    server_finish_stop(server);
  }
}

static void server_log(void *arg, const char *format, va_list args)
{
  char text[300];

  (void)arg;
  if (sip_log_on(SIP_LOG_DEBUG)) {
    (void)vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\r\n")] = '\0';
    sip_log(SIP_LOG_DEBUG, "http", NULL, "%s", text);
  }
}

/* --- listening --- */

static int parse_address(const struct sip_server_options *options, struct sockaddr_storage *out,
                         struct sip_err *err)
{
  const char *host = strcmp(options->host, "localhost") == 0 ? "127.0.0.1" : options->host;

  memset(out, 0, sizeof *out);
  if (uv_ip4_addr(host, options->port, (struct sockaddr_in *)out) == 0 ||
      uv_ip6_addr(host, options->port, (struct sockaddr_in6 *)out) == 0) {
    return 0;
  }
  return sip_err_set(err, UV_EINVAL,
                     "listen on %s: not an IP address (127.0.0.1 for this machine, 0.0.0.0 or :: "
                     "for everybody)",
                     options->host);
}

static const char *listen_hint(int errnum)
{
  switch (errnum) {
  case EADDRINUSE:
    return " (another program listens there; choose another port, or 0 for a free one)";
  case EACCES:
    return " (ports below 1024 need the right to bind them; use a higher one)";
  case EADDRNOTAVAIL:
    return " (this machine does not have that address)";
  default:
    return "";
  }
}

static int open_socket(const struct sip_server_options *options, struct sip_err *err)
{
  struct sockaddr_storage address;
  int fd, yes = 1, errnum, rc = parse_address(options, &address, err);
  socklen_t len =
    address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

  if (rc < 0) {
    return rc;
  }
  fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return sip_err_errno(err, errno, "listen on %s:%u", options->host, options->port);
  }
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
      bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0) {
    errnum = errno;
    (void)close(fd);
    return sip_err_errno(err, errnum, "listen on %s:%u%s", options->host, options->port,
                         listen_hint(errnum));
  }
  return fd;
}

static void describe(struct sip_server *server, int fd)
{
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  char host[48];

  if (getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
      uv_ip_name((struct sockaddr *)&address, host, sizeof host) < 0) {
    (void)snprintf(server->address, sizeof server->address, "?"); /* cannot be on a bound socket */
    return;
  }
  server->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                     : ((struct sockaddr_in *)&address)->sin_port);
  (void)snprintf(server->address, sizeof server->address,
                 address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, server->port);
}

/* From TLS 1.2 up, without the key exchanges that give away old traffic with the key. */
static const char TLS_PRIORITIES[] =
  "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:"
  "+CHACHA20-POLY1305:%SERVER_PRECEDENCE";

static struct MHD_Daemon *start_daemon(struct sip_server *server, int fd)
{
  unsigned idle_s = (unsigned)((server->options.idle_timeout_ms + 999) / 1000);
  unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                   MHD_USE_SUPPRESS_DATE_NO_CLOCK; /* sip_server_date */
  struct MHD_OptionItem tls[] = {
    { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)server->options.tls_cert },
    { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)server->options.tls_key },
    { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES },
    { MHD_OPTION_END, 0, NULL },
  };

  if (!server->secure) {
    tls[0] = tls[3];
  }
  return MHD_start_daemon(
    flags | (server->secure ? MHD_USE_TLS : 0), 0, connection_on_accept, server,
    sip_exchange_on_data, server, MHD_OPTION_EXTERNAL_LOGGER, server_log, server,
    MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, server->options.max_connections,
    MHD_OPTION_CONNECTION_TIMEOUT, idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
    server->options.max_head_bytes, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK,
    sip_exchange_on_target, server, MHD_OPTION_NOTIFY_COMPLETED, sip_exchange_on_completed, server,
    MHD_OPTION_NOTIFY_CONNECTION, connection_on_change, server, MHD_OPTION_ARRAY, tls,
    MHD_OPTION_END);
}

static void server_discard(struct sip_server *server)
{
  sip_linger_close(server->linger);
  sip_peers_free(server->peers);
  sip_limiter_free(server->limiter);
  free(server->proxies);
  free(server);
}

static void server_on_close(uv_handle_t *handle)
{
  struct sip_server *server = handle->data;

  if (--server->handles == 0) {
    server_discard(server);
  }
}

static int watch_daemon(struct sip_server *server)
{
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  int rc = info == NULL ? UV_ENOTSUP : uv_poll_init(server->loop, &server->poll, info->epoll_fd);

  if (rc < 0) {
    return rc;
  }
  (void)uv_timer_init(server->loop, &server->timer); /* always 0, as is the next */
  (void)uv_timer_init(server->loop, &server->sweep);
  (void)uv_prepare_init(server->loop, &server->kick);
  server->poll.data = server;
  server->timer.data = server;
  server->sweep.data = server;
  server->kick.data = server;
  server->handles = 4;
  rc = uv_poll_start(&server->poll, UV_READABLE, server_on_poll);
  (void)uv_timer_start(&server->sweep, server_on_sweep, SWEEP_MS, SWEEP_MS);
  return rc;
}

void sip_server_name(struct sip_server *server, char *out, size_t size)
{
  static const char digits[] = "0123456789abcdef";
  size_t len = strlen(server->id_prefix);
  uint64_t count = ++server->id_count;

  (void)size; /* without assertions */
  assert(size > len + ID_DIGITS + 1);
  memcpy(out, server->id_prefix, len);
  out[len] = '-';
  out[len + ID_DIGITS + 1] = '\0';
  for (size_t i = ID_DIGITS; i > 0; i--) {
    out[len + i] = digits[count & 15];
    count >>= 4;
  }
}

const char *sip_server_date(struct sip_server *server)
{
  uint64_t now = uv_now(server->loop) / 1000;
  struct tm parts;
  time_t seconds;

  if (server->date[0] == '\0' || now != server->dated_at) {
    seconds = time(NULL);
    server->dated_at = now;
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0) {
      server->date[0] = '\0'; /* no year of this calendar */
    }
  }
  return server->date;
}

/* @return 0 or UV_ENOMEM; what was made hangs on the server */
static int server_prepare(struct sip_server *server, uv_loop_t *loop,
                          const struct sip_server_options *options)
{
  size_t proxies = options->proxy_count * sizeof *options->proxies;
  struct sip_random random = { 0 };
  uint64_t number = 0;

  server->loop = loop;
  server->options = *options;
  server->secure = options->tls_cert != NULL && options->tls_key != NULL;
  server->options.host = NULL; /* borrowed for this call only, as are the next */
  server->options.proxies = NULL;
  sip_list_init(&server->connections);
  sip_list_init(&server->exchanges);
  if (sip_random_bytes(&random, &number, sizeof number) < 0) {
    number = uv_hrtime(); /* ids are for reading logs: they guard nothing */
  }
  (void)snprintf(server->id_prefix, sizeof server->id_prefix, "%012llx",
                 (unsigned long long)(number >> 16));
  if (proxies > 0) {
    server->proxies = malloc(proxies);
    if (server->proxies == NULL) {
      return UV_ENOMEM;
    }
    memcpy(server->proxies, options->proxies, proxies);
  }
  if (sip_peers_new(&server->peers) < 0 || sip_linger_new(&server->linger, server->loop) < 0) {
    return UV_ENOMEM;
  }
  return options->rate_per_s > 0
           ? sip_limiter_new(&server->limiter, options->rate_per_s, options->rate_burst)
           : 0;
}

int sip_server_start(struct sip_server **out, uv_loop_t *loop,
                     const struct sip_server_options *options, sip_server_request_fn on_request,
                     void *arg, struct sip_err *err)
{
  struct sip_server *server;
  int rc, fd = open_socket(options, err);

  if (fd < 0) {
    return fd;
  }
  server = calloc(1, sizeof *server);
  if (server == NULL || server_prepare(server, loop, options) < 0) {
    (void)close(fd);
    if (server != NULL) {
      server_discard(server);
    }
    return sip_err_set(err, UV_ENOMEM, "listen on %s: no memory", options->host);
  }
  server->on_request = on_request;
  server->arg = arg;
  describe(server, fd);
  uv_update_time(loop);
  server->daemon = start_daemon(server, fd);
  server->options.tls_cert = server->options.tls_key = NULL; /* libmicrohttpd has copied them */
  if (server->daemon == NULL) {
    bool secure = server->secure;

    (void)close(fd);
    server_discard(server);
    return sip_err_set(err, secure ? UV_EINVAL : UV_ENOMEM,
                       "listen on %s: the server does not start%s", options->host,
                       secure ? " (are certificate and key PEM, and of each other?)" : "");
  }
  rc = watch_daemon(server);
  if (rc < 0) {
    sip_server_free(server);
    return sip_err_set(err, rc, "listen on %s: the loop cannot watch the server", options->host);
  }
  server_run(server);
  *out = server;
  return 0;
}

const char *sip_server_address(const struct sip_server *server)
{
  return server->address;
}

uint16_t sip_server_port(const struct sip_server *server)
{
  return server->port;
}

size_t sip_server_connections(const struct sip_server *server)
{
  return server->connection_count;
}

/* --- stopping --- */

void sip_server_stop(struct sip_server *server, uint64_t grace_ms, sip_server_stopped_fn on_stopped,
                     void *arg)
{
  struct sip_list *node, *next;
  int fd;

  assert(!server->in_mhd && !server->stopping);
  server->stopping = true;
  server->stop_at = uv_now(server->loop) + grace_ms;
  server->on_stopped = on_stopped;
  server->stopped_arg = arg;
  fd = MHD_quiesce_daemon(server->daemon);
  if (fd >= 0) {
    (void)close(fd);
  }
  for (node = server->exchanges.next; node != &server->exchanges; node = next) {
    struct sip_exchange *exchange = SIP_CONTAINER(node, struct sip_exchange, link);

    next = node->next;
    if (exchange->endless) { /* what has no end of its own; others get the grace */
      sip_exchange_abort(exchange);
    }
  }
  (void)uv_timer_start(&server->sweep, server_on_sweep, 0,
                       20); /* cuts idle connections, ends the stop */
}

void sip_server_free(struct sip_server *server)
{
  struct sip_list *node, *next;
  struct MHD_Daemon *daemon;

  if (server == NULL || server->daemon == NULL) {
    return;
  }
  assert(!server->in_mhd);
  for (node = server->exchanges.next; node != &server->exchanges; node = next) {
    next = node->next;
    sip_exchange_abort(
      SIP_CONTAINER(node, struct sip_exchange, link)); /* none may be suspended below */
  }
  if (server->handles > 0) {
    uv_close((uv_handle_t *)&server->poll, server_on_close); /* before its descriptor is closed */
    uv_close((uv_handle_t *)&server->timer, server_on_close);
    uv_close((uv_handle_t *)&server->sweep, server_on_close);
    uv_close((uv_handle_t *)&server->kick, server_on_close);
  }
  daemon = server->daemon;
  server->daemon = NULL;
  MHD_stop_daemon(daemon); /* completes every request and closes every connection */
  if (server->handles == 0) {
    server_discard(server);
  }
}
