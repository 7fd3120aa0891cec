#ifndef SIP_FLOW_LANE_H
#define SIP_FLOW_LANE_H
/* lane.h - one queue for each key: of a lane only the first member runs, lanes run side by side.
 *
 * A lane exists while it has members. Loop thread. */
#include "core/base.h"
#include "core/list.h"

#include <stdbool.h>

enum { SIP_LANE_BUCKETS = 4096 };

struct sip_lanes {
  struct sip_list *buckets; /* owned: SIP_LANE_BUCKETS heads */
  struct sip_list spare;    /* empty lanes, kept for the next key */
  size_t count;
};

struct sip_lane_member {
  struct sip_list link;
  struct sip_lane *lane; /* borrowed from the lanes; NULL: alone, in no lane */
};

/** @return 0 or UV_ENOMEM */
int sip_lanes_init(struct sip_lanes *lanes);

/** All lanes must be empty. */
void sip_lanes_deinit(struct sip_lanes *lanes);

/** Puts `member` at the end of the lane of (log, key), whose bytes are copied; `log` is
 *  a number for the topic's partition.
 *  @return 1 when it is the first and may run, 0 when it waits, or UV_ENOMEM */
int sip_lane_push(struct sip_lanes *lanes, uint64_t log, const struct sip_slice *key,
                  struct sip_lane_member *member);

/** The key of a member's lane; data NULL when it is in none. Borrowed while it is. */
struct sip_slice sip_lane_key(const struct sip_lane_member *member);

/** How many wait in the lane of this member, which is its first; -1 when it is in none. */
long sip_lane_followers(const struct sip_lane_member *member);

/** Takes a member out, wherever it is. @return the member that became first and may run now, or
 * NULL */
struct sip_lane_member *sip_lane_remove(struct sip_lanes *lanes, struct sip_lane_member *member);

#endif
