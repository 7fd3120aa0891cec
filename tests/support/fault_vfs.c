/* fault_vfs.c - see fault_vfs.h. Files are those of the VFS below; what was written to them and not
 * synced is remembered. The writer's thread and the test's take turns under a mutex. */
#include "support/fault_vfs.h"

#include "sqlite/layer.h"
#include "support/test.h"

#include <pthread.h>
#include <sqlite3.h>

enum { FILES = 8, WRITES = 1 << 16, SECTOR = 512, PATH_BYTES = 320 };

/* A file of which a power cut may take something. */
struct image {
  char path[PATH_BYTES];
  char *bytes; /* what is synced */
  size_t len, cap;
};

struct unsynced {
  const struct image *image;
  size_t at, len; /* len 0: the file was cut to `at` */
  char *bytes;
};

struct file {
  struct sip_layer_file layer;
  struct image *image;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs *below;
static sqlite3_io_methods methods;
static struct image images[FILES];
static struct unsynced unsynced[WRITES];
static size_t unsynced_count;
static enum fault fault;
static int fault_at, writes, syncs;
static bool happened, syncs_dropped;

/* The mutex is held from here on. */
static void forget(const struct image *image)
{
  size_t kept = 0;

  for (size_t i = 0; i < unsynced_count; i++) {
    if (unsynced[i].image == image) {
      free(unsynced[i].bytes);
    } else {
      unsynced[kept++] = unsynced[i];
    }
  }
  unsynced_count = kept;
}

static void remember(const struct image *image, const void *bytes, size_t len, size_t at)
{
  struct unsynced *next = &unsynced[unsynced_count++];

  CHECK(unsynced_count < WRITES);
  *next = (struct unsynced){ image, at, len, malloc(len + 1) };
  CHECK(next->bytes != NULL);
  memcpy(next->bytes, bytes, len);
}

static void apply(struct image *image, size_t at, const char *bytes, size_t len)
{
  if (at + len > image->cap) {
    image->cap = 2 * (at + len);
    image->bytes = realloc(image->bytes, image->cap);
    CHECK(image->bytes != NULL);
  }
  if (at + len > image->len) {
    memset(image->bytes + image->len, 0, at + len - image->len);
    image->len = at + len;
  }
  memcpy(image->bytes + at, bytes, len);
}

static void apply_all(struct image *to, const struct unsynced *one)
{
  if (one->len == 0) {
    to->len = one->at < to->len ? one->at : to->len;
  } else {
    apply(to, one->at, one->bytes, one->len);
  }
}

static struct image *image_of(const char *path)
{
  struct image *empty = NULL;

  for (size_t i = 0; i < FILES; i++) {
    if (strcmp(images[i].path, path) == 0) {
      return &images[i];
    }
    empty = images[i].path[0] == '\0' ? &images[i] : empty;
  }
  CHECK(empty != NULL);
  (void)snprintf(empty->path, sizeof empty->path, "%s", path);
  return empty;
}

static void forget_image(struct image *image)
{
  forget(image);
  free(image->bytes);
  *image = (struct image){ .bytes = NULL };
}

static bool fails(enum fault first, enum fault last, int count)
{
  bool now = fault >= first && fault <= last && count == fault_at;

  happened = happened || now;
  return now;
}

/* --- a file --- */

static int file_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
  struct image *image = ((struct file *)file)->image;
  int rc = SQLITE_OK, written = len;

  (void)pthread_mutex_lock(&mutex);
  if (image != NULL && fails(FAULT_FULL, FAULT_WRITE, ++writes)) {
    rc = fault == FAULT_WRITE ? SQLITE_IOERR_WRITE : SQLITE_FULL;
    written = fault == FAULT_SHORT ? len / 2 : 0;
  }
  if (written > 0 && sip_layer_methods.xWrite(file, bytes, written, at) != 0) {
    rc = SQLITE_IOERR_WRITE;
  } else if (written > 0 && image != NULL) {
    remember(image, bytes, (size_t)written, (size_t)at);
  }
  (void)pthread_mutex_unlock(&mutex);
  return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
  struct image *image = ((struct file *)file)->image;

  (void)pthread_mutex_lock(&mutex);
  if (image != NULL) {
    remember(image, "", 0, (size_t)size);
  }
  (void)pthread_mutex_unlock(&mutex);
  return sip_layer_methods.xTruncate(file, size);
}

static int file_sync(sqlite3_file *file, int flags)
{
  struct image *image = ((struct file *)file)->image;
  int rc = SQLITE_OK;

  (void)flags; /* nothing here outlives the machine: no need to wait for the disk */
  (void)pthread_mutex_lock(&mutex);
  if (image != NULL && fails(FAULT_SYNC, FAULT_SYNC, ++syncs)) {
    rc = SQLITE_IOERR_FSYNC;
    forget(image); /* the kernel takes those pages for clean now */
  } else if (image != NULL && !syncs_dropped) {
    for (size_t i = 0; i < unsynced_count; i++) {
      if (unsynced[i].image == image) {
        apply_all(image, &unsynced[i]);
      }
    }
    forget(image);
  }
  (void)pthread_mutex_unlock(&mutex);
  return rc;
}

