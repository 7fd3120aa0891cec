/* ddcmp_link.c - see ddcmp_link.h. */
#include "serial/ddcmp_link.h"

#include <string.h>

enum {
  START_US = 250000,
  STARTS = 10,
  ACK_US = 170000,
  TRIES = 5,
  ANSWER_US = 5000000,
  BLOCK_US = 15000000,
  LATENCY_US = 50000, /* of an adapter, both ways */
  STATION = 1,
  REQUEST = 0x77,
  RESPONSE = 0x88,
  BLOCK = 0x99,
  WHO_ARE_YOU = 0xE0,
  READ_DATA = 0xE2,
  FINISH = 0xFF,
  SERIAL_AT = 7,
  SERIAL_BYTES = 8,
  DATA_CRC_WRONG = 2 /* reason of a NACK */
};

int sip_ddcmp_link_init(struct sip_ddcmp_link *link, const struct sip_ddcmp_user *user,
                        struct sip_party *party, unsigned baud)
{
  *link =
    (struct sip_ddcmp_link){ .user = user, .party = party, .baud = baud, .due_us = SIP_NEVER_US };
  return sip_framer_init(&link->in, &sip_ddcmp_framing, NULL);
}

void sip_ddcmp_link_deinit(struct sip_ddcmp_link *link)
{
  sip_framer_deinit(&link->in);
}

uint8_t sip_ddcmp_baud_code(unsigned baud)
{
  static const unsigned codes[] = { 0, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200 };

  for (size_t i = 1; i < sizeof codes / sizeof codes[0]; i++) {
    if (codes[i] == baud) {
      return (uint8_t)i;
    }
  }
  return 0;
}

static int64_t wire_us(const struct sip_ddcmp_link *link, size_t size)
{
  return (int64_t)size * 11 * 1000000 / link->baud + LATENCY_US;
}

static void transmit(struct sip_ddcmp_link *link, int64_t now_us)
{
  (void)link->party->line->send(link->party->line, link->out,
                                link->out_size); /* repeated when nothing comes */
  link->due_us =
    now_us + wire_us(link, link->out_size + 8) + (link->state == DDCMP_STARTED ? START_US : ACK_US);
}

static void send_control(struct sip_ddcmp_link *link, uint8_t type, uint8_t rx, uint8_t tx)
{
  struct sip_ddcmp_message message = {
    .type = type, .sync = true, .rx = rx, .tx = tx, .address = STATION
  };
  uint8_t out[SIP_DDCMP_FRAME_MAX];
  size_t size = sip_ddcmp_write(out, &message);

  (void)link->party->line->send(link->party->line, out,
                                size); /* the other side repeats what it has no answer to */
}

static void send_data(struct sip_ddcmp_link *link, int64_t now_us, const uint8_t *bytes,
                      size_t size)
{
  struct sip_ddcmp_message message = { .data = true,
                                       .sync = bytes[1] == FINISH,
                                       .rx = link->rx,
                                       .tx = ++link->tx,
                                       .address = STATION,
                                       .bytes = bytes,
                                       .size = size };

  link->out_size = sip_ddcmp_write(link->out, &message);
  link->acknowledged = false;
  link->tries = 0;
  transmit(link, now_us);
}

static void over(struct sip_ddcmp_link *link, int64_t now_us, enum sip_ddcmp_end how)
{
  link->state = DDCMP_IDLE;
  link->due_us = SIP_NEVER_US;
  link->user->over(link, now_us, how);
}

void sip_ddcmp_link_begin(struct sip_ddcmp_link *link, int64_t now_us)
{
  struct sip_ddcmp_message start = {
    .type = SIP_DDCMP_START, .sync = true, .tx = sip_ddcmp_baud_code(link->baud), .address = STATION
  };

  link->out_size = sip_ddcmp_write(link->out, &start);
  link->state = DDCMP_STARTED;
  link->tx = 0;
  link->rx = 0;
  link->heard = false;
  link->tries = 0;
  sip_framer_reset(&link->in);
  transmit(link, now_us);
}

void sip_ddcmp_link_stop(struct sip_ddcmp_link *link)
{
  link->state = DDCMP_IDLE;
  link->due_us = SIP_NEVER_US;
  sip_framer_reset(&link->in);
}

/* Without codes and a clock: the date is the first day of a year 0, which devices take for unset.
 */
static void ask_who(struct sip_ddcmp_link *link, int64_t now_us)
{
  static const uint8_t who[16] = {
    REQUEST, WHO_ARE_YOU, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0x0C
  };

  link->state = DDCMP_WHO;
  send_data(link, now_us, who, sizeof who);
}

static void ask_read(struct sip_ddcmp_link *link, int64_t now_us)
{
  static const uint8_t read[9] = { REQUEST, READ_DATA, 0, 1, 1, 0, 0, 0xFF, 0xFF };

  link->state = DDCMP_READ;
  send_data(link, now_us, read, sizeof read);
}

static void finish(struct sip_ddcmp_link *link, int64_t now_us)
{
  static const uint8_t bye[2] = { REQUEST, FINISH };

  link->state = DDCMP_FINISH;
  send_data(link, now_us, bye, sizeof bye);
}

