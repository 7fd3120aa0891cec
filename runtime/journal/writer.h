#ifndef SIP_JOURNAL_WRITER_H
#define SIP_JOURNAL_WRITER_H
/* writer.h - a thread of its own for a store: takes what several loops submitted, together, and
 * hands it back.
 *
 * What waits when it comes back from a commit goes into the next one: the share of each commit
 * grows with the load, and nobody waits for a timer. */
#include "core/err.h"
#include "journal/port.h"

struct sip_writer;

/** The writer's thread: runs all of the batches in one transaction, and sets the err of each. With
 * an empty list, time has passed and nothing was submitted. After a failure it is called no more:
 * later batches get the same err. */
typedef void (*sip_writer_run_fn)(struct sip_store *store, struct sip_list *batches);

/** @param idle_ms  how long nothing comes before `run` is called with nothing; 0: never
 *  @return 0 or a negative code */
int sip_writer_start(struct sip_writer **out, struct sip_store *store, sip_writer_run_fn run,
                     uint64_t idle_ms, struct sip_err *err);

/** As the functions of struct sip_store_ops. Loop threads. */
void sip_writer_submit(struct sip_writer *writer, struct sip_store_client *client,
                       struct sip_batch *batch);
struct sip_batch *sip_writer_collect(struct sip_writer *writer, struct sip_store_client *client);

/** Waits for what was submitted, and frees. NULL is fine. */
void sip_writer_stop(struct sip_writer *writer);

#endif
