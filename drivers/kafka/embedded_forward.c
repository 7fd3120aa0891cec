/* embedded_forward.c - a small TCP forwarder with a loop and a thread of its own.
 *
 * A link is a pair of connections; what one side sends is written to the other, and reading pauses
 * until it is written, so a link never holds more than one buffer per side. When one side ends,
 * both are closed. */
#include "kafka/embedded_forward.h"

#include "core/base.h"
#include "core/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FORWARD_MAX_LINKS = 256, FORWARD_BACKLOG = 64, FORWARD_BUFFER_BYTES = 16 * 1024 };

struct forward_side {
  uv_tcp_t tcp;
  uv_write_t write; /* of what this side read, to the other */
  struct forward_link *link;
  struct forward_side *other;
  char bytes[FORWARD_BUFFER_BYTES];
};

struct forward_link {
  struct sip_list node; /* in forward->links */
  struct sip_forward *forward;
  struct forward_side client, server;
  uv_connect_t connect;
  int open; /* handles whose close callback has not run */
  bool closing;
};

struct sip_forward {
  uv_loop_t loop; /* the thread's, once it runs */
  uv_tcp_t listener;
  uv_async_t stop; /* any thread: sent by sip_forward_stop */
  struct sockaddr_in target;
  struct sip_list links;
  size_t link_count;
  pthread_t thread;
};

static void side_on_close(uv_handle_t *handle)
{
  struct forward_link *link = SIP_CONTAINER(handle, struct forward_side, tcp)->link;

  if (--link->open == 0) {
    sip_list_remove(&link->node);
    link->forward->link_count--;
    free(link);
  }
}

static void link_close(struct forward_link *link)
{
  if (!link->closing) {
    link->closing = true;
    uv_close((uv_handle_t *)&link->client.tcp, side_on_close);
    uv_close((uv_handle_t *)&link->server.tcp, side_on_close);
  }
}

static void side_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  struct forward_side *side = SIP_CONTAINER(handle, struct forward_side, tcp);

  (void)suggested;
  *buf = uv_buf_init(side->bytes, sizeof side->bytes);
}

static void side_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf);

static void side_on_written(uv_write_t *write, int status)
{
  struct forward_side *side = SIP_CONTAINER(write, struct forward_side, write);

  if (side->link->closing) {
    return;
  }
  if (status < 0 || uv_read_start((uv_stream_t *)&side->tcp, side_on_alloc, side_on_read) < 0) {
    link_close(side->link);
  }
}

static void side_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
  struct forward_side *side = SIP_CONTAINER(stream, struct forward_side, tcp);
  uv_buf_t out = uv_buf_init(buf->base, (unsigned)(len < 0 ? 0 : len));

  if (len == 0 || side->link->closing) {
    return;
  }
  (void)uv_read_stop(stream); /* always 0 */
  if (len < 0 ||
      uv_write(&side->write, (uv_stream_t *)&side->other->tcp, &out, 1, side_on_written) < 0) {
    link_close(side->link);
  }
}

static void link_on_connect(uv_connect_t *connect, int status)
{
  struct forward_link *link = SIP_CONTAINER(connect, struct forward_link, connect);

  if (link->closing) {
    return;
  }
  if (status < 0 ||
      uv_read_start((uv_stream_t *)&link->client.tcp, side_on_alloc, side_on_read) < 0 ||
      uv_read_start((uv_stream_t *)&link->server.tcp, side_on_alloc, side_on_read) < 0) {
    link_close(link);
  }
}

static void forward_on_connection(uv_stream_t *listener, int status)
{
  struct sip_forward *forward = SIP_CONTAINER(listener, struct sip_forward, listener);
  struct forward_link *link = status < 0 ? NULL : calloc(1, sizeof *link);

  if (link == NULL) {
    return; /* the connection waits in the backlog */
  }
  sip_list_init(&link->node);
  sip_list_push(&forward->links, &link->node);
  forward->link_count++;
  link->forward = forward;
  link->client.link = link->server.link = link;
  link->client.other = &link->server;
  link->server.other = &link->client;
  (void)uv_tcp_init(&forward->loop,
                    &link->client.tcp); /* cannot fail without a socket of its own */
  (void)uv_tcp_init(&forward->loop, &link->server.tcp);
  link->open = 2;
  if (uv_accept(listener, (uv_stream_t *)&link->client.tcp) < 0 ||
      forward->link_count > FORWARD_MAX_LINKS ||
      uv_tcp_connect(&link->connect, &link->server.tcp, (const struct sockaddr *)&forward->target,
                     link_on_connect) < 0) {
    link_close(link);
  }
}

