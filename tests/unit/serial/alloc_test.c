/* alloc_test.c - lines without memory: the n-th allocation of the driver fails, n = 1, 2, …, until
 * the whole scenario passes. Each round ends clean, and each command that was taken has a result:
 * its own, or the one that was kept for that case. */
#include "lines.h"

#include <stdatomic.h>

static atomic_int countdown; /* allocations until one fails; 0: none does. Any thread counts */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool fails_now(void)
{
  return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

void *__wrap_malloc(size_t size)
{
  return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
  return fails_now() ? NULL : __real_calloc(count, size);
}

/* Opens a line and waits for its first attempt. @return whether it is up */
static bool try_line(struct lines *lines, struct probe *probe, const char *port, bool simulate)
{
  struct sip_note settings = { .name = "settings" };
  struct sip_port_settings place = { .line = sip_protocol_raw.line };
  struct sip_serial_options options = {
    .protocol = &sip_protocol_raw, .settings = &settings, .port = &place, .simulate = simulate
  };
  struct sip_serial_state state = { 0 };
  struct sip_err err = { 0 };

  (void)snprintf(place.name, sizeof place.name, "%s", port);
  CHECK(sip_note_text(&settings, "framing", "line"));
  if (probe_try(lines, probe, &options, &err) < 0) {
    CHECK_INT(err.code, UV_ENOMEM);
    probe->line = NULL;
    return false;
  }
  do {
    (void)uv_run(&lines->loop, UV_RUN_ONCE);
    sip_serial_state(probe->line, &state);
  } while (state.attempts == 0);
  return state.up;
}

/* @return false when the command was not taken, for want of memory */
static bool try_command(struct probe *probe, const struct sip_note *command)
{
  unsigned before = probe->results;
  struct sip_err err = { 0 };

  if (sip_serial_command(probe->line, command, &err) < 0) {
    CHECK_INT(err.code, UV_ENOMEM);
    return false;
  }
  while (probe->results == before) {
    (void)uv_run(&probe->lines->loop, UV_RUN_ONCE);
  }
  CHECK_INT(probe->result->ticket, command->ticket);
  return true;
}

static void talk(struct lines *lines)
{
  struct sip_note answer = { .name = "answer", .ticket = 1 }, ask = { .name = "ask", .ticket = 2 };
  struct probe board = { 0 }, host = { 0 };

  CHECK(sip_note_text(&answer, "to", "poll") && sip_note_text(&answer, "with", "ack\n"));
  CHECK(sip_note_text(&ask, "bytes", "poll\n") && sip_note_int(&ask, "timeout_ms", 50));
  if (try_line(lines, &board, "", true)) {
    (void)try_command(&board, &answer);
    if (try_line(lines, &host, probe_path(&board), false) && try_command(&host, &ask)) {
      const struct sip_note *result = host.result;

      CHECK(sip_note_is(result, "bytes", "ack") || sip_note_is(result, "reason", "timeout") ||
            sip_note_is(result, "code", "ENOMEM") || sip_note_is(result, "name", "ENOMEM"));
    }
  }
  probe_close(&host);
  probe_close(&board);
}

/* One round with the n-th allocation failing. @return whether all of them were made */
static bool round_passes(int n)
{
  struct lines lines;
  struct sip_err err = { 0 };

  CHECK_INT(uv_loop_init(&lines.loop), 0);
  CHECK_INT(uv_timer_init(&lines.loop, &lines.limit), 0);
  CHECK_INT(uv_timer_start(&lines.limit, lines_on_limit, 60000, 0), 0);
  lines.serial = NULL;
  atomic_store(&countdown, n);
  if (sip_serial_new(&lines.serial, &err) == 0) {
    talk(&lines);
  }
  uv_close((uv_handle_t *)&lines.limit, NULL);
  sip_serial_unref(lines.serial);
  (void)uv_run(&lines.loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&lines.loop), 0);
  return atomic_exchange(&countdown, 0) > 0;
}

int main(void)
{
  int n = 1;

  while (!round_passes(n)) {
    n++;
    CHECK(n < 1000);
  }
  CHECK(n > 20); /* else nothing was swept */
  (void)printf("%d allocations failed once\n", n - 1);
  return 0;
}
