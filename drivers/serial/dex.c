/* dex.c - the engine that reads audit data: one command, one session (or more, when they break
 * off).
 *
 * DEX: we bid and say who we are and that we read (first handshake), the machine answers (second
 * handshake), and sends its blocks. A machine that bids itself has its way: it says who it is, we
 * answer, and it sends. */
#include "serial/dex.h"

#include "core/base.h"
#include "core/buf.h"
#include "serial/ddcmp_link.h"
#include "serial/dex_link.h"
#include "serial/evadts.h"
#include "serial/fields.h"
#include "serial/noise.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  TEXT_MAX = 256 * 1024,
  AGAIN_US = 2500000, /* until the machine has given up the session too */
  PATIENCE_US = 2150000,
  DEADLINE_MS = 60000,
  ID_TEXT = 24
};

enum phase {
  PH_IDLE,
  PH_ASK,    /* first handshake, ours */
  PH_ANSWER, /* second handshake, the machine's */
  PH_THEIRS, /* first handshake, the machine's: it bid for master */
  PH_REPLY,  /* second handshake, ours */
  PH_DATA,
  PH_DDCMP,
  PH_PAUSE /* before the next session */
};

struct job {
  const char *name; /* static; NULL: none */
  uint64_t ticket;
  int64_t slot, quantity, slot_vends, deadline_us;
};

struct dex {
  struct sip_party party;
  bool up, ddcmp;
  char ours[SIP_DEX_ID + 1], revision[SIP_DEX_REVISION + 1];
  int64_t deadline_ms;
  struct sip_dex_link link;
  struct sip_ddcmp_link dd;
  struct sip_noise noise;
  enum phase phase;
  char header[32];
  struct job job;
  struct sip_buf text;
  bool identified;
  char id[ID_TEXT], their_revision[SIP_DEX_REVISION + 1];
  char refusal[3]; /* the code of the second handshake, when it is not 00 */
  unsigned blocks, sessions;
  int64_t again_us;
};

static struct dex *dex_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct dex, party);
}

static void tell(struct dex *dex, struct sip_note *note)
{
  dex->party.line->tell(dex->party.line, note);
}

static struct sip_note result_of(const struct dex *dex, bool ok)
{
  struct sip_note note = { .name = "result", .ticket = dex->job.ticket };

  (void)sip_note_bool(&note, "ok", ok);
  (void)sip_note_text(&note, "id", dex->id);
  (void)sip_note_text(&note, "revision", dex->their_revision);
  return note;
}

static void stop(struct dex *dex)
{
  sip_dex_link_stop(&dex->link);
  sip_ddcmp_link_stop(&dex->dd);
  dex->phase = PH_IDLE;
}

static void finish(struct dex *dex, struct sip_note *note)
{
  stop(dex);
  dex->job.name = NULL;
  tell(dex, note);
  sip_buf_clear(&dex->text);
}

static void fail(struct dex *dex, const char *code, const char *reason)
{
  struct sip_note note = result_of(dex, false);

  if (strcmp(dex->job.name, "resolve") == 0) {
    (void)sip_note_text(&note, "outcome", "unknown");
    (void)sip_note_text(&note, "proof", "none");
  }
  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  (void)sip_note_int(&note, "sessions", dex->sessions);
  finish(dex, &note);
}

static void identified(struct dex *dex)
{
  struct sip_note note = { .name = "identified" };

  if (!dex->identified) {
    dex->identified = true;
    (void)sip_note_bool(&note, "ok", true);
    (void)sip_note_text(&note, "id", dex->id);
    (void)sip_note_text(&note, "kind", "machine");
    (void)sip_note_text(&note, "version", dex->their_revision);
    tell(dex, &note);
  }
  if (strcmp(dex->job.name, "identify") == 0) {
    note = result_of(dex, true);
    (void)sip_note_text(&note, "kind", "machine");
    (void)sip_note_text(&note, "version", dex->their_revision);
    finish(dex, &note);
  }
}

static unsigned count_lines(const struct sip_buf *text)
{
  unsigned lines = 0;

  for (size_t i = 0; i < text->len; i++) {
    lines += text->data[i] == '\n';
  }
  return lines;
}

