/* The journal in PostgreSQL: what every store does, and what several hosts on one database do. */
#include "postgres/store.h"

#include "support/journal_world.h"
#include "support/postgres.h"
#include "support/store_suite.h"
#include "support/test.h"

static struct postgres server;

static const char *new_place(void)
{
  return postgres_new_place(&server);
}

static void copy_place(char *out, size_t size)
{
  (void)snprintf(out, size, "%s", new_place());
}

static void two_hosts_share_a_database(void)
{
  char place[300];
  struct world a, b;

  copy_place(place, sizeof place);
  world_open(&a, sip_postgres_store_operations(), place);
  world_open(&b, sip_postgres_store_operations(), place);
  CHECK_INT(a.report.epoch, 1);
  CHECK_INT(b.report.epoch, 2);
  world_say_run(&a, 7, 1, 42, "event-1");
  CHECK_INT(world_write(&a), 0);
  world_say_run(&b, 8, 2, 42, "event-1"); /* accepted before, by the other host */
  world_say(&b, SIP_STATEMENT_RUNS_ORPHANED, "iii", 0LL, 0LL, 10LL);
  world_say(&b, SIP_STATEMENT_RUN_TAKE, "iii", 7LL, 1LL, 2LL); /* its owner is alive */
  world_say_record(&b, 7, 2, 1);
  world_say(&b, SIP_STATEMENT_HOSTS, "");
  CHECK_INT(world_write(&b), 0);
  CHECK_INT(world_changes(&b, 0), 0);
  CHECK_STR(world_rows(&b, 1), "");
  CHECK_INT(world_changes(&b, 2), 0);
  CHECK_INT(world_changes(&b, 3), 0);
  CHECK_INT(b.answer.ops[4].row_count, 2);
  world_close(&a); /* gives its lease back */
  world_say(&b, SIP_STATEMENT_RUNS_ORPHANED, "iii", 0LL, 0LL, 10LL);
  world_say(&b, SIP_STATEMENT_RUN_TAKE, "iii", 7LL, 1LL, 2LL);
  world_say_record(&b, 7, 2, 1);
  CHECK_INT(world_write(&b), 0);
  CHECK_INT(b.answer.ops[0].row_count, 1);
  CHECK_INT(world_changes(&b, 1), 1);
  CHECK_INT(world_changes(&b, 2), 1);
  world_close(&b);
}

/* The product's own tables lie beside the journal's, whatever their names are. */
static void tables_of_the_same_name_are_left_alone(void)
{
  char place[300];
  struct world w;

  copy_place(place, sizeof place);
  (void)postgres_sql(place, "CREATE TABLE run (n int); CREATE TABLE meta (n int)");
  world_open(&w, sip_postgres_store_operations(), place);
  world_say_run(&w, 7, 1, 42, "event-1");
  CHECK_INT(world_write(&w), 0);
  CHECK_INT(world_changes(&w, 0), 1);
  CHECK_INT(postgres_sql(place, "SELECT count(*) FROM public.run"), 0);
  world_close(&w);
}

static void tables_of_another_version(void)
{
  char place[300];
  struct world w;

  copy_place(place, sizeof place);
  world_open(&w, sip_postgres_store_operations(), place);
  world_close(&w);
  (void)postgres_sql(place, "UPDATE sipeat.meta SET value = '99' WHERE key = 'schema'");
  world_refused(sip_postgres_store_operations(), place, "@/test", SIP_EDATA, "version 99");
  CHECK_INT(postgres_sql(place, "SELECT count(*) FROM sipeat.host"), 1); /* and nothing is done */
}

static void servers_that_are_not_there(void)
{
  const struct sip_store_ops *ops = sip_postgres_store_operations();

  world_refused(ops, "postgresql://sipeat:secret@/postgres?host=/nonexistent", "@/postgres",
                SIP_ESQL, "/nonexistent");
  world_refused(ops, "postgresql://sipeat@/postgres?nonsense=1", "@/postgres", SIP_ESQL,
                "nonsense");
}

int main(void)
{
  const struct store_kind kind = { sip_postgres_store_operations(), new_place };

  postgres_start(&server);
  store_suite(&kind);
  two_hosts_share_a_database();
  tables_of_the_same_name_are_left_alone();
  tables_of_another_version();
  servers_that_are_not_there();
  (void)printf("ok\n");
  return 0;
}
