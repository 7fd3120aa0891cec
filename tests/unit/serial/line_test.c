/* line_test.c - lines over pseudo-terminals: bytes, loss and return of a port, holders, bounds. */
#include "lines.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t now_ms(void)
{
  return (int64_t)(uv_hrtime() / 1000000);
}

static void bytes_cross_both_ways(void)
{
  struct lines lines;
  struct probe board, host;
  struct sip_serial_state state;
  char all[256];

  for (size_t i = 0; i < sizeof all; i++) {
    all[i] = (char)i; /* 0D, 11, 13 and FF too */
  }
  lines_begin(&lines);
  probe_open(&lines, &board, &sip_protocol_raw, "", NULL, true);
  probe_open(&lines, &host, &sip_protocol_raw, probe_path(&board), NULL, false);
  probe_write(&host, all, sizeof all);
  probe_expect(&board, all, sizeof all);
  probe_write(&board, all, sizeof all);
  probe_expect(&host, all, sizeof all);
  sip_serial_state(host.line, &state);
  CHECK(state.up);
  CHECK_INT(state.bytes_in, sizeof all);
  CHECK_INT(state.bytes_out, sizeof all);
  probe_close(&host);
  probe_close(&board);
  lines_end(&lines);
}

static void a_lost_port_is_noticed_and_opened_again(void)
{
  struct lines lines;
  struct probe board, host;
  struct sip_serial_state state;
  char link[] = "/tmp/sipeat-line-XXXXXX";
  struct sip_note write = { .name = "write", .ticket = 5 };
  int64_t begun;
  int fd = mkstemp(link);

  CHECK(fd >= 0 && close(fd) == 0 && unlink(link) == 0); /* a name that nobody has */
  lines_begin(&lines);
  probe_open(&lines, &board, &sip_protocol_raw, link, NULL, true);
  probe_open(&lines, &host, &sip_protocol_raw, link, NULL, false);
  for (int round = 1; round <= 2; round++) {
    begun = now_ms();
    probe_simple(&board, "unplug");
    probe_await_link(&host, false);
    CHECK(now_ms() - begun < 1000);
    CHECK(access(link, F_OK) < 0);
    CHECK(sip_note_bytes(&write, "bytes", "x", 1));
    probe_do(&host, &write);
    write.count = 0;
    CHECK_STR(host.result->name, "refused");
    CHECK_INT(sip_note_number(host.result, "code", 0), UV_ENOTCONN);
    probe_simple(&board, "replug");
    probe_await_link(&host, true);
    probe_write(&host, "again", 5);
    probe_expect(&board, "again", 5);
    sip_serial_state(host.line, &state);
    CHECK_INT(state.lost, round);
    CHECK_INT(state.opened, round + 1);
  }
  probe_close(&host);
  probe_close(&board);
  lines_end(&lines);
  CHECK(access(link, F_OK) < 0); /* it went with its port */
}

static void a_port_that_is_not_there_is_named_or_waited_for(void)
{
  static const struct sip_note none = { .name = "settings" };
  struct lines lines;
  struct probe host, board;
  struct sip_port_settings place = { .name = "/tmp/sipeat-no-such-port" };
  struct sip_serial_options options = {
    .protocol = &sip_protocol_raw, .settings = &none, .port = &place, .reopen = true
  };
  struct sip_err err = { 0 };
  struct sip_note *note;

  lines_begin(&lines);
  (void)snprintf(place.name, sizeof place.name, "/tmp/sipeat-port-%ld", (long)getpid());
  CHECK_INT(probe_try(&lines, &host, &options, &err), 0);
  note = probe_await(&host, "link");
  CHECK_INT(sip_note_number(note, "up", -1), 0);
  CHECK(sip_note_is(note, "code", "ENOENT"));
  CHECK_HAS(sip_note_find(note, "message")->text, "is it plugged in?");
  free(note);
  probe_close(&host);
  options.patient = true;
  CHECK_INT(probe_try(&lines, &host, &options, &err), 0);
  probe_await_link(&host, false);
  probe_open(&lines, &board, &sip_protocol_raw, place.name, NULL, true);
  probe_await_link(&host, true);
  probe_close(&host);
  probe_close(&board);
  lines_end(&lines);
}

