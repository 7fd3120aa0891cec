#ifndef SIP_KAFKA_TRANSACTION_H
#define SIP_KAFKA_TRANSACTION_H
/* transaction.h - transactional producers, as struct sip_transactor_ops of flow/port.h has them.
 * Loop thread.
 *
 * Each has a transactional.id of its own, which begins with "sipeat-" and the group and ends in a
 * random number: two processes never fence each other. Who may commit is decided by the group: the
 * offsets carry the member's generation (KIP-447). What a process leaves open when it is killed
 * ends after transaction.timeout.ms (20 s unless set), and only until then read_committed readers
 * wait. */
#include "flow/port.h"

/** The operations; the `driver` of `open` is a struct sip_kafka. */
const struct sip_transactor_ops *sip_transactor_operations(void);

#endif
