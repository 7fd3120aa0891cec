#ifndef SIP_CORE_SECRET_H
#define SIP_CORE_SECRET_H
/* secret.h - what a setting says, wherever a secret may be kept: the variable NAME itself, a file
 * that NAME_FILE names, or a file NAME among the credentials of systemd ($CREDENTIALS_DIRECTORY).
 *
 * Reads a small local file at once. Any thread that may read the environment. */
#include "core/err.h"

/** The first of the three that is there and not empty; a file's last line ends are not part of it.
 * The caller wipes and frees `*out` with sip_secret_free. Messages hold no content.
 * @return 1, 0: it is not set, or a negative code: a file cannot be read */
int sip_secret_find(const char *name, char **out, struct sip_err *err);

/** Accepts NULL. */
void sip_secret_free(char *text);

#endif
