#ifndef SIP_SERIAL_DEX_LINK_H
#define SIP_SERIAL_DEX_LINK_H
/* dex_link.h - one transmission on a DEX/UCS line, as master or as slave; of carrier and machine.
 *
 * The master bids (ENQ, answered with ACK0), sends blocks (answered with ACK1, ACK0, ACK1, …) and
 * ends (EOT). A session is a row of transmissions; who is what in it, is the owner's to say. An
 * answer leaves 20 ms after what it answers; at least 100 ms lie between transmissions. */
#include "serial/dex_frame.h"
#include "serial/misbehave.h"
#include "serial/party.h"

enum sip_dex_end {
  SIP_DEX_DONE,
  SIP_DEX_COLLISION, /* a master heard ENQ: the other side bids too */
  SIP_DEX_SILENT     /* no progress */
};

enum sip_dex_state {
  DEX_IDLE,
  DEX_PAUSE, /* a master before its ENQ */
  DEX_BID,
  DEX_SENT, /* a block */
  DEX_WAIT, /* a slave before ENQ */
  DEX_TEXT,
  DEX_LAST /* the last block was taken, EOT is to come */
};

struct sip_dex_link;

struct sip_dex_user {
  /* A block of the transmission that is being received. */
  void (*block)(struct sip_dex_link *link, int64_t now_us, const struct sip_dex_item *block);
  /* The transmission is over; the next one may be begun from here. */
  void (*over)(struct sip_dex_link *link, int64_t now_us, enum sip_dex_end how);
};

struct sip_dex_link {
  const struct sip_dex_user *user;
  struct sip_party *party;      /* borrowed: whose line it is */
  struct sip_misbehave *faults; /* borrowed; NULL: an engine's, which behaves */
  struct sip_framer in;
  enum sip_dex_state state;
  /* What leaves next. */
  uint8_t out[SIP_DEX_TEXT_MAX + 8];
  size_t out_size;
  int64_t out_us, sent_us; /* when it leaves, and when the last one left */
  int64_t due_us;          /* of the state */
  unsigned tries, tries_most;
  unsigned block; /* blocks acknowledged (sent) or taken (received) */
  /* A master's: */
  uint8_t kind;
  const char *text; /* borrowed until over */
  size_t size, at, part, most_part;
  /* A slave's: */
  int64_t answered_us;
  struct sip_dex_item item, taken;
  uint64_t refused; /* blocks answered with NAK */
};

/** @return 0 or UV_ENOMEM */
int sip_dex_link_init(struct sip_dex_link *link, const struct sip_dex_user *user,
                      struct sip_party *party, struct sip_misbehave *faults);
void sip_dex_link_deinit(struct sip_dex_link *link);

/** Sends a text in blocks of at most `part` bytes, after a pause. */
void sip_dex_link_send(struct sip_dex_link *link, int64_t now_us, uint8_t kind, const char *text,
                       size_t size, size_t part);

/** Waits for a bid for at most `patience_us`, and takes what comes. */
void sip_dex_link_receive(struct sip_dex_link *link, int64_t now_us, int64_t patience_us);

/** Stops at once. */
void sip_dex_link_stop(struct sip_dex_link *link);

void sip_dex_link_bytes(struct sip_dex_link *link, int64_t now_us, const uint8_t *bytes,
                        size_t size);
int64_t sip_dex_link_due_us(const struct sip_dex_link *link);
void sip_dex_link_due(struct sip_dex_link *link, int64_t now_us);

#endif
