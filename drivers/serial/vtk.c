/* vtk.c - the engine for a Vendotek reader: link, keepalive and what the reader says by itself.
 *
 * INACTIVE: IDL every 10 s until the reader answers with its own, which names its last operation.
 * IDLE: IDL at the reader's keepalive; three of them and 8 s without a word, and it is INACTIVE
 * again. One operation at a time; see vtk_operation.c. */
#include "serial/vtk.h"

#include "core/base.h"
#include "serial/fields.h"
#include "serial/vtk_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  KEEPALIVE_S = 10,
  TIMEOUT_S = 60,
  SILENCE_S = 8, /* beside three keepalives */
  SECONDS_MAX = 3600,
  ANSWER_US = 15000000, /* for resolve and sale: more than one keepalive */
  RETRY_US = 1000000
};

static struct vtk *vtk_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct vtk, party);
}

static const char *state_name(const struct vtk *vtk)
{
  static const char *const names[] = { "down", "inactive", "idle", "disabled" };

  if (vtk->op.phase == VTK_REQUEST || vtk->op.phase == VTK_FINISH) {
    return "busy";
  }
  return vtk->op.phase == VTK_APPROVED ? "approved" : names[vtk->state];
}

static void tell(struct vtk *vtk, struct sip_note *note)
{
  vtk->party.line->tell(vtk->party.line, note);
}

static void tell_fault(struct vtk *vtk, const char *code, const char *reason)
{
  struct sip_note note = { .name = "fault" };

  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  tell(vtk, &note);
}

static void set_state(struct vtk *vtk, enum vtk_state state)
{
  struct sip_note note = { .name = "status" };

  if (vtk->state != state) {
    vtk->state = state;
    (void)sip_note_text(&note, "state", state_name(vtk));
    tell(vtk, &note);
  }
}

void sip_vtk_answer(struct vtk *vtk, uint64_t ticket, const char *outcome, const char *code,
                    const char *reason)
{
  struct sip_note note = { .name = "result", .ticket = ticket };

  (void)sip_note_bool(&note, "ok", strcmp(outcome, "done") == 0);
  (void)sip_note_text(&note, "outcome", outcome);
  (void)sip_note_text(&note, "proof", "none");
  if (code != NULL) {
    (void)sip_note_text(&note, "code", code);
    (void)sip_note_text(&note, "reason", reason);
  }
  tell(vtk, &note);
}

static int send_message(struct vtk *vtk, const struct sip_vtk_message *message)
{
  uint8_t frame[512]; /* of ours none is longer: texts are cut at VTK_TEXT */
  size_t size = sip_vtk_write(frame, sizeof frame, message, vtk->tcp);

  return vtk->party.line->send(vtk->party.line, frame, size);
}

static void add_number(struct sip_vtk_message *message, uint32_t tag, char text[24], int64_t number)
{
  (void)snprintf(text, 24, "%lld", (long long)number);
  sip_vtk_add_text(message, tag, text);
}

int sip_vtk_send(struct vtk *vtk, const char *name, int64_t number, int64_t amount,
                 const char *product)
{
  struct sip_vtk_message message = { .proto = SIP_VTK_FROM_HOST };
  char digits[2][24];

  sip_vtk_add_text(&message, SIP_VTK_NAME, name);
  if (number >= 0) {
    add_number(&message, SIP_VTK_OPERATION, digits[0], number);
  }
  if (amount >= 0) {
    add_number(&message, SIP_VTK_AMOUNT, digits[1], amount);
  }
  if (product[0] != '\0') {
    sip_vtk_add_text(&message, SIP_VTK_PRODUCT, product);
  }
  return send_message(vtk, &message);
}

static void send_idle(struct vtk *vtk, int64_t now_us)
{
  struct sip_vtk_message message = { .proto = SIP_VTK_FROM_HOST };
  char digits[2][24];
  bool sale = vtk->sale.ticket != 0 && vtk->state == VTK_IDLE && vtk->event >= 0;
  int rc;

  sip_vtk_add_text(&message, SIP_VTK_NAME, vtk->enabled ? "IDL" : "DIS");
  if (sale) {
    vtk->sale.number = vtk->sale.number < 0 ? vtk->event + 1 : vtk->sale.number;
    sip_vtk_add_text(&message, SIP_VTK_EVENT, vtk->sale.name);
    add_number(&message, SIP_VTK_EVENT_NUMBER, digits[0], vtk->sale.number);
    add_number(&message, SIP_VTK_AMOUNT, digits[1], vtk->sale.amount);
    if (vtk->sale.product[0] != '\0') {
      sip_vtk_add_text(&message, SIP_VTK_PRODUCT, vtk->sale.product);
    }
  }
  rc = send_message(vtk, &message);
  vtk->idl_us = now_us + (rc < 0                       ? RETRY_US
                          : vtk->state == VTK_INACTIVE ? (int64_t)KEEPALIVE_S * 1000000
                                                       : vtk->keepalive_s * 1000000);
}

