/* xy_ask.c - what is asked of the FA FB board beside dispensing: frames that may be repeated, one
 * after the other, each until it is acknowledged and, where there is one, its answer came. */
#include "core/nearest.h"
#include "serial/fields.h"
#include "serial/xy_state.h"

#include <stdio.h>
#include <string.h>

enum shape { PLAIN, SLOT, SLOT_PAD, SLOT_VALUE, VALUE, MODE_MASK, NO_SLOT };

struct xy_ask_kind {
  const char *name;
  uint8_t command, reply; /* reply 0: the ACK is all */
  enum shape shape;
  const char *field; /* of a value */
  size_t width;
  int64_t most;
};

static const struct xy_ask_kind KINDS[] = {
  /* The published description gives three bytes and a length of four: clients add a 00. */
  { "slot", SIP_XY_CHECK_SLOT, SIP_XY_SLOT_STATUS, SLOT_PAD, NULL, 0, 0 },
  { "machine", SIP_XY_MACHINE_ASK, SIP_XY_MACHINE_STATUS, PLAIN, NULL, 0, 0 },
  { "lift", SIP_XY_LIFT_ASK, SIP_XY_LIFT_STATUS, PLAIN, NULL, 0, 0 },
  { "sync", SIP_XY_SYNC, 0, PLAIN, NULL, 0, 0 },
  { "price", SIP_XY_SET_PRICE, 0, SLOT_VALUE, "amount_minor", 4, UINT32_MAX },
  { "inventory", SIP_XY_SET_INVENTORY, 0, SLOT_VALUE, "count", 1, 255 },
  { "capacity", SIP_XY_SET_CAPACITY, 0, SLOT_VALUE, "count", 1, 255 },
  { "product", SIP_XY_SET_PRODUCT, 0, SLOT_VALUE, "product", 2, 65535 },
  { "interval", SIP_XY_SET_INTERVAL, 0, VALUE, "ms", 1, 2000 },
  { "accept", SIP_XY_ACCEPT, 0, MODE_MASK, NULL, 0, 0 },
  { "cancel", SIP_XY_SELECT, 0, NO_SLOT, NULL, 0, 0 },
};

static void xy_put(struct xy_ask *ask, int64_t number, size_t width)
{
  while (width-- > 0) {
    ask->text[ask->size++] = (uint8_t)(number >> 8 * width);
  }
}

static int xy_ask_fill(struct xy_ask *ask, const struct sip_note *command, struct sip_err *err)
{
  const struct xy_ask_kind *kind = ask->kind;
  enum shape shape = kind->shape;
  int64_t slot = 0, value = 0, mask = 0;
  int rc = 0;

  if (shape == SLOT || shape == SLOT_PAD || shape == SLOT_VALUE) {
    rc = sip_fields_need(command, kind->name, "slot", 0, XY_SLOTS - 1, &slot, err);
    ask->slot = (uint16_t)slot;
  }
  if (rc == 0 && kind->field != NULL) {
    rc = sip_fields_need(command, kind->name, kind->field, 0, kind->most, &value, err);
    value = shape == VALUE ? value / 100 : value; /* the interval is in tenths of a second */
  }
  if (rc == 0 && shape == MODE_MASK) {
    rc = sip_fields_need(command, kind->name, "mode", 0, 255, &value, err);
    rc = rc < 0 ? rc : sip_fields_need(command, kind->name, "mask", 0, 65535, &mask, err);
  }
  if (rc < 0) {
    return rc;
  }
  if (shape == MODE_MASK) {
    xy_put(ask, value, 1);
    xy_put(ask, mask, 2);
  } else if (shape != PLAIN && shape != VALUE) {
    xy_put(ask, slot, 2);
    xy_put(ask, 0, shape == SLOT_PAD ? 1 : 0);
  }
  if (kind->field != NULL) {
    xy_put(ask, value, kind->width);
  }
  return 0;
}

int xy_ask_command(struct xy *xy, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err)
{
  struct xy_ask ask = { .ticket = command->ticket, .give_up_us = now_us + xy->set.order_us };
  int rc;

  for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
    ask.kind = strcmp(KINDS[i].name, command->name) == 0 ? &KINDS[i] : ask.kind;
  }
  if (ask.kind == NULL && strcmp(command->name, "identify") != 0) {
    return sip_err_set(err, SIP_ENOTFOUND, "xy: there is no command \"%s\"", command->name);
  }
  rc = ask.kind == NULL ? 0 : xy_ask_fill(&ask, command, err);
  if (rc < 0) {
    return rc;
  }
  if (xy->ask_count == XY_ASKS) {
    return sip_err_set(err, SIP_EQUEUEFULL, "xy %s: %d commands wait already", command->name,
                       XY_ASKS);
  }
  if (!xy->up) {
    xy_answer(xy, command->ticket, "NO_LINK", "the link is down");
    return 0;
  }
  xy->asks[xy->ask_count++] = ask;
  if (xy->seen) {
    xy_ask_polled(xy);
  }
  return 0;
}

