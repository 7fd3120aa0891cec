/* answer.c - what an answer is on the wire: its fields, its tag, compression. Loop thread only.
 *
 * Large bodies are compressed on the work pool; their request is suspended meanwhile. */
#include "core/err.h"
#include "core/hash.h"
#include "core/work.h"
#include "http/gzip.h"
#include "http/server_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  LARGE_BYTES = 1024,        /* below, a tag or compression gains nothing: one packet anyway */
  POOL_BYTES = 32 * 1024,    /* compressed on the loop up to here: about a millisecond */
  COMPRESSED_MAX = 64 << 20, /* larger ones leave as they are */
  LEVEL = 5,                 /* of gzip: half of the time of the default 6 for 3 % more bytes */
  TAG_BYTES = 32
};

/* An answer on its way to libmicrohttpd. All texts are borrowed from the caller. */
struct answer {
  struct sip_exchange *exchange;
  unsigned status;
  const struct sip_header *headers;
  size_t count;
  struct sip_slice type, tag, encoding, cache, vary;
  bool sniff;          /* its x-content-type-options is given */
  bool varies, packed; /* by accept-encoding; it is sent compressed */
  char made_tag[TAG_BYTES];
};

static const struct sip_slice no_text = { NULL, 0 };

static struct sip_slice text_of(const char *text)
{
  return (struct sip_slice){ text, strlen(text) };
}

/* --- refusals --- */

static const char *title_of(unsigned status)
{
  switch (status) {
  case MHD_HTTP_BAD_REQUEST:
    return "Bad Request";
  case MHD_HTTP_CONTENT_TOO_LARGE:
    return "Content Too Large";
  case MHD_HTTP_TOO_MANY_REQUESTS:
    return "Too Many Requests";
  case MHD_HTTP_NOT_IMPLEMENTED:
    return "Not Implemented";
  default:
    return "Internal Server Error";
  }
}

enum MHD_Result sip_answer_plain(struct sip_exchange *exchange, unsigned status)
{
  char text[120], wait[24];
  int len = snprintf(text, sizeof text, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u}",
                     title_of(status), status);
  struct MHD_Response *response =
    MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
  enum MHD_Result result = MHD_NO;
  const char *date;

  exchange->answered = true;
  if (response == NULL) {
    return MHD_NO;
  }
  (void)snprintf(wait, sizeof wait, "%llu", (unsigned long long)(exchange->wait_ms + 999) / 1000);
  date = sip_server_date(exchange->server);
  if (MHD_add_response_header(response, "content-type", "application/problem+json") == MHD_YES &&
      (date[0] == '\0' || MHD_add_response_header(response, "date", date) == MHD_YES) &&
      (exchange->id[0] == '\0' ||
       MHD_add_response_header(response, "x-request-id", exchange->id) == MHD_YES) &&
      (exchange->wait_ms == 0 ||
       MHD_add_response_header(response, "retry-after", wait) == MHD_YES) &&
      MHD_add_response_header(response, "connection", "close") == MHD_YES) {
    result = MHD_queue_response(exchange->mhd, status, response);
  }
  MHD_destroy_response(response); /* libmicrohttpd has a reference of its own */
  return result;
}

/* --- fields --- */

static bool follows_by_itself(const struct sip_slice *name)
{
  return sip_header_is(name, "content-length") || sip_header_is(name, "transfer-encoding") ||
         sip_header_is(name, "connection");
}

/* libmicrohttpd copies both, and wants them with a NUL. */
static int add_text(struct MHD_Response *response, const struct sip_slice *name,
                    const struct sip_slice *value, struct sip_err *err)
{
  char place[512], *copy = place;
  enum MHD_Result done = MHD_NO;

  if (name->len + value->len + 2 > sizeof place) {
    copy = malloc(name->len + value->len + 2);
    if (copy == NULL) {
      return sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
    }
  }
  memcpy(copy, name->data, name->len);
  copy[name->len] = '\0';
  assert(value->data != NULL); /* add_field */
  memcpy(copy + name->len + 1, value->data, value->len);
  copy[name->len + 1 + value->len] = '\0';
  done = MHD_add_response_header(response, copy, copy + name->len + 1);
  if (copy != place) {
    free(copy);
  }
  return done == MHD_YES ? 0
                         : sip_err_set(err, UV_EINVAL, "header %.*s: it cannot be sent",
                                       (int)name->len, name->data);
}