void sip_vtk_inactive(struct vtk *vtk, int64_t now_us, const char *why)
{
  vtk->keepalive_s = KEEPALIVE_S;
  vtk->timeout_s = TIMEOUT_S;
  vtk->idl_us = now_us;
  tell_fault(vtk, "INACTIVE", why);
  set_state(vtk, VTK_INACTIVE);
}

/* True when nothing but a keepalive may go out now. */
static bool quiet(const struct vtk *vtk)
{
  return vtk->op.phase == VTK_NONE || vtk->op.phase == VTK_DOUBT;
}

static int64_t silence_us(const struct vtk *vtk)
{
  return vtk->heard_us + (3 * vtk->keepalive_s + SILENCE_S) * 1000000;
}

/* Within an operation the reader is left alone: an IDL of ours would end it. */
static int64_t idle_us(const struct vtk *vtk)
{
  if (vtk->state == VTK_DOWN || (vtk->state != VTK_INACTIVE && !quiet(vtk))) {
    return SIP_NEVER_US;
  }
  return vtk->idl_us;
}

static void answer_resolve(struct vtk *vtk, const char *outcome, const char *code,
                           const char *reason)
{
  sip_vtk_answer(vtk, vtk->asked, outcome, code, reason);
  vtk->asked = 0;
}

static void answer_sale(struct vtk *vtk, const char *outcome, const char *code, const char *reason)
{
  sip_vtk_answer(vtk, vtk->sale.ticket, outcome, code, reason);
  vtk->sale.ticket = 0;
}

static void resolve(struct vtk *vtk)
{
  if (vtk->last == vtk->asked_number - 1) {
    answer_resolve(vtk, "failed", "NOT_SEEN", "the reader never saw the operation");
  } else if (vtk->last == vtk->asked_number) {
    answer_resolve(vtk, "unknown", "SEEN",
                   "the reader saw the operation: take it up again with its number");
  } else {
    answer_resolve(vtk, "unknown", "OTHER_READER",
                   "the reader's last operation is another one: it was swapped, lost its memory, "
                   "or went on");
  }
}

static void tell_identified(struct vtk *vtk, uint64_t ticket)
{
  struct sip_note note = { .name = ticket == 0 ? "identified" : "result", .ticket = ticket };

  (void)sip_note_bool(&note, "ok", vtk->identified);
  (void)sip_note_text(&note, "id", vtk->id);
  (void)sip_note_text(&note, "kind", "reader");
  (void)sip_note_text(&note, "version", "VTK 1.12");
  (void)sip_note_int(&note, "operation", vtk->last);
  if (!vtk->identified) {
    (void)sip_note_text(&note, "code", "INACTIVE");
    (void)sip_note_text(&note, "reason", "the reader did not answer since the line is up");
  }
  tell(vtk, &note);
}

static int64_t seconds(const struct sip_vtk_message *message, uint32_t tag, int64_t otherwise)
{
  int64_t value = sip_vtk_number(message, tag);

  return value > 0 && value <= SECONDS_MAX ? value : otherwise;
}

/* The reader's IDL or DIS: its memory, its times, and that it is there. */
static void heard_idle(struct vtk *vtk, int64_t now_us, const struct sip_vtk_message *message)
{
  const struct sip_vtk_field *system = sip_vtk_find(message, SIP_VTK_SYSTEM);
  int64_t number = sip_vtk_number(message, SIP_VTK_OPERATION);
  bool first = !vtk->identified;

  vtk->last = number < 0 ? vtk->last < 0 ? 0 : vtk->last : number;
  vtk->event = sip_vtk_number(message, SIP_VTK_EVENT_NUMBER);
  vtk->keepalive_s = seconds(message, SIP_VTK_KEEPALIVE_S, vtk->keepalive_s);
  vtk->timeout_s = seconds(message, SIP_VTK_TIMEOUT_S, vtk->timeout_s);
  if (system != NULL) {
    (void)snprintf(vtk->id, sizeof vtk->id, "%.*s", (int)system->size, (const char *)system->bytes);
  }
  vtk->identified = true;
  set_state(vtk, sip_vtk_is(message, "DIS") ? VTK_DISABLED : VTK_IDLE);
  if (first) {
    tell_identified(vtk, 0);
  }
  if (vtk->sale.ticket != 0 && vtk->sale.number >= 0 && vtk->event == vtk->sale.number) {
    answer_sale(vtk, "done", NULL, NULL);
  }
  sip_vtk_advance(vtk, now_us);
  if (vtk->asked != 0) {
    resolve(vtk);
  }
}

