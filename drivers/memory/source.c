/* source.c - a group's member, which has every partition of its topics. Loop thread only. */
#include "memory/log_state.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum { TOPICS = 1024 }; /* of a source */

struct source_partition {
  const struct sip_memory_topic *topic; /* borrowed from the log */
  size_t next;                          /* the record that is taken next */
  bool paused, told_end;
};

struct sip_source {
  struct sip_list link; /* in the log's sources */
  struct sip_memory_log *log;
  struct sip_source_sink sink;
  void *owner;
  char *group;
  char **names; /* without patterns */
  regex_t *patterns;
  size_t name_count, pattern_count;
  enum sip_start_at start_at;
  int64_t start_ms;
  struct source_partition *partitions;
  size_t partition_count;
  bool joined, closing, transactional;
};

const char *sip_memory_source_group(const struct sip_source *source)
{
  return source->group;
}

/* --- which topics --- */

static bool source_wants(const struct sip_source *source, const char *topic)
{
  for (size_t i = 0; i < source->name_count; i++) {
    if (strcmp(source->names[i], topic) == 0) {
      return true;
    }
  }
  for (size_t i = 0; i < source->pattern_count; i++) {
    if (regexec(&source->patterns[i], topic, 0, NULL, 0) == 0) {
      return true;
    }
  }
  return false;
}

static struct source_partition *source_find(const struct sip_source *source, const char *topic)
{
  for (size_t i = 0; i < source->partition_count; i++) {
    if (strcmp(source->partitions[i].topic->name, topic) == 0) {
      return &source->partitions[i];
    }
  }
  return NULL;
}

static size_t source_begin_at(const struct sip_source *source, const struct sip_memory_topic *topic)
{
  size_t at = 0;

  if (source->start_at == SIP_START_END && !source->joined) {
    return topic->count; /* one that is made later is read from its first record */
  }
  if (source->start_at == SIP_START_TIME) {
    while (at < topic->count && topic->records[at]->timestamp_ms < source->start_ms) {
      at++;
    }
  }
  return at;
}

/* @return whether there is memory for it */
static bool source_assign(struct sip_source *source, const struct sip_memory_topic *topic)
{
  struct sip_memory_offset *offset = sip_memory_log_offset(source->log, source->group, topic);
  struct sip_assigned assigned = { { topic->name, 0 }, -1, { NULL, 0 } };
  struct source_partition *more;

  if (offset == NULL || source->partition_count == TOPICS) {
    return false;
  }
  more = realloc(source->partitions, (source->partition_count + 1) * sizeof *more);
  if (more == NULL) {
    return false;
  }
  source->partitions = more;
  more[source->partition_count++] = (struct source_partition){
    .topic = topic,
    .next = offset->next >= 0 ? (size_t)offset->next : source_begin_at(source, topic),
  };
  assigned.next_offset = offset->next;
  if (offset->metadata != NULL) {
    assigned.metadata = (struct sip_slice){ offset->metadata, strlen(offset->metadata) };
  }
  source->sink.on_assigned(source->owner, &assigned, 1);
  return true;
}

static void source_join(struct sip_source *source)
{
  const struct sip_memory_topic *topic = NULL;
  size_t before = source->partition_count;

  while ((topic = sip_memory_log_next(source->log, topic)) != NULL) {
    if (source_wants(source, topic->name) && source_find(source, topic->name) == NULL &&
        !source_assign(source, topic)) {
      struct sip_err err;

      (void)sip_err_set(&err, UV_ENOMEM, "topic %s: no room for it", topic->name);
      source->sink.on_error(source->owner, &err, false);
      break;
    }
  }
  if (!source->joined && before == source->partition_count) {
    source->sink.on_assigned(source->owner, NULL, 0);
  }
  source->joined = true;
}

/* --- telling --- */

static bool source_has_more(const struct sip_source *source)
{
  for (size_t i = 0; i < source->partition_count; i++) {
    const struct source_partition *partition = &source->partitions[i];

    if (!partition->paused && partition->next < partition->topic->count) {
      return true;
    }
  }
  return false;
}

static void source_tell_ends(struct sip_source *source)
{
  for (size_t i = 0; i < source->partition_count; i++) {
    struct source_partition *partition = &source->partitions[i];
    struct sip_partition name = { partition->topic->name, 0 };

    if (!partition->told_end && partition->next == partition->topic->count) {
      partition->told_end = true;
      if (source->sink.on_end != NULL) {
        source->sink.on_end(source->owner, &name, (int64_t)partition->next);
      }
    }
  }
}

static void source_free(struct sip_source *source)
{
  for (size_t i = 0; i < source->name_count; i++) {
    free(source->names[i]);
  }
  for (size_t i = 0; i < source->pattern_count; i++) {
    regfree(&source->patterns[i]);
  }
  free(source->names);
  free(source->patterns);
  free(source->partitions);
  free(source->group);
  free(source);
}

static void source_turn(struct sip_source *source)
{
  if (source->closing) {
    sip_list_remove(&source->link);
    source->sink.on_closed(source->owner);
    source_free(source);
    return;
  }
  source_join(source);
  if (source_has_more(source)) {
    source->sink.on_readable(source->owner);
  }
  source_tell_ends(source);
}