static int add_own(struct MHD_Response *response, const char *name, const char *value,
                   struct sip_err *err)
{
  return MHD_add_response_header(response, name, value) == MHD_YES
           ? 0
           : sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
}

static int add_field(struct answer *a, struct MHD_Response *response,
                     const struct sip_header *header, struct sip_err *err)
{
  int rc = sip_header_check(header, err);

  if (rc < 0) {
    return rc;
  }
  if (follows_by_itself(&header->name)) {
    return sip_err_set(err, UV_EINVAL, "header %.*s: the server sets it", (int)header->name.len,
                       header->name.data);
  }
  if (header->value.data == NULL || header->value.len == 0 ||
      sip_header_is(&header->name, "x-request-id") || sip_header_is(&header->name, "date") ||
      (sip_header_is(&header->name, "etag") && a->tag.data == a->made_tag)) {
    return 0; /* an empty value cannot be sent, and says nothing; the others are added below */
  }
  return add_text(response, &header->name, &header->value, err);
}

static int add_fields(struct answer *a, struct MHD_Response *response, struct sip_err *err)
{
  const char *date = sip_server_date(a->exchange->server);
  int rc = date[0] == '\0' ? 0 : add_own(response, "date", date, err);

  if (rc == 0) {
    rc = add_own(response, "x-request-id", a->exchange->id, err);
  }
  for (size_t i = 0; i < a->count && rc == 0; i++) {
    rc = add_field(a, response, &a->headers[i], err);
  }
  if (rc == 0 && !a->sniff) {
    rc = add_own(response, "x-content-type-options", "nosniff", err);
  }
  if (rc == 0 && a->tag.data == a->made_tag) {
    rc = add_own(response, "etag", a->made_tag, err);
  }
  if (rc == 0 && a->varies) {
    rc = add_own(response, "vary", "accept-encoding", err);
  }
  if (rc == 0 && a->packed) {
    rc = add_own(response, "content-encoding", "gzip", err);
  }
  if (rc == 0 && a->exchange->server->stopping) {
    rc = add_own(response, "connection", "close", err);
  }
  return rc;
}

/* Takes the response over, also on failure. */
static int answer_with(struct answer *a, struct MHD_Response *response, struct sip_err *err)
{
  struct sip_exchange *exchange = a->exchange;
  int rc;

  if (response == NULL) {
    return sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
  }
  rc = add_fields(a, response, err);
  if (rc < 0) {
    MHD_destroy_response(response);
    return rc;
  }
  exchange->response = response;
  exchange->status = a->status;
  exchange->answered = true;
  sip_exchange_resume(exchange);
  return 0;
}

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

static void look_at_fields(struct answer *a)
{
  for (size_t i = 0; i < a->count; i++) {
    const struct sip_slice *name = &a->headers[i].name, *value = &a->headers[i].value;

    switch (name->len) {
    case 4:
      a->tag = sip_header_is(name, "etag") ? *value : a->tag;
      a->vary = sip_header_is(name, "vary") ? *value : a->vary;
      break;
    case 12:
      a->type = sip_header_is(name, "content-type") ? *value : a->type;
      break;
    case 13:
      a->cache = sip_header_is(name, "cache-control") ? *value : a->cache;
      break;
    case 16:
      a->encoding = sip_header_is(name, "content-encoding") ? *value : a->encoding;
      break;
    case 22:
      a->sniff = a->sniff || sip_header_is(name, "x-content-type-options");
      break;
    default:
      break;
    }
  }
}

/* --- tags --- */

static bool contains(const struct sip_slice *text, const char *word)
{
  return text->data != NULL && memmem(text->data, text->len, word, strlen(word)) != NULL;
}

/* The part of a tag that is compared: without W/. */
static struct sip_slice opaque(const struct sip_slice *tag)
{
  bool weak = tag->len > 2 && memcmp(tag->data, "W/", 2) == 0;

  return (struct sip_slice){ tag->data + (weak ? 2 : 0), tag->len - (weak ? 2 : 0) };
}

