#ifndef SIP_VM_EMBED_H
#define SIP_VM_EMBED_H
/* embed.h - files that are compiled into the binary. Written by embed.cmake; read-only. */
#include <stddef.h>

struct sip_embedded {
  const char *name;   /* module name ("sipeat.discord"), or "assets/<file>" */
  const char *source; /* as it appears in tracebacks: "stdlib/discord.lua" */
  const char *data;   /* NUL-terminated */
  size_t len;
};

extern const struct sip_embedded sip_embedded_files[]; /* ends with a NULL name */

/** The file of that name, or NULL. */
const struct sip_embedded *sip_embedded_find(const char *name);

#endif
