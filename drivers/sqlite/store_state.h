#ifndef SIP_SQLITE_STORE_STATE_H
#define SIP_SQLITE_STORE_STATE_H
/* store_state.h - what the files of the store share. */
#include "journal/port.h"
#include "journal/statements.h"
#include "journal/writer.h"

#include <sqlite3.h>

enum { SIP_STORE_WAL_PAGES = 4000 }; /* of 4 KiB: then the log is carried over into the file */

struct sip_store {
  sqlite3 *db;                                   /* the writer's once it runs */
  sqlite3_stmt *statements[SIP_STATEMENT_COUNT]; /* the writer's; prepared at first use */
  char *place;                                   /* owned */
  int lock_fd;
  bool was_journal;          /* the lock says that there was a journal, or there is now */
  int wal_pages;             /* in the log, after the last commit */
  struct sip_err failure;    /* of a checkpoint; code 0: none */
  struct sip_writer *writer; /* owned; NULL while the file is opened */
};

/** Takes the lock, opens the file, checks and migrates it. @return 0 or a negative code; what was
 * opened is in `store` */
int sip_store_open_file(struct sip_store *store, struct sip_store_report *report,
                        struct sip_err *err);

/** Fills `err` with the fault of the database and what was tried. @return the code, negative */
int sip_store_refused(struct sip_store *store, struct sip_err *err, const char *what);

#endif
