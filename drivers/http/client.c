/* client.c - HTTP requests, over libcurl's multi handle. Loop thread only.
 *
 * Every bound is here: header bytes, body bytes, and how much of a streamed body waits before the
 * server is slowed. */
#include "http/client.h"

#include "http/curl_error.h"
#include "http/multi.h"
#include "http/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_HEADER_BYTES = 64 * 1024,
  STREAM_WINDOW_BYTES =
    256 * 1024, /* then the transfer pauses; above libcurl's receive buffer of 16 KiB */
  MAX_METHOD_BYTES = 32
};

struct sip_http_call {
  struct sip_transfer transfer;
  struct sip_target target;
  struct curl_slist *request_headers;
  struct sip_header_list headers;
  struct sip_buf body;
  uint64_t max_body_bytes, received_bytes;
  long status, sends;
  unsigned redirects;
  char method[MAX_METHOD_BYTES];
  bool unsafe, lost; /* may not be sent twice; was sent, and the connection ended */
  bool forbidden;    /* a redirect led where the script may not go */
  bool (*may)(void *arg, const char *place);
  void *may_arg; /* borrowed: the starter's */
  bool stream, paused, has_head, trailers, done, too_big, no_memory;
  struct sip_err err; /* why it ended, code 0 for success */
  sip_http_notify_fn notify;
  void *arg; /* borrowed: the starter's */
};

/* --- the answer --- */

/* The status of a line such as "HTTP/1.1 200 OK", or 0. */
static long status_of(const char *line, size_t len)
{
  char text[32];
  long status = 0;

  (void)snprintf(text, sizeof text, "%.*s", len < sizeof text ? (int)len : (int)sizeof text - 1,
                 line);
  return sscanf(text, "HTTP/%*s %3ld", &status) == 1 ? status : 0;
}

static bool is_final(const struct sip_http_call *call)
{
  struct sip_slice location;

  if (call->status < 200) {
    return false; /* 100 Continue, 103 Early Hints: another head follows */
  }
  return call->redirects == 0 || call->status < 300 || call->status > 399 ||
         !sip_header_list_find(&call->headers, "location", &location) || location.len == 0;
}

static int keep_header(struct sip_http_call *call, const char *line, size_t len)
{
  const char *colon = memchr(line, ':', len);
  struct sip_slice name, value;

  if (colon == NULL) {
    return 0; /* libcurl refused what is dangerous; a line without a colon says nothing */
  }
  name = (struct sip_slice){ line, (size_t)(colon - line) };
  value = (struct sip_slice){ colon + 1, len - name.len - 1 };
  while (value.len > 0 && (*value.data == ' ' || *value.data == '\t')) {
    value.data++;
    value.len--;
  }
  while (value.len > 0 && strchr(" \t\r\n", value.data[value.len - 1]) != NULL) {
    value.len--;
  }
  if (call->headers.text.len + name.len + value.len > MAX_HEADER_BYTES) {
    call->too_big = true;
    return SIP_ETOOBIG;
  }
  if (sip_header_list_add(&call->headers, &name, &value) < 0) {
    call->no_memory = true;
    return UV_ENOMEM;
  }
  return 0;
}

static size_t call_on_header(char *line, size_t size, size_t count, void *arg)
{
  struct sip_http_call *call = arg;
  size_t len = size * count;
  long status = status_of(line, len);

  if (status > 0 && !call->has_head) {
    call->status = status;
    sip_header_list_clear(&call->headers);
  } else if (len <= 2 && (line[0] == '\r' || line[0] == '\n')) {
    if (!call->has_head && is_final(call)) {
      call->has_head = true;
      call->notify(call, call->arg);
    }
  } else if (!call->has_head && keep_header(call, line, len) < 0) {
    return 0; /* ends the transfer */
  }
  return len;
}

static size_t call_on_body(char *data, size_t size, size_t count, void *arg)
{
  struct sip_http_call *call = arg;
  size_t len = size * count;
  bool first = call->body.len == 0;

  call->has_head = true; /* whatever was believed about redirects: this is the answer */
  if (call->received_bytes + len > call->max_body_bytes) {
    call->too_big = true;
    return 0;
  }
  if (call->stream && call->body.len >= STREAM_WINDOW_BYTES) {
    call->paused = true;
    return CURL_WRITEFUNC_PAUSE; /* libcurl holds `data` and gives it again */
  }
  if (sip_buf_add(&call->body, data, len) < 0) {
    call->no_memory = true;
    return 0;
  }
  call->received_bytes += len;
  if (first && call->stream) {
    call->notify(call, call->arg);
  }
  return len;
}

