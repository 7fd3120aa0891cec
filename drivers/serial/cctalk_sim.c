/* cctalk_sim.c - a ccTalk bus with a coin acceptor and hoppers that keep their counters and coins.
 *
 * Frames with a wrong check or for others get no answer; a header that a device does not have, data
 * of a wrong size, an order to a hopper that is switched off, paying, or without its key, get a
 * NAK. A hopper pays a coin in 200 ms; one that is empty or jammed gives up after 1 s. After a
 * reset the counter of orders and of events is 0, the acceptor inhibited and the hopper off; the
 * lifetime count stays.
 *
 * Settings: check, echo ("yes": an adapter that echoes), acceptor, hopper, hoppers, security,
 *   cipher, tube (coins in each hopper, default 100), serial (of the first device, default
 * 12345678). Commands: coin {position, path, count}, error {error}, refill {slot, coins}, nak
 * {times}, busy {times}, swap {slot, serial} (slot 0: the acceptor; another device with counters of
 * its own), forget {slot} (the lifetime count is lost), state {slot} → {event, remaining, paid,
 * total, coins, fell, orders, on, counter, accepted}: fell and accepted are what really happened.
 * fault {kind, times, ms} (misbehave.h), where reset is a loss of power of all at the next frame
 * (deaf for 250 ms), jam an order of which nothing comes out, silent coins that fall uncounted, lie
 * a hopper status with one coin too many, and mute a frame that is obeyed but not answered. */
#include "core/base.h"
#include "serial/cctalk.h"
#include "serial/cctalk_frame.h"
#include "serial/fields.h"
#include "serial/misbehave.h"

#include <stdlib.h>
#include <string.h>

enum {
  HOPPERS = 8,
  COIN_US = 200000,
  GIVE_UP_US = 1000000,
  BOOT_US = 250000,
  KEY = 8,
  FLAG_TIMEOUT = 2, /* of header 163: no coin in time */
  FLAG_POWER_UP = 64,
  INHIBITED_COIN = 2 /* of header 229: error code */
};

struct sim_hopper {
  uint8_t address, event, remaining, paid, unpaid, flags;
  bool on, key, jammed;
  int64_t serial, total, coins, next_us, last_us;
  int64_t fell, orders;
};

struct sim_acceptor {
  uint8_t address, counter, events[2 * SIP_CCTALK_EVENTS];
  unsigned mask;
  bool on;
  int64_t serial, accepted;
};

struct cctalk_sim {
  struct sip_party party;
  struct sip_cctalk_form form;
  bool echo, cipher;
  struct sip_misbehave faults;
  struct sip_framer in;
  struct sim_acceptor acceptor; /* address 0: none */
  struct sim_hopper hoppers[HOPPERS];
  unsigned hopper_count;
  uint8_t security[SIP_CCTALK_SECURITY_MAX];
  size_t security_size;
  int64_t naks, busies, deaf_until_us;
};

static struct cctalk_sim *sim_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct cctalk_sim, party);
}

static void answer(struct cctalk_sim *sim, int64_t now_us, uint8_t from, uint8_t header,
                   const void *data, size_t size)
{
  uint8_t bytes[SIP_CCTALK_FRAME_MAX];
  struct sip_cctalk_frame frame = {
    .dest = SIP_CCTALK_HOST, .src = from, .header = header, .size = (uint8_t)size, .data = data
  };

  if (!sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_MUTE)) {
    size = sip_cctalk_write(bytes, &frame, sim->form.crc);
    sip_misbehave_send(&sim->faults, now_us, bytes, size);
  }
}

static void answer_text(struct cctalk_sim *sim, int64_t now_us, uint8_t from, const char *text)
{
  answer(sim, now_us, from, SIP_CCTALK_REPLY, text, strlen(text));
}

static void answer_number(struct cctalk_sim *sim, int64_t now_us, uint8_t from, int64_t number)
{
  uint8_t data[3] = { (uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16) };

  answer(sim, now_us, from, SIP_CCTALK_REPLY, data, sizeof data);
}

static void ack(struct cctalk_sim *sim, int64_t now_us, uint8_t from)
{
  answer(sim, now_us, from, SIP_CCTALK_REPLY, NULL, 0);
}

static void nak(struct cctalk_sim *sim, int64_t now_us, uint8_t from)
{
  answer(sim, now_us, from, SIP_CCTALK_NAK, NULL, 0);
}