static void end_audit(struct dex *dex, const struct sip_evadts_verdict *verdict)
{
  struct sip_note note = result_of(dex, true);
  struct sip_buf events = SIP_BUF_INIT;
  char g85[8];

  if (sip_evadts_json(&events, dex->text.data, dex->text.len) < 0) {
    fail(dex, "ENOMEM", "no memory for the events of the audit");
  } else {
    (void)snprintf(g85, sizeof g85, "%04X", verdict->g85);
    (void)sip_note_bytes(&note, "text", dex->text.data, dex->text.len);
    (void)sip_note_bytes(&note, "events", events.data, events.len);
    (void)sip_note_text(&note, "verdict", verdict->name);
    (void)sip_note_bool(&note, "trusted", verdict->trusted);
    (void)sip_note_text(&note, "g85", g85);
    (void)sip_note_int(&note, "se", verdict->se);
    (void)sip_note_int(&note, "records", count_lines(&dex->text));
    (void)sip_note_int(&note, "blocks", dex->blocks);
    (void)sip_note_int(&note, "sessions", dex->sessions);
    finish(dex, &note);
  }
  sip_buf_deinit(&events);
}

static void end_counters(struct dex *dex, const struct sip_evadts_totals *totals)
{
  struct sip_note note = result_of(dex, true);

  (void)sip_note_int(&note, "vends", totals->vends);
  (void)sip_note_int(&note, "value_minor", totals->value_minor);
  (void)sip_note_int(&note, "slot_vends", totals->slot_vends);
  (void)sip_note_int(&note, "slot_value_minor", totals->slot_value_minor);
  finish(dex, &note);
}

static void end_resolve(struct dex *dex, const struct sip_evadts_totals *totals)
{
  int64_t sold = totals->slot_vends - dex->job.slot_vends;
  const char *outcome = "unknown", *code = NULL, *reason = NULL;
  struct sip_note note;

  if (totals->slot_vends < 0) {
    code = "NO_COUNTER";
    reason = "the audit has no count of vends for this slot";
  } else if (sold == dex->job.quantity) {
    outcome = "done";
  } else if (sold == 0) {
    outcome = "failed";
    code = "NOT_COUNTED";
    reason = "the machine counted no vend from this slot since then";
  } else {
    code = "OTHER_VENDS";
    reason = "the machine's count of this slot moved by another number";
  }
  note = result_of(dex, strcmp(outcome, "done") == 0);
  (void)sip_note_text(&note, "outcome", outcome);
  (void)sip_note_text(&note, "proof", strcmp(outcome, "unknown") == 0 ? "none" : "counter");
  (void)sip_note_int(&note, "quantity", totals->slot_vends < 0 || sold < 0 ? 0 : sold);
  if (code != NULL) {
    (void)sip_note_text(&note, "code", code);
    (void)sip_note_text(&note, "reason", reason);
  }
  finish(dex, &note);
}

static void end_data(struct dex *dex)
{
  struct sip_evadts_verdict verdict;
  struct sip_evadts_totals totals;

  if (dex->text.len == 0) {
    fail(dex, "NO_DATA", "the machine sent nothing");
    return;
  }
  verdict = sip_evadts_check(dex->text.data, dex->text.len);
  totals = sip_evadts_totals(dex->text.data, dex->text.len, dex->job.slot);
  if (strcmp(dex->job.name, "audit") == 0) {
    end_audit(dex, &verdict);
  } else if (!verdict.trusted) {
    fail(dex, "UNTRUSTED", "the audit data fails its own check (G85): its counts are not used");
  } else if (strcmp(dex->job.name, "counters") == 0) {
    end_counters(dex, &totals);
  } else {
    end_resolve(dex, &totals);
  }
}

static void append(struct dex *dex, const char *text, size_t size)
{
  struct sip_note note = { .name = "progress", .ticket = dex->job.ticket };

  if (dex->text.len + size > TEXT_MAX) {
    fail(dex, "TOO_BIG", "the machine sends more than 256 KiB");
  } else if (sip_buf_add(&dex->text, text, size) < 0) {
    fail(dex, "ENOMEM", "no memory for the audit");
  } else {
    dex->blocks++;
    (void)sip_note_int(&note, "blocks", dex->blocks);
    (void)sip_note_int(&note, "bytes", (int64_t)dex->text.len);
    tell(dex, &note);
  }
}

static void begin_session(struct dex *dex, int64_t now_us)
{
  sip_buf_clear(&dex->text);
  dex->blocks = 0;
  dex->sessions++;
  if (dex->ddcmp) {
    dex->phase = PH_DDCMP;
    sip_ddcmp_link_begin(&dex->dd, now_us);
    return;
  }
  dex->phase = PH_ASK;
  (void)snprintf(dex->header, sizeof dex->header, "%sR%s", dex->ours, dex->revision);
  sip_dex_link_send(&dex->link, now_us, SIP_DEX_SOH, dex->header, strlen(dex->header),
                    SIP_DEX_TEXT_MAX);
}

static void begin_again(struct dex *dex, int64_t now_us)
{
  stop(dex);
  dex->phase = PH_PAUSE;
  dex->again_us = now_us + AGAIN_US;
}

