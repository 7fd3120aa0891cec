/* page_cache.c - see page_cache.h. A cache is used by one thread at a time. */
#include "sqlite/page_cache.h"

#include <sqlite3.h>
#include <stddef.h>

/* No page has a number above `highest`, but for one that may have the number `aside`. */
struct cache {
  sqlite3_pcache *real;
  unsigned highest, aside; /* 0: none */
};

/* SQLite's own, which is told of no argument; set once, before there are threads. */
static sqlite3_pcache_methods2 real;

static struct cache *cache_of(sqlite3_pcache *cache)
{
  return (struct cache *)cache;
}

static int cache_init(void *arg)
{
  (void)arg;
  return real.xInit(real.pArg);
}

static void cache_shutdown(void *arg)
{
  (void)arg;
  real.xShutdown(real.pArg);
}

static sqlite3_pcache *cache_create(int page_bytes, int extra_bytes, int purgeable)
{
  struct cache *cache = sqlite3_malloc(sizeof *cache);

  if (cache == NULL) {
    return NULL;
  }
  *cache = (struct cache){ .real = real.xCreate(page_bytes, extra_bytes, purgeable) };
  if (cache->real == NULL) {
    sqlite3_free(cache);
    return NULL;
  }
  return (sqlite3_pcache *)cache;
}

static void cache_destroy(sqlite3_pcache *cache)
{
  real.xDestroy(cache_of(cache)->real);
  sqlite3_free(cache);
}

static void cache_size(sqlite3_pcache *cache, int pages)
{
  real.xCachesize(cache_of(cache)->real, pages);
}

static int cache_count(sqlite3_pcache *cache)
{
  return real.xPagecount(cache_of(cache)->real);
}

static sqlite3_pcache_page *cache_fetch(sqlite3_pcache *base, unsigned key, int create)
{
  struct cache *cache = cache_of(base);

  if (create != 0 && key > cache->highest) {
    cache->highest = key;
  }
  return real.xFetch(cache->real, key, create);
}

static void cache_unpin(sqlite3_pcache *cache, sqlite3_pcache_page *page, int discard)
{
  real.xUnpin(cache_of(cache)->real, page, discard);
}

static void cache_rekey(sqlite3_pcache *base, sqlite3_pcache_page *page, unsigned old_key,
                        unsigned new_key)
{
  struct cache *cache = cache_of(base);

  if (old_key == cache->aside) {
    cache->aside = 0;
  }
  if (new_key > cache->highest && cache->aside == 0) {
    cache->aside = new_key;
  } else if (new_key > cache->highest && new_key != cache->aside) {
    cache->highest = new_key;
  }
  real.xRekey(cache->real, page, old_key, new_key);
}

/* Drops the pages from that number on. */
static void cache_truncate(sqlite3_pcache *base, unsigned from)
{
  struct cache *cache = cache_of(base);

  if (cache->highest >= from || cache->aside >= from) {
    real.xTruncate(cache->real, from);
    cache->highest = cache->highest >= from ? from - 1 : cache->highest;
    cache->aside = cache->aside >= from ? 0 : cache->aside;
  }
}

static void cache_shrink(sqlite3_pcache *cache)
{
  real.xShrink(cache_of(cache)->real);
}

void sip_page_cache_use(void)
{
  static const sqlite3_pcache_methods2 methods = {
    .iVersion = 1,
    .xInit = cache_init,
    .xShutdown = cache_shutdown,
    .xCreate = cache_create,
    .xCachesize = cache_size,
    .xPagecount = cache_count,
    .xFetch = cache_fetch,
    .xUnpin = cache_unpin,
    .xRekey = cache_rekey,
    .xTruncate = cache_truncate,
    .xDestroy = cache_destroy,
    .xShrink = cache_shrink,
  };

  if (real.xInit == NULL && sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &real) == SQLITE_OK) {
    (void)sqlite3_config(SQLITE_CONFIG_PCACHE2, &methods); /* refused: SQLite's own is used */
  }
}
