/* qibixx_slave.c - we are a cashless reader in somebody's machine: its requests, and one approval
 * for each. */
#include "serial/fields.h"
#include "serial/qibixx_state.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { SESSION_TRIES = 3 };

static void slave_end(struct qibixx *qibixx, const char *outcome, const char *code,
                      const char *reason)
{
  struct qibixx_slave *slave = &qibixx->slave;

  slave->state = QIBIXX_SESSION; /* until the interface says more */
  qibixx_outcome(qibixx, slave->ticket, outcome, code, reason, slave->amount_minor);
}

/* What a line says of a sale that nobody waits for any more. */
static void slave_late(struct qibixx *qibixx, const char *outcome)
{
  struct sip_note note = { .name = "late" };

  (void)sip_note_text(&note, "outcome", outcome);
  qibixx_tell(qibixx, &note);
}

static void slave_requested(struct qibixx *qibixx, int64_t now_us,
                            const struct sip_qibixx_line *line)
{
  struct qibixx_slave *slave = &qibixx->slave;
  struct sip_note note = { .name = "request" };
  const struct sip_slice *price = &line->fields[3];
  int64_t slot = -1;

  if (slave->state == QIBIXX_APPROVED) {
    return; /* it has our answer: this is the request again */
  }
  if (line->count < 4 || price->len >= sizeof slave->price ||
      !sip_qibixx_amount(price, (unsigned)qibixx->set.decimals, &slave->amount_minor) ||
      (line->count > 4 && !sip_qibixx_amount(&line->fields[4], 0, &slot))) {
    (void)qibixx_send(qibixx, "C,STOP"); /* a price that is not understood is not approved */
    return;
  }
  memcpy(slave->price, price->data, price->len);
  slave->price[price->len] = '\0';
  slave->slot = slot;
  slave->state = QIBIXX_REQUESTED;
  slave->until_us = now_us + qibixx->set.decision_us;
  (void)sip_note_int(&note, "amount_minor", slave->amount_minor);
  (void)sip_note_int(&note, "slot", slot);
  qibixx_tell(qibixx, &note);
}

static void slave_session_end(struct qibixx *qibixx, const char *code, const char *reason)
{
  uint64_t ticket = qibixx->slave.session_ticket;

  if (ticket != 0) {
    qibixx->slave.session_ticket = 0;
    qibixx_answer(qibixx, ticket, code, reason);
  }
}

static void slave_status(struct qibixx *qibixx, int64_t now_us, const struct sip_qibixx_line *line)
{
  static const struct {
    const char *word;
    enum qibixx_slave_state state;
  } STATES[] = { { "OFF", QIBIXX_SLAVE_OFF },
                 { "INACTIVE", QIBIXX_INACTIVE },
                 { "DISABLED", QIBIXX_DISABLED },
                 { "ENABLED", QIBIXX_ENABLED },
                 { "IDLE", QIBIXX_SESSION } };
  struct qibixx_slave *slave = &qibixx->slave;

  if (sip_qibixx_is(line, 2, "VEND")) {
    slave_requested(qibixx, now_us, line);
    return;
  }
  for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++) {
    if (!sip_qibixx_is(line, 2, STATES[i].word)) {
      continue;
    }
    if (STATES[i].state == QIBIXX_SESSION && line->count > 3) {
      slave_session_end(qibixx, NULL, NULL);
    }
    if (slave->state == QIBIXX_APPROVED && STATES[i].state == QIBIXX_SESSION) {
      return; /* the line that says how it ended may be lost; the end of the session tells */
    }
    if (slave->state == QIBIXX_APPROVED) {
      slave_end(qibixx, "unknown", STATES[i].state == QIBIXX_ENABLED ? "NOT_SEEN" : "RESET",
                "the machine went on and did not say what came of the approval");
    }
    slave->state = STATES[i].state;
  }
}

