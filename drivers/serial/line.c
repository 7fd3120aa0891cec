/* line.c - what the loop and the serial thread share about a line: notes on their way to the loop,
 * bounded, and its state. The functions of joint.h: any thread; those of serial.h: the loop's. */
#include "core/wakeup.h"
#include "serial/joint.h"
#include "serial/thread.h"

#include <stdlib.h>
#include <string.h>

struct kept {
  struct sip_list link;
  struct sip_note *note;
  size_t bytes;
};

int sip_serial_mutex_init(pthread_mutex_t *mu)
{
  pthread_mutexattr_t how;
  int failed = pthread_mutexattr_init(&how);

  if (failed != 0) {
    return failed;
  }
  failed = pthread_mutexattr_setprotocol(&how, PTHREAD_PRIO_INHERIT);
  failed = failed != 0 ? failed : pthread_mutex_init(mu, &how);
  (void)pthread_mutexattr_destroy(&how); /* frees nothing that matters */
  return failed;
}

struct sip_serial_line *sip_line_new(struct sip_serial *serial, struct sip_err *err)
{
  struct sip_serial_line *line = calloc(1, sizeof *line);

  if (line == NULL || sip_serial_mutex_init(&line->mu) != 0) {
    free(line);
    (void)sip_err_set(err, UV_ENOMEM, "serial: no memory for a line");
    return NULL;
  }
  line->serial = sip_serial_ref(serial);
  sip_list_init(&line->results);
  sip_list_init(&line->events);
  sip_list_init(&line->spares);
  line->refs = 1;
  return line;
}

void sip_line_ref(struct sip_serial_line *line)
{
  pthread_mutex_lock(&line->mu);
  line->refs++;
  pthread_mutex_unlock(&line->mu);
}

static void notes_free(struct sip_list *list)
{
  struct sip_list *node;

  while ((node = sip_list_shift(list)) != NULL) {
    struct kept *kept = SIP_CONTAINER(node, struct kept, link);

    free(kept->note);
    free(kept);
  }
}

void sip_line_unref(struct sip_serial_line *line)
{
  bool last;

  pthread_mutex_lock(&line->mu);
  last = --line->refs == 0;
  pthread_mutex_unlock(&line->mu);
  if (last) {
    notes_free(&line->results);
    notes_free(&line->events);
    notes_free(&line->spares);
    (void)pthread_mutex_destroy(&line->mu); /* nobody has it */
    free(line);
  }
}

/* --- from the thread --- */

static size_t note_bytes(const struct sip_note *note)
{
  size_t bytes = sizeof *note;

  for (unsigned i = 0; i < note->count; i++) {
    bytes += note->fields[i].kind == SIP_VALUE_TEXT ? note->fields[i].size : 0;
  }
  return bytes;
}

static struct kept *kept_new(const struct sip_note *note)
{
  struct kept *kept = malloc(sizeof *kept);

  if (kept == NULL) {
    return NULL;
  }
  kept->note = sip_note_copy(note);
  kept->bytes = note_bytes(note);
  if (kept->note == NULL) {
    free(kept);
    return NULL;
  }
  return kept;
}

/* Behind the others; what is too much goes to `gone`, the oldest first. Under `mu`. */
static void events_push(struct sip_serial_line *line, struct kept *kept, struct sip_list *gone)
{
  sip_list_push(&line->events, &kept->link);
  line->event_count++;
  line->event_bytes += kept->bytes;
  while (line->event_count > SIP_SERIAL_EVENTS || line->event_bytes > SIP_SERIAL_EVENT_BYTES) {
    struct sip_list *oldest = sip_list_shift(&line->events);

    line->event_count--;
    line->event_bytes -= SIP_CONTAINER(oldest, struct kept, link)->bytes;
    line->state.dropped++;
    sip_list_push(gone, oldest);
  }
}

static bool is_result(const struct sip_note *note)
{
  return note->ticket != 0 &&
         (strcmp(note->name, "result") == 0 || strcmp(note->name, "refused") == 0);
}

/* A result that waits for the case that there is no memory for a real one. */
static struct kept *spare_new(void)
{
  struct sip_note note = { .name = "result" };

  (void)sip_note_bool(&note, "ok", false);
  (void)sip_note_text(&note, "outcome", "unknown");
  (void)sip_note_text(&note, "code", "ENOMEM");
  (void)sip_note_text(&note, "reason", "there was no memory for the result");
  return kept_new(&note);
}