/* Opening it fails with EBUSY; the message has `holder`. */
static void check_held(struct lines *lines, const char *path, const char *holder)
{
  static const struct sip_note none = { .name = "settings" };
  struct sip_port_settings place = { .line = sip_protocol_raw.line };
  struct sip_serial_options options = { .protocol = &sip_protocol_raw,
                                        .settings = &none,
                                        .port = &place };
  struct probe second;
  struct sip_err err = { 0 };
  struct sip_note *note;

  (void)snprintf(place.name, sizeof place.name, "%s", path);
  CHECK_INT(probe_try(lines, &second, &options, &err), 0);
  note = probe_await(&second, "link");
  CHECK(sip_note_is(note, "code", "EBUSY"));
  CHECK_HAS(sip_note_find(note, "message")->text, holder);
  free(note);
  probe_close(&second);
}

static void a_port_has_one_master(void)
{
  struct lines lines;
  struct probe board, host;
  char path[SIP_PORT_NAME], holder[32];
  int ready[2], over[2], status, own;
  char byte;
  pid_t child;

  lines_begin(&lines);
  probe_open(&lines, &board, &sip_protocol_raw, "", NULL, true);
  (void)snprintf(path, sizeof path, "%s", probe_path(&board));
  probe_open(&lines, &host, &sip_protocol_raw, path, NULL, false);
  check_held(&lines, path, "this process has it");
  probe_close(&host);
  own = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  CHECK(own >= 0 && flock(own, LOCK_EX) == 0); /* it is closed: a child would inherit the lock */
  CHECK(close(own) == 0);
  CHECK(pipe2(ready, O_CLOEXEC) == 0 && pipe2(over, O_CLOEXEC) == 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) { /* another program, that locks it as others do */
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

    _exit(fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || write(ready[1], "x", 1) != 1 ||
          read(over[0], &byte, 1) != 1);
  }
  CHECK(close(ready[1]) == 0); /* a child that ends is no wait for ever */
  CHECK_INT(read(ready[0], &byte, 1), 1);
  (void)snprintf(holder, sizeof holder, "(process %ld) has it", (long)child);
  check_held(&lines, path, holder);
  CHECK_INT(write(over[1], "x", 1), 1);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  probe_open(&lines, &host, &sip_protocol_raw, path, NULL, false);
  probe_close(&host);
  probe_close(&board);
  CHECK(close(ready[0]) == 0 && close(over[0]) == 0 && close(over[1]) == 0);
  lines_end(&lines);
}

/* A closed line's port is free for the next one, without a pause in between. */
static void a_closed_port_can_be_opened_at_once(void)
{
  struct lines lines;
  struct probe board, host;
  char path[SIP_PORT_NAME];

  lines_begin(&lines);
  probe_open(&lines, &board, &sip_protocol_raw, "", NULL, true);
  (void)snprintf(path, sizeof path, "%s", probe_path(&board));
  for (int i = 0; i < 50; i++) {
    probe_open(&lines, &host, &sip_protocol_raw, path, NULL, false);
    probe_write(&host, "last words", 10);
    probe_close(&host);
    probe_expect(&board, "last words", 10); /* they left before the port was closed */
  }
  probe_close(&board);
  lines_end(&lines);
}

/* A pseudo-terminal whose board's end is ours. */
static int open_board(char *path, size_t size)
{
  int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

  CHECK(fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0 && ptsname_r(fd, path, size) == 0);
  return fd;
}

