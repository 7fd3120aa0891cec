/* pages.c - see pages.h. Files of one connection are used by one thread at a time. */
#include "sqlite/pages.h"

#include "sqlite/log_file.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { HEADER_BYTES = 100 }; /* "Database File Format" of sqlite.org, 1.3 */

static const char NAME[] = "sipeat-pages";

struct pages_file {
  struct sip_layer_file layer;
  bool is_checked; /* its header says that there is room for checksums */
};

/* What SQLite makes room for. */
union any_file {
  struct pages_file pages;
  struct sip_log_file log;
};

/* SQLite keeps a pointer to it for good. */
struct pages_vfs {
  sqlite3_vfs vfs;
  sqlite3_vfs *below;
  sqlite3_io_methods methods, log_methods;
};

/* Two sums that depend on each other, as in SQLite's log: any single bit shows. */
static void checksum(const void *page, unsigned char out[SIP_PAGES_RESERVE])
{
  const unsigned char *at = page, *end = at + SIP_PAGES_BYTES - SIP_PAGES_RESERVE;
  uint32_t sums[2] = { 1, 1 }, words[2];

  for (; at < end; at += sizeof words) {
    memcpy(words, at, sizeof words);
    sums[0] += words[0] + sums[1];
    sums[1] += words[1] + sums[0];
  }
  memcpy(out, sums, sizeof sums);
}

static bool is_page(int len, sqlite3_int64 at)
{
  return len == SIP_PAGES_BYTES && at % SIP_PAGES_BYTES == 0;
}

static void look_at_header(struct pages_file *file, const void *bytes, int len, sqlite3_int64 at)
{
  if (at == 0 && len >= HEADER_BYTES) {
    file->is_checked = ((const unsigned char *)bytes)[SIP_PAGES_RESERVE_AT] == SIP_PAGES_RESERVE;
  }
}

static int pages_read(sqlite3_file *base, void *out, int len, sqlite3_int64 at)
{
  struct pages_file *file = (struct pages_file *)base;
  unsigned char wanted[SIP_PAGES_RESERVE];
  int rc = sip_layer_methods.xRead(base, out, len, at);

  if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) {
    return rc;
  }
  if (rc == SQLITE_OK) {
    look_at_header(file, out, len, at);
  }
  if (file->is_checked && is_page(len, at)) {
    checksum(out, wanted); /* a page that ends early is filled with zeros, and does not fit */
    if (memcmp((char *)out + len - SIP_PAGES_RESERVE, wanted, sizeof wanted) != 0) {
      return SQLITE_IOERR_DATA;
    }
  }
  return rc;
}

static int pages_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 at)
{
  struct pages_file *file = (struct pages_file *)base;
  unsigned char page[SIP_PAGES_BYTES];

  look_at_header(file, bytes, len, at);
  if (file->is_checked && is_page(len, at)) {
    memcpy(page, bytes, sizeof page);
    checksum(page, page + sizeof page - SIP_PAGES_RESERVE);
    bytes = page;
  }
  return sip_layer_methods.xWrite(base, bytes, len, at);
}

static int pages_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *out, int flags, int *given)
{
  struct pages_vfs *pages = (struct pages_vfs *)vfs;
  struct pages_file *file = (struct pages_file *)out;
  bool is_main = (flags & SQLITE_OPEN_MAIN_DB) != 0;

  if ((flags & SQLITE_OPEN_WAL) != 0) {
    sip_log_init((struct sip_log_file *)out);
    return sip_layer_open(pages->below, path, out, sizeof(struct sip_log_file), &pages->log_methods,
                          flags, given);
  }
  file->is_checked = false;
  return sip_layer_open(pages->below, path, out, sizeof *file,
                        is_main ? &pages->methods : &sip_layer_methods, flags, given);
}

const char *sip_pages_vfs(void)
{
  static struct pages_vfs pages;

  if (sqlite3_vfs_find(NAME) != NULL) {
    return NAME;
  }
  pages.below = sqlite3_vfs_find(NULL);
  if (pages.below == NULL) {
    return NULL;
  }
  pages.vfs = *pages.below;
  pages.vfs.zName = NAME;
  pages.vfs.szOsFile = (int)sizeof(union any_file) + pages.below->szOsFile;
  pages.vfs.xOpen = pages_open;
  pages.methods = sip_layer_methods;
  pages.methods.xRead = pages_read;
  pages.methods.xWrite = pages_write;
  sip_log_methods(&pages.log_methods);
  return sqlite3_vfs_register(&pages.vfs, 0) == SQLITE_OK ? NAME : NULL;
}
