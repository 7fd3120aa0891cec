#ifndef SIP_OUTBOX_FILE_H
#define SIP_OUTBOX_FILE_H
/* file.h - the outbox's SQLite file: records in order, those that were refused, and the lock that
 * keeps other processes off.
 *
 * One thread at a time; every call may block. Changes are made between begin and commit. Tables and
 * their columns are described in docs/outbox.md, since operators look at them. */
#include "core/err.h"
#include "outbox/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sip_outbox_file;

enum { SIP_OUTBOX_SCHEMA = 1, SIP_OUTBOX_APPLICATION = 0x53697042 /* "SipB" */ };

struct sip_outbox_totals {
  uint64_t queued, queued_bytes;
  uint64_t refused, refused_bytes;
  int64_t last_seq;     /* the highest that was given out; 0: none yet */
  int64_t oldest_at_ms; /* of the records queued; 0: there is none */
};

/** Opens the file, or makes it, takes its lock and checks every page. What is wrong is named, and
 * nothing is repaired or moved: SIP_EBUSY another process has it, SIP_EDATA it is damaged or none
 * of ours, or of another version.
 *  @return 0 or a negative code with `err` */
int sip_outbox_file_open(struct sip_outbox_file **out, const char *path, struct sip_err *err);

/** Gives the lock back; an open transaction is rolled back. NULL is fine. */
void sip_outbox_file_close(struct sip_outbox_file *file);

/** 16 hexadecimal digits, made with the file. */
const char *sip_outbox_file_id(const struct sip_outbox_file *file);

const struct sip_outbox_totals *sip_outbox_file_totals(const struct sip_outbox_file *file);

/** Takes note of what another process has changed (`sipeat outbox retry`). @return 0 or a negative
 * code with `err` */
int sip_outbox_file_refresh(struct sip_outbox_file *file, struct sip_err *err);

/** `durable`: the commit is on the disk when it returns; else with the next durable one. @return 0
 * or a negative code with `err` */
int sip_outbox_file_begin(struct sip_outbox_file *file, bool durable, struct sip_err *err);
int sip_outbox_file_commit(struct sip_outbox_file *file, struct sip_err *err);
void sip_outbox_file_rollback(struct sip_outbox_file *file);

/* Between begin and commit; 0 or a negative code with `err`, and then only a rollback follows. */

/** Puts a record at the end and sets its seq. */
int sip_outbox_file_append(struct sip_outbox_file *file, struct sip_outbox_record *record,
                           struct sip_err *err);

/** Takes the records from `first` to `last` out of the queue. */
int sip_outbox_file_remove(struct sip_outbox_file *file, int64_t first, int64_t last,
                           struct sip_err *err);

/** Moves a record out of the queue to the refused ones. One that is gone is no error. */
int sip_outbox_file_refuse(struct sip_outbox_file *file, const struct sip_outbox_record *record,
                           int64_t now_ms, struct sip_err *err);

/** Takes out the oldest records of the queue, until `bytes` have gone or it is empty. @return how
 * many, or a negative code */
int64_t sip_outbox_file_drop(struct sip_outbox_file *file, uint64_t bytes, struct sip_err *err);

/** Writes something, to see whether that works. */
int sip_outbox_file_probe(struct sip_outbox_file *file, struct sip_err *err);

/** Reads records in order, outside of a transaction: those behind `after` up to `upto`, of one
 * topic or (NULL) of all, until there are `max_records` or `max_bytes` (at least one record).
 *  @return how many, or a negative code with `err`, and then `out` is as it was */
int sip_outbox_file_read(struct sip_outbox_file *file, const char *topic, int64_t after,
                         int64_t upto, int max_records, size_t max_bytes, struct sip_list *out,
                         struct sip_err *err);

#endif
