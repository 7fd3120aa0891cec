/* exchange.c - one request: reading, handing over, suspending, streaming its answer. Loop thread
 * only.
 *
 * libmicrohttpd's functions that suspend are called from inside of its callbacks, those that resume
 * from outside. */
#include "http/body_limits.h"
#include "http/layout.h"
#include "http/server_state.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
  STREAM_WINDOW_BYTES = 256 * 1024, /* queued for a client before its writer has to wait */
  STREAM_BLOCK_BYTES = 32 * 1024,
  MAX_ID_BYTES = 60,
  MAX_DISCARDED_BYTES =
    1024 * 1024 /* of a body that is too large, so that the client gets to read its 413 */
};

/* --- references --- */

void sip_exchange_unref(struct sip_exchange *exchange)
{
  assert(exchange->refs > 0);
  if (--exchange->refs > 0) {
    return;
  }
  if (exchange->response != NULL) {
    MHD_destroy_response(exchange->response);
  }
  sip_header_list_deinit(&exchange->headers);
  sip_buf_deinit(&exchange->body);
  sip_buf_deinit(&exchange->out);
  free(exchange->method);
  free(exchange->target);
  free(exchange);
}

static void exchange_notify(struct sip_exchange *exchange)
{
  if (exchange->notify != NULL) {
    exchange->notify(exchange, exchange->arg);
  }
}

void sip_exchange_resume(struct sip_exchange *exchange)
{
  if (exchange->suspended) {
    exchange->suspended = false;
    MHD_resume_connection(exchange->mhd);
    sip_server_kick(exchange->server);
  }
}

/* --- hang-ups --- */

static void hangup_on_close(uv_handle_t *handle)
{
  free(handle->data);
}

static void hangup_stop(struct sip_exchange *exchange)
{
  struct hangup *hangup = exchange->hangup;

  exchange->hangup = NULL;
  if (hangup != NULL) {
    hangup->exchange = NULL;
    uv_close((uv_handle_t *)&hangup->poll, hangup_on_close); /* takes the descriptor out at once */
  }
}

static void hangup_on_event(uv_poll_t *poll, int status, int events)
{
  struct hangup *hangup = poll->data;

  (void)status; /* an error of the descriptor is a hang-up as well */
  (void)events;
  if (hangup->exchange != NULL) {
    sip_exchange_abort(hangup->exchange);
  }
}

/* A client that shuts down its sending side only looks the same; while it is streamed to, it counts
 * as gone. */
static void hangup_start(struct sip_exchange *exchange)
{
  struct hangup *hangup = calloc(1, sizeof *hangup);

  if (hangup == NULL ||
      uv_poll_init(exchange->server->loop, &hangup->poll, exchange->connection->fd) < 0) {
    free(hangup); /* without it, the hang-up is seen at the next write */
    return;
  }
  hangup->poll.data = hangup;
  hangup->exchange = exchange;
  exchange->hangup = hangup;
  (void)uv_poll_start(&hangup->poll, UV_DISCONNECT, hangup_on_event); /* as above when it fails */
}

void sip_exchange_abort(struct sip_exchange *exchange)
{
  hangup_stop(exchange);
  if (!exchange->gone) {
    exchange->gone = true;
    sip_exchange_resume(exchange);
    exchange_notify(exchange);
  }
}

/* --- reading a request --- */

/* libmicrohttpd 0.9.75 takes the query apart into its memory for the head, whether anybody asks for
 * that or not, and answers nothing when some thousand arguments do not fit there. The target is
 * copied by now: the query ends before its first byte, in libmicrohttpd's own buffer. */
static void drop_arguments(const char *target)
{
  char *mark = strchr((char *)target, '?');

  if (mark != NULL && mark[1] != '\0') {
    mark[1] = '\0';
  }
}