static void tell_amount(struct vtk *vtk, const char *name, const struct sip_vtk_message *message)
{
  struct sip_note note = { .name = name };
  int64_t amount = sip_vtk_number(message, SIP_VTK_AMOUNT);

  if (amount >= 0) {
    (void)sip_note_int(&note, "amount_minor", amount);
  }
  tell(vtk, &note);
}

static void take(struct vtk *vtk, int64_t now_us, const struct sip_frame *frame)
{
  struct sip_vtk_message message;
  int64_t number;

  if (sip_vtk_read(&message, frame->bytes, frame->size, vtk->tcp) != SIP_VTK_OK ||
      message.proto != SIP_VTK_FROM_READER) {
    return; /* not for us, or of a later version */
  }
  vtk->heard_us = now_us;
  if (sip_vtk_is(&message, "IDL") || sip_vtk_is(&message, "DIS")) {
    heard_idle(vtk, now_us, &message);
  } else if (sip_vtk_is(&message, "STA")) {
    tell_amount(vtk, "started", &message);
  } else if (sip_vtk_is(&message, "MFR")) {
    tell_amount(vtk, "card", &message);
  } else {
    sip_vtk_replied(vtk, now_us, &message);
    number = sip_vtk_number(&message, SIP_VTK_OPERATION);
    vtk->last = number > vtk->last ? number : vtk->last; /* an old answer may come late */
  }
}

static void take_all(struct vtk *vtk, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_frame frame;

  while (sip_framer_take(&vtk->in, now_us, &bytes, &size, &frame)) {
    take(vtk, now_us, &frame);
  }
  sip_noise_tell(&vtk->noise, now_us, &vtk->in, vtk->party.line);
}

static void vtk_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct vtk *vtk = vtk_of(party);

  take_all(vtk, now_us, bytes, size);
}

static void vtk_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct vtk *vtk = vtk_of(party);

  sip_framer_reset(&vtk->in);
  vtk->keepalive_s = KEEPALIVE_S;
  vtk->timeout_s = TIMEOUT_S;
  vtk->identified = false;
  vtk->op.waiting = false;
  vtk->idl_us = now_us;
  vtk->heard_us = now_us;
  if (vtk->asked != 0 && !up) {
    answer_resolve(vtk, "unknown", "LINK", "the line went down");
  }
  set_state(vtk, up ? VTK_INACTIVE : VTK_DOWN);
}

static int64_t vtk_due_us(const struct sip_party *party)
{
  const struct vtk *vtk = SIP_CONTAINER(party, const struct vtk, party);
  int64_t times[] = { idle_us(vtk), sip_vtk_operation_due_us(vtk),
                      SIP_NEVER_US, SIP_NEVER_US,
                      SIP_NEVER_US, SIP_NEVER_US };
  int64_t due = SIP_NEVER_US, frame = sip_framer_due_us(&vtk->in);

  times[2] = frame == SIP_NEVER_US ? frame : frame + 1;
  if (vtk->state > VTK_INACTIVE && quiet(vtk)) {
    times[3] = silence_us(vtk);
  }
  times[4] = vtk->asked != 0 ? vtk->asked_us : SIP_NEVER_US;
  times[5] = vtk->sale.ticket != 0 ? vtk->sale.deadline_us : SIP_NEVER_US;
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    due = times[i] < due ? times[i] : due;
  }
  return due;
}

static void vtk_on_due(struct sip_party *party, int64_t now_us)
{
  struct vtk *vtk = vtk_of(party);

  if (sip_framer_late(&vtk->in, now_us)) {
    take_all(vtk, now_us, NULL, 0);
  }
  sip_vtk_operation_due(vtk, now_us);
  if (vtk->state > VTK_INACTIVE && quiet(vtk) && now_us >= silence_us(vtk)) {
    sip_vtk_inactive(vtk, now_us, "the reader is silent");
  }
  if (vtk->asked != 0 && now_us >= vtk->asked_us) {
    answer_resolve(vtk, "unknown", "TIMEOUT", "the reader does not answer");
  }
  if (vtk->sale.ticket != 0 && now_us >= vtk->sale.deadline_us) {
    answer_sale(vtk, "unknown", "TIMEOUT", "the reader did not confirm the event");
  }
  if (now_us >= idle_us(vtk)) {
    send_idle(vtk, now_us);
  }
}

