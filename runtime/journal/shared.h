#ifndef SIP_JOURNAL_SHARED_H
#define SIP_JOURNAL_SHARED_H
/* shared.h - the journal of a process: one store for all of its workers, opened when the first
 * script wants it. Any thread, but for new and free. */
#include "journal/port.h"

struct sip_journal_shared;

/** @param place  copied
 *  @return NULL for want of memory */
struct sip_journal_shared *sip_journal_shared_new(const struct sip_store_ops *ops,
                                                  const char *place);

/** Opens the store, the first time; blocks then. What failed once is not tried again.
 *  @param first  whether this call opened it: the caller takes up what was left
 *  @return 0 or a negative code */
int sip_journal_shared_open(struct sip_journal_shared *shared, struct sip_store **store,
                            bool *first, struct sip_err *err);

const struct sip_store_ops *sip_journal_shared_ops(const struct sip_journal_shared *shared);
const char *sip_journal_shared_place(const struct sip_journal_shared *shared);

/** What was found; once it is open. */
const struct sip_store_report *sip_journal_shared_report(const struct sip_journal_shared *shared);

/** Says for other processes of this machine where this one is reached (port.h, note), now or when
 * it is opened. Cut after 200 bytes. @return 0 or a negative code */
int sip_journal_shared_note(struct sip_journal_shared *shared, const char *line,
                            struct sip_err *err);

/** As the store's shrink; both 0 where there is none. After it was opened.
 *  @return 0 or a negative code */
int sip_journal_shared_shrink(struct sip_journal_shared *shared, int64_t *before, int64_t *after,
                              struct sip_err *err);

/** After every journal of it was closed; waits for the store. NULL is fine. */
void sip_journal_shared_free(struct sip_journal_shared *shared);

#endif
