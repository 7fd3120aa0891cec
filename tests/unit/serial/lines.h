#ifndef SIP_TEST_LINES_H
#define SIP_TEST_LINES_H
/* lines.h - a loop with serial lines, for tests: opens them, and waits for their notes. */
#include "serial/raw.h"
#include "serial/serial.h"
#include "support/test.h"

struct lines {
  uv_loop_t loop;
  uv_timer_t limit;
  struct sip_serial *serial;
};

struct probe {
  struct lines *lines;
  struct sip_serial_line *line;
  struct sip_note *result; /* the last one */
  unsigned results;
  struct sip_serial_state state; /* as of probe_path */
};

static inline void lines_on_limit(uv_timer_t *timer)
{
  (void)timer;
  SIP_TEST_FAIL("it takes more than 60 s");
}

static inline void lines_begin(struct lines *lines)
{
  struct sip_err err = { 0 };

  CHECK_INT(uv_loop_init(&lines->loop), 0);
  CHECK_INT(uv_timer_init(&lines->loop, &lines->limit), 0);
  CHECK_INT(uv_timer_start(&lines->limit, lines_on_limit, 60000, 0), 0);
  if (sip_serial_new(&lines->serial, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
}

static inline void lines_end(struct lines *lines)
{
  uv_close((uv_handle_t *)&lines->limit, NULL);
  sip_serial_unref(lines->serial);
  SIP_TEST_END(&lines->loop);
}

static inline void probe_on_result(void *arg, struct sip_note *result)
{
  struct probe *probe = arg;

  free(probe->result);
  probe->result = result;
  probe->results++;
}

static inline void probe_on_change(void *arg)
{
  (void)arg;
}

static inline int probe_try(struct lines *lines, struct probe *probe,
                            const struct sip_serial_options *options, struct sip_err *err)
{
  static const struct sip_serial_callbacks callbacks = { probe_on_result, probe_on_change };

  *probe = (struct probe){ .lines = lines };
  return sip_serial_open(&probe->line, lines->serial, &lines->loop, options, &callbacks, probe,
                         err);
}

/* Waits for the next note of that name, and drops others. For free(). */
static inline struct sip_note *probe_await(struct probe *probe, const char *name)
{
  for (;;) {
    struct sip_note *note = sip_serial_next(probe->line);

    if (note != NULL && strcmp(note->name, name) == 0) {
      return note;
    }
    free(note);
    if (note == NULL) {
      (void)uv_run(&probe->lines->loop, UV_RUN_ONCE);
    }
  }
}

static inline void probe_await_link(struct probe *probe, bool up)
{
  struct sip_note *note = probe_await(probe, "link");
  bool is_up = sip_note_number(note, "up", -1) == 1;

  if (is_up != up) {
    const struct sip_value *message = sip_note_find(note, "message");

    SIP_TEST_FAIL("the link is %s: %s", is_up ? "up" : "down",
                  message == NULL ? "" : message->text);
  }
  free(note);
}

/* Opens a port, or simulates one, that is there. */
static inline void probe_open(struct lines *lines, struct probe *probe,
                              const struct sip_protocol *protocol, const char *port,
                              const struct sip_note *settings, bool simulate)
{
  static const struct sip_note none = { .name = "settings" };
  struct sip_port_settings place = { .line = protocol->line };
  struct sip_serial_options options = { .protocol = protocol,
                                        .settings = settings == NULL ? &none : settings,
                                        .port = &place,
                                        .simulate = simulate,
                                        .reopen = true };
  struct sip_err err = { 0 };

  (void)snprintf(place.name, sizeof place.name, "%s", port);
  if (probe_try(lines, probe, &options, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  probe_await_link(probe, true);
}

static inline void probe_close(struct probe *probe)
{
  sip_serial_close(probe->line);
  free(probe->result);
  *probe = (struct probe){ .lines = probe->lines };
}

static inline const char *probe_path(struct probe *probe)
{
  sip_serial_state(probe->line, &probe->state);
  return probe->state.path;
}

static inline void probe_send(struct probe *probe, const struct sip_note *command)
{
  struct sip_err err = { 0 };

  if (sip_serial_command(probe->line, command, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
}

/* Sends a command and waits for its result, which is probe->result. */
static inline void probe_do(struct probe *probe, const struct sip_note *command)
{
  unsigned before = probe->results;

  probe_send(probe, command);
  while (probe->results == before) {
    (void)uv_run(&probe->lines->loop, UV_RUN_ONCE);
  }
  CHECK_INT(probe->result->ticket, command->ticket);
}

static inline void probe_simple(struct probe *probe, const char *name)
{
  struct sip_note command = { .name = name, .ticket = 1 };

  probe_do(probe, &command);
  CHECK_STR(probe->result->name, "result");
}

static inline void probe_write(struct probe *probe, const void *bytes, size_t size)
{
  struct sip_note command = { .name = "write", .ticket = 2 };

  CHECK(sip_note_bytes(&command, "bytes", bytes, size));
  probe_do(probe, &command);
  CHECK_STR(probe->result->name, "result");
}

/* Collects what comes as `data` until it is this many bytes, and compares. */
static inline void probe_expect(struct probe *probe, const void *bytes, size_t size)
{
  char *got = malloc(size);
  size_t count = 0;

  CHECK(got != NULL);
  while (count < size) {
    struct sip_note *note = probe_await(probe, "data");
    const struct sip_value *piece = sip_note_find(note, "bytes");

    CHECK(piece->size <= size - count);
    memcpy(got + count, piece->text, piece->size);
    count += piece->size;
    free(note);
  }
  CHECK(memcmp(got, bytes, size) == 0);
  free(got);
}

#endif