void sip_memory_sources_turn(struct sip_memory_log *log)
{
  struct sip_list *next;

  for (struct sip_list *node = log->sources.next; node != &log->sources; node = next) {
    next = node->next;
    source_turn(SIP_CONTAINER(node, struct sip_source, link));
  }
}

/* --- the port --- */

static int source_copy_topics(struct sip_source *source, const struct sip_source_spec *spec,
                              struct sip_err *err)
{
  source->names = calloc(spec->topic_count + 1, sizeof *source->names);
  source->patterns = calloc(spec->topic_count + 1, sizeof *source->patterns);
  if (source->names == NULL || source->patterns == NULL) {
    return sip_err_set(err, UV_ENOMEM, "flow %s: no memory for its topics", spec->group);
  }
  for (size_t i = 0; i < spec->topic_count; i++) {
    const char *topic = spec->topics[i];

    if (topic[0] == '^') {
      if (regcomp(&source->patterns[source->pattern_count], topic, REG_EXTENDED | REG_NOSUB) != 0) {
        return sip_err_set(err, SIP_ECONFIG, "flow %s: %s is no pattern", spec->group, topic);
      }
      source->pattern_count++;
      continue;
    }
    source->names[source->name_count] = strdup(topic);
    if (source->names[source->name_count++] == NULL ||
        sip_memory_log_topic(source->log, topic) == NULL) {
      return sip_err_set(err, UV_ENOMEM, "flow %s: no memory for its topics", spec->group);
    }
  }
  return 0;
}

static int source_open(void *driver, const struct sip_source_spec *spec,
                       const struct sip_source_sink *sink, void *owner, struct sip_source **out,
                       struct sip_err *err)
{
  struct sip_source *source = calloc(1, sizeof *source);
  int rc;

  if (source == NULL) {
    return sip_err_set(err, UV_ENOMEM, "flow %s: no memory for its source", spec->group);
  }
  source->log = driver;
  source->sink = *sink;
  source->owner = owner;
  source->start_at = spec->start_at;
  source->start_ms = spec->start_ms;
  source->transactional = spec->transactional;
  source->group = strdup(spec->group);
  rc = source->group == NULL ? sip_err_set(err, UV_ENOMEM, "no memory for a group's name")
                             : source_copy_topics(source, spec, err);
  if (rc < 0) {
    source_free(source);
    return rc;
  }
  sip_list_push(&source->log->sources, &source->link);
  sip_memory_log_wake(source->log);
  *out = source;
  return 0;
}

static size_t source_take(struct sip_source *source, struct sip_record *records, size_t max)
{
  size_t count = 0;

  for (size_t i = 0; i < source->partition_count; i++) {
    struct source_partition *partition = &source->partitions[i];

    while (count < max && !partition->paused && partition->next < partition->topic->count) {
      struct sip_memory_record *record = partition->topic->records[partition->next];

      records[count++] = (struct sip_record){ .topic = partition->topic->name,
                                              .offset = (int64_t)partition->next++,
                                              .timestamp_ms = record->timestamp_ms,
                                              .key = record->key,
                                              .value = record->value,
                                              .message = record };
      partition->told_end = false;
    }
  }
  return count;
}

static void source_release(struct sip_record *record)
{
  record->message = NULL; /* the log keeps it */
}

static size_t source_header_count(const struct sip_record *record)
{
  return ((const struct sip_memory_record *)record->message)->header_count;
}

static struct sip_header source_header(const struct sip_record *record, size_t index)
{
  return ((const struct sip_memory_record *)record->message)->headers[index];
}

static void source_set_paused(struct sip_source *source, const struct sip_partition *name,
                              bool paused)
{
  struct source_partition *partition = source_find(source, name->topic);

  if (partition != NULL) {
    partition->paused = paused;
    sip_memory_log_wake(source->log);
  }
}

static void source_pause(struct sip_source *source, const struct sip_partition *partition)
{
  source_set_paused(source, partition, true);
}

static void source_resume(struct sip_source *source, const struct sip_partition *partition)
{
  source_set_paused(source, partition, false);
}

static void source_store(struct sip_source *source, const struct sip_partition *name,
                         int64_t next_offset, const char *metadata)
{
  struct source_partition *partition = source_find(source, name->topic);
  struct sip_memory_offset *offset;

  if (partition == NULL || source->transactional) {
    return;
  }
  offset = sip_memory_log_offset(source->log, source->group, partition->topic);
  if (offset != NULL) { /* was made when the partition was assigned */
    offset->next = next_offset;
    free(offset->metadata);
    offset->metadata = metadata != NULL ? strdup(metadata) : NULL; /* without it: handled again */
  }
}

static void source_commit(struct sip_source *source)
{
  (void)source; /* what is stored counts at once */
}

static int64_t source_end(struct sip_source *source, const struct sip_partition *partition)
{
  (void)source;
  (void)partition;
  return -1; /* nothing is given twice */
}

static void source_give_back(struct sip_source *source)
{
  (void)source; /* nothing is revoked */
}

static void source_close(struct sip_source *source)
{
  source->closing = true;
  sip_memory_log_wake(source->log);
}

const struct sip_source_ops sip_memory_source_ops = {
  .open = source_open,
  .take = source_take,
  .release = source_release,
  .header_count = source_header_count,
  .header = source_header,
  .pause = source_pause,
  .resume = source_resume,
  .store = source_store,
  .commit = source_commit,
  .end = source_end,
  .give_back = source_give_back,
  .close = source_close,
};
