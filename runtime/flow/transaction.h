#ifndef SIP_FLOW_TRANSACTION_H
#define SIP_FLOW_TRANSACTION_H
/* transaction.h - exactly once: a flow whose outputs and offsets leave together. Loop thread only.
 *
 * A batch is what is started while it is open: until `batch_events` were started, or for
 * `batch_ms`. Then it has an end in each partition, and what lies before that end is finished
 * first. An event that is terminal is held; when all are, their offsets are committed with their
 * outputs, and they end. When the transaction has to be aborted, those that have emitted something
 * are dispatched again, in their order and one at a time, before anything else may emit: they emit
 * the same, and their handlers do not run again. Those that are dropped (their partition was taken
 * away) run again from the committed offset, here or elsewhere. */
#include "flow/flow.h"

/** Sets flow->transaction and takes the flow's outputs from now on. @return 0 or a negative code:
 * nothing was opened */
int sip_transaction_open(struct sip_flow *flow, struct sip_err *err);

/** Nothing came through it yet: it closes by itself, and the flow has none. */
void sip_transaction_abandon(struct sip_flow *flow);

/** Frees one that is closed. */
void sip_transaction_free(struct sip_flow *flow);

/* What follows does nothing for a flow without transactions. */

/** Nothing is committed any more; sip_flow_on_transaction_closed follows, if it was open. */
void sip_transaction_close(struct sip_flow *flow);

/** Whether it is open, or still about to close. */
bool sip_transaction_is_open(const struct sip_flow *flow);

void sip_transaction_count(const struct sip_flow *flow, uint64_t *committed, uint64_t *aborted);

/** A partition has got on without an event. */
void sip_transaction_touch(struct sip_flow *flow);

/** Commits, aborts or goes on, whatever is due. */
void sip_transaction_look(struct sip_flow *flow);

/** When that is due by time: loop time, 0 when it is not. */
uint64_t sip_transaction_due_ms(const struct sip_flow *flow);

/* --- for event.c --- */

/** Whether runnable events may be started now. Starts what has to be emitted again. */
bool sip_transaction_pumps(struct sip_flow *flow);

/** Whether this one may be; otherwise it was put aside for the next batch. */
bool sip_transaction_admits(struct sip_event *event);

/** Its task has ended. */
void sip_transaction_on_end(struct sip_event *event);

/** Takes a terminal event over, which ends when its transaction is committed. @return false: there
 * are no transactions */
bool sip_transaction_holds(struct sip_event *event);

/** Whether the event, which neither runs nor has outputs on their way, waits for an abort: it had
 *  emitted something, and is in trouble or was stopped. */
bool sip_transaction_aborts(struct sip_event *event);

/** The event is about to be freed. */
void sip_transaction_forget(struct sip_event *event);

#endif
