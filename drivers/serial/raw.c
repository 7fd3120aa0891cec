/* raw.c - the party of a script: frames of a preset in, bytes out, and what cannot wait for a
 * script done at once: answers to what a board asks, and questions that take turns. */
#include "serial/raw.h"

#include "core/nearest.h"
#include "serial/echo.h"
#include "serial/preset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
  ASKS = 16,
  ANSWERS = 16,
  ANSWER_TO = 16,
  ANSWER_WITH = 256,
  ASK_BYTES = 4096,
  SILENCE_US = 66000 /* ends an echo: what an adapter holds back, and some */
};

struct ask {
  uint64_t ticket;
  int64_t timeout_us;
  uint8_t *bytes; /* owned */
  size_t size;
};

struct answer {
  uint8_t to[ANSWER_TO], with[ANSWER_WITH];
  size_t to_size, with_size;
};

struct raw {
  struct sip_party party;
  struct sip_preset preset;
  bool up;
  bool echoes; /* what is sent comes back, and is not told */
  struct sip_echo echo;
  int64_t busy_us;       /* when something last went over the line */
  int64_t now_us;        /* of the call */
  struct ask asks[ASKS]; /* a ring; the first one's bytes were sent */
  unsigned first, count;
  int64_t until_us; /* of the first one's answer */
  struct answer answers[ANSWERS];
  unsigned answer_count;
};

static struct raw *raw_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct raw, party);
}

static int raw_send(struct raw *raw, const void *bytes, size_t size)
{
  int rc = raw->up ? raw->party.line->send(raw->party.line, bytes, size) : UV_ENOTCONN;

  if (rc == 0 && raw->echoes) {
    (void)sip_echo_sent(&raw->echo, bytes, size); /* of too much at once, the echo is told */
    raw->busy_us = raw->now_us;
  }
  return rc;
}

static bool echo_pending(const struct raw *raw)
{
  return raw->echo.seen < raw->echo.size || raw->echo.differs;
}

/* --- questions --- */

/* Ends the first one. */
static void ask_end(struct raw *raw, const char *reason, const uint8_t *bytes, size_t size)
{
  struct ask *ask = &raw->asks[raw->first];
  struct sip_note result = { .name = "result", .ticket = ask->ticket };

  (void)sip_note_bool(&result, "ok", reason == NULL);
  if (reason != NULL) {
    (void)sip_note_text(&result, "reason", reason);
  } else {
    (void)sip_note_bytes(&result, "bytes", bytes, size);
  }
  free(ask->bytes);
  ask->bytes = NULL;
  raw->first = (raw->first + 1) % ASKS;
  raw->count--;
  raw->until_us = SIP_NEVER_US;
  raw->party.line->tell(raw->party.line, &result);
}

static void asks_end(struct raw *raw, const char *reason)
{
  while (raw->count > 0) {
    ask_end(raw, reason, NULL, 0);
  }
}

/* Sends the first one, unless it was sent. */
static void ask_next(struct raw *raw)
{
  while (raw->count > 0 && raw->until_us == SIP_NEVER_US) {
    const struct ask *ask = &raw->asks[raw->first];

    if (raw_send(raw, ask->bytes, ask->size) < 0) {
      ask_end(raw, "link", NULL, 0);
    } else {
      raw->until_us = raw->now_us + ask->timeout_us;
    }
  }
}

/* --- what comes --- */

static void tell_bytes(struct raw *raw, const char *name, const uint8_t *bytes, size_t size)
{
  struct sip_note note = { .name = name };

  (void)sip_note_bytes(&note, "bytes", bytes, size);
  (void)sip_note_int(&note, "at_us", raw->now_us);
  raw->party.line->tell(raw->party.line, &note);
}

static void tell_noise(struct raw *raw)
{
  struct sip_note note = { .name = "noise" };

  if (raw->preset.dropped > 0) {
    (void)sip_note_int(&note, "dropped", (int64_t)raw->preset.dropped);
    raw->preset.dropped = 0;
    raw->party.line->tell(raw->party.line, &note);
  }
}

static void raw_on_frame(void *arg, const uint8_t *frame, size_t size)
{
  struct raw *raw = arg;

  for (unsigned i = 0; i < raw->answer_count; i++) {
    const struct answer *answer = &raw->answers[i];

    if (size >= answer->to_size && memcmp(frame, answer->to, answer->to_size) == 0) {
      if (raw_send(raw, answer->with, answer->with_size) == 0) {
        return;
      }
      break; /* it was not answered: the script may know what to do */
    }
  }
  if (raw->count > 0) {
    ask_end(raw, NULL, frame, size);
    ask_next(raw);
  } else {
    tell_bytes(raw, "frame", frame, size);
  }
}

