#ifndef SIP_JOURNAL_PORT_H
#define SIP_JOURNAL_PORT_H
/* port.h - what the journal needs of a database; the SQLite and PostgreSQL drivers fill it in and
 * modules.c connects them.
 *
 * A store is shared by all workers of a process. Its texts are in statements.c, the same for every
 * database; a driver brings the tables (its dialect of the schema) and runs them. */
#include "core/err.h"
#include "journal/batch.h"

#include <stdint.h>

struct sip_store; /* opaque: the driver's */

/* Takes batches back; one for each worker. */
struct sip_store_client {
  struct sip_list done;                             /* of batches; guarded by the store */
  void (*on_done)(struct sip_store_client *client); /* any thread: collect has some */
};

/* What was found when the store was opened. */
struct sip_store_report {
  int64_t epoch;    /* of this opening: what it owns is written under that number */
  int64_t schema;   /* version of the tables now */
  int64_t migrated; /* version that they had before; the same when nothing was changed; 0: new */
  bool was_interrupted; /* the last process did not close it */
  bool is_shared;       /* other hosts may write to it meanwhile, and leave runs behind */
};

struct sip_store_ops {
  /** Opens, locks, checks and migrates. Blocks: before the loop runs, or on a pool thread.
   *  @param place  a file, or the connection string of a server
   *  @return 0; SIP_EBUSY when another process has it; SIP_EDATA when it is damaged or newer than
   *  this program; another negative code. `err` names the place, the fault and what to do */
  int (*open)(struct sip_store **out, const char *place, struct sip_store_report *report,
              struct sip_err *err);

  /** Runs a batch in a transaction, which it may share with others of its time. Returns at once;
   *  the batch comes back through `client`, in the order of submission. Loop threads. */
  void (*submit)(struct sip_store *store, struct sip_store_client *client, struct sip_batch *batch);

  /** The client's next batch that is done, or NULL. */
  struct sip_batch *(*collect)(struct sip_store *store, struct sip_store_client *client);

  /** Leaves a line for other processes of this machine that find the store in use; what was left
   * before is gone. NULL: they need none. Any thread. @return 0 or a negative code */
  int (*note)(struct sip_store *store, const char *line, struct sip_err *err);

  /** Gives room that nothing uses back to the disk. Blocks, while nothing else is submitted. NULL:
   * a server does that by itself.
   *  @param before, after  bytes that the store takes. @return 0 or a negative code */
  int (*shrink)(struct sip_store *store, int64_t *before, int64_t *after, struct sip_err *err);

  /** Waits for what was submitted, and closes. Every client must have collected. Blocks. */
  void (*close)(struct sip_store *store);
};

#endif
