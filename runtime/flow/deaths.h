#ifndef SIP_FLOW_DEATHS_H
#define SIP_FLOW_DEATHS_H
/* deaths.h - recognises the events that ran when a process died.
 *
 * Each worker has a small mapped file in the state directory, in which the place of the event whose
 * slice runs stands: plain stores, which the page cache keeps through kill -9 and through any crash
 * of the process. A file whose owner is gone (its lock is free) and in which a place stands is
 * a death of that event; deaths are counted in the file `suspects` until the event has come to its
 * end. Files are small and local; opening and clearing block for as long. Loop thread. */
#include "core/err.h"
#include "vm/budget.h"

#include <stdbool.h>
#include <stdint.h>

struct sip_deaths;

/** `cluster` tells clusters apart that share the directory, which is made when it is missing.
 * Counts the deaths that it finds, and says so in the log. @return 0 or a negative code */
int sip_deaths_open(struct sip_deaths **out, const char *directory, const char *cluster,
                    struct sip_err *err);

/** A clean end: nothing of this worker is left in the directory. NULL is fine. */
void sip_deaths_close(struct sip_deaths *deaths);

/** Where the budget notes what runs. */
struct sip_mark *sip_deaths_mark(struct sip_deaths *deaths);

/** A number for a partition, to be released; 0 when there are too many: it goes unmarked. */
uint32_t sip_deaths_slot(struct sip_deaths *deaths, const char *group, const char *topic,
                         int32_t partition);
void sip_deaths_release(struct sip_deaths *deaths, uint32_t slot);

/** Whether an event of the partition has deaths. */
bool sip_deaths_any(const struct sip_deaths *deaths, uint32_t slot);

/** @return how many processes died while the event ran */
unsigned sip_deaths_of(const struct sip_deaths *deaths, uint32_t slot, int64_t offset);

/** The event has come to its end: its deaths are forgotten. */
void sip_deaths_clear(struct sip_deaths *deaths, uint32_t slot, int64_t offset);

#endif
