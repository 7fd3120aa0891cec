/* transaction.c - the batch of a flow that runs in transactions. Loop thread only.
 *
 * opening -> open -> committing -> open …
 *             open -> aborting -> replaying -> open …
 * Nothing is started and nothing emitted but in `open`, and in `replaying` by what is emitted
 * again; an emit waits meanwhile, as it does for a full queue. */
#include "flow/transaction.h"

#include "core/log.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  AGAIN_FIRST_MS = 100, /* after an abort; doubled by each one until a commit */
  AGAIN_MOST_MS = 10000
};

enum phase {
  TXN_CLOSED,
  TXN_OPENING,
  TXN_OPEN,
  TXN_COMMITTING,
  TXN_ABORTING,
  TXN_REPLAYING,
  TXN_CLOSING
};

struct sip_transaction {
  struct sip_flow *flow;             /* borrowed: owns this; NULL once abandoned */
  struct sip_transactor *transactor; /* owned by the driver; NULL when closed */
  enum phase phase;
  struct sip_list held, waiting, replays;     /* of events, by `ready` */
  struct sip_event *replaying;                /* borrowed: its task emits again */
  size_t started, unfinished;                 /* of the batch; unfinished: and not held */
  size_t emitted;                             /* outputs of the open transaction */
  bool full;                                  /* the batch has its end */
  bool touched;                               /* partitions may have got on without an event */
  bool broken;                                /* to be aborted */
  bool reopened;                              /* aborting: the next transaction is open */
  uint64_t begun_ms, full_at_ms, again_at_ms; /* loop time; 0: not set */
  unsigned aborts;                            /* since the last commit */
  uint64_t committed, aborted;
};

static const struct sip_transactor_ops *txn_ops(const struct sip_transaction *txn)
{
  return txn->flow->engine->port->transactor;
}

static struct sip_event *event_of(struct sip_list *node)
{
  return SIP_CONTAINER(node, struct sip_event, ready);
}

/* --- the batch --- */

/* Gives the batch its end: what lies before it in its partitions belongs to it. */
static void batch_close(struct sip_transaction *txn)
{
  struct sip_list *all = &txn->flow->events;

  txn->full = true;
  for (struct sip_list *node = all->next; node != all; node = node->next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    if (!event->in_batch && event->partition->phase != SIP_PARTITION_GONE &&
        event->record.offset < event->partition->batch_end) {
      event->in_batch = true;
      txn->unfinished++;
    }
  }
}

static void partitions_reset(struct sip_list *partitions)
{
  for (struct sip_list *node = partitions->next; node != partitions; node = node->next) {
    SIP_CONTAINER(node, struct sip_flow_partition, link)->batch_end = 0;
  }
}

static void batch_reset(struct sip_transaction *txn)
{
  struct sip_flow *flow = txn->flow;

  assert(sip_list_empty(&txn->held) && sip_list_empty(&txn->replays) && txn->unfinished == 0);
  txn->started = txn->emitted = 0;
  txn->full = txn->broken = false;
  txn->begun_ms = txn->full_at_ms = 0;
  partitions_reset(&flow->partitions);
  partitions_reset(&flow->leaving);
  sip_list_move(&txn->waiting, &flow->runnable);
  sip_list_move(&flow->runnable, &txn->waiting);
}

bool sip_transaction_admits(struct sip_event *event)
{
  struct sip_transaction *txn = event->flow->transaction;
  struct sip_flow_partition *partition = event->partition;

  if (txn == NULL || event->in_batch) {
    return true;
  }
  if (txn->full) {
    sip_list_push(&txn->waiting, &event->ready);
    return false;
  }
  event->in_batch = true;
  txn->unfinished++;
  if (event->record.offset >= partition->batch_end) {
    partition->batch_end = event->record.offset + 1;
  }
  if (txn->started++ == 0) {
    txn->begun_ms = sip_flow_now_ms(txn->flow);
    txn->full_at_ms = txn->begun_ms + txn->flow->spec.batch_ms;
    sip_flow_set_timer(txn->flow);
  }
  if (txn->started >= txn->flow->spec.batch_events) {
    batch_close(txn);
  }
  return true;
}

bool sip_transaction_holds(struct sip_event *event)
{
  struct sip_transaction *txn = event->flow->transaction;

  if (txn == NULL) {
    return false;
  }
  if (!event->in_batch || event->partition->phase == SIP_PARTITION_GONE ||
      event->flow->state != SIP_SOURCE_OPEN) {
    sip_event_drop(event); /* nobody commits it: it runs again, here or elsewhere */
    return true;
  }
  event->held = true;
  txn->unfinished--;
  sip_list_push(&txn->held, &event->ready);
  return true;
}