static void call_fail(struct sip_http_call *call, CURLcode result)
{
  char what[MAX_METHOD_BYTES + 8];

  (void)snprintf(what, sizeof what, "http %s", call->method);
  if (call->forbidden) {
    (void)sip_err_named(&call->err, UV_EACCES, "NOT_PERMITTED",
                        "%s %s: redirected to a host that sipeat.permissions does not name", what,
                        call->target.text);
  } else if (call->too_big) {
    (void)sip_err_set(&call->err, SIP_ETOOBIG, "%s %s: the answer's %s is larger than %llu bytes",
                      what, call->target.text, call->has_head ? "body" : "head",
                      call->has_head ? (unsigned long long)call->max_body_bytes
                                     : (unsigned long long)MAX_HEADER_BYTES);
  } else if (call->no_memory) {
    (void)sip_err_set(&call->err, UV_ENOMEM, "%s %s: no memory for the answer", what,
                      call->target.text);
  } else if (call->transfer.canceled) {
    (void)sip_err_set(&call->err, UV_ECANCELED, "%s %s: canceled by the end of the program", what,
                      call->target.text);
  } else {
    (void)sip_curl_error(call->transfer.easy, call->transfer.detail, result, what,
                         call->target.text, &call->err);
  }
}

static void call_on_done(struct sip_transfer *transfer, CURLcode result)
{
  struct sip_http_call *call = SIP_CONTAINER(transfer, struct sip_http_call, transfer);

  call->done = true;
  if (call->lost) {
    result = CURLE_GOT_NOTHING;
  }
  if (result == CURLE_OK && !call->has_head) {
    result = CURLE_PARTIAL_FILE; /* libcurl takes a head that breaks off for a whole one */
  }
  if (result != CURLE_OK || call->too_big || call->no_memory) {
    call_fail(call, result);
  }
  call->notify(call, call->arg);
}

/* --- the request --- */

/* RFC 9110, 9.2.2: these may be repeated without asking. */
static bool is_idempotent(const char *method)
{
  static const char *const names[] = { "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(method, names[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* Whether the redirect that is followed leads where it may. */
static bool call_may_follow(const struct sip_http_call *call)
{
  const char *url = NULL;
  char place[300];

  if (call->may == NULL ||
      curl_easy_getinfo(call->transfer.easy, CURLINFO_EFFECTIVE_URL, &url) != CURLE_OK ||
      url == NULL) {
    return call->may == NULL;
  }
  return sip_target_place(&(struct sip_slice){ url, strlen(url) }, "http,https", place,
                          sizeof place, NULL) == 0 &&
         call->may(call->may_arg, place);
}

/* Before each sending. When a kept connection ends without an answer libcurl sends the request once
 * more by itself, a POST too (Curl_retry_request, 7.88): what that did the first time nobody knows.
 */
static int call_on_send(void *arg, char *peer, char *here, int peer_port, int here_port)
{
  struct sip_http_call *call = arg;
  long followed = 0;

  (void)peer;
  (void)here;
  (void)peer_port;
  (void)here_port;
  (void)curl_easy_getinfo(call->transfer.easy, CURLINFO_REDIRECT_COUNT, &followed);
  call->sends++;
  call->lost = call->unsafe && call->sends > followed + 1;
  call->forbidden = followed > 0 && !call_may_follow(call);
  return call->lost || call->forbidden ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static int add_line(struct sip_http_call *call, const char *line)
{
  struct curl_slist *list = curl_slist_append(call->request_headers, line);

  if (list == NULL) {
    return UV_ENOMEM;
  }
  call->request_headers = list;
  return 0;
}

static int add_header(struct sip_http_call *call, const struct sip_header *header,
                      struct sip_buf *line, struct sip_err *err)
{
  int rc = sip_header_check(header, err);

  if (rc < 0) {
    return rc;
  }
  if (sip_header_is(&header->name, "content-length") ||
      sip_header_is(&header->name, "transfer-encoding")) {
    return sip_err_set(err, UV_EINVAL, "header %.*s: it follows from the body and cannot be set",
                       (int)header->name.len, header->name.data);
  }
  sip_buf_clear(line);
  if (sip_buf_addf(line, "%.*s%s", (int)header->name.len, header->name.data,
                   header->value.len > 0 ? ": " : ";") < 0 || /* "Name;" sends an empty value */
      sip_buf_add(line, header->value.data, header->value.len) < 0 ||
      add_line(call, line->data) < 0) {
    return sip_err_set(err, UV_ENOMEM, "no memory for the request's headers");
  }
  return 0;
}

static int add_headers(struct sip_http_call *call, const struct sip_http_request *request,
                       struct sip_err *err)
{
  struct sip_buf line = SIP_BUF_INIT;
  bool typed = false;
  int rc = 0;

  for (size_t i = 0; i < request->header_count && rc == 0; i++) {
    typed = typed || sip_header_is(&request->headers[i].name, "content-type");
    rc = add_header(call, &request->headers[i], &line, err);
  }
  if (rc == 0 &&
      (add_line(call, "Expect:") < 0 || /* without it no second is lost waiting for 100 */
       (!typed && add_line(call, "Content-Type:") < 0))) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for the request's headers");
  }
  sip_buf_deinit(&line);
  return rc;
}

static bool set_method(struct sip_http_call *call, const struct sip_http_request *request)
{
  CURL *easy = call->transfer.easy;
  bool body = request->body.data != NULL;

  if (strcmp(call->method, "HEAD") == 0 && !body) {
    return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
  }
  if (strcmp(call->method, "GET") == 0 && !body) {
    return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
  }
  if (body || strcmp(call->method, "POST") == 0) {
    if (curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len) !=
          CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body ? request->body.data : "") !=
          CURLE_OK) {
      return false;
    }
  }
  return strcmp(call->method, "POST") == 0 ||
         curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK;
}

