#ifndef SIP_SQLITE_LAYER_H
#define SIP_SQLITE_LAYER_H
/* layer.h - a file of SQLite in front of the real one: passes everything on. Whoever uses it takes
 * a copy of the methods and puts its own in place of some. As SQLite calls them. */
#include <sqlite3.h>
#include <stddef.h>

/* First member of the user's own struct; the real file lies behind that struct. */
struct sip_layer_file {
  sqlite3_file base;
  sqlite3_file *real;
};

/** All of them pass on. No memory mapping: every read goes through xRead. */
extern const sqlite3_io_methods sip_layer_methods;

/** For xOpen: opens the real file. @param size  of the user's struct, which szOsFile counts too */
int sip_layer_open(sqlite3_vfs *below, const char *path, sqlite3_file *file, size_t size,
                   const sqlite3_io_methods *methods, int flags, int *given);

static inline sqlite3_file *sip_layer_real(sqlite3_file *file)
{
  return ((struct sip_layer_file *)file)->real;
}

#endif
