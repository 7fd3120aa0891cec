#ifndef SIP_SQLITE_LOG_FILE_H
#define SIP_SQLITE_LOG_FILE_H
/* log_file.h - SQLite's log (WAL) with its writes joined.
 *
 * SQLite writes each page of a commit in two pieces, one behind the other, and syncs the log before
 * anybody may count on them. Here they are gathered and written together before that sync, or
 * before anything else is done with the file: hundreds of calls of the system become a few. For
 * synchronous=FULL. As SQLite calls them. */
#include "sqlite/layer.h"

struct sip_log_file {
  struct sip_layer_file layer;
  char *bytes;      /* owned: what is not written yet; NULL until something is */
  int len;          /* of it */
  sqlite3_int64 at; /* where it belongs */
};

/** The methods of such a file. */
void sip_log_methods(sqlite3_io_methods *out);

/** Before it is opened with them. */
void sip_log_init(struct sip_log_file *file);

#endif
