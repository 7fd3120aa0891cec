/* alloc_test.c - the outbox when SQLite runs out of memory: the n-th of its allocations fails, n =
 * 1, 2, … (with SIPEAT_SOAK all of them, else some), until the whole scenario passes. Every record
 * is reported once, what was reported as safe is there afterwards, and each round ends clean. */
#include "unit/outbox/world.h"

#include <sqlite3.h>
#include <stdatomic.h>

enum { RECORDS = 4 };

static struct world w;
static sqlite3_mem_methods real;
static atomic_int countdown; /* allocations until one fails; 0: none does. The thread counts too */

static bool fails_now(void)
{
  return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

static void *fault_malloc(int size)
{
  return fails_now() ? NULL : real.xMalloc(size);
}

static void *fault_realloc(void *block, int size)
{
  return fails_now() ? NULL : real.xRealloc(block, size);
}

/* One round with the n-th allocation failing. @return whether all of them were made */
static bool round_passes(int n)
{
  struct sip_outbox *outbox;
  struct sip_outbox_client *client;
  size_t taken = 0, safe;
  bool passed;

  world_start(&w);
  outbox = world_outbox(&w, 1 << 20, SIP_OUTBOX_REFUSE);
  client = world_client(&w, outbox);
  atomic_store(&countdown, n);
  (void)sip_outbox_open(outbox, NULL);
  for (int i = 0; i < RECORDS; i++) {
    taken += world_put(&w, client, "a", "value") == 0;
    WORLD_UNTIL(&w, w.reported == taken);
  }
  passed = atomic_exchange(&countdown, 0) > 0;
  CHECK_INT(!passed || w.failed == 0, true);
  safe = taken - w.failed;
  world_close(&w, outbox, client);

  outbox = world_outbox(&w, 1 << 20, SIP_OUTBOX_REFUSE);
  CHECK_INT(sip_outbox_open(outbox, NULL), 0); /* a failure has left nothing half made */
  CHECK(world_status(outbox).queued >= safe);
  sip_outbox_free(outbox);
  world_end(&w);
  return passed;
}

int main(void)
{
  sqlite3_mem_methods faulty;
  int n = 1;

  CHECK_INT(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
  faulty = real;
  faulty.xMalloc = fault_malloc;
  faulty.xRealloc = fault_realloc;
  CHECK_INT(sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty), SQLITE_OK);
  CHECK_INT(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK); /* every one is counted */
  CHECK_INT(sqlite3_initialize(), SQLITE_OK);
  while (!round_passes(n)) {
    n += n < 40 || getenv("SIPEAT_SOAK") != NULL ? 1 : 17; /* a round takes its fsyncs */
    CHECK(n < 20000);
  }
  (void)printf("%d allocations\n", n);
  return 0;
}