static void reply(struct dex *dex, int64_t now_us)
{
  dex->phase = PH_REPLY;
  (void)snprintf(dex->header, sizeof dex->header, "00%s%s", dex->ours, dex->revision);
  sip_dex_link_send(&dex->link, now_us, SIP_DEX_SOH, dex->header, strlen(dex->header),
                    SIP_DEX_TEXT_MAX);
}

static void receive(struct dex *dex, int64_t now_us, enum phase phase)
{
  dex->phase = phase;
  sip_dex_link_receive(&dex->link, now_us, PATIENCE_US);
}

static void answered(struct dex *dex, int64_t now_us)
{
  static const struct {
    const char *code, *reason;
  } refusals[] = { { "01", "the machine does not take our id (setting id)" },
                   { "02", "the machine does not take our revision (setting revision)" },
                   { "04", "the machine has no data" } };

  if (strcmp(dex->refusal, "00") == 0) {
    receive(dex, now_us, PH_DATA);
    return;
  }
  if (strcmp(dex->refusal, "03") == 0) {
    begin_again(dex, now_us);
    return;
  }
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
    if (strcmp(dex->refusal, refusals[i].code) == 0) {
      fail(dex, "REFUSED", refusals[i].reason);
      return;
    }
  }
  fail(dex, "REFUSED", "the machine reports an error");
}

static void on_over(struct sip_dex_link *link, int64_t now_us, enum sip_dex_end how)
{
  struct dex *dex = SIP_CONTAINER(link, struct dex, link);

  if (how == SIP_DEX_COLLISION && dex->phase == PH_ASK) {
    receive(dex, now_us, PH_THEIRS); /* it will bid again */
  } else if (how != SIP_DEX_DONE) {
    begin_again(dex, now_us);
  } else if (dex->phase == PH_ASK) {
    receive(dex, now_us, PH_ANSWER);
  } else if (dex->phase == PH_ANSWER) {
    answered(dex, now_us);
  } else if (dex->phase == PH_THEIRS) {
    reply(dex, now_us);
  } else if (dex->phase == PH_REPLY) {
    receive(dex, now_us, PH_DATA);
  } else if (dex->phase == PH_DATA) {
    end_data(dex);
  }
}

/* The header of a handshake: a code (second) or nothing before the id, and the revision at its end.
 */
static bool read_header(struct dex *dex, const struct sip_dex_item *block, size_t id_at)
{
  if (block->kind != SIP_DEX_SOH || block->size < id_at + SIP_DEX_ID) {
    return false;
  }
  (void)snprintf(dex->id, sizeof dex->id, "%.*s", SIP_DEX_ID, block->text + id_at);
  dex->their_revision[0] = '\0';
  if (block->size >= id_at + SIP_DEX_ID + SIP_DEX_REVISION) {
    (void)snprintf(dex->their_revision, sizeof dex->their_revision, "%.*s", SIP_DEX_REVISION,
                   block->text + block->size - SIP_DEX_REVISION);
  }
  return true;
}

static void on_block(struct sip_dex_link *link, int64_t now_us, const struct sip_dex_item *block)
{
  struct dex *dex = SIP_CONTAINER(link, struct dex, link);

  (void)now_us;
  if (dex->phase == PH_DATA && block->kind == SIP_DEX_STX) {
    append(dex, block->text, block->size);
  } else if (dex->phase == PH_THEIRS && read_header(dex, block, 0)) {
    identified(dex);
  } else if (dex->phase == PH_ANSWER) {
    (void)snprintf(dex->refusal, sizeof dex->refusal, "%.*s",
                   block->size < 2 ? (int)block->size : 2, block->text);
    if (strcmp(dex->refusal, "00") == 0 && read_header(dex, block, 2)) {
      identified(dex);
    }
  }
}

static const struct sip_dex_user DEX_USER = { .block = on_block, .over = on_over };

static void on_dd_identified(struct sip_ddcmp_link *link, int64_t now_us, const uint8_t serial[8])
{
  struct dex *dex = SIP_CONTAINER(link, struct dex, dd);

  (void)now_us;
  for (size_t i = 0; i < 8; i++) {
    (void)snprintf(dex->id + 2 * i, sizeof dex->id - 2 * i, "%02X", serial[i]);
  }
  identified(dex);
}

static void on_dd_block(struct sip_ddcmp_link *link, int64_t now_us, const char *text, size_t size)
{
  (void)now_us;
  append(SIP_CONTAINER(link, struct dex, dd), text, size);
}