/* Puts a result, or the spare one in its place, with the others. Under `mu`. */
static void results_push(struct sip_serial_line *line, struct kept *kept, uint64_t ticket,
                         struct sip_list *gone)
{
  struct sip_list *spare = sip_list_shift(&line->spares);

  if (spare == NULL) { /* nobody asked: more results than commands */
    if (kept != NULL) {
      sip_list_push(gone, &kept->link);
    }
    return;
  }
  line->open_commands--;
  if (kept != NULL) {
    sip_list_push(gone, spare);
  } else {
    kept = SIP_CONTAINER(spare, struct kept, link);
    kept->note->ticket = ticket;
  }
  sip_list_push(&line->results, &kept->link);
}

void sip_line_tell(struct sip_serial_line *line, const struct sip_note *note)
{
  struct kept *kept = kept_new(note);
  struct sip_list gone;

  sip_list_init(&gone);
  pthread_mutex_lock(&line->mu);
  if (line->wakeup == NULL) { /* closed: nobody listens */
    if (kept != NULL) {
      sip_list_push(&gone, &kept->link);
    }
  } else if (is_result(note)) {
    results_push(line, kept, note->ticket, &gone);
  } else if (kept == NULL) {
    line->state.dropped++;
  } else {
    events_push(line, kept, &gone);
  }
  if (line->wakeup != NULL) {
    sip_wakeup_send(line->wakeup);
  }
  pthread_mutex_unlock(&line->mu);
  notes_free(&gone);
}

void sip_line_set_link(struct sip_serial_line *line, const char *path, const struct sip_err *err)
{
  pthread_mutex_lock(&line->mu);
  line->state.attempts += err == NULL || !line->state.up; /* a loss is no attempt */
  line->state.lost += line->state.up && err != NULL;
  line->state.up = err == NULL;
  if (err != NULL) {
    line->state.err = *err;
  } else {
    line->state.opened++;
    (void)memcpy(line->state.path, path, strlen(path) + 1); /* of a port: as long */
  }
  if (line->wakeup != NULL) {
    sip_wakeup_send(line->wakeup);
  }
  pthread_mutex_unlock(&line->mu);
}

void sip_line_passed(struct sip_serial_line *line, bool out, const void *bytes, size_t size)
{
  const uint8_t *from = bytes;
  uv_timeval64_t now = { 0 };

  (void)uv_gettimeofday(&now); /* cannot fail with a valid pointer */
  pthread_mutex_lock(&line->mu);
  *(out ? &line->state.bytes_out : &line->state.bytes_in) += size;
  for (size_t at = 0; at < size;) {
    struct sip_serial_traffic *one = &line->traffic[line->traffic_count++ % SIP_SERIAL_TRAFFIC];

    one->at_ms = now.tv_sec * 1000 + now.tv_usec / 1000;
    one->out = out;
    one->size = (unsigned)(size - at < sizeof one->bytes ? size - at : sizeof one->bytes);
    memcpy(one->bytes, from + at, one->size);
    at += one->size;
  }
  pthread_mutex_unlock(&line->mu);
}

size_t sip_serial_traffic(struct sip_serial_line *line, struct sip_serial_traffic *out)
{
  size_t count;

  pthread_mutex_lock(&line->mu);
  count = line->traffic_count < SIP_SERIAL_TRAFFIC ? line->traffic_count : SIP_SERIAL_TRAFFIC;
  for (size_t i = 0; i < count; i++) {
    out[i] = line->traffic[(line->traffic_count - count + i) % SIP_SERIAL_TRAFFIC];
  }
  pthread_mutex_unlock(&line->mu);
  return count;
}

/* --- on the loop --- */

static void line_on_wakeup(void *arg)
{
  struct sip_serial_line *line = arg;
  struct sip_list results, *node;

  sip_list_init(&results);
  sip_line_ref(line); /* a callback may close it */
  pthread_mutex_lock(&line->mu);
  sip_list_move(&results, &line->results);
  pthread_mutex_unlock(&line->mu);
  while (!line->closed && (node = sip_list_shift(&results)) != NULL) {
    struct kept *kept = SIP_CONTAINER(node, struct kept, link);
    struct sip_note *note = kept->note;

    free(kept);
    line->callbacks.on_result(line->arg, note);
  }
  notes_free(&results);
  if (!line->closed) {
    line->callbacks.on_change(line->arg);
  }
  sip_line_unref(line);
}