void sip_transaction_forget(struct sip_event *event)
{
  struct sip_transaction *txn = event->flow->transaction;

  if (txn == NULL || !event->in_batch) {
    return;
  }
  txn->unfinished -= !event->held;
  if (txn->phase == TXN_OPEN || txn->phase == TXN_REPLAYING) {
    txn->broken |= event->emitted > 0;
  }
  event->in_batch = event->held = false;
  if (txn->replaying == event) {
    txn->replaying = NULL;
  }
}

/* --- commit --- */

/* Offsets of one list of partitions; @return how many, all of them with `out` NULL */
static size_t batch_offsets(const struct sip_list *partitions, struct sip_next_offset *out)
{
  size_t count = 0;

  for (struct sip_list *node = partitions->next; node != partitions; node = node->next) {
    const struct sip_flow_partition *partition =
      SIP_CONTAINER(node, struct sip_flow_partition, link);
    int64_t end = partition->batch_end, barrier = partition->mark.barrier;

    if (end == 0) {
      continue;
    }
    if (out != NULL) { /* what was dropped, and what lies behind it, comes again */
      out[count].partition = (struct sip_partition){ partition->topic, partition->partition };
      out[count].offset = barrier >= 0 && barrier < end ? barrier : end;
    }
    count++;
  }
  return count;
}

void sip_transaction_touch(struct sip_flow *flow)
{
  flow->transaction->touched = true;
}

/* A batch without events, for partitions that got on without any: what is left of their logs are
 * the markers of transactions, or events that were finished before. */
static void batch_of_touched(struct sip_transaction *txn)
{
  struct sip_flow *flow = txn->flow;
  bool nothing_waits = flow->batch_at == flow->batch_count;

  txn->touched = false;
  for (struct sip_list *node = flow->partitions.next; node != &flow->partitions;
       node = node->next) {
    struct sip_flow_partition *partition = SIP_CONTAINER(node, struct sip_flow_partition, link);

    if (!partition->unstored || partition->events > 0 || partition->mark.barrier >= 0) {
      continue; /* after its events */
    }
    partition->unstored = false;
    if (nothing_waits) { /* otherwise something below the end waits there */
      (void)sip_watermark_reach(&partition->mark, partition->end);
      partition->end = -1;
    }
    if (partition->mark.after > 0) {
      partition->batch_end = partition->mark.after;
      txn->started++;
      txn->full = true;
    }
  }
}

static void txn_commit(struct sip_transaction *txn)
{
  struct sip_flow *flow = txn->flow;
  size_t own = batch_offsets(&flow->partitions, NULL);
  size_t count = own + batch_offsets(&flow->leaving, NULL);
  struct sip_next_offset *offsets = calloc(count + 1, sizeof *offsets);

  if (offsets == NULL) {
    txn->again_at_ms = sip_flow_now_ms(flow) + AGAIN_FIRST_MS;
    return;
  }
  (void)batch_offsets(&flow->partitions, offsets);
  (void)batch_offsets(&flow->leaving, offsets + own);
  txn->phase = TXN_COMMITTING;
  txn_ops(txn)->commit(txn->transactor, flow->source, offsets, count);
  free(offsets);
}

static void txn_on_committed(void *owner)
{
  struct sip_transaction *txn = owner;
  struct sip_list *node;

  txn->committed++;
  txn->aborts = 0;
  while ((node = sip_list_shift(&txn->held)) != NULL) {
    struct sip_event *event = event_of(node);

    event->in_batch = event->held = false;
    sip_event_committed(event);
  }
  batch_reset(txn);
  txn->touched = true;
  txn->phase = TXN_OPEN;
}

/* --- abort --- */

static void txn_abort(struct sip_transaction *txn)
{
  struct sip_flow *flow = txn->flow;
  struct sip_list *next;

  txn->phase = TXN_ABORTING;
  txn->broken = txn->reopened = false;
  txn->aborted++;
  for (struct sip_list *node = txn->replays.next; node != &txn->replays; node = node->next) {
    event_of(node)->emitted = 1; /* in the one before: still to be emitted again */
  }
  if (txn->replaying != NULL) {
    txn->replaying->emitted += txn->replaying->emitted == 0;
  }
  for (struct sip_list *node = flow->events.next; node != &flow->events; node = next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    next = node->next;
    if (event->in_batch && event->emitted > 0 && event->task != NULL) {
      sip_task_kill(event->task); /* ends nothing at once */
    }
  }
  txn->again_at_ms = 0;
  if (txn->aborts > 0) {
    unsigned doublings = txn->aborts < 8 ? txn->aborts : 8;
    uint64_t pause_ms = (uint64_t)AGAIN_FIRST_MS << doublings;

    txn->again_at_ms =
      sip_flow_now_ms(flow) + (pause_ms < AGAIN_MOST_MS ? pause_ms : AGAIN_MOST_MS);
  }
  txn->aborts++;
  txn_ops(txn)->roll_back(txn->transactor);
}

