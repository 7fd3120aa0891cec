/* log_file.c - see log_file.h */
#include "sqlite/log_file.h"

#include <stdlib.h>
#include <string.h>

enum { GATHER_BYTES = 64 << 10 };

static struct sip_log_file *log_of(sqlite3_file *file)
{
  return (struct sip_log_file *)file;
}

/* Writes what was gathered. After a fault it is gone: SQLite takes the transaction back. */
static int log_flush(sqlite3_file *base)
{
  struct sip_log_file *file = log_of(base);
  int len = file->len;

  file->len = 0;
  return len == 0 ? SQLITE_OK : sip_layer_methods.xWrite(base, file->bytes, len, file->at);
}

static int log_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 at)
{
  struct sip_log_file *file = log_of(base);
  int rc = SQLITE_OK;

  if (file->len > 0 && (at != file->at + file->len || len > GATHER_BYTES - file->len)) {
    rc = log_flush(base);
  }
  if (rc == SQLITE_OK && file->bytes == NULL) {
    file->bytes = malloc(GATHER_BYTES);
  }
  if (rc != SQLITE_OK || file->bytes == NULL || len > GATHER_BYTES) {
    return rc != SQLITE_OK ? rc : sip_layer_methods.xWrite(base, bytes, len, at);
  }
  if (file->len == 0) {
    file->at = at;
  }
  memcpy(file->bytes + file->len, bytes, (size_t)len);
  file->len += len;
  return SQLITE_OK;
}

static int log_read(sqlite3_file *base, void *out, int len, sqlite3_int64 at)
{
  int rc = log_flush(base);

  return rc == SQLITE_OK ? sip_layer_methods.xRead(base, out, len, at) : rc;
}

static int log_truncate(sqlite3_file *base, sqlite3_int64 size)
{
  int rc = log_flush(base);

  return rc == SQLITE_OK ? sip_layer_methods.xTruncate(base, size) : rc;
}

static int log_sync(sqlite3_file *base, int flags)
{
  int rc = log_flush(base);

  return rc == SQLITE_OK ? sip_layer_methods.xSync(base, flags) : rc;
}

static int log_size(sqlite3_file *base, sqlite3_int64 *out)
{
  int rc = log_flush(base);

  return rc == SQLITE_OK ? sip_layer_methods.xFileSize(base, out) : rc;
}

/* What is left is of no commit: a sync would have written it. */
static int log_close(sqlite3_file *base)
{
  (void)log_flush(base);
  free(log_of(base)->bytes);
  log_of(base)->bytes = NULL;
  return sip_layer_methods.xClose(base);
}

void sip_log_methods(sqlite3_io_methods *out)
{
  *out = sip_layer_methods;
  out->xClose = log_close;
  out->xRead = log_read;
  out->xWrite = log_write;
  out->xTruncate = log_truncate;
  out->xSync = log_sync;
  out->xFileSize = log_size;
}

void sip_log_init(struct sip_log_file *file)
{
  file->bytes = NULL;
  file->len = 0;
  file->at = 0;
}
