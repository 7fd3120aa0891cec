#ifndef SIP_SERIAL_LOCK_H
#define SIP_SERIAL_LOCK_H
/* lock.h - one program at a time on a port: two masters on one bus can double a dispense.
 *
 * A lock file as minicom and others know it (/run/lock/LCK..ttyUSB0) is taken before the port is
 * opened, since opening raises DTR, which resets some boards; flock and TIOCEXCL follow. Any
 * thread. */
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

#define SIP_LOCK_DIRECTORY "/run/lock"

struct sip_lock {
  char path[320]; /* of the lock file; "": none */
};

/** Takes the lock file of the port at `path`. Where the directory cannot be written there is no
 *  lock file, and that is fine. @return 0, or SIP_EBUSY with the holder named */
int sip_lock_take(struct sip_lock *lock, const char *directory, const char *path,
                  struct sip_err *err);

/** Removes the file, if there is one. */
void sip_lock_release(struct sip_lock *lock);

/** flock, and TIOCEXCL too when `exclusive`. @return 0, or SIP_EBUSY with the holder named */
int sip_lock_descriptor(int fd, const char *path, bool exclusive, struct sip_err *err);

/** Who has the port open, or locked: "picocom (process 1234)"; "" when nobody is seen. */
void sip_lock_holder(const char *path, char *text, size_t size);

/** SIP_EBUSY, with the holder. */
int sip_lock_busy(const char *path, struct sip_err *err);

#endif
