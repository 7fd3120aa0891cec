/* log.c - topics in memory, and the producer that writes to them. Loop thread only. */
#include "memory/log.h"

#include "core/clock.h"
#include "memory/log_state.h"

#include <stdlib.h>
#include <string.h>

/* --- turns --- */

static void log_report(struct sip_memory_log *log)
{
  struct sip_list batch, *node;

  sip_list_init(&batch);
  sip_list_move(&batch, &log->reports); /* what is sent meanwhile is for the next turn */
  while ((node = sip_list_shift(&batch)) != NULL) {
    struct sip_memory_report *report = SIP_CONTAINER(node, struct sip_memory_report, link);

    report->fn(report->arg, 0, 0, report->offset, NULL);
    free(report);
  }
}

static void log_on_idle(uv_idle_t *idle)
{
  struct sip_memory_log *log = idle->data;

  (void)uv_idle_stop(idle); /* always 0; whoever has more to tell wakes it again */
  log_report(log);
  sip_memory_transactors_turn(log);
  sip_memory_sources_turn(log);
}

void sip_memory_log_wake(struct sip_memory_log *log)
{
  (void)uv_idle_start(&log->idle, log_on_idle); /* fails only without a callback */
}

/* --- topics --- */

struct sip_memory_topic *sip_memory_log_topic(struct sip_memory_log *log, const char *name)
{
  struct sip_memory_topic *topic = (struct sip_memory_topic *)sip_memory_log_find(log, name);

  if (topic != NULL) {
    return topic;
  }
  topic = calloc(1, sizeof *topic);
  if (topic != NULL) {
    topic->name = strdup(name);
  }
  if (topic == NULL || topic->name == NULL) {
    free(topic);
    return NULL;
  }
  sip_list_push(&log->topics, &topic->link);
  sip_memory_log_wake(log); /* a source may have waited for it */
  return topic;
}

const struct sip_memory_topic *sip_memory_log_next(const struct sip_memory_log *log,
                                                   const struct sip_memory_topic *topic)
{
  const struct sip_list *node = topic == NULL ? log->topics.next : topic->link.next;

  return node == &log->topics ? NULL : SIP_CONTAINER(node, struct sip_memory_topic, link);
}

const struct sip_memory_topic *sip_memory_log_find(const struct sip_memory_log *log,
                                                   const char *name)
{
  const struct sip_memory_topic *topic = sip_memory_log_next(log, NULL);

  while (topic != NULL && strcmp(topic->name, name) != 0) {
    topic = sip_memory_log_next(log, topic);
  }
  return topic;
}

const char *sip_memory_topic_name(const struct sip_memory_topic *topic)
{
  return topic->name;
}

size_t sip_memory_topic_count(const struct sip_memory_topic *topic)
{
  return topic->count;
}

const struct sip_memory_record *sip_memory_topic_record(const struct sip_memory_topic *topic,
                                                        size_t offset)
{
  return topic->records[offset];
}

int sip_memory_log_create(struct sip_memory_log *log, const char *name, struct sip_err *err)
{
  if (sip_memory_log_topic(log, name) == NULL) {
    return sip_err_set(err, UV_ENOMEM, "topic %s: no memory", name);
  }
  return 0;
}

/* --- writing --- */

/* Copies bytes to `*at`, which goes on behind them. */
static struct sip_slice copy_bytes(char **at, const char *data, size_t len)
{
  struct sip_slice copy = { NULL, 0 };

  if (data != NULL) {
    memcpy(*at, data, len);
    copy = (struct sip_slice){ *at, len };
    *at += len;
  }
  return copy;
}

/* One block with everything in it. */
struct sip_memory_record *sip_memory_record_new(const struct sip_output *output)
{
  size_t bytes = sizeof(struct sip_memory_record) + output->key.len + output->value.len +
                 output->header_count * sizeof(struct sip_header);
  struct sip_memory_record *record;
  char *at;

  for (size_t i = 0; i < output->header_count; i++) {
    bytes += strlen(output->headers[i].name) + 1 + output->headers[i].value.len;
  }
  record = calloc(1, bytes);
  if (record == NULL) {
    return NULL;
  }
  record->timestamp_ms = output->timestamp_ms;
  record->headers = (struct sip_header *)(record + 1);
  record->header_count = output->header_count;
  at = (char *)(record->headers + output->header_count);
  record->key = copy_bytes(&at, output->key.data, output->key.len);
  record->value = copy_bytes(&at, output->value.data, output->value.len);
  for (size_t i = 0; i < output->header_count; i++) {
    const struct sip_header *from = &output->headers[i];

    record->headers[i].name = copy_bytes(&at, from->name, strlen(from->name) + 1).data;
    record->headers[i].value = copy_bytes(&at, from->value.data, from->value.len);
  }
  return record;
}

static int topic_make_room(struct sip_memory_topic *topic)
{
  size_t room = topic->room == 0 ? 16 : topic->room * 2;
  struct sip_memory_record **more;

  if (topic->count < topic->room) {
    return 0;
  }
  more = realloc(topic->records, room * sizeof *more);
  if (more == NULL) {
    return UV_ENOMEM;
  }
  topic->records = more;
  topic->room = room;
  return 0;
}

int sip_memory_log_add(struct sip_memory_log *log, const char *name,
                       struct sip_memory_record *record, int64_t *offset, struct sip_err *err)
{
  struct sip_memory_topic *topic = sip_memory_log_topic(log, name);

