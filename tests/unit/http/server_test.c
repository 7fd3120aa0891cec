/* server_test.c - the HTTP server against raw sockets: limits, deadlines, hang-ups, hostile
 * requests, the stop. */
#include "http/server.h"

#include "support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static struct sip_server *server;
static struct sip_exchange *held; /* the last exchange that was kept */
static int requests, notified;

static void answer(struct sip_exchange *exchange, const char *text)
{
  struct sip_header type = { { "content-type", 12 }, { "text/plain", 10 } };
  struct sip_slice body = { text, strlen(text) };
  struct sip_err err = { 0 };

  if (sip_exchange_respond(exchange, 200, &type, 1, &body, &err) < 0) {
    SIP_TEST_FAIL("respond: %s", err.message);
  }
  sip_exchange_release(exchange);
}

static void on_notify(struct sip_exchange *exchange, void *arg)
{
  (void)exchange;
  (void)arg;
  notified++;
}

static void on_request(struct sip_exchange *exchange, void *arg)
{
  struct sip_slice body = sip_exchange_body(exchange), host = { "", 0 };
  char text[300], remote[48];

  (void)arg;
  requests++;
  sip_origin_show(sip_exchange_remote(exchange), remote, sizeof remote);
  if (strncmp(sip_exchange_target(exchange), "/hold", 5) == 0) {
    CHECK(held == NULL);
    held = exchange;
    sip_exchange_set_notify(exchange, on_notify, NULL);
    return;
  }
  if (strcmp(sip_exchange_target(exchange), "/release") == 0) {
    sip_exchange_release(exchange); /* without an answer */
    return;
  }
  (void)sip_header_list_find(sip_exchange_headers(exchange), "host", &host);
  (void)snprintf(text, sizeof text, "%s %s from %s, host %.*s, %zu bytes",
                 sip_exchange_method(exchange), sip_exchange_target(exchange), remote,
                 (int)host.len, host.data, body.len);
  answer(exchange, text);
}

/* --- a client --- */

struct client {
  int fd;
  char text[1 << 17]; /* what came */
  size_t len;
  bool closed;
};

