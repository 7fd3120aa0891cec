/* client_connect.c - from a URL to a connection: libpq would block while it looks a host's name up,
 * so names are looked up by libuv first, and libpq gets addresses beside them (a certificate is
 * still compared with the name). Loop thread. */
#include "postgres/client_state.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HOSTS = 16, MAX_ADDRESSES = 4 };

struct sip_pg_resolve {
  uv_getaddrinfo_t req;
  struct sip_pg_link *link; /* NULL: gone in the meantime */
  struct sip_pg_pool *pool; /* counted */
  char *hosts, *ports;      /* the URL's lists, cut into their items */
  size_t count, port_count, at;
  struct sip_buf names, addresses, numbers; /* for libpq: host, hostaddr, port */
};

static void resolve_free(struct sip_pg_resolve *resolve)
{
  if (resolve != NULL) {
    free(resolve->hosts);
    free(resolve->ports);
    sip_buf_deinit(&resolve->names);
    sip_buf_deinit(&resolve->addresses);
    sip_buf_deinit(&resolve->numbers);
    sip_pg_pool_unref(resolve->pool);
    free(resolve);
  }
}

/* The n-th item of a list that was cut by NULs; the only one stands for all. */
static const char *item(const char *list, size_t n, size_t count)
{
  while (n > 0 && count > 1) {
    list += strlen(list) + 1;
    n--;
  }
  return list;
}

static size_t cut(char *list)
{
  size_t count = 1;

  for (; *list != '\0'; list++) {
    if (*list == ',') {
      *list = '\0';
      count++;
    }
  }
  return count;
}

static bool is_name(const char *host)
{
  unsigned char address[16];

  return *host != '\0' && *host != '/' && *host != '@' && inet_pton(AF_INET, host, address) != 1 &&
         inet_pton(AF_INET6, host, address) != 1;
}

static int add_item(struct sip_buf *buf, const char *text, bool is_first)
{
  int rc = is_first ? 0 : sip_buf_add(buf, ",", 1);

  return rc < 0 ? rc : sip_buf_adds(buf, text);
}

/* One more way in, "" when there is no address to name. */
static int resolve_add(struct sip_pg_resolve *resolve, const char *address)
{
  bool first = resolve->names.data == NULL;

  if (add_item(&resolve->names, item(resolve->hosts, resolve->at, resolve->count), first) < 0 ||
      add_item(&resolve->addresses, address, first) < 0 ||
      add_item(&resolve->numbers, item(resolve->ports, resolve->at, resolve->port_count), first) <
        0) {
    return UV_ENOMEM;
  }
  return 0;
}

static void forget_notice(void *arg, const PGresult *result)
{
  (void)arg; /* "relation exists already" and its like */
  (void)result;
}

/* Begins the attempt: with the addresses that were found, or, without any, with the URL alone. */
static int connect_begin(struct sip_pg_link *link, const struct sip_pg_resolve *resolve,
                         struct sip_err *err)
{
  /* What the URL says comes later in the list than our wishes, and wins; addresses come last. */
  const char *names[12] = { "application_name", "connect_timeout", "tcp_user_timeout",
                            "gssencmode",       "client_encoding", "dbname" };
  const char *values[12] = { "sipeat", "10", "20000", "disable", "UTF8", link->pool->url };

  if (resolve != NULL && resolve->addresses.len > 0) {
    names[6] = "host";
    values[6] = resolve->names.data;
    names[7] = "hostaddr";
    values[7] = resolve->addresses.data;
    names[8] = "port";
    values[8] = resolve->numbers.data;
  }
  link->conn = PQconnectStartParams(names, values, 1);
  if (link->conn == NULL) {
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for a connection");
  }
  if (PQstatus(link->conn) == CONNECTION_BAD) {
    sip_pg_error_connect(err, link->pool, PQerrorMessage(link->conn));
    return err->code;
  }
  (void)PQsetNoticeReceiver(link->conn, forget_notice, NULL); /* gives the one before */
  if (sip_pg_link_watch(link, UV_WRITABLE) < 0) {
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for a connection");
  }
  return 0;
}

static int resolve_next(struct sip_pg_resolve *resolve, struct sip_err *err);

static int refuse_name(const struct sip_pg_resolve *resolve, int status, struct sip_err *err)
{
  struct sip_buf why = SIP_BUF_INIT;

  (void)sip_buf_addf(&why, "the host %s is not known: %s", resolve->hosts, uv_strerror(status));
  sip_pg_error_connect(err, resolve->pool, why.data == NULL ? "host not known" : why.data);
  sip_buf_deinit(&why);
  return err->code;
}

