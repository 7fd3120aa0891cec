#ifndef SIP_BIND_PULSE_H
#define SIP_BIND_PULSE_H
/* pulse.h - how late a worker's loop is: a timer that notes by how much it was kept waiting. Loop
 * thread. */
#include "core/err.h"

struct sip_vm;

/** Counts in the state's metrics until stop. @return 0 or a negative code */
int sip_pulse_start(struct sip_vm *vm, struct sip_err *err);

/** Harmless when it does not run. */
void sip_pulse_stop(struct sip_vm *vm);

#endif
