/* qibixx_sim.c - a simulated Qibixx MDB interface with a vending machine behind its slave and a
 * cashless reader behind its master.
 *
 * As the interface it is strict: a line that it does not know is not answered, an approval counts
 * only for the request that is open and for its price (else VEND -3 and VEND -2), an end only after
 * a result.
 *
 * Settings: decimals = 2, motor_ms = 1500 (the machine's delivery), card_ms = 1000 (until somebody
 * shows a card), credit_minor = 1000 (on it: more is denied), stock = 10 (of the whole machine).
 * Commands: state -> {orders, motor_runs, fallen, requests, charged_minor, committed, reverted,
 * lines}, select {slot, amount_minor} (a customer chooses: result ok = 0 when the slave is not
 * enabled), stock {count} -> {count}, card {amount_minor} -> a credit before a request, fault
 * {kind, times, ms} (misbehave.h), with reset: the machine resets after the approval, VEND 5; jam:
 * nothing falls, VEND 3; silent: it falls, VEND 3; lie: success and nothing falls; mute: the
 * outcome is not told. */
#include "serial/fields.h"
#include "serial/misbehave.h"
#include "serial/qibixx.h"
#include "serial/qibixx_frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_US = 100000, LINE = 128, PRICE = 32 };
enum { OFF, INACTIVE, DISABLED, ENABLED, SESSION, REQUESTED, VENDS };
enum { M_OFF, M_RESET, M_INIT, M_IDLE, M_VEND, M_RESULT };

struct qibixx_sim {
  struct sip_party party; /* first */
  int64_t decimals, motor_us, card_us, credit_minor, stock;
  struct sip_misbehave faults;
  struct sip_framer framer;
  bool skips;
  int slave, master;
  char price[PRICE];
  int64_t slave_us, master_us; /* when they go on by themselves */
  int64_t asked_minor;
  int64_t orders, motor_runs, fallen, requests, charged_minor, committed, reverted, lines;
};

__attribute__((format(printf, 3, 4))) static void sim_say(struct qibixx_sim *sim, int64_t now_us,
                                                          const char *format, ...)
{
  char line[LINE];
  va_list args;
  int len;

  va_start(args, format);
  len = vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  line[len] = '\n';
  sip_misbehave_send(&sim->faults, now_us, line, (size_t)len + 1);
}

static void sim_slave(struct qibixx_sim *sim, int64_t now_us, int state)
{
  static const char *const WORDS[] = { "OFF", "INACTIVE", "DISABLED", "ENABLED", "IDLE" };

  sim->slave = state;
  sim->slave_us = state == OFF || state == ENABLED ? SIP_NEVER_US : now_us + STEP_US;
  sim_say(sim, now_us, "c,STATUS,%s", WORDS[state]);
}

/* The machine's delivery is over. */
static void sim_delivered(struct qibixx_sim *sim, int64_t now_us)
{
  bool falls = sim->stock > 0 && !sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_JAM);
  bool says = falls;

  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_LIE)) {
    falls = false;
    says = true;
  }
  sim->stock -= falls;
  sim->fallen += falls;
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
    sim_say(sim, now_us, "c,ERR,VEND 5");
    sim_slave(sim, now_us, INACTIVE);
    return;
  }
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_SILENT)) {
    says = false;
  }
  if (!sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_MUTE)) {
    sim_say(sim, now_us, says ? "c,VEND,SUCCESS" : "c,ERR,VEND 3");
  }
  sim_slave(sim, now_us, SESSION);
}

static void sim_slave_due(struct qibixx_sim *sim, int64_t now_us)
{
  switch (sim->slave) {
  case VENDS:
    sim_delivered(sim, now_us);
    break;
  case INACTIVE:
    sim_slave(sim, now_us, DISABLED);
    break;
  default:
    sim_slave(sim, now_us, ENABLED);
  }
}

static void sim_approved(struct qibixx_sim *sim, int64_t now_us, const struct sip_qibixx_line *line)
{
  if (sim->slave != REQUESTED) {
    sim_say(sim, now_us, "c,ERR,\"VEND -3\"");
  } else if (!sip_qibixx_is(line, 2, sim->price)) {
    sim_say(sim, now_us, "c,ERR,\"VEND -2\"");
    sim_slave(sim, now_us, SESSION);
  } else {
    sim->orders++;
    sim->motor_runs++;
    sim->slave = VENDS;
    sim->slave_us = now_us + sim->motor_us;
    sim_say(sim, now_us, "r,ACK");
  }
}

