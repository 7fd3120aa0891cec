#ifndef SIP_SQLITE_STORE_STATE_H
#define SIP_SQLITE_STORE_STATE_H
/* store_state.h - what the files of the store share. */
#include "journal/port.h"
#include "journal/statements.h"
#include "journal/writer.h"

#include <sqlite3.h>
#include <sys/types.h>

enum {
  SIP_STORE_WAL_PAGES = 4000, /* of 4 KiB: then the log is carried over into the file */
  SIP_STORE_AGAIN = 1,        /* SQLite has ended the transaction: begin it anew */
  SIP_STORE_ROWS = 8,         /* records that go into one statement */
  SIP_STORE_RECORD_CELLS = 7, /* parameters of a record */
  SIP_STORE_NEXT_RECORD = SIP_STATEMENT_COUNT, /* statements of the store's own */
  SIP_STORE_NEXT_RECORDS,
  SIP_STORE_DATA_VERSION,
  SIP_STORE_BEGIN,
  SIP_STORE_COMMIT,
  SIP_STORE_STATEMENTS,
  SIP_STORE_OWNED_BITS = 12 /* of the number of runs whose owner is known */
};

/* A run that was seen to be of that epoch. */
struct sip_store_owned {
  int64_t run, epoch;
  uint64_t known; /* the store's `owners_known` then */
};

struct sip_store {
  sqlite3 *db;                                    /* the writer's once it runs */
  sqlite3_stmt *statements[SIP_STORE_STATEMENTS]; /* the writer's; prepared at first use */
  struct sip_store_owned owned[1 << SIP_STORE_OWNED_BITS];
  uint64_t owners_known; /* from 1 on; what was seen under another number counts no more */
  int64_t data_version;  /* SQLite's, of the last transaction: changes when others write */
  char *place;           /* owned */
  int lock_fd;
  off_t note_at;             /* where in the lock's file a note for other processes goes */
  bool was_journal;          /* the lock says that there was a journal, or there is now */
  int wal_pages;             /* in the log, after the last commit */
  uint64_t until_ms;         /* monotonic: when a script's statement has to end; 0: never */
  struct sip_err failure;    /* of a checkpoint; code 0: none */
  struct sip_writer *writer; /* owned; NULL while the file is opened */
};

/** Takes the lock, opens the file, checks and migrates it. @return 0 or a negative code; what was
 * opened is in `store` */
int sip_store_open_file(struct sip_store *store, struct sip_store_report *report,
                        struct sip_err *err);

/** Bytes of the file's pages. @return 0 or a negative code */
int sip_store_file_size(struct sip_store *store, int64_t *out, struct sip_err *err);

/** A statement of the journal's own, prepared at first use. @return 0 or a negative code */
int sip_store_prepare(struct sip_store *store, int number, sqlite3_stmt **out, struct sip_err *err);

/** Runs a prepared statement with the parameters of `op`, whose rows go into the batch, and resets
 *  it. @return 0 or a negative code */
int sip_store_step(struct sip_store *store, sqlite3_stmt *statement, struct sip_batch *batch,
                   struct sip_op *op, struct sip_err *err);

/** Runs SIP_STORE_NEXT_RECORDS for so many records from `ops` on. @return as above */
int sip_store_step_records(struct sip_store *store, sqlite3_stmt *statement,
                           const struct sip_batch *batch, struct sip_op *ops, struct sip_err *err);

/** Runs the group at `first` in a savepoint. @return 0 also when the group has failed (batch.h);
 *  SIP_STORE_AGAIN; a negative code for what ends the journal */
int sip_store_run_group(struct sip_store *store, struct sip_batch *batch, size_t first,
                        struct sip_err *err);

/** Fills `err` with the fault of the database and what was tried. @return the code, negative */
int sip_store_refused(struct sip_store *store, struct sip_err *err, const char *what);

#endif
