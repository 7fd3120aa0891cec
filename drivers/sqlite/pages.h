#ifndef SIP_SQLITE_PAGES_H
#define SIP_SQLITE_PAGES_H
/* pages.h - checksums of the pages of a database file, so that a bit that has changed on the disk
 * is noticed when its page is read. The log (WAL) has checksums of SQLite's own.
 *
 * They lie in the last 8 bytes of each page, which SQLite leaves alone when it is told to reserve
 * them before the file has its first page. A file without that reserve is read unchecked. */

enum {
  SIP_PAGES_BYTES = 4096,
  SIP_PAGES_RESERVE = 8,    /* at the end of each page */
  SIP_PAGES_RESERVE_AT = 20 /* where the header says so ("Database File Format", 1.3) */
};

/** The VFS to open with, which also joins the writes to the log (log_file.h); made at the first
 * call (before there are threads). A page that does not fit its checksum gives SQLITE_IOERR_DATA.
 * @return its name, or NULL without memory */
const char *sip_pages_vfs(void);

#endif
