#ifndef SIP_CLI_ENVFILE_H
#define SIP_CLI_ENVFILE_H
/* envfile.h - .env files: NAME=value lines that are merged into the process's environment. Main
 * thread, before any other thread starts (setenv is not safe beside readers). */
#include "core/err.h"

#include <stddef.h>

typedef int (*sip_env_fn)(void *arg, const char *name, const char *value, struct sip_err *err);

/** Parses `text` and calls `fn` for each variable, in order.
 *
 * A line is NAME=value, with or without `export` before it and blanks around the sign; # begins a
 * comment, inside of a line only after a blank. Unquoted values lose the blanks at their ends.
 * 'single quotes' are literal; "double quotes" know \n \r \t \" \\ \$; both may span lines, as PEM
 * keys do. No variable is expanded.
 *
 * @param file  for messages: "<file>:<line>: …"; a message never contains a value
 * @return 0, or SIP_EDATA, or what `fn` gave */
int sip_envfile_parse(const char *file, const char *text, size_t len, sip_env_fn fn, void *arg,
                      struct sip_err *err);

/** Sets every variable of the file that is not set yet. A file that does not exist is fine, one
 * above 1 MiB is not.
 *  @return 1 when the file was there, 0 when not, or a negative code */
int sip_envfile_merge(const char *file, struct sip_err *err);

#endif
