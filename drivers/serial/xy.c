/* xy.c - the engine of the FA FB board: answers its polls, and takes its frames as events. On the
 * serial thread, or in a test. */
#include "serial/xy.h"

#include "serial/fields.h"
#include "serial/xy_state.h"

#include <stdlib.h>
#include <string.h>

/* An answer has to be there 100 ms after the poll; a later one would be taken for the next one's.
 */
enum { ANSWER_US = 80000 };

static const char *const SETTINGS[] = { "drive",       "sensor",  "lift",     "job_ms", "order_ms",
                                        "drain_polls", "down_ms", "reply_ms", NULL };
static const char *const COMMANDS[] = { "identify", "status",    "counters", "dispense", "resolve",
                                        "clear",    "slot",      "machine",  "lift",     "sync",
                                        "price",    "inventory", "capacity", "product",  "interval",
                                        "accept",   "cancel",    NULL };

int xy_send(struct xy *xy, uint8_t command, uint8_t number, const void *text, size_t size)
{
  uint8_t frame[SIP_XY_FRAME];
  size_t whole = sip_xy_write(frame, command, number, text, size);

  return xy->party.line->send(xy->party.line, frame, whole);
}

uint8_t xy_next_number(struct xy *xy)
{
  xy->number = xy->number == 255 ? 1 : (uint8_t)(xy->number + 1);
  return xy->number;
}

void xy_tell(struct xy *xy, const struct sip_note *note)
{
  xy->party.line->tell(xy->party.line, note);
}

void xy_answer(struct xy *xy, uint64_t ticket, const char *code, const char *reason)
{
  struct sip_note note = { .name = "result", .ticket = ticket };

  (void)sip_note_bool(&note, "ok", code == NULL);
  if (code != NULL) {
    (void)sip_note_text(&note, "code", code);
    (void)sip_note_text(&note, "reason", reason);
  }
  xy_tell(xy, &note);
}

static void xy_lost(struct xy *xy, const char *code)
{
  struct sip_note note = { .name = "lost" };

  xy->seen = false;
  (void)sip_note_text(&note, "code", code);
  xy_tell(xy, &note);
}

static void xy_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct xy *xy = (struct xy *)party;

  if (xy->up == up) {
    return;
  }
  xy->up = up;
  xy->polled_us = now_us;
  xy->polls = 0;
  xy->awaits = XY_NOTHING;
  sip_framer_reset(&xy->framer);
  if (!up) {
    xy_job_link_lost(xy, now_us);
    xy_ask_link_lost(xy);
    if (xy->seen) {
      xy_lost(xy, "NO_LINK");
    }
  }
}

/* The board asks whether there is anything. */
static void xy_polled(struct xy *xy, int64_t now_us)
{
  xy->polled_us = now_us;
  xy->awaits = XY_NOTHING; /* what was not acknowledged until now will not be */
  if (!xy->seen) {
    struct sip_note note = { .name = "identified" };

    xy->seen = true;
    xy->polls = 0;
    (void)sip_note_text(&note, "kind", "xy");
    (void)sip_note_text(&note, "id", ""); /* it has no name: the socket says which one it is */
    xy_tell(xy, &note);
  }
  xy_ask_polled(xy);
  xy->polls++;
}

static void xy_answer_poll(struct xy *xy, int64_t now_us)
{
  bool ready = xy->polls > xy->set.drain_polls;

  if (!ready ||
      (!xy_job_order(xy, now_us) && (xy->job.state == XY_SENT || !xy_ask_send(xy, now_us)))) {
    (void)xy_send(xy, SIP_XY_ACK, 0, NULL, 0); /* without it the board polls again */
  }
}

static void xy_event(struct xy *xy, const struct sip_xy_frame *frame)
{
  const uint8_t *t = frame->text;
  struct sip_note note = { .name = NULL };

  if (frame->command == SIP_XY_MONEY_IN && frame->size >= 5) {
    note.name = "credit";
    (void)sip_note_int(&note, "mode", t[0]);
    (void)sip_note_int(&note, "amount_minor", sip_xy_number(t + 1, 4));
  } else if (frame->command == SIP_XY_SELECT && frame->size >= 2) {
    note.name = "selected";
    (void)sip_note_int(&note, "slot", sip_xy_number(t, 2));
  } else if (frame->command == SIP_XY_SLOT_INFO && frame->size >= 11) {
    note.name = "slot";
    (void)sip_note_int(&note, "slot", sip_xy_number(t, 2));
    (void)sip_note_int(&note, "amount_minor", sip_xy_number(t + 2, 4));
    (void)sip_note_int(&note, "inventory", t[6]);
    (void)sip_note_int(&note, "capacity", t[7]);
    (void)sip_note_int(&note, "product", sip_xy_number(t + 8, 2));
    (void)sip_note_int(&note, "state", t[10]);
  } else if (frame->command == SIP_XY_FULL_LOAD) {
    note.name = "button";
  }
  if (note.name != NULL) {
    xy_tell(xy, &note);
  }
}