static struct xy_ask xy_ask_take(struct xy *xy, unsigned at)
{
  struct xy_ask ask = xy->asks[at];

  xy->ask_count--;
  memmove(xy->asks + at, xy->asks + at + 1, (xy->ask_count - at) * sizeof ask);
  if (at == 0 && xy->awaits == XY_ASK_ACK) {
    xy->awaits = XY_NOTHING;
  }
  return ask;
}

bool xy_ask_send(struct xy *xy, int64_t now_us)
{
  struct xy_ask *ask = &xy->asks[0];

  if (xy->ask_count == 0 || ask->kind == NULL || ask->acked) {
    return false;
  }
  if (ask->tries == XY_TRIES) {
    struct xy_ask gone = xy_ask_take(xy, 0);

    xy_answer(xy, gone.ticket, "NO_ACK", "the board does not acknowledge it");
    return xy_ask_send(xy, now_us);
  }
  ask->number = ask->number == 0 ? xy_next_number(xy) : ask->number; /* a repeat keeps it */
  if (xy_send(xy, ask->kind->command, ask->number, ask->text, ask->size) < 0) {
    return false;
  }
  ask->tries++;
  ask->give_up_us = now_us + xy->set.order_us;
  xy->awaits = XY_ASK_ACK;
  return true;
}

void xy_ask_acked(struct xy *xy, int64_t now_us)
{
  struct xy_ask *ask = &xy->asks[0];

  if (xy->ask_count == 0 || ask->kind == NULL || ask->number == 0) {
    return;
  }
  ask->acked = true;
  ask->give_up_us = now_us + xy->set.reply_us;
  if (ask->kind->reply == 0) {
    xy_answer(xy, xy_ask_take(xy, 0).ticket, NULL, NULL);
  }
}

void xy_ask_polled(struct xy *xy)
{
  for (unsigned i = 0; i < xy->ask_count;) {
    if (xy->asks[i].kind == NULL) {
      struct sip_note note = { .name = "result", .ticket = xy_ask_take(xy, i).ticket };

      (void)sip_note_bool(&note, "ok", true);
      (void)sip_note_text(&note, "kind", "xy");
      (void)sip_note_text(&note, "id", "");
      (void)sip_note_text(&note, "version", "");
      xy_tell(xy, &note);
    } else {
      i++;
    }
  }
}

void xy_ask_frame(struct xy *xy, const struct sip_xy_frame *frame)
{
  const struct xy_ask *ask = &xy->asks[0];
  struct sip_note note = { .name = "result" };
  char raw[2 * SIP_XY_BODY + 1] = "";

  if (xy->ask_count == 0 || ask->kind == NULL || ask->number == 0 || ask->kind->reply == 0 ||
      ask->kind->reply != frame->command) {
    return;
  }
  if (ask->kind->shape == SLOT_PAD &&
      (frame->size < 3 || sip_xy_number(frame->text + 1, 2) != ask->slot)) {
    return; /* of another slot */
  }
  (void)sip_note_bool(&note, "ok", true);
  if (ask->kind->shape == SLOT_PAD) {
    (void)sip_note_int(&note, "slot", ask->slot);
    (void)sip_note_int(&note, "status", frame->text[0]);
  } else {
    for (size_t i = 0; i < frame->size; i++) {
      (void)snprintf(raw + 2 * i, 3, "%02X", frame->text[i]);
    }
    (void)sip_note_text(&note, "raw", raw);
  }
  note.ticket = xy_ask_take(xy, 0).ticket;
  xy_tell(xy, &note);
}

void xy_ask_due(struct xy *xy, int64_t now_us)
{
  for (unsigned i = 0; i < xy->ask_count;) {
    if (now_us >= xy->asks[i].give_up_us) {
      xy_answer(xy, xy_ask_take(xy, i).ticket, "SILENT", "the board does not answer");
    } else {
      i++;
    }
  }
}

void xy_ask_link_lost(struct xy *xy)
{
  while (xy->ask_count > 0) {
    xy_answer(xy, xy_ask_take(xy, 0).ticket, "NO_LINK", "the link was lost");
  }
}
