#ifndef SIP_SQLITE_STORE_STATE_H
#define SIP_SQLITE_STORE_STATE_H
/* store_state.h - what the files of the store share. */
#include "core/list.h"
#include "journal/port.h"
#include "journal/statements.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

struct sip_store {
  sqlite3 *db;                                   /* the writer thread's once it runs */
  sqlite3_stmt *statements[SIP_STATEMENT_COUNT]; /* the writer thread's; prepared at first use */
  char *place;                                   /* owned */
  int lock_fd;
  pthread_t writer;
  pthread_mutex_t mutex;
  pthread_cond_t submitted;
  struct sip_list queue;  /* of batches; guarded by the mutex, as every client's `done` */
  bool stopping, started; /* stopping: guarded by the mutex */
};

/** Takes the lock, opens the file, checks and migrates it. @return 0 or a negative code; what was
 * opened is in `store` */
int sip_store_open_file(struct sip_store *store, struct sip_store_report *report,
                        struct sip_err *err);

/** Fills `err` with the fault of the database and what was tried. @return the code, negative */
int sip_store_refused(struct sip_store *store, struct sip_err *err, const char *what);

#endif
