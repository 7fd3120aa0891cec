/* multi.c - libcurl's transfers on a libuv loop.
 *
 * libcurl says which sockets and which timer it wants; libuv watches them. Handles live in heap
 * blocks of their own and are freed in their close callbacks; the engine goes with the last of
 * them. Loop thread only. */
#include "http/multi.h"

#include "core/base.h"

#include <assert.h>
#include <stdlib.h>

enum {
  MAX_TRANSFERS = 4096,
  MAX_CONNECTIONS = 256,
  MAX_PER_HOST = 64,
  MAX_IDLE = 64,
  SWEEP_MS =
    100 /* how late the deadline of a transfer that waits for a connection may be noticed */
};

struct sip_multi {
  CURLM *curl;               /* NULL once closed */
  uv_loop_t *loop;           /* borrowed: outlives the engine */
  uv_timer_t timer;          /* what libcurl asked for */
  uv_timer_t sweep;          /* runs while there are transfers */
  struct sip_list transfers; /* borrowed: they belong to their starters */
  size_t count;
  size_t handles; /* open libuv handles; the last close callback frees the engine */
  bool in_curl;   /* below libcurl: its callbacks must not free a transfer */
};

/* One socket that libcurl wants to have watched. */
struct watch {
  uv_poll_t poll;
  struct sip_multi *multi; /* borrowed: counts this handle */
  curl_socket_t fd;        /* borrowed from libcurl */
};

static void multi_drop_handle(struct sip_multi *multi)
{
  assert(multi->handles > 0);
  if (--multi->handles == 0) {
    free(multi);
    curl_global_cleanup();
  }
}

static void multi_on_close(uv_handle_t *handle)
{
  multi_drop_handle(handle->data);
}

static void watch_on_close(uv_handle_t *handle)
{
  struct watch *watch = handle->data;

  multi_drop_handle(watch->multi);
  free(watch);
}

/* --- the end of transfers --- */

static void multi_unlink(struct sip_multi *multi, struct sip_transfer *transfer)
{
  (void)curl_multi_remove_handle(multi->curl,
                                 transfer->easy); /* fails only for a handle that is not in */
  sip_list_remove(&transfer->link);
  transfer->multi = NULL;
  if (--multi->count == 0) {
    (void)uv_timer_stop(&multi->sweep); /* always 0 */
  }
}

static void multi_end(struct sip_multi *multi, struct sip_transfer *transfer, CURLcode result)
{
  multi_unlink(multi, transfer);
  transfer->on_done(transfer, result); /* may close the engine */
}

static void multi_end_all(struct sip_multi *multi, CURLcode result, bool canceled)
{
  while (multi->curl != NULL && !sip_list_empty(&multi->transfers)) {
    struct sip_transfer *transfer = SIP_CONTAINER(multi->transfers.next, struct sip_transfer, link);

    transfer->canceled = canceled;
    multi_end(multi, transfer, result);
  }
}