void *sip_exchange_on_target(void *arg, const char *target, struct MHD_Connection *mhd)
{
  struct sip_exchange *exchange = calloc(1, sizeof *exchange);

  if (exchange == NULL) {
    return NULL; /* seen by sip_exchange_on_data, which closes the connection */
  }
  sip_list_init(&exchange->link);
  exchange->target = strdup(target);
  drop_arguments(target);
  exchange->server = arg;
  exchange->mhd = mhd;
  exchange->connection =
    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
  exchange->refs = 1;
  sip_list_push(&exchange->server->exchanges, &exchange->link);
  return exchange;
}

/* Fields on their way from libmicrohttpd. */
struct incoming {
  struct sip_exchange *exchange;
  struct sip_layout layout;
  bool failed; /* there was no memory for one of them */
};

static enum MHD_Result keep_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
  struct incoming *incoming = arg;
  struct sip_slice key = { name, name_len }, text = { value == NULL ? "" : value, value_len };

  (void)kind;
  sip_layout_field(&incoming->layout, &key, &text);
  incoming->failed = sip_header_list_add(&incoming->exchange->headers, &key, &text) < 0;
  return incoming->failed ? MHD_NO : MHD_YES;
}

/* What a head says that matters before the body. */
struct head {
  struct sip_slice length, encoding, id, forwarded_for, forwarded_proto;
  size_t lengths, encodings, hosts;
};

/* Names are in lower case here, and of that length. */
#define is_named(header, text) (memcmp((header)->name.data, text, sizeof(text) - 1) == 0)

static void read_fields(struct head *head, const struct sip_exchange *exchange)
{
  struct sip_header header;
  size_t at = 0;

  memset(head, 0, sizeof *head);
  while (sip_header_list_next(&exchange->headers, &at, &header)) {
    switch (header.name.len) {
    case 4:
      head->hosts += is_named(&header, "host");
      break;
    case 12:
      head->id = is_named(&header, "x-request-id") ? header.value : head->id;
      break;
    case 14:
      if (is_named(&header, "content-length")) {
        head->length = header.value;
        head->lengths++;
      }
      break;
    case 15:
      if (is_named(&header, "x-forwarded-for")) {
        head->forwarded_for = header.value; /* the last one: of the proxy that is connected */
      }
      break;
    case 17:
      if (is_named(&header, "transfer-encoding")) {
        head->encoding = header.value;
        head->encodings++;
      } else if (is_named(&header, "x-forwarded-proto")) {
        head->forwarded_proto = header.value;
      }
      break;
    default:
      break;
    }
  }
}

/* @return whether it is a number; one of more than 64 bits counts as the largest of them */
static bool read_number(const struct sip_slice *text, uint64_t *out)
{
  uint64_t number = 0;

  for (size_t i = 0; i < text->len; i++) {
    uint64_t digit = (uint64_t)(unsigned char)text->data[i] - '0';

    if (digit > 9) {
      return false;
    }
    number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
  }
  *out = number;
  return text->len > 0;
}

static bool is_target(const char *target)
{
  for (; *target != '\0'; target++) {
    if ((unsigned char)*target <= ' ' || *target == 127) {
      return false;
    }
  }
  return true;
}

/* Two lengths, or a length and chunks, mean that somebody in between may read this differently (RFC
 * 9112 6.3); so does a coding that only one of both knows. */
static unsigned check_head(struct sip_exchange *exchange, const struct head *head,
                           const char *version)
{
  struct sip_slice method = { exchange->method, strlen(exchange->method) };
  uint64_t length = 0;

  if (head->lengths + head->encodings > 1 || head->hosts > 1 || !sip_header_is_name(&method) ||
      !is_target(exchange->target)) {
    return MHD_HTTP_BAD_REQUEST;
  }
  if (head->encodings > 0 &&
      (strcmp(version, MHD_HTTP_VERSION_1_1) != 0 || !sip_header_is(&head->encoding, "chunked"))) {
    return MHD_HTTP_BAD_REQUEST;
  }
  if (head->lengths > 0 && !read_number(&head->length, &length)) {
    return MHD_HTTP_BAD_REQUEST;
  }
  return length > exchange->max_body_bytes ? MHD_HTTP_CONTENT_TOO_LARGE : 0;
}

