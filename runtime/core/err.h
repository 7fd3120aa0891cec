#ifndef SIP_CORE_ERR_H
#define SIP_CORE_ERR_H
/* err.h - how a failure of the world is described in C.
 *
 * A function that can fail returns 0 or a count on success and a negative code on failure: a libuv
 * code (UV_ENOENT) where the system failed, one of ours (SIP_E…) elsewhere. The text travels in a
 * struct sip_err of the caller's; passing NULL for it is allowed everywhere. Any thread. */
#include <uv.h>

enum {
  SIP_EQUEUEFULL = -10001, /* a bounded queue is full: wait, then repeat */
  SIP_ETOOBIG = -10002,    /* over a stated size limit */
  SIP_EDATA = -10003,      /* bytes from outside that do not parse or validate */
  SIP_ESCRIPT = -10004,    /* a script raised, or does not load */
  SIP_EBUDGET = -10005,    /* a script ran longer than it may without yielding */
  SIP_EKAFKA = -10006,     /* refused by the broker or by librdkafka; the name says which error */
  SIP_EHTTP = -10007,      /* HTTP transfer failed below the level of a status */
  SIP_ESMTP = -10008,      /* mail refused; the message carries the SMTP status */
  SIP_ESQL = -10009,       /* refused by the database */
  SIP_ECONFIG = -10010,    /* a setting is missing or wrong */
  SIP_EAUTH = -10011,      /* not allowed to */
  SIP_EEXISTS = -10012,    /* is there already */
  SIP_ENOTFOUND = -10013,  /* is not there */
  SIP_EBUSY = -10014,      /* a second waiter, or an object in use */
  SIP_ECLOSED = -10015,    /* used after close */
  SIP_EFENCED = -10016     /* another one has taken the place: do not come back */
};

struct sip_err {
  int code;           /* negative; 0 when nothing failed */
  char name[48];      /* stable name, never changed once released: "ENOENT", "QUEUE_FULL",
                         "UNKNOWN_TOPIC_OR_PART" */
  char message[2000]; /* what was tried, on what, why it failed, what to do; never a secret */
};

/** Stable name of a code: libuv's name ("ECANCELED") or ours ("QUEUE_FULL"). Static storage. */
const char *sip_err_name(int code);

/** Fills `err` (when not NULL) and returns `code`. The name is sip_err_name(code). */
int sip_err_set(struct sip_err *err, int code, const char *format, ...)
  __attribute__((format(printf, 3, 4)));

/** As sip_err_set, with a name of the caller's choice (for libraries with names of their own). */
int sip_err_named(struct sip_err *err, int code, const char *name, const char *format, ...)
  __attribute__((format(printf, 4, 5)));

/** As sip_err_set for an errno value; appends ": <strerror>". Returns -errnum, which is libuv's
 * code on POSIX. */
int sip_err_errno(struct sip_err *err, int errnum, const char *format, ...)
  __attribute__((format(printf, 3, 4)));

/** Puts "<text>: " before the message that is there. */
void sip_err_context(struct sip_err *err, const char *format, ...)
  __attribute__((format(printf, 2, 3)));

#endif
