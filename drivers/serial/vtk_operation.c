/* vtk_operation.c - one charge on a Vendotek reader, from VRP to the answer of FIN.
 *
 * The reader takes a second VRP, CDP or FIN with the same operation number as a repetition and
 * answers as before; a new number is a new charge. So what was sent is sent again with its number
 * only, and only to a reader whose memory holds it: its last number is ours or the one before, and
 * it is the same reader. Else the outcome is unknown. What FIN says is decided once. */
#include "serial/fields.h"
#include "serial/vtk_state.h"

#include <stdio.h>
#include <string.h>

enum { DEADLINE_MS = 180000, AMOUNT_MAX = 999999999 };

static const char LOST[] = "the reader's operation number is not the one before or of this "
                           "operation: it was swapped or lost its memory, so nothing is repeated";

static void tell_end(struct vtk *vtk, const char *outcome, const char *code, const char *reason,
                     const struct sip_vtk_message *message)
{
  const struct sip_vtk_field *receipt =
    message == NULL ? NULL : sip_vtk_find(message, SIP_VTK_RECEIPT);
  struct vtk_operation *op = &vtk->op;
  struct sip_note note = { .name = op->ticket == 0 ? "settled" : "result", .ticket = op->ticket };

  (void)sip_note_bool(&note, "ok", strcmp(outcome, "done") == 0);
  (void)sip_note_text(&note, "outcome", outcome);
  (void)sip_note_int(&note, "operation", op->number);
  (void)sip_note_int(&note, "amount_minor", op->decided ? op->delivered : op->approved);
  (void)sip_note_text(&note, "proof", "none"); /* of a delivery: that is not the reader's */
  if (code != NULL) {
    (void)sip_note_text(&note, "code", code);
    (void)sip_note_text(&note, "reason", reason);
  }
  if (receipt != NULL) {
    (void)sip_note_bytes(&note, "receipt", receipt->bytes, receipt->size);
  }
  op->ticket = 0;
  op->deadline_us = SIP_NEVER_US;
  vtk->party.line->tell(vtk->party.line, &note);
}

static void end(struct vtk *vtk, const char *outcome, const char *code, const char *reason)
{
  vtk->op.phase = VTK_NONE;
  vtk->op.waiting = false;
  tell_end(vtk, outcome, code, reason, NULL);
}

/* True when the reader that is there knows what came before. */
static bool same_reader(const struct vtk *vtk)
{
  const struct vtk_operation *op = &vtk->op;

  return op->reader[0] == '\0' || strcmp(op->reader, vtk->id) == 0;
}

static void send_now(struct vtk *vtk, int64_t now_us)
{
  struct vtk_operation *op = &vtk->op;
  bool finish = op->phase == VTK_FINISH;
  const char *name = finish ? "FIN" : op->deposit ? "CDP" : "VRP";
  int rc = sip_vtk_send(vtk, name, op->number, finish ? op->delivered : op->amount,
                        finish ? "" : op->product);

  if (rc < 0) {
    sip_vtk_inactive(vtk, now_us, "the line takes nothing");
    return;
  }
  op->sent = true;
  op->waiting = true;
  op->reply_us = now_us + vtk->timeout_s * 1000000;
}

static void send_request(struct vtk *vtk, int64_t now_us)
{
  struct vtk_operation *op = &vtk->op;
  bool fresh = !op->sent;

  if (op->number < 0) {
    struct sip_note note = { .name = "progress", .ticket = op->ticket };

    op->number = vtk->last + 1;
    (void)sip_note_int(&note, "operation", op->number);
    vtk->party.line->tell(vtk->party.line, &note);
  }
  if (fresh && op->number != vtk->last + 1) {
    end(vtk, "failed", "NUMBER",
        "the operation number is not the one behind the reader's last: nothing was sent");
  } else if (op->number > VTK_NUMBER_MAX) {
    end(vtk, "failed", "NUMBER", "the operation numbers of the reader are used up");
  } else if (!fresh &&
             (!same_reader(vtk) || (vtk->last != op->number && vtk->last != op->number - 1))) {
    end(vtk, "unknown", "OTHER_READER", LOST);
  } else {
    if (op->reader[0] == '\0') {
      (void)snprintf(op->reader, sizeof op->reader, "%s", vtk->id);
    }
    send_now(vtk, now_us);
  }
}

