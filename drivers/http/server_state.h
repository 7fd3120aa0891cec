#ifndef SIP_HTTP_SERVER_STATE_H
#define SIP_HTTP_SERVER_STATE_H
/* server_state.h - what server.c (listening, driving, stopping) and exchange.c (requests, answers)
 * share. */
#include "core/buf.h"
#include "core/list.h"
#include "http/limiter.h"
#include "http/linger.h"
#include "http/peers.h"
#include "http/server.h"

#include <microhttpd.h>

struct sip_server {
  struct MHD_Daemon *daemon; /* NULL once it is stopped */
  uv_loop_t *loop;           /* borrowed: outlives the server */
  uv_poll_t poll;            /* libmicrohttpd's epoll descriptor */
  uv_timer_t timer;          /* when libmicrohttpd wants to run next */
  uv_prepare_t kick;         /* runs it once more before the loop waits */
  uv_timer_t sweep;          /* looks at the connections' deadlines */
  size_t handles;            /* of these that are open */
  struct sip_list connections;
  size_t connection_count;
  struct sip_list exchanges; /* those that libmicrohttpd knows */
  struct sip_server_options options;
  bool secure; /* speaks TLS */
  struct sip_network *proxies;
  struct sip_peers *peers;
  struct sip_linger *linger;
  struct sip_limiter *limiter; /* NULL: no limit */
  char id_prefix[16];          /* of the requests' ids */
  uint64_t id_count;
  char date[40];     /* for answers; "" before the first one */
  uint64_t dated_at; /* seconds of the loop's clock */
  uint16_t port;
  char address[80];
  sip_server_request_fn on_request;
  void *arg;        /* borrowed: the starter's */
  bool in_mhd;      /* below MHD_run */
  bool kicked;      /* MHD_run has to look at a connection once more */
  bool stopping;    /* sip_server_stop was called */
  uint64_t stop_at; /* when it has waited long enough */
  sip_server_stopped_fn on_stopped;
  void *stopped_arg; /* borrowed: the stopper's */
};

enum { SIP_ANSWER_FIELDS = 256 };

/* One TCP connection: what libmicrohttpd calls its socket context. */
struct connection {
  struct sip_list link; /* in the server's list */
  struct sip_server *server;
  struct sip_peer *peer; /* NULL for a trusted proxy */
  struct sip_origin remote;
  bool trusted;      /* a proxy: what it says of its clients counts */
  uint64_t deadline; /* of the loop's clock; SIP_FOREVER while an answer is made */
  int fd;            /* borrowed from libmicrohttpd */
  bool lingers;      /* its client still sends what was refused */
  bool busy;         /* between the head of a request and the end of its answer */
};

/* Watches for the client's hang-up while its connection is suspended: libmicrohttpd does not look
 * then. */
struct hangup {
  uv_poll_t poll;
  struct sip_exchange *exchange; /* borrowed; NULL once it is over */
};

struct sip_exchange {
  struct sip_list link;          /* in the server's list while `mhd` is set */
  struct sip_server *server;     /* borrowed; NULL with `mhd` */
  struct MHD_Connection *mhd;    /* borrowed; NULL once the request is completed */
  struct connection *connection; /* borrowed; NULL with `mhd` */
  unsigned refs;                 /* libmicrohttpd's and the receiver's */
  char *method, *target;
  struct sip_origin remote, client; /* who is connected, and for whom */
  char id[64];
  uint64_t max_body_bytes;
  uint64_t wait_ms; /* of a 429 */
  struct sip_header_list headers;
  struct sip_buf body;
  uint64_t discarded;     /* bytes of a body that is too large */
  unsigned refuse_status; /* 0, or what the request is answered with without being handed over */
  struct MHD_Response *response; /* made, and not queued yet */
  unsigned status;
  bool dispatched, waited, suspended, answered, streaming, endless, ended, gone;
  bool drain_wanted, secure, proxied;
  struct sip_buf out;    /* of a stream */
  size_t out_at;         /* what libmicrohttpd has taken of it */
  struct hangup *hangup; /* NULL when none is watched */
  sip_exchange_notify_fn notify;
  void *arg; /* borrowed: the receiver's */
};

/** Runs libmicrohttpd before the loop waits: a connection that was resumed, or not suspended yet,
 * does not wake its epoll descriptor. */
void sip_server_kick(struct sip_server *server);

/** A new id for a request. */
void sip_server_name(struct sip_server *server, char *out, size_t size);

/** The time as answers say it (RFC 9110 section 5.6.7), made once a second; "" without a clock. */
const char *sip_server_date(struct sip_server *server);

/** Answers from what is known of the exchange alone: refusals, before any script. */
enum MHD_Result sip_answer_plain(struct sip_exchange *exchange, unsigned status);

/** Lets a suspended request go on. */
void sip_exchange_resume(struct sip_exchange *exchange);
void sip_exchange_unref(struct sip_exchange *exchange);

/** What libmicrohttpd reads a stream from. */
struct MHD_Response *sip_exchange_stream_response(struct sip_exchange *exchange);

/** libmicrohttpd's callbacks that deal with requests. */
void *sip_exchange_on_target(void *arg, const char *target, struct MHD_Connection *mhd);
enum MHD_Result sip_exchange_on_data(void *arg, struct MHD_Connection *mhd, const char *url,
                                     const char *method, const char *version, const char *data,
                                     size_t *len, void **context);
void sip_exchange_on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                               enum MHD_RequestTerminationCode how);

#endif