static void sim_slave_line(struct qibixx_sim *sim, int64_t now_us,
                           const struct sip_qibixx_line *line)
{
  if (sip_qibixx_is(line, 1, "0")) {
    sim_slave(sim, now_us, OFF);
  } else if (sip_qibixx_is(line, 1, "1") && sim->slave != OFF) {
    sim_say(sim, now_us, "c,ERR,\"cashless is on\"");
  } else if (sip_qibixx_is(line, 1, "1")) {
    sim_slave(sim, now_us, INACTIVE);
    sim_say(sim, now_us, "c,1");
  } else if (sip_qibixx_is(line, 1, "START")) {
    if (sim->slave == ENABLED && line->count == 3) {
      sim->slave = SESSION;
      sim->slave_us = SIP_NEVER_US;
      sim_say(sim, now_us, "c,STATUS,IDLE,%.*s", (int)line->fields[2].len, line->fields[2].data);
    } else {
      sim_say(sim, now_us, "c,ERR,\"START -3\"");
    }
  } else if (sip_qibixx_is(line, 1, "VEND")) {
    sim_approved(sim, now_us, line);
  } else if (sip_qibixx_is(line, 1, "STOP") && (sim->slave == REQUESTED || sim->slave == SESSION)) {
    sim_say(sim, now_us, "r,ACK");
    sim_slave(sim, now_us, SESSION);
  }
}

static void sim_master(struct qibixx_sim *sim, int64_t now_us, int state, int64_t in_us,
                       const char *says)
{
  sim->master = state;
  sim->master_us = in_us == SIP_NEVER_US ? in_us : now_us + in_us;
  sim_say(sim, now_us, "d,STATUS,%s", says);
}

static void sim_master_due(struct qibixx_sim *sim, int64_t now_us)
{
  char price[PRICE], text[LINE / 2];

  sim->master_us = SIP_NEVER_US;
  if (sim->master == M_RESET) {
    sim_master(sim, now_us, M_INIT, SIP_NEVER_US, "INIT,1");
  } else if (sim->master == M_VEND && sim->asked_minor > sim->credit_minor) {
    sim_say(sim, now_us, "d,STATUS,RESULT,-1");
    sim_master(sim, now_us, M_IDLE, SIP_NEVER_US, "IDLE");
  } else if (sim->master == M_VEND) {
    sip_qibixx_print(sim->asked_minor, (unsigned)sim->decimals, price, sizeof price);
    (void)snprintf(text, sizeof text, "RESULT,1,%s", price);
    sim_master(sim, now_us, M_RESULT, SIP_NEVER_US, text);
  }
}

static void sim_requested(struct qibixx_sim *sim, int64_t now_us,
                          const struct sip_qibixx_line *line)
{
  int64_t amount;

  if (sip_qibixx_is(line, 2, "-1")) {
    if (sim->master == M_VEND) {
      sim_say(sim, now_us, "d,STATUS,RESULT,-1");
      sim_master(sim, now_us, M_IDLE, SIP_NEVER_US, "IDLE");
    } else {
      sim_say(sim, now_us, "d,ERR,\"-1\"");
    }
  } else if (sim->master != M_IDLE || line->count < 3 ||
             !sip_qibixx_amount(&line->fields[2], (unsigned)sim->decimals, &amount)) {
    sim_say(sim, now_us, "d,ERR,\"-1\"");
  } else {
    sim->requests++;
    sim->asked_minor = amount;
    sim_master(sim, now_us, M_VEND, sim->card_us, "VEND");
  }
}

static void sim_ended(struct qibixx_sim *sim, int64_t now_us, const struct sip_qibixx_line *line)
{
  if (sim->master != M_RESULT) {
    sim_say(sim, now_us, "d,ERR,\"-1\"");
    return;
  }
  if (sip_qibixx_is(line, 2, "-1")) {
    sim->reverted++;
  } else {
    sim->committed++;
    sim->charged_minor += sim->asked_minor;
  }
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_MUTE)) {
    sim->master = M_IDLE;
  } else {
    sim_master(sim, now_us, M_IDLE, SIP_NEVER_US, "IDLE");
  }
}