int sip_serial_open(struct sip_serial_line **out, struct sip_serial *serial, uv_loop_t *loop,
                    const struct sip_serial_options *options,
                    const struct sip_serial_callbacks *callbacks, void *arg, struct sip_err *err)
{
  struct sip_serial_line *line = sip_line_new(serial, err);
  struct sip_joint *joint;
  int rc;

  if (line == NULL) {
    return UV_ENOMEM;
  }
  line->callbacks = *callbacks;
  line->arg = arg;
  rc = sip_wakeup_new(&line->wakeup, loop, line_on_wakeup, line);
  if (rc < 0) {
    rc = sip_err_set(err, rc, "serial: no wake-up for a line");
    goto failed;
  }
  joint = sip_joint_new(line, options, err); /* has a reference of its own */
  if (joint == NULL) {
    rc = err->code < 0 ? err->code : UV_ENOMEM;
    goto failed;
  }
  line->joint = joint;
  rc = sip_thread_join(serial, joint, err);
  if (rc < 0) {
    sip_joint_free(joint);
    goto failed;
  }
  *out = line;
  return 0;
failed:
  sip_wakeup_close(line->wakeup);
  sip_serial_unref(serial);
  sip_line_unref(line);
  return rc;
}

int sip_serial_command(struct sip_serial_line *line, const struct sip_note *command,
                       struct sip_err *err)
{
  struct kept *spare = spare_new();
  bool full;
  int rc;

  if (spare == NULL) {
    return sip_err_set(err, UV_ENOMEM, "%s: out of memory", command->name);
  }
  pthread_mutex_lock(&line->mu);
  full = line->open_commands >= SIP_SERIAL_COMMANDS;
  if (!full) {
    line->open_commands++;
    sip_list_push(&line->spares, &spare->link);
  }
  pthread_mutex_unlock(&line->mu);
  if (full) {
    free(spare->note);
    free(spare);
    return sip_err_set(err, SIP_EQUEUEFULL, "%s: %d commands have no result yet: wait for one",
                       command->name, SIP_SERIAL_COMMANDS);
  }
  rc = sip_thread_command(line->serial, line->joint, command, err);
  if (rc < 0) {
    struct sip_list gone;

    sip_list_init(&gone);
    pthread_mutex_lock(&line->mu);
    line->open_commands--;
    sip_list_push(&gone, sip_list_shift(&line->spares)); /* any: they are the same */
    pthread_mutex_unlock(&line->mu);
    notes_free(&gone);
  }
  return rc;
}

struct sip_note *sip_serial_next(struct sip_serial_line *line)
{
  struct sip_list *node;
  struct sip_note *note = NULL;
  struct kept *kept = NULL;

  pthread_mutex_lock(&line->mu);
  node = sip_list_shift(&line->events);
  if (node != NULL) {
    kept = SIP_CONTAINER(node, struct kept, link);
    note = kept->note;
    line->event_count--;
    line->event_bytes -= kept->bytes;
  }
  pthread_mutex_unlock(&line->mu);
  free(kept);
  return note;
}

void sip_serial_keep(struct sip_serial_line *line, struct sip_note *note)
{
  struct kept *kept = malloc(sizeof *kept);
  struct sip_list gone;

  sip_list_init(&gone);
  if (kept != NULL) {
    *kept = (struct kept){ .note = note, .bytes = note_bytes(note) };
  } else {
    free(note);
  }
  pthread_mutex_lock(&line->mu);
  if (kept != NULL) {
    events_push(line, kept, &gone);
  } else {
    line->state.dropped++;
  }
  pthread_mutex_unlock(&line->mu);
  notes_free(&gone);
}

void sip_serial_state(struct sip_serial_line *line, struct sip_serial_state *out)
{
  pthread_mutex_lock(&line->mu);
  *out = line->state;
  pthread_mutex_unlock(&line->mu);
}

void sip_serial_close(struct sip_serial_line *line)
{
  struct sip_wakeup *wakeup;
  struct sip_serial *serial;

  if (line == NULL || line->closed) {
    return;
  }
  line->closed = true;
  pthread_mutex_lock(&line->mu);
  wakeup = line->wakeup;
  line->wakeup = NULL; /* the thread sends to it no more */
  pthread_mutex_unlock(&line->mu);
  sip_wakeup_close(wakeup);
  serial = line->serial;
  sip_thread_part(serial, line->joint);
  sip_line_unref(line);
  sip_serial_unref(serial);
}
