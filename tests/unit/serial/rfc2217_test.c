/* rfc2217_test.c - ports over TCP: raw, and RFC 2217 with a server that is as strict as the RFC. */
#include "lines.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SE = 240, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255 };

static int listen_somewhere(uint16_t *port)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 4) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
  *port = ntohs(address.sin_port);
  return fd;
}

/* --- raw --- */

static void a_connection_is_a_port(void)
{
  struct lines lines;
  struct probe host;
  char name[64], byte[8];
  uint16_t port;
  int listener = listen_somewhere(&port), peer;

  lines_begin(&lines);
  (void)snprintf(name, sizeof name, "tcp://127.0.0.1:%u", port);
  probe_open(&lines, &host, &sip_protocol_raw, name, NULL, false);
  for (int round = 0; round < 2; round++) {
    peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0 && write(peer, "ab\xff", 3) == 3);
    probe_expect(&host, "ab\xff", 3);
    probe_write(&host, "cd", 2);
    CHECK_INT(recv(peer, byte, 2, MSG_WAITALL), 2);
    CHECK(memcmp(byte, "cd", 2) == 0);
    CHECK(close(peer) == 0); /* and it comes back by itself */
    probe_await_link(&host, false);
    probe_await_link(&host, true);
  }
  probe_close(&host);
  lines_end(&lines);
  CHECK(close(listener) == 0);
}

/* A server that does not answer: no room for further connections. Its port's opening takes five
 * seconds to fail; whoever ends the program does not wait for it. */
