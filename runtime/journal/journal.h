#ifndef SIP_JOURNAL_JOURNAL_H
#define SIP_JOURNAL_JOURNAL_H
/* journal.h - a worker's way to the journal: what is written in one turn of the loop goes to the
 * store together, and whoever wrote it is told when it is durable.
 *
 * While the store works on one batch, the next one gathers, so the slower the disk, the more share
 * a commit. After a write that failed, nothing is accepted any more: what is durable is then known
 * only to the next start. Loop thread. */
#include "core/list.h"
#include "journal/port.h"

#include <uv.h>

struct sip_journal;
struct sip_metrics_shard;
struct sip_entry;

/** Called once: `status` 0 when everything of the entry is durable; then its statements are
 * readable in `batch`, from `first` on, until this returns. Otherwise a negative code with `err`.
 */
typedef void (*sip_entry_fn)(struct sip_entry *entry, int status, const struct sip_batch *batch,
                             const struct sip_err *err);

/* What one writer waits for; in its heap block, or its userdata. */
struct sip_entry {
  struct sip_list link; /* in the batch's entries, or alone */
  size_t first, count;  /* its statements in the batch */
  sip_entry_fn on_done; /* NULL: forgotten */
};

/** @return 0 or a negative code */
int sip_journal_new(struct sip_journal **out, uv_loop_t *loop, const struct sip_store_ops *ops,
                    struct sip_store *store, struct sip_err *err);

/** Where it counts; before the first entry. @return 0 or a negative code */
int sip_journal_count(struct sip_journal *journal, struct sip_metrics_shard *shard,
                      struct sip_err *err);

/** Begins an entry: statements are added to the batch that it returns (batch.h) before
 *  sip_journal_write or sip_journal_rewind is called.
 *  @return NULL with `err` when the journal has failed or is full: nothing may be begun then */
struct sip_batch *sip_journal_begin(struct sip_journal *journal, struct sip_err *err);

/** Ends the entry that was begun: `on_done` follows, later than this call. */
void sip_journal_write(struct sip_journal *journal, struct sip_entry *entry, sip_entry_fn on_done);

/** As sip_journal_write, of what nothing waits for: alone, it is handed over a turn later. */
void sip_journal_note(struct sip_journal *journal, struct sip_entry *entry, sip_entry_fn on_done);

/** Takes back what was added since begin. */
void sip_journal_rewind(struct sip_journal *journal);

/** Nobody waits for the entry any more; what was written stays written. */
void sip_journal_forget(struct sip_entry *entry);

/** NULL, or why the journal accepts nothing. */
const struct sip_err *sip_journal_failure(const struct sip_journal *journal);

/* Since the start. */
struct sip_journal_status {
  uint64_t entries, statements, batches;
  size_t waiting; /* entries that are not durable yet */
};
struct sip_journal_status sip_journal_status(const struct sip_journal *journal);

/** No new entries; `on_closed` follows when all are durable or failed. */
void sip_journal_close(struct sip_journal *journal, void (*on_closed)(void *arg), void *arg);

#endif
