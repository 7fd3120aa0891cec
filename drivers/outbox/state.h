#ifndef SIP_OUTBOX_STATE_H
#define SIP_OUTBOX_STATE_H
/* state.h - what the files of this driver share: the outbox, its clients, and what passes between
 * their loops and the thread of the file. Nobody else includes it. */
#include "core/list.h"
#include "core/wakeup.h"
#include "outbox/file.h"
#include "outbox/outbox.h"
#include "outbox/record.h"

#include <stdbool.h>
#include <uv.h>

struct sip_outbox_forwarder;

enum sip_outbox_phase {
  SIP_OUTBOX_CLOSED, /* no thread yet */
  SIP_OUTBOX_OPENING,
  SIP_OUTBOX_OPEN,
  SIP_OUTBOX_BROKEN /* it could not be opened: `failure` says why */
};

/* What the forwarder wants to read. One at a time. */
struct sip_outbox_read {
  bool wanted, done;
  const char *topic; /* borrowed from a lane of the forwarder, which waits; NULL: all */
  int64_t after, upto;
  int max_records;
  size_t max_bytes;
  int status;              /* of the answer: how many, or a negative code */
  struct sip_list records; /* the answer */
};

struct sip_outbox {
  uv_mutex_t mu;
  uv_cond_t work;   /* for the thread: there is some */
  uv_cond_t opened; /* for sip_outbox_open: the phase has changed */
  uv_thread_t thread;

  /* All of these are guarded by mu. */
  enum sip_outbox_phase phase;
  uint64_t open_again_ns; /* BROKEN: when it may be tried again */
  char *path;
  uint64_t max_bytes;
  enum sip_outbox_when_full when_full;
  bool stopping;
  bool ending;             /* a client leaves: nothing is held back any more */
  bool full;               /* the last record found no room; for one line in the log */
  struct sip_list clients; /* attached */
  bool forwarded;          /* one of them forwards */
  struct sip_list appends; /* records that wait for the thread */
  size_t append_count, append_bytes;
  struct sip_list finished; /* records to take out: acknowledged, or with a refusal */
  struct sip_outbox_read read;
  struct sip_outbox_totals totals; /* of the file, as of the last commit */
  char id[24];                     /* of the file; set once it is open */
  struct sip_err failure;          /* why it cannot be opened, or written; code 0: it can */
  struct sip_err last_failure;     /* what those get to hear whose records failed */
  uint64_t put, sent, turned_away, refusals, dropped, repeated, commits;

  /* The thread's own. */
  struct sip_outbox_file *file;
};

struct sip_outbox_client {
  struct sip_list link;      /* in outbox->clients */
  struct sip_list reports;   /* records that are done with; guarded by outbox->mu */
  struct sip_outbox *outbox; /* borrowed: outlives its clients */
  uv_loop_t *loop;           /* borrowed */
  struct sip_wakeup *wakeup;
  const struct sip_outbox_record *failed; /* borrowed: while its report is told */
  struct sip_output lost;                 /* what it was, once somebody has asked */
  struct sip_header *lost_headers;        /* SIP_OUTBOX_MAX_HEADERS; NULL until they are needed */
  size_t pending;                         /* records that wait for their report */
  bool closing;
  struct sip_outbox_forwarder *forwarder; /* NULL: it only puts records in */
};

/** writer.c: the body of the thread; `arg` is the outbox. */
void sip_outbox_run(void *arg);

/** outbox.c: ends a client that is closing and has nothing left to wait for; it is gone then. */
void sip_outbox_client_look(struct sip_outbox_client *client);

/** Starts the thread unless it runs. Any thread. @return 0 or a negative code with `err` */
int sip_outbox_start(struct sip_outbox *outbox, struct sip_err *err);

/* --- forward.c --- */

int sip_outbox_forwarder_new(struct sip_outbox_forwarder **out, struct sip_outbox_client *client,
                             const struct sip_outlet *onward, struct sip_err *err);

/** Something may have changed: records were put in, an answer to a read is there. Frees nothing. */
void sip_outbox_forwarder_look(struct sip_outbox_forwarder *forwarder);

/** Sends nothing more. */
void sip_outbox_forwarder_stop(struct sip_outbox_forwarder *forwarder);

/** Whether nothing of it is under way any more: then `free` may follow. */
bool sip_outbox_forwarder_idle(const struct sip_outbox_forwarder *forwarder);
void sip_outbox_forwarder_free(struct sip_outbox_forwarder *forwarder);

#endif