static void send_finish(struct vtk *vtk, int64_t now_us)
{
  struct vtk_operation *op = &vtk->op;

  if (same_reader(vtk) && vtk->last == op->number) {
    send_now(vtk, now_us);
  } else if (same_reader(vtk) && vtk->last == op->number - 1 && op->approved == 0 &&
             op->delivered == 0) {
    end(vtk, "done", "NOT_SEEN", "the reader never saw the operation: there is nothing to refund");
  } else {
    end(vtk, "unknown", "OTHER_READER", LOST);
  }
}

void sip_vtk_advance(struct vtk *vtk, int64_t now_us)
{
  struct vtk_operation *op = &vtk->op;

  if (op->waiting || vtk->state == VTK_DOWN || vtk->state == VTK_INACTIVE) {
    return;
  }
  if (op->phase == VTK_REQUEST && vtk->state == VTK_DISABLED && !op->sent) {
    end(vtk, "failed", "DISABLED", "the reader takes no cards now: nothing was sent");
  } else if (op->phase == VTK_REQUEST) {
    send_request(vtk, now_us);
  } else if (op->phase == VTK_FINISH) {
    send_finish(vtk, now_us);
  } else if (op->phase == VTK_DOUBT && same_reader(vtk) && vtk->last == op->number - 1) {
    op->phase = VTK_NONE; /* the reader says itself that it never saw it */
  }
}

static void finish_replied(struct vtk *vtk, const struct sip_vtk_message *message, int64_t amount)
{
  struct vtk_operation *op = &vtk->op;

  op->phase = VTK_NONE;
  if (amount == op->delivered) {
    tell_end(vtk, "done", NULL, NULL, message);
  } else {
    tell_end(vtk, "unknown", "AMOUNT",
             "the reader closed the operation with another amount: look at its books", message);
  }
}

void sip_vtk_replied(struct vtk *vtk, int64_t now_us, const struct sip_vtk_message *message)
{
  struct vtk_operation *op = &vtk->op;
  int64_t amount = sip_vtk_number(message, SIP_VTK_AMOUNT);
  bool mine = op->waiting && sip_vtk_number(message, SIP_VTK_OPERATION) == op->number;

  if (!mine || amount < 0) {
    return; /* of another operation, or a repetition of what was taken already */
  }
  if (op->phase == VTK_FINISH && sip_vtk_is(message, "FIN")) {
    op->waiting = false;
    finish_replied(vtk, message, amount);
    vtk->idl_us = now_us;
  } else if (op->phase == VTK_REQUEST && sip_vtk_is(message, op->deposit ? "CDP" : "VRP")) {
    op->waiting = false;
    op->approved = amount;
    op->phase = amount > 0 && !op->deposit ? VTK_APPROVED : VTK_NONE;
    if (amount > 0) {
      tell_end(vtk, "done", NULL, NULL, message);
    } else {
      tell_end(vtk, "failed", "DECLINED", "the reader declined", message);
    }
    vtk->idl_us = op->phase == VTK_NONE ? now_us : vtk->idl_us;
  }
}

static void deadline(struct vtk *vtk)
{
  struct vtk_operation *op = &vtk->op;

  if (op->phase == VTK_FINISH) {
    tell_end(vtk, "unknown", "TIMEOUT",
             "the reader did not confirm in time; the same FIN is repeated until it does", NULL);
  } else if (op->sent) {
    op->phase = VTK_DOUBT;
    op->waiting = false;
    tell_end(vtk, "unknown", "TIMEOUT",
             "no answer in time: take it up again with its operation number, or settle it with 0",
             NULL);
  } else {
    end(vtk, "failed", "TIMEOUT", "the reader was not ready in time: nothing was sent");
  }
}

void sip_vtk_operation_due(struct vtk *vtk, int64_t now_us)
{
  struct vtk_operation *op = &vtk->op;

  if (op->waiting && now_us >= op->reply_us) {
    op->waiting = false;
    sip_vtk_inactive(vtk, now_us, "no answer within the operation's time");
  }
  if (op->ticket != 0 && now_us >= op->deadline_us) {
    deadline(vtk);
  }
}

int64_t sip_vtk_operation_due_us(const struct vtk *vtk)
{
  const struct vtk_operation *op = &vtk->op;
  int64_t due = op->waiting ? op->reply_us : SIP_NEVER_US;

  return op->ticket != 0 && op->deadline_us < due ? op->deadline_us : due;
}

