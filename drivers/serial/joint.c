/* joint.c - a party and a port, joined: bytes, times and commands go to the party, its bytes to the
 * port; a port that is lost is closed at once and opened again. The serial thread. */
#include "serial/joint.h"

#include "serial/raw.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  READ_BYTES = 4096, /* of one turn: no line starves another */
  BACKOFF_FIRST_MS = 100,
  BACKOFF_LAST_MS = 2000,
  STEADY_MS = 10000, /* a port that was there for so long is tried at once when it is lost */
  STUCK_MS = 5000,   /* no byte leaves: the adapter hangs */
  UNHEARD_MS = 500,  /* of a simulator: nobody listens, and its bytes are gone, as on a wire */
  LEAVE_MS = 1000,   /* raw bytes have so long to leave a port that is closed */
  LOOK_MS = 10
};

int64_t sip_serial_now_us(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there always is this clock */
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t after_ms(int64_t now_us, unsigned ms)
{
  return now_us + (int64_t)ms * 1000;
}

/* --- output --- */

static void joint_break(struct sip_joint *joint, const struct sip_err *err)
{
  if (!joint->broken) {
    joint->broken = true;
    joint->fault = *err;
  }
}

static void out_drop(struct sip_joint *joint)
{
  joint->out_at = joint->out_size = 0;
  joint->stuck_us = SIP_NEVER_US;
}

static void out_push(struct sip_joint *joint, const uint8_t *bytes, size_t size)
{
  size_t end = (joint->out_at + joint->out_size) % SIP_SERIAL_OUTPUT;
  size_t first = SIP_SERIAL_OUTPUT - end;

  first = first < size ? first : size;
  memcpy(joint->out + end, bytes, first);
  memcpy(joint->out, bytes + first, size - first);
  if (joint->out_size == 0) {
    joint->stuck_us = sip_serial_now_us();
  }
  joint->out_size += size;
}

static void out_flush(struct sip_joint *joint)
{
  struct sip_err err = { 0 };

  while (joint->out_size > 0 && !joint->port->held) {
    size_t piece = SIP_SERIAL_OUTPUT - joint->out_at;
    long put;

    piece = piece < joint->out_size ? piece : joint->out_size;
    put = joint->port->ops->write(joint->port, joint->out + joint->out_at, piece, &err);
    if (put <= 0) {
      if (put < 0) {
        joint_break(joint, &err);
      }
      return;
    }
    sip_line_passed(joint->shared, true, joint->out + joint->out_at, (size_t)put);
    joint->out_at = (joint->out_at + (size_t)put) % SIP_SERIAL_OUTPUT;
    joint->out_size -= (size_t)put;
    joint->stuck_us = sip_serial_now_us();
  }
  if (joint->out_size == 0) {
    out_drop(joint);
  }
}

static int line_send(struct sip_line *line, const void *bytes, size_t size)
{
  struct sip_joint *joint = SIP_CONTAINER(line, struct sip_joint, line);
  struct sip_err err = { 0 };
  long put = 0;

  if (joint->port == NULL || joint->broken) {
    return UV_ENOTCONN;
  }
  if (size > SIP_SERIAL_OUTPUT - joint->out_size) {
    return SIP_EQUEUEFULL;
  }
  if (joint->out_size == 0 && !joint->port->held && size > 0) {
    put = joint->port->ops->write(joint->port, bytes, size, &err);
    if (put < 0) {
      joint_break(joint, &err);
      return (int)put;
    }
    sip_line_passed(joint->shared, true, bytes, (size_t)put);
  }
  if ((size_t)put < size) {
    out_push(joint, (const uint8_t *)bytes + put, size - (size_t)put);
  }
  return 0;
}

static void line_tell(struct sip_line *line, const struct sip_note *note)
{
  sip_line_tell(SIP_CONTAINER(line, struct sip_joint, line)->shared, note);
}

/* --- lifetime --- */

struct sip_joint *sip_joint_new(struct sip_serial_line *line,
                                const struct sip_serial_options *options, struct sip_err *err)
{
  const struct sip_protocol *protocol = options->protocol;
  struct sip_party *(*make)(const struct sip_note *settings, struct sip_line *around,
                            struct sip_err *why) =
    options->simulate ? protocol->simulator : protocol->engine;
  struct sip_joint *joint = malloc(sizeof *joint);

  if (joint == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "serial: no memory for a line");
    return NULL;
  }
  memset(joint, 0, offsetof(struct sip_joint, out)); /* the ring need not be touched */
  sip_list_init(&joint->link);
  sip_list_init(&joint->parting);
  joint->line = (struct sip_line){ line_send, line_tell };
  joint->settings = *options->port;
  joint->simulate = options->simulate;
  joint->reopen = options->reopen;
  joint->patient = options->patient;
  joint->settle_ms = options->settle_ms;
  joint->raw = protocol == &sip_protocol_raw;
  joint->break_us = joint->close_by_us = joint->stuck_us = SIP_NEVER_US;
  joint->party = make(options->settings, &joint->line, err);
  if (joint->party == NULL) {
    free(joint);
    return NULL;
  }
  joint->shared = line;
  sip_line_ref(line);
  return joint;
}