static void sim_master_line(struct qibixx_sim *sim, int64_t now_us,
                            const struct sip_qibixx_line *line)
{
  static const char *const WORDS[] = { "OFF", "RESET", "INIT,1", "IDLE", "VEND", "RESULT" };

  if (sip_qibixx_is(line, 1, "0")) {
    sim_master(sim, now_us, M_OFF, SIP_NEVER_US, "OFF");
  } else if (sip_qibixx_is(line, 1, "1") || sip_qibixx_is(line, 1, "2")) {
    sim_master(sim, now_us, M_RESET, INT64_C(3) * STEP_US, "RESET");
  } else if (sip_qibixx_is(line, 1, "READER")) {
    if (sim->master == M_INIT || sim->master == M_IDLE) {
      sim_master(sim, now_us, M_IDLE, SIP_NEVER_US, "IDLE");
    } else {
      sim_say(sim, now_us, "d,ERR,\"-1\"");
    }
  } else if (sip_qibixx_is(line, 1, "REQ")) {
    sim_requested(sim, now_us, line);
  } else if (sip_qibixx_is(line, 1, "END")) {
    sim_ended(sim, now_us, line);
  } else if (sip_qibixx_is(line, 1, "STATUS")) {
    sim_say(sim, now_us, "d,STATUS,%s,#,2,1978,1,2,60,0,2", WORDS[sim->master]);
  }
}

static void sim_line(struct qibixx_sim *sim, int64_t now_us, const struct sip_frame *raw)
{
  struct sip_qibixx_line line;
  bool skips = sim->skips;

  sim->skips = raw->bytes[raw->size - 1] != '\n';
  if (skips || sip_qibixx_read(raw->bytes, raw->size, &line) != SIP_QIBIXX_OK) {
    return;
  }
  sim->lines++;
  if (sip_qibixx_is(&line, 0, "V")) {
    sim_say(sim, now_us, "v,4.0.2.0,0123456789ab");
  } else if (sip_qibixx_is(&line, 0, "H")) {
    sim_say(sim, now_us, "h,1,0");
  } else if (sip_qibixx_is(&line, 0, "F")) {
    sim_say(sim, now_us, "f,ACK");
  } else if (sip_qibixx_is(&line, 0, "X")) {
    sim_say(sim, now_us, "x,ACK");
  } else if (sip_qibixx_is(&line, 0, "C") && sip_qibixx_is(&line, 1, "SETCONF")) {
    sim_say(sim, now_us, "c,SET,OK");
  } else if (sip_qibixx_is(&line, 0, "D") && sip_qibixx_is(&line, 1, "SETCONF")) {
    sim_say(sim, now_us, "d,SET,OK");
  } else if (sip_qibixx_is(&line, 0, "C")) {
    sim_slave_line(sim, now_us, &line);
  } else if (sip_qibixx_is(&line, 0, "D")) {
    sim_master_line(sim, now_us, &line);
  }
}

static void sim_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct qibixx_sim *sim = (struct qibixx_sim *)party;
  struct sip_frame raw;

  while (sip_framer_take(&sim->framer, now_us, &bytes, &size, &raw)) {
    sim_line(sim, now_us, &raw);
  }
}

/* Without the USB the interface has no power: the machine sees its reader go, and a reader that has
 * approved decides for itself. What falls, falls. */
static void sim_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct qibixx_sim *sim = (struct qibixx_sim *)party;

  (void)now_us;
  sip_framer_reset(&sim->framer);
  sip_misbehave_reset(&sim->faults);
  sim->skips = false;
  if (!up) {
    if (sim->slave == VENDS && sim->stock > 0) {
      sim->stock--;
      sim->fallen++;
    }
    sim->slave = OFF;
    sim->master = M_OFF;
    sim->slave_us = SIP_NEVER_US;
    sim->master_us = SIP_NEVER_US;
  }
}

static int64_t sim_due_us(const struct sip_party *party)
{
  const struct qibixx_sim *sim = (const struct qibixx_sim *)party;
  int64_t due_us = sip_misbehave_due_us(&sim->faults);

  due_us = sim->slave_us < due_us ? sim->slave_us : due_us;
  return sim->master_us < due_us ? sim->master_us : due_us;
}

static void sim_on_due(struct sip_party *party, int64_t now_us)
{
  struct qibixx_sim *sim = (struct qibixx_sim *)party;

  sip_misbehave_on_due(&sim->faults, now_us);
  if (sim->slave_us <= now_us) {
    sim_slave_due(sim, now_us);
  }
  if (sim->master_us <= now_us) {
    sim_master_due(sim, now_us);
  }
}

