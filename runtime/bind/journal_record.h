#ifndef SIP_BIND_JOURNAL_RECORD_H
#define SIP_BIND_JOURNAL_RECORD_H
/* journal_record.h - a record of a run, straight into its journal's batch: what the files share
 * that write most of them. Loop thread. */
#include "bind/journal_service.h"
#include "vm/task.h"

/* A record that a task waits for; in a userdata, which is kept for the next ones. */
struct sip_record_wait {
  struct sip_journal_service *service; /* borrowed: outlives the journal's entries */
  int box;                             /* its place in the stack */
  struct sip_wait wait;
  struct sip_entry entry;
  int64_t changes;
  struct sip_err *err; /* NULL: none, or there was no memory for it */
};

/* What is written: see SIP_STATEMENT_RECORD_ADD. Bytes are borrowed for the call. */
struct sip_record_row {
  int64_t id, epoch, seq, phase;
  struct sip_slice where, body;
};

/** Makes the list of spare ones that the next two take, and leaves it on the stack. */
void sip_record_push_spare(lua_State *L);

/** Pushes a spare one of the list at `spare`, or a new one. Throws without memory. */
struct sip_record_wait *sip_record_take(lua_State *L, int spare);

/** Gives it back, from its place in the stack. Cannot throw. */
void sip_record_give(lua_State *L, int spare, struct sip_record_wait *record);

/** Writes what a task waits for next with sip_await, and `finish` in the end: 0 and one change when
 *  it is durable. @return 0 or a negative code */
int sip_record_write(lua_State *L, const struct sip_record_row *row, struct sip_record_wait *record,
                     sip_wait_finish_fn finish, struct sip_err *err);

/** Writes what nobody waits for. @return false when it was not taken */
bool sip_record_note(lua_State *L, struct sip_journal_service *service,
                     const struct sip_record_row *row);

/** Is it durable? Otherwise pushes what the journal answered: `*results` values. */
bool sip_record_is_durable(lua_State *L, const struct sip_record_wait *record, int *results);

#endif