void sip_joint_free(struct sip_joint *joint)
{
  if (joint->party != NULL) {
    joint->party->ops->free(joint->party);
  }
  if (joint->opening != NULL) {
    joint->opening->joint = NULL;
  }
  sip_port_close(joint->port);
  sip_line_unref(joint->shared);
  free(joint);
}

/* --- link --- */

static void tell_up(struct sip_joint *joint, int64_t now_us)
{
  struct sip_note note = { .name = "link" };

  joint->told_up = true;
  joint->failing = false;
  (void)sip_note_bool(&note, "up", true);
  (void)sip_note_text(&note, "path", joint->port->path);
  (void)sip_note_int(&note, "stale", (int64_t)joint->port->stale);
  sip_line_tell(joint->shared, &note);
  sip_line_set_link(joint->shared, joint->port->path, NULL);
  joint->party->ops->on_link(joint->party, now_us, true);
}

static void tell_down(struct sip_joint *joint, const struct sip_err *err)
{
  struct sip_note note = { .name = "link" };

  if (!joint->failing) { /* once, and not at each attempt */
    (void)sip_note_bool(&note, "up", false);
    (void)sip_note_text(&note, "message", err->message);
    (void)sip_note_text(&note, "code", err->name);
    sip_line_tell(joint->shared, &note);
  }
  joint->failing = true;
  sip_line_set_link(joint->shared, NULL, err);
}

/* When to try again, if at all. */
static void plan_retry(struct sip_joint *joint, int64_t now_us, bool again)
{
  joint->backoff_ms = joint->backoff_ms == 0 ? BACKOFF_FIRST_MS : 2 * joint->backoff_ms;
  if (joint->backoff_ms > BACKOFF_LAST_MS) {
    joint->backoff_ms = BACKOFF_LAST_MS;
  }
  joint->retry_us = again ? after_ms(now_us, joint->backoff_ms) : SIP_NEVER_US;
}

/* Closes the port at once: else the kernel gives the device another number when it returns. */
static void take_down(struct sip_joint *joint, int64_t now_us)
{
  bool told = joint->told_up;

  sip_port_close(joint->port);
  joint->port = NULL;
  joint->broken = false;
  joint->told_up = false;
  joint->break_us = SIP_NEVER_US;
  out_drop(joint);
  if (now_us - joint->opened_us > (int64_t)STEADY_MS * 1000) {
    joint->backoff_ms = 0;
  }
  plan_retry(joint, now_us, joint->reopen && !joint->unplugged);
  tell_down(joint, &joint->fault);
  if (told && joint->party != NULL) {
    joint->party->ops->on_link(joint->party, now_us, false);
  }
}

static void after_call(struct sip_joint *joint, int64_t now_us)
{
  if (joint->broken && joint->port != NULL) {
    take_down(joint, now_us);
  }
}

bool sip_joint_wants_port(const struct sip_joint *joint, int64_t now_us)
{
  return joint->party != NULL && joint->port == NULL && joint->opening == NULL &&
         !joint->unplugged && joint->retry_us <= now_us;
}

void sip_joint_put_off(struct sip_joint *joint, int64_t now_us, const struct sip_err *err)
{
  if (err == NULL) {
    joint->retry_us = after_ms(now_us, LOOK_MS);
    return;
  }
  sip_joint_on_opened(joint, now_us, NULL, err);
}

