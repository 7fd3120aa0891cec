/* qibixx.c - the engine of the Qibixx MDB interface: its lines, whoever they are for, and what
 * keeps it on. On the serial thread, or in a test. */
#include "serial/qibixx.h"

#include "serial/fields.h"
#include "serial/qibixx_state.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNANSWERED_LOST = 3, COMMAND_BYTES = 128 };

static const char *const SETTINGS[] = { "slave",       "master",  "decimals",  "reply_ms",
                                        "decision_ms", "vend_ms", "health_ms", NULL };
static const char *const COMMANDS[] = { "identify", "status", "counters", "dispense",
                                        "resolve",  "deny",   "session",  "charge",
                                        "settle",   "cancel", NULL };

int qibixx_send(struct qibixx *qibixx, const char *format, ...)
{
  char line[COMMAND_BYTES];
  va_list args;
  int len;

  va_start(args, format);
  len = vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  if (len < 0 || (size_t)len >= sizeof line - 1) {
    return UV_EINVAL;
  }
  line[len] = '\n';
  return qibixx->party.line->send(qibixx->party.line, line, (size_t)len + 1);
}

void qibixx_tell(struct qibixx *qibixx, const struct sip_note *note)
{
  qibixx->party.line->tell(qibixx->party.line, note);
}

void qibixx_answer(struct qibixx *qibixx, uint64_t ticket, const char *code, const char *reason)
{
  struct sip_note note = { .name = "result", .ticket = ticket };

  (void)sip_note_bool(&note, "ok", code == NULL);
  if (code != NULL) {
    (void)sip_note_text(&note, "code", code);
    (void)sip_note_text(&note, "reason", reason);
  }
  qibixx_tell(qibixx, &note);
}

void qibixx_outcome(struct qibixx *qibixx, uint64_t ticket, const char *outcome, const char *code,
                    const char *reason, int64_t amount_minor)
{
  struct sip_note note = { .name = "result", .ticket = ticket };

  (void)sip_note_text(&note, "outcome", outcome);
  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  (void)sip_note_text(&note, "proof", "none"); /* a word of the other side, never a sensor */
  (void)sip_note_int(&note, "quantity", strcmp(outcome, "done") == 0 ? 1 : 0);
  (void)sip_note_int(&note, "amount_minor", amount_minor);
  qibixx_tell(qibixx, &note);
}

int qibixx_error(const struct sip_qibixx_line *line, const char *what)
{
  size_t len = strlen(what);
  const char *text;
  size_t size;
  int number = 0, sign = 1;

  if (line->count != 3) {
    return INT_MIN;
  }
  text = line->fields[2].data;
  size = line->fields[2].len;
  if (size >= 2 && text[0] == '"' && text[size - 1] == '"') {
    text++;
    size -= 2;
  }
  if (size < len + 2 || memcmp(text, what, len) != 0 || text[len] != ' ') {
    return INT_MIN;
  }
  text += len + 1;
  size -= len + 1;
  if (text[0] == '-' && size > 1) {
    sign = -1;
    text++;
    size--;
  }
  for (size_t i = 0; i < size; i++) {
    if (text[i] < '0' || text[i] > '9' || i > 3) {
      return INT_MIN;
    }
    number = number * 10 + (text[i] - '0');
  }
  return sign * number;
}

/* Whatever has to be on and is not: sent when the link comes up, and with each sign of life. */
static void qibixx_keep(struct qibixx *qibixx)
{
  const struct qibixx_master *master = &qibixx->master;

  if (qibixx->set.slave && qibixx->slave.state == QIBIXX_SLAVE_OFF) {
    (void)qibixx_send(qibixx, "C,1");
  }
  if (!qibixx->set.master || master->job != QIBIXX_NO_JOB) {
    return;
  }
  if (master->state == QIBIXX_MASTER_OFF) {
    (void)qibixx_send(qibixx, "D,%d", (int)qibixx->set.master);
  } else if (master->state == QIBIXX_READER_INIT) {
    (void)qibixx_send(qibixx, "D,READER,1");
  } else if (master->state == QIBIXX_READER_VEND) {
    (void)qibixx_send(qibixx, "D,STATUS");
  }
}

static void qibixx_health(struct qibixx *qibixx, int64_t now_us)
{
  struct sip_note note = { .name = "lost" };

  qibixx->health_us = now_us + (qibixx->identified ? qibixx->set.health_us : qibixx->set.reply_us);
  if (++qibixx->unanswered > UNANSWERED_LOST && qibixx->identified) {
    qibixx->identified = false;
    (void)sip_note_text(&note, "code", "SILENT");
    qibixx_tell(qibixx, &note);
  }
  (void)qibixx_send(qibixx, "V");
  if (qibixx->identified) {
    qibixx_keep(qibixx);
  }
}

