#ifndef SIP_CLI_DESCRIBE_H
#define SIP_CLI_DESCRIBE_H
/* describe.h - what the option tables say in other forms than --help: words that a shell may
 * complete, and manual pages.
 *
 * A description runs the verbs as a user would, and each table that is met is written instead of
 * being parsed. Main thread: which form is wanted is kept in a global, as getopt's state is. */
#include "cli/cli.h"
#include "cli/options.h"

#include <stdbool.h>

/** `sipeat complete WORD…`: prints "word<TAB>what it is" for each word that may stand in the place
 *  of the last one. Nothing for a value or an operand: the shell then offers files. @return an exit
 *  code */
int sip_describe_words(const char *about, const struct sip_verb *verbs, int argc, char **argv);

/** `sipeat help --man FOLDER`: writes sipeat.1 and a page for each verb there. @return an exit code
 */
int sip_describe_manual(const char *about, const struct sip_verb *verbs, const char *folder);

/** Called by sip_cli_dispatch and sip_options_parse. @return true when a description was wanted: it
 * was written, and the verb is to end with SIP_EXIT_OK */
bool sip_describe_verbs(const char *command, const char *about, const struct sip_verb *list,
                        int argc);
bool sip_describe_usage(const struct sip_usage *usage, const struct sip_option_group *groups,
                        size_t count);

#endif
