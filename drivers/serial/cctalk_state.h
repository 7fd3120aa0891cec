#ifndef SIP_SERIAL_CCTALK_STATE_H
#define SIP_SERIAL_CCTALK_STATE_H
/* cctalk_state.h - what cctalk.c (the bus and its devices), cctalk_coin.c (the acceptor's credit)
 * and cctalk_job.c (a hopper's payout) share. */
#include "serial/cctalk.h"
#include "serial/cctalk_frame.h"
#include "serial/echo.h"
#include "serial/noise.h"
#include "serial/party.h"

enum {
  CCTALK_HOPPERS = 8,
  CCTALK_DEVICES = CCTALK_HOPPERS + 1, /* the acceptor is the first one */
  CCTALK_COINS = 16,
  CCTALK_TEXT = 32,
  CCTALK_ID = 160
};

enum cctalk_echo { CCTALK_ECHO_AUTO, CCTALK_ECHO_YES, CCTALK_ECHO_NO };

/* Who asked what is on the line. */
enum cctalk_asker { CCTALK_LEARN, CCTALK_IDENTIFY, CCTALK_COIN, CCTALK_JOB };

/* How it was answered. */
enum cctalk_status { CCTALK_DATA, CCTALK_REFUSED, CCTALK_SILENT };

struct cctalk_reply {
  enum cctalk_status status;
  const uint8_t *data;
  size_t size;
};

struct cctalk_request {
  enum cctalk_asker asker;
  uint8_t dest, header, size;
  uint8_t data[SIP_CCTALK_SECURITY_MAX + 1];
  int want;       /* bytes of data in the answer; -1: any. Others are answers to an older request */
  unsigned tries; /* 1: never repeated */
};

struct cctalk_device {
  uint8_t address;
  unsigned step; /* of identifying; CCTALK_READY: done */
  int64_t due_us;
  bool known; /* its serial number was read once */
  int64_t serial;
  char kind[CCTALK_TEXT], maker[CCTALK_TEXT], product[CCTALK_TEXT], version[CCTALK_TEXT];
};

enum { CCTALK_READY = 100 };

enum cctalk_step {
  JOB_NONE,
  JOB_ENABLE,
  JOB_TOTAL,
  JOB_STATUS,
  JOB_CIPHER,
  JOB_ORDER,
  JOB_POLL,
  JOB_UNTAKEN, /* the counter did not move: is the lifetime count the same too? */
  JOB_AFTER_RESET,
  JOB_VERIFY,
  JOB_WHY,
  JOB_STOP,
  JOB_DISABLE,
  JOB_SIMPLE
};

struct cctalk_job {
  enum cctalk_step step;
  const char *name; /* of the command; static */
  uint64_t ticket;
  uint8_t address, header, data[2], data_size;
  int64_t slot, quantity;
  int64_t due_us, deadline_us, give_up_us;
  bool sent, taken, refused, stopped;
  int event_before;                    /* -1: not read */
  int64_t total_before, total;         /* -1: the hopper does not count */
  int64_t remaining, paid, flags;      /* -1: not read */
  int64_t still_us;                    /* since when the counter has not moved; 0: not seen yet */
  const char *outcome, *code, *reason; /* decided; static */
};

struct cctalk {
  struct sip_party party;
  bool up;
  /* Settings. */
  struct sip_cctalk_form form;
  enum cctalk_echo echo_setting;
  int64_t poll_us, reply_us, mask, coins[CCTALK_COINS];
  uint8_t security[SIP_CCTALK_SECURITY_MAX];
  size_t security_size;
  bool cipher, enabled;
  char expected_id[CCTALK_ID];
  /* The line. */
  enum cctalk_echo echoes;
  struct sip_echo echo;
  struct sip_framer in;
  struct sip_noise noise;
  uint8_t heard[64]; /* while the echo is learnt */
  size_t heard_size;
  struct cctalk_request request;
  bool waiting;
  int64_t answer_by_us, quiet_until_us, learn_us;
  /* Devices. */
  struct cctalk_device devices[CCTALK_DEVICES];
  unsigned device_count;
  bool acceptor; /* devices[0] is one, else it is a hopper */
  /* The acceptor's credit. */
  int last;      /* counter of events; -1: none */
  bool doubtful; /* the link was away, or it is as stored: a big step is no credit */
  bool seen;     /* `reading` is one to be confirmed */
  uint8_t reading[SIP_CCTALK_CREDIT_BYTES];
  int64_t coin_due_us;
  struct cctalk_job job;
};

/** Puts a request on the line; nothing else is outstanding. */
int sip_cctalk_ask(struct cctalk *bus, int64_t now_us, const struct cctalk_request *request);

void sip_cctalk_tell(struct cctalk *bus, struct sip_note *note);
void sip_cctalk_fault(struct cctalk *bus, const char *code, const char *reason, int64_t address);

/** The identity of all devices, as `identify` tells it. */
void sip_cctalk_id(const struct cctalk *bus, char out[CCTALK_ID]);

/** Has the acceptor configured anew: it was reset. */
void sip_cctalk_configure(struct cctalk *bus, int64_t now_us);

/** The acceptor's buffer was read; or it was not. */
void sip_cctalk_credit(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply);
void sip_cctalk_read_credit(struct cctalk *bus, int64_t now_us);

/** The device of a slot, 1 being the first hopper; or NULL. */
struct cctalk_device *sip_cctalk_hopper(struct cctalk *bus, int64_t slot);

/** The commands about one hopper: dispense, counters, resolve, test, reset, and simple ones. */
int sip_cctalk_job(struct cctalk *bus, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err);
void sip_cctalk_job_next(struct cctalk *bus, int64_t now_us); /* its step is due */
void sip_cctalk_job_reply(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply);
int64_t sip_cctalk_job_due_us(const struct cctalk *bus);
void sip_cctalk_job_lost(struct cctalk *bus, const char *code, const char *reason);

#endif