static void dial(struct client *client)
{
  struct sockaddr_in address;

  memset(client, 0, sizeof *client);
  CHECK_INT(uv_ip4_addr("127.0.0.1", sip_server_port(server), &address), 0);
  client->fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(client->fd >= 0);
  CHECK_INT(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0);
  CHECK_INT(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

static void turn(struct client *client)
{
  ssize_t got;

  (void)uv_run(&loop, UV_RUN_NOWAIT);
  got = recv(client->fd, client->text + client->len, sizeof client->text - client->len - 1, 0);
  if (got > 0) {
    client->len += (size_t)got;
    client->text[client->len] = '\0';
  } else if (got == 0 || errno != EAGAIN) {
    client->closed = true;
  } else {
    (void)usleep(200); /* not to burn the processor; the deadline is the caller's */
  }
}

static void say(struct client *client, const char *data, size_t len)
{
  size_t sent = 0;

  while (sent < len) {
    ssize_t n = send(client->fd, data + sent, len - sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
      return; /* the server cut it: seen by whoever waits */
    }
    sent += n < 0 ? 0 : (size_t)n;
    turn(client);
  }
}

static void tell(struct client *client, const char *text)
{
  say(client, text, strlen(text));
}

static void wait_for(struct client *client, const char *part)
{
  uint64_t until = uv_hrtime() + 10000000000ull;

  while (strstr(client->text, part) == NULL) {
    turn(client);
    if (uv_hrtime() > until || (client->closed && strstr(client->text, part) == NULL)) {
      SIP_TEST_FAIL("waiting for \"%s\", got \"%s\"%s", part, client->text,
                    client->closed ? " and the end" : "");
    }
  }
}

static void wait_for_end(struct client *client)
{
  uint64_t until = uv_hrtime() + 10000000000ull;

  while (!client->closed) {
    turn(client);
    if (uv_hrtime() > until) {
      SIP_TEST_FAIL("the server does not hang up; got \"%s\"", client->text);
    }
  }
}

static void hang_up(struct client *client)
{
  (void)close(client->fd);
}

static void listen_with(const struct sip_server_options *options)
{
  struct sip_err err = { 0 };

  if (sip_server_start(&server, &loop, options, on_request, NULL, &err) < 0) {
    SIP_TEST_FAIL("start: %s", err.message);
  }
  requests = 0;
  notified = 0;
  held = NULL;
}

static void listen_with_defaults(void)
{
  struct sip_server_options options;

  sip_server_options_init(&options);
  listen_with(&options);
}

static void ask(const char *request, const char *expected)
{
  struct client client;

  dial(&client);
  tell(&client, request);
  wait_for(&client, expected);
  hang_up(&client);
}

/* --- tests --- */

static void requests_are_answered_and_connections_kept(void)
{
  static const char twice[] =
    "GET /a?b=%20 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
  struct client client;

  listen_with_defaults();
  ask("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
      "POST /p from 127.0.0.1, host h, 3 bytes");
  ask("POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
      "POST /c from 127.0.0.1, host h, 3 bytes");
  ask("GET /old HTTP/1.0\r\n\r\n", "GET /old from 127.0.0.1, host , 0 bytes");
  ask("POST /w HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
      "100 Continue");
  ask("GET /release HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 500");
  dial(&client); /* pipelined */
  tell(&client, twice);
  wait_for(&client, "GET /a?b=%20 from");
  wait_for(&client, "GET /b from");
  CHECK(!client.closed);
  hang_up(&client);
  sip_server_free(server);
}

static void hostile_requests_reach_nobody(void)
{
#define POST_LENGTH "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: "
  static const char *const requests_400[] = {
    "GET / HTTP/1.1\r\n\r\n", /* no host */
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    (POST_LENGTH "3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (POST_LENGTH "3\r\nContent-Length: 4\r\n\r\nabcd"),
    (POST_LENGTH "-3\r\n\r\n"),
    (POST_LENGTH "3x\r\n\r\nabc"),
    (POST_LENGTH "+3\r\n\r\nabc"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"),
    "GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n",
  };
#undef POST_LENGTH
  struct client client;

  listen_with_defaults();
  for (size_t i = 0; i < sizeof requests_400 / sizeof requests_400[0]; i++) {
    dial(&client);
    tell(&client, requests_400[i]);
    wait_for_end(&client);
    if (client.len > 0 && strncmp(client.text, "HTTP/1.1 4", 10) != 0) {
      SIP_TEST_FAIL("request %zu is answered with \"%s\"", i, client.text);
    }
    hang_up(&client);
  }
  CHECK_INT(requests, 0);
  sip_server_free(server);
}

static void large_requests_are_refused(void)
{
  static char big[200000];
  struct sip_server_options options;
  struct client client;
  char head[300];

  sip_server_options_init(&options);
  options.max_body_bytes = 1000;
  listen_with(&options);
  memset(big, 'x', sizeof big);
  ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", "HTTP/1.1 413");
  ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 413");
  /* The length says nothing of the next field, whose name has as many bytes as '9' is. */
  (void)snprintf(head, sizeof head,
                 "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n%057d: 0\r\n\r\n%0101d", 0,
                 0);
  ask(head, "from 127.0.0.1, host h, 101 bytes");
  dial(&client); /* in chunks, so that nobody could know before */
  (void)snprintf(head, sizeof head,
                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
                 sizeof big);
  tell(&client, head);
  say(&client, big, sizeof big);
  tell(&client, "\r\n0\r\n\r\n");
  wait_for(&client, "HTTP/1.1 413");
  hang_up(&client);
  dial(&client); /* without an end */
  (void)snprintf(head, sizeof head,
                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", 1 << 30);
  tell(&client, head);
  while (!client.closed) {
    say(&client, big, sizeof big);
  }
  hang_up(&client);
  dial(&client);
  tell(&client, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
  say(&client, big, sizeof big);
  wait_for_end(&client);
  CHECK_HAS(client.text, "HTTP/1.1 431");
  hang_up(&client);
  CHECK_INT(requests, 1);
  sip_server_free(server);
}

static void slow_clients_are_cut_off(void)
{
  struct sip_server_options options;
  struct client silent, drip, body, idle;
  uint64_t before = uv_hrtime();

  sip_server_options_init(&options);
  options.header_timeout_ms = 300;
  options.body_timeout_ms = 300;
  options.idle_timeout_ms = 300;
  listen_with(&options);
  dial(&silent);
  dial(&drip);
  dial(&body);
  dial(&idle);
  tell(&body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
  tell(&idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(&idle, "0 bytes");
  while (!drip.closed) { /* a byte now and then: its own timeout would never come */
    tell(&drip, "G");
    (void)usleep(20000);
    CHECK(uv_hrtime() - before < 10000000000ull);
  }
  wait_for_end(&silent);
  wait_for_end(&body);
  wait_for_end(&idle);
  hang_up(&silent);
  hang_up(&drip);
  hang_up(&body);
  hang_up(&idle);
  CHECK_INT(requests, 1);
  sip_server_free(server);
}

static void connections_are_limited(void)
{
  static struct client clients[5];
  struct sip_server_options options;

  sip_server_options_init(&options);
  options.max_per_client = 3;
  listen_with(&options);
  for (int i = 0; i < 5; i++) {
    dial(&clients[i]);
    tell(&clients[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  for (int i = 0; i < 3; i++) {
    wait_for(&clients[i], "0 bytes");
  }
  wait_for_end(&clients[3]);
  wait_for_end(&clients[4]);
  CHECK_INT(sip_server_connections(server), 3);
  for (int i = 0; i < 5; i++) {
    hang_up(&clients[i]);
  }
  sip_server_free(server);
}

static void await_hold(struct client *client, const char *target)
{
  char request[100];

  (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
  tell(client, request);
  while (held == NULL) {
    turn(client);
  }
}

static void an_answer_may_come_late(void)
{
  struct client client;

  listen_with_defaults();
  dial(&client);
  await_hold(&client, "/hold");
  for (int i = 0; i < 20; i++) {
    turn(&client);
  }
  CHECK_INT(client.len, 0);
  answer(held, "late");
  held = NULL;
  wait_for(&client, "late");
  hang_up(&client);
  dial(&client);
  await_hold(&client, "/hold");
  hang_up(&client); /* nobody is there when the answer comes */
  answer(held, "too late");
  for (int i = 0; i < 20; i++) {
    (void)uv_run(&loop, UV_RUN_NOWAIT);
  }
  CHECK_INT(sip_server_connections(server), 0);
  held = NULL;
  sip_server_free(server);
}

static void headers_of_an_answer_cannot_split_it(void)
{
  static const struct sip_header bad[] = {
    { { "x", 1 }, { "a\r\nb: c", 7 } },   { { "x y", 3 }, { "a", 1 } },
    { { "x", 1 }, { "a\0b", 3 } },        { { "Content-Length", 14 }, { "1", 1 } },
    { { "connection", 10 }, { "x", 1 } },
  };
  struct sip_slice body = { "x", 1 };
  struct client client;

  listen_with_defaults();
  dial(&client);
  await_hold(&client, "/hold");
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK_INT(sip_exchange_respond(held, 200, &bad[i], 1, &body, NULL), UV_EINVAL);
  }
  CHECK_INT(sip_exchange_respond(held, 99, NULL, 0, &body, NULL), UV_EINVAL);
  CHECK_INT(sip_exchange_respond(held, 200, NULL, 0, &body, NULL), 0);
  CHECK_INT(sip_exchange_respond(held, 200, NULL, 0, &body, NULL), SIP_EBUSY);
  sip_exchange_release(held);
  wait_for(&client, "HTTP/1.1 200");
  hang_up(&client);
  sip_server_free(server);
}

static void a_stream_notices_that_its_client_left(void)
{
  struct client client;

  listen_with_defaults();
  dial(&client);
  await_hold(&client, "/hold");
  CHECK_INT(sip_exchange_stream(held, 200, NULL, 0, NULL), 0);
  CHECK_INT(sip_exchange_write(held, "first", 5), 0);
  wait_for(&client, "first");
  CHECK_INT(notified, 0);
  hang_up(&client); /* while nothing is being written */
  while (notified == 0) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  CHECK(sip_exchange_is_gone(held));
  CHECK_INT(sip_exchange_write(held, "second", 6), UV_ECONNRESET);
  sip_exchange_release(held);
  while (sip_server_connections(server) > 0) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  sip_server_free(server);
}

static void a_slow_reader_holds_the_stream(void)
{
  static char block[65536];
  struct client client;
  size_t written = 0, received = 0;
  int rc = 0;

  listen_with_defaults();
  memset(block, 'b', sizeof block);
  dial(&client);
  await_hold(&client, "/hold");
  CHECK_INT(sip_exchange_stream(held, 200, NULL, 0, NULL), 0);
  while (rc == 0) {
    rc = sip_exchange_write(held, block, sizeof block);
    written += sizeof block;
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    CHECK(written < (64u << 20));
  }
  CHECK_INT(rc, 1);
  CHECK_INT(notified, 0);
  while (notified == 0) {
    client.len = 0;
    turn(&client);
    received += client.len;
  }
  CHECK(received > 0);
  sip_exchange_end(held);
  CHECK_INT(sip_exchange_write(held, "x", 1), SIP_ECLOSED);
  do {
    client.len = 0;
    turn(&client);
    received += client.len;
  } while (client.len < 5 || memcmp(client.text + client.len - 5, "0\r\n\r\n", 5) != 0);
  CHECK(received > written);
  sip_exchange_release(held);
  hang_up(&client);
  sip_server_free(server);
}

static void on_stopped(void *arg)
{
  ++*(int *)arg;
}

static void a_stop_waits_for_what_runs(void)
{
  struct client busy, idle, late;
  int stopped = 0;

  listen_with_defaults();
  dial(&busy);
  dial(&idle);
  tell(&idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_for(&idle, "0 bytes");
  await_hold(&busy, "/hold");
  sip_server_stop(server, 10000, on_stopped, &stopped);
  wait_for_end(&idle);
  late.fd = socket(AF_INET, SOCK_STREAM, 0);
  {
    struct sockaddr_in address;

    CHECK_INT(uv_ip4_addr("127.0.0.1", sip_server_port(server), &address), 0);
    CHECK_INT(connect(late.fd, (struct sockaddr *)&address, sizeof address), -1);
  }
  CHECK_INT(stopped, 0);
  answer(held, "finished");
  wait_for(&busy, "finished");
  CHECK_HAS(busy.text, "onnection: close");
  wait_for_end(&busy);
  while (stopped == 0) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  hang_up(&busy);
  hang_up(&idle);
  hang_up(&late);
}

static void the_end_leaves_nothing(void)
{
  struct client holding, streaming, reading;
  struct sip_exchange *stream;
  struct sip_slice body = { "x", 1 };

  listen_with_defaults();
  dial(&streaming);
  await_hold(&streaming, "/hold");
  stream = held;
  held = NULL;
  CHECK_INT(sip_exchange_stream(stream, 200, NULL, 0, NULL), 0);
  dial(&holding);
  await_hold(&holding, "/hold");
  dial(&reading);
  tell(&reading, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
  sip_server_free(server);
  CHECK_INT(sip_exchange_respond(held, 200, NULL, 0, &body, NULL), UV_ECONNRESET);
  CHECK_INT(sip_exchange_write(stream, "x", 1), UV_ECONNRESET);
  sip_exchange_release(held);
  sip_exchange_release(stream);
  hang_up(&holding);
  hang_up(&streaming);
  hang_up(&reading);
}

static void addresses_that_cannot_be_are_refused(void)
{
  struct sip_server_options options;
  struct sip_server *other = NULL;
  struct sip_err err;

  listen_with_defaults();
  sip_server_options_init(&options);
  options.port = sip_server_port(server);
  CHECK_INT(sip_server_start(&other, &loop, &options, on_request, NULL, &err), UV_EADDRINUSE);
  CHECK_HAS(err.message, "listen on 127.0.0.1:");
  CHECK_HAS(err.message, "another program listens there");
  options.host = "mail.example.com";
  CHECK_INT(sip_server_start(&other, &loop, &options, on_request, NULL, &err), UV_EINVAL);
  options.host = "::1";
  options.port = 0;
  if (sip_server_start(&other, &loop, &options, on_request, NULL, &err) ==
      0) { /* no IPv6 in some containers */
    CHECK_HAS(sip_server_address(other), "[::1]:");
    sip_server_free(other);
  }
  sip_server_free(server);
}

int main(void)
{
  CHECK_INT(uv_loop_init(&loop), 0);
  requests_are_answered_and_connections_kept();
  hostile_requests_reach_nobody();
  large_requests_are_refused();
  slow_clients_are_cut_off();
  connections_are_limited();
  an_answer_may_come_late();
  headers_of_an_answer_cannot_split_it();
  a_stream_notices_that_its_client_left();
  a_slow_reader_holds_the_stream();
  a_stop_waits_for_what_runs();
  the_end_leaves_nothing();
  addresses_that_cannot_be_are_refused();
  SIP_TEST_END(&loop);
  return 0;
}