static void resolve_on_done(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
  struct sip_pg_resolve *resolve = SIP_CONTAINER(req, struct sip_pg_resolve, req);
  struct sip_pg_link *link = resolve->link;
  struct sip_err err = { 0 };
  char text[INET6_ADDRSTRLEN];
  size_t count = 0;
  int rc = 0;

  if (link == NULL) {
    uv_freeaddrinfo(found);
    resolve_free(resolve);
    return;
  }
  for (struct addrinfo *at = found; rc == 0 && at != NULL && count < MAX_ADDRESSES;
       at = at->ai_next, count++) {
    if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0) {
      rc = resolve_add(resolve, text);
    }
  }
  uv_freeaddrinfo(found);
  if (status < 0 && resolve->count == 1) {
    rc = refuse_name(resolve, status, &err);
  } else if (rc < 0) {
    (void)sip_err_set(&err, rc, "sql: no memory for a connection");
  } else {
    resolve->at++;
    rc = resolve_next(resolve, &err);
    resolve = NULL; /* it is its own matter */
  }
  if (rc < 0) {
    if (resolve != NULL) {
      link->resolve = NULL; /* its end has come: nobody else frees it */
      resolve_free(resolve);
    }
    sip_pg_link_break(link, &err);
  }
}

/* Looks up the next name. When all are there, the attempt begins, and `resolve` is gone. */
static int resolve_next(struct sip_pg_resolve *resolve, struct sip_err *err)
{
  static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
  struct sip_pg_link *link = resolve->link;
  int rc = 0;

  while (rc == 0 && resolve->at < resolve->count) {
    const char *host = item(resolve->hosts, resolve->at, resolve->count);

    if (is_name(host)) {
      rc = uv_getaddrinfo(link->pool->loop, &resolve->req, resolve_on_done, host, NULL, &hints);
      if (rc == 0) {
        return 0;
      }
    } else {
      rc = resolve_add(resolve, *host == '/' || *host == '@' ? "" : host);
      resolve->at++;
    }
  }
  link->resolve = NULL;
  if (rc == 0 && resolve->names.data == NULL) {
    sip_pg_error_connect(err, link->pool, "none of the hosts is known");
    rc = err->code;
  } else if (rc == 0) {
    rc = connect_begin(link, resolve, err);
  } else {
    rc = sip_err_set(err, rc, "sql: looking up %s failed", resolve->hosts);
  }
  resolve_free(resolve);
  return rc;
}

/* @return 1 when the URL names hosts that have to be looked up, with `hosts` and `ports` */
static int read_hosts(const struct sip_pg_pool *pool, char **hosts, char **ports)
{
  PQconninfoOption *list = PQconninfoParse(pool->url, NULL);
  const char *host = "", *port = "";
  bool has_addresses = false;

  if (list == NULL) {
    return UV_ENOMEM; /* it parsed before */
  }
  for (const PQconninfoOption *at = list; at->keyword != NULL; at++) {
    const char *value = at->val == NULL ? "" : at->val;

    host = strcmp(at->keyword, "host") == 0 ? value : host;
    port = strcmp(at->keyword, "port") == 0 ? value : port;
    has_addresses = has_addresses || (strcmp(at->keyword, "hostaddr") == 0 && *value != '\0');
  }
  *hosts = strdup(host);
  *ports = strdup(port);
  PQconninfoFree(list);
  if (*hosts == NULL || *ports == NULL) {
    free(*hosts);
    free(*ports);
    return UV_ENOMEM;
  }
  if (has_addresses || **hosts == '\0') {
    free(*hosts);
    free(*ports);
    return 0;
  }
  return 1;
}

int sip_pg_connect_start(struct sip_pg_link *link, struct sip_err *err)
{
  struct sip_pg_resolve *resolve;
  char *hosts, *ports;
  int rc = read_hosts(link->pool, &hosts, &ports);

  if (rc == 0) {
    return connect_begin(link, NULL, err);
  }
  resolve = rc < 0 ? NULL : calloc(1, sizeof *resolve);
  if (resolve == NULL) {
    if (rc > 0) {
      free(hosts);
      free(ports);
    }
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for a connection");
  }
  resolve->link = link;
  resolve->pool = link->pool;
  link->pool->refs++;
  resolve->hosts = hosts;
  resolve->ports = ports;
  resolve->count = cut(hosts);
  resolve->port_count = cut(ports);
  if (resolve->count > MAX_HOSTS) {
    resolve_free(resolve);
    return sip_err_set(err, SIP_ECONFIG, "sql: %s: more than %d hosts", link->pool->shown,
                       MAX_HOSTS);
  }
  link->resolve = resolve;
  return resolve_next(resolve, err);
}

void sip_pg_connect_stop(struct sip_pg_link *link)
{
  if (link->resolve != NULL) {
    link->resolve->link = NULL;
    (void)uv_cancel((uv_req_t *)&link->resolve->req); /* its end comes in either case */
    link->resolve = NULL;
  }
}

int sip_pg_connect_step(struct sip_pg_link *link, struct sip_err *err)
{
  PostgresPollingStatusType next;

  sip_pg_link_drop_watch(link); /* libpq may go on with another socket */
  next = PQconnectPoll(link->conn);
  if (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
    if (sip_pg_link_watch(link, next == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE) < 0) {
      return sip_err_set(err, UV_ENOMEM, "sql: no memory for a connection");
    }
    return 0;
  }
  if (next != PGRES_POLLING_OK || PQsetnonblocking(link->conn, 1) != 0) {
    sip_pg_error_connect(err, link->pool, PQerrorMessage(link->conn));
    return err->code;
  }
  return 1;
}