void sip_joint_on_opened(struct sip_joint *joint, int64_t now_us, struct sip_serial_port *port,
                         const struct sip_err *err)
{
  struct sip_serial_state state;

  if (port != NULL && joint->unplugged) {
    sip_port_close(port);
    return;
  }
  if (port == NULL) {
    sip_serial_state(joint->shared, &state);
    plan_retry(joint, now_us, joint->patient || (joint->reopen && state.opened > 0));
    tell_down(joint, err);
    return;
  }
  joint->port = port;
  joint->opened_us = now_us;
  (void)snprintf(joint->settings.name, sizeof joint->settings.name, "%s", port->stable);
  joint->settled_us = after_ms(now_us, joint->settle_ms);
  if (joint->settle_ms == 0) {
    tell_up(joint, now_us);
    after_call(joint, now_us);
  }
}

/* --- commands --- */

static void tell_refused(struct sip_joint *joint, const struct sip_note *command,
                         const struct sip_err *err)
{
  struct sip_note note = { .name = "refused", .ticket = command->ticket };

  (void)sip_note_int(&note, "code", err->code);
  (void)sip_note_text(&note, "name", err->name);
  (void)sip_note_text(&note, "message", err->message);
  sip_line_tell(joint->shared, &note);
}

static int do_lines(struct sip_joint *joint, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct sip_port_lines lines = { (int)sip_note_number(command, "dtr", -1),
                                  (int)sip_note_number(command, "rts", -1),
                                  -1,
                                  -1,
                                  -1,
                                  -1 };
  int rc = joint->port->ops->lines(joint->port, &lines, err);

  if (rc == 0) {
    const struct {
      const char *name;
      int value;
    } all[] = { { "dtr", lines.dtr }, { "rts", lines.rts }, { "cts", lines.cts },
                { "dsr", lines.dsr }, { "dcd", lines.dcd }, { "ri", lines.ri } };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
      if (all[i].value >= 0) {
        (void)sip_note_bool(result, all[i].name, all[i].value != 0);
      }
    }
  }
  return rc;
}

static int do_break(struct sip_joint *joint, int64_t now_us, const struct sip_note *command,
                    struct sip_err *err)
{
  int64_t ms = sip_note_number(command, "ms", 250);
  int rc;

  if (ms < 1 || ms > 10000) {
    return sip_err_set(err, UV_EINVAL, "break: ms is 1 to 10000, not %" PRId64, ms);
  }
  rc = joint->port->ops->brk(joint->port, true, err);
  if (rc == 0) {
    joint->break_us = after_ms(now_us, (unsigned)ms);
  }
  return rc;
}

static void do_unplug(struct sip_joint *joint, int64_t now_us, bool out)
{
  joint->unplugged = out;
  joint->retry_us = now_us;
  joint->backoff_ms = 0;
  if (out && joint->port != NULL) {
    (void)sip_err_set(&joint->fault, UV_ENODEV, "%s: unplugged", joint->port->path);
    take_down(joint, now_us);
  }
}

/* What every line can do, or a simulator's pseudo-terminal. @return 0, a negative code, or 1: none
 * of that */
static int own_command(struct sip_joint *joint, int64_t now_us, const struct sip_note *command,
                       struct sip_note *result, struct sip_err *err)
{
  bool lines = strcmp(command->name, "lines") == 0, brk = strcmp(command->name, "break") == 0;
  bool unplug = strcmp(command->name, "unplug") == 0;

  if (joint->simulate && (unplug || strcmp(command->name, "replug") == 0)) {
    do_unplug(joint, now_us, unplug);
    return 0;
  }
  if (!lines && !brk) {
    return 1;
  }
  if (joint->port == NULL) {
    return sip_err_set(err, UV_ENOTCONN, "%s: the port is not there", command->name);
  }
  return lines ? do_lines(joint, command, result, err) : do_break(joint, now_us, command, err);
}

void sip_joint_command(struct sip_joint *joint, int64_t now_us, const struct sip_note *command)
{
  struct sip_note result = { .name = "result", .ticket = command->ticket };
  struct sip_err err = { 0 };
  int rc;

  (void)sip_note_bool(&result, "ok", true);
  rc = own_command(joint, now_us, command, &result, &err);
  if (rc == 0) {
    sip_line_tell(joint->shared, &result);
  } else if (rc > 0) {
    rc = joint->party->ops->command(joint->party, now_us, command, &err);
  }
  if (rc < 0) {
    tell_refused(joint, command, &err);
  }
  after_call(joint, now_us);
}

/* --- what the port and the clock say --- */