static void acknowledged(struct sip_ddcmp_link *link, int64_t now_us)
{
  link->acknowledged = true;
  link->due_us = now_us + ANSWER_US;
  if (link->state == DDCMP_FINISH) {
    over(link, now_us, SIP_DDCMP_DONE);
  }
}

static void hear_control(struct sip_ddcmp_link *link, int64_t now_us,
                         const struct sip_ddcmp_message *message)
{
  bool sent = link->state != DDCMP_STARTED && link->state != DDCMP_BLOCKS && !link->acknowledged;

  if (message->type == SIP_DDCMP_STACK && link->state == DDCMP_STARTED) {
    if (message->tx != 0 && message->tx != sip_ddcmp_baud_code(link->baud)) {
      over(link, now_us, SIP_DDCMP_REFUSED); /* it changes to a speed that the line has not */
    } else {
      ask_who(link, now_us);
    }
  } else if (message->type == SIP_DDCMP_ACK && sent && message->rx == link->tx) {
    acknowledged(link, now_us);
  } else if (message->type == SIP_DDCMP_NACK && sent && ++link->tries < TRIES) {
    transmit(link, now_us);
  }
}

static void take(struct sip_ddcmp_link *link, int64_t now_us,
                 const struct sip_ddcmp_message *message)
{
  const uint8_t *bytes = message->bytes;
  bool accepted = message->size >= 3 && bytes[0] == RESPONSE && bytes[2] == 1;

  if (link->state == DDCMP_BLOCKS && message->size >= 2 && bytes[0] == BLOCK) {
    link->due_us = now_us + BLOCK_US;
    link->user->block(link, now_us, (const char *)bytes + 2, message->size - 2);
    if (message->last && link->state == DDCMP_BLOCKS) {
      finish(link, now_us);
    }
  } else if (link->state == DDCMP_WHO && accepted && bytes[1] == WHO_ARE_YOU &&
             message->size >= SERIAL_AT + SERIAL_BYTES) {
    link->user->identified(link, now_us, bytes + SERIAL_AT);
    if (link->state == DDCMP_WHO) {
      ask_read(link, now_us);
    }
  } else if (link->state == DDCMP_READ && accepted && bytes[1] == READ_DATA) {
    link->state = DDCMP_BLOCKS;
    link->due_us = now_us + BLOCK_US;
  } else if (message->size >= 3 && bytes[0] == RESPONSE && bytes[2] != 1) {
    over(link, now_us, SIP_DDCMP_REFUSED);
  }
}

static void hear_data(struct sip_ddcmp_link *link, int64_t now_us,
                      const struct sip_ddcmp_message *message)
{
  if (message->tx == link->rx && link->heard) {
    send_control(link, SIP_DDCMP_ACK, link->rx, 0); /* our ACK was lost */
    return;
  }
  if (message->tx != (uint8_t)(link->rx + 1) || link->state == DDCMP_STARTED) {
    return; /* of a session before, or behind one that is missing and will come again */
  }
  if (link->state != DDCMP_BLOCKS && !link->acknowledged) {
    if (message->rx != link->tx) {
      return;
    }
    acknowledged(link, now_us); /* an answer says that the request came */
  }
  link->rx = message->tx;
  link->heard = true;
  send_control(link, SIP_DDCMP_ACK, link->rx, 0);
  take(link, now_us, message);
}

static void hear_all(struct sip_ddcmp_link *link, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_ddcmp_message message;
  struct sip_frame frame;

  while (sip_framer_take(&link->in, now_us, &bytes, &size, &frame)) {
    enum sip_ddcmp_fault fault = sip_ddcmp_read(&message, frame.bytes, frame.size);

    if (link->state == DDCMP_IDLE) {
      continue;
    }
    if (fault == SIP_DDCMP_DATA_CRC) {
      send_control(link, SIP_DDCMP_NACK, link->rx, DATA_CRC_WRONG);
    } else if (message.data) {
      hear_data(link, now_us, &message);
    } else {
      hear_control(link, now_us, &message);
    }
  }
}

void sip_ddcmp_link_bytes(struct sip_ddcmp_link *link, int64_t now_us, const uint8_t *bytes,
                          size_t size)
{
  hear_all(link, now_us, bytes, size);
}

int64_t sip_ddcmp_link_due_us(const struct sip_ddcmp_link *link)
{
  int64_t frame = sip_framer_due_us(&link->in);

  return frame < link->due_us ? frame : link->due_us;
}

void sip_ddcmp_link_due(struct sip_ddcmp_link *link, int64_t now_us)
{
  unsigned most = link->state == DDCMP_STARTED ? STARTS : TRIES;

  if (sip_framer_late(&link->in, now_us)) {
    hear_all(link, now_us, NULL, 0);
  }
  if (link->state == DDCMP_IDLE || now_us < link->due_us) {
    return;
  }
  if (link->state == DDCMP_BLOCKS || link->acknowledged) {
    over(link, now_us, SIP_DDCMP_SILENT);
  } else if (++link->tries < most) {
    transmit(link, now_us);
  } else {
    /* All data is here even when the machine does not answer the goodbye. */
    over(link, now_us, link->state == DDCMP_FINISH ? SIP_DDCMP_DONE : SIP_DDCMP_SILENT);
  }
}