static void qibixx_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct qibixx *qibixx = (struct qibixx *)party;
  struct sip_note note = { .name = "lost" };

  if (qibixx->up == up) {
    return;
  }
  qibixx->up = up;
  qibixx->skips = false;
  qibixx->unanswered = 0;
  sip_framer_reset(&qibixx->framer);
  if (up) {
    qibixx_health(qibixx, now_us);
    return;
  }
  qibixx_slave_link_lost(qibixx);
  qibixx_master_link_lost(qibixx);
  if (qibixx->identified) {
    qibixx->identified = false;
    (void)sip_note_text(&note, "code", "NO_LINK");
    qibixx_tell(qibixx, &note);
  }
}

static void qibixx_keep_text(char *out, const struct sip_slice *field)
{
  (void)snprintf(out, QIBIXX_TEXT, "%.*s",
                 (int)(field->len < QIBIXX_TEXT ? field->len : QIBIXX_TEXT), field->data);
}

static void qibixx_version(struct qibixx *qibixx, const struct sip_qibixx_line *line)
{
  struct sip_note note = { .name = "identified" };

  if (line->count < 3) {
    return;
  }
  qibixx->unanswered = 0;
  if (qibixx->identified) {
    return;
  }
  qibixx_keep_text(qibixx->version, &line->fields[1]);
  qibixx_keep_text(qibixx->id, &line->fields[2]);
  qibixx->identified = true;
  (void)sip_note_text(&note, "kind", "qibixx");
  (void)sip_note_text(&note, "id", qibixx->id);
  (void)sip_note_text(&note, "version", qibixx->version);
  qibixx_tell(qibixx, &note);
  qibixx_keep(qibixx);
}

static void qibixx_line(struct qibixx *qibixx, int64_t now_us, const struct sip_frame *raw,
                        size_t *noise)
{
  struct sip_qibixx_line line;
  bool whole = raw->bytes[raw->size - 1] == '\n', skips = qibixx->skips;
  enum sip_qibixx_fault fault = sip_qibixx_read(raw->bytes, raw->size, &line);

  qibixx->skips = !whole; /* the rest of a line that is too long is no line */
  if (skips || (fault != SIP_QIBIXX_OK && fault != SIP_QIBIXX_EMPTY)) {
    *noise += raw->size;
  } else if (fault == SIP_QIBIXX_EMPTY) {
    return;
  } else if (sip_qibixx_is(&line, 0, "v")) {
    qibixx_version(qibixx, &line);
  } else if (sip_qibixx_is(&line, 0, "c") && qibixx->set.slave) {
    qibixx_slave_line(qibixx, now_us, &line);
  } else if (sip_qibixx_is(&line, 0, "d") && qibixx->set.master) {
    qibixx_master_line(qibixx, now_us, &line);
  } /* r,ACK and the sniffer's lines may stand anywhere */
}

static void qibixx_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes,
                            size_t size)
{
  struct qibixx *qibixx = (struct qibixx *)party;
  struct sip_frame raw;
  size_t noise = 0;

  while (sip_framer_take(&qibixx->framer, now_us, &bytes, &size, &raw)) {
    qibixx_line(qibixx, now_us, &raw, &noise);
  }
  if (noise > 0) {
    struct sip_note note = { .name = "noise" };

    (void)sip_note_int(&note, "dropped", (int64_t)noise);
    qibixx_tell(qibixx, &note);
  }
}

static int64_t qibixx_due_us(const struct sip_party *party)
{
  const struct qibixx *qibixx = (const struct qibixx *)party;
  int64_t due_us = qibixx_slave_due_us(qibixx), master_us = qibixx_master_due_us(qibixx);

  due_us = master_us < due_us ? master_us : due_us;
  return qibixx->up && qibixx->health_us < due_us ? qibixx->health_us : due_us;
}

static void qibixx_on_due(struct sip_party *party, int64_t now_us)
{
  struct qibixx *qibixx = (struct qibixx *)party;

  qibixx_slave_due(qibixx, now_us);
  qibixx_master_due(qibixx, now_us);
  if (qibixx->up && now_us >= qibixx->health_us) {
    qibixx_health(qibixx, now_us);
  }
}

