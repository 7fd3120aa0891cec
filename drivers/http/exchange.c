/* exchange.c - one request and its answer: reading, suspending, answering, streaming. Loop thread
 * only.
 *
 * libmicrohttpd's functions that suspend are called from inside of its callbacks, those that resume
 * from outside. */
#include "core/log.h"
#include "http/server_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
  STREAM_WINDOW_BYTES = 256 * 1024, /* queued for a client before its writer has to wait */
  STREAM_BLOCK_BYTES = 32 * 1024,
  MAX_DISCARDED_BYTES =
    1024 * 1024 /* of a body that is too large, so that the client gets to read its 413 */
};

/* --- references --- */

static void exchange_unref(struct sip_exchange *exchange)
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

static void exchange_resume(struct sip_exchange *exchange)
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
    exchange_resume(exchange);
    exchange_notify(exchange);
  }
}

/* --- reading a request --- */

void *sip_exchange_on_target(void *arg, const char *target, struct MHD_Connection *mhd)
{
  struct sip_exchange *exchange = calloc(1, sizeof *exchange);

  if (exchange == NULL) {
    return NULL; /* seen by sip_exchange_on_data, which closes the connection */
  }
  sip_list_init(&exchange->link);
  exchange->target = strdup(target);
  exchange->server = arg;
  exchange->mhd = mhd;
  exchange->connection =
    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
  exchange->refs = 1;
  sip_list_push(&exchange->server->exchanges, &exchange->link);
  return exchange;
}

static enum MHD_Result keep_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
  struct sip_exchange *exchange = arg;
  struct sip_slice key = { name, name_len }, text = { value == NULL ? "" : value, value_len };

  (void)kind;
  return sip_header_list_add(&exchange->headers, &key, &text) < 0 ? MHD_NO : MHD_YES;
}

/* Two lengths, or a length and chunks, mean that somebody in between may read this differently (RFC
 * 9112 6.3). */
static unsigned check_length(const struct sip_exchange *exchange)
{
  struct sip_header header;
  size_t at = 0, lengths = 0, encodings = 0, hosts = 0;
  struct sip_slice length = { "", 0 };

  while (sip_header_list_next(&exchange->headers, &at, &header)) {
    hosts += sip_header_is(&header.name, "host");
    encodings += sip_header_is(&header.name, "transfer-encoding");
    if (sip_header_is(&header.name, "content-length")) {
      length = header.value;
      lengths++;
    }
  }
  if (lengths + encodings > 1 || hosts > 1) {
    return MHD_HTTP_BAD_REQUEST;
  }
  if (length.len > 0 &&
      strtoull(length.data, NULL, 10) > exchange->server->options.max_body_bytes) {
    return MHD_HTTP_CONTENT_TOO_LARGE; /* digits: libmicrohttpd has read the number already */
  }
  return 0;
}

static bool read_head(struct sip_exchange *exchange, const char *method)
{
  const union MHD_ConnectionInfo *client =
    MHD_get_connection_info(exchange->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  int fields = MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, NULL, NULL);

  exchange->method = strdup(method);
  (void)MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, keep_field, exchange);
  if (exchange->method == NULL || exchange->target == NULL ||
      exchange->headers.count != (size_t)fields) {
    return false;
  }
  if (client == NULL ||
      uv_ip_name(client->client_addr, exchange->remote, sizeof exchange->remote) < 0) {
    exchange->remote[0] = '\0';
  }
  exchange->connection->busy = true;
  exchange->connection->deadline =
    uv_now(exchange->server->loop) + exchange->server->options.body_timeout_ms;
  exchange->refuse_status = check_length(exchange);
  return true;
}

static enum MHD_Result read_body(struct sip_exchange *exchange, const char *data, size_t *len)
{
  size_t size = *len;

  *len = 0;
  if (exchange->refuse_status == 0 &&
      exchange->body.len + size > exchange->server->options.max_body_bytes) {
    exchange->refuse_status = MHD_HTTP_CONTENT_TOO_LARGE;
    sip_buf_deinit(&exchange->body);
  }
  if (exchange->refuse_status != 0) {
    exchange->discarded += size;
    return exchange->discarded > MAX_DISCARDED_BYTES ? MHD_NO : MHD_YES;
  }
  return sip_buf_add(&exchange->body, data, size) < 0 ? MHD_NO : MHD_YES;
}

/* Short answers that need no script. */
static enum MHD_Result queue_plain(struct sip_exchange *exchange, unsigned status)
{
  static const char too_large[] = "{\"title\":\"Content Too Large\",\"status\":413}";
  static const char bad[] = "{\"title\":\"Bad Request\",\"status\":400}";
  static const char failed[] = "{\"title\":\"Internal Server Error\",\"status\":500}";
  const char *text = status == MHD_HTTP_CONTENT_TOO_LARGE ? too_large
                     : status == MHD_HTTP_BAD_REQUEST     ? bad
                                                          : failed;
  struct MHD_Response *response =
    MHD_create_response_from_buffer(strlen(text), (char *)text, MHD_RESPMEM_PERSISTENT);
  enum MHD_Result result = MHD_NO;