  if (log->record_count >= SIP_MEMORY_RECORDS) {
    return sip_err_set(err, SIP_ETOOBIG, "topic %s: the log in memory is full (%d records)", name,
                       SIP_MEMORY_RECORDS);
  }
  if (topic == NULL || topic_make_room(topic) < 0) {
    return sip_err_set(err, UV_ENOMEM, "topic %s: no memory for a record", name);
  }
  *offset = (int64_t)topic->count;
  if (record->timestamp_ms == 0) {
    record->timestamp_ms = sip_clock_wall_ms(log->clock);
  }
  topic->records[topic->count++] = record;
  log->record_count++;
  sip_memory_log_wake(log);
  return 0;
}

int sip_memory_log_append(struct sip_memory_log *log, const struct sip_output *output,
                          int64_t *offset, struct sip_err *err)
{
  struct sip_memory_record *record = sip_memory_record_new(output);
  int rc;

  if (record == NULL) {
    return sip_err_set(err, UV_ENOMEM, "topic %s: no memory for a record", output->topic);
  }
  rc = sip_memory_log_add(log, output->topic, record, offset, err);
  if (rc < 0) {
    free(record);
  }
  return rc;
}

int sip_memory_log_report(struct sip_memory_log *log, sip_report_fn fn, void *arg, int64_t offset)
{
  struct sip_memory_report *report = calloc(1, sizeof *report);

  if (report == NULL) {
    return UV_ENOMEM;
  }
  report->fn = fn;
  report->arg = arg;
  report->offset = offset;
  sip_list_push(&log->reports, &report->link);
  sip_memory_log_wake(log);
  return 0;
}

static int producer_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                         void *arg, struct sip_err *err)
{
  struct sip_memory_log *log = driver;
  int64_t offset = 0;
  int rc = sip_memory_log_append(log, output, &offset, err);

  if (rc == 0 && sip_memory_log_report(log, on_report, arg, offset) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "topic %s: no memory for a report", output->topic);
  }
  return rc;
}

/* --- offsets --- */

struct sip_memory_offset *sip_memory_log_offset(struct sip_memory_log *log, const char *group,
                                                const struct sip_memory_topic *topic)
{
  struct sip_memory_offset *offset;

  for (struct sip_list *node = log->offsets.next; node != &log->offsets; node = node->next) {
    offset = SIP_CONTAINER(node, struct sip_memory_offset, link);
    if (offset->topic == topic && strcmp(offset->group, group) == 0) {
      return offset;
    }
  }
  offset = calloc(1, sizeof *offset);
  if (offset != NULL) {
    offset->group = strdup(group);
  }
  if (offset == NULL || offset->group == NULL) {
    free(offset);
    return NULL;
  }
  offset->topic = topic;
  offset->next = -1;
  sip_list_push(&log->offsets, &offset->link);
  return offset;
}

int64_t sip_memory_log_committed(const struct sip_memory_log *log, const char *group,
                                 const char *topic)
{
  for (struct sip_list *node = log->offsets.next; node != &log->offsets; node = node->next) {
    const struct sip_memory_offset *offset = SIP_CONTAINER(node, struct sip_memory_offset, link);

    if (strcmp(offset->topic->name, topic) == 0 && strcmp(offset->group, group) == 0) {
      return offset->next;
    }
  }
  return -1;
}

/* --- life --- */

int sip_memory_log_new(struct sip_memory_log **out, uv_loop_t *loop, const struct sip_clock *clock,
                       struct sip_err *err)
{
  static const struct sip_producer_ops producer = { .send = producer_send };
  struct sip_memory_log *log = calloc(1, sizeof *log);
  struct sip_outlet outlet = { &producer, log };

  if (log == NULL) {
    return sip_err_set(err, UV_ENOMEM, "no memory for a log of events");
  }
  log->loop = loop;
  log->clock = clock;
  sip_list_init(&log->topics);
  sip_list_init(&log->offsets);
  sip_list_init(&log->reports);
  sip_list_init(&log->sources);
  sip_list_init(&log->transactors);
  (void)uv_idle_init(loop, &log->idle); /* always 0 */
  log->idle.data = log;
  log->port = (struct sip_port){ .source = &sip_memory_source_ops,
                                 .driver = log,
                                 .producer = outlet,
                                 .patient = outlet,
                                 .outbox = outlet,
                                 .transactor = &sip_memory_transactor_ops };
  *out = log;
  return 0;
}

static void topic_free(struct sip_memory_topic *topic)
{
  for (size_t i = 0; i < topic->count; i++) {
    free(topic->records[i]);
  }
  free(topic->records);
  free(topic->name);
  free(topic);
}

static void log_on_close(uv_handle_t *handle)
{
  struct sip_memory_log *log = handle->data;
  struct sip_list *node;

  while ((node = sip_list_shift(&log->reports)) != NULL) {
    free(SIP_CONTAINER(node, struct sip_memory_report, link));
  }
  while ((node = sip_list_shift(&log->offsets)) != NULL) {
    struct sip_memory_offset *offset = SIP_CONTAINER(node, struct sip_memory_offset, link);

    free(offset->group);
    free(offset->metadata);
    free(offset);
  }
  while ((node = sip_list_shift(&log->topics)) != NULL) {
    topic_free(SIP_CONTAINER(node, struct sip_memory_topic, link));
  }
  free(log);
}

void sip_memory_log_free(struct sip_memory_log *log)
{
  if (log != NULL) {
    uv_close((uv_handle_t *)&log->idle, log_on_close);
  }
}

const struct sip_port *sip_memory_log_port(struct sip_memory_log *log)
{
  return &log->port;
}
