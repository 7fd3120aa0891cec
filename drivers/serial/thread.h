#ifndef SIP_SERIAL_THREAD_H
#define SIP_SERIAL_THREAD_H
/* thread.h - what lines ask of the serial thread. Inside of the driver only; a loop's thread. */
#include "serial/joint.h"

/** Hands a joint over. @return 0, or a negative code: it is still the caller's */
int sip_thread_join(struct sip_serial *serial, struct sip_joint *joint, struct sip_err *err);

/** Copies the command and takes it to the joint. */
int sip_thread_command(struct sip_serial *serial, struct sip_joint *joint,
                       const struct sip_note *command, struct sip_err *err);

/** The joint is to close and free itself. Cannot fail. */
void sip_thread_part(struct sip_serial *serial, struct sip_joint *joint);

#endif