/* Whether nothing of the aborted transaction runs or is on its way. */
static bool txn_is_quiet(const struct sip_transaction *txn)
{
  const struct sip_list *all = &txn->flow->events;

  for (struct sip_list *node = all->next; node != all; node = node->next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    if (event->in_batch && (event->outputs > 0 || (event->emitted > 0 && event->task != NULL))) {
      return false;
    }
  }
  return true;
}

/* Whether the trouble is the event's own: then its script is told, which may give it up. */
static bool is_to_blame(const struct sip_event *event)
{
  return event->trouble == SIP_TROUBLE_CRASH ||
         (event->trouble == SIP_TROUBLE_OUTPUT && event->why != NULL &&
          event->why->code != UV_ECANCELED && event->why->code != UV_ETIMEDOUT);
}

static void replay_prepare(struct sip_transaction *txn, struct sip_event *event)
{
  if (event->held) {
    event->held = false;
    txn->unfinished++;
  }
  sip_list_remove(&event->ready);
  event->is_delayed = false;
  event->emitted = 0;
  event->failed_outputs = 0;
  sip_event_forget_lost(event);
  if (!is_to_blame(event)) {
    free(event->why);
    event->why = NULL;
    event->trouble = SIP_TROUBLE_ABORTED;
  }
  txn->flow->redelivered++;
  sip_list_push(&txn->replays, &event->ready);
}

static void txn_replay(struct sip_transaction *txn)
{
  struct sip_list *all = &txn->flow->events;
  size_t count = 0;

  txn->again_at_ms = 0;
  txn->replaying = NULL;
  txn->emitted = 0;
  txn->begun_ms = sip_flow_now_ms(txn->flow);
  for (struct sip_list *node = all->next; node != all; node = node->next) {
    struct sip_event *event = SIP_CONTAINER(node, struct sip_event, all);

    if (event->in_batch && event->emitted > 0) {
      replay_prepare(txn, event);
      count++;
    }
  }
  txn->phase = TXN_REPLAYING;
  sip_log(SIP_LOG_INFO, "flow", NULL, "%s: a transaction was aborted; %zu events emit again",
          txn->flow->group, count);
}

bool sip_transaction_aborts(struct sip_event *event)
{
  struct sip_transaction *txn = event->flow->transaction;

  if (txn == NULL || event->emitted == 0 || !event->in_batch ||
      event->partition->phase == SIP_PARTITION_GONE || event->flow->state != SIP_SOURCE_OPEN) {
    return false;
  }
  if (event->trouble == SIP_NO_TROUBLE) {
    return txn->phase == TXN_ABORTING;
  }
  if (event->trouble == SIP_TROUBLE_OUTPUT && txn->phase != TXN_ABORTING) {
    sip_log(SIP_LOG_WARN, "flow", NULL, "%s: an output was not written: %s", txn->flow->group,
            event->why == NULL ? "no memory to say why" : event->why->message);
  }
  txn->broken |= txn->phase != TXN_ABORTING;
  return true;
}

/* --- what is due --- */

static bool batch_is_over(const struct sip_transaction *txn)
{
  const struct sip_flow *flow = txn->flow;

  return flow->draining || flow->leave_by_ms != 0 || sip_flow_now_ms(flow) >= txn->full_at_ms;
}

/* A transaction that is open for longer than the log allows ends in an error; with half of that, it
 * is begun anew instead, while what holds it up goes on. */
static uint64_t renew_at_ms(const struct sip_transaction *txn)
{
  return txn->emitted == 0 ? 0 : txn->begun_ms + txn_ops(txn)->limit_ms(txn->transactor) / 2;
}

/* Whether there is anything to commit. */
static bool batch_has_end(const struct sip_transaction *txn)
{
  return batch_offsets(&txn->flow->partitions, NULL) + batch_offsets(&txn->flow->leaving, NULL) > 0;
}