static int file_traits(sqlite3_file *file)
{
  (void)file;
  return 0; /* promises nothing */
}

/* --- the disk --- */

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *out, int flags, int *given)
{
  struct file *file = (struct file *)out;
  int rc;

  (void)vfs;
  file->image = NULL;
  rc = sip_layer_open(below, path, out, sizeof *file, &methods, flags, given);
  if (rc == SQLITE_OK && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0) {
    (void)pthread_mutex_lock(&mutex);
    file->image = image_of(path);
    (void)pthread_mutex_unlock(&mutex);
  }
  return rc;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
  struct image *image;

  (void)vfs;
  (void)pthread_mutex_lock(&mutex);
  image = image_of(path);
  forget(image);
  image->len = 0;
  (void)pthread_mutex_unlock(&mutex);
  return below->xDelete(below, path, sync);
}

void fault_vfs_install(void)
{
  static sqlite3_vfs vfs;

  below = sqlite3_vfs_find(NULL);
  CHECK(below != NULL);
  methods = sip_layer_methods;
  methods.xWrite = file_write;
  methods.xTruncate = file_truncate;
  methods.xSync = file_sync;
  methods.xDeviceCharacteristics = file_traits;
  vfs = *below;
  vfs.zName = "fault";
  vfs.szOsFile = (int)sizeof(struct file) + below->szOsFile;
  vfs.xOpen = disk_open;
  vfs.xDelete = disk_delete;
  CHECK_INT(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

/* Of a journal that was closed: open ones keep theirs. */
void fault_vfs_forget(const char *place)
{
  size_t len = strlen(place);

  (void)pthread_mutex_lock(&mutex);
  for (size_t i = 0; i < FILES; i++) {
    if (strncmp(images[i].path, place, len) == 0) {
      forget_image(&images[i]);
    }
  }
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_arm(enum fault kind, int at)
{
  (void)pthread_mutex_lock(&mutex);
  fault = kind;
  fault_at = at;
  writes = syncs = 0;
  happened = syncs_dropped = false;
  (void)pthread_mutex_unlock(&mutex);
}

static int read_locked(const int *count)
{
  int value;

  (void)pthread_mutex_lock(&mutex);
  value = *count;
  (void)pthread_mutex_unlock(&mutex);
  return value;
}

bool fault_vfs_happened(void)
{
  bool value;

  (void)pthread_mutex_lock(&mutex);
  value = happened;
  (void)pthread_mutex_unlock(&mutex);
  return value;
}

int fault_vfs_writes(void)
{
  return read_locked(&writes);
}

int fault_vfs_syncs(void)
{
  return read_locked(&syncs);
}

void fault_vfs_drop_syncs(bool yes)
{
  (void)pthread_mutex_lock(&mutex);
  syncs_dropped = yes;
  (void)pthread_mutex_unlock(&mutex);
}

/* Of each write, sector by sector, what the seed lets through. */
static void apply_some(struct image *to, const struct unsynced *one, uint64_t *seed)
{
  for (size_t done = 0; *seed != 0 && (done < one->len || one->len == 0); done += SECTOR) {
    size_t left = one->len - done, len = left < SECTOR ? left : SECTOR;

    *seed ^= *seed << 13; /* xorshift64: never 0 */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    if (*seed % 2 == 1 && one->len > 0) {
      apply(to, one->at + done, one->bytes + done, len);
    } else if (*seed % 2 == 1) {
      apply_all(to, one);
    }
    if (one->len == 0) {
      break;
    }
  }
}

static void cut_file(const char *path, const char *to, uint64_t *seed)
{
  const struct image *image = image_of(path);
  struct image copy = { .len = image->len, .cap = image->len, .bytes = malloc(image->len + 1) };
  FILE *file = fopen(to, "wb");

  CHECK(copy.bytes != NULL && file != NULL);
  if (image->len > 0) {
    memcpy(copy.bytes, image->bytes, image->len);
  }
  for (size_t i = 0; i < unsynced_count; i++) {
    if (unsynced[i].image == image) {
      apply_some(&copy, &unsynced[i], seed);
    }
  }
  CHECK_INT(fwrite(copy.bytes, 1, copy.len, file), copy.len);
  CHECK_INT(fclose(file), 0);
  free(copy.bytes);
}

void fault_vfs_power_cut(const char *place, const char *image, uint64_t seed)
{
  char from[PATH_BYTES], to[PATH_BYTES];

  (void)pthread_mutex_lock(&mutex);
  cut_file(place, image, &seed);
  (void)snprintf(from, sizeof from, "%s-wal", place);
  (void)snprintf(to, sizeof to, "%s-wal", image);
  cut_file(from, to, &seed);
  (void)pthread_mutex_unlock(&mutex);
}