static int sim_select(struct qibixx_sim *sim, int64_t now_us, const struct sip_note *command,
                      struct sip_note *result, struct sip_err *err)
{
  int64_t slot, amount;
  int rc = sip_fields_need(command, "select", "slot", 0, 65535, &slot, err);

  rc = rc < 0 ? rc : sip_fields_need(command, "select", "amount_minor", 0, 99999999, &amount, err);
  if (rc < 0) {
    return rc;
  }
  if (sim->slave != ENABLED && sim->slave != SESSION) {
    result->fields[0].number = 0;
    return 0;
  }
  sip_qibixx_print(amount, (unsigned)sim->decimals, sim->price, sizeof sim->price);
  sim->slave = REQUESTED;
  sim->slave_us = SIP_NEVER_US;
  sim_say(sim, now_us, "c,STATUS,VEND,%s,%d", sim->price, (int)slot);
  return 0;
}

static int sim_obey(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct qibixx_sim *sim = (struct qibixx_sim *)party;
  char credit[PRICE];
  int64_t amount;
  int rc = 0;

  if (strcmp(command->name, "select") == 0) {
    return sim_select(sim, now_us, command, result, err);
  }
  if (strcmp(command->name, "card") == 0) {
    rc = sip_fields_need(command, "card", "amount_minor", 0, 99999999, &amount, err);
    if (rc == 0) {
      sim->credit_minor = amount;
      sip_qibixx_print(amount, (unsigned)sim->decimals, credit, sizeof credit);
      sim_say(sim, now_us, "d,STATUS,CREDIT,%s", credit);
    }
    return rc;
  }
  if (strcmp(command->name, "stock") == 0) {
    rc = sip_fields_int(command, "stock", "count", 0, 100000000, sim->stock, &sim->stock, err);
    (void)sip_note_int(result, "count", sim->stock);
    return rc;
  }
  if (strcmp(command->name, "state") != 0) {
    return sip_err_set(err, SIP_ENOTFOUND,
                       "the simulated interface has no command \"%s\" (fault, state, select, card, "
                       "stock)",
                       command->name);
  }
  (void)sip_note_int(result, "orders", sim->orders);
  (void)sip_note_int(result, "motor_runs", sim->motor_runs);
  (void)sip_note_int(result, "fallen", sim->fallen);
  (void)sip_note_int(result, "requests", sim->requests);
  (void)sip_note_int(result, "charged_minor", sim->charged_minor);
  (void)sip_note_int(result, "committed", sim->committed);
  (void)sip_note_int(result, "reverted", sim->reverted);
  (void)sip_note_int(result, "lines", sim->lines);
  return 0;
}

static int sim_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  return sip_misbehave_obey(&((struct qibixx_sim *)party)->faults, party, now_us, command, sim_obey,
                            err);
}

static void sim_free(struct sip_party *party)
{
  struct qibixx_sim *sim = (struct qibixx_sim *)party;

  sip_framer_deinit(&sim->framer);
  free(sim);
}

struct sip_party *sip_qibixx_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err)
{
  static const struct sip_party_ops OPS = { sim_on_link, sim_on_bytes, sim_due_us,
                                            sim_on_due,  sim_command,  sim_free };
  struct qibixx_sim *sim = calloc(1, sizeof *sim);
  int rc;

  if (sim == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "qibixx: no memory for the simulator");
    return NULL;
  }
  const struct sip_setting fields[] = {
    { "decimals", NULL, 0, 4, 2, 1, &sim->decimals },
    { "motor_ms", NULL, 1, 600000, 1500, 1000, &sim->motor_us },
    { "card_ms", NULL, 1, 600000, 1000, 1000, &sim->card_us },
    { "credit_minor", NULL, 0, 99999999, 1000, 1, &sim->credit_minor },
    { "stock", NULL, 0, 100000000, 10, 1, &sim->stock },
  };
  sim->party = (struct sip_party){ &OPS, line };
  rc = sip_fields_settings(settings, "simulated qibixx", fields, sizeof fields / sizeof fields[0],
                           err);
  if (rc == 0 && sip_framer_init(&sim->framer, &sip_qibixx_framing, NULL) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "qibixx: no memory for the simulator");
  }
  if (rc < 0) {
    free(sim);
    return NULL;
  }
  sip_misbehave_init(&sim->faults, line);
  sim->slave_us = SIP_NEVER_US;
  sim->master_us = SIP_NEVER_US;
  return &sim->party;
}