/* A frame with a number: once, however often the board repeats it. */
static void xy_data(struct xy *xy, int64_t now_us, const struct sip_frame *raw,
                    const struct sip_xy_frame *frame)
{
  if (raw->size == xy->last_size && memcmp(raw->bytes, xy->last, raw->size) == 0) {
    return;
  }
  memcpy(xy->last, raw->bytes, raw->size);
  xy->last_size = raw->size;
  if (frame->command == SIP_XY_JOB_STATUS && frame->size >= 3) {
    xy_job_status(xy, now_us, (uint16_t)sip_xy_number(frame->text + 1, 2), frame->text[0]);
  } else {
    xy_ask_frame(xy, frame);
    xy_event(xy, frame);
  }
}

/* The last frame that has to be answered. */
struct heard {
  bool is;
  uint8_t command;
  int64_t last_us;
};

static void xy_frames(struct xy *xy, int64_t now_us, const uint8_t *bytes, size_t size,
                      struct heard *heard)
{
  struct sip_frame raw;
  struct sip_xy_frame frame;

  while (sip_framer_take(&xy->framer, now_us, &bytes, &size, &raw)) {
    if (sip_xy_read(raw.bytes, raw.size, &frame) != SIP_XY_OK) {
      continue; /* not after the framer's look */
    }
    if (frame.command == SIP_XY_POLL) {
      xy_polled(xy, now_us);
    } else if (frame.command == SIP_XY_ACK) {
      if (xy->awaits == XY_ORDER_ACK) {
        xy_job_acked(xy);
      } else if (xy->awaits == XY_ASK_ACK) {
        xy_ask_acked(xy, now_us);
      }
      xy->awaits = XY_NOTHING;
      continue; /* is answered by nothing */
    } else {
      xy_data(xy, now_us, &raw, &frame);
    }
    *heard = (struct heard){ true, frame.command, raw.last_us };
  }
}

/* Answers the last frame alone: whoever waits for more than one answer has given up the first. */
static void xy_answer_last(struct xy *xy, int64_t now_us, const struct heard *heard)
{
  uint64_t dropped = sip_framer_noise(&xy->framer);

  if (heard->is && now_us - heard->last_us <= ANSWER_US) {
    if (heard->command == SIP_XY_POLL) {
      xy_answer_poll(xy, now_us);
    } else {
      (void)xy_send(xy, SIP_XY_ACK, 0, NULL, 0); /* else the board says it again */
    }
  }
  if (dropped > 0) {
    struct sip_note note = { .name = "noise" };

    (void)sip_note_int(&note, "dropped", (int64_t)dropped);
    xy_tell(xy, &note);
  }
}

static void xy_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct xy *xy = (struct xy *)party;
  struct heard heard = { .is = false };

  xy_frames(xy, now_us, bytes, size, &heard);
  xy_answer_last(xy, now_us, &heard);
}

static int64_t least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t xy_due_us(const struct sip_party *party)
{
  const struct xy *xy = (const struct xy *)party;
  int64_t due_us = sip_framer_due_us(&xy->framer);

  if (xy->seen) {
    due_us = least(due_us, xy->polled_us + xy->set.down_us);
  }
  if (xy->job.state != XY_NO_JOB) {
    due_us = least(due_us, xy->job.deadline_us);
  }
  for (unsigned i = 0; i < xy->ask_count; i++) {
    due_us = least(due_us, xy->asks[i].give_up_us);
  }
  return due_us;
}

static void xy_on_due(struct sip_party *party, int64_t now_us)
{
  struct xy *xy = (struct xy *)party;
  struct heard heard = { .is = false };

  if (sip_framer_late(&xy->framer, now_us)) {
    xy_frames(xy, now_us, NULL, 0, &heard);
    xy_answer_last(xy, now_us, &heard);
  }
  if (xy->seen && now_us >= xy->polled_us + xy->set.down_us) {
    xy->polls = 0; /* it may have been reset: what it then says first is old */
    xy_lost(xy, "SILENT");
  }
  xy_job_due(xy, now_us);
  xy_ask_due(xy, now_us);
}