static void look_at_batch(struct sip_transaction *txn)
{
  uint64_t now = sip_flow_now_ms(txn->flow), renew_ms = renew_at_ms(txn);

  if (txn->broken && txn->emitted > 0) {
    txn_abort(txn);
    return;
  }
  txn->broken = false;
  if (txn->phase == TXN_OPEN && txn->started == 0 && txn->touched) {
    batch_of_touched(txn);
  }
  if (txn->phase != TXN_OPEN || txn->started == 0) {
    return;
  }
  if (!txn->full && batch_is_over(txn)) {
    batch_close(txn);
  }
  if (!txn->full || txn->unfinished > 0) {
    if (renew_ms != 0 && now >= renew_ms) {
      txn->aborts = 0; /* no trouble */
      txn_abort(txn);
    }
  } else if (sip_list_empty(&txn->held) && txn->emitted == 0 && !batch_has_end(txn)) {
    batch_reset(txn); /* all of it was dropped */
  } else if (now >= txn->again_at_ms) {
    txn_commit(txn);
  }
}

void sip_transaction_look(struct sip_flow *flow)
{
  struct sip_transaction *txn = flow->transaction;

  if (txn == NULL || flow->state != SIP_SOURCE_OPEN) {
    return;
  }
  if (txn->phase == TXN_OPEN || txn->phase == TXN_REPLAYING) {
    look_at_batch(txn);
  } else if (txn->phase == TXN_ABORTING && txn->reopened && txn_is_quiet(txn) &&
             sip_flow_now_ms(flow) >= txn->again_at_ms) {
    txn_replay(txn);
  }
}

uint64_t sip_transaction_due_ms(const struct sip_flow *flow)
{
  const struct sip_transaction *txn = flow->transaction;
  uint64_t renew_ms;

  if (txn == NULL || txn->transactor == NULL || flow->state != SIP_SOURCE_OPEN) {
    return 0;
  }
  if (txn->phase == TXN_ABORTING) {
    return txn->reopened && txn->again_at_ms > sip_flow_now_ms(flow) ? txn->again_at_ms : 0;
  }
  if ((txn->phase != TXN_OPEN && txn->phase != TXN_REPLAYING) || txn->started == 0) {
    return 0;
  }
  if (txn->broken) {
    return sip_flow_now_ms(flow);
  }
  if (!txn->full) {
    return txn->full_at_ms;
  }
  renew_ms = renew_at_ms(txn);
  return txn->unfinished == 0 ? txn->again_at_ms : renew_ms;
}

bool sip_transaction_pumps(struct sip_flow *flow)
{
  struct sip_transaction *txn = flow->transaction;
  struct sip_list *node;

  if (txn == NULL || txn->phase == TXN_OPEN) {
    return txn == NULL || !txn->broken;
  }
  if (txn->phase != TXN_REPLAYING || txn->broken) {
    return false;
  }
  while (txn->replaying == NULL && (node = sip_list_shift(&txn->replays)) != NULL) {
    struct sip_event *event = event_of(node);

    sip_event_start(event);
    txn->replaying = event->task == NULL ? NULL : event; /* without memory it is started later */
  }
  if (txn->replaying != NULL) {
    return false;
  }
  txn->phase = TXN_OPEN;
  sip_engine_on_room(flow->engine);
  return true;
}

void sip_transaction_on_end(struct sip_event *event)
{
  struct sip_transaction *txn = event->flow->transaction;

  if (txn != NULL && txn->replaying == event) {
    txn->replaying = NULL;
  }
}

/* --- outputs --- */

static int txn_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                    void *arg, struct sip_err *err)
{
  struct sip_transaction *txn = driver;
  struct sip_event *event = ((struct sip_output_slot *)arg)->event;
  int rc;

  if (txn->flow->state != SIP_SOURCE_OPEN || event->partition->phase == SIP_PARTITION_GONE) {
    return sip_err_set(err, UV_ECANCELED, "send to %s: the event's partition is gone",
                       output->topic);
  }
  if (txn->broken ||
      (txn->replaying == event ? txn->phase != TXN_REPLAYING : txn->phase != TXN_OPEN)) {
    return SIP_EQUEUEFULL;
  }
  rc = txn_ops(txn)->send(txn->transactor, output, on_report, arg, err);
  if (rc == 0) {
    txn->emitted++;
  } else if (rc != SIP_EQUEUEFULL && event->emitted > 0) {
    /* Part of its outputs must not stay: all of them, or none. */
    sip_event_remember(event, SIP_TROUBLE_OUTPUT, rc, err->name, err->message);
    txn->broken = true;
    sip_flow_set_timer(txn->flow); /* not from inside of its task */
    rc = SIP_EQUEUEFULL;
  }
  return rc;
}

/* --- opening and closing --- */

