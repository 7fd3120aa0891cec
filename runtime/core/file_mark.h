#ifndef SIP_CORE_FILE_MARK_H
#define SIP_CORE_FILE_MARK_H
/* file_mark.h - by what a file is seen to have been saved, without reading it. Any thread. */
#include <stdint.h>
#include <sys/stat.h>

/* All zero: nothing is known of it. */
struct sip_file_mark {
  uint64_t inode, size, mtime_s, mtime_ns;
};

static inline struct sip_file_mark sip_file_mark_of(const struct stat *info)
{
  return (struct sip_file_mark){ .inode = (uint64_t)info->st_ino,
                                 .size = (uint64_t)info->st_size,
                                 .mtime_s = (uint64_t)info->st_mtim.tv_sec,
                                 .mtime_ns = (uint64_t)info->st_mtim.tv_nsec };
}

#endif
