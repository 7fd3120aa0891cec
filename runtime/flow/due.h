#ifndef SIP_FLOW_DUE_H
#define SIP_FLOW_DUE_H
/* due.h - records of retry topics, which wait for their time. Loop thread only.
 *
 * A retry topic is named <topic>-retry-<ms>; a header of each record says when it is due. What is
 * not due is held in the order of its partition, without a task. The partition is paused while
 * enough is held, and what is held does not count as taken, so that the other topics flow. */
#include "flow/flow.h"

/** The delay that the name of a retry topic ends with, or 0 when it is none. */
uint64_t sip_due_delay_ms(const char *topic);

/** Holds an event that was just taken until it is due. @return false: it may run now */
bool sip_due_hold(struct sip_event *event);

/** Makes what is due runnable, and takes more where little is held. */
void sip_due_wake(struct sip_flow *flow, uint64_t now_ms);

/** When the next one is due: loop time, or 0 when none is held. */
uint64_t sip_due_next_ms(const struct sip_flow *flow);

/** The event is given up; it need not be held. */
void sip_due_forget(struct sip_event *event);

#endif
