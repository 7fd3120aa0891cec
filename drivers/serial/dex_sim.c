/* dex_sim.c - a vending machine that is read over DEX/UCS or DDCMP, and keeps its books.
 *
 * It checks what it is sent as strictly as the standard: damaged blocks get NAK, a handshake with
 * another operation than R, or without an id and a revision, gets the code 05.
 *
 * Settings: transport, baud, machine (its id, default MACHINE001), revision, bids (true: an old one
 *   that bids for master itself), block (bytes of text in a block, default 200), products (default
 *   10, at 100, 110, …).
 * Commands: vend {slot, count, cashless}, price {slot, amount_minor}, text {text} (sends this
 *   instead; empty: its own again), clears {on} (totals since reset, when a read is completed),
 *   g85_swapped, g85_wrong, se_wrong {times}, code {code} (of the next second handshake: 1 to 5;
 * with ddcmp, 1 refuses until 0), state → {reads, vends, value_minor, text}; fault {kind, times,
 * ms} (misbehave.h), where reset is a session that it forgets at the next frame, and mute what it
 *   should say and does not. */
#include "serial/dex.h"

#include "core/base.h"
#include "serial/ddcmp_sim.h"
#include "serial/dex_link.h"
#include "serial/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOREVER_US = 1000000000, HEADER = 32 };

enum role {
  SIM_WAIT,   /* for the carrier's bid */
  SIM_ANSWER, /* second handshake, ours */
  SIM_BIDS,   /* first handshake, ours */
  SIM_THEIRS, /* second handshake, the carrier's */
  SIM_DATA
};

struct dex_sim {
  struct sip_party party;
  bool ddcmp, bids;
  struct sip_misbehave faults;
  struct sip_dex_machine machine;
  struct sip_dex_link link;
  struct sip_ddcmp_sim dd;
  enum role role;
  bool asked; /* the header of this session is as it has to be */
  int64_t code, part;
  char header[HEADER];
  struct sip_buf text;
};

static struct dex_sim *sim_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct dex_sim, party);
}

static void wait(struct dex_sim *sim, int64_t now_us)
{
  sim->role = SIM_WAIT;
  sim->asked = false;
  if (sim->bids) {
    sip_dex_link_stop(&sim->link); /* it hears, and bids then */
  } else {
    sip_dex_link_receive(&sim->link, now_us, FOREVER_US);
  }
}

static void send_header(struct dex_sim *sim, int64_t now_us, enum role role)
{
  sim->role = role;
  sip_dex_link_send(&sim->link, now_us, SIP_DEX_SOH, sim->header, strlen(sim->header),
                    SIP_DEX_TEXT_MAX);
}

static void answer(struct dex_sim *sim, int64_t now_us)
{
  int64_t code = sim->asked ? sim->code : 5;

  sim->code = 0;
  (void)snprintf(sim->header, sizeof sim->header, "%02d%s%s", (int)code, sim->machine.id,
                 sim->machine.revision);
  send_header(sim, now_us, SIM_ANSWER);
}

static void send_data(struct dex_sim *sim, int64_t now_us)
{
  if (sip_dex_machine_text(&sim->machine, &sim->text) < 0) {
    wait(sim, now_us); /* without memory it is as silent as a broken machine */
    return;
  }
  sim->role = SIM_DATA;
  sip_dex_link_send(&sim->link, now_us, SIP_DEX_STX, sim->text.data, sim->text.len,
                    (size_t)sim->part);
}

static void on_over(struct sip_dex_link *link, int64_t now_us, enum sip_dex_end how)
{
  struct dex_sim *sim = SIP_CONTAINER(link, struct dex_sim, link);

  if (how == SIP_DEX_COLLISION && sim->role == SIM_BIDS) {
    send_header(sim, now_us, SIM_BIDS); /* it insists */
  } else if (how != SIP_DEX_DONE) {
    wait(sim, now_us);
  } else if (sim->role == SIM_WAIT) {
    answer(sim, now_us);
  } else if (sim->role == SIM_BIDS) {
    sim->role = SIM_THEIRS;
    sip_dex_link_receive(link, now_us, 5000000);
  } else if ((sim->role == SIM_ANSWER && memcmp(sim->header, "00", 2) == 0) ||
             (sim->role == SIM_THEIRS && sim->asked)) {
    send_data(sim, now_us);
  } else {
    if (sim->role == SIM_DATA) {
      sip_dex_machine_read(&sim->machine);
    }
    wait(sim, now_us);
  }
}

/* "SIPEAT0001RR01L01", or "00SIPEAT0001R01L01" where we bid. */
static void on_block(struct sip_dex_link *link, int64_t now_us, const struct sip_dex_item *block)
{
  struct dex_sim *sim = SIP_CONTAINER(link, struct dex_sim, link);

  (void)now_us;
  if (sim->role == SIM_WAIT) {
    sim->asked = block->kind == SIP_DEX_SOH && block->size == SIP_DEX_ID + 1 + SIP_DEX_REVISION &&
                 block->text[SIP_DEX_ID] == 'R';
  } else if (sim->role == SIM_THEIRS) {
    sim->asked = block->kind == SIP_DEX_SOH && block->size == 2 + SIP_DEX_ID + SIP_DEX_REVISION &&
                 memcmp(block->text, "00", 2) == 0;
  }
}

static const struct sip_dex_user SIM_USER = { .block = on_block, .over = on_over };

