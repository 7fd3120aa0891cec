#ifndef SIP_CLI_RENDEZVOUS_H
#define SIP_CLI_RENDEZVOUS_H
/* rendezvous.h - how `sipeat publish` in another terminal finds the embedded broker of a running
 * `sipeat dev`.
 *
 * Each process with an embedded broker keeps one file in $XDG_RUNTIME_DIR/sipeat, else
 * /tmp/sipeat-UID, which only its user may enter, and holds a lock on it: a file without one was
 * left by a process that died. Main thread. */
#include "core/err.h"

#include <limits.h>

struct sip_rendezvous;

struct sip_rendezvous_note {
  char broker[128]; /* "127.0.0.1:40123" */
  char http[128];   /* "127.0.0.1:3000"; empty when there is no server */
  char script[256]; /* as it was typed; cut when longer */
  long pid;         /* filled by find */
};

/** Leaves the note. @return 0, or a negative code: others will not find this process */
int sip_rendezvous_leave(struct sip_rendezvous **out, const struct sip_rendezvous_note *note,
                         struct sip_err *err);

/** Removes the note. Accepts NULL. */
void sip_rendezvous_remove(struct sip_rendezvous *rendezvous);

/** The newest note of a living process. @return how many there are, 0 when none, or a negative code
 */
int sip_rendezvous_find(struct sip_rendezvous_note *out, struct sip_err *err);

#endif
