/* embed.c - look-up of files that are compiled into the binary. */
#include "vm/embed.h"

#include <string.h>

const struct sip_embedded *sip_embedded_find(const char *name)
{
  for (const struct sip_embedded *file = sip_embedded_files; file->name != NULL; file++) {
    if (strcmp(file->name, name) == 0) {
      return file;
    }
  }
  return NULL;
}