static bool is_id(const struct sip_slice *id)
{
  for (size_t i = 0; i < id->len; i++) {
    if (strchr("_.-", id->data[i]) == NULL && !isalnum((unsigned char)id->data[i])) {
      return false;
    }
  }
  return id->len > 0 && id->len <= MAX_ID_BYTES;
}

static void identify(struct sip_exchange *exchange, const struct head *head)
{
  struct sip_server *server = exchange->server;

  if (head->id.data != NULL && is_id(&head->id)) {
    memcpy(exchange->id, head->id.data, head->id.len); /* zeroed: the NUL is there */
    return;
  }
  sip_server_name(server, exchange->id, sizeof exchange->id);
}

/* Who asks, and how: a trusted proxy knows better than the socket. */
static void find_client(struct sip_exchange *exchange, const struct head *head)
{
  const struct sip_server *server = exchange->server;
  const struct connection *connection = exchange->connection;

  exchange->remote = exchange->client = connection->remote;
  exchange->secure = server->secure;
  exchange->proxied = connection->trusted;
  if (!connection->trusted) {
    return;
  }
  if (head->forwarded_for.len > 0) {
    sip_origin_forwarded(&exchange->client, &connection->remote, &head->forwarded_for,
                         server->proxies, server->options.proxy_count);
  }
  if (head->forwarded_proto.len > 0) {
    exchange->secure = sip_header_is(&head->forwarded_proto, "https");
  }
}

static unsigned check_rate(struct sip_exchange *exchange)
{
  struct sip_server *server = exchange->server;
  struct sip_origin client;

  if (server->limiter == NULL) {
    return 0;
  }
  client = sip_origin_client(&exchange->client);
  exchange->wait_ms = sip_limiter_take(server->limiter, &client, uv_now(server->loop));
  return exchange->wait_ms > 0 ? MHD_HTTP_TOO_MANY_REQUESTS : 0;
}

static bool read_head(struct sip_exchange *exchange, const char *method, const char *url,
                      const char *version)
{
  struct incoming incoming = { .exchange = exchange };
  const struct sip_server_options *options = &exchange->server->options;
  struct head head;

  exchange->method = strdup(method);
  if (exchange->target == NULL) {
    return false;
  }
  sip_layout_begin(&incoming.layout, method, url, strlen(exchange->target), version);
  (void)MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, keep_field, &incoming);
  if (exchange->method == NULL || incoming.failed) {
    return false;
  }
  read_fields(&head, exchange);
  identify(exchange, &head);
  find_client(exchange, &head);
  exchange->connection->busy = true;
  exchange->connection->deadline = uv_now(exchange->server->loop) + options->body_timeout_ms;
  exchange->max_body_bytes = options->max_body_bytes;
  if (options->body_limits != NULL && head.lengths + head.encodings > 0) {
    exchange->max_body_bytes =
      sip_body_limits_find(options->body_limits, method, exchange->target, options->max_body_bytes);
  }
  exchange->refuse_status = sip_layout_known() && !sip_layout_end(&incoming.layout)
                              ? MHD_HTTP_BAD_REQUEST
                              : check_head(exchange, &head, version);
  if (exchange->refuse_status == 0) {
    exchange->refuse_status = check_rate(exchange);
  }
  exchange->connection->lingers = exchange->refuse_status != 0 && head.lengths > 0;
  return true;
}

static enum MHD_Result read_body(struct sip_exchange *exchange, const char *data, size_t *len)
{
  size_t size = *len;