static int command_status(struct vtk *vtk, const struct sip_note *command)
{
  struct sip_note note = { .name = "result", .ticket = command->ticket };

  (void)sip_note_bool(&note, "ok", vtk->state == VTK_IDLE);
  (void)sip_note_text(&note, "state", state_name(vtk));
  (void)sip_note_int(&note, "operation", vtk->last);
  (void)sip_note_int(&note, "open_operation", vtk->op.phase == VTK_NONE ? 0 : vtk->op.number);
  (void)sip_note_bool(&note, "doubt", vtk->op.phase == VTK_DOUBT);
  (void)sip_note_int(&note, "keepalive_s", vtk->keepalive_s);
  (void)sip_note_int(&note, "timeout_s", vtk->timeout_s);
  tell(vtk, &note);
  return 0;
}

static int command_identify(struct vtk *vtk, const struct sip_note *command)
{
  tell_identified(vtk, command->ticket);
  return 0;
}

static int command_counters(struct vtk *vtk, const struct sip_note *command)
{
  struct sip_note note = { .name = "result", .ticket = command->ticket };

  (void)sip_note_bool(&note, "ok", vtk->identified);
  (void)sip_note_int(&note, "operation", vtk->last);
  (void)sip_note_int(&note, "next_operation", vtk->last + 1);
  tell(vtk, &note);
  return 0;
}

static int command_resolve(struct vtk *vtk, int64_t now_us, const struct sip_note *command,
                           struct sip_err *err)
{
  int64_t number;
  int rc = sip_fields_need(command, "vtk resolve", "operation", 1, VTK_NUMBER_MAX, &number, err);

  if (rc < 0) {
    return rc;
  }
  if (vtk->asked != 0 || !quiet(vtk)) {
    return sip_err_set(err, SIP_EBUSY, "vtk resolve: the reader is busy with an operation");
  }
  vtk->asked = command->ticket;
  vtk->asked_number = number;
  vtk->asked_us = now_us + ANSWER_US;
  if (vtk->state == VTK_DOWN) {
    answer_resolve(vtk, "unknown", "LINK", "the line is down");
  } else {
    vtk->idl_us = now_us;
  }
  return 0;
}

static void copy_text(char out[VTK_TEXT], const struct sip_note *note, const char *name,
                      const char *otherwise)
{
  const struct sip_value *value = sip_note_find(note, name);

  if (value != NULL && value->kind == SIP_VALUE_TEXT) {
    (void)snprintf(out, VTK_TEXT, "%.*s", (int)value->size, value->text);
  } else {
    (void)snprintf(out, VTK_TEXT, "%s", otherwise);
  }
}

static int command_sale(struct vtk *vtk, int64_t now_us, const struct sip_note *command,
                        struct sip_err *err)
{
  int64_t amount;
  int rc = sip_fields_need(command, "vtk sale", "amount_minor", 0, INT32_MAX, &amount, err);

  if (rc < 0) {
    return rc;
  }
  if (vtk->sale.ticket != 0) {
    return sip_err_set(err, SIP_EBUSY, "vtk sale: one is being told");
  }
  vtk->sale = (struct vtk_sale){ .ticket = command->ticket,
                                 .number = -1,
                                 .amount = amount,
                                 .deadline_us = now_us + (int64_t)3 * ANSWER_US };
  copy_text(vtk->sale.name, command, "name", "CSAPP");
  copy_text(vtk->sale.product, command, "product", "");
  if (vtk->state != VTK_IDLE || vtk->event < 0) {
    answer_sale(vtk, "failed", "NO_EVENTS", "the reader takes no events now: nothing was sent");
  } else {
    vtk->idl_us = now_us;
  }
  return 0;
}

static int command_enable(struct vtk *vtk, int64_t now_us, const struct sip_note *command)
{
  vtk->enabled = strcmp(command->name, "enable") == 0;
  vtk->idl_us = now_us;
  sip_vtk_answer(vtk, command->ticket, "done", NULL, NULL);
  return 0;
}

