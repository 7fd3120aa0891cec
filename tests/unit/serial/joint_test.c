/* joint_test.c - a party and a port, joined, on a time of our own: settling, pauses between
 * attempts, output that does not leave, the end. No thread runs. */
#include "serial/joint.h"
#include "serial/raw.h"
#include "support/test.h"

#include <poll.h>

enum { SECOND = 1000000, MS = 1000 };

/* A port that does as it is told. */
struct wire {
  struct sip_serial_port port;
  const char *comes; /* read next; NULL: nothing */
  bool gone;         /* a read finds the end */
  size_t takes;      /* bytes of each write */
  char sent[SIP_SERIAL_OUTPUT + 4096];
  size_t sent_size;
  bool leaves; /* what was taken leaves the machine */
};

static int closed; /* ports */

static struct wire *wire_of(struct sip_serial_port *port)
{
  return SIP_CONTAINER(port, struct wire, port);
}

static long wire_read(struct sip_serial_port *port, void *bytes, size_t size, struct sip_err *err)
{
  struct wire *wire = wire_of(port);
  size_t length = wire->comes == NULL ? 0 : strlen(wire->comes);

  CHECK(length <= size);
  if (length == 0 && wire->gone) {
    return sip_err_set(err, UV_EOF, "the end");
  }
  memcpy(bytes, wire->comes == NULL ? "" : wire->comes, length);
  wire->comes = NULL;
  return (long)length;
}

static long wire_write(struct sip_serial_port *port, const void *bytes, size_t size,
                       struct sip_err *err)
{
  struct wire *wire = wire_of(port);
  size_t taken = size < wire->takes ? size : wire->takes;

  (void)err;
  CHECK(wire->sent_size + taken <= sizeof wire->sent);
  memcpy(wire->sent + wire->sent_size, bytes, taken);
  wire->sent_size += taken;
  return (long)taken;
}

static bool wire_drained(struct sip_serial_port *port)
{
  return wire_of(port)->leaves;
}

static void wire_close(struct sip_serial_port *port)
{
  closed++;
  free(wire_of(port));
}

static struct wire *wire_new(void)
{
  static const struct sip_port_ops ops = { wire_read,         wire_write,        wire_drained,
                                           sip_port_no_lines, sip_port_no_break, wire_close };
  struct wire *wire = calloc(1, sizeof *wire);

  CHECK(wire != NULL);
  wire->port.ops = &ops;
  wire->port.fd = -1;
  wire->takes = SIZE_MAX;
  (void)snprintf(wire->port.path, sizeof wire->port.path, "/dev/ttyUSB0");
  (void)snprintf(wire->port.stable, sizeof wire->port.stable, "/dev/serial/by-path/x");
  return wire;
}

/* A party that writes down what it is told. */
static struct {
  struct sip_party party;
  int ups, downs;
  char heard[256];
} board;

static void board_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  (void)party, (void)now_us;
  board.ups += up;
  board.downs += !up;
}

static void board_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes,
                           size_t size)
{
  (void)party, (void)now_us;
  CHECK(strlen(board.heard) + size < sizeof board.heard);
  (void)strncat(board.heard, (const char *)bytes, size);
}

static int64_t board_due_us(const struct sip_party *party)
{
  (void)party;
  return SIP_NEVER_US;
}

static void board_on_due(struct sip_party *party, int64_t now_us)
{
  (void)party, (void)now_us;
  SIP_TEST_FAIL("it is never due");
}

static int board_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err)
{
  (void)party, (void)now_us, (void)command;
  return sip_err_set(err, UV_EINVAL, "it knows none");
}

static void board_free(struct sip_party *party)
{
  (void)party;
}

static struct sip_party *board_new(const struct sip_note *settings, struct sip_line *line,
                                   struct sip_err *err)
{
  static const struct sip_party_ops ops = { board_on_link, board_on_bytes, board_due_us,
                                            board_on_due,  board_command,  board_free };

  (void)settings, (void)err;
  memset(&board, 0, sizeof board);
  board.party.ops = &ops;
  board.party.line = line;
  return &board.party;
}

static const struct sip_protocol board_protocol = {
  .name = "board", .proof = "none", .engine = board_new, .simulator = board_new
};

static struct sip_serial *serial;
static struct sip_serial_line *shared;

