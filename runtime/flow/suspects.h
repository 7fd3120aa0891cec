#ifndef SIP_FLOW_SUSPECTS_H
#define SIP_FLOW_SUSPECTS_H
/* suspects.h - the list of events that ran when a process died, as it stands in a file: a line of
 * text for each, so that people can read it and take lines out. Loop thread. */
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIP_SUSPECTS_MAX = 1024, SIP_SUSPECT_NAME = 256 };

struct sip_suspect {
  unsigned deaths;
  int64_t died_at_s; /* the last time; wall clock */
  int64_t offset;
  int32_t partition;
  char cluster[SIP_SUSPECT_NAME], group[SIP_SUSPECT_NAME], topic[SIP_SUSPECT_NAME];
};

struct sip_suspects {
  struct sip_suspect *list; /* owned */
  size_t count;
};

/** Reads the file; one that is missing is empty, lines that do not parse and those older than a
 * week are left out. @return 0 or a negative code */
int sip_suspects_read(struct sip_suspects *suspects, const char *path, struct sip_err *err);
int sip_suspects_write(const struct sip_suspects *suspects, const char *path, struct sip_err *err);
void sip_suspects_deinit(struct sip_suspects *suspects);

/** The entry of that event, or NULL. */
struct sip_suspect *sip_suspects_find(const struct sip_suspects *suspects,
                                      const struct sip_suspect *event);

/** One death more; of too many events the oldest is forgotten. @return 0 or UV_ENOMEM */
int sip_suspects_add(struct sip_suspects *suspects, const struct sip_suspect *event);
void sip_suspects_remove(struct sip_suspects *suspects, struct sip_suspect *entry);

#endif
