#ifndef SIP_JOURNAL_STATEMENTS_H
#define SIP_JOURNAL_STATEMENTS_H
/* statements.h - what the journal says to its database, in the SQL that SQLite and PostgreSQL
 * share. Parameters are $1, $2, …; the comments name them.
 *
 * A run is one event on its way through a handler that has effects. It is added with its first
 * record, and from then on the event is the journal's: its offset may be committed. Times are ms
 * since 1970-01-01 UTC. */
#include <stddef.h>
#include <stdint.h>

enum { SIP_JOURNAL_SCHEMA = 1 };

/* Kept in the database: never renumbered. */
enum sip_run_state {
  SIP_RUN_ACTIVE = 1,   /* goes on at once, also after a restart */
  SIP_RUN_SLEEPING = 2, /* goes on when it is due */
  SIP_RUN_WAITING = 3,  /* goes on at a signal, or when it is due */
  SIP_RUN_HELD = 4,     /* in the queue of its key: goes on when it is due and first */
  SIP_RUN_PARKED = 5,   /* in doubt: goes on when a person says so */
  SIP_RUN_OPEN_BELOW = 10,
  SIP_RUN_DONE = 10,
  SIP_RUN_DEAD = 11,      /* in the dead letters */
  SIP_RUN_ABANDONED = 12, /* given up by a person */
  SIP_RUN_COMPLETED = 13  /* declared done by a person */
};

/* Kept in the database: never renumbered. */
enum sip_phase {
  SIP_PHASE_INTENT = 1,      /* before an effect */
  SIP_PHASE_OUTCOME = 2,     /* after it: done, failed, skipped or unknown, as the body says */
  SIP_PHASE_UNDO_INTENT = 3, /* before an undo */
  SIP_PHASE_UNDO_OUTCOME = 4,
  SIP_PHASE_SLEEP = 5,
  SIP_PHASE_WAIT = 6,
  SIP_PHASE_SIGNAL = 7, /* what was waited for has come */
  SIP_PHASE_STATE = 8   /* of the handler as a whole: undoing, failed, attempts */
};

enum sip_statement {
  /* id, epoch, state, due, at, flow, cluster, topic, partition, offset, event id, type, key,
   * script, record -> changes 0: the place is known */
  SIP_STATEMENT_RUN_ADD,
  SIP_STATEMENT_RUN_STATE,  /* id, epoch, state, due, at, why -> changes 0: no longer ours */
  SIP_STATEMENT_RECORD_ADD, /* run, epoch, seq, at, phase, scope, body -> changes 0: as above */
  SIP_STATEMENT_RUN_TAKE,   /* id, epoch before, epoch -> changes 0: somebody else was faster */
  /* id, epoch, state -> changes 0: it is not as it was. Its epoch is then 0 for the rest of the
   * transaction, so that what follows under epoch 0 is written only if this was. */
  SIP_STATEMENT_RUN_SEIZE,
  SIP_STATEMENT_SCRIPT_ADD,    /* hash, at, files; a known one gets a new time only */
  SIP_STATEMENT_WAIT_ADD,      /* name, key, run, scope */
  SIP_STATEMENT_WAIT_DROP,     /* run, scope */
  SIP_STATEMENT_WAITS_END,     /* run, epoch: all of its waits */
  SIP_STATEMENT_SIGNAL_ADD,    /* name, key, id, at, body -> changes 0: the id is known */
  SIP_STATEMENT_SIGNAL_TAKE,   /* name, key, id, taker -> changes 0: another one has it */
  SIP_STATEMENT_AUDIT_ADD,     /* run, epoch, at, who, verb, why -> changes 0: as above */
  SIP_STATEMENT_META_SET,      /* key, value */
  SIP_STATEMENT_PURGE_RECORDS, /* ended before, after id, to id: of the same runs; before them */
  SIP_STATEMENT_PURGE_AUDIT,   /* as above */
  SIP_STATEMENT_PURGE_RUNS,    /* ended before, after id, to id */
  SIP_STATEMENT_PURGE_SCRIPTS, /* added before: those that no run needs. A process that
                                * runs one adds it again every hour */
  SIP_STATEMENT_PURGE_SIGNALS, /* added before */
  /* The rest gives rows. A run's columns: id, epoch, state, due, at, flow, cluster, topic,
   * partition, offset, event id, type, key, script, record, changed, why. */
  SIP_STATEMENT_META_GET,      /* key -> value */
  SIP_STATEMENT_RUN_GET,       /* id */
  SIP_STATEMENT_RUN_AT,        /* flow, cluster, topic, partition, offset */
  SIP_STATEMENT_RUN_OF_EVENT,  /* flow, event id, added since -> id, state */
  SIP_STATEMENT_RUNS_OF_EVENT, /* event id -> id, state, of whatever flow */
  SIP_STATEMENT_RUNS_OPEN,     /* after id, limit */
  SIP_STATEMENT_OPEN_BEFORE,   /* before id, limit: newest first, NULL for the record */
  SIP_STATEMENT_ENDED_BEFORE,  /* before id, limit: likewise, of those that have ended */
  SIP_STATEMENT_PAGE_END,      /* after id, limit -> the last id of that many */
  SIP_STATEMENT_RUNS_READY,    /* epoch, after id, limit: active and held ones */
  SIP_STATEMENT_RUNS_ORPHANED, /* after id, now, limit -> id, epoch: of hosts that are gone */
  SIP_STATEMENT_HOSTS,         /* -> epoch, name, alive until */
  SIP_STATEMENT_RUNS_DUE,      /* epoch, due by, limit -> id: sleeping and waiting ones */
  SIP_STATEMENT_RECORDS,       /* run -> seq, at, phase, scope, body */
  SIP_STATEMENT_SCRIPT_GET,    /* hash -> files */
  SIP_STATEMENT_SCRIPTS_USED,  /* -> hash, added, open runs */
  SIP_STATEMENT_WAITS_FOR,     /* name, key -> run, scope */
  SIP_STATEMENT_SIGNALS_FOR,   /* name, key, taker -> id, at, body: free, or the taker's */
  SIP_STATEMENT_AUDIT,         /* run -> at, who, verb, why */
  SIP_STATEMENT_COUNTS,        /* -> state, runs, oldest; reads every run */
  SIP_STATEMENT_COUNTS_OPEN,   /* likewise, of those that have not ended */
  SIP_STATEMENT_COUNT
};

#define SIP_RUN_COLUMNS                                                                            \
  "id, epoch, state, due, at, flow, cluster, topic, part, pos, event_id, type, key, script, "      \
  "record, changed, why"

extern const char *const sip_statements[SIP_STATEMENT_COUNT];

/** The statement of a name, such as "run_add"; -1 when there is none. */
int sip_statement_number(const char *name);

#endif