/* If-None-Match, by weak comparison (RFC 9110 section 13.1.2). */
static bool client_has(const struct answer *a)
{
  struct sip_slice list, want = opaque(&a->tag);

  if (!sip_header_list_find(&a->exchange->headers, "if-none-match", &list)) {
    return false;
  }
  if (list.len == 1 && list.data[0] == '*') {
    return true;
  }
  while (list.len > 0) {
    const char *comma = memchr(list.data, ',', list.len);
    size_t len = comma == NULL ? list.len : (size_t)(comma - list.data), skip = comma != NULL;
    struct sip_slice one = { list.data, len };

    while (one.len > 0 && (*one.data == ' ' || *one.data == '\t')) {
      one.data++;
      one.len--;
    }
    while (one.len > 0 && (one.data[one.len - 1] == ' ' || one.data[one.len - 1] == '\t')) {
      one.len--;
    }
    one = opaque(&one);
    if (one.len == want.len && one.len > 0 && memcmp(one.data, want.data, one.len) == 0) {
      return true;
    }
    list.data += len + skip;
    list.len -= len + skip;
  }
  return false;
}

static void make_tag(struct answer *a, const struct sip_slice *body)
{
  uint64_t hash = sip_hash(SIP_HASH_INIT, body->data, body->len);

  (void)snprintf(a->made_tag, sizeof a->made_tag, "\"%016llx%s\"", (unsigned long long)hash,
                 a->packed ? "-gz" : "");
  a->tag = text_of(a->made_tag);
}

/* A tag that was given names the plain body: of the compressed one it is true only weakly. */
static void weaken_tag(struct answer *a)
{
  if (a->packed && a->tag.len > 0 && a->tag.data[0] == '"' &&
      a->tag.len + 3 <= sizeof a->made_tag) {
    (void)snprintf(a->made_tag, sizeof a->made_tag, "W/%.*s", (int)a->tag.len, a->tag.data);
    a->tag = text_of(a->made_tag);
  }
}

/* --- compression --- */

static void decide(struct answer *a, const struct sip_slice *body)
{
  struct sip_slice accepted = no_text;
  const char *method = a->exchange->method;
  bool plain = a->encoding.data == NULL && !contains(&a->cache, "no-transform");
  bool has_body = a->status != MHD_HTTP_NO_CONTENT && a->status != MHD_HTTP_NOT_MODIFIED &&
                  a->status != MHD_HTTP_PARTIAL_CONTENT;
  bool large = body->len >= LARGE_BYTES;

  if (large && body->len <= COMPRESSED_MAX && plain && has_body && a->type.data != NULL &&
      sip_gzip_suits(&a->type)) {
    a->varies = !contains(&a->vary, "ccept-") && !contains(&a->vary, "*");
    a->packed = sip_header_list_find(&a->exchange->headers, "accept-encoding", &accepted) &&
                sip_gzip_accepted(&accepted);
  }
  if (a->status != MHD_HTTP_OK || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)) {
    return;
  }
  if (a->tag.data != NULL) {
    weaken_tag(a);
  } else if (large && !contains(&a->cache, "no-store")) {
    make_tag(a, body);
  }
}

/* A body that is compressed on the work pool, and everything that its answer needs. */
struct packing {
  struct sip_work work;
  struct sip_exchange *exchange; /* counted */
  unsigned status;
  struct sip_header_list fields;
  struct sip_buf in, out;
  struct answer answer;
  int rc;
};

static void packing_free(struct packing *packing)
{
  sip_header_list_deinit(&packing->fields);
  sip_buf_deinit(&packing->in);
  sip_buf_deinit(&packing->out);
  free(packing);
}

/* The compressed body is handed over. */
static struct MHD_Response *response_of(struct sip_buf *out)
{
  struct MHD_Response *response =
    MHD_create_response_from_buffer(out->len, out->data, MHD_RESPMEM_MUST_FREE);

  if (response != NULL) {
    *out = (struct sip_buf)SIP_BUF_INIT;
  }
  return response;
}

static int pack(struct sip_buf *out, const struct sip_slice *body)
{
  size_t bound = sip_gzip_bound(body->len);
  long len = sip_buf_reserve(out, bound) < 0 ? UV_ENOMEM : sip_gzip(out->data, bound, body, LEVEL);

  out->len = len < 0 ? 0 : (size_t)len;
  return len < 0 ? UV_ENOMEM : 0;
}