static void slave_error(struct qibixx *qibixx, const struct sip_qibixx_line *line)
{
  struct qibixx_slave *slave = &qibixx->slave;
  int vend = qibixx_error(line, "VEND"), start = qibixx_error(line, "START");
  bool waits = slave->state == QIBIXX_APPROVED;

  /* Its quoted codes are negative. One that is not has lost its sign, and there is no check. */
  if (vend > 0 && line->fields[2].data[0] == '"') {
    vend = 0;
  }
  if (slave->state == QIBIXX_SLAVE_OFF && sip_qibixx_is(line, 2, "\"cashless is on\"")) {
    slave->state = QIBIXX_INACTIVE; /* as somebody before us left it; the next line says more */
  } else if (start != INT_MIN) {
    slave_session_end(qibixx, "REFUSED", "the machine has not enabled the reader");
  } else if (!waits && vend == 1 && slave->state == QIBIXX_REQUESTED) {
    slave->state = QIBIXX_SESSION; /* cancelled before we decided */
  } else if (!waits && vend != INT_MIN) {
    slave_late(qibixx, vend == 3 || vend == 1 ? "failed" : "unknown");
  } else if (vend == 3) {
    slave_end(qibixx, "failed", "VEND_FAILED", "the machine says that nothing came out");
  } else if (vend == 1) {
    slave_end(qibixx, "failed", "CANCELLED", "the machine cancelled the sale");
  } else if (vend == -2) {
    slave_end(qibixx, "failed", "REFUSED", "the interface refused the approval");
  } else if (vend == 5) {
    slave_end(qibixx, "unknown", "RESET",
              "the machine was reset after the approval: it counts as sold, and nobody saw it");
  } else if (vend == -3) { /* whether it then had a first copy of ours, nobody says */
    slave_end(qibixx, "unknown", "STATE", "the interface was in another state");
  } else if (vend != INT_MIN) {
    slave_end(qibixx, "unknown", "ERROR", "the interface gives an error that is not known");
  }
}

void qibixx_slave_line(struct qibixx *qibixx, int64_t now_us, const struct sip_qibixx_line *line)
{
  if (sip_qibixx_is(line, 1, "STATUS")) {
    slave_status(qibixx, now_us, line);
  } else if (sip_qibixx_is(line, 1, "ERR")) {
    slave_error(qibixx, line);
  } else if (sip_qibixx_is(line, 1, "VEND") && sip_qibixx_is(line, 2, "SUCCESS")) {
    if (qibixx->slave.state == QIBIXX_APPROVED) {
      slave_end(qibixx, "done", "DELIVERED", "the machine says that it delivered");
    } else {
      slave_late(qibixx, "done");
    }
  }
}

static int slave_dispense(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err)
{
  struct qibixx_slave *slave = &qibixx->slave;
  int64_t amount, slot, quantity, deadline_ms;
  int rc = sip_fields_need(command, "qibixx dispense", "amount_minor", 0, INT64_MAX, &amount, err);

  rc = rc < 0 ? rc : sip_fields_int(command, "qibixx dispense", "slot", 0, 65535, -1, &slot, err);
  rc =
    rc < 0 ? rc : sip_fields_int(command, "qibixx dispense", "quantity", 1, 1, 1, &quantity, err);
  rc = rc < 0 ? rc
              : sip_fields_int(command, "qibixx dispense", "deadline_ms", 1, 3600000,
                               qibixx->set.vend_us / 1000, &deadline_ms, err);
  if (rc < 0) {
    return rc;
  }
  if (slave->state == QIBIXX_APPROVED) {
    qibixx_outcome(qibixx, command->ticket, "failed", "BUSY",
                   "nothing was sent: another approval is on its way", amount);
  } else if (slave->state != QIBIXX_REQUESTED) {
    qibixx_outcome(qibixx, command->ticket, "failed", "NO_REQUEST",
                   "nothing was sent: the machine does not ask for anything", amount);
  } else if (amount != slave->amount_minor ||
             (slot >= 0 && slave->slot >= 0 && slot != slave->slot)) {
    qibixx_outcome(qibixx, command->ticket, "failed", "MISMATCH",
                   "nothing was sent: the machine asks for something else", amount);
  } else if (qibixx_send(qibixx, "C,VEND,%s", slave->price) < 0) {
    qibixx_outcome(qibixx, command->ticket, "failed", "NO_LINK",
                   "nothing was sent: the link did not take it", amount);
  } else {
    slave->state = QIBIXX_APPROVED;
    slave->ticket = command->ticket;
    slave->until_us = now_us + deadline_ms * 1000;
  }
  return 0;
}