static int command_abort(struct vtk *vtk, const struct sip_note *command)
{
  if (vtk->op.phase == VTK_REQUEST && vtk->op.waiting &&
      sip_vtk_send(vtk, "ABR", vtk->op.number, -1, "") == 0) {
    sip_vtk_answer(vtk, command->ticket, "done", NULL, NULL);
  } else {
    sip_vtk_answer(vtk, command->ticket, "failed", "NOTHING", "there is no request to abort");
  }
  return 0;
}

static int vtk_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  struct vtk *vtk = vtk_of(party);
  const char *name = command->name;

  if (strcmp(name, "charge") == 0 || strcmp(name, "deposit") == 0) {
    return sip_vtk_request(vtk, now_us, command, err);
  }
  if (strcmp(name, "settle") == 0 || strcmp(name, "refund") == 0) {
    return sip_vtk_settle(vtk, now_us, command, err);
  }
  if (strcmp(name, "status") == 0) {
    return command_status(vtk, command);
  }
  if (strcmp(name, "identify") == 0) {
    return command_identify(vtk, command);
  }
  if (strcmp(name, "counters") == 0) {
    return command_counters(vtk, command);
  }
  if (strcmp(name, "resolve") == 0) {
    return command_resolve(vtk, now_us, command, err);
  }
  if (strcmp(name, "sale") == 0) {
    return command_sale(vtk, now_us, command, err);
  }
  if (strcmp(name, "enable") == 0 || strcmp(name, "disable") == 0) {
    return command_enable(vtk, now_us, command);
  }
  if (strcmp(name, "abort") == 0) {
    return command_abort(vtk, command);
  }
  return sip_err_set(err, UV_EINVAL, "vtk: there is no command \"%s\"", name);
}

static void vtk_free(struct sip_party *party)
{
  struct vtk *vtk = vtk_of(party);

  if (vtk->op.ticket != 0) {
    sip_vtk_answer(vtk, vtk->op.ticket, vtk->op.sent ? "unknown" : "failed", "CLOSED",
                   "the line was closed before the reader answered");
  }
  if (vtk->asked != 0) {
    answer_resolve(vtk, "unknown", "CLOSED", "the line was closed");
  }
  if (vtk->sale.ticket != 0) {
    answer_sale(vtk, "unknown", "CLOSED", "the line was closed");
  }
  sip_framer_deinit(&vtk->in);
  free(vtk);
}

static const struct sip_party_ops VTK_OPS = { .on_link = vtk_on_link,
                                              .on_bytes = vtk_on_bytes,
                                              .due_us = vtk_due_us,
                                              .on_due = vtk_on_due,
                                              .command = vtk_command,
                                              .free = vtk_free };

/* The first one is of both sides, the others are the simulator's. */
const char *const sip_vtk_settings[] = { "form",        "id",        "operation", "event",
                                         "keepalive_s", "timeout_s", "tap_ms",    NULL };

static struct sip_party *vtk_engine(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err)
{
  static const char *const forms[] = { "serial", "tcp", NULL };
  struct vtk *vtk;
  int form;

  if (sip_fields_known(settings, "vtk", sip_vtk_settings, err) < 0) {
    return NULL;
  }
  form = sip_fields_word(settings, "vtk", "form", forms, err);
  if (form < 0) {
    return NULL;
  }
  vtk = calloc(1, sizeof *vtk);
  if (vtk == NULL ||
      sip_framer_init(&vtk->in, form == 1 ? &sip_vtk_framing_tcp : &sip_vtk_framing, NULL) < 0) {
    free(vtk);
    (void)sip_err_set(err, UV_ENOMEM, "vtk: no memory for the engine");
    return NULL;
  }
  vtk->party = (struct sip_party){ .ops = &VTK_OPS, .line = line };
  vtk->tcp = form == 1;
  vtk->enabled = true;
  vtk->last = -1;
  vtk->event = -1;
  vtk->op.number = -1;
  vtk->op.deadline_us = SIP_NEVER_US;
  return &vtk->party;
}

const struct sip_protocol sip_protocol_vtk = {
  .name = "vtk",
  .title = "Vendotek cashless reader (VTK)",
  .line = { .baud = 115200, .bits = 8, .stop = 1, .parity = SIP_PARITY_NONE, .dtr = -1, .rts = -1 },
  .proof = "none",
  .settings = sip_vtk_settings,
  .commands =
    (const char *const[]){ "identify", "status", "counters", "charge", "settle", "refund",
                           "deposit", "resolve", "sale", "abort", "enable", "disable", NULL },
  .engine = vtk_engine,
  .simulator = sip_vtk_simulator,
  .describe = sip_vtk_describe,
};