static void packing_run(struct sip_work *work)
{
  struct packing *packing = SIP_CONTAINER(work, struct packing, work);
  struct sip_slice in = { packing->in.data, packing->in.len };

  packing->rc = pack(&packing->out, &in);
}

static void packing_done(struct sip_work *work, int status)
{
  struct packing *packing = SIP_CONTAINER(work, struct packing, work);
  struct sip_exchange *exchange = packing->exchange;
  struct sip_header headers[SIP_ANSWER_FIELDS];
  struct answer a = packing->answer;
  size_t at = 0;

  a.headers = headers;
  a.count = 0;
  while (a.count < SIP_ANSWER_FIELDS &&
         sip_header_list_next(&packing->fields, &at, &headers[a.count])) {
    a.count++;
  }
  a.tag = a.made_tag[0] == '\0' ? no_text : text_of(a.made_tag); /* what it borrowed is gone */
  if (exchange->mhd != NULL && !exchange->gone &&
      (status < 0 || packing->rc < 0 || answer_with(&a, response_of(&packing->out), NULL) < 0)) {
    sip_exchange_abort(exchange);
  }
  packing_free(packing);
  sip_exchange_unref(exchange);
}

static int pack_later(struct answer *a, const struct sip_slice *body, struct sip_err *err)
{
  struct packing *packing = calloc(1, sizeof *packing);
  int rc = packing == NULL ? UV_ENOMEM : sip_buf_add(&packing->in, body->data, body->len);

  for (size_t i = 0; rc == 0 && i < a->count; i++) {
    rc = sip_header_check(&a->headers[i], err);
    if (rc < 0) {
      packing_free(packing);
      return rc;
    }
    rc = sip_header_list_add(&packing->fields, &a->headers[i].name, &a->headers[i].value);
  }
  if (rc == 0) {
    packing->exchange = a->exchange;
    packing->answer = *a;
    rc = sip_work_start(a->exchange->server->loop, &packing->work, packing_run, packing_done);
  }
  if (rc < 0) {
    if (packing != NULL) {
      packing_free(packing);
    }
    return sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
  }
  a->exchange->refs++;
  a->exchange->answered = true;
  return 0;
}

/* --- answering --- */

int sip_exchange_respond(struct sip_exchange *exchange, unsigned status,
                         const struct sip_header *headers, size_t count,
                         const struct sip_slice *body, struct sip_err *err)
{
  struct answer a = { .exchange = exchange, .status = status, .headers = headers, .count = count };
  struct sip_slice sent = *body;
  struct sip_buf packed = SIP_BUF_INIT;
  int rc = check_answer(exchange, status, err);

  if (rc < 0) {
    return rc;
  }
  look_at_fields(&a);
  decide(&a, body);
  if (a.tag.data != NULL && status == MHD_HTTP_OK && client_has(&a)) {
    a.status = MHD_HTTP_NOT_MODIFIED;
    a.packed = false;
    sent = no_text;
  }
  if (a.packed && sent.len > POOL_BYTES && count <= SIP_ANSWER_FIELDS) {
    return pack_later(&a, body, err);
  }
  if (a.packed) {
    if (pack(&packed, body) < 0) {
      sip_buf_deinit(&packed);
      return sip_err_set(err, UV_ENOMEM, "http server: no memory for the answer");
    }
    rc = answer_with(&a, response_of(&packed), err);
    sip_buf_deinit(&packed);
    return rc;
  }
  return answer_with(&a,
                     MHD_create_response_from_buffer(sent.len,
                                                     (char *)(sent.data == NULL ? "" : sent.data),
                                                     MHD_RESPMEM_MUST_COPY),
                     err);
}

int sip_exchange_stream(struct sip_exchange *exchange, unsigned status,
                        const struct sip_header *headers, size_t count, struct sip_err *err)
{
  struct answer a = { .exchange = exchange, .status = status, .headers = headers, .count = count };
  int rc = check_answer(exchange, status, err);

  if (rc < 0) {
    return rc;
  }
  look_at_fields(&a);
  exchange->streaming = true;
  exchange->endless = a.type.data != NULL && contains(&a.type, "event-stream");
  rc = answer_with(&a, sip_exchange_stream_response(exchange), err);
  exchange->streaming = rc == 0;
  return rc;
}