static int slave_session(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err)
{
  struct qibixx_slave *slave = &qibixx->slave;
  char credit[QIBIXX_TEXT];
  int64_t amount;
  int rc = sip_fields_need(command, "qibixx session", "amount_minor", 0, 99999999, &amount, err);

  if (rc < 0) {
    return rc;
  }
  if (slave->session_ticket != 0) {
    return sip_err_set(err, SIP_EBUSY, "qibixx session: another one is being opened");
  }
  sip_qibixx_print(amount, (unsigned)qibixx->set.decimals, credit, sizeof credit);
  (void)snprintf(slave->session, sizeof slave->session, "C,START,%.30s", credit);
  slave->session_ticket = command->ticket;
  slave->session_tries = 1;
  slave->session_us = now_us + qibixx->set.reply_us;
  if (qibixx_send(qibixx, "%s", slave->session) < 0) {
    slave_session_end(qibixx, "NO_LINK", "the link did not take it");
  }
  return 0;
}

int qibixx_slave_command(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err)
{
  struct qibixx_slave *slave = &qibixx->slave;

  if (strcmp(command->name, "dispense") == 0) {
    return slave_dispense(qibixx, now_us, command, err);
  }
  if (strcmp(command->name, "session") == 0) {
    return slave_session(qibixx, now_us, command, err);
  }
  /* deny */
  if (slave->state == QIBIXX_APPROVED) {
    qibixx_answer(qibixx, command->ticket, "BUSY", "the approval is on its way already");
  } else if (qibixx_send(qibixx, "C,STOP") < 0) {
    qibixx_answer(qibixx, command->ticket, "NO_LINK", "the link did not take it");
  } else {
    slave->state = QIBIXX_SESSION;
    qibixx_answer(qibixx, command->ticket, NULL, NULL);
  }
  return 0;
}

int64_t qibixx_slave_due_us(const struct qibixx *qibixx)
{
  const struct qibixx_slave *slave = &qibixx->slave;
  int64_t due_us = slave->state >= QIBIXX_REQUESTED ? slave->until_us : SIP_NEVER_US;

  return slave->session_ticket != 0 && slave->session_us < due_us ? slave->session_us : due_us;
}

void qibixx_slave_due(struct qibixx *qibixx, int64_t now_us)
{
  struct qibixx_slave *slave = &qibixx->slave;

  if (slave->state == QIBIXX_REQUESTED && now_us >= slave->until_us) {
    slave->state = QIBIXX_SESSION; /* nobody decided: that is a no */
    (void)qibixx_send(qibixx, "C,STOP");
  } else if (slave->state == QIBIXX_APPROVED && now_us >= slave->until_us) {
    slave_end(qibixx, "unknown", "DEADLINE", "the machine does not say what came of the approval");
  }
  if (slave->session_ticket != 0 && now_us >= slave->session_us) {
    if (slave->session_tries++ >= SESSION_TRIES) {
      slave_session_end(qibixx, "SILENT", "the interface does not answer");
    } else { /* harmless until it is open */
      slave->session_us = now_us + qibixx->set.reply_us;
      (void)qibixx_send(qibixx, "%s", slave->session);
    }
  }
}

void qibixx_slave_link_lost(struct qibixx *qibixx)
{
  if (qibixx->slave.state == QIBIXX_APPROVED) {
    slave_end(qibixx, "unknown", "LINK", "the link was lost after the approval");
  }
  slave_session_end(qibixx, "NO_LINK", "the link was lost");
  qibixx->slave.state = QIBIXX_SLAVE_OFF;
}
