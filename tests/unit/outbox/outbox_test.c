/* outbox_test.c - putting in and forwarding: order, repeats, topics that fail, bounds. */
#include "unit/outbox/world.h"

static struct world w;

static const uint64_t PLENTY = 64 << 20;

/* The values of a topic that reached the broker are `from` … `from + count - 1`, in this order. */
static void check_order(const char *topic, int from, int count)
{
  int next = from;

  for (size_t i = 0; i < w.seen_count; i++) {
    if (strcmp(w.seen[i].topic, topic) == 0) {
      CHECK_INT(atoi(w.seen[i].value), next);
      next++;
    }
  }
  CHECK_INT(next, from + count);
}

static void records_are_forwarded_in_order_with_an_id(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);
  struct sip_outbox_status status;

  w.up = true;
  world_put_many(&w, client, "a", 0, 3000);
  WORLD_UNTIL(&w, w.reported == 3000 && world_status(outbox).queued == 0 &&
                    world_status(outbox).sent == 3000);
  check_order("a", 0, 3000);
  CHECK_INT(w.failed, 0);
  CHECK_INT(w.seen[0].headers, 3);
  CHECK(w.seen[0].timestamp_ms > 1600000000000);
  CHECK_INT(strlen(w.seen[0].id), 18); /* 16 digits, and -1 */
  CHECK_STR(w.seen[0].id + 16, "-1");
  CHECK_STR(w.seen[2999].id + 16, "-3000");
  status = world_status(outbox);
  CHECK_INT(status.put, 3000);
  CHECK_INT(status.queued_bytes, 0);
  CHECK(status.commits < 1000); /* records share commits */
  world_close(&w, outbox, client);
}

static void what_is_not_acknowledged_comes_again_after_a_restart(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);
  char id[48];

  w.up = false;
  world_put_many(&w, client, "a", 0, 100);
  WORLD_UNTIL(&w, w.reported == 100 && w.held_count == 100); /* sent, and not acknowledged */
  memcpy(id, SIP_CONTAINER(w.held.next, struct held, link)->id, sizeof id);
  world_close(&w, outbox, client);
  CHECK_INT(w.seen_count, 0);

  outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  CHECK(sip_outbox_left(outbox));
  client = world_client(&w, outbox);
  w.up = true;
  CHECK_INT(sip_outbox_open(outbox, NULL), 0);
  world_put_many(&w, client, "a", 100, 100);
  WORLD_UNTIL(&w, w.seen_count == 200 && world_status(outbox).queued == 0);
  check_order("a", 0, 200);
  CHECK_STR(w.seen[0].id, id); /* the same record has the same id */
  world_close(&w, outbox, client);
}

static void a_topic_that_fails_waits_in_order_and_holds_nobody_up(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  w.up = true;
  w.missing = "gone";
  for (int i = 0; i < 3000; i++) {
    world_put_many(&w, client, i % 2 == 0 ? "gone" : "there", i / 2, 1);
  }
  WORLD_UNTIL(&w, w.seen_count == 1500 && world_status(outbox).queued == 1500);
  check_order("there", 0, 1500);
  world_put_many(&w, client, "gone", 1500, 500); /* behind those that wait */
  WORLD_UNTIL(&w, w.reported == 3500);
  w.missing = NULL;
  WORLD_UNTIL(&w, world_status(outbox).queued == 0);
  check_order("gone", 0, 2000);
  world_put_many(&w, client, "gone", 2000, 10);
  WORLD_UNTIL(&w, world_status(outbox).put == 3510 && world_status(outbox).queued == 0);
  check_order("gone", 0, 2010);
  world_close(&w, outbox, client);
}

static void a_record_refused_for_good_is_set_aside_and_the_others_go_on(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  w.up = true;
  w.refused = "7";
  w.denied = "9";
  world_put_many(&w, client, "a", 0, 20);
  WORLD_UNTIL(&w, world_status(outbox).refused == 2 && world_status(outbox).queued == 0);
  CHECK_INT(w.seen_count, 18);
  CHECK_INT(world_status(outbox).refusals, 2);
  CHECK(world_status(outbox).refused_bytes > 0);
  world_close(&w, outbox, client);
}

static void a_batch_that_is_too_large_goes_record_by_record(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  w.up = true;
  w.batch_limit = 5;
  w.denied = "4";
  world_put_many(&w, client, "a", 0, 40);
  WORLD_UNTIL(&w, w.seen_count == 39 && world_status(outbox).queued == 0);
  CHECK_INT(world_status(outbox).refused, 1); /* only the one that is itself too large */
  world_close(&w, outbox, client);
}

static void a_full_producer_makes_it_wait(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  w.up = true;
  w.room = 3;
  world_put_many(&w, client, "a", 0, 100);
  WORLD_UNTIL(&w, w.seen_count == 100 && world_status(outbox).queued == 0);
  check_order("a", 0, 100);
  world_close(&w, outbox, client);
}

static void full_is_refused(void)
{
  struct sip_outbox *outbox = world_outbox(&w, 1000, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);
  char large[2000];
  size_t taken = 0;

  while (world_put(&w, client, "a", "value") == 0) {
    taken++;
  }
  CHECK_STR(w.last_name, "OUTBOX_FULL");
  CHECK(taken > 3 && taken < 16);
  WORLD_UNTIL(&w, w.reported == taken);
  CHECK(world_put(&w, client, "a", "value") < 0); /* on the disk as in memory */
  CHECK_INT(world_status(outbox).turned_away, 2);
  memset(large, 'x', sizeof large);
  large[sizeof large - 1] = '\0';
  CHECK(world_put(&w, client, "a", large) < 0);
  CHECK_STR(w.last_name, "MSG_SIZE_TOO_LARGE");
  w.up = true;
  (void)uv_idle_start(&w.answers, world_on_idle);
  WORLD_UNTIL(&w, world_status(outbox).queued == 0);
  CHECK_INT(world_put(&w, client, "a", "value"), 0); /* there is room again */
  WORLD_UNTIL(&w, w.reported == taken + 1);
  world_close(&w, outbox, client);
}