static void hopper_reset(struct sim_hopper *hopper)
{
  hopper->event = 0;
  hopper->remaining = 0;
  hopper->paid = 0;
  hopper->unpaid = 0;
  hopper->flags = FLAG_POWER_UP;
  hopper->on = false;
  hopper->key = false;
  hopper->jammed = false;
  hopper->next_us = SIP_NEVER_US;
}

static void acceptor_reset(struct sim_acceptor *acceptor)
{
  acceptor->counter = 0;
  memset(acceptor->events, 0, sizeof acceptor->events);
  acceptor->mask = 0;
  acceptor->on = false;
}

static void push_event(struct sim_acceptor *acceptor, uint8_t a, uint8_t b)
{
  memmove(acceptor->events + 2, acceptor->events, sizeof acceptor->events - 2);
  acceptor->events[0] = a;
  acceptor->events[1] = b;
  acceptor->counter = sip_cctalk_next(acceptor->counter);
}

/* What both kinds answer; false: it is not one of these. */
static bool common(struct cctalk_sim *sim, int64_t now_us, const struct sip_cctalk_frame *frame,
                   const char *category, int64_t serial)
{
  uint8_t me = frame->dest;

  switch (frame->header) {
  case SIP_CCTALK_POLL:
    ack(sim, now_us, me);
    return true;
  case SIP_CCTALK_MAKER:
    answer_text(sim, now_us, me, "SIM");
    return true;
  case SIP_CCTALK_CATEGORY:
    answer_text(sim, now_us, me, category);
    return true;
  case SIP_CCTALK_PRODUCT:
    answer_text(sim, now_us, me, "SIM-1");
    return true;
  case SIP_CCTALK_SOFTWARE:
    answer_text(sim, now_us, me, "1.0");
    return true;
  case SIP_CCTALK_SERIAL_NUMBER:
    answer_number(sim, now_us, me, serial);
    return true;
  default:
    return false;
  }
}

static void hear_acceptor(struct cctalk_sim *sim, int64_t now_us,
                          const struct sip_cctalk_frame *frame)
{
  struct sim_acceptor *acceptor = &sim->acceptor;
  uint8_t credit[SIP_CCTALK_CREDIT_BYTES], status[2];

  if (frame->header == SIP_CCTALK_READ_CREDIT && frame->size == 0) {
    credit[0] = acceptor->counter;
    memcpy(credit + 1, acceptor->events, sizeof acceptor->events);
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, credit, sizeof credit);
  } else if (frame->header == SIP_CCTALK_INHIBIT && frame->size == 2) {
    acceptor->mask = frame->data[0] | (unsigned)frame->data[1] << 8;
    ack(sim, now_us, frame->dest);
  } else if (frame->header == SIP_CCTALK_MASTER_INHIBIT && frame->size == 1) {
    acceptor->on = (frame->data[0] & 1) != 0;
    ack(sim, now_us, frame->dest);
  } else if (frame->header == 230 && frame->size == 0) {
    status[0] = (uint8_t)acceptor->mask;
    status[1] = (uint8_t)(acceptor->mask >> 8);
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, status, 2);
  } else if (frame->header == 227 && frame->size == 0) {
    status[0] = acceptor->on;
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, status, 1);
  } else if (frame->header == SIP_CCTALK_RESET && frame->size == 0) {
    acceptor_reset(acceptor);
    ack(sim, now_us, frame->dest);
  } else if (!common(sim, now_us, frame, "Coin Acceptor", acceptor->serial)) {
    nak(sim, now_us, frame->dest);
  }
}

static void hear_dispense(struct cctalk_sim *sim, int64_t now_us, struct sim_hopper *hopper,
                          const struct sip_cctalk_frame *frame)
{
  bool fits = frame->size == sim->security_size + 1 &&
              memcmp(frame->data, sim->security, sim->security_size) == 0 &&
              frame->data[sim->security_size] > 0;

  if (sim->naks > 0) {
    sim->naks--;
    nak(sim, now_us, frame->dest);
    return;
  }
  if (!fits || !hopper->on || hopper->remaining > 0 || (sim->cipher && !hopper->key)) {
    nak(sim, now_us, frame->dest);
    return;
  }
  hopper->key = false;
  hopper->orders++;
  hopper->event = sip_cctalk_next(hopper->event);
  hopper->remaining = frame->data[sim->security_size];
  hopper->paid = 0;
  hopper->unpaid = 0;
  hopper->flags = 0;
  hopper->jammed = sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_JAM);
  hopper->next_us = now_us + COIN_US;
  hopper->last_us = now_us;
  answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, &hopper->event, 1);
}