static void qibixx_status(struct qibixx *qibixx, uint64_t ticket, bool identify)
{
  static const char *const SLAVE[] = { "off",     "inactive", "disabled", "enabled",
                                       "session", "request",  "approved" };
  static const char *const MASTER[] = {
    "off", "reset", "init", "idle", "credit", "vend", "result"
  };
  struct sip_note note = { .name = "result", .ticket = ticket };

  (void)sip_note_bool(&note, "ok", qibixx->identified);
  if (!qibixx->identified) {
    (void)sip_note_text(&note, "code", qibixx->up ? "SILENT" : "NO_LINK");
  }
  if (identify) {
    (void)sip_note_text(&note, "kind", "qibixx");
    (void)sip_note_text(&note, "id", qibixx->id);
    (void)sip_note_text(&note, "version", qibixx->version);
  } else {
    (void)sip_note_text(&note, "state",
                        qibixx->set.slave ? SLAVE[qibixx->slave.state]
                                          : MASTER[qibixx->master.state]);
    (void)sip_note_text(&note, "slave", SLAVE[qibixx->slave.state]);
    (void)sip_note_text(&note, "master", MASTER[qibixx->master.state]);
  }
  qibixx_tell(qibixx, &note);
}

static bool is_one_of(const char *name, const char *a, const char *b, const char *c)
{
  return strcmp(name, a) == 0 || strcmp(name, b) == 0 || strcmp(name, c) == 0;
}

static int qibixx_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err)
{
  struct qibixx *qibixx = (struct qibixx *)party;
  const char *name = command->name;
  bool slave = is_one_of(name, "dispense", "deny", "session");

  if (slave && !qibixx->set.slave) {
    return sip_err_set(err, UV_EINVAL, "qibixx %s: only with the setting slave = 1", name);
  }
  if (slave) {
    return qibixx_slave_command(qibixx, now_us, command, err);
  }
  if (is_one_of(name, "charge", "settle", "cancel")) {
    return qibixx->set.master
             ? qibixx_master_command(qibixx, now_us, command, err)
             : sip_err_set(err, UV_EINVAL, "qibixx %s: only with the setting master = 1 or 2",
                           name);
  }
  if (strcmp(name, "identify") == 0 || strcmp(name, "status") == 0) {
    qibixx_status(qibixx, command->ticket, strcmp(name, "identify") == 0);
  } else if (strcmp(name, "counters") == 0) { /* it has none */
    qibixx_answer(qibixx, command->ticket, NULL, NULL);
  } else if (strcmp(name, "resolve") == 0) {
    qibixx_outcome(qibixx, command->ticket, "unknown", "NOT_KNOWN",
                   "the interface keeps nothing of a sale that is over", 0);
  } else {
    return sip_err_set(err, SIP_ENOTFOUND, "qibixx: there is no command \"%s\"", name);
  }
  return 0;
}

static void qibixx_free(struct sip_party *party)
{
  struct qibixx *qibixx = (struct qibixx *)party;

  qibixx_slave_link_lost(qibixx);
  qibixx_master_link_lost(qibixx);
  sip_framer_deinit(&qibixx->framer);
  free(qibixx);
}

static const struct sip_party_ops OPS = { qibixx_on_link, qibixx_on_bytes, qibixx_due_us,
                                          qibixx_on_due,  qibixx_command,  qibixx_free };

static int qibixx_settings(struct qibixx_settings *set, const struct sip_note *note,
                           struct sip_err *err)
{
  const struct sip_setting fields[] = {
    { "slave", NULL, 0, 1, 1, 1, &set->slave },
    { "master", NULL, 0, 2, 0, 1, &set->master },
    { "decimals", NULL, 0, 4, 2, 1, &set->decimals },
    { "reply_ms", NULL, 50, 60000, 1000, 1000, &set->reply_us },
    { "decision_ms", NULL, 1000, 3600000, 60000, 1000, &set->decision_us },
    { "vend_ms", NULL, 1000, 3600000, 120000, 1000, &set->vend_us },
    { "health_ms", NULL, 100, 3600000, 5000, 1000, &set->health_us },
  };

  return sip_fields_settings(note, "qibixx", fields, sizeof fields / sizeof fields[0], err);
}

static struct sip_party *qibixx_engine(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err)
{
  struct qibixx *qibixx = calloc(1, sizeof *qibixx);

  if (qibixx == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "qibixx: no memory for the engine");
    return NULL;
  }
  qibixx->party = (struct sip_party){ &OPS, line };
  if (qibixx_settings(&qibixx->set, settings, err) < 0) {
    free(qibixx);
    return NULL;
  }
  if (sip_framer_init(&qibixx->framer, &sip_qibixx_framing, NULL) < 0) {
    (void)sip_err_set(err, UV_ENOMEM, "qibixx: no memory for the engine");
    free(qibixx);
    return NULL;
  }
  return &qibixx->party;
}

const struct sip_protocol sip_protocol_qibixx = {
  .name = "qibixx",
  .title = "Qibixx MDB-USB and Pi Hat: cashless slave and master",
  .line = { 115200, 8, 1, SIP_PARITY_NONE, -1, -1 },
  .proof = "none",
  .settings = SETTINGS,
  .commands = COMMANDS,
  .engine = qibixx_engine,
  .simulator = sip_qibixx_simulator,
  .describe = sip_qibixx_describe,
};