static void raw_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct raw *raw = raw_of(party);

  raw->now_us = raw->busy_us = now_us;
  if (raw->echoes) {
    size_t ours = sip_echo_strip(&raw->echo, bytes, size);

    bytes += ours;
    size -= ours;
  }
  if (size == 0) {
    return;
  }
  if (raw->preset.framing == SIP_PRESET_NONE) {
    tell_bytes(raw, "data", bytes, size);
    return;
  }
  sip_preset_feed(&raw->preset, now_us, bytes, size, raw_on_frame, raw);
  tell_noise(raw);
}

static void raw_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct raw *raw = raw_of(party);

  raw->now_us = now_us;
  raw->up = up;
  if (!up) {
    sip_preset_reset(&raw->preset);
    sip_echo_silence(&raw->echo);
    tell_noise(raw);
    asks_end(raw, "link");
  }
}

static int64_t raw_due_us(const struct sip_party *party)
{
  const struct raw *raw = SIP_CONTAINER(party, const struct raw, party);
  int64_t due = sip_preset_due_us(&raw->preset);

  if (echo_pending(raw) && raw->busy_us + SILENCE_US < due) {
    due = raw->busy_us + SILENCE_US;
  }
  return raw->until_us < due ? raw->until_us : due;
}

static void raw_on_due(struct sip_party *party, int64_t now_us)
{
  struct raw *raw = raw_of(party);

  raw->now_us = now_us;
  if (echo_pending(raw) && raw->busy_us + SILENCE_US <= now_us) {
    sip_echo_silence(&raw->echo);
  }
  sip_preset_on_due(&raw->preset, now_us, raw_on_frame, raw);
  tell_noise(raw);
  if (raw->count > 0 && raw->until_us <= now_us) {
    ask_end(raw, "timeout", NULL, 0);
    ask_next(raw);
  }
}

/* --- commands --- */

static const struct sip_value *bytes_of(const struct sip_note *command, const char *name,
                                        size_t most, struct sip_err *err)
{
  const struct sip_value *bytes = sip_note_find(command, name);

  if (bytes == NULL || bytes->kind != SIP_VALUE_TEXT || bytes->size == 0 || bytes->size > most) {
    (void)sip_err_set(err, UV_EINVAL, "%s: %s is 1 to %zu bytes", command->name, name, most);
    return NULL;
  }
  return bytes;
}

static int do_write(struct raw *raw, const struct sip_note *command, struct sip_err *err)
{
  const struct sip_value *bytes = bytes_of(command, "bytes", SIP_PRESET_MAX, err);
  int rc;

  if (bytes == NULL) {
    return err->code;
  }
  rc = raw_send(raw, bytes->text, bytes->size);
  if (rc == SIP_EQUEUEFULL) {
    return sip_err_set(err, rc, "write: the port does not take them so fast: wait, then repeat");
  }
  return rc < 0 ? sip_err_set(err, rc, "write: the port is not there") : 0;
}

static int do_ask(struct raw *raw, const struct sip_note *command, struct sip_err *err)
{
  const struct sip_value *bytes = bytes_of(command, "bytes", ASK_BYTES, err);
  int64_t timeout_ms = sip_note_number(command, "timeout_ms", 1000);
  struct ask *ask;

  if (bytes == NULL) {
    return err->code;
  }
  if (raw->preset.framing == SIP_PRESET_NONE) {
    return sip_err_set(err, UV_EINVAL, "ask: without framing there is no end of an answer");
  }
  if (timeout_ms < 1 || timeout_ms > 3600000) {
    return sip_err_set(err, UV_EINVAL, "ask: timeout_ms is 1 to 3600000, not %" PRId64, timeout_ms);
  }
  if (raw->count == ASKS) {
    return sip_err_set(err, SIP_EQUEUEFULL, "ask: %d wait for their answers", ASKS);
  }
  ask = &raw->asks[(raw->first + raw->count) % ASKS];
  ask->bytes = malloc(bytes->size);
  if (ask->bytes == NULL) {
    return sip_err_set(err, UV_ENOMEM, "ask: out of memory");
  }
  memcpy(ask->bytes, bytes->text, bytes->size);
  ask->size = bytes->size;
  ask->ticket = command->ticket;
  ask->timeout_us = timeout_ms * 1000;
  raw->count++;
  ask_next(raw);
  return 0;
}

