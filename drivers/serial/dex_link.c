/* dex_link.c - see dex_link.h.
 *
 * A slave that missed nothing tells a repeated block from a new one with the same text by the time:
 * a master repeats when it heard no answer for its timer A, a second; what comes sooner answers our
 * answer. The checksums over the whole of an audit (G85) stand behind that. */
#include "serial/dex_link.h"

#include <string.h>

enum {
  ANSWER_US = 20000,
  BETWEEN_US = 120000,
  ANSWER_MOST_US = 1000000, /* timer A */
  PROGRESS_US = 2150000,    /* timer D */
  WACK_US = 300000,
  REPEATED_US = 900000,
  TRIES = 5
};

int sip_dex_link_init(struct sip_dex_link *link, const struct sip_dex_user *user,
                      struct sip_party *party, struct sip_misbehave *faults)
{
  *link = (struct sip_dex_link){ .user = user,
                                 .party = party,
                                 .faults = faults,
                                 .state = DEX_IDLE,
                                 .out_us = SIP_NEVER_US,
                                 .due_us = SIP_NEVER_US };
  return sip_framer_init(&link->in, &sip_dex_framing, NULL);
}

void sip_dex_link_deinit(struct sip_dex_link *link)
{
  sip_framer_deinit(&link->in);
}

static void flush(struct sip_dex_link *link, int64_t now_us)
{
  link->out_us = SIP_NEVER_US;
  link->sent_us = now_us;
  if (link->faults == NULL) {
    (void)link->party->line->send(link->party->line, link->out,
                                  link->out_size); /* repeated when nothing comes */
  } else if (!sip_misbehave_take(link->faults, SIP_MISBEHAVE_MUTE)) {
    sip_misbehave_send(link->faults, now_us, link->out, link->out_size);
  }
}

static void queue_control(struct sip_dex_link *link, int64_t now_us, uint8_t control)
{
  link->out_size = sip_dex_write_control(link->out, control);
  link->out_us = now_us + ANSWER_US;
}

static void queue_block(struct sip_dex_link *link, int64_t now_us)
{
  size_t left = link->size - link->at;

  link->part = left < link->most_part ? left : link->most_part;
  link->out_size = sip_dex_write_block(link->out, sizeof link->out, link->kind, link->part == left,
                                       link->text + link->at, link->part);
  link->out_us = now_us + ANSWER_US;
  link->due_us = now_us + ANSWER_US + ANSWER_MOST_US + (int64_t)link->out_size * 1100;
  link->state = DEX_SENT;
}

static void over(struct sip_dex_link *link, int64_t now_us, enum sip_dex_end how)
{
  link->state = DEX_IDLE;
  link->due_us = SIP_NEVER_US;
  link->user->over(link, now_us, how);
}

static void bid(struct sip_dex_link *link, int64_t now_us)
{
  queue_control(link, now_us - ANSWER_US, SIP_DEX_ENQ);
  link->state = DEX_BID;
  link->due_us = now_us + ANSWER_MOST_US;
}

void sip_dex_link_send(struct sip_dex_link *link, int64_t now_us, uint8_t kind, const char *text,
                       size_t size, size_t part)
{
  link->kind = kind;
  link->text = text;
  link->size = size;
  link->at = 0;
  link->most_part = part < SIP_DEX_TEXT_MAX ? part : SIP_DEX_TEXT_MAX;
  link->block = 0;
  link->tries = 0;
  link->tries_most = TRIES;
  link->state = DEX_PAUSE;
  link->due_us = now_us + BETWEEN_US;
}

void sip_dex_link_receive(struct sip_dex_link *link, int64_t now_us, int64_t patience_us)
{
  link->block = 0;
  link->taken.size = 0;
  link->state = DEX_WAIT;
  link->due_us = now_us + patience_us;
}

void sip_dex_link_stop(struct sip_dex_link *link)
{
  link->state = DEX_IDLE;
  link->due_us = SIP_NEVER_US;
  link->out_us = SIP_NEVER_US;
  sip_framer_reset(&link->in);
}

/* ACK1 for the first block, ACK0 for the second one, … */
static uint8_t ack_of(unsigned block)
{
  return block % 2 == 0 ? SIP_DEX_ACK0 : SIP_DEX_ACK1;
}

static void sent(struct sip_dex_link *link, int64_t now_us)
{
  link->block++;
  link->tries = 0;
  link->at += link->part;
  if (link->at < link->size) {
    queue_block(link, now_us);
    return;
  }
  queue_control(link, now_us, SIP_DEX_EOT);
  over(link, now_us, SIP_DEX_DONE);
}

static void again(struct sip_dex_link *link, int64_t now_us)
{
  if (++link->tries > link->tries_most) {
    over(link, now_us, SIP_DEX_SILENT);
  } else if (link->state == DEX_SENT) {
    queue_block(link, now_us);
  } else {
    bid(link, now_us);
  }
}

