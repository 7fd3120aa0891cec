#ifndef SIP_SERIAL_XY_STATE_H
#define SIP_SERIAL_XY_STATE_H
/* xy_state.h - what the engine of the FA FB board knows; shared by its files alone. */
#include "serial/party.h"
#include "serial/xy_frame.h"

enum {
  XY_ASKS = 8, /* commands that wait */
  XY_DOUBTS = 32,
  XY_LATES = 32,
  XY_TEXT = 8,
  XY_TRIES = 5, /* of a frame that may be repeated; the board's own limit is the same */
  XY_SLOTS = 65536
};

struct xy_settings {
  int64_t drive, sensor, lift; /* 06 rather than 03; what 06 asks for */
  int64_t job_us;              /* from the order to its result */
  int64_t order_us;            /* how long a command waits for a poll */
  int64_t drain_polls;         /* answered with ACK at first */
  int64_t down_us;             /* without a poll the board is down */
  int64_t reply_us;
};

/* A frame that may be repeated, and what it is answered with. */
struct xy_ask {
  const struct xy_ask_kind *kind; /* NULL: waits for a sign of life */
  uint64_t ticket;
  int64_t give_up_us;
  uint16_t slot;
  unsigned tries;
  bool acked;
  uint8_t number; /* 0: not sent yet */
  uint8_t text[XY_TEXT];
  size_t size;
};

enum xy_job_state { XY_NO_JOB, XY_WAITS, XY_SENT };

struct xy_job {
  enum xy_job_state state;
  uint64_t ticket;
  uint16_t slot;
  bool acked;
  int64_t deadline_us; /* to be sent, then to end */
  int64_t job_us;      /* for what follows the order */
};

/* An order of a slot whose end is not known: another one would be taken for it. */
struct xy_doubt {
  uint16_t slot;
  int64_t until_us; /* 0: a free place */
};

/* How an order of a slot ended that nobody waits for any more. */
struct xy_late {
  bool is;
  uint16_t slot;
  uint8_t status;
};

enum xy_awaits { XY_NOTHING, XY_ORDER_ACK, XY_ASK_ACK };

struct xy {
  struct sip_party party; /* first */
  struct xy_settings set;
  struct sip_framer framer;
  bool up, seen;              /* the link; the board, by its polls */
  int64_t polled_us;          /* or when the link came up */
  int64_t polls;              /* since it was seen */
  uint8_t number;             /* of the last packet */
  uint8_t last[SIP_XY_FRAME]; /* the board's last frame with a number: it may come again */
  size_t last_size;
  enum xy_awaits awaits;
  struct xy_job job;
  struct xy_ask asks[XY_ASKS];
  unsigned ask_count;
  struct xy_doubt doubts[XY_DOUBTS];
  struct xy_late lates[XY_LATES];
  unsigned late_next;
  uint8_t locked[XY_SLOTS / 8];
};

/** Sends; the next packet's number is in xy->number. @return as `send` of a line */
int xy_send(struct xy *xy, uint8_t command, uint8_t number, const void *text, size_t size);

/** The number for a new packet. */
uint8_t xy_next_number(struct xy *xy);

void xy_tell(struct xy *xy, const struct sip_note *note);

/** The result of a command that has ok, and, if not, a code and a reason. */
void xy_answer(struct xy *xy, uint64_t ticket, const char *code, const char *reason);

/* xy_job.c: dispensing. */
int xy_job_dispense(struct xy *xy, int64_t now_us, const struct sip_note *command,
                    struct sip_err *err);
int xy_job_resolve(struct xy *xy, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err);
int xy_job_clear(struct xy *xy, const struct sip_note *command, struct sip_err *err);

/** Puts the order on the line, if one waits. @return true when it did */
bool xy_job_order(struct xy *xy, int64_t now_us);
void xy_job_acked(struct xy *xy);
void xy_job_status(struct xy *xy, int64_t now_us, uint16_t slot, uint8_t status);
void xy_job_due(struct xy *xy, int64_t now_us);
void xy_job_link_lost(struct xy *xy, int64_t now_us);

/* xy_ask.c: everything else. */
int xy_ask_command(struct xy *xy, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err);
bool xy_ask_send(struct xy *xy, int64_t now_us);
void xy_ask_acked(struct xy *xy, int64_t now_us);
void xy_ask_polled(struct xy *xy);
void xy_ask_frame(struct xy *xy, const struct sip_xy_frame *frame);
void xy_ask_due(struct xy *xy, int64_t now_us);
void xy_ask_link_lost(struct xy *xy);

#endif
