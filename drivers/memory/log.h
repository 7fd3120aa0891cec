#ifndef SIP_MEMORY_LOG_H
#define SIP_MEMORY_LOG_H
/* log.h - a log of events in memory, for tests of scripts: topics of one partition, consumer groups
 * of one member, and a producer, behind the port of the flow engine.
 *
 * It waits for nothing: what it has to tell comes in the next turn of the loop, in the order in
 * which it came about. Nothing is forgotten before free. Loop thread only. */
#include "flow/port.h"

#include <uv.h>

struct sip_clock;
struct sip_memory_log;
struct sip_memory_topic;

enum { SIP_MEMORY_RECORDS = 4 << 20 }; /* that a log holds */

/* One that was written; lives as long as the log, and belongs to it. */
struct sip_memory_record {
  int64_t timestamp_ms;
  struct sip_slice key, value;
  struct sip_header *headers;
  size_t header_count;
};

/** `clock` is borrowed until free: what time records get. @return 0 or a negative code */
int sip_memory_log_new(struct sip_memory_log **out, uv_loop_t *loop, const struct sip_clock *clock,
                       struct sip_err *err);

/** Its sources are closed. The memory goes in a later turn of the loop. NULL is fine. */
void sip_memory_log_free(struct sip_memory_log *log);

/** Borrowed until free. */
const struct sip_port *sip_memory_log_port(struct sip_memory_log *log);

/** Writes a record, and makes its topic when it is the first one. @return 0 or a negative code */
int sip_memory_log_append(struct sip_memory_log *log, const struct sip_output *output,
                          int64_t *offset, struct sip_err *err);

/** @return the topic, or NULL */
const struct sip_memory_topic *sip_memory_log_find(const struct sip_memory_log *log,
                                                   const char *name);

/** The one after `topic`, in the order in which they were made; NULL gives the first. */
const struct sip_memory_topic *sip_memory_log_next(const struct sip_memory_log *log,
                                                   const struct sip_memory_topic *topic);
const char *sip_memory_topic_name(const struct sip_memory_topic *topic);
size_t sip_memory_topic_count(const struct sip_memory_topic *topic);

/** `offset` is below count. Borrowed until the log is freed. */
const struct sip_memory_record *sip_memory_topic_record(const struct sip_memory_topic *topic,
                                                        size_t offset);

/** Makes a topic unless it is there. @return 0 or a negative code */
int sip_memory_log_create(struct sip_memory_log *log, const char *name, struct sip_err *err);

/** What a group has committed of a topic, or -1. */
int64_t sip_memory_log_committed(const struct sip_memory_log *log, const char *group,
                                 const char *topic);

#endif