static void on_dd_over(struct sip_ddcmp_link *link, int64_t now_us, enum sip_ddcmp_end how)
{
  struct dex *dex = SIP_CONTAINER(link, struct dex, dd);

  if (how == SIP_DDCMP_DONE) {
    end_data(dex);
  } else if (how == SIP_DDCMP_REFUSED) {
    fail(dex, "REFUSED", "the machine refuses to be read (codes, speed?)");
  } else {
    begin_again(dex, now_us);
  }
}

static const struct sip_ddcmp_user DDCMP_USER = { .identified = on_dd_identified,
                                                  .block = on_dd_block,
                                                  .over = on_dd_over };

static void dex_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct dex *dex = dex_of(party);

  if (dex->ddcmp) {
    sip_ddcmp_link_bytes(&dex->dd, now_us, bytes, size);
  } else {
    sip_dex_link_bytes(&dex->link, now_us, bytes, size);
  }
  sip_noise_tell(&dex->noise, now_us, dex->ddcmp ? &dex->dd.in : &dex->link.in, party->line);
}

static void dex_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct dex *dex = dex_of(party);
  struct sip_note note = { .name = "status" };

  (void)now_us;
  dex->up = up;
  dex->identified = false;
  if (!up && dex->job.name != NULL) {
    fail(dex, "LINK", "the line went down");
  }
  stop(dex);
  (void)sip_note_text(&note, "state", up ? "idle" : "down");
  tell(dex, &note);
}

static int64_t dex_due_us(const struct sip_party *party)
{
  const struct dex *dex = SIP_CONTAINER(party, const struct dex, party);
  int64_t due = dex->ddcmp ? sip_ddcmp_link_due_us(&dex->dd) : sip_dex_link_due_us(&dex->link);

  if (dex->job.name == NULL) {
    return due;
  }
  due = dex->job.deadline_us < due ? dex->job.deadline_us : due;
  return dex->phase == PH_PAUSE && dex->again_us < due ? dex->again_us : due;
}

static void dex_on_due(struct sip_party *party, int64_t now_us)
{
  struct dex *dex = dex_of(party);

  if (dex->ddcmp) {
    sip_ddcmp_link_due(&dex->dd, now_us);
  } else {
    sip_dex_link_due(&dex->link, now_us);
  }
  if (dex->job.name == NULL) {
    return;
  }
  if (now_us >= dex->job.deadline_us) {
    fail(dex, "TIMEOUT", "the machine did not answer, or the session broke off each time");
  } else if (dex->phase == PH_PAUSE && now_us >= dex->again_us) {
    begin_session(dex, now_us);
  }
}

static void command_status(struct dex *dex, const struct sip_note *command)
{
  struct sip_note note = { .name = "result", .ticket = command->ticket };

  (void)sip_note_bool(&note, "ok", dex->up);
  (void)sip_note_text(&note, "state",
                      !dex->up                ? "down"
                      : dex->job.name == NULL ? "idle"
                                              : "reading");
  (void)sip_note_text(&note, "id", dex->id);
  (void)sip_note_int(&note, "bytes", (int64_t)dex->text.len);
  tell(dex, &note);
}

static int read_job(struct dex *dex, int64_t now_us, const struct sip_note *command,
                    struct job *job, struct sip_err *err)
{
  static const char *const names[] = { "identify", "audit", "counters", "resolve" };
  int64_t ms;
  int rc = sip_fields_int(command, "dex", "deadline_ms", 1, 3600000, dex->deadline_ms, &ms, err);

  for (size_t i = 0; rc == 0 && i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i], command->name) == 0) {
      *job = (struct job){ .name = names[i],
                           .ticket = command->ticket,
                           .deadline_us = now_us + ms * 1000 };
    }
  }
  if (rc == 0 && job->name == NULL) {
    rc = sip_err_set(err, UV_EINVAL, "dex: there is no command \"%s\"", command->name);
  }
  rc = rc < 0 ? rc : sip_fields_int(command, "dex", "slot", 0, INT32_MAX, 0, &job->slot, err);
  rc =
    rc < 0 ? rc : sip_fields_int(command, "dex", "quantity", 1, INT32_MAX, 1, &job->quantity, err);
  if (rc == 0 && strcmp(job->name, "resolve") == 0) {
    rc = sip_fields_need(command, "dex resolve", "slot_vends", 0, INT32_MAX, &job->slot_vends, err);
  }
  if (rc == 0 && dex->job.name != NULL) {
    rc = sip_err_set(err, SIP_EBUSY, "dex %s: the machine is being read", command->name);
  }
  return rc;
}

