/* qibixx_master.c - we are the machine, and a cashless reader is charged: one request and one end
 * for each sale. */
#include "serial/fields.h"
#include "serial/qibixx_state.h"

#include <limits.h>
#include <string.h>

enum { ASKS = 3, CANCEL_US = 5000000 };

static void master_end(struct qibixx *qibixx, const char *outcome, const char *code,
                       const char *reason)
{
  struct qibixx_master *master = &qibixx->master;

  master->job = QIBIXX_NO_JOB;
  qibixx_outcome(qibixx, master->ticket, outcome, code, reason, master->amount_minor);
}

static void master_result(struct qibixx *qibixx, const struct sip_qibixx_line *line)
{
  struct qibixx_master *master = &qibixx->master;
  int64_t approved = -1;

  if (sip_qibixx_is(line, 3, "-1")) {
    master->state = QIBIXX_READER_IDLE;
    if (master->job == QIBIXX_CHARGE) {
      master_end(qibixx, "failed", master->cancelled ? "CANCELLED" : "DENIED",
                 "the reader does not pay");
    }
    return;
  }
  if (!sip_qibixx_is(line, 3, "1") || line->count < 5 ||
      !sip_qibixx_amount(&line->fields[4], (unsigned)qibixx->set.decimals, &approved)) {
    return; /* a damaged line; the time for it runs out */
  }
  master->state = QIBIXX_READER_RESULT;
  if (master->job == QIBIXX_CHARGE && approved > master->amount_minor) {
    master->amount_minor = approved;
    master_end(qibixx, "unknown", "AMOUNT", "the reader approved more than it was asked for");
  } else if (master->job == QIBIXX_CHARGE) {
    master->amount_minor = approved; /* it may be less: the books need this one */
    master_end(qibixx, "done", "APPROVED", "the reader pays");
  }
}

static void master_idle(struct qibixx *qibixx, const struct sip_qibixx_line *line)
{
  struct qibixx_master *master = &qibixx->master;
  bool asked = sip_qibixx_is(line, 3, "#"); /* the answer to D,STATUS */

  if (asked && master->job == QIBIXX_SETTLE) {
    master->state = QIBIXX_READER_IDLE;
    master_end(qibixx, "unknown", "COMMIT", "the sale is closed; which way is not known");
  } else if (master->job == QIBIXX_SETTLE && master->asked == 0) {
    master->state = QIBIXX_READER_IDLE;
    master_end(qibixx, "done", "SETTLED", "the reader closed the sale");
  } else if (master->job == QIBIXX_CHARGE && !master->seen) {
    return; /* from before the request */
  } else if (master->job == QIBIXX_CHARGE) {
    master->state = QIBIXX_READER_IDLE;
    master_end(qibixx, "unknown", "NOT_SEEN", "the reader went on without a result");
  } else {
    master->state = QIBIXX_READER_IDLE;
  }
}

static void master_credit(struct qibixx *qibixx, const struct sip_qibixx_line *line)
{
  struct sip_note note = { .name = "credit" };
  int64_t amount = -1;

  qibixx->master.state = QIBIXX_READER_CREDIT;
  if (line->count > 3 && !sip_qibixx_is(line, 3, "-1") &&
      !sip_qibixx_amount(&line->fields[3], (unsigned)qibixx->set.decimals, &amount)) {
    return; /* a damaged line */
  }
  (void)sip_note_int(&note, "amount_minor", amount);
  qibixx_tell(qibixx, &note);
}

static void master_began(struct qibixx *qibixx, bool reset)
{
  struct qibixx_master *master = &qibixx->master;

  if (master->job == QIBIXX_CHARGE && !master->seen && !reset) {
    return;
  }
  if (master->job != QIBIXX_NO_JOB) {
    master_end(qibixx, "unknown", "RESET", "the reader was reset");
  }
  master->state = reset ? QIBIXX_READER_RESET : QIBIXX_READER_INIT;
  if (!reset) {
    (void)qibixx_send(qibixx, "D,READER,1");
  }
}

void qibixx_master_line(struct qibixx *qibixx, int64_t now_us, const struct sip_qibixx_line *line)
{
  struct qibixx_master *master = &qibixx->master;

  (void)now_us;
  if (sip_qibixx_is(line, 1, "ERR")) {
    if (master->job != QIBIXX_NO_JOB && !master->cancelled && master->asked == 0) {
      master_end(qibixx, "failed", "REFUSED", "the interface cannot do that now");
    }
  } else if (!sip_qibixx_is(line, 1, "STATUS")) {
    return;
  } else if (sip_qibixx_is(line, 2, "RESULT")) {
    master_result(qibixx, line);
  } else if (sip_qibixx_is(line, 2, "IDLE")) {
    master_idle(qibixx, line);
  } else if (sip_qibixx_is(line, 2, "VEND")) {
    master->seen = master->job == QIBIXX_CHARGE;
    master->state = QIBIXX_READER_VEND;
  } else if (sip_qibixx_is(line, 2, "CREDIT")) {
    master_credit(qibixx, line);
  } else if (sip_qibixx_is(line, 2, "RESET") || sip_qibixx_is(line, 2, "INIT")) {
    master_began(qibixx, sip_qibixx_is(line, 2, "RESET"));
  }
}

