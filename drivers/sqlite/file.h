#ifndef SIP_SQLITE_FILE_H
#define SIP_SQLITE_FILE_H
/* file.h - the open database file behind a connection: what runs on the pool's threads.
 *
 * One job at a time touches it; the loop's queue hands it from thread to thread. Private to this
 * driver. */
#include "sqlite/sqlite.h"

#include <sqlite3.h>

enum { SIP_SQLITE_CACHE = 64 }; /* prepared statements kept; the least recently used one goes */

struct sip_sqlite_cached {
  sqlite3_stmt *statement; /* NULL: the slot is free */
  char *sql;
  size_t sql_len;
  uint64_t used; /* value of `clock` at its last use */
};

struct sip_sqlite_file {
  sqlite3 *handle; /* NULL before open and after close */
  struct sip_sqlite_options options;
  struct sip_sqlite_cached cache[SIP_SQLITE_CACHE];
  uint64_t clock;
  bool trusted; /* this statement is the engine's own: it may begin and end transactions */
  size_t text;  /* of a batch: the one that runs; else 0 */
  struct sip_sqlite_job *job; /* borrowed: the one that runs, for the busy and progress handlers */
  uint64_t busy_since_ms;     /* when the present wait for a lock began */
};

/** The stable name of a result code: the words that callers compare with. */
const char *sip_sqlite_code_name(int rc);

/** Does what the job says and fills in its results or its `err`. */
void sip_sqlite_file_run(struct sip_sqlite_file *file, struct sip_sqlite_job *job);

/** Copies the row that the statement stands on. @return 0, UV_ENOMEM or SIP_ETOOBIG with job->err
 * filled in */
int sip_sqlite_take_row(const struct sip_sqlite_file *file, struct sip_sqlite_job *job,
                        sqlite3_stmt *statement);

/** Room for `count` more cells. @return 0 or UV_ENOMEM */
int sip_sqlite_job_reserve_cells(struct sip_sqlite_job *job, size_t count);

#endif
