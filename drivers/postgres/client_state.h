#ifndef SIP_POSTGRES_CLIENT_STATE_H
#define SIP_POSTGRES_CLIENT_STATE_H
/* client_state.h - what the files of the client share. Loop thread. */
#include "postgres/client.h"

#include "core/work.h"

#include <libpq-fe.h>

struct sip_pg_pool {
  uv_loop_t *loop; /* borrowed: outlives the pool */
  struct sip_pg_options options;
  char *url;       /* owned; may hold a password: never shown */
  char shown[200]; /* the place without secrets */
  struct sip_list queue, links;
  size_t queued, link_count, ready_count;
  uv_timer_t timer; /* for what waits, and for the next attempt to connect */
  size_t transactions, refs;
  unsigned failures;      /* attempts to connect that failed since one succeeded */
  uint64_t next_try_ms;   /* of the loop's time */
  struct sip_err trouble; /* why the last attempt failed; code 0: it did not */
  struct sip_pg_status counts;
  bool closing, pumping, again;
};

enum sip_pg_link_state { SIP_PG_CONNECTING, SIP_PG_SETUP, SIP_PG_READY, SIP_PG_GONE };

struct sip_pg_watch; /* a uv_poll_t that frees itself */
struct sip_pg_resolve;
struct sip_pg_canceller;

struct sip_pg_link {
  struct sip_list node; /* in pool->links */
  struct sip_pg_pool *pool;
  enum sip_pg_link_state state;
  PGconn *conn;
  struct sip_pg_watch *watch;     /* NULL: none */
  struct sip_pg_resolve *resolve; /* NULL: none under way */
  struct sip_pg_canceller *canceller;
  uv_timer_t timer;        /* the attempt's limit, the answer's, the next look at its health */
  struct sip_list waiting; /* jobs that it was given and has not sent */
  struct sip_list sent;    /* jobs under way, in order */
  size_t sent_count;
  struct sip_pg_tx *tx;     /* has it for itself; borrowed */
  struct sip_pg_job *setup; /* owned: what a new connection runs first */
  struct sip_list plans;    /* prepared statements, the one used last at the end */
  size_t plan_count;
  unsigned plan_number;
  uint64_t used_ms, heard_ms; /* of the loop's time */
  bool row_mode;              /* the command whose results come now gives them row by row */
  bool in_script;             /* outside of the pipeline, for a script */
  bool turning, again;        /* in sip_pg_link_turn; once more */
  bool was_canceled;          /* a request to cancel was made: it may hit the one behind */
};

struct sip_pg_plan {
  struct sip_list node;
  char name[24];
  char *sql;
  size_t users;  /* jobs that are under way with it */
  bool is_stale; /* not to be found again */
};

struct sip_pg_tx {
  struct sip_pg_pool *pool; /* counted in pool->transactions */
  struct sip_pg_link *link; /* NULL: not begun, or over */
  struct sip_pg_job *undo;  /* ROLLBACK, made in advance; NULL while it is on its way */
  struct sip_err lost;      /* why its connection is gone; code 0: it is not */
};

/* client.c */
void sip_pg_pool_pump(struct sip_pg_pool *pool);
void sip_pg_pool_unref(struct sip_pg_pool *pool);
void sip_pg_pool_requeue(struct sip_pg_pool *pool, struct sip_pg_job *job);
/** An attempt to connect has succeeded (`err` is NULL) or failed. */
void sip_pg_pool_tried(struct sip_pg_pool *pool, const struct sip_err *err);
/** Hands the job back. */
void sip_pg_job_end(struct sip_pg_job *job);
void sip_pg_job_forget_rows(struct sip_pg_job *job);

/* client_link.c */
int sip_pg_link_new(struct sip_pg_pool *pool, struct sip_err *err);
/** Ends the connection: what was under way fails with `err`, the rest goes back to the queue. */
void sip_pg_link_break(struct sip_pg_link *link, const struct sip_err *err);
/** Goes on as the socket allows: sends, reads, and watches for what comes next. */
void sip_pg_link_turn(struct sip_pg_link *link);
void sip_pg_link_arm(struct sip_pg_link *link);
/** Asks the server to stop what it runs for this job. */
void sip_pg_link_cancel(struct sip_pg_link *link, struct sip_pg_job *job);
void sip_pg_link_drop_watch(struct sip_pg_link *link);
int sip_pg_link_watch(struct sip_pg_link *link, int events);

/* client_connect.c */
int sip_pg_connect_start(struct sip_pg_link *link, struct sip_err *err);
void sip_pg_connect_stop(struct sip_pg_link *link);
/** The socket is ready for the next step. @return 1 when connected, 0 to go on, or a code */
int sip_pg_connect_step(struct sip_pg_link *link, struct sip_err *err);

/* client_pipe.c */
/** Sends waiting jobs. @return 0 or a negative code: the connection is of no use */
int sip_pg_pipe_send(struct sip_pg_link *link, struct sip_err *err);
/** Reads what has come. @return as above */
int sip_pg_pipe_read(struct sip_pg_link *link, struct sip_err *err);
void sip_pg_pipe_forget(struct sip_pg_link *link);

/* client_rows.c */
/** @return 0, UV_ENOMEM, SIP_ETOOBIG or SIP_EDATA */
int sip_pg_rows_take(struct sip_pg_job *job, const PGresult *result, size_t max_bytes);

/* client_error.c */
void sip_pg_error_of(struct sip_err *err, struct sip_pg_job *job, const PGresult *result);
/** Of the connection itself; `what` was tried. */
void sip_pg_error_lost(struct sip_err *err, const struct sip_pg_pool *pool, PGconn *conn,
                       const char *what);
/** Why an attempt to connect failed. */
void sip_pg_error_connect(struct sip_err *err, const struct sip_pg_pool *pool, const char *text);
/** Whether trying again cannot help: a wrong password, no such database. */
bool sip_pg_error_is_final(const struct sip_err *err);

#endif