static int master_charge(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err)
{
  struct qibixx_master *master = &qibixx->master;
  char price[QIBIXX_TEXT];
  int64_t amount, slot, deadline_ms;
  int rc = sip_fields_need(command, "qibixx charge", "amount_minor", 1, 99999999, &amount, err);

  rc = rc < 0 ? rc : sip_fields_int(command, "qibixx charge", "slot", 0, 65535, 0, &slot, err);
  rc = rc < 0 ? rc
              : sip_fields_int(command, "qibixx charge", "deadline_ms", 1, 3600000,
                               qibixx->set.decision_us / 1000, &deadline_ms, err);
  if (rc < 0) {
    return rc;
  }
  sip_qibixx_print(amount, (unsigned)qibixx->set.decimals, price, sizeof price);
  if (master->job != QIBIXX_NO_JOB) {
    qibixx_outcome(qibixx, command->ticket, "failed", "BUSY",
                   "nothing was sent: another sale is open", amount);
  } else if (master->state != QIBIXX_READER_CREDIT &&
             (master->state != QIBIXX_READER_IDLE || qibixx->set.master == 1)) {
    qibixx_outcome(qibixx, command->ticket, "failed", "NOT_READY",
                   "nothing was sent: the reader is not ready", amount);
  } else if (qibixx_send(qibixx, "D,REQ,%s,%d", price, (int)slot) < 0) {
    qibixx_outcome(qibixx, command->ticket, "failed", "NO_LINK",
                   "nothing was sent: the link did not take it", amount);
  } else {
    *master = (struct qibixx_master){ .state = QIBIXX_READER_VEND,
                                      .job = QIBIXX_CHARGE,
                                      .ticket = command->ticket,
                                      .amount_minor = amount,
                                      .until_us = now_us + deadline_ms * 1000 };
  }
  return 0;
}

static int master_settle(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err)
{
  struct qibixx_master *master = &qibixx->master;
  int64_t ok;
  int rc = sip_fields_need(command, "qibixx settle", "ok", 0, 1, &ok, err);

  if (rc < 0) {
    return rc;
  }
  if (master->job != QIBIXX_NO_JOB) {
    qibixx_outcome(qibixx, command->ticket, "failed", "BUSY",
                   "nothing was sent: another command runs", master->amount_minor);
  } else if (ok && master->state != QIBIXX_READER_RESULT) {
    qibixx_outcome(qibixx, command->ticket, "failed", "NOT_APPROVED",
                   "nothing was sent: the reader has approved nothing", 0);
  } else if (qibixx_send(qibixx, ok ? "D,END" : "D,END,-1") < 0) {
    qibixx_outcome(qibixx, command->ticket, "failed", "NO_LINK",
                   "nothing was sent: the link did not take it", master->amount_minor);
  } else {
    master->job = QIBIXX_SETTLE;
    master->ticket = command->ticket;
    master->cancelled = false;
    master->asked = 0;
    master->until_us = now_us + qibixx->set.reply_us;
  }
  return 0;
}

int qibixx_master_command(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err)
{
  struct qibixx_master *master = &qibixx->master;

  if (strcmp(command->name, "charge") == 0) {
    return master_charge(qibixx, now_us, command, err);
  }
  if (strcmp(command->name, "settle") == 0) {
    return master_settle(qibixx, now_us, command, err);
  }
  /* cancel */
  if (master->job != QIBIXX_CHARGE || master->cancelled) {
    qibixx_answer(qibixx, command->ticket, "NOTHING", "there is no charge to take back");
  } else if (qibixx_send(qibixx, "D,REQ,-1") < 0) {
    qibixx_answer(qibixx, command->ticket, "NO_LINK", "the link did not take it");
  } else {
    master->cancelled = true;
    master->until_us = now_us + CANCEL_US;
    qibixx_answer(qibixx, command->ticket, NULL, NULL);
  }
  return 0;
}

int64_t qibixx_master_due_us(const struct qibixx *qibixx)
{
  return qibixx->master.job == QIBIXX_NO_JOB ? SIP_NEVER_US : qibixx->master.until_us;
}

void qibixx_master_due(struct qibixx *qibixx, int64_t now_us)
{
  struct qibixx_master *master = &qibixx->master;

  if (master->job == QIBIXX_NO_JOB || now_us < master->until_us) {
    return;
  }
  if (master->job == QIBIXX_CHARGE && !master->cancelled && qibixx_send(qibixx, "D,REQ,-1") == 0) {
    master->cancelled = true;
    master->until_us = now_us + CANCEL_US;
  } else if (master->job == QIBIXX_CHARGE) {
    master_end(qibixx, "unknown", "DEADLINE", "the reader does not say whether it pays");
  } else if (master->asked < ASKS && qibixx_send(qibixx, "D,STATUS") == 0) {
    master->asked++; /* it says whether the sale is closed; not which way */
    master->until_us = now_us + qibixx->set.reply_us;
  } else {
    master_end(qibixx, "unknown", "COMMIT", "the end of the sale was not answered");
  }
}

void qibixx_master_link_lost(struct qibixx *qibixx)
{
  if (qibixx->master.job != QIBIXX_NO_JOB) {
    master_end(qibixx, "unknown", "LINK", "the link was lost before the answer");
  }
  qibixx->master = (struct qibixx_master){ .state = QIBIXX_MASTER_OFF };
}