static void hopper_stop(struct sim_hopper *hopper)
{
  hopper->unpaid = hopper->remaining;
  hopper->remaining = 0;
  hopper->next_us = SIP_NEVER_US;
}

static void hear_hopper(struct cctalk_sim *sim, int64_t now_us, struct sim_hopper *hopper,
                        const struct sip_cctalk_frame *frame)
{
  uint8_t status[4] = { hopper->event, hopper->remaining, hopper->paid, hopper->unpaid };
  uint8_t key[KEY] = { 0x53, 0x49, 0x4D, (uint8_t)hopper->orders, hopper->event, 1, 2, 3 };
  uint8_t flags[3] = { hopper->flags, 0, 0 };

  if (frame->header == SIP_CCTALK_DISPENSE) {
    hear_dispense(sim, now_us, hopper, frame);
  } else if (frame->header == SIP_CCTALK_ENABLE_HOPPER && frame->size == 1) {
    hopper->on = frame->data[0] == 165;
    ack(sim, now_us, frame->dest);
  } else if (frame->header == SIP_CCTALK_HOPPER_STATUS && frame->size == 0) {
    status[2] = (uint8_t)(status[2] + sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_LIE));
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, status, sizeof status);
  } else if (frame->header == SIP_CCTALK_DISPENSE_COUNT && frame->size == 0) {
    answer_number(sim, now_us, frame->dest, hopper->total);
  } else if (frame->header == SIP_CCTALK_TEST_HOPPER && frame->size == 0) {
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, flags, sizeof flags);
  } else if (frame->header == SIP_CCTALK_CIPHER_KEY && frame->size == 0) {
    hopper->key = true;
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, key, sizeof key);
  } else if (frame->header == SIP_CCTALK_STOP && frame->size == 0) {
    hopper_stop(hopper);
    answer(sim, now_us, frame->dest, SIP_CCTALK_REPLY, &hopper->unpaid, 1);
  } else if (frame->header == SIP_CCTALK_RESET && frame->size == 0) {
    hopper_reset(hopper);
    ack(sim, now_us, frame->dest);
  } else if (!common(sim, now_us, frame, "Payout", hopper->serial)) {
    nak(sim, now_us, frame->dest);
  }
}

static void take(struct cctalk_sim *sim, int64_t now_us, const struct sip_frame *bytes)
{
  struct sim_hopper *hopper = NULL;
  struct sip_cctalk_frame frame;

  if (now_us < sim->deaf_until_us ||
      sip_cctalk_read(&frame, bytes->bytes, bytes->size, sim->form.crc) != SIP_CCTALK_OK ||
      (!sim->form.crc && frame.src != SIP_CCTALK_HOST)) {
    return;
  }
  if (sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_RESET)) {
    acceptor_reset(&sim->acceptor);
    for (unsigned i = 0; i < sim->hopper_count; i++) {
      hopper_reset(&sim->hoppers[i]);
    }
    sim->deaf_until_us = now_us + BOOT_US;
    return;
  }
  for (unsigned i = 0; i < sim->hopper_count; i++) {
    hopper = frame.dest == sim->hoppers[i].address ? &sim->hoppers[i] : hopper;
  }
  if (hopper == NULL && (sim->acceptor.address == 0 || frame.dest != sim->acceptor.address)) {
    return;
  }
  if (sim->busies > 0) {
    sim->busies--;
    answer(sim, now_us, frame.dest, SIP_CCTALK_BUSY, NULL, 0);
  } else if (hopper != NULL) {
    hear_hopper(sim, now_us, hopper, &frame);
  } else {
    hear_acceptor(sim, now_us, &frame);
  }
}

static void take_all(struct cctalk_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_frame frame;

  while (sip_framer_take(&sim->in, now_us, &bytes, &size, &frame)) {
    take(sim, now_us, &frame);
  }
}

static void sim_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct cctalk_sim *sim = sim_of(party);

  if (sim->echo) {
    (void)sim->party.line->send(sim->party.line, bytes, size); /* a full line echoes nothing */
  }
  take_all(sim, now_us, bytes, size);
}