  if (response != NULL) {
    if (MHD_add_response_header(response, "content-type", "application/problem+json") == MHD_YES &&
        MHD_add_response_header(response, "connection", "close") == MHD_YES) {
      result = MHD_queue_response(exchange->mhd, status, response);
    }
    MHD_destroy_response(response);
  }
  exchange->answered = true;
  return result;
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
    return queue_plain(exchange, exchange->refuse_status);
  }
  exchange->refs++; /* the receiver's */
  exchange->server->on_request(exchange, exchange->server->arg);
  if (exchange->response != NULL) {
    return queue_answer(exchange);
  }
  if (exchange->gone) {
    return MHD_NO;
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

  (void)arg, (void)mhd, (void)url, (void)version;
  if (exchange == NULL || exchange->connection == NULL) {
    return MHD_NO; /* there was no memory for one of them */
  }
  if (exchange->method == NULL) { /* the head; the body may follow */
    if (!read_head(exchange, method)) {
      return MHD_NO;
    }
    return exchange->refuse_status == 0 ? MHD_YES : queue_plain(exchange, exchange->refuse_status);
  }
  if (*len > 0) {
    return read_body(exchange, data, len);
  }
  if (!exchange->dispatched) {
    return hand_over(exchange);
  }
  return exchange->response != NULL && !exchange->gone ? queue_answer(exchange) : MHD_NO;
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
  exchange_unref(exchange);
}

/* --- answering --- */

static int check_answer(const struct sip_exchange *exchange, unsigned status, struct sip_err *err)
{
  if (exchange->answered) {
    return sip_err_set(err, SIP_EBUSY, "http server: the request was answered already");
  }
  if (exchange->gone) {
    return sip_err_set(err, UV_ECONNRESET, "http server: the client hung up");
  }
  if (status < 200 || status > 599) {
    return sip_err_set(err, UV_EINVAL, "http server: a status is 200 to 599, got %u", status);
  }
  return 0;
}

static bool follows_by_itself(const struct sip_slice *name)
{
  return sip_header_is(name, "content-length") || sip_header_is(name, "transfer-encoding") ||
         sip_header_is(name, "connection");
}

static int add_field(struct MHD_Response *response, const struct sip_header *header,
                     struct sip_err *err)
{
  int rc = sip_header_check(header, err);
  char *name, *value;

  if (rc < 0) {
    return rc;
  }
  if (follows_by_itself(&header->name)) {
    return sip_err_set(err, UV_EINVAL, "header %.*s: the server sets it", (int)header->name.len,
                       header->name.data);
  }
  name = strndup(header->name.data, header->name.len);
  value = strndup(header->value.data, header->value.len);
  if (name == NULL || value == NULL) {
    rc = sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
  } else if (header->value.len > 0 && MHD_add_response_header(response, name, value) != MHD_YES) {
    rc = sip_err_set(err, UV_EINVAL, "header %s: it cannot be sent", name);
  } /* an empty value: libmicrohttpd cannot send it, and it says nothing */
  free(name);
  free(value);
  return rc;
}

/* Takes the response over, also on failure. */
static int exchange_answer(struct sip_exchange *exchange, unsigned status,
                           struct MHD_Response *response, const struct sip_header *headers,
                           size_t count, struct sip_err *err)
{
  int rc = 0;

  if (response == NULL) {
    return sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
  }
  for (size_t i = 0; i < count && rc == 0; i++) {
    rc = add_field(response, &headers[i], err);
  }
  if (rc == 0 && exchange->server->stopping) {
    rc = MHD_add_response_header(response, "connection", "close") == MHD_YES ? 0 : UV_ENOMEM;
  }
  if (rc < 0) {
    MHD_destroy_response(response);
    return rc;
  }
  exchange->response = response;
  exchange->status = status;
  exchange->answered = true;
  exchange_resume(exchange);
  return 0;
}

int sip_exchange_respond(struct sip_exchange *exchange, unsigned status,
                         const struct sip_header *headers, size_t count,
                         const struct sip_slice *body, struct sip_err *err)
{
  int rc = check_answer(exchange, status, err);

  if (rc < 0) {
    return rc;
  }
  return exchange_answer(
    exchange, status,
    MHD_create_response_from_buffer(body->len, (char *)(body->data == NULL ? "" : body->data),
                                    MHD_RESPMEM_MUST_COPY),
    headers, count, err);
}

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

int sip_exchange_stream(struct sip_exchange *exchange, unsigned status,
                        const struct sip_header *headers, size_t count, struct sip_err *err)
{
  int rc = check_answer(exchange, status, err);

  if (rc < 0) {
    return rc;
  }
  exchange->streaming = true;
  rc = exchange_answer(exchange, status,
                       MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                         exchange_on_read, exchange, NULL),
                       headers, count, err);
  exchange->streaming = rc == 0;
  return rc;
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
    exchange_resume(exchange);
  }
  exchange->drain_wanted = exchange->out.len - exchange->out_at >= STREAM_WINDOW_BYTES;
  return exchange->drain_wanted ? 1 : 0;
}

void sip_exchange_end(struct sip_exchange *exchange)
{
  if (exchange->streaming && !exchange->ended) {
    exchange->ended = true;
    exchange_resume(exchange);
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
  exchange_unref(exchange);
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

const char *sip_exchange_remote(const struct sip_exchange *exchange)
{
  return exchange->remote;
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
