/* layer.c - see layer.h */
#include "sqlite/layer.h"

#define PASS(file, method, ...)                                                                    \
  sip_layer_real(file)->pMethods->method(sip_layer_real(file), __VA_ARGS__)

static int layer_close(sqlite3_file *file)
{
  return sip_layer_real(file)->pMethods->xClose(sip_layer_real(file));
}

static int layer_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
  return PASS(file, xRead, out, len, at);
}

static int layer_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
  return PASS(file, xWrite, bytes, len, at);
}

static int layer_truncate(sqlite3_file *file, sqlite3_int64 size)
{
  return PASS(file, xTruncate, size);
}

static int layer_sync(sqlite3_file *file, int flags)
{
  return PASS(file, xSync, flags);
}

static int layer_size(sqlite3_file *file, sqlite3_int64 *out)
{
  return PASS(file, xFileSize, out);
}

static int layer_lock(sqlite3_file *file, int level)
{
  return PASS(file, xLock, level);
}

static int layer_unlock(sqlite3_file *file, int level)
{
  return PASS(file, xUnlock, level);
}

static int layer_reserved(sqlite3_file *file, int *out)
{
  return PASS(file, xCheckReservedLock, out);
}

static int layer_control(sqlite3_file *file, int op, void *arg)
{
  return PASS(file, xFileControl, op, arg);
}

static int layer_sector(sqlite3_file *file)
{
  return sip_layer_real(file)->pMethods->xSectorSize(sip_layer_real(file));
}

static int layer_traits(sqlite3_file *file)
{
  return sip_layer_real(file)->pMethods->xDeviceCharacteristics(sip_layer_real(file));
}

static int layer_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
  return PASS(file, xShmMap, page, size, extend, out);
}

static int layer_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
  return PASS(file, xShmLock, offset, count, flags);
}

static void layer_shm_barrier(sqlite3_file *file)
{
  sip_layer_real(file)->pMethods->xShmBarrier(sip_layer_real(file));
}

static int layer_shm_unmap(sqlite3_file *file, int deleted)
{
  return PASS(file, xShmUnmap, deleted);
}

const sqlite3_io_methods sip_layer_methods = {
  .iVersion = 2, /* 3 has the memory mapping */
  .xClose = layer_close,
  .xRead = layer_read,
  .xWrite = layer_write,
  .xTruncate = layer_truncate,
  .xSync = layer_sync,
  .xFileSize = layer_size,
  .xLock = layer_lock,
  .xUnlock = layer_unlock,
  .xCheckReservedLock = layer_reserved,
  .xFileControl = layer_control,
  .xSectorSize = layer_sector,
  .xDeviceCharacteristics = layer_traits,
  .xShmMap = layer_shm_map,
  .xShmLock = layer_shm_lock,
  .xShmBarrier = layer_shm_barrier,
  .xShmUnmap = layer_shm_unmap,
};

int sip_layer_open(sqlite3_vfs *below, const char *path, sqlite3_file *file, size_t size,
                   const sqlite3_io_methods *methods, int flags, int *given)
{
  struct sip_layer_file *layer = (struct sip_layer_file *)file;
  int rc;

  layer->real = (sqlite3_file *)((char *)file + size);
  rc = below->xOpen(below, path, layer->real, flags, given);
  /* A failed open is closed only when it has methods. */
  layer->base.pMethods = layer->real->pMethods == NULL ? NULL : methods;
  return rc;
}
