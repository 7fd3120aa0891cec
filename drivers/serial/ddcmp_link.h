#ifndef SIP_SERIAL_DDCMP_LINK_H
#define SIP_SERIAL_DDCMP_LINK_H
/* ddcmp_link.h - reads audit data over DDCMP: START, who are you, read data, finish.
 *
 * Data messages are numbered from 1 and repeated until they are acknowledged; one that comes again
 * is acknowledged again and not taken twice. The speed stays as it is: START asks for the one that
 * the line has. */
#include "serial/ddcmp_frame.h"
#include "serial/party.h"

enum sip_ddcmp_end { SIP_DDCMP_DONE, SIP_DDCMP_REFUSED, SIP_DDCMP_SILENT };

enum sip_ddcmp_state {
  DDCMP_IDLE,
  DDCMP_STARTED,
  DDCMP_WHO,
  DDCMP_READ,
  DDCMP_BLOCKS,
  DDCMP_FINISH
};

struct sip_ddcmp_link;

struct sip_ddcmp_user {
  void (*identified)(struct sip_ddcmp_link *link, int64_t now_us, const uint8_t serial[8]);
  void (*block)(struct sip_ddcmp_link *link, int64_t now_us, const char *text, size_t size);
  void (*over)(struct sip_ddcmp_link *link, int64_t now_us, enum sip_ddcmp_end how);
};

struct sip_ddcmp_link {
  const struct sip_ddcmp_user *user;
  struct sip_party *party; /* borrowed: whose line it is */
  struct sip_framer in;
  unsigned baud;
  enum sip_ddcmp_state state;
  bool acknowledged; /* what we sent; the answer is to come */
  bool heard;        /* a data message was taken, `rx` */
  uint8_t tx, rx;    /* the last numbers sent and taken */
  unsigned tries;
  uint8_t out[SIP_DDCMP_FRAME_MAX];
  size_t out_size;
  int64_t due_us;
};

/** @return 0 or UV_ENOMEM */
int sip_ddcmp_link_init(struct sip_ddcmp_link *link, const struct sip_ddcmp_user *user,
                        struct sip_party *party, unsigned baud);
void sip_ddcmp_link_deinit(struct sip_ddcmp_link *link);

void sip_ddcmp_link_begin(struct sip_ddcmp_link *link, int64_t now_us);
void sip_ddcmp_link_stop(struct sip_ddcmp_link *link);
void sip_ddcmp_link_bytes(struct sip_ddcmp_link *link, int64_t now_us, const uint8_t *bytes,
                          size_t size);
int64_t sip_ddcmp_link_due_us(const struct sip_ddcmp_link *link);
void sip_ddcmp_link_due(struct sip_ddcmp_link *link, int64_t now_us);

/** The code of a speed in START and STACK; 0 (unchanged) for one that has none. */
uint8_t sip_ddcmp_baud_code(unsigned baud);

#endif