static struct sip_joint *begin(const struct sip_protocol *protocol, bool patient,
                               unsigned settle_ms)
{
  static const struct sip_note none = { .name = "settings" };
  struct sip_port_settings port = { .name = "/dev/ttyUSB0" };
  struct sip_serial_options options = { .protocol = protocol,
                                        .settings = &none,
                                        .port = &port,
                                        .reopen = true,
                                        .patient = patient,
                                        .settle_ms = settle_ms };
  struct sip_err err = { 0 };
  struct sip_joint *joint;

  CHECK_INT(sip_serial_new(&serial, &err), 0);
  shared = sip_line_new(serial, &err);
  CHECK(shared != NULL);
  joint = sip_joint_new(shared, &options, &err);
  CHECK(joint != NULL);
  closed = 0;
  return joint;
}

static void end(struct sip_joint *joint)
{
  sip_joint_free(joint);
  sip_line_unref(shared);
  sip_serial_unref(serial); /* the line's */
  sip_serial_unref(serial);
}

static struct wire *open_at(struct sip_joint *joint, int64_t now_us)
{
  struct wire *wire = wire_new();

  sip_joint_on_opened(joint, now_us, &wire->port, NULL);
  return wire;
}

static int speak(const char *bytes)
{
  return board.party.line->send(board.party.line, bytes, strlen(bytes));
}

static void what_a_board_says_while_it_starts_is_dropped(void)
{
  struct sip_joint *joint = begin(&board_protocol, false, 500);
  struct wire *wire = open_at(joint, 0);

  CHECK_INT(board.ups, 0);
  CHECK_INT(sip_joint_due_us(joint), 500 * MS);
  wire->comes = "banner";
  sip_joint_on_ready(joint, 100 * MS, POLLIN);
  sip_joint_on_due(joint, 499 * MS);
  CHECK_INT(board.ups, 0);
  sip_joint_on_due(joint, 500 * MS);
  CHECK_INT(board.ups, 1);
  wire->comes = "news";
  sip_joint_on_ready(joint, 600 * MS, POLLIN);
  CHECK_STR(board.heard, "news");
  end(joint);
  CHECK_INT(closed, 1);
}

static void pauses_between_attempts_grow_to_two_seconds(void)
{
  static const int expected_ms[] = { 100, 200, 400, 800, 1600, 2000, 2000 };
  struct sip_joint *joint = begin(&board_protocol, true, 0);
  struct sip_err err = { 0 };
  int64_t now_us = 0;

  (void)sip_err_set(&err, UV_ENOENT, "it is not there");
  for (size_t i = 0; i < sizeof expected_ms / sizeof expected_ms[0]; i++) {
    CHECK(sip_joint_wants_port(joint, now_us));
    sip_joint_on_opened(joint, now_us, NULL, &err);
    CHECK_INT(sip_joint_due_us(joint) - now_us, expected_ms[i] * MS);
    CHECK(!sip_joint_wants_port(joint, sip_joint_due_us(joint) - 1));
    now_us = sip_joint_due_us(joint);
  }
  (void)open_at(joint, now_us);
  CHECK(!sip_joint_wants_port(joint, now_us));
  CHECK_STR(joint->settings.name, "/dev/serial/by-path/x"); /* ttyUSB0 may be another one soon */
  sip_joint_on_ready(joint, now_us + SECOND, POLLHUP);      /* it comes and goes: no hurry */
  CHECK_INT(sip_joint_due_us(joint) - now_us, SECOND + 2000 * MS);
  CHECK_INT(board.downs, 1);
  now_us += 10 * SECOND;
  (void)open_at(joint, now_us);
  now_us += 11 * SECOND; /* one that was there for long is tried soon */
  sip_joint_on_ready(joint, now_us, POLLERR);
  CHECK_INT(sip_joint_due_us(joint) - now_us, 100 * MS);
  end(joint);
  CHECK_INT(closed, 2);
}

static void a_port_that_never_was_is_left_alone(void)
{
  struct sip_joint *joint = begin(&board_protocol, false, 0);
  struct sip_err err = { 0 };

  (void)sip_err_set(&err, UV_ENOENT, "it is not there");
  sip_joint_on_opened(joint, 0, NULL, &err);
  CHECK(sip_joint_due_us(joint) == SIP_NEVER_US);
  CHECK(!sip_joint_wants_port(joint, 1000 * (int64_t)SECOND));
  CHECK_INT(speak("x"), UV_ENOTCONN);
  end(joint);
}

static void last_words_are_heard_before_the_loss(void)
{
  struct sip_joint *joint = begin(&board_protocol, false, 0);
  struct wire *wire = open_at(joint, 0);

  wire->comes = "last words";
  wire->gone = true;
  sip_joint_on_ready(joint, 1, POLLIN | POLLHUP);
  CHECK_STR(board.heard, "last words");
  CHECK_INT(board.downs, 0);
  sip_joint_on_ready(joint, 2, POLLIN | POLLHUP);
  CHECK_INT(board.downs, 1);
  CHECK_INT(closed, 1);
  CHECK_INT(speak("x"), UV_ENOTCONN);
  end(joint);
}