static void multi_reap(struct sip_multi *multi)
{
  CURLMsg *message;
  int left;

  while (multi->curl != NULL && (message = curl_multi_info_read(multi->curl, &left)) != NULL) {
    struct sip_transfer *transfer = NULL;

    if (message->msg != CURLMSG_DONE) {
      continue;
    }
    (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
    multi_end(multi, transfer, message->data.result);
  }
}

static void multi_act(struct sip_multi *multi, curl_socket_t fd, int events)
{
  CURLMcode code;
  int running;

  if (multi->curl == NULL) {
    return;
  }
  multi->in_curl = true;
  code = curl_multi_socket_action(multi->curl, fd, events, &running);
  multi->in_curl = false;
  multi_reap(multi);
  if (code !=
      CURLM_OK) { /* a watch could not be made: libcurl is stuck until every transfer has left it */
    multi_end_all(multi, CURLE_OUT_OF_MEMORY, false);
  }
}

/* --- libuv to libcurl --- */

static void watch_on_event(uv_poll_t *poll, int status, int events)
{
  struct watch *watch = poll->data;
  int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
              (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) | (status < 0 ? CURL_CSELECT_ERR : 0);

  multi_act(watch->multi, watch->fd, flags); /* may close `watch` */
}

static void multi_on_timer(uv_timer_t *timer)
{
  multi_act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl does not look at the clock of a transfer that waits for a free connection (7.88,
 * MSTATE_PENDING). */
static void multi_on_sweep(uv_timer_t *timer)
{
  struct sip_multi *multi = timer->data;
  uint64_t now = uv_now(multi->loop);
  struct sip_list late, *node, *next;

  sip_list_init(&late);
  for (node = multi->transfers.next; node != &multi->transfers; node = next) {
    struct sip_transfer *transfer = SIP_CONTAINER(node, struct sip_transfer, link);

    next = node->next;
    if (transfer->deadline_ms < now) {
      sip_list_remove(node);
      sip_list_push(&late, node);
    }
  }
  while (
    !sip_list_empty(&late)) { /* on_done may free others, which then leave the list by themselves */
    multi_end(multi, SIP_CONTAINER(late.next, struct sip_transfer, link), CURLE_OPERATION_TIMEDOUT);
  }
}

/* --- libcurl to libuv --- */

static int multi_set_timer(CURLM *curl, long timeout_ms, void *arg)
{
  struct sip_multi *multi = arg;

  (void)curl;
  if (timeout_ms < 0) {
    (void)uv_timer_stop(&multi->timer); /* always 0 */
  } else if (!uv_is_closing((uv_handle_t *)&multi->timer)) {
    (void)uv_timer_start(&multi->timer, multi_on_timer, (uint64_t)timeout_ms,
                         0); /* fails only while closing */
  }
  return 0;
}

static struct watch *watch_new(struct sip_multi *multi, curl_socket_t fd)
{
  struct watch *watch = calloc(1, sizeof *watch);

  if (watch == NULL) {
    return NULL;
  }
  if (uv_poll_init(multi->loop, &watch->poll, fd) < 0) {
    free(watch);
    return NULL;
  }
  watch->poll.data = watch;
  watch->multi = multi;
  watch->fd = fd;
  multi->handles++;
  return watch;
}

static int multi_set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
  struct sip_multi *multi = arg;
  struct watch *watch = socket_arg;
  int events = (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);

  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (watch != NULL) {
      (void)uv_poll_stop(&watch->poll); /* before libcurl closes the descriptor */
      uv_close((uv_handle_t *)&watch->poll, watch_on_close);
      (void)curl_multi_assign(multi->curl, fd, NULL); /* fails only for a socket it does not know */
    }
    return 0;
  }
  if (watch == NULL) {
    watch = watch_new(multi, fd);
    if (watch == NULL) {
      return -1;
    }
    (void)curl_multi_assign(multi->curl, fd, watch);
  }
  return uv_poll_start(&watch->poll, events, watch_on_event) < 0 ? -1 : 0;
}

/* --- life of the engine --- */

static bool multi_configure(struct sip_multi *multi)
{
  CURLM *curl = multi->curl;

  return curl_multi_setopt(curl, CURLMOPT_SOCKETFUNCTION, multi_set_socket) == CURLM_OK &&
         curl_multi_setopt(curl, CURLMOPT_SOCKETDATA, multi) == CURLM_OK &&
         curl_multi_setopt(curl, CURLMOPT_TIMERFUNCTION, multi_set_timer) == CURLM_OK &&
         curl_multi_setopt(curl, CURLMOPT_TIMERDATA, multi) == CURLM_OK &&
         curl_multi_setopt(curl, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)MAX_CONNECTIONS) ==
           CURLM_OK &&
         curl_multi_setopt(curl, CURLMOPT_MAX_HOST_CONNECTIONS, (long)MAX_PER_HOST) == CURLM_OK &&
         curl_multi_setopt(curl, CURLMOPT_MAXCONNECTS, (long)MAX_IDLE) == CURLM_OK;
}

