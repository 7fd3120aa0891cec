#ifndef SIP_MEMORY_LOG_STATE_H
#define SIP_MEMORY_LOG_STATE_H
/* log_state.h - what the files of this driver share. Loop thread only. */
#include "core/list.h"
#include "memory/log.h"

#include <stdbool.h>

struct sip_memory_topic {
  struct sip_list link; /* in the log's topics */
  char *name;
  struct sip_memory_record **records;
  size_t count, room;
};

/* What a group has committed of a topic; stays when its member leaves. */
struct sip_memory_offset {
  struct sip_list link; /* in the log's offsets */
  char *group;
  const struct sip_memory_topic *topic; /* borrowed from the log */
  int64_t next;
  char *metadata; /* NULL: none */
};

struct sip_memory_report {
  struct sip_list link; /* in the log's reports */
  sip_report_fn fn;
  void *arg;
  int64_t offset;
};

struct sip_memory_log {
  uv_loop_t *loop;               /* borrowed */
  const struct sip_clock *clock; /* borrowed */
  uv_idle_t idle;                /* runs while there is something to tell */
  struct sip_list topics, offsets, reports, sources, transactors;
  size_t record_count;
  struct sip_port port;
};

/** Something is to be told in the next turn. */
void sip_memory_log_wake(struct sip_memory_log *log);

/** The topic, made when it is not there. @return NULL: no memory */
struct sip_memory_topic *sip_memory_log_topic(struct sip_memory_log *log, const char *name);

/** A copy of an output, for sip_memory_log_add. @return NULL: no memory */
struct sip_memory_record *sip_memory_record_new(const struct sip_output *output);

/** Puts a record, which is handed over, at the end of the topic. @return 0, or a negative code: it
 * is the caller's still */
int sip_memory_log_add(struct sip_memory_log *log, const char *topic,
                       struct sip_memory_record *record, int64_t *offset, struct sip_err *err);

/** @return 0, UV_ENOMEM */
int sip_memory_log_report(struct sip_memory_log *log, sip_report_fn fn, void *arg, int64_t offset);

/** A group's offset of a topic, made when it is not there, with -1. @return NULL: no memory */
struct sip_memory_offset *sip_memory_log_offset(struct sip_memory_log *log, const char *group,
                                                const struct sip_memory_topic *topic);

/** What the sources and transactors have to tell; may close them. */
void sip_memory_sources_turn(struct sip_memory_log *log);
void sip_memory_transactors_turn(struct sip_memory_log *log);

/** The group of a source, for offsets that go with a transaction. */
const char *sip_memory_source_group(const struct sip_source *source);

extern const struct sip_source_ops sip_memory_source_ops;
extern const struct sip_transactor_ops sip_memory_transactor_ops;

#endif