static void sim_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct dex_sim *sim = sim_of(party);

  if (sim->ddcmp) {
    sip_ddcmp_sim_bytes(&sim->dd, now_us, bytes, size);
    return;
  }
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
    sip_dex_link_stop(&sim->link);
    wait(sim, now_us);
    return;
  }
  if (sim->bids && sim->role == SIM_WAIT && memchr(bytes, SIP_DEX_ENQ, size) != NULL) {
    (void)snprintf(sim->header, sizeof sim->header, "%sS%s", sim->machine.id,
                   sim->machine.revision);
    send_header(sim, now_us, SIM_BIDS);
    return;
  }
  sip_dex_link_bytes(&sim->link, now_us, bytes, size);
}

static void sim_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct dex_sim *sim = sim_of(party);

  (void)up;
  sip_misbehave_reset(&sim->faults);
  sip_ddcmp_sim_reset(&sim->dd);
  sip_dex_link_stop(&sim->link);
  wait(sim, now_us);
}

static int64_t sim_due_us(const struct sip_party *party)
{
  const struct dex_sim *sim = SIP_CONTAINER(party, const struct dex_sim, party);
  int64_t faults = sip_misbehave_due_us(&sim->faults);
  int64_t due = sim->ddcmp ? sip_ddcmp_sim_due_us(&sim->dd) : sip_dex_link_due_us(&sim->link);

  return faults < due ? faults : due;
}

static void sim_on_due(struct sip_party *party, int64_t now_us)
{
  struct dex_sim *sim = sim_of(party);

  sip_misbehave_on_due(&sim->faults, now_us);
  if (sim->ddcmp) {
    sip_ddcmp_sim_due(&sim->dd, now_us);
  } else {
    sip_dex_link_due(&sim->link, now_us);
  }
}

static int tell_state(struct dex_sim *sim, struct sip_note *note, struct sip_err *err)
{
  struct sip_dex_machine machine = sim->machine; /* what is asked for uses no fault up */
  struct sip_buf text = SIP_BUF_INIT;
  int rc = sip_dex_machine_text(&machine, &text);

  if (rc == 0) {
    sip_dex_machine_state(&sim->machine, note);
    (void)sip_note_bytes(note, "text", text.data, text.len);
    sim->party.line->tell(sim->party.line, note); /* the text is borrowed */
    rc = 1;
  } else {
    (void)sip_err_set(err, rc, "dex simulator: no memory for the audit");
  }
  sip_buf_deinit(&text);
  return rc;
}

static int sim_obey(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct dex_sim *sim = sim_of(party);
  int rc;

  (void)now_us;
  if (strcmp(command->name, "state") == 0) {
    return tell_state(sim, result, err);
  }
  if (strcmp(command->name, "code") == 0) {
    sim->code = sip_note_number(command, "code", 5) % 100;
    sim->dd.refuses = sim->code != 0;
    return 0;
  }
  rc = sip_dex_machine_command(&sim->machine, command, err);
  if (rc > 0) {
    rc = sip_err_set(err, UV_EINVAL, "dex simulator: there is no command \"%s\"", command->name);
  }
  return rc;
}

static int sim_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  return sip_misbehave_obey(&sim_of(party)->faults, party, now_us, command, sim_obey, err);
}

static void sim_free(struct sip_party *party)
{
  struct dex_sim *sim = sim_of(party);

  sip_dex_link_deinit(&sim->link);
  sip_ddcmp_sim_deinit(&sim->dd);
  sip_buf_deinit(&sim->text);
  sip_buf_deinit(&sim->machine.other);
  free(sim);
}

static const struct sip_party_ops SIM_OPS = { .on_link = sim_on_link,
                                              .on_bytes = sim_on_bytes,
                                              .due_us = sim_due_us,
                                              .on_due = sim_on_due,
                                              .command = sim_command,
                                              .free = sim_free };

static int read_settings(struct dex_sim *sim, const struct sip_note *settings, struct sip_err *err)
{
  static const char *const transports[] = { "dex", "ddcmp", NULL };
  int transport = sip_fields_word(settings, "dex", "transport", transports, err);
  int64_t products;

  if (transport < 0 || sip_fields_known(settings, "dex", sip_dex_settings, err) < 0 ||
      sip_dex_setting(settings, "machine", "MACHINE001", sim->machine.id, SIP_DEX_ID, err) < 0 ||
      sip_dex_setting(settings, "revision", "R01L01", sim->machine.revision, SIP_DEX_REVISION,
                      err) < 0 ||
      sip_fields_int(settings, "dex", "block", 1, SIP_DEX_TEXT_MAX, 200, &sim->part, err) < 0 ||
      sip_fields_int(settings, "dex", "products", 0, SIP_DEX_PRODUCTS, 10, &products, err) < 0) {
    return UV_EINVAL;
  }
  sim->ddcmp = transport == 1;
  sim->bids = sip_note_number(settings, "bids", 0) != 0;
  sim->machine.count = (unsigned)products;
  for (unsigned i = 0; i < sim->machine.count; i++) {
    sim->machine.products[i].price = 100 + 10 * (int64_t)i;
  }
  return 0;
}

struct sip_party *sip_dex_simulator(const struct sip_note *settings, struct sip_line *line,
                                    struct sip_err *err)
{
  struct dex_sim *sim = calloc(1, sizeof *sim);

  if (sim == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "dex: no memory for the simulator");
    return NULL;
  }
  sim->party = (struct sip_party){ .ops = &SIM_OPS, .line = line };
  sip_misbehave_init(&sim->faults, line);
  if (read_settings(sim, settings, err) < 0) {
    sim_free(&sim->party);
    return NULL;
  }
  if (sip_dex_link_init(&sim->link, &SIM_USER, &sim->party, &sim->faults) < 0 ||
      sip_ddcmp_sim_init(&sim->dd, &sim->machine, &sim->faults, (size_t)sim->part) < 0) {
    sim_free(&sim->party);
    (void)sip_err_set(err, UV_ENOMEM, "dex: no memory for the simulator");
    return NULL;
  }
  return &sim->party;
}