static void output_that_does_not_leave_is_bounded(void)
{
  struct lines lines;
  struct probe host;
  struct sip_note write = { .name = "write", .ticket = 3 };
  char path[SIP_PORT_NAME], *bytes = calloc(1, 8192);
  int board = open_board(path, sizeof path), accepted = 0;

  CHECK(bytes != NULL && sip_note_bytes(&write, "bytes", bytes, 8192));
  lines_begin(&lines);
  probe_open(&lines, &host, &sip_protocol_raw, path, NULL, false);
  do { /* the board reads nothing */
    probe_do(&host, &write);
    accepted++;
  } while (strcmp(host.result->name, "result") == 0 && accepted < 100);
  CHECK(accepted > SIP_SERIAL_OUTPUT / 8192 && accepted < 100);
  CHECK_INT(sip_note_number(host.result, "code", 0), SIP_EQUEUEFULL);
  probe_close(&host);
  lines_end(&lines);
  CHECK(close(board) == 0);
  free(bytes);
}

/* --- a party that answers only when it ends --- */

static struct sip_party *silent_new(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err);

struct silent {
  struct sip_party party;
  uint64_t tickets[SIP_SERIAL_COMMANDS];
  unsigned count;
};

static void silent_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  (void)party, (void)now_us, (void)up;
}

static void silent_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes,
                            size_t size)
{
  (void)party, (void)now_us, (void)bytes, (void)size;
}

static int64_t silent_due_us(const struct sip_party *party)
{
  (void)party;
  return SIP_NEVER_US;
}

static void silent_on_due(struct sip_party *party, int64_t now_us)
{
  (void)party, (void)now_us;
  SIP_TEST_FAIL("it never wanted to be called");
}

static int silent_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err)
{
  struct silent *silent = SIP_CONTAINER(party, struct silent, party);

  (void)now_us;
  if (strcmp(command->name, "flush") == 0) {
    for (unsigned i = 0; i < silent->count; i++) {
      struct sip_note result = { .name = "result", .ticket = silent->tickets[i] };

      party->line->tell(party->line, &result);
    }
    silent->count = 0;
    return sip_err_set(err, UV_EINVAL, "flush has no result");
  }
  silent->tickets[silent->count++] = command->ticket;
  return 0;
}

static void silent_free(struct sip_party *party)
{
  free(SIP_CONTAINER(party, struct silent, party));
}

static struct sip_party *silent_new(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err)
{
  static const struct sip_party_ops ops = { silent_on_link, silent_on_bytes, silent_due_us,
                                            silent_on_due,  silent_command,  silent_free };
  struct silent *silent = calloc(1, sizeof *silent);

  (void)settings, (void)err;
  CHECK(silent != NULL);
  silent->party.ops = &ops;
  silent->party.line = line;
  return &silent->party;
}

static const struct sip_protocol silent_protocol = { .name = "silent",
                                                     .title = "answers late",
                                                     .line = { 9600, 8, 1, SIP_PARITY_NONE, -1,
                                                               -1 },
                                                     .proof = "none",
                                                     .engine = silent_new,
                                                     .simulator = silent_new };

static void commands_without_result_are_bounded(void)
{
  struct lines lines;
  struct probe board;
  struct sip_note command = { .name = "wait", .ticket = 1 };
  struct sip_err err = { 0 };

  lines_begin(&lines);
  probe_open(&lines, &board, &silent_protocol, "", NULL, true);
  for (int i = 1; i < SIP_SERIAL_COMMANDS; i++) {
    command.ticket = (uint64_t)i;
    probe_send(&board, &command);
  }
  command.name = "flush";
  command.ticket = 1000;
  probe_send(&board, &command); /* as many as there may be */
  while (board.results < SIP_SERIAL_COMMANDS) {
    (void)uv_run(&lines.loop, UV_RUN_ONCE);
  }
  CHECK_STR(board.result->name, "refused");
  CHECK_INT(board.result->ticket, 1000);
  command.name = "wait";
  for (int i = 1; i <= SIP_SERIAL_COMMANDS; i++) { /* there is room again */
    command.ticket = (uint64_t)i;
    probe_send(&board, &command);
  }
  CHECK_INT(sip_serial_command(board.line, &command, &err), SIP_EQUEUEFULL);
  CHECK_HAS(err.message, "wait for one");
  probe_close(&board); /* with results owed: nobody is called any more */
  lines_end(&lines);
}

