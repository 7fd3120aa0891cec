#ifndef SIP_HTTP_CLIENT_H
#define SIP_HTTP_CLIENT_H
/* client.h - HTTP requests, over struct sip_multi. Loop thread only.
 *
 * A call belongs to its starter and is freed by sip_http_call_free, at any time except inside of
 * `notify`. */
#include "core/buf.h"
#include "core/err.h"
#include "http/easy.h"
#include "http/header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_multi;
struct sip_http_call;

/* Everything is borrowed until sip_http_call_start returns. */
struct sip_http_request {
  struct sip_slice method; /* a token such as "GET"; case matters (RFC 9110 section 9.1) */
  struct sip_slice url;    /* http or https */
  const struct sip_header *headers;
  size_t header_count;
  struct sip_slice body;            /* NULL data: none; empty is a body of no bytes */
  struct sip_easy_options transfer; /* timeouts (redirects included) and CA */
  uint64_t max_body_bytes;          /* after decompression; more is TOO_BIG. UINT64_MAX: no limit */
  unsigned redirects; /* how many are followed, to http(s) only and never from https to http */
  bool (*may)(void *arg, const char *place); /* whether a redirect to "host:port" is followed */
  void *may_arg;
  bool stream; /* the body is taken piece by piece, and the server is slowed down to that */
};

/** Something changed: the head came, body bytes came while none were waiting, or the call ended.
 * May run below libcurl: it may wake a task, and must not call anything of this header except the
 * getters. */
typedef void (*sip_http_notify_fn)(struct sip_http_call *call, void *arg);

/** Checks and starts. Answers of the server, whatever their status, are a success.
 *  @return 0; UV_EINVAL (method, header; INVALID_URL for the URL); else see sip_multi_add */
int sip_http_call_start(struct sip_http_call **out, struct sip_multi *multi,
                        const struct sip_http_request *request, sip_http_notify_fn notify,
                        void *arg, struct sip_err *err);

/** Ends it if it runs. Accepts NULL. */
void sip_http_call_free(struct sip_http_call *call);

/** Status and headers are there (of the last answer, when redirects were followed). */
bool sip_http_call_has_head(const struct sip_http_call *call);
long sip_http_call_status(const struct sip_http_call *call);
const struct sip_header_list *sip_http_call_headers(const struct sip_http_call *call);

/** Nothing more comes. `err->code` is 0 after a whole answer, else why not: TOO_BIG, or see
 * transfer_error.h. */
bool sip_http_call_is_done(const struct sip_http_call *call, struct sip_err *err);

/** Body bytes that were not taken yet; borrowed until the next turn of the loop. */
struct sip_slice sip_http_call_body(const struct sip_http_call *call);

/** Moves those bytes into `out`, whose former content is dropped, and lets a slowed server go on.
 */
void sip_http_call_take(struct sip_http_call *call, struct sip_buf *out);

#endif
