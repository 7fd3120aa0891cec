#ifndef SIP_HTTP_SERVER_H
#define SIP_HTTP_SERVER_H
/* server.h - an HTTP/1.1 server on the worker's loop, over libmicrohttpd. Loop thread only.
 *
 * A request is handed over whole (sip_server_request_fn) and answered later, by whoever has it: its
 * connection is suspended meanwhile. Nothing here is called from inside of that function but the
 * getters and sip_exchange_respond. */
#include "core/err.h"
#include "http/header.h"
#include "http/origin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct sip_server;
struct sip_exchange;
struct sip_body_limits;

struct sip_server_options {
  const char *host;           /* an IPv4 or IPv6 address, or "localhost" (127.0.0.1) */
  uint16_t port;              /* 0: any free one */
  size_t max_head_bytes;      /* of a request, and of its answer; all of it is cleared each time */
  uint64_t max_body_bytes;    /* of a request, unless its route says; more is answered with 413 */
  uint64_t header_timeout_ms; /* from the connection, to the end of the head of its first request */
  uint64_t body_timeout_ms;   /* from there to the end of the body */
  uint64_t
    idle_timeout_ms; /* until the next request, and for a client that takes nothing of its answer */
  unsigned max_connections;
  unsigned max_per_client; /* connections of one client; trusted proxies may have any number */
  double rate_per_s;       /* requests of one client; 0: any number */
  double rate_burst;       /* at once; 1 or more */
  const struct sip_network *proxies; /* whose x-forwarded-for and -proto count; copied */
  size_t proxy_count;
  const char *tls_cert, *tls_key;            /* PEM texts, both or none; copied */
  const struct sip_body_limits *body_limits; /* borrowed: outlives the server; NULL: none */
};

/** The values that are used when nobody says otherwise. */
void sip_server_options_init(struct sip_server_options *options);

/** A whole request. The receiver owns one reference: sip_exchange_release, whether it answered or
 * not. */
typedef void (*sip_server_request_fn)(struct sip_exchange *exchange, void *arg);
typedef void (*sip_server_stopped_fn)(void *arg);

/** Listens. @return 0; UV_EADDRINUSE, UV_EACCES, UV_EADDRNOTAVAIL with a hint; UV_EINVAL for the
 * host */
int sip_server_start(struct sip_server **out, uv_loop_t *loop,
                     const struct sip_server_options *options, sip_server_request_fn on_request,
                     void *arg, struct sip_err *err);

/** "127.0.0.1:3000", with the port that was given when any free one was asked for. Borrowed. */
const char *sip_server_address(const struct sip_server *server);
uint16_t sip_server_port(const struct sip_server *server);
size_t sip_server_connections(const struct sip_server *server);

/** Takes no more connections, ends streams and idle connections, lets requests finish for at most
 * `grace_ms`, and then frees the server and calls `on_stopped` (may be NULL), not before a later
 * turn of the loop. */
void sip_server_stop(struct sip_server *server, uint64_t grace_ms, sip_server_stopped_fn on_stopped,
                     void *arg);

/** Ends everything at once, also a stop that is under way (its on_stopped is not called then).
 * Accepts NULL. */
void sip_server_free(struct sip_server *server);

/* --- one request and its answer --- */

const char *sip_exchange_method(const struct sip_exchange *exchange);
const char *
sip_exchange_target(const struct sip_exchange *exchange); /* as sent: path?query, encoded */
/** Who is connected. */
const struct sip_origin *sip_exchange_remote(const struct sip_exchange *exchange);

/** Who asks: the same, or whom a trusted proxy names. */
const struct sip_origin *sip_exchange_client(const struct sip_exchange *exchange);
const char *sip_exchange_id(const struct sip_exchange *exchange); /* also x-request-id */
bool sip_exchange_is_secure(const struct sip_exchange *exchange); /* came by https */

/** A trusted proxy is connected: what it says of the client counts. */
bool sip_exchange_is_proxied(const struct sip_exchange *exchange);
const struct sip_header_list *sip_exchange_headers(const struct sip_exchange *exchange);
struct sip_slice sip_exchange_body(const struct sip_exchange *exchange);

/** Answers. The body is copied. content-length, transfer-encoding, connection and x-request-id
 * follow by themselves; for a larger body also an etag (and 304 where the client has it), and gzip
 * where its type suits and the client takes it, unless the headers say otherwise.
 *  @return 0; UV_EINVAL (status, header); SIP_EBUSY when it was answered; UV_ECONNRESET when the
 * client is gone */
int sip_exchange_respond(struct sip_exchange *exchange, unsigned status,
                         const struct sip_header *headers, size_t count,
                         const struct sip_slice *body, struct sip_err *err);

/** As sip_exchange_respond, with a body that follows by sip_exchange_write until sip_exchange_end.
 */
int sip_exchange_stream(struct sip_exchange *exchange, unsigned status,
                        const struct sip_header *headers, size_t count, struct sip_err *err);

/** Queues bytes of a stream. @return 0; 1 when the client is slow: write again after `notify`;
 * UV_ECONNRESET when it is gone; SIP_ECLOSED after the end; UV_ENOMEM */
int sip_exchange_write(struct sip_exchange *exchange, const void *data, size_t len);
void sip_exchange_end(struct sip_exchange *exchange);

/** Gives up: the connection is cut, so that the client does not take half an answer for a whole
 * one. */
void sip_exchange_abort(struct sip_exchange *exchange);

/** The client hung up (seen while streaming), or its connection broke, or the answer is finished.
 */
bool sip_exchange_is_gone(const struct sip_exchange *exchange);

/** What was written has left, or the client is gone. May wake a task; must not call back into this
 * header. */
typedef void (*sip_exchange_notify_fn)(struct sip_exchange *exchange, void *arg);
void sip_exchange_set_notify(struct sip_exchange *exchange, sip_exchange_notify_fn notify,
                             void *arg);

/** Gives the receiver's reference back; an exchange without an answer gets a 500, a stream ends. */
void sip_exchange_release(struct sip_exchange *exchange);

#endif