static void txn_on_open(void *owner)
{
  struct sip_transaction *txn = owner;

  if (txn->phase == TXN_OPENING) {
    txn->phase = TXN_OPEN;
  } else if (txn->phase == TXN_ABORTING) {
    txn->reopened = true;
    sip_flow_set_timer(txn->flow);
  }
  sip_flow_after_event(txn->flow);
}

static void txn_on_broken(void *owner, const struct sip_err *err)
{
  struct sip_transaction *txn = owner;

  sip_log(SIP_LOG_WARN, "flow", NULL, "%s; the transaction is aborted", err->message);
  if (txn->phase == TXN_COMMITTING) {
    txn->phase = TXN_OPEN;
  }
  if (txn->phase == TXN_OPEN || txn->phase == TXN_REPLAYING) {
    txn_abort(txn);
  }
}

static void txn_on_lost(void *owner, const struct sip_err *err)
{
  struct sip_transaction *txn = owner;
  struct sip_flow *flow = txn->flow;

  (void)snprintf(flow->error, sizeof flow->error, "%s", err->message);
  flow->fenced = flow->fenced || err->code == SIP_EFENCED; /* another process has its name */
  sip_log(SIP_LOG_ERROR, "flow", NULL, "%s; %s", err->message,
          flow->fenced ? "this flow takes nothing until the program is started again"
                       : "joining the group again: what was not committed runs again");
  sip_flow_fail(flow);
}

static void txn_on_closed(void *owner)
{
  struct sip_transaction *txn = owner;

  txn->transactor = NULL;
  txn->phase = TXN_CLOSED;
  if (txn->flow == NULL) {
    free(txn);
    return;
  }
  sip_flow_on_transaction_closed(txn->flow);
}

static int transaction_new(struct sip_flow *flow)
{
  struct sip_transaction *txn = calloc(1, sizeof *txn);

  if (txn == NULL) {
    return UV_ENOMEM;
  }
  txn->flow = flow;
  sip_list_init(&txn->held);
  sip_list_init(&txn->waiting);
  sip_list_init(&txn->replays);
  flow->transaction = txn;
  return 0;
}

void sip_transaction_free(struct sip_flow *flow)
{
  assert(flow->transaction == NULL || flow->transaction->transactor == NULL);
  free(flow->transaction);
  flow->transaction = NULL;
}

int sip_transaction_open(struct sip_flow *flow, struct sip_err *err)
{
  static const struct sip_transactor_sink sink = {
    .on_open = txn_on_open,
    .on_committed = txn_on_committed,
    .on_broken = txn_on_broken,
    .on_lost = txn_on_lost,
    .on_closed = txn_on_closed,
  };
  static const struct sip_producer_ops operations = { .send = txn_send };
  const struct sip_port *port = flow->engine->port;
  struct sip_transaction *txn;
  int rc;

  if (port->transactor == NULL) {
    return sip_err_set(err, UV_ENOTSUP, "flow %s: transactional = true: there are no transactions",
                       flow->group);
  }
  if (flow->transaction == NULL && transaction_new(flow) < 0) {
    return sip_err_set(err, UV_ENOMEM, "flow %s: not enough memory", flow->group);
  }
  txn = flow->transaction;
  rc = port->transactor->open(port->driver, flow->group, &sink, txn, &txn->transactor, err);
  if (rc == 0) {
    batch_reset(txn);
    txn->aborts = 0;
    txn->again_at_ms = 0;
    txn->replaying = NULL;
    txn->phase = TXN_OPENING;
    flow->outlet = (struct sip_outlet){ &operations, txn };
  }
  return rc;
}

void sip_transaction_close(struct sip_flow *flow)
{
  struct sip_transaction *txn = flow->transaction;

  if (txn != NULL && txn->transactor != NULL && txn->phase != TXN_CLOSING) {
    txn->phase = TXN_CLOSING;
    txn_ops(txn)->close(txn->transactor);
  }
}

void sip_transaction_abandon(struct sip_flow *flow)
{
  struct sip_transaction *txn = flow->transaction;

  if (txn != NULL) {
    sip_transaction_close(flow);
    txn->flow = NULL; /* freed when it is closed */
    flow->transaction = NULL;
  }
}

bool sip_transaction_is_open(const struct sip_flow *flow)
{
  return flow->transaction != NULL && flow->transaction->transactor != NULL;
}

void sip_transaction_count(const struct sip_flow *flow, uint64_t *committed, uint64_t *aborted)
{
  *committed = flow->transaction == NULL ? 0 : flow->transaction->committed;
  *aborted = flow->transaction == NULL ? 0 : flow->transaction->aborted;
}