static void full_waits(void)
{
  struct sip_outbox *outbox = world_outbox(&w, 1000, SIP_OUTBOX_WAIT);
  struct sip_outbox_client *client = world_client(&w, outbox);
  int rc;

  while ((rc = world_put(&w, client, "a", "value")) == 0) {
  }
  CHECK_INT(rc, SIP_EQUEUEFULL);
  CHECK_STR(w.last_name, "QUEUE_FULL");
  CHECK_INT(world_status(outbox).turned_away, 0);
  world_close(&w, outbox, client);
}

static void full_drops_the_oldest(void)
{
  struct sip_outbox *outbox = world_outbox(&w, 10000, SIP_OUTBOX_DROP_OLDEST);
  struct sip_outbox_client *client = world_client(&w, outbox);
  struct sip_outbox_status status;

  world_put_many(&w, client, "a", 0, 1000);
  WORLD_UNTIL(&w, w.reported == 1000);
  world_put_many(&w, client, "a", 1000, 1000);
  WORLD_UNTIL(&w, w.reported == 2000);
  status = world_status(outbox);
  CHECK_INT(w.failed, 0);
  CHECK(status.queued_bytes <= 10000 && status.queued > 50);
  CHECK_INT(status.queued + status.dropped, 2000);
  world_close(&w, outbox, client);

  outbox = world_outbox(&w, 10000, SIP_OUTBOX_DROP_OLDEST);
  client = world_client(&w, outbox);
  w.up = true;
  CHECK_INT(sip_outbox_open(outbox, NULL), 0);
  WORLD_UNTIL(&w, w.seen_count == status.queued);
  check_order("a", 2000 - (int)status.queued, (int)status.queued); /* the newest are there */
  world_close(&w, outbox, client);
}

enum { OF_EACH = 300 };

/* What another thread, with a loop of its own, puts in. */
struct second {
  struct sip_outbox *outbox;
  size_t reported, failed;
};

static void second_on_report(void *arg, int status, int32_t partition, int64_t offset,
                             const struct sip_err *err)
{
  struct second *second = arg;

  (void)partition;
  (void)offset;
  (void)err;
  second->reported++;
  second->failed += status < 0;
}

static void second_run(void *arg)
{
  static const struct sip_producer_ops never = { .send = NULL }; /* it is not the one to forward */
  const struct sip_outlet onward = { &never, NULL };
  struct second *second = arg;
  struct sip_outbox_client *client = NULL;
  struct sip_err err = { 0 };
  uv_loop_t loop;

  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_outbox_attach(&client, second->outbox, &loop, &onward, &err), 0);
  for (int i = 0; i < OF_EACH; i++) {
    char value[24];
    const struct sip_output output = { .topic = "second",
                                       .value = { value, (size_t)snprintf(value, 24, "%d", i) },
                                       .partition = -1 };

    CHECK_INT(sip_outbox_operations()->send(client, &output, second_on_report, second, &err), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
  }
  sip_outbox_detach(client);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_INT(uv_loop_close(&loop), 0);
}

static void two_loops_share_one_file(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);
  struct second second = { .outbox = outbox };
  uv_thread_t thread;

  w.up = true;
  CHECK_INT(uv_thread_create(&thread, second_run, &second), 0);
  world_put_many(&w, client, "first", 0, OF_EACH);
  WORLD_UNTIL(&w, w.seen_count == 2 * OF_EACH && world_status(outbox).queued == 0);
  CHECK_INT(uv_thread_join(&thread), 0);
  CHECK_INT(second.reported, OF_EACH);
  CHECK_INT(second.failed + w.failed, 0);
  check_order("first", 0, OF_EACH);
  check_order("second", 0, OF_EACH);
  world_close(&w, outbox, client);
}

static void an_outbox_that_is_never_used_makes_no_file(void)
{
  struct sip_outbox *outbox = world_outbox(&w, PLENTY, SIP_OUTBOX_REFUSE);
  struct sip_outbox_client *client = world_client(&w, outbox);

  CHECK(!sip_outbox_left(outbox));
  world_close(&w, outbox, client);
}

int main(int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*run)(void);
  } tests[] = {
    { "order", records_are_forwarded_in_order_with_an_id },
    { "restart", what_is_not_acknowledged_comes_again_after_a_restart },
    { "aside", a_topic_that_fails_waits_in_order_and_holds_nobody_up },
    { "refused", a_record_refused_for_good_is_set_aside_and_the_others_go_on },
    { "batch", a_batch_that_is_too_large_goes_record_by_record },
    { "room", a_full_producer_makes_it_wait },
    { "full", full_is_refused },
    { "wait", full_waits },
    { "drop", full_drops_the_oldest },
    { "two", two_loops_share_one_file },
    { "unused", an_outbox_that_is_never_used_makes_no_file },
  };

  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    if (argc < 2 || strcmp(argv[1], tests[i].name) == 0) {
      (void)printf("%s\n", tests[i].name);
      world_start(&w);
      tests[i].run();
      world_end(&w);
    }
  }
  return 0;
}
