#ifndef SIP_CLI_PERMISSIONS_H
#define SIP_CLI_PERMISSIONS_H
/* permissions.h - what a script may reach, and what it does. */
#include "cli/settings.h"

/** Loads the script, prints what it uses, and runs nothing. @return an exit code */
int sip_show_permissions(struct sip_settings *settings, const char *file);

#endif