static int dex_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  struct dex *dex = dex_of(party);
  struct job job = { .name = NULL };
  int rc;

  if (strcmp(command->name, "status") == 0) {
    command_status(dex, command);
    return 0;
  }
  rc = read_job(dex, now_us, command, &job, err);
  if (rc < 0) {
    return rc;
  }
  dex->job = job;
  dex->sessions = 0;
  if (!dex->up) {
    fail(dex, "NO_LINK", "the line is down");
  } else {
    begin_session(dex, now_us);
  }
  return 0;
}

static void dex_free(struct sip_party *party)
{
  struct dex *dex = dex_of(party);

  if (dex->job.name != NULL) {
    fail(dex, "CLOSED", "the line was closed");
  }
  sip_dex_link_deinit(&dex->link);
  sip_ddcmp_link_deinit(&dex->dd);
  sip_buf_deinit(&dex->text);
  free(dex);
}

static const struct sip_party_ops DEX_OPS = { .on_link = dex_on_link,
                                              .on_bytes = dex_on_bytes,
                                              .due_us = dex_due_us,
                                              .on_due = dex_on_due,
                                              .command = dex_command,
                                              .free = dex_free };

int sip_dex_setting(const struct sip_note *settings, const char *name, const char *otherwise,
                    char *out, size_t size, struct sip_err *err)
{
  const struct sip_value *value = sip_note_find(settings, name);
  const char *text = value == NULL ? otherwise : value->text;
  size_t length = value == NULL ? strlen(otherwise) : value->size;

  if ((value != NULL && value->kind != SIP_VALUE_TEXT) || length > size) {
    return sip_err_set(err, UV_EINVAL, "dex: %s is not a text of up to %zu characters", name, size);
  }
  for (size_t i = 0; i < length; i++) {
    if (text[i] < 0x20 || text[i] > 0x7E || text[i] == '*') {
      return sip_err_set(err, UV_EINVAL, "dex: %s has a character that is not printable, or a star",
                         name);
    }
  }
  memset(out, '0', size);
  memcpy(out, text, length);
  out[size] = '\0';
  return 0;
}

const char *const sip_dex_settings[] = { "transport", "id",   "revision", "baud",     "deadline_ms",
                                         "machine",   "bids", "block",    "products", NULL };

static int read_settings(struct dex *dex, const struct sip_note *settings, int64_t *baud,
                         struct sip_err *err)
{
  static const char *const transports[] = { "dex", "ddcmp", NULL };
  int transport = sip_fields_word(settings, "dex", "transport", transports, err);

  if (transport < 0 || sip_fields_known(settings, "dex", sip_dex_settings, err) < 0 ||
      sip_dex_setting(settings, "id", "SIPEAT0001", dex->ours, SIP_DEX_ID, err) < 0 ||
      sip_dex_setting(settings, "revision", "R01L01", dex->revision, SIP_DEX_REVISION, err) < 0 ||
      sip_fields_int(settings, "dex", "baud", 1200, 115200, transport == 1 ? 2400 : 9600, baud,
                     err) < 0 ||
      sip_fields_int(settings, "dex", "deadline_ms", 1000, 3600000, DEADLINE_MS, &dex->deadline_ms,
                     err) < 0) {
    return UV_EINVAL;
  }
  dex->ddcmp = transport == 1;
  return 0;
}

static struct sip_party *dex_engine(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err)
{
  struct dex *dex = calloc(1, sizeof *dex);
  int64_t baud;

  if (dex == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "dex: no memory for the engine");
    return NULL;
  }
  dex->party = (struct sip_party){ .ops = &DEX_OPS, .line = line };
  if (read_settings(dex, settings, &baud, err) < 0) {
    free(dex);
    return NULL;
  }
  if (sip_dex_link_init(&dex->link, &DEX_USER, &dex->party, NULL) < 0 ||
      sip_ddcmp_link_init(&dex->dd, &DDCMP_USER, &dex->party, (unsigned)baud) < 0) {
    dex_free(&dex->party);
    (void)sip_err_set(err, UV_ENOMEM, "dex: no memory for the engine");
    return NULL;
  }
  return &dex->party;
}

const struct sip_protocol sip_protocol_dex = {
  .name = "dex",
  .title = "audit data over DEX/UCS or DDCMP (EVA-DTS)",
  .line = { .baud = 9600, .bits = 8, .stop = 1, .parity = SIP_PARITY_NONE, .dtr = -1, .rts = -1 },
  .proof = "counter",
  .settings = sip_dex_settings,
  .commands = (const char *const[]){ "identify", "status", "audit", "counters", "resolve", NULL },
  .engine = dex_engine,
  .simulator = sip_dex_simulator,
  .describe = sip_dex_describe,
};
