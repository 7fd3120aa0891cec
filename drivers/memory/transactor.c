/* transactor.c - a producer whose outputs stand in the log once they are committed. Loop thread
 * only. */
#include "memory/log_state.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 60000 };

struct held_output {
  struct sip_list link; /* in the transactor's outputs */
  struct sip_memory_record *record;
  char topic[];
};

struct sip_transactor {
  struct sip_list link; /* in the log's transactors */
  struct sip_memory_log *log;
  struct sip_transactor_sink sink;
  void *owner;
  struct sip_list outputs;
  bool open, tell_committed, tell_open, tell_lost, closing;
  struct sip_err lost; /* why */
};

static void held_free(struct held_output *held)
{
  if (held != NULL) {
    free(held->record);
    free(held);
  }
}

static void transactor_drop(struct sip_transactor *transactor)
{
  struct sip_list *node;

  while ((node = sip_list_shift(&transactor->outputs)) != NULL) {
    held_free(SIP_CONTAINER(node, struct held_output, link));
  }
}

static struct held_output *held_new(const struct sip_output *output)
{
  size_t bytes = strlen(output->topic) + 1;
  struct held_output *held = calloc(1, sizeof *held + bytes);

  if (held != NULL) {
    memcpy(held->topic, output->topic, bytes);
    held->record = sip_memory_record_new(output);
  }
  if (held != NULL && held->record == NULL) {
    held_free(held);
    held = NULL;
  }
  return held;
}

/* --- the port --- */

static int transactor_open(void *driver, const char *group, const struct sip_transactor_sink *sink,
                           void *owner, struct sip_transactor **out, struct sip_err *err)
{
  struct sip_transactor *transactor = calloc(1, sizeof *transactor);

  if (transactor == NULL) {
    return sip_err_set(err, UV_ENOMEM, "flow %s: no memory for its transactions", group);
  }
  transactor->log = driver;
  transactor->sink = *sink;
  transactor->owner = owner;
  transactor->tell_open = true;
  sip_list_init(&transactor->outputs);
  sip_list_push(&transactor->log->transactors, &transactor->link);
  sip_memory_log_wake(transactor->log);
  *out = transactor;
  return 0;
}

static int transactor_send(struct sip_transactor *transactor, const struct sip_output *output,
                           sip_report_fn on_report, void *arg, struct sip_err *err)
{
  struct held_output *held;

  if (!transactor->open) {
    return SIP_EQUEUEFULL;
  }
  held = held_new(output);
  if (held == NULL || sip_memory_log_report(transactor->log, on_report, arg, 0) < 0) {
    held_free(held);
    return sip_err_set(err, UV_ENOMEM, "topic %s: no memory for a record", output->topic);
  }
  sip_list_push(&transactor->outputs, &held->link);
  return 0;
}

static void transactor_commit(struct sip_transactor *transactor, struct sip_source *source,
                              const struct sip_next_offset *offsets, size_t count)
{
  struct sip_memory_log *log = transactor->log;
  struct sip_list *node;
  int64_t at;

  transactor->open = false;
  transactor->tell_committed = transactor->tell_open = true;
  sip_memory_log_wake(log);
  while ((node = sip_list_shift(&transactor->outputs)) != NULL) {
    struct held_output *held = SIP_CONTAINER(node, struct held_output, link);

    if (transactor->tell_lost ||
        sip_memory_log_add(log, held->topic, held->record, &at, &transactor->lost) < 0) {
      transactor->tell_lost = true;
    } else {
      held->record = NULL; /* handed over */
    }
    held_free(held);
  }
  for (size_t i = 0; i < count; i++) {
    const struct sip_memory_topic *topic =
      sip_memory_log_find(log, offsets[i].partition.topic); /* it came from there */
    struct sip_memory_offset *offset =
      sip_memory_log_offset(log, sip_memory_source_group(source), topic);

    if (offset != NULL) {
      offset->next = offsets[i].offset;
    }
  }
}

static void transactor_roll_back(struct sip_transactor *transactor)
{
  transactor_drop(transactor);
  transactor->open = false;
  transactor->tell_open = true;
  sip_memory_log_wake(transactor->log);
}

static void transactor_close(struct sip_transactor *transactor)
{
  transactor_drop(transactor);
  transactor->open = false;
  transactor->closing = true;
  sip_memory_log_wake(transactor->log);
}

static uint64_t transactor_limit_ms(const struct sip_transactor *transactor)
{
  (void)transactor;
  return LIMIT_MS;
}

static void transactor_turn(struct sip_transactor *transactor)
{
  if (transactor->closing) {
    sip_list_remove(&transactor->link);
    transactor->sink.on_closed(transactor->owner);
    free(transactor);
    return;
  }
  if (transactor->tell_lost) {
    transactor->tell_lost = transactor->tell_committed = transactor->tell_open = false;
    transactor->sink.on_lost(transactor->owner, &transactor->lost);
  }
  if (transactor->tell_committed) {
    transactor->tell_committed = false;
    transactor->sink.on_committed(transactor->owner);
  }
  if (transactor->tell_open && !transactor->closing) {
    transactor->tell_open = false;
    transactor->open = true;
    transactor->sink.on_open(transactor->owner);
  }
}

void sip_memory_transactors_turn(struct sip_memory_log *log)
{
  struct sip_list *next;

  for (struct sip_list *node = log->transactors.next; node != &log->transactors; node = next) {
    next = node->next;
    transactor_turn(SIP_CONTAINER(node, struct sip_transactor, link));
  }
}

const struct sip_transactor_ops sip_memory_transactor_ops = {
  .open = transactor_open,
  .send = transactor_send,
  .commit = transactor_commit,
  .roll_back = transactor_roll_back,
  .close = transactor_close,
  .limit_ms = transactor_limit_ms,
};