static void an_opening_that_hangs_holds_nobody_up(void)
{
  static const struct sip_note none = { .name = "settings" };
  struct sip_port_settings place = { .line = sip_protocol_raw.line };
  struct sip_serial_options options = { .protocol = &sip_protocol_raw,
                                        .settings = &none,
                                        .port = &place };
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof address;
  struct lines lines;
  struct probe host, board;
  struct sip_err err = { 0 };
  uint64_t begun_ms;
  uint16_t port;
  int listener = listen_somewhere(&port), others[8];

  CHECK_INT(listen(listener, 0), 0);
  CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
  for (int i = 0; i < 8; i++) {
    others[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(others[i] >= 0);
    (void)connect(others[i], (struct sockaddr *)&address, size); /* some of them hang already */
  }
  lines_begin(&lines);
  (void)snprintf(place.name, sizeof place.name, "tcp://127.0.0.1:%u", port);
  CHECK_INT(probe_try(&lines, &host, &options, &err), 0);
  probe_open(&lines, &board, &sip_protocol_raw, "", NULL, true); /* the other has begun by then */
  begun_ms = uv_hrtime() / 1000000;
  probe_close(&host);
  probe_close(&board);
  lines_end(&lines);
  CHECK(uv_hrtime() / 1000000 - begun_ms < 4000);
  for (int i = 0; i < 8; i++) {
    CHECK(close(others[i]) == 0);
  }
  CHECK(close(listener) == 0);
}

static int try_open(const char *name, struct sip_serial_port **port, struct sip_err *err)
{
  struct sip_port_settings settings = { .line = { 115200, 8, 2, SIP_PARITY_EVEN, 1, 0 } };

  (void)snprintf(settings.name, sizeof settings.name, "%s", name);
  return sip_port_open(port, &settings, err);
}

static void addresses_that_are_wrong_say_so(void)
{
  struct sip_serial_port *port;
  struct sip_err err = { 0 };
  char name[64];
  uint16_t number;
  int listener = listen_somewhere(&number);

  CHECK(close(listener) == 0);
  (void)snprintf(name, sizeof name, "tcp://127.0.0.1:%u", number);
  CHECK_INT(try_open(name, &port, &err), UV_ECONNREFUSED);
  CHECK_HAS(err.message, name);
  CHECK_INT(try_open("tcp://127.0.0.1", &port, &err), UV_EINVAL);
  CHECK_HAS(err.message, "host:port");
  CHECK_INT(try_open("tcp://:99", &port, &err), UV_EINVAL);
  CHECK_INT(try_open("rfc2217://[::1]:", &port, &err), UV_EINVAL);
  CHECK_INT(try_open("tcp://[::1]:x y", &port, &err), UV_EAI_NONAME);
  CHECK_STR(err.name, "EDNS");
}

/* --- RFC 2217 --- */

/* A server that answers settings, logs what it was told, and sends data back. */
struct server {
  int listener, peer;
  bool refuses;        /* the option */
  unsigned other_baud; /* it sets instead; 0: none */
  bool chatty;         /* it asks for options nobody has, and notifies */
  char log[2048];
  uint8_t in[4096];
  size_t size;
};

static void server_log(struct server *server, const char *format, unsigned a, unsigned b)
{
  size_t used = strlen(server->log);

  (void)snprintf(server->log + used, sizeof server->log - used, format, a, b);
}

static void server_send(struct server *server, const void *bytes, size_t size)
{
  CHECK_INT(send(server->peer, bytes, size, MSG_NOSIGNAL), size);
}

/* @return bytes of the negotiation or the byte of data; 0: needs more */
static size_t server_option(struct server *server, const uint8_t *in, size_t size)
{
  static const uint8_t noise[] = { IAC, DO, 24, IAC, WILL, 1, IAC, SB, 44, 107, 0x30, IAC, SE };
  uint8_t answer[3] = { IAC, 0, in[2] };

  (void)size;
  if (in[1] == WILL && in[2] == 44) {
    answer[1] = server->refuses ? DONT : DO;
    if (server->chatty) {
      server_send(server, noise, sizeof noise); /* in time for what follows */
    }
    server_send(server, answer, 3);
  } else if (in[2] != 0 && in[2] != 3) {
    server_log(server, "option %u %u;", in[1], in[2]);
  }
  return 3;
}

static size_t server_sub(struct server *server, const uint8_t *in, size_t size)
{
  uint8_t body[16], answer[64] = { IAC, SB };
  size_t at = 2, count = 0, n = 2;
  uint32_t value = 0;

  for (;;) {
    if (at + 1 >= size) {
      return 0;
    }
    if (in[at] == IAC && in[at + 1] == SE) {
      break;
    }
    if (in[at] == IAC) {
      CHECK_INT(in[at + 1], IAC); /* a byte FF is doubled here, too */
      at++;
    }
    CHECK(count < sizeof body);
    body[count++] = in[at++];
  }
  CHECK(count >= 2 && body[0] == 44);
  for (size_t i = 2; i < count; i++) {
    value = value << 8 | body[i];
  }
  CHECK_INT(count - 2, body[1] == 1 ? 4 : 1);
  server_log(server, "%u=%u;", body[1], value);
  if (body[1] == 1 && server->other_baud != 0) {
    value = server->other_baud;
  }
  answer[n++] = 44;
  answer[n++] = (uint8_t)(body[1] + 100);
  for (size_t i = count - 2; i > 0; i--) {
    answer[n++] = (uint8_t)(value >> (8 * (i - 1)));
    if (answer[n - 1] == IAC) {
      answer[n++] = IAC;
    }
  }
  answer[n++] = IAC;
  answer[n++] = SE;
  server_send(server, answer, n);
  return at + 2;
}

static void server_data(struct server *server, uint8_t byte)
{
  static const uint8_t suspend[] = { IAC, SB, 44, 108, IAC, SE };
  static const uint8_t resume[] = { IAC, SB, 44, 109, IAC, SE };
  uint8_t twice[] = { byte, byte };

  if (byte == 'S') {
    server_send(server, suspend, sizeof suspend);
    server_send(server, "s", 1);
  } else if (byte == 'R') { /* of a port of its own: see the test */
    server_send(server, resume, sizeof resume);
  } else {
    server_send(server, twice, byte == IAC ? 2 : 1);
  }
}

static void *server_run(void *arg)
{
  struct server *server = arg;
  ssize_t got;

  server->peer = accept(server->listener, NULL, NULL);
  CHECK(server->peer >= 0);
  while ((got = recv(server->peer, server->in + server->size, sizeof server->in - server->size,
                     0)) > 0) {
    size_t at = 0;

    server->size += (size_t)got;
    while (at < server->size) {
      const uint8_t *in = server->in + at;
      size_t left = server->size - at, taken = 1;

      if (in[0] != IAC) {
        server_data(server, in[0]);
      } else if (left >= 2 && in[1] == IAC) {
        server_data(server, IAC);
        taken = 2;
      } else if (left >= 3 && in[1] == SB) {
        taken = server_sub(server, in, left);
      } else {
        CHECK(left < 3 || (in[1] >= WILL && in[1] <= DONT));
        taken = left >= 3 ? server_option(server, in, left) : 0;
      }
      if (taken == 0) {
        break;
      }
      at += taken;
    }
    server->size -= at;
    memmove(server->in, server->in + at, server->size);
  }
  CHECK(close(server->peer) == 0);
  return NULL;
}

static pthread_t server_start(struct server *server, char *name, size_t size)
{
  pthread_t thread;
  uint16_t port;

  server->listener = listen_somewhere(&port);
  (void)snprintf(name, size, "rfc2217://127.0.0.1:%u", port);
  CHECK_INT(pthread_create(&thread, NULL, server_run, server), 0);
  return thread;
}

static void server_end(struct server *server, pthread_t thread)
{
  CHECK_INT(pthread_join(thread, NULL), 0);
  CHECK(close(server->listener) == 0);
}

/* Reads exactly so many bytes. */
static void port_read(struct sip_serial_port *port, uint8_t *bytes, size_t size)
{
  struct sip_err err = { 0 };

  for (size_t got = 0; got < size;) {
    struct pollfd wait = { .fd = port->fd, .events = POLLIN };
    long more;

    CHECK_INT(poll(&wait, 1, 20000), 1);
    more = port->ops->read(port, bytes + got, size - got, &err);
    CHECK(more >= 0);
    got += (size_t)more;
  }
}

static void port_write(struct sip_serial_port *port, const uint8_t *bytes, size_t size)
{
  struct sip_err err = { 0 };

  for (size_t put = 0; put < size;) {
    struct pollfd wait = { .fd = port->fd, .events = POLLOUT };
    long more;

    CHECK_INT(poll(&wait, 1, 20000), 1);
    more = port->ops->write(port, bytes + put, size - put, &err);
    CHECK(more >= 0);
    put += (size_t)more;
  }
}

static struct sip_serial_port *open_through(const char *name)
{
  struct sip_serial_port *port = NULL;
  struct sip_err err = { 0 };

  if (try_open(name, &port, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return port;
}

static void settings_reach_the_server(void)
{
  struct server server = { .chatty = true };
  struct sip_port_lines lines = { 0, 1, -1, -1, -1, -1 };
  struct sip_err err = { 0 };
  struct sip_serial_port *port;
  uint8_t byte;
  char name[64];
  pthread_t thread = server_start(&server, name, sizeof name);

  port = open_through(name);
  CHECK_INT(port->ops->lines(port, &lines, &err), 0);
  CHECK_INT(lines.dtr, 0);
  CHECK_INT(lines.rts, 1);
  CHECK_INT(lines.cts, 1); /* of the notice 30 */
  CHECK_INT(lines.dsr, 1);
  CHECK_INT(lines.dcd, 0);
  CHECK_INT(port->ops->brk(port, true, &err), 0);
  CHECK_INT(port->ops->brk(port, false, &err), 0);
  port_write(port, (const uint8_t *)"x", 1);
  port_read(port, &byte, 1);
  CHECK_INT(byte, 'x');
  sip_port_close(port);
  server_end(&server, thread);
  /* 115200 8E2, DTR on and RTS off; then as above. Options it does not have are declined. */
  CHECK_STR(server.log, "option 252 24;option 254 1;1=115200;2=8;3=3;4=2;5=1;11=240;12=3;5=8;5=12;"
                        "5=9;5=11;5=5;5=6;");
}

static void every_byte_crosses(void)
{
  struct server server = { 0 };
  struct sip_serial_port *port;
  uint8_t all[3 * 256], back[sizeof all];
  char name[64];
  pthread_t thread = server_start(&server, name, sizeof name);

  for (size_t i = 0; i < sizeof all; i++) {
    all[i] = (uint8_t)(i % 3 == 0 ? IAC : i);
    all[i] = all[i] == 'S' || all[i] == 'R' ? 'x' : all[i];
  }
  port = open_through(name);
  port_write(port, all, sizeof all);
  port_read(port, back, sizeof back);
  CHECK(memcmp(all, back, sizeof all) == 0);
  sip_port_close(port);
  server_end(&server, thread);
}

static void a_server_may_ask_for_a_pause(void)
{
  struct server server = { 0 };
  struct sip_serial_port *port;
  uint8_t byte;
  char name[64];
  pthread_t thread = server_start(&server, name, sizeof name);

  port = open_through(name);
  port_write(port, (const uint8_t *)"S", 1);
  port_read(port, &byte, 1);
  CHECK_INT(byte, 's');
  CHECK(port->held);
  port_write(port, (const uint8_t *)"Rx", 2); /* as if the server had waited for it */
  port_read(port, &byte, 1);
  CHECK_INT(byte, 'x');
  CHECK(!port->held);
  sip_port_close(port);
  server_end(&server, thread);
}

static void a_server_that_does_otherwise_is_refused(void)
{
  struct server server = { .refuses = true };
  struct sip_serial_port *port;
  struct sip_err err = { 0 };
  char name[64];
  pthread_t thread = server_start(&server, name, sizeof name);

  CHECK_INT(try_open(name, &port, &err), UV_ENOTSUP);
  CHECK_HAS(err.message, "tcp://");
  server_end(&server, thread);
  server = (struct server){ .other_baud = 9600 };
  thread = server_start(&server, name, sizeof name);
  CHECK_INT(try_open(name, &port, &err), UV_EINVAL);
  CHECK_HAS(err.message, "baud 9600, not 115200");
  server_end(&server, thread);
}

int main(void)
{
  a_connection_is_a_port();
  an_opening_that_hangs_holds_nobody_up();
  addresses_that_are_wrong_say_so();
  settings_reach_the_server();
  every_byte_crosses();
  a_server_may_ask_for_a_pause();
  a_server_that_does_otherwise_is_refused();
  (void)printf("ok\n");
  return 0;
}