/* --- floods --- */

struct flood {
  int fd;
  atomic_bool over;
  long lines; /* to send; -1: until over */
};

static void *flood_run(void *arg)
{
  struct flood *flood = arg;
  char line[32];

  for (long i = 0; flood->lines < 0 ? !atomic_load(&flood->over) : i < flood->lines; i++) {
    int size = snprintf(line, sizeof line, "line %ld\n", i);

    if (write(flood->fd, line, (size_t)size) != size) {
      break; /* the port was closed */
    }
  }
  return NULL;
}

static void open_flooded(struct lines *lines, struct probe *host, struct flood *flood,
                         pthread_t *thread)
{
  struct sip_note settings = { .name = "settings" };
  char path[SIP_PORT_NAME];

  flood->fd = open_board(path, sizeof path);
  CHECK(sip_note_text(&settings, "framing", "line"));
  probe_open(lines, host, &sip_protocol_raw, path, &settings, false);
  CHECK_INT(pthread_create(thread, NULL, flood_run, flood), 0);
}

static void a_flood_of_lines_comes_whole_and_in_order(void)
{
  struct lines lines;
  struct probe host;
  struct flood flood = { .lines = 1000 };
  pthread_t thread;
  char expected[32];

  lines_begin(&lines);
  open_flooded(&lines, &host, &flood, &thread);
  for (long i = 0; i < flood.lines; i++) {
    struct sip_note *note = probe_await(&host, "frame");

    (void)snprintf(expected, sizeof expected, "line %ld", i);
    CHECK_STR(sip_note_find(note, "bytes")->text, expected);
    free(note);
  }
  CHECK_INT(pthread_join(thread, NULL), 0);
  probe_close(&host);
  lines_end(&lines);
  CHECK(close(flood.fd) == 0);
}

/* Nobody takes what it says; another line's questions are answered all the while. */
static void a_board_that_never_stops_talking_starves_nobody(void)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_note answer = { .name = "answer", .ticket = 1 }, ask = { .name = "ask", .ticket = 2 };
  struct lines lines;
  struct probe flooded, board, host;
  struct flood flood = { .lines = -1 };
  struct sip_serial_state state;
  pthread_t thread;

  lines_begin(&lines);
  open_flooded(&lines, &flooded, &flood, &thread);
  CHECK(sip_note_text(&settings, "framing", "line"));
  probe_open(&lines, &board, &sip_protocol_raw, "", &settings, true);
  probe_open(&lines, &host, &sip_protocol_raw, probe_path(&board), &settings, false);
  CHECK(sip_note_text(&answer, "to", "poll") && sip_note_text(&answer, "with", "ack\n"));
  probe_do(&board, &answer);
  CHECK(sip_note_text(&ask, "bytes", "poll\n") && sip_note_int(&ask, "timeout_ms", 10000));
  do { /* until so much was said that the oldest had to go */
    probe_do(&host, &ask);
    CHECK_STR(host.result->name, "result");
    CHECK(sip_note_is(host.result, "bytes", "ack"));
    sip_serial_state(flooded.line, &state);
  } while (state.dropped == 0 || host.results < 200);
  atomic_store(&flood.over, true);
  probe_close(&flooded);
  CHECK_INT(pthread_join(thread, NULL), 0);
  probe_close(&host);
  probe_close(&board);
  lines_end(&lines);
  CHECK(close(flood.fd) == 0);
}

/* What a board says into the void does not wait for who listens later. */
static void bytes_that_nobody_hears_are_gone(void)
{
  struct lines lines;
  struct probe board, host;
  struct sip_note write = { .name = "write", .ticket = 3 };
  char *bytes = calloc(1, 8192);
  int refused = 0;

  CHECK(bytes != NULL && sip_note_bytes(&write, "bytes", bytes, 8192));
  lines_begin(&lines);
  probe_open(&lines, &board, &sip_protocol_raw, "", NULL, true);
  for (int i = 0; i < 20 || strcmp(board.result->name, "refused") == 0; i++) {
    probe_do(&board, &write); /* the queue fills, and is empty again after half a second */
    refused += strcmp(board.result->name, "refused") == 0;
  }
  CHECK(refused > 0);
  probe_open(&lines, &host, &sip_protocol_raw, probe_path(&board), NULL, false);
  probe_close(&host);
  probe_close(&board);
  lines_end(&lines);
  free(bytes);
}