static void xy_status(struct xy *xy, int64_t now_us, uint64_t ticket)
{
  struct sip_note note = { .name = "result", .ticket = ticket };
  int64_t locked = 0;

  for (size_t i = 0; i < sizeof xy->locked; i++) {
    locked += __builtin_popcount(xy->locked[i]);
  }
  (void)sip_note_bool(&note, "ok", xy->seen);
  (void)sip_note_text(&note, "state",
                      !xy->up                            ? "no_link"
                      : !xy->seen                        ? "silent"
                      : xy->job.state != XY_NO_JOB       ? "dispensing"
                      : xy->polls <= xy->set.drain_polls ? "starting"
                                                         : "idle");
  (void)sip_note_int(&note, "polled_ms_ago", (now_us - xy->polled_us) / 1000);
  (void)sip_note_int(&note, "locked", locked);
  xy_tell(xy, &note);
}

static int xy_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                      struct sip_err *err)
{
  struct xy *xy = (struct xy *)party;

  if (strcmp(command->name, "dispense") == 0) {
    return xy_job_dispense(xy, now_us, command, err);
  }
  if (strcmp(command->name, "resolve") == 0) {
    return xy_job_resolve(xy, now_us, command, err);
  }
  if (strcmp(command->name, "clear") == 0) {
    return xy_job_clear(xy, command, err);
  }
  if (strcmp(command->name, "status") == 0) {
    xy_status(xy, now_us, command->ticket);
    return 0;
  }
  if (strcmp(command->name, "counters") == 0) { /* it has none */
    xy_answer(xy, command->ticket, NULL, NULL);
    return 0;
  }
  return xy_ask_command(xy, now_us, command, err);
}

static void xy_free(struct sip_party *party)
{
  struct xy *xy = (struct xy *)party;

  xy_job_link_lost(xy, xy->polled_us);
  xy_ask_link_lost(xy);
  sip_framer_deinit(&xy->framer);
  free(xy);
}

static const struct sip_party_ops OPS = { xy_on_link, xy_on_bytes, xy_due_us,
                                          xy_on_due,  xy_command,  xy_free };

static int xy_settings(struct xy_settings *set, const struct sip_note *note, struct sip_err *err)
{
  int64_t job_ms = sip_note_number(note, "lift", 0) != 0 ? 120000 : 60000;
  const struct sip_setting fields[] = {
    { "drive", NULL, 0, 1, 1, 1, &set->drive },
    { "sensor", NULL, 0, 1, 1, 1, &set->sensor },
    { "lift", NULL, 0, 1, 0, 1, &set->lift },
    { "job_ms", NULL, 100, 3600000, job_ms, 1000, &set->job_us },
    { "order_ms", NULL, 100, 600000, 5000, 1000, &set->order_us },
    { "drain_polls", NULL, 0, 1000, 5, 1, &set->drain_polls },
    { "down_ms", NULL, 500, 600000, 2000, 1000, &set->down_us },
    { "reply_ms", NULL, 100, 600000, 2000, 1000, &set->reply_us },
  };

  return sip_fields_settings(note, "xy", fields, sizeof fields / sizeof fields[0], err);
}

static struct sip_party *xy_engine(const struct sip_note *settings, struct sip_line *line,
                                   struct sip_err *err)
{
  struct xy *xy = calloc(1, sizeof *xy);

  if (xy == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "xy: no memory for the engine");
    return NULL;
  }
  xy->party = (struct sip_party){ &OPS, line };
  if (xy_settings(&xy->set, settings, err) < 0) {
    free(xy);
    return NULL;
  }
  if (sip_framer_init(&xy->framer, &sip_xy_framing, NULL) < 0) {
    (void)sip_err_set(err, UV_ENOMEM, "xy: no memory for the engine");
    free(xy);
    return NULL;
  }
  return &xy->party;
}

const struct sip_protocol sip_protocol_xy = {
  .name = "xy",
  .title = "FA FB dispenser board (the board polls)",
  .line = { 57600, 8, 1, SIP_PARITY_NONE, -1, -1 },
  .proof = "sensor",
  .settings = SETTINGS,
  .commands = COMMANDS,
  .engine = xy_engine,
  .simulator = sip_xy_simulator,
  .describe = sip_xy_describe,
};
