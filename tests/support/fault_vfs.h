#ifndef SIP_TEST_FAULT_VFS_H
#define SIP_TEST_FAULT_VFS_H
/* fault_vfs.h - a disk below SQLite that fails when it is told to, and that knows what a power cut
 * would leave of each file: what was synced, and of the rest anything or nothing. */
#include <stdbool.h>
#include <stdint.h>

enum fault {
  FAULT_NONE,
  FAULT_FULL,  /* at a write: no room */
  FAULT_SHORT, /* at a write: half of it is written, then there is no room */
  FAULT_WRITE, /* at a write: EIO */
  FAULT_SYNC   /* at a sync: EIO, and what was to be synced is not */
};

/** Becomes SQLite's default. */
void fault_vfs_install(void);

/** Fails once: at the `at`-th write or sync from now, counted from 1. */
void fault_vfs_arm(enum fault fault, int at);

/** Whether the fault has happened; writes and syncs since fault_vfs_arm. */
bool fault_vfs_happened(void);
int fault_vfs_writes(void);
int fault_vfs_syncs(void);

/** From now on syncs do nothing, and say that all is well. */
void fault_vfs_drop_syncs(bool yes);

/** What a power cut would leave now of the journal at `place`, as a journal at `image`. Each sector
 *  that was not synced is there or not, as the seed has it; with 0 none is. */
void fault_vfs_power_cut(const char *place, const char *image, uint64_t seed);

/** For when the journal at `place` is closed: its files are looked at no more. */
void fault_vfs_forget(const char *place);

#endif