static void sim_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct cctalk_sim *sim = sim_of(party);

  (void)now_us;
  (void)up; /* the devices have power of their own */
  sip_framer_reset(&sim->in);
  sip_misbehave_reset(&sim->faults);
}

static int64_t sim_due_us(const struct sip_party *party)
{
  const struct cctalk_sim *sim = SIP_CONTAINER(party, const struct cctalk_sim, party);
  int64_t due = sip_misbehave_due_us(&sim->faults), frame = sip_framer_due_us(&sim->in);

  frame = frame == SIP_NEVER_US ? frame : frame + 1;
  due = frame < due ? frame : due;
  for (unsigned i = 0; i < sim->hopper_count; i++) {
    due = sim->hoppers[i].next_us < due ? sim->hoppers[i].next_us : due;
  }
  return due;
}

/* The motor has turned for another coin's time. */
static void hopper_turn(struct cctalk_sim *sim, int64_t now_us, struct sim_hopper *hopper)
{
  if (hopper->jammed || hopper->coins == 0) {
    if (now_us - hopper->last_us >= GIVE_UP_US) {
      hopper->flags |= FLAG_TIMEOUT;
      hopper_stop(hopper);
      return;
    }
  } else {
    hopper->coins--;
    hopper->fell++;
    hopper->last_us = now_us;
    if (!sip_misbehave_take(&sim->faults, SIP_MISBEHAVE_SILENT)) {
      hopper->remaining--;
      hopper->paid++;
      hopper->total = (hopper->total + 1) & 0xFFFFFF;
    }
  }
  hopper->next_us = hopper->remaining > 0 ? now_us + COIN_US : SIP_NEVER_US;
}

static void sim_on_due(struct sip_party *party, int64_t now_us)
{
  struct cctalk_sim *sim = sim_of(party);

  if (sip_framer_late(&sim->in, now_us)) {
    take_all(sim, now_us, NULL, 0);
  }
  for (unsigned i = 0; i < sim->hopper_count; i++) {
    if (now_us >= sim->hoppers[i].next_us) {
      hopper_turn(sim, now_us, &sim->hoppers[i]);
    }
  }
  sip_misbehave_on_due(&sim->faults, now_us);
}

static void insert(struct cctalk_sim *sim, const struct sip_note *command)
{
  struct sim_acceptor *acceptor = &sim->acceptor;
  int64_t position = sip_note_number(command, "position", 1);
  int64_t count = sip_note_number(command, "count", 1);

  for (int64_t i = 0; i < count; i++) {
    if (acceptor->on && position >= 1 && position <= 16 &&
        (acceptor->mask >> (position - 1) & 1) != 0) {
      acceptor->accepted++;
      push_event(acceptor, (uint8_t)position, (uint8_t)sip_note_number(command, "path", 1));
    } else {
      push_event(acceptor, 0, INHIBITED_COIN); /* it falls through */
    }
  }
}

static void swap(struct cctalk_sim *sim, struct sim_hopper *hopper, int64_t serial)
{
  if (hopper == NULL) {
    acceptor_reset(&sim->acceptor);
    sim->acceptor.serial = serial;
    sim->acceptor.counter = 77;
    return;
  }
  hopper_reset(hopper);
  hopper->serial = serial;
  hopper->total = 4321;
  hopper->event = 42;
}

static void tell_state(const struct cctalk_sim *sim, const struct sim_hopper *hopper,
                       struct sip_note *note)
{
  if (hopper != NULL) {
    (void)sip_note_int(note, "event", hopper->event);
    (void)sip_note_int(note, "remaining", hopper->remaining);
    (void)sip_note_int(note, "paid", hopper->paid);
    (void)sip_note_int(note, "total", hopper->total);
    (void)sip_note_int(note, "coins", hopper->coins);
    (void)sip_note_int(note, "fell", hopper->fell);
    (void)sip_note_int(note, "orders", hopper->orders);
    (void)sip_note_bool(note, "on", hopper->on);
  }
  (void)sip_note_int(note, "counter", sim->acceptor.counter);
  (void)sip_note_int(note, "accepted", sim->acceptor.accepted);
}

