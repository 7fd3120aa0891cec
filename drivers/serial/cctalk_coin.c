/* cctalk_coin.c - credit of a coin acceptor, from its counter of events and a buffer of five.
 *
 * A step of the counter is booked when two readings in a row agree: one checksum of 8 bits is not
 * enough for money, and reading is free. Where nobody can tell what a step means (the first one
 * after a restart or a break, when it is larger than the buffer; a reset), nothing is paid, and
 * `lost` says so. */
#include "serial/cctalk_state.h"

#include <string.h>

static void tell_lost(struct cctalk *bus, unsigned events, int counter, const char *code,
                      const char *reason)
{
  struct sip_note note = { .name = "lost" };

  (void)sip_note_int(&note, "events", events);
  (void)sip_note_int(&note, "counter", counter);
  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  sip_cctalk_tell(bus, &note);
}

static void tell_event(struct cctalk *bus, uint8_t coin, uint8_t path, int counter)
{
  struct sip_note note = { .name = "credit" };
  int64_t value = coin > 0 && coin <= CCTALK_COINS ? bus->coins[coin - 1] : 0;

  if (coin == 0 && path == 0) {
    return; /* an empty place of the buffer */
  }
  if (value > 0) {
    (void)sip_note_int(&note, "amount_minor", value);
  } else {
    note.name = "fault";
    (void)sip_note_text(&note, "code", coin == 0 ? "COIN_ERROR" : "UNKNOWN_COIN");
    (void)sip_note_text(&note, "reason",
                        coin == 0 ? "the acceptor reports an error by its number"
                                  : "the setting coins has no value for this position");
  }
  (void)sip_note_int(&note, coin == 0 ? "error" : "coin", coin == 0 ? path : coin);
  (void)sip_note_int(&note, "path", coin == 0 ? 0 : path);
  (void)sip_note_int(&note, "counter", counter);
  sip_cctalk_tell(bus, &note);
}

/* The oldest event first; each with what the counter was behind it, which is what to store. */
static void book(struct cctalk *bus, unsigned fresh)
{
  int counter = bus->reading[0];

  for (unsigned i = 1; i < fresh; i++) {
    counter = counter == 1 ? 255 : counter - 1;
  }
  for (unsigned i = fresh; i > 0; i--) {
    const uint8_t *event = bus->reading + 1 + 2 * (size_t)(i - 1);

    tell_event(bus, event[0], event[1], counter);
    counter = sip_cctalk_next((uint8_t)counter);
  }
}

/* A reading that was confirmed. */
static void settle(struct cctalk *bus, int64_t now_us)
{
  int counter = bus->reading[0];
  struct sip_cctalk_delta delta = sip_cctalk_delta(bus->last, counter);
  bool doubtful = bus->doubtful && delta.lost > 0;
  struct sip_note note = { .name = "counting" };

  if (delta.baseline || bus->doubtful) {
    (void)sip_note_int(&note, "counter", counter);
    sip_cctalk_tell(bus, &note);
  }
  bus->doubtful = false;
  bus->last = counter;
  if (delta.baseline) {
    return;
  }
  if (delta.reset) {
    tell_lost(bus, 0, counter, "RESET",
              "the acceptor was reset: coins since the last reading are "
              "not known");
    sip_cctalk_configure(bus, now_us);
  } else if (doubtful) {
    tell_lost(bus, delta.lost + delta.fresh, counter, "GAP",
              "more events than the buffer holds, or a reset, since the counter was stored: none "
              "is paid");
  } else {
    if (delta.lost > 0) {
      tell_lost(bus, delta.lost, counter, "OVERRUN", "more events than the buffer holds");
    }
    book(bus, delta.fresh);
  }
}

void sip_cctalk_read_credit(struct cctalk *bus, int64_t now_us)
{
  struct cctalk_request request = { .asker = CCTALK_COIN,
                                    .dest = bus->devices[0].address,
                                    .header = SIP_CCTALK_READ_CREDIT,
                                    .want = SIP_CCTALK_CREDIT_BYTES,
                                    .tries = 3 };

  bus->coin_due_us = now_us + bus->poll_us;
  (void)sip_cctalk_ask(bus, now_us, &request); /* else at the next poll */
}

void sip_cctalk_credit(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply)
{
  if (reply->status == CCTALK_SILENT) {
    bus->seen = false;
    bus->devices[0].step = 0; /* look whether it is still there, and which one */
    bus->devices[0].due_us = now_us;
    return;
  }
  if (reply->status != CCTALK_DATA) {
    return;
  }
  if (bus->last == reply->data[0] && !bus->doubtful) {
    bus->seen = false;
  } else if (bus->seen && memcmp(bus->reading, reply->data, sizeof bus->reading) == 0) {
    bus->seen = false;
    settle(bus, now_us);
  } else {
    memcpy(bus->reading, reply->data, sizeof bus->reading);
    bus->seen = true;
    bus->coin_due_us = now_us;
  }
}