static void begin(struct vtk *vtk, int64_t now_us, const struct sip_note *command, int64_t ms)
{
  vtk->op.ticket = command->ticket;
  vtk->op.deadline_us = now_us + ms * 1000;
  vtk->op.waiting = false;
}

int sip_vtk_request(struct vtk *vtk, int64_t now_us, const struct sip_note *command,
                    struct sip_err *err)
{
  struct vtk_operation *op = &vtk->op;
  int64_t amount, number, ms;
  bool again = sip_note_number(command, "again", 0) != 0;
  const struct sip_value *product = sip_note_find(command, "product");

  if (sip_fields_need(command, "vtk", "amount_minor", 1, AMOUNT_MAX, &amount, err) < 0 ||
      sip_fields_int(command, "vtk", "operation", 1, VTK_NUMBER_MAX, -1, &number, err) < 0 ||
      sip_fields_int(command, "vtk", "deadline_ms", 1, 3600000, DEADLINE_MS, &ms, err) < 0) {
    return UV_EINVAL;
  }
  if (again && number < 1) {
    return sip_err_set(err, UV_EINVAL, "%s: again needs the operation's number", command->name);
  }
  if (op->phase != VTK_NONE && !(op->phase == VTK_DOUBT && again && number == op->number)) {
    return sip_err_set(err, SIP_EBUSY,
                       "%s: operation %lld is open: settle it, or take it up with again",
                       command->name, (long long)op->number);
  }
  if (!again || number != op->number) {
    memset(op, 0, sizeof *op);
  }
  op->phase = VTK_REQUEST;
  op->deposit = strcmp(command->name, "deposit") == 0;
  op->number = number;
  op->amount = amount;
  op->sent = again;
  if (product != NULL && product->kind == SIP_VALUE_TEXT) {
    (void)snprintf(op->product, sizeof op->product, "%.*s", (int)product->size, product->text);
  }
  begin(vtk, now_us, command, ms);
  if (vtk->state == VTK_DOWN && !op->sent) {
    end(vtk, "failed", "NO_LINK", "the line is down: nothing was sent");
  }
  sip_vtk_advance(vtk, now_us);
  return 0;
}

int sip_vtk_settle(struct vtk *vtk, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err)
{
  struct vtk_operation *op = &vtk->op;
  bool ok = sip_note_number(command, "ok", 0) != 0 && strcmp(command->name, "settle") == 0;
  int64_t number, amount, ms, approved = ok ? op->approved : 0;

  if (sip_fields_int(command, "vtk", "operation", 1, VTK_NUMBER_MAX, op->number, &number, err) <
        0 ||
      sip_fields_int(command, "vtk", "amount_minor", 0, AMOUNT_MAX, approved, &amount, err) < 0 ||
      sip_fields_int(command, "vtk", "deadline_ms", 1, 3600000, DEADLINE_MS, &ms, err) < 0) {
    return UV_EINVAL;
  }
  amount = strcmp(command->name, "refund") == 0 ? 0 : amount;
  if (op->phase == VTK_NONE && sip_note_find(command, "operation") != NULL && number > 0) {
    memset(op, 0, sizeof *op); /* after a restart: the caller knows what it stored */
    op->number = number;
    op->sent = true;
  } else if (op->phase == VTK_NONE || op->phase == VTK_REQUEST || number != op->number) {
    return sip_err_set(err, UV_EINVAL, "%s: operation %lld is not open", command->name,
                       (long long)number);
  }
  if (op->ticket != 0) {
    return sip_err_set(err, SIP_EBUSY, "%s: it is being settled", command->name);
  }
  if (ok && amount == 0) {
    return sip_err_set(err, UV_EINVAL, "%s: amount_minor is needed here", command->name);
  }
  if (op->decided && op->delivered != amount) {
    return sip_err_set(err, UV_EINVAL, "%s: operation %lld was settled with %lld, which stands",
                       command->name, (long long)number, (long long)op->delivered);
  }
  op->decided = true;
  op->delivered = amount;
  if (op->phase != VTK_FINISH) {
    op->phase = VTK_FINISH;
    begin(vtk, now_us, command, ms);
  } else { /* it is on its way already */
    bool waiting = op->waiting;

    begin(vtk, now_us, command, ms);
    op->waiting = waiting;
  }
  sip_vtk_advance(vtk, now_us);
  return 0;
}
