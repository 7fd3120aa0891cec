#ifndef SIP_OUTBOX_OUTBOX_H
#define SIP_OUTBOX_OUTBOX_H
/* outbox.h - outputs that are safe on the local disk before anybody is told so, and go on to the
 * broker when it is there.
 *
 * One outbox for a process: one file, and one thread that alone touches it. Each loop that puts
 * records in has a client; one of them also forwards. Records of one topic leave in the order in
 * which they came in; each leaves at least once, with a header that tells repeats
 * (SIP_OUTBOX_HEADER). Nothing is lost by a crash once it was reported; nothing is dropped for
 * want of a broker.
 *
 * The functions without a client may be called on any thread, those with one on its loop's. */
#include "core/err.h"
#include "flow/port.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define SIP_OUTBOX_HEADER "sipeat-outbox-id" /* "<the file's id>-<the record's number in it>" */

struct sip_outbox;
struct sip_outbox_client;

/* What becomes of a record when max_bytes are there. */
enum sip_outbox_when_full {
  SIP_OUTBOX_REFUSE,     /* it is refused with the name OUTBOX_FULL */
  SIP_OUTBOX_WAIT,       /* SIP_EQUEUEFULL: the caller tries again */
  SIP_OUTBOX_DROP_OLDEST /* it takes the place of the oldest ones, which are lost */
};

struct sip_outbox_settings {
  const char *path;   /* copied */
  uint64_t max_bytes; /* of the records in it, the refused ones too */
  enum sip_outbox_when_full when_full;
};

struct sip_outbox_status {
  char path[1024];
  bool open;                            /* the file is open, or was once */
  uint64_t queued, queued_bytes;        /* on the disk, and not acknowledged by a broker */
  uint64_t refused, refused_bytes;      /* on the disk: refused by the broker for good */
  int64_t oldest_at_ms;                 /* when the oldest one queued was put in; 0: none is */
  uint64_t put, sent, turned_away;      /* since the start: taken in, acknowledged, found no room */
  uint64_t refusals, dropped, repeated; /* refused for good, lost to DROP_OLDEST, sent again */
  uint64_t commits;                     /* durable ones */
  struct sip_err trouble;               /* why the file cannot be written now; code 0: it can */
};

/** Opens nothing yet. @return 0 or UV_ENOMEM */
int sip_outbox_new(struct sip_outbox **out, const struct sip_outbox_settings *settings,
                   struct sip_err *err);

/** After the last client is gone: writes what was taken, closes the file. NULL is fine. */
void sip_outbox_free(struct sip_outbox *outbox);

/** Bounds take effect at once; another path is refused with SIP_EBUSY once the file is open. */
int sip_outbox_configure(struct sip_outbox *outbox, const struct sip_outbox_settings *settings,
                         struct sip_err *err);
struct sip_outbox_settings sip_outbox_settings(struct sip_outbox *outbox); /* path is borrowed */

/** Whether there is a file at its path: one of an earlier run, which may hold records. */
bool sip_outbox_left(struct sip_outbox *outbox);

/** Opens the file, waiting for it: makes it, or checks the one that is there. Once is enough. Each
 * send does so too, without waiting, and tries again a second after a failure.
 *  @return 0 or a negative code with `err` */
int sip_outbox_open(struct sip_outbox *outbox, struct sip_err *err);

void sip_outbox_status(struct sip_outbox *outbox, struct sip_outbox_status *out);

/** A way in for one loop. `onward` is where records go; its driver must take records until detach
 * and report on each. Only the first client that has one forwards: there is one order for all.
 *  @return 0 or a negative code with `err` */
int sip_outbox_attach(struct sip_outbox_client **out, struct sip_outbox *outbox, uv_loop_t *loop,
                      const struct sip_outlet *onward, struct sip_err *err);

/** Takes nothing more and sends nothing more. What was taken is written and reported, what was sent
 * is waited for; then its handles close and its memory goes. NULL is fine. */
void sip_outbox_detach(struct sip_outbox_client *client);

/** Puts records in: `driver` is a client. A report comes when the record is safe on the disk, with
 * partition and offset -1. Refused with OUTBOX_FULL (see when_full), OUTBOX_DISK_FULL and the like
 * while the file cannot be written, MSG_SIZE_TOO_LARGE when it could never fit. */
const struct sip_producer_ops *sip_outbox_operations(void);

#endif