static void output_leaves_in_order_as_the_port_takes_it(void)
{
  static char piece[5001];
  struct sip_joint *joint = begin(&board_protocol, false, 0);
  struct wire *wire = open_at(joint, 0);
  size_t total = 0;

  wire->takes = 777;
  for (int round = 0; round < 12; round++) { /* more than the ring, which goes round */
    memset(piece, 'a' + round, sizeof piece - 1);
    CHECK_INT(speak(piece), 0);
    total += sizeof piece - 1;
    CHECK(sip_joint_events(joint) & POLLOUT);
    for (int turn = 0; turn < 6; turn++) {
      sip_joint_on_ready(joint, 0, POLLOUT);
    }
    if (round == 5) { /* the wire has no room for more than the ring */
      wire->sent_size = 0;
      total = joint->out_size;
    }
  }
  while (joint->out_size > 0) {
    sip_joint_on_ready(joint, 0, POLLOUT);
  }
  CHECK_INT(wire->sent_size, total);
  for (size_t i = 1; i < wire->sent_size; i++) {
    CHECK(wire->sent[i] >= wire->sent[i - 1]);
  }
  CHECK_INT(sip_joint_events(joint), POLLIN);
  end(joint);
}

static void output_that_does_not_leave_is_a_loss(void)
{
  struct sip_joint *joint = begin(&board_protocol, false, 0);
  struct wire *wire = open_at(joint, sip_serial_now_us());
  int64_t due_us, begun_us = sip_serial_now_us();

  wire->takes = 0;
  CHECK_INT(speak("order"), 0);
  due_us = sip_joint_due_us(joint);
  CHECK(due_us >= begun_us + 5 * SECOND && due_us <= sip_serial_now_us() + 5 * SECOND);
  sip_joint_on_due(joint, due_us - 1);
  CHECK_INT(board.downs, 0);
  sip_joint_on_due(joint, due_us);
  CHECK_INT(board.downs, 1);
  CHECK_INT(closed, 1);
  CHECK_INT(joint->out_size, 0); /* it will not leave by the next port */
  wire = open_at(joint, due_us);
  wire->port.dumb = true; /* a simulator's: nobody listens, and that is no loss */
  wire->takes = 0;
  CHECK_INT(speak("poll"), 0);
  sip_joint_on_due(joint, sip_joint_due_us(joint));
  CHECK_INT(board.downs, 1);
  CHECK_INT(joint->out_size, 0);
  wire->port.held = true; /* the other end asked for a pause: wait */
  CHECK_INT(speak("poll"), 0);
  CHECK(sip_joint_due_us(joint) == SIP_NEVER_US);
  CHECK_INT(sip_joint_events(joint), POLLIN);
  end(joint);
}

static void raw_bytes_leave_before_the_port_closes(void)
{
  struct sip_joint *joint = begin(&sip_protocol_raw, false, 0);
  struct wire *wire = open_at(joint, 0);
  struct sip_note write = { .name = "write", .ticket = 1 };

  CHECK(sip_note_text(&write, "bytes", "bye"));
  wire->takes = 0;
  sip_joint_command(joint, 0, &write);
  CHECK(!sip_joint_close(joint, sip_serial_now_us()));
  CHECK(!sip_joint_is_over(joint));
  wire->takes = 2;
  sip_joint_on_ready(joint, 0, POLLIN | POLLOUT);
  CHECK(!sip_joint_is_over(joint)); /* the last byte was taken, and has not left */
  CHECK(memcmp(wire->sent, "bye", 3) == 0);
  wire->leaves = true;
  CHECK(sip_joint_is_over(joint));
  end(joint);
  joint = begin(&board_protocol, false, 0); /* an engine's bytes do not leave without it */
  wire = open_at(joint, 0);
  wire->takes = 0;
  CHECK_INT(speak("order"), 0);
  CHECK(sip_joint_close(joint, sip_serial_now_us()));
  CHECK_INT(wire->sent_size, 0);
  end(joint);
}

int main(void)
{
  what_a_board_says_while_it_starts_is_dropped();
  pauses_between_attempts_grow_to_two_seconds();
  a_port_that_never_was_is_left_alone();
  last_words_are_heard_before_the_loss();
  output_leaves_in_order_as_the_port_takes_it();
  output_that_does_not_leave_is_a_loss();
  raw_bytes_leave_before_the_port_closes();
  (void)printf("ok\n");
  return 0;
}
