#ifndef SIP_SERIAL_JOINT_H
#define SIP_SERIAL_JOINT_H
/* joint.h - the serial thread's side of a line: where a party and a port meet. Inside of the driver
 * only. Everything in a joint belongs to the serial thread once it was handed over. */
#include "core/list.h"
#include "serial/serial.h"

#include <pthread.h>
#include <stdatomic.h>

/* What both sides of a line share. Counted: by the loop, and by the joint. */
struct sip_serial_line {
  struct sip_serial *serial; /* counted */
  struct sip_joint *joint;   /* borrowed; the loop's until close */
  struct sip_wakeup *wakeup; /* the loop's; sent to under `mu` while not NULL */
  struct sip_serial_callbacks callbacks;
  void *arg;
  bool closed; /* the loop's */

  pthread_mutex_t mu;      /* guards what follows */
  struct sip_list results; /* notes, in struct sip_kept */
  struct sip_list events;
  struct sip_list spares; /* for each open command one, if there is no memory for a result */
  size_t event_count, event_bytes;
  unsigned open_commands;
  unsigned refs;
  struct sip_serial_state state;
  size_t traffic_count; /* so far: the next one's place is its rest */
  struct sip_serial_traffic traffic[SIP_SERIAL_TRAFFIC];
};

/* An opening: a thread that may block. */
struct sip_opening {
  struct sip_list link;    /* in the inbox once done */
  struct sip_list running; /* in the serial thread's list */
  atomic_int whose;        /* 0: it works; then whoever changes that first: see thread.c */
  pthread_t thread;
  struct sip_serial *serial; /* borrowed: it waits for the opening */
  struct sip_joint *joint;   /* borrowed, the serial thread's: NULL when nobody waits any more */
  struct sip_port_settings settings;
  bool simulate;
  struct sip_serial_port *port; /* what it found, or NULL and `err` */
  struct sip_err err;
};

struct sip_joint {
  struct sip_list link;           /* in the inbox, then in the thread's list */
  struct sip_list parting;        /* in the inbox once closed */
  struct sip_line line;           /* what the party has around it */
  struct sip_serial_line *shared; /* counted */
  struct sip_party *party;        /* NULL once closed, while bytes still leave */
  struct sip_serial_port *port;   /* NULL: none now */
  struct sip_opening *opening;    /* owned by its thread until done; NULL: none */
  struct sip_port_settings settings;
  bool simulate, reopen, patient, raw;
  unsigned settle_ms;
  bool told_up;   /* the party knows of the port */
  bool failing;   /* the loop was told that it is down */
  bool unplugged; /* a simulator's, on demand */
  bool broken;    /* the port is to be closed after the call that found out, for `fault` */
  struct sip_err fault;
  size_t slot;      /* of the poll in progress; 0: none */
  int64_t retry_us; /* when to open next; SIP_NEVER_US: not by time */
  int64_t settled_us, break_us, close_by_us;
  int64_t opened_us;
  int64_t stuck_us; /* since when no byte of the output left; SIP_NEVER_US: none waits */
  unsigned backoff_ms;
  size_t out_at, out_size; /* of the ring: bytes that wait for the port */
  uint8_t out[SIP_SERIAL_OUTPUT];
};

/** Monotonic. */
int64_t sip_serial_now_us(void);

/** A mutex whose owner has the priority of who waits for it: else whatever keeps a loop from
 *  running would keep the serial thread waiting. @return 0 or an errno */
int sip_serial_mutex_init(pthread_mutex_t *mu);

/* --- line.c: the shared part --- */

struct sip_serial_line *sip_line_new(struct sip_serial *serial, struct sip_err *err);
void sip_line_ref(struct sip_serial_line *line);
void sip_line_unref(struct sip_serial_line *line); /* any thread */

/** Gives a copy of the note to the loop. */
void sip_line_tell(struct sip_serial_line *line, const struct sip_note *note);

/** Changes the state and wakes the loop. `err` NULL: up, at `path`. */
void sip_line_set_link(struct sip_serial_line *line, const char *path, const struct sip_err *err);

/** Bytes came, or left. */
void sip_line_passed(struct sip_serial_line *line, bool out, const void *bytes, size_t size);

/* --- joint.c --- */

struct sip_joint *sip_joint_new(struct sip_serial_line *line,
                                const struct sip_serial_options *options, struct sip_err *err);

/** Frees the party, the port and itself; in no list. */
void sip_joint_free(struct sip_joint *joint);

/** An opening has ended; takes over its port. */
void sip_joint_on_opened(struct sip_joint *joint, int64_t now_us, struct sip_serial_port *port,
                         const struct sip_err *err);

/** Does a command, or has the party do it. */
void sip_joint_command(struct sip_joint *joint, int64_t now_us, const struct sip_note *command);

/** What to poll for; 0: nothing. */
short sip_joint_events(const struct sip_joint *joint);

/** What poll found. */
void sip_joint_on_ready(struct sip_joint *joint, int64_t now_us, short found);

/** When it wants sip_joint_on_due. */
int64_t sip_joint_due_us(const struct sip_joint *joint);
void sip_joint_on_due(struct sip_joint *joint, int64_t now_us);

/** The loop closed the line: the party ends now. @return true when the joint can be freed, false
 *  while bytes leave */
bool sip_joint_close(struct sip_joint *joint, int64_t now_us);

/** Closed, and nothing is left to do. */
bool sip_joint_is_over(const struct sip_joint *joint);

/** Whether to open its port now. */
bool sip_joint_wants_port(const struct sip_joint *joint, int64_t now_us);

/** The thread for it could not be started, or somebody is still in the way: again in a while. */
void sip_joint_put_off(struct sip_joint *joint, int64_t now_us, const struct sip_err *err);

#endif