/* --- several loops --- */

static void *talk_on_a_loop(void *arg)
{
  struct lines lines = { .serial = sip_serial_ref(arg) };
  struct probe board, host;

  CHECK_INT(uv_loop_init(&lines.loop), 0);
  CHECK_INT(uv_timer_init(&lines.loop, &lines.limit), 0);
  CHECK_INT(uv_timer_start(&lines.limit, lines_on_limit, 60000, 0), 0);
  for (int round = 0; round < 5; round++) {
    probe_open(&lines, &board, &sip_protocol_raw, "", NULL, true);
    probe_open(&lines, &host, &sip_protocol_raw, probe_path(&board), NULL, false);
    for (int i = 0; i < 20; i++) {
      probe_write(&host, "there", 5);
      probe_expect(&board, "there", 5);
      probe_write(&board, "and back", 8);
      probe_expect(&host, "and back", 8);
    }
    probe_close(&host);
    probe_close(&board);
  }
  uv_close((uv_handle_t *)&lines.limit, NULL);
  sip_serial_unref(lines.serial);
  (void)uv_run(&lines.loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&lines.loop), 0);
  return NULL;
}

static void workers_share_the_thread(void)
{
  struct sip_serial *serial = NULL;
  struct sip_err err = { 0 };
  pthread_t threads[3];

  CHECK_INT(sip_serial_new(&serial, &err), 0);
  for (int i = 0; i < 3; i++) {
    CHECK_INT(pthread_create(&threads[i], NULL, talk_on_a_loop, serial), 0);
  }
  for (int i = 0; i < 3; i++) {
    CHECK_INT(pthread_join(threads[i], NULL), 0);
  }
  sip_serial_unref(serial);
}

static void more_lines_than_there_is_room_for_are_refused(void)
{
  static const struct sip_note none = { .name = "settings" };
  static struct probe probes[SIP_SERIAL_LINES + 1];
  struct sip_port_settings place = { .name = "/tmp/sipeat-no-such-port" };
  struct sip_serial_options options = { .protocol = &sip_protocol_raw,
                                        .settings = &none,
                                        .port = &place };
  struct lines lines;
  struct sip_err err = { 0 };

  lines_begin(&lines);
  for (int i = 0; i < SIP_SERIAL_LINES; i++) {
    CHECK_INT(probe_try(&lines, &probes[i], &options, &err), 0);
  }
  CHECK_INT(probe_try(&lines, &probes[SIP_SERIAL_LINES], &options, &err), SIP_EQUEUEFULL);
  CHECK_HAS(err.message, "close one");
  for (int i = 0; i < SIP_SERIAL_LINES; i++) {
    probe_close(&probes[i]);
  }
  lines_end(&lines);
}

/* libuv has no instrumentation: it closes a descriptor unseen, and a port that gets the same number
 * looks as if two threads shared it. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
  return "race:sip_port_close\n";
}

int main(void)
{
  bytes_cross_both_ways();
  a_lost_port_is_noticed_and_opened_again();
  a_port_that_is_not_there_is_named_or_waited_for();
  a_port_has_one_master();
  a_closed_port_can_be_opened_at_once();
  output_that_does_not_leave_is_bounded();
  commands_without_result_are_bounded();
  a_flood_of_lines_comes_whole_and_in_order();
  a_board_that_never_stops_talking_starves_nobody();
  bytes_that_nobody_hears_are_gone();
  workers_share_the_thread();
  more_lines_than_there_is_room_for_are_refused();
  return 0;
}