  *len = 0;
  if (exchange->refuse_status == 0 && exchange->body.len + size > exchange->max_body_bytes) {
    exchange->refuse_status = MHD_HTTP_CONTENT_TOO_LARGE;
    sip_buf_deinit(&exchange->body);
  }
  if (exchange->refuse_status != 0) {
    exchange->discarded += size;
    return exchange->discarded > MAX_DISCARDED_BYTES ? MHD_NO : MHD_YES;
  }
  return sip_buf_add(&exchange->body, data, size) < 0 ? MHD_NO : MHD_YES;
}

static enum MHD_Result queue_answer(struct sip_exchange *exchange)
{
  struct MHD_Response *response = exchange->response;
  enum MHD_Result result;

  exchange->response = NULL;
  result = MHD_queue_response(exchange->mhd, exchange->status, response);
  MHD_destroy_response(response); /* libmicrohttpd has a reference of its own */
  if (exchange->streaming && result == MHD_YES) {
    hangup_start(exchange);
  }
  return result;
}

static enum MHD_Result hand_over(struct sip_exchange *exchange)
{
  exchange->dispatched = true;
  exchange->connection->deadline = SIP_FOREVER;
  if (exchange->refuse_status != 0) {
    return sip_answer_plain(exchange, exchange->refuse_status);
  }
  exchange->refs++; /* the receiver's */
  exchange->server->on_request(exchange, exchange->server->arg);
  if (exchange->response != NULL) {
    return queue_answer(exchange);
  }
  if (exchange->gone) {
    return MHD_NO;
  }
  sip_server_kick(exchange->server); /* see wait_for_answer */
  return MHD_YES;
}

/* A connection is suspended only when its answer takes longer than one turn of the loop: that
 * costs two system calls and libmicrohttpd's lists, twice. Until then it asks again. */
static enum MHD_Result wait_for_answer(struct sip_exchange *exchange)
{
  if (exchange->gone) {
    return MHD_NO;
  }
  if (exchange->response != NULL) {
    return queue_answer(exchange);
  }
  exchange->suspended = true;
  MHD_suspend_connection(exchange->mhd);
  return MHD_YES;
}

enum MHD_Result sip_exchange_on_data(void *arg, struct MHD_Connection *mhd, const char *url,
                                     const char *method, const char *version, const char *data,
                                     size_t *len, void **context)
{
  struct sip_exchange *exchange = *context;

  (void)arg, (void)mhd;
  if (exchange == NULL || exchange->connection == NULL) {
    return MHD_NO; /* there was no memory for one of them */
  }
  if (exchange->method == NULL) { /* the head; the body may follow */
    if (!read_head(exchange, method, url, version)) {
      return MHD_NO;
    }
    return exchange->refuse_status == 0 ? MHD_YES
                                        : sip_answer_plain(exchange, exchange->refuse_status);
  }
  if (*len > 0) {
    return read_body(exchange, data, len);
  }
  if (!exchange->dispatched) {
    return hand_over(exchange);
  }
  return wait_for_answer(exchange);
}

void sip_exchange_on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                               enum MHD_RequestTerminationCode how)
{
  struct sip_exchange *exchange = *context;
  struct sip_server *server = arg;

  (void)mhd;
  (void)how;
  *context = NULL;
  if (exchange == NULL) {
    return;
  }
  hangup_stop(exchange); /* before libmicrohttpd closes the descriptor */
  if (exchange->connection != NULL) {
    exchange->connection->busy = false;
    exchange->connection->deadline = uv_now(server->loop) + server->options.idle_timeout_ms;
  }
  sip_list_remove(&exchange->link);
  exchange->mhd = NULL;
  exchange->server = NULL;
  exchange->connection = NULL;
  exchange->suspended = false;
  if (!exchange->gone) {
    exchange->gone = true;
    exchange_notify(exchange);
  }
  sip_exchange_unref(exchange);
}

/* --- streaming --- */