short sip_joint_events(const struct sip_joint *joint)
{
  if (joint->port == NULL) {
    return 0;
  }
  return (short)(joint->out_size > 0 && !joint->port->held ? POLLIN | POLLOUT : POLLIN);
}

static void joint_read(struct sip_joint *joint, int64_t now_us)
{
  uint8_t bytes[READ_BYTES];
  struct sip_err err = { 0 };
  long got = joint->port->ops->read(joint->port, bytes, sizeof bytes, &err);

  if (got < 0) {
    joint_break(joint, &err);
    return;
  }
  if (got > 0) {
    sip_line_passed(joint->shared, false, bytes, (size_t)got);
    if (joint->told_up && joint->party != NULL) { /* else: what a board says as it starts */
      joint->party->ops->on_bytes(joint->party, now_us, bytes, (size_t)got);
    }
  }
}

void sip_joint_on_ready(struct sip_joint *joint, int64_t now_us, short found)
{
  struct sip_err err = { 0 };

  if (joint->port == NULL) {
    return;
  }
  if (found & POLLIN) {
    joint_read(joint, now_us);
  } else if (found & (POLLHUP | POLLERR | POLLNVAL)) {
    (void)sip_err_set(&err, UV_ENODEV, "%s: gone (unplugged?)", joint->port->path);
    joint_break(joint, &err);
  }
  if ((found & POLLOUT) && !joint->broken) {
    out_flush(joint);
  }
  after_call(joint, now_us);
}

static int64_t sooner(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t stuck_until_us(const struct sip_joint *joint)
{
  if (joint->port == NULL || joint->port->held || joint->stuck_us == SIP_NEVER_US) {
    return SIP_NEVER_US;
  }
  return after_ms(joint->stuck_us, joint->port->dumb ? UNHEARD_MS : STUCK_MS);
}

int64_t sip_joint_due_us(const struct sip_joint *joint)
{
  int64_t due = joint->break_us;

  if (joint->party == NULL) {
    return sooner(joint->close_by_us, after_ms(sip_serial_now_us(), LOOK_MS));
  }
  due = sooner(due, joint->party->ops->due_us(joint->party));
  due = sooner(due, stuck_until_us(joint));
  if (joint->port == NULL && joint->opening == NULL && !joint->unplugged) {
    due = sooner(due, joint->retry_us);
  }
  if (joint->port != NULL && !joint->told_up) {
    due = sooner(due, joint->settled_us);
  }
  return due;
}

static void end_break(struct sip_joint *joint)
{
  struct sip_err err = { 0 };

  joint->break_us = SIP_NEVER_US;
  if (joint->port->ops->brk(joint->port, false, &err) < 0) {
    joint_break(joint, &err);
  }
}

static void unstick(struct sip_joint *joint)
{
  struct sip_err err = { 0 };

  if (joint->port->dumb) {
    out_drop(joint);
    return;
  }
  (void)sip_err_set(&err, UV_ETIMEDOUT, "%s: no byte has left for %d s (the adapter hangs?)",
                    joint->port->path, STUCK_MS / 1000);
  joint_break(joint, &err);
}

void sip_joint_on_due(struct sip_joint *joint, int64_t now_us)
{
  if (joint->party == NULL) { /* closed: its bytes leave */
    return;
  }
  if (joint->break_us <= now_us) {
    end_break(joint);
  }
  if (stuck_until_us(joint) <= now_us) {
    unstick(joint);
  }
  if (joint->port != NULL && !joint->broken && !joint->told_up && joint->settled_us <= now_us) {
    tell_up(joint, now_us);
  }
  if (joint->party->ops->due_us(joint->party) <= now_us) {
    joint->party->ops->on_due(joint->party, now_us);
  }
  after_call(joint, now_us);
}

bool sip_joint_close(struct sip_joint *joint, int64_t now_us)
{
  joint->party->ops->free(joint->party);
  joint->party = NULL;
  joint->close_by_us = after_ms(now_us, LEAVE_MS);
  joint->reopen = false;
  if (!joint->raw || joint->simulate || joint->broken) {
    out_drop(joint);
    joint->close_by_us = now_us;
  }
  return sip_joint_is_over(joint);
}

bool sip_joint_is_over(const struct sip_joint *joint)
{
  if (joint->party != NULL) {
    return false;
  }
  return joint->port == NULL || joint->close_by_us <= sip_serial_now_us() ||
         (joint->out_size == 0 && joint->port->ops->drained(joint->port));
}