static bool set_transfer(struct sip_http_call *call, const struct sip_http_request *request)
{
  CURL *easy = call->transfer.easy;
  bool secure = strncmp(call->target.text, "https:", 6) == 0;

  return curl_easy_setopt(easy, CURLOPT_CURLU, call->target.url) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https") ==
           CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->redirects > 0 ? 1L : 0L) ==
           CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)request->redirects) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERAGENT, "sipeat/" SIP_VERSION) == CURLE_OK &&
         (!call->target.loopback || curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") ==
                                      CURLE_OK) && /* no proxy reaches our own host */
         curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->request_headers) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, call_on_header) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, call_on_send) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PREREQDATA, call) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, call_on_body) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK && set_method(call, request);
}

static int call_prepare(struct sip_http_call *call, const struct sip_http_request *request,
                        struct sip_err *err)
{
  int rc;

  if (!sip_header_is_name(&request->method) || request->method.len >= MAX_METHOD_BYTES) {
    return sip_err_set(err, UV_EINVAL, "the method is a word such as GET or POST");
  }
  memcpy(call->method, request->method.data, request->method.len);
  call->unsafe = !is_idempotent(call->method);
  rc = sip_target_init(&call->target, &request->url, "http,https", err);
  if (rc == 0) {
    rc = add_headers(call, request, err);
  }
  if (rc == 0) {
    rc = sip_transfer_init(&call->transfer, &request->transfer, err);
  }
  if (rc == 0 && !set_transfer(call, request)) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for the request");
  }
  return rc;
}

int sip_http_call_start(struct sip_http_call **out, struct sip_multi *multi,
                        const struct sip_http_request *request, sip_http_notify_fn notify,
                        void *arg, struct sip_err *err)
{
  struct sip_http_call *call = calloc(1, sizeof *call);
  int rc;

  if (call == NULL) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for the request");
    goto cleanup;
  }
  call->notify = notify;
  call->arg = arg;
  call->max_body_bytes = request->max_body_bytes;
  call->redirects = request->redirects;
  call->stream = request->stream;
  call->may = request->may;
  call->may_arg = request->may_arg;
  rc = call_prepare(call, request, err);
  if (rc == 0) {
    rc = sip_multi_add(multi, &call->transfer, call_on_done, err);
  }
  if (rc < 0) {
    sip_err_context(err, "http %s%s%s", call->method, call->target.text[0] == '\0' ? "" : " ",
                    call->target.text);
    goto cleanup;
  }
  *out = call;
  call = NULL; /* handed over */
cleanup:
  sip_http_call_free(call);
  return rc;
}

void sip_http_call_free(struct sip_http_call *call)
{
  if (call == NULL) {
    return;
  }
  sip_transfer_deinit(&call->transfer);
  sip_target_deinit(&call->target);
  curl_slist_free_all(call->request_headers);
  sip_header_list_deinit(&call->headers);
  sip_buf_deinit(&call->body);
  free(call);
}

bool sip_http_call_has_head(const struct sip_http_call *call)
{
  return call->has_head;
}

long sip_http_call_status(const struct sip_http_call *call)
{
  return call->status;
}

const struct sip_header_list *sip_http_call_headers(const struct sip_http_call *call)
{
  return &call->headers;
}

bool sip_http_call_is_done(const struct sip_http_call *call, struct sip_err *err)
{
  if (call->done && err != NULL) {
    *err = call->err;
  }
  return call->done;
}

struct sip_slice sip_http_call_body(const struct sip_http_call *call)
{
  return (struct sip_slice){ call->body.data, call->body.len };
}

void sip_http_call_take(struct sip_http_call *call, struct sip_buf *out)
{
  sip_buf_deinit(out);
  *out = call->body;
  call->body = (struct sip_buf)SIP_BUF_INIT;
  if (call->paused) {
    call->paused = false;
    sip_transfer_resume(&call->transfer);
  }
}