/* libmicrohttpd asks for the next bytes of a stream. */
static ssize_t exchange_on_read(void *arg, uint64_t position, char *out, size_t max)
{
  struct sip_exchange *exchange = arg;
  size_t left = exchange->out.len - exchange->out_at;
  size_t len = left < max ? left : max;

  (void)position;
  if (exchange->gone) {
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  if (len == 0) {
    if (exchange->ended) {
      return MHD_CONTENT_READER_END_OF_STREAM;
    }
    exchange->suspended = true;
    MHD_suspend_connection(exchange->mhd);
    return 0;
  }
  memcpy(out, exchange->out.data + exchange->out_at, len);
  exchange->out_at += len;
  if (len == left) {
    sip_buf_clear(&exchange->out);
    exchange->out_at = 0;
    if (exchange->drain_wanted) {
      exchange->drain_wanted = false;
      exchange_notify(exchange);
    }
  }
  return (ssize_t)len;
}

struct MHD_Response *sip_exchange_stream_response(struct sip_exchange *exchange)
{
  return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, exchange_on_read,
                                           exchange, NULL);
}

int sip_exchange_write(struct sip_exchange *exchange, const void *data, size_t len)
{
  if (exchange->gone) {
    return UV_ECONNRESET;
  }
  if (!exchange->streaming || exchange->ended) {
    return SIP_ECLOSED;
  }
  if (len > 0 && sip_buf_add(&exchange->out, data, len) < 0) {
    return UV_ENOMEM;
  }
  if (len > 0) {
    sip_exchange_resume(exchange);
  }
  exchange->drain_wanted = exchange->out.len - exchange->out_at >= STREAM_WINDOW_BYTES;
  return exchange->drain_wanted ? 1 : 0;
}

void sip_exchange_end(struct sip_exchange *exchange)
{
  if (exchange->streaming && !exchange->ended) {
    exchange->ended = true;
    sip_exchange_resume(exchange);
  }
}

void sip_exchange_release(struct sip_exchange *exchange)
{
  struct sip_header type = { { "content-type", 12 }, { "application/problem+json", 24 } };
  struct sip_slice body = { "{\"title\":\"Internal Server Error\",\"status\":500}", 46 };

  exchange->notify = NULL;
  exchange->arg = NULL;
  if (exchange->mhd != NULL && !exchange->answered &&
      sip_exchange_respond(exchange, 500, &type, 1, &body, NULL) < 0) {
    sip_exchange_abort(exchange);
  }
  sip_exchange_end(exchange);
  sip_exchange_unref(exchange);
}

/* --- getters --- */

const char *sip_exchange_method(const struct sip_exchange *exchange)
{
  return exchange->method;
}

const char *sip_exchange_target(const struct sip_exchange *exchange)
{
  return exchange->target;
}

const struct sip_origin *sip_exchange_remote(const struct sip_exchange *exchange)
{
  return &exchange->remote;
}

const char *sip_exchange_id(const struct sip_exchange *exchange)
{
  return exchange->id;
}

bool sip_exchange_is_secure(const struct sip_exchange *exchange)
{
  return exchange->secure;
}

bool sip_exchange_is_proxied(const struct sip_exchange *exchange)
{
  return exchange->proxied;
}

const struct sip_origin *sip_exchange_client(const struct sip_exchange *exchange)
{
  return &exchange->client;
}

const struct sip_header_list *sip_exchange_headers(const struct sip_exchange *exchange)
{
  return &exchange->headers;
}

struct sip_slice sip_exchange_body(const struct sip_exchange *exchange)
{
  return (struct sip_slice){ exchange->body.data, exchange->body.len };
}

bool sip_exchange_is_gone(const struct sip_exchange *exchange)
{
  return exchange->gone;
}

void sip_exchange_set_notify(struct sip_exchange *exchange, sip_exchange_notify_fn notify,
                             void *arg)
{
  exchange->notify = notify;
  exchange->arg = arg;
}
