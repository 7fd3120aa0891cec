#ifndef SIP_OUTBOX_RECORD_H
#define SIP_OUTBOX_RECORD_H
/* record.h - one record of the outbox in memory: a single block with everything that it points at.
 *
 * Headers are kept as bytes: for each, the length of its name (4 bytes, little endian), the name, a
 * NUL, the length of its value (0xffffffff: null) and the value. One owner at a time, any thread.
 */
#include "core/list.h"
#include "flow/port.h"

#include <stdint.h>

enum {
  SIP_OUTBOX_ROW_BYTES = 64,    /* what a record costs beside its own bytes */
  SIP_OUTBOX_MAX_HEADERS = 1024 /* of a record; as the bindings have it */
};

struct sip_outbox_client;

/* Why the broker will never take a record. */
struct sip_outbox_refusal {
  char code[48];
  char message[512];
};

struct sip_outbox_record {
  struct sip_list link; /* in one list at a time */
  int64_t seq;          /* its place in the file; 0 until it is there */
  int64_t at_ms;        /* when it was put in, ms since 1970-01-01 UTC */
  int64_t timestamp_ms; /* the record's own */
  int32_t partition;    /* -1: by the key */
  const char *topic;
  struct sip_slice key, value, headers; /* headers.data NULL: none */
  size_t bytes;                         /* what it counts for against max_bytes */

  struct sip_outbox_client *client; /* borrowed: who put it in, or who forwards it */
  sip_report_fn on_report;          /* of the one who put it in */
  void *arg;
  bool alone;                         /* it was sent, and nothing else of its topic with it */
  bool failed;                        /* it is not in the file */
  struct sip_outbox_refusal *refusal; /* owned; NULL unless it was refused for good */
};

/** A copy of an output, put in at `now_ms`. @return 0, SIP_ETOOBIG or UV_ENOMEM, with `err` */
int sip_outbox_record_new(struct sip_outbox_record **out, const struct sip_output *output,
                          int64_t now_ms, struct sip_err *err);

/** A copy of the given parts; the other fields are 0. NULL when memory is out. */
struct sip_outbox_record *sip_outbox_record_of(const struct sip_slice *topic,
                                               const struct sip_slice *key,
                                               const struct sip_slice *value,
                                               const struct sip_slice *headers);

/** NULL is fine. */
void sip_outbox_record_free(struct sip_outbox_record *record);
void sip_outbox_records_free(struct sip_list *records); /* all, leaving the list empty */

/** The headers as they went in, borrowed from the record. @return how many, or SIP_EDATA when the
 * bytes are none of ours */
int sip_outbox_record_headers(const struct sip_outbox_record *record,
                              struct sip_header headers[SIP_OUTBOX_MAX_HEADERS]);

#endif