static void forward_on_stop(uv_async_t *stop)
{
  struct sip_forward *forward = SIP_CONTAINER(stop, struct sip_forward, stop);

  uv_close((uv_handle_t *)&forward->stop, NULL);
  uv_close((uv_handle_t *)&forward->listener, NULL);
  for (struct sip_list *at = forward->links.next; at != &forward->links; at = at->next) {
    link_close(SIP_CONTAINER(at, struct forward_link, node));
  }
}

static void *forward_main(void *arg)
{
  struct sip_forward *forward = arg;

  (void)pthread_setname_np(pthread_self(), "sip-forward"); /* a name is for people only */
  (void)uv_run(&forward->loop, UV_RUN_DEFAULT);
  return NULL;
}

/* Listens; the loop runs later on its own thread. */
static int forward_listen(struct sip_forward *forward, uint16_t port, struct sip_err *err)
{
  struct sockaddr_in here;
  int rc = uv_ip4_addr("127.0.0.1", port, &here);

  if (rc == 0) {
    rc = uv_tcp_bind(&forward->listener, (const struct sockaddr *)&here, 0);
  }
  if (rc == 0) {
    rc = uv_listen((uv_stream_t *)&forward->listener, FORWARD_BACKLOG, forward_on_connection);
  }
  if (rc < 0) {
    return sip_err_set(
      err, rc, "embedded broker on 127.0.0.1:%u: %s%s", (unsigned)port, uv_strerror(rc),
      rc == UV_EADDRINUSE ? " (is another sipeat or a Kafka running? choose another port)" : "");
  }
  return 0;
}

static int forward_target(struct sip_forward *forward, const char *target, struct sip_err *err)
{
  char host[64];
  const char *colon = strrchr(target, ':');

  if (colon == NULL || (size_t)(colon - target) >= sizeof host) {
    return sip_err_set(err, UV_EINVAL, "embedded broker: no port in %s", target);
  }
  memcpy(host, target, (size_t)(colon - target));
  host[colon - target] = '\0';
  if (uv_ip4_addr(host, (int)strtoul(colon + 1, NULL, 10), &forward->target) < 0) {
    return sip_err_set(err, UV_EINVAL, "embedded broker: %s is no address", target);
  }
  return 0;
}

int sip_forward_start(struct sip_forward **out, uint16_t port, const char *target,
                      struct sip_err *err)
{
  struct sip_forward *forward = calloc(1, sizeof *forward);
  int rc = forward == NULL ? UV_ENOMEM : uv_loop_init(&forward->loop);

  if (rc < 0) {
    free(forward);
    return sip_err_set(err, rc, "embedded broker: %s", uv_strerror(rc));
  }
  sip_list_init(&forward->links);
  rc = uv_async_init(&forward->loop, &forward->stop, forward_on_stop);
  if (rc < 0) {
    (void)uv_loop_close(&forward->loop); /* it has no handle */
    free(forward);
    return sip_err_set(err, rc, "embedded broker: %s", uv_strerror(rc));
  }
  (void)uv_tcp_init(&forward->loop,
                    &forward->listener); /* cannot fail without a socket of its own */
  rc = forward_target(forward, target, err);
  if (rc == 0) {
    rc = forward_listen(forward, port, err);
  }
  if (rc == 0) {
    rc = -pthread_create(&forward->thread, NULL, forward_main, forward);
    if (rc < 0) {
      (void)sip_err_errno(err, -rc, "embedded broker: cannot start a thread");
    }
  }
  if (rc < 0) {
    forward_on_stop(&forward->stop);
    (void)uv_run(&forward->loop, UV_RUN_DEFAULT); /* only the close callbacks are left */
    (void)uv_loop_close(&forward->loop);
    free(forward);
    return rc;
  }
  *out = forward;
  return 0;
}

void sip_forward_stop(struct sip_forward *forward)
{
  if (forward == NULL) {
    return;
  }
  (void)uv_async_send(&forward->stop); /* fails only on a closed handle */
  (void)pthread_join(forward->thread, NULL);
  (void)uv_loop_close(&forward->loop); /* uv_run came back because it is empty */
  free(forward);
}
