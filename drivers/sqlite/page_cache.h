#ifndef SIP_SQLITE_PAGE_CACHE_H
#define SIP_SQLITE_PAGE_CACHE_H
/* page_cache.h - SQLite's own cache of pages, which is not asked to drop pages that it has not got.
 *
 * When SQLite puts the pages of a tree in order, it gives one of them a number far beyond the end
 * of the file for a moment. Its cache remembers that number as its highest, and so looks through
 * all of its pages for some behind the end of the file with the next commit: a journal with tens of
 * megabytes of pages in memory spends a tenth of its CPU there. */

/** For all databases of the process; refused, and so without effect, once SQLite is in use. Called
 * before there are threads. */
void sip_page_cache_use(void);

#endif
