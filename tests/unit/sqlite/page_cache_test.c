/* page_cache_test.c - the cache of pages forgets what is behind the end of a file, and only that.
 */
#include "sqlite/page_cache.h"

#include "support/test.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

enum { PAGE_BYTES = 4096, EXTRA_BYTES = 136, FAR = 262145 };

static sqlite3_pcache_methods2 methods;

static sqlite3_pcache *new_cache(void)
{
  sqlite3_pcache *cache = methods.xCreate(PAGE_BYTES, EXTRA_BYTES, 1);

  CHECK(cache != NULL);
  methods.xCachesize(cache, 100);
  return cache;
}

static bool has(sqlite3_pcache *cache, unsigned key)
{
  sqlite3_pcache_page *page = methods.xFetch(cache, key, 0);

  if (page != NULL) {
    methods.xUnpin(cache, page, 0);
  }
  return page != NULL;
}

static void put(sqlite3_pcache *cache, unsigned key)
{
  sqlite3_pcache_page *page = methods.xFetch(cache, key, 2);

  CHECK(page != NULL);
  methods.xUnpin(cache, page, 0);
}

static void rekey(sqlite3_pcache *cache, unsigned from, unsigned to)
{
  sqlite3_pcache_page *page = methods.xFetch(cache, from, 0);

  CHECK(page != NULL);
  methods.xRekey(cache, page, from, to);
  methods.xUnpin(cache, page, 0);
}

static void test_truncate(void)
{
  sqlite3_pcache *cache = new_cache();

  for (unsigned key = 1; key <= 10; key++) {
    put(cache, key);
  }
  methods.xTruncate(cache, 11);
  CHECK_INT(methods.xPagecount(cache), 10);
  methods.xTruncate(cache, 8);
  CHECK_INT(methods.xPagecount(cache), 7);
  CHECK(has(cache, 7) && !has(cache, 8));
  put(cache, 9);
  methods.xTruncate(cache, 9);
  CHECK(!has(cache, 9) && has(cache, 7));
  methods.xDestroy(cache);
}

/* As SQLite swaps two pages. */
static void test_swap(void)
{
  sqlite3_pcache *cache = new_cache();

  for (unsigned key = 1; key <= 4; key++) {
    put(cache, key);
  }
  rekey(cache, 2, FAR);
  rekey(cache, 4, 2);
  rekey(cache, FAR, 4);
  methods.xTruncate(cache, 5);
  CHECK_INT(methods.xPagecount(cache), 4);
  rekey(cache, 3, FAR); /* it stays there */
  methods.xTruncate(cache, 5);
  CHECK(!has(cache, FAR));
  CHECK_INT(methods.xPagecount(cache), 3);
  rekey(cache, 1, FAR);
  rekey(cache, 2, FAR + 1);
  methods.xTruncate(cache, 5);
  CHECK(!has(cache, FAR) && !has(cache, FAR + 1) && has(cache, 4));
  methods.xDestroy(cache);
}

static void exec(sqlite3 *db, const char *text)
{
  CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

static int64_t ask(sqlite3 *db, const char *text)
{
  sqlite3_stmt *statement = NULL;
  int64_t value;

  CHECK_INT(sqlite3_prepare_v2(db, text, -1, &statement, NULL), SQLITE_OK);
  CHECK_INT(sqlite3_step(statement), SQLITE_ROW);
  value = sqlite3_column_int64(statement, 0);
  CHECK_INT(sqlite3_finalize(statement), SQLITE_OK);
  return value;
}

/* Trees that are put in order, transactions that are taken back, and a file that shrinks. */
static void test_database(void)
{
  sqlite3 *db = NULL;

  CHECK_INT(sqlite3_open(":memory:", &db), SQLITE_OK);
  exec(db, "PRAGMA auto_vacuum = FULL; CREATE TABLE t (k BLOB PRIMARY KEY, v) WITHOUT ROWID");
  for (int round = 0; round < 20; round++) {
    exec(db, "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
             " INSERT INTO t SELECT randomblob(12), zeroblob(200) FROM n");
    exec(db, round % 3 == 2 ? "ROLLBACK" : "COMMIT");
    if (round % 5 == 4) {
      exec(db, "DELETE FROM t WHERE k IN (SELECT k FROM t LIMIT 4000)");
    }
    CHECK_INT(ask(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
              1);
  }
  CHECK_INT(ask(db, "SELECT count(*) FROM t"), 14 * 2000 - 4 * 4000);
  CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

int main(void)
{
  sip_page_cache_use();
  CHECK_INT(sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &methods), SQLITE_OK);
  CHECK_INT(sqlite3_initialize(), SQLITE_OK);
  test_truncate();
  test_swap();
  test_database();
  return 0;
}