static int do_answer(struct raw *raw, const struct sip_note *command, struct sip_err *err)
{
  const struct sip_value *to = bytes_of(command, "to", ANSWER_TO, err), *with = NULL;
  unsigned i = 0;

  if (to == NULL) {
    return err->code;
  }
  if (sip_note_find(command, "with") != NULL) {
    with = bytes_of(command, "with", ANSWER_WITH, err);
    if (with == NULL) {
      return err->code;
    }
  }
  while (i < raw->answer_count && (raw->answers[i].to_size != to->size ||
                                   memcmp(raw->answers[i].to, to->text, to->size) != 0)) {
    i++;
  }
  if (with == NULL) { /* no more */
    if (i < raw->answer_count) {
      raw->answers[i] = raw->answers[--raw->answer_count];
    }
    return 0;
  }
  if (i == ANSWERS) {
    return sip_err_set(err, SIP_EQUEUEFULL, "answer: there are %d already", ANSWERS);
  }
  raw->answer_count += i == raw->answer_count;
  memcpy(raw->answers[i].to, to->text, to->size);
  memcpy(raw->answers[i].with, with->text, with->size);
  raw->answers[i].to_size = to->size;
  raw->answers[i].with_size = with->size;
  return 0;
}

static const char *const commands[] = { "write", "ask", "answer", NULL };
static const char *const setting_names[] = { "framing", "delimiter", "start", "at",  "width",
                                             "little",  "extra",     "size",  "max", "gap_ms",
                                             "check",   "echo",      NULL };

static int refuse(const char *what, const char *name, const char *const *known, struct sip_err *err)
{
  const char *best = NULL;
  size_t distance = 0;

  for (size_t i = 0; known[i] != NULL; i++) {
    sip_nearest_consider(name, known[i], &best, &distance);
  }
  return sip_err_set(err, UV_EINVAL, "serial: a line without protocol has no %s %s%s%s%s", what,
                     name, best == NULL ? "" : " (did you mean ", best == NULL ? "" : best,
                     best == NULL ? "" : "?)");
}

static int raw_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  struct raw *raw = raw_of(party);
  struct sip_note result = { .name = "result", .ticket = command->ticket };
  int rc;

  raw->now_us = now_us;
  if (strcmp(command->name, "ask") == 0) {
    return do_ask(raw, command, err);
  }
  if (strcmp(command->name, "write") == 0) {
    rc = do_write(raw, command, err);
  } else if (strcmp(command->name, "answer") == 0) {
    rc = do_answer(raw, command, err);
  } else {
    return refuse("command", command->name, commands, err);
  }
  if (rc == 0) {
    (void)sip_note_bool(&result, "ok", true);
    party->line->tell(party->line, &result);
  }
  return rc;
}

/* --- lifetime --- */

static void raw_free(struct sip_party *party)
{
  struct raw *raw = raw_of(party);

  asks_end(raw, "closed");
  sip_preset_deinit(&raw->preset);
  free(raw);
}

static const struct sip_party_ops raw_ops = { raw_on_link, raw_on_bytes, raw_due_us,
                                              raw_on_due,  raw_command,  raw_free };

static struct sip_party *raw_new(const struct sip_note *settings, struct sip_line *line,
                                 struct sip_err *err)
{
  struct raw *raw;

  for (unsigned i = 0; i < settings->count; i++) {
    size_t k = 0;

    while (setting_names[k] != NULL && strcmp(setting_names[k], settings->fields[i].name) != 0) {
      k++;
    }
    if (setting_names[k] == NULL) {
      (void)refuse("setting", settings->fields[i].name, setting_names, err);
      return NULL;
    }
  }
  raw = calloc(1, sizeof *raw);
  if (raw == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "serial: no memory for a line");
    return NULL;
  }
  raw->party.ops = &raw_ops;
  raw->party.line = line;
  raw->until_us = SIP_NEVER_US;
  raw->echoes = sip_note_number(settings, "echo", 0) != 0;
  if (sip_preset_init(&raw->preset, settings, err) < 0) {
    raw_free(&raw->party);
    return NULL;
  }
  return &raw->party;
}

static size_t raw_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room)
{
  (void)bytes;
  (void)from_host;
  if (room > 0) {
    text[0] = '\0'; /* it has no frames to put into words */
  }
  return size;
}

const struct sip_protocol sip_protocol_raw = {
  .name = "raw",
  .title = "no protocol: a script speaks",
  .line = { 9600, 8, 1, SIP_PARITY_NONE, -1, -1 },
  .proof = "none",
  .settings = setting_names,
  .commands = commands,
  .engine = raw_new,
  .simulator = raw_new,
  .describe = raw_describe,
};