static int sim_obey(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                    struct sip_note *result, struct sip_err *err)
{
  struct cctalk_sim *sim = sim_of(party);
  const char *name = command->name;
  int64_t slot = sip_note_number(command, "slot", strcmp(name, "swap") == 0 ? 0 : 1);
  struct sim_hopper *hopper =
    slot >= 1 && slot <= sim->hopper_count ? &sim->hoppers[slot - 1] : NULL;

  (void)now_us;
  if (strcmp(name, "state") == 0) {
    tell_state(sim, hopper, result);
  } else if (strcmp(name, "coin") == 0) {
    insert(sim, command);
  } else if (strcmp(name, "error") == 0) {
    push_event(&sim->acceptor, 0, (uint8_t)sip_note_number(command, "error", 1));
  } else if (strcmp(name, "nak") == 0) {
    sim->naks = sip_note_number(command, "times", 1);
  } else if (strcmp(name, "busy") == 0) {
    sim->busies = sip_note_number(command, "times", 1);
  } else if (strcmp(name, "swap") == 0) {
    swap(sim, hopper, sip_note_number(command, "serial", 8765432));
  } else if (hopper != NULL && strcmp(name, "refill") == 0) {
    hopper->coins += sip_note_number(command, "coins", 100);
  } else if (hopper != NULL && strcmp(name, "forget") == 0) {
    hopper->total = 0;
  } else {
    return sip_err_set(err, UV_EINVAL,
                       "cctalk simulator: there is no command \"%s\", or no hopper at this slot",
                       name);
  }
  return 0;
}

static int sim_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                       struct sip_err *err)
{
  return sip_misbehave_obey(&sim_of(party)->faults, party, now_us, command, sim_obey, err);
}

static void sim_free(struct sip_party *party)
{
  struct cctalk_sim *sim = sim_of(party);

  sip_framer_deinit(&sim->in);
  free(sim);
}

static const struct sip_party_ops SIM_OPS = { .on_link = sim_on_link,
                                              .on_bytes = sim_on_bytes,
                                              .due_us = sim_due_us,
                                              .on_due = sim_on_due,
                                              .command = sim_command,
                                              .free = sim_free };

static int read_settings(struct cctalk_sim *sim, const struct sip_note *settings,
                         struct sip_err *err)
{
  static const char *const checks[] = { "sum", "crc", NULL };
  int64_t acceptor, hopper, hoppers, tube, serial;
  int check = sip_fields_word(settings, "cctalk", "check", checks, err);

  if (check < 0 || sip_fields_known(settings, "cctalk", sip_cctalk_settings, err) < 0 ||
      sip_fields_int(settings, "cctalk", "acceptor", 0, 255, 2, &acceptor, err) < 0 ||
      sip_fields_int(settings, "cctalk", "hopper", 2, 247, 3, &hopper, err) < 0 ||
      sip_fields_int(settings, "cctalk", "hoppers", 0, HOPPERS, 1, &hoppers, err) < 0 ||
      sip_fields_int(settings, "cctalk", "tube", 0, INT32_MAX, 100, &tube, err) < 0 ||
      sip_fields_int(settings, "cctalk", "serial", 0, 0xFFFFF0, 12345678, &serial, err) < 0) {
    return UV_EINVAL;
  }
  sim->form.crc = check == 1;
  sim->echo = sip_note_is(settings, "echo", "yes");
  sim->cipher = sip_note_number(settings, "cipher", 0) != 0;
  sim->acceptor.address = (uint8_t)acceptor;
  sim->acceptor.serial = serial++;
  sim->hopper_count = (unsigned)hoppers;
  for (unsigned i = 0; i < sim->hopper_count; i++) {
    hopper_reset(&sim->hoppers[i]);
    sim->hoppers[i].address = (uint8_t)(hopper + i);
    sim->hoppers[i].serial = serial++;
    sim->hoppers[i].coins = tube;
    sim->hoppers[i].total = 10000;
  }
  return sip_cctalk_security(sim->security, &sim->security_size, settings, err);
}

struct sip_party *sip_cctalk_simulator(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err)
{
  struct cctalk_sim *sim = calloc(1, sizeof *sim);

  if (sim == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "cctalk: no memory for the simulator");
    return NULL;
  }
  sim->party = (struct sip_party){ .ops = &SIM_OPS, .line = line };
  sip_misbehave_init(&sim->faults, line);
  if (read_settings(sim, settings, err) < 0) {
    sim_free(&sim->party);
    return NULL;
  }
  if (sip_framer_init(&sim->in, &sip_cctalk_framing, &sim->form) < 0) {
    sim_free(&sim->party);
    (void)sip_err_set(err, UV_ENOMEM, "cctalk: no memory for the simulator");
    return NULL;
  }
  return &sim->party;
}
