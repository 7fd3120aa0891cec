#ifndef SIP_MODULES_H
#define SIP_MODULES_H
/* modules.h - which modules this program has: the one place, beside cli/, that names concrete drivers. Loop thread. */
#include "core/err.h"

struct sip_vm;

/** Provides every module to the state and connects flow to Kafka. @return 0 or a negative code */
int sip_modules_start(struct sip_vm *vm, struct sip_err *err);

/** Stops every driver; call before sip_vm_free. */
void sip_modules_stop(struct sip_vm *vm);

#endif