int sip_multi_new(struct sip_multi **out, uv_loop_t *loop, struct sip_err *err)
{
  struct sip_multi *multi;

  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return sip_err_set(err, UV_ENOMEM, "libcurl does not start");
  }
  multi = calloc(1, sizeof *multi);
  if (multi == NULL || (multi->curl = curl_multi_init()) == NULL || !multi_configure(multi)) {
    if (multi != NULL && multi->curl != NULL) {
      (void)curl_multi_cleanup(multi->curl);
    }
    free(multi);
    curl_global_cleanup();
    return sip_err_set(err, UV_ENOMEM, "no memory for the HTTP client");
  }
  multi->loop = loop;
  sip_list_init(&multi->transfers);
  (void)uv_timer_init(loop, &multi->timer); /* always 0, as is the next */
  (void)uv_timer_init(loop, &multi->sweep);
  multi->timer.data = multi;
  multi->sweep.data = multi;
  uv_unref((uv_handle_t *)&multi->timer); /* `sweep` holds the loop while there are transfers */
  multi->handles = 2;
  *out = multi;
  return 0;
}

void sip_multi_close(struct sip_multi *multi)
{
  CURLM *curl;

  if (multi == NULL || multi->curl == NULL) {
    return;
  }
  assert(!multi->in_curl);
  multi_end_all(multi, CURLE_ABORTED_BY_CALLBACK, true);
  curl = multi->curl;
  if (curl == NULL) {
    return; /* closed by an on_done meanwhile */
  }
  (void)curl_multi_cleanup(curl); /* takes the watches of idle connections away */
  multi->curl = NULL;
  uv_close((uv_handle_t *)&multi->timer, multi_on_close);
  uv_close((uv_handle_t *)&multi->sweep, multi_on_close);
}

/* --- transfers --- */

int sip_transfer_init(struct sip_transfer *transfer, const struct sip_easy_options *options,
                      struct sip_err *err)
{
  int rc;

  sip_list_init(&transfer->link);
  transfer->timeout_ms = options->timeout_ms;
  rc = sip_easy_new(&transfer->easy, options, transfer->detail, err);
  if (rc == 0) {
    (void)curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer); /* stores the pointer */
  }
  return rc;
}

int sip_multi_add(struct sip_multi *multi, struct sip_transfer *transfer,
                  sip_transfer_done_fn on_done, struct sip_err *err)
{
  if (multi->curl == NULL) {
    return sip_err_set(err, SIP_ECLOSED, "the client is shut down");
  }
  if (multi->count >= MAX_TRANSFERS) {
    return sip_err_set(err, SIP_EQUEUEFULL, "%d transfers are running already", MAX_TRANSFERS);
  }
  transfer->on_done = on_done;
  if (curl_multi_add_handle(multi->curl, transfer->easy) != CURLM_OK) {
    return sip_err_set(err, UV_ENOMEM, "no memory for a transfer");
  }
  transfer->multi = multi;
  uv_update_time(multi->loop);
  transfer->deadline_ms = uv_now(multi->loop) + SWEEP_MS; /* libcurl's own comes first */
  transfer->deadline_ms += transfer->timeout_ms > INT32_MAX ? INT32_MAX : transfer->timeout_ms;
  sip_list_push(&multi->transfers, &transfer->link);
  if (multi->count++ == 0) {
    (void)uv_timer_start(&multi->sweep, multi_on_sweep, SWEEP_MS,
                         SWEEP_MS); /* fails only while closing */
  }
  return 0;
}

void sip_transfer_resume(struct sip_transfer *transfer)
{
  CURLcode code;

  if (transfer->multi == NULL) {
    return;
  }
  code = curl_easy_pause(transfer->easy, CURLPAUSE_CONT); /* delivers what it holds back at once */
  if (code != CURLE_OK) {
    multi_end(transfer->multi, transfer, code); /* libcurl itself forgets this failure */
  }
}

void sip_transfer_deinit(struct sip_transfer *transfer)
{
  if (transfer->multi != NULL) {
    assert(!transfer->multi->in_curl);
    multi_unlink(transfer->multi, transfer);
  }
  if (transfer->easy != NULL) {
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
  }
}
