#ifndef SIP_TEST_JOURNAL_WORLD_H
#define SIP_TEST_JOURNAL_WORLD_H
/* journal_world.h - a worker with a journal, for tests of stores: says statements, waits until they
 * are durable, and shows what they gave as text. Its first failed check ends the test. */
#include "journal/journal.h"
#include "journal/statements.h"

#include <stdbool.h>

struct world {
  uv_loop_t loop;
  const struct sip_store_ops *ops;
  struct sip_store *store;
  bool is_guest; /* the store is another world's */
  struct sip_store_report report;
  struct sip_journal *journal;
  struct sip_batch *batch; /* of the entry that is said; NULL between entries */
  size_t group;            /* where the group begins that is said */
  struct sip_batch answer; /* a copy of what the last entry gave */
  struct sip_err err;      /* of the last entry */
  char text[4096];         /* of the last world_rows */
};

/** Opens the store too. world_try_open gives its failure, with `err`: then there is no world. */
int world_try_open(struct world *w, const struct sip_store_ops *ops, const char *place);
void world_open(struct world *w, const struct sip_store_ops *ops, const char *place);

/** Another worker on the store of `host`, which is closed after it. */
void world_join(struct world *w, const struct world *host);
void world_close(struct world *w);

/** Adds a statement to the entry; `types` has a letter for each parameter: i long long, d double,
 *  t text, b blob (both const char *), r text of a struct sip_slice, 0 NULL. */
void world_say(struct world *w, int statement, const char *types, ...);

/** What is said between the two is a group; world_expect is about what was said last. */
void world_group(struct world *w);
void world_group_end(struct world *w);
void world_expect(struct world *w, long long rows);

/** Code and message with which the group at statement `first` failed; "" when it did not. */
const char *world_group_failure(struct world *w, size_t first);

/** A run in state ACTIVE, and a record of one. */
void world_say_run(struct world *w, long long id, long long epoch, long long offset,
                   const char *event_id);
void world_say_record(struct world *w, long long run, long long epoch, long long seq);

/** Ends the entry and waits. @return its status */
int world_write(struct world *w);

/** Of the last entry's statement `n`: rows changed, and rows as text "a|b;c|d" with - for NULL. */
long long world_changes(const struct world *w, size_t n);
const char *world_rows(struct world *w, size_t n);

/** Opening must fail with that code and a message that has `place` and `part`. */
void world_refused(const struct sip_store_ops *ops, const char *place, const char *shown, int code,
                   const char *part);

#endif
