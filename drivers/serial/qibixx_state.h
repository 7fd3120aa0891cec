#ifndef SIP_SERIAL_QIBIXX_STATE_H
#define SIP_SERIAL_QIBIXX_STATE_H
/* qibixx_state.h - what the Qibixx engine knows; shared by its files alone. */
#include "serial/party.h"
#include "serial/qibixx_frame.h"

enum { QIBIXX_TEXT = 48 };

struct qibixx_settings {
  int64_t slave, master, decimals, reply_us, decision_us, vend_us, health_us;
};

enum qibixx_slave_state {
  QIBIXX_SLAVE_OFF,
  QIBIXX_INACTIVE,
  QIBIXX_DISABLED,
  QIBIXX_ENABLED,
  QIBIXX_SESSION,
  QIBIXX_REQUESTED, /* the machine waits for our decision */
  QIBIXX_APPROVED   /* the approval is on the wire */
};

struct qibixx_slave {
  enum qibixx_slave_state state;
  int64_t amount_minor, slot; /* of the request; slot -1: it named none */
  char price[QIBIXX_TEXT];    /* as the machine wrote it */
  int64_t until_us;           /* of the request, or of the approval */
  uint64_t ticket;            /* of the dispense */
  uint64_t session_ticket;    /* of `session`; 0: none waits */
  int64_t session_us;
  char session[QIBIXX_TEXT]; /* its line */
  unsigned session_tries;
};

enum qibixx_master_state {
  QIBIXX_MASTER_OFF,
  QIBIXX_READER_RESET,
  QIBIXX_READER_INIT,
  QIBIXX_READER_IDLE,
  QIBIXX_READER_CREDIT,
  QIBIXX_READER_VEND,  /* decides */
  QIBIXX_READER_RESULT /* has approved, and waits for the end */
};

enum qibixx_master_job { QIBIXX_NO_JOB, QIBIXX_CHARGE, QIBIXX_SETTLE };

struct qibixx_master {
  enum qibixx_master_state state;
  enum qibixx_master_job job;
  uint64_t ticket;
  int64_t amount_minor;
  int64_t until_us;
  bool seen;      /* the reader has begun to decide */
  bool cancelled; /* the charge is being taken back */
  unsigned asked; /* how often the state was asked after an end without an answer */
};

struct qibixx {
  struct sip_party party; /* first */
  struct qibixx_settings set;
  struct sip_framer framer;
  bool up, identified, skips; /* skips: until the end of a line that is too long */
  char id[QIBIXX_TEXT], version[QIBIXX_TEXT];
  int64_t health_us;
  unsigned unanswered; /* questions for the version */
  struct qibixx_slave slave;
  struct qibixx_master master;
};

/** Sends a line; its LF is added. @return as `send` of a line */
int qibixx_send(struct qibixx *qibixx, const char *format, ...)
  __attribute__((format(printf, 2, 3)));

void qibixx_tell(struct qibixx *qibixx, const struct sip_note *note);
void qibixx_answer(struct qibixx *qibixx, uint64_t ticket, const char *code, const char *reason);
void qibixx_outcome(struct qibixx *qibixx, uint64_t ticket, const char *outcome, const char *code,
                    const char *reason, int64_t amount_minor);

/** The number N of an error text such as "VEND 3" or VEND 3; INT_MIN: it is not one of `what`. */
int qibixx_error(const struct sip_qibixx_line *line, const char *what);

/* qibixx_slave.c and qibixx_master.c, alike. */
int qibixx_slave_command(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err);
void qibixx_slave_line(struct qibixx *qibixx, int64_t now_us, const struct sip_qibixx_line *line);
int64_t qibixx_slave_due_us(const struct qibixx *qibixx);
void qibixx_slave_due(struct qibixx *qibixx, int64_t now_us);
void qibixx_slave_link_lost(struct qibixx *qibixx);

int qibixx_master_command(struct qibixx *qibixx, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err);
void qibixx_master_line(struct qibixx *qibixx, int64_t now_us, const struct sip_qibixx_line *line);
int64_t qibixx_master_due_us(const struct qibixx *qibixx);
void qibixx_master_due(struct qibixx *qibixx, int64_t now_us);
void qibixx_master_link_lost(struct qibixx *qibixx);

#endif