static void master_hears(struct sip_dex_link *link, int64_t now_us, uint8_t control)
{
  if (control == SIP_DEX_ENQ) {
    over(link, now_us, SIP_DEX_COLLISION);
  } else if (control == SIP_DEX_WACK) {
    link->state = DEX_BID;
    link->tries = 0;
    link->due_us = now_us + WACK_US;
  } else if (link->state == DEX_BID && control == SIP_DEX_ACK0) {
    link->tries = 0;
    queue_block(link, now_us);
  } else if (link->state == DEX_SENT && control == ack_of(link->block + 1)) {
    sent(link, now_us);
  } else if (link->state == DEX_SENT && link->out_us == SIP_NEVER_US && control == SIP_DEX_NAK &&
             now_us - link->sent_us >= ANSWER_US) { /* not a second NAK to what came before */
    again(link, now_us);
  }
}

static void slave_hears(struct sip_dex_link *link, int64_t now_us, uint8_t control)
{
  if (control == SIP_DEX_ENQ && link->state == DEX_LAST) {
    over(link, now_us, SIP_DEX_DONE); /* its EOT was lost, and this is its next bid */
    if (link->state == DEX_WAIT) {
      slave_hears(link, now_us, control);
    } else if (link->state == DEX_PAUSE) {
      master_hears(link, now_us, control);
    }
  } else if (control == SIP_DEX_ENQ) {
    queue_control(link, now_us, ack_of(link->block));
    link->state = DEX_TEXT;
    link->due_us = now_us + PROGRESS_US;
  } else if (control == SIP_DEX_EOT && link->state == DEX_LAST) {
    over(link, now_us, SIP_DEX_DONE);
  } else if (control == SIP_DEX_EOT && link->state == DEX_TEXT) {
    over(link, now_us, SIP_DEX_SILENT); /* it gave up */
  }
}

static void slave_takes(struct sip_dex_link *link, int64_t now_us, int64_t first_us,
                        enum sip_dex_fault fault)
{
  bool same = link->block > 0 && first_us - link->answered_us >= REPEATED_US &&
              link->item.kind == link->taken.kind && link->item.size == link->taken.size &&
              link->item.last == link->taken.last &&
              memcmp(link->item.text, link->taken.text, link->item.size) == 0;

  /* Nobody bid: our part of the session was lost. Or our answer has not left yet: a master that is
     heard before cannot have heard it. */
  if (link->state == DEX_WAIT || link->out_us != SIP_NEVER_US || first_us < link->answered_us) {
    return;
  }
  link->due_us = now_us + PROGRESS_US;
  if (fault != SIP_DEX_OK) {
    link->refused++;
    queue_control(link, now_us, SIP_DEX_NAK);
    link->answered_us = link->out_us;
    return;
  }
  if (link->state == DEX_LAST || same) {
    link->answered_us = now_us + ANSWER_US;
    queue_control(link, now_us, ack_of(link->block)); /* our answer was lost */
    return;
  }
  link->block++;
  link->taken = link->item;
  link->state = link->item.last ? DEX_LAST : DEX_TEXT;
  queue_control(link, now_us, ack_of(link->block));
  link->answered_us = link->out_us;
  link->user->block(link, now_us, &link->taken);
}

static void hear(struct sip_dex_link *link, int64_t now_us, const struct sip_frame *frame)
{
  bool master = link->state == DEX_PAUSE || link->state == DEX_BID || link->state == DEX_SENT;
  enum sip_dex_fault fault;

  if (sip_dex_read_control(&link->item, frame->bytes, frame->size) == SIP_DEX_OK) {
    if (master) {
      master_hears(link, now_us, link->item.control);
    } else if (link->state != DEX_IDLE) {
      slave_hears(link, now_us, link->item.control);
    }
    return;
  }
  fault = sip_dex_read_block(&link->item, frame->bytes, frame->size);
  if (!master && link->state != DEX_IDLE) {
    slave_takes(link, now_us, frame->first_us, fault);
  }
}

static void hear_all(struct sip_dex_link *link, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_frame frame;

  while (sip_framer_take(&link->in, now_us, &bytes, &size, &frame)) {
    hear(link, now_us, &frame);
  }
}

void sip_dex_link_bytes(struct sip_dex_link *link, int64_t now_us, const uint8_t *bytes,
                        size_t size)
{
  hear_all(link, now_us, bytes, size);
}

int64_t sip_dex_link_due_us(const struct sip_dex_link *link)
{
  int64_t frame = sip_framer_due_us(&link->in);
  int64_t due = link->out_us < link->due_us ? link->out_us : link->due_us;

  return frame < due ? frame : due;
}

void sip_dex_link_due(struct sip_dex_link *link, int64_t now_us)
{
  if (sip_framer_late(&link->in, now_us)) {
    hear_all(link, now_us, NULL, 0);
  }
  if (now_us >= link->out_us) {
    flush(link, now_us);
  }
  if (now_us < link->due_us) {
    return;
  }
  switch (link->state) {
  case DEX_IDLE:
    link->due_us = SIP_NEVER_US;
    break;
  case DEX_PAUSE:
    bid(link, now_us);
    break;
  case DEX_BID:
  case DEX_SENT:
    again(link, now_us);
    break;
  case DEX_LAST: /* EOT was lost; all blocks are here */
    over(link, now_us, SIP_DEX_DONE);
    break;
  case DEX_WAIT:
  case DEX_TEXT:
    over(link, now_us, SIP_DEX_SILENT);
    break;
  }
}
