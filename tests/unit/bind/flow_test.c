/* flow_test.c - the flow engine against a fake log of events: order, bounds, commits, revokes,
 * drains, faults. */
#include "flow_fixture.h"

static void order_holds_per_key_and_everything_is_committed(void)
{
  (void)begin(
    HEAD
    "math.randomseed(7)\n"
    "register{ group='g', topics={'events'}, concurrency=16, max_events=50, dispatch=function(r)\n"
    "  assert(r.value == '{}' and r.headers[1][1] == 'h' and r.headers[1][2] == nil)\n"
    "  enter(r) task.sleep(math.random(0, 3) .. 'ms') leave(r) return true end }",
    EVENTS);
  run_until(all_stored);
  CHECK_INT(global("runs"), PARTITIONS * EVENTS);
  CHECK_INT(global("disorder"), 0);
  CHECK(global("most") <= 16 && global("most") > 4);
  CHECK(fake.most_out <= 50);
  end();
}

static int some_run(void)
{
  return global("runs") > 100;
}

static void a_drain_commits_what_finished_and_no_more(void)
{
  (void)begin(HEAD "register{ group='g', topics={'events'}, concurrency=8, dispatch=function(r)\n"
                   "  enter(r) if r.offset == 20 then task.sleep('1h') return false end\n"
                   "  task.sleep('1ms') leave(r) return true end }",
              EVENTS);
  run_until(some_run);
  end();
  for (int p = 0; p < PARTITIONS; p++) {
    CHECK(fake.stored[p] <= 20);
  }
}

static void on_drained(void *arg)
{
  *(bool *)arg = true;
}

static void a_drain_within_its_limit_leaves_nothing_to_repeat(void)
{
  struct sip_engine *engine = begin(
    HEAD
    "math.randomseed(11)\n"
    "register{ group='g', topics={'events'}, concurrency=16, dispatch=function(r, ticket, kept)\n"
    "  kept = kept or r ticket:keep(kept)\n"
    "  enter(kept) task.sleep(kept.key == 'k1' and '9ms' or '1ms') leave(kept) return true end }",
    EVENTS);
  bool drained = false;

  run_until(some_run);
  sip_engine_drain(engine, 60000, on_drained, &drained);
  while (!drained) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  sip_engine_begin(engine);
  CHECK_INT(sip_engine_commit(engine, NULL), UV_ECANCELED); /* of a script that was being loaded */
  CHECK_INT(fake.out, 0);
  CHECK_INT(global("disorder"), 0);
  CHECK(global("runs") < PARTITIONS * EVENTS); /* what lay ahead was dropped */
  CHECK_INT(fake.stored[0] + fake.stored[1] + fake.stored[2] - 30, global("runs"));
  end();
}

static void a_drain_stops_what_a_failing_key_holds(void)
{
  struct sip_engine *engine = begin(
    HEAD
    "register{ group='g', topics={'events'}, concurrency=16, dispatch=function(r, ticket, kept)\n"
    "  kept = kept or r ticket:keep(kept)\n"
    "  if kept.offset == 15 then shared.again = shared.again + 1 return 3600000 end\n"
    "  if kept.key == 'k5' and kept.offset > 15 then shared.disorder = 1 end\n"
    "  enter(kept) task.sleep('1ms') leave(kept) return true end }",
    EVENTS);
  bool drained = false;

  run_until(some_run);
  sip_engine_drain(engine, 60000, on_drained, &drained);
  while (!drained) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  CHECK_INT(global("disorder"), 0);
  CHECK_INT(global("again"), PARTITIONS);
  for (int p = 0; p < PARTITIONS; p++) {
    CHECK_INT(fake.stored[p], 15);
  }
  end();
}

static int revoked_given_back(void)
{
  return fake.given_back > 0;
}

static void a_revoke_waits_for_what_runs_and_stores_it(void)
{
  struct sip_partition partitions[PARTITIONS];

  (void)begin(HEAD "register{ group='g', topics={'events'}, concurrency=8, dispatch=function(r)\n"
                   "  enter(r) task.sleep('20ms') leave(r) return true end }",
              EVENTS);
  run_until(some_run);
  for (int p = 0; p < PARTITIONS; p++) {
    partitions[p] = (struct sip_partition){ "events", p };
  }
  fake.sink->on_revoked(fake.owner, partitions, PARTITIONS, false);
  CHECK_INT(fake.given_back, 0);
  run_until(revoked_given_back);
  CHECK_INT(fake.out, 0);
  CHECK_INT(fake.stored[0] + fake.stored[1] + fake.stored[2] - 30, global("runs"));
  end();
}

static void a_lost_partition_stores_nothing_more(void)
{
  struct sip_partition partitions[PARTITIONS];

  (void)begin(HEAD "register{ group='g', topics={'events'}, concurrency=8, dispatch=function(r)\n"
                   "  enter(r) task.sleep('5ms') leave(r) return true end }",
              EVENTS);
  run_until(some_run);
  for (int p = 0; p < PARTITIONS; p++) {
    partitions[p] = (struct sip_partition){ "events", p };
  }
  fake.sink->on_revoked(fake.owner, partitions, PARTITIONS, true);
  memset(fake.ours, 0, sizeof fake.ours); /* fake_store refuses from here on */
  CHECK_INT(fake.given_back, 0);
  end();
}

static void a_task_that_dies_is_dispatched_again_with_the_reason(void)
{
  (void)begin(
    HEAD "register{ group='g', topics={'events'}, dispatch=function(r, ticket, kept, trouble)\n"
         "  if trouble then shared.again = shared.again + 1\n"
         "    assert(trouble.kind == 'crash' and trouble.message:find('bang', 1, true))\n"
         "    assert(r == nil and kept.offset % 10 == 0)\n"
         "    return true end\n"
         "  shared.runs = shared.runs + 1\n"
         "  if r.offset % 10 == 0 then ticket:keep(r) error('bang') end return true end }",
    50);
  run_until(all_stored);
  CHECK_INT(global("again"), 5 * PARTITIONS);
  CHECK_INT(global("runs"), 50 * PARTITIONS);
  end();
}

static void outputs_hold_the_event_until_they_are_written(void)
{
  (void)begin(
    HEAD "register{ group='g', topics={'events'}, dispatch=function(r, ticket, kept, trouble)\n"
         "  if trouble then shared.again = shared.again + 1\n"
         "    assert(trouble.kind == 'output' and trouble.code == 'NO_LUCK')\n"
         "    assert(trouble.outputs >= 1 and trouble.outputs <= 3)\n"
         "    assert(kept.out == 2)\n"
         "    for n = 1, 2 do if trouble.outputs & 1 << (n - 1) ~= 0 then\n"
         "      assert(ticket:emit('out', nil, 'x', nil, nil, nil, n)) end end\n"
         "    return true end\n"
         "  shared.runs = shared.runs + 1\n"
         "  assert(ticket:emit('out', nil, 'x', { { 'a', 'b' }, { 'n' } }))\n"
         "  assert(ticket:emit('out', 'k', nil))\n"
         "  ticket:keep { out = 2 } return true end }",
    20);
  fake.failing_sends = 3;
  fake.full_sends = 5;
  run_until(all_stored);
  CHECK(global("again") >= 2 && global("again") <= 3);
  CHECK_INT(global("runs"), 20 * PARTITIONS);
  CHECK_INT(fake.sends, 2 * 20 * PARTITIONS + 3); /* only what failed is sent again */
  end();
}

static void a_retry_keeps_its_place_and_no_slot(void)
{
  /* One key of seven fails three times, with more failing events than there are slots. */
  (void)begin(
    HEAD
    "shared.late = 0\n"
    "register{ group='g', topics={'events'}, concurrency=2, dispatch=function(r, ticket, kept)\n"
    "  kept = kept or { r = r, n = 0 } ticket:keep(kept) kept.n = kept.n + 1\n"
    "  if kept.r.key == 'k3' and kept.n < 4 then\n"
    "    if shared.runs > 100 then shared.late = shared.late + 1 end\n"
    "    return 30 end\n"
    "  enter(kept.r) leave(kept.r) return true end }",
    70);
  run_until(all_stored);
  CHECK_INT(global("disorder"), 0);
  CHECK_INT(global("runs"), 70 * PARTITIONS);
  CHECK(global("late") > 0); /* the other keys went on meanwhile */
  end();
}

static void the_end_is_told_after_the_outputs(void)
{
  (void)begin(HEAD
              "shared.told, shared.dead = 0, 0\n"
              "register{ group='g', topics={'events'}, dispatch=function(r, ticket)\n"
              "  shared.runs = shared.runs + 1\n"
              "  assert(ticket:emit('out', nil, 'x')) ticket:keep(r)\n"
              "  return true, r.offset % 4 == 0, r.offset % 2 == 0 end,\n"
              "  finish=function(r) assert(r.offset % 2 == 0) shared.told = shared.told + 1 end }",
              40);
  CHECK_INT(global("told"), 0);
  run_until(all_stored);
  (void)uv_run(&loop, UV_RUN_NOWAIT);
  (void)uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_INT(global("told"), 20 * PARTITIONS);
  end();
}

static void keys_come_from_a_header_or_a_function(void)
{
  (void)begin(
    HEAD "local busy = {}\n"
         "register{ group='g', topics={'events'}, key_header='half', dispatch=function(r)\n"
         "  local key = r.partition .. r.headers[2][2]\n"
         "  if busy[key] then shared.disorder = shared.disorder + 1 end\n"
         "  busy[key] = true task.sleep('1ms') busy[key] = false shared.runs = shared.runs + 1\n"
         "  return true end }",
    30);
  run_until(all_stored);
  CHECK_INT(global("disorder"), 0);
  end();
  (void)begin(
    HEAD
    "local busy = {}\n"
    "register{ group='g', topics={'events'}, key_of=function(r)\n"
    "    if r.offset % 5 == 0 then error('no key') end\n"
    "    return r.headers[2][2], r.offset % 3 == 0 and { r = r } or nil end,\n"
    "  dispatch=function(r, ticket, kept)\n"
    "  assert(kept == nil or r == nil and kept.r.offset % 3 == 0)\n"
    "  r = r or kept.r\n"
    "  local key = r.offset % 5 == 0 and r.partition .. r.key or r.partition .. r.headers[2][2]\n"
    "  if busy[key] then shared.disorder = shared.disorder + 1 end\n"
    "  busy[key] = true task.sleep('1ms') busy[key] = false shared.runs = shared.runs + 1\n"
    "  return true end }",
    30);
  run_until(all_stored);
  CHECK_INT(global("disorder"), 0);
  CHECK_INT(global("runs"), 30 * PARTITIONS);
  end();
}

static void order_by_partition_or_none(void)
{
  static const char *const orders[] = { "partition", "none", "key" };

  for (int i = 0; i < 3; i++) {
    char script[2000];

    (void)snprintf(script, sizeof script,
                   HEAD "register{ group='g', topics={'events'}, order='%s', dispatch=function(r)\n"
                        "  running = running + 1 shared.most = math.max(shared.most, running)\n"
                        "  task.sleep('1ms') running = running - 1 return true end }",
                   orders[i]);
    (void)begin(script, 20);
    fake.keyless = i == 2;
    run_until(all_stored);
    if (i == 0) {
      CHECK_INT(global("most"), PARTITIONS);
    } else { /* no order, or no key: as many as there are slots */
      CHECK_INT(global("most"), 20 * PARTITIONS);
    }
    end();
  }
}

static int all_runs(void)
{
  return global("runs") == 1;
}

static void a_stopped_task_leaves_its_event(void)
{
  struct sip_engine *engine = begin(
    HEAD "register{ group='g', topics={'events'}, order='partition', dispatch=function(r, ticket)\n"
         "  if r.offset == 13 and r.partition == 1 then shared.runs = 1\n"
         "    task.sleep('1h') assert(ticket:stopped()) return false end\n"
         "  assert(not ticket:stopped()) return true end }",
    20);
  struct sip_flow_status status;

  run_until(all_runs);
  CHECK_INT(sip_engine_status(engine, &status, 1), 1);
  CHECK_INT(status.running >= 1, 1);
  CHECK(sip_engine_ready(engine));
  end();
  CHECK_INT(fake.stored[1], 13);
}

static int ten_wait(void)
{
  return fake.pauses >= PARTITIONS;
}

static void a_full_flow_pauses_and_resumes(void)
{
  (void)begin(
    HEAD
    "shared.open = 0\n"
    "register{ group='g', topics={'events'}, concurrency=4, max_events=10, dispatch=function(r)\n"
    "  while shared.open == 0 do task.sleep('5ms') end shared.runs = shared.runs + 1 return true "
    "end }",
    100);
  run_until(ten_wait);
  CHECK(fake.most_out <= 10);
  lua_pushinteger(sip_vm_state(vm), 1);
  lua_setglobal(sip_vm_state(vm), "open");
  run_until(all_stored);
  CHECK_INT(global("runs"), 100 * PARTITIONS);
  end();
}

static int others_stored(void)
{
  return fake.stored[1] == 10 + fake.limit && fake.stored[2] == 10 + fake.limit;
}

static void a_stuck_partition_leaves_room_for_the_others(void)
{
  (void)begin(HEAD "shared.open = 0\n"
                   "register{ group='g', topics={'events'}, order='partition', max_events=40,\n"
                   "concurrency=4, dispatch=function(r)\n"
                   "  while r.partition == 0 and shared.open == 0 do task.sleep('5ms') end\n"
                   "  shared.runs = shared.runs + 1 return true end }",
              200);
  run_until(others_stored);
  CHECK(fake.paused[0]);
  CHECK_INT(fake.paused[1] + fake.paused[2], 0);
  CHECK_INT(global("runs"), 400);
  CHECK(fake.most_out <= 40);
  lua_pushinteger(sip_vm_state(vm), 1);
  lua_setglobal(sip_vm_state(vm), "open");
  run_until(all_stored);
  CHECK_INT(global("runs"), 600);
  end();
}

static int opened_again(void)
{
  return fake.opened == 2;
}

static void a_source_that_cannot_go_on_is_opened_again(void)
{
  struct sip_err err = { 0 };

  (void)begin(HEAD "register{ group='g', topics={'events'}, dispatch=function(r)\n"
                   "  task.sleep('2ms') shared.runs = shared.runs + 1 return true end }",
              EVENTS);
  run_until(some_run);
  (void)sip_err_set(&err, SIP_EKAFKA, "fenced");
  fake.sink->on_error(fake.owner, &err, true);
  CHECK_INT(fake.closed, 0); /* not inside of its callback */
  fake.refuse_open = 1;      /* the first try fails too */
  run_until(opened_again);
  fake.assignments = 0;
  memset(fake.ours, 0, sizeof fake.ours);
  for (int p = 0; p < PARTITIONS; p++) {
    fake.next[p] = fake.stored[p] == 0 ? 0 : fake.stored[p] - 10; /* as the group would have it */
  }
  run_until(all_stored);
  CHECK(global("runs") >= PARTITIONS * EVENTS);
  end();
}

static void a_reload_swaps_the_functions_and_keeps_the_source(void)
{
  struct sip_engine *engine =
    begin(HEAD "shared.other = 0\n"
               "register{ group='g', topics={'events'}, concurrency=4, dispatch=function(r)\n"
               "  task.sleep('1ms') shared.runs = shared.runs + 1 return true end }",
          EVENTS);
  struct sip_err err = { 0 };

  run_until(some_run);
  load(engine,
       "local shared = getmetatable(_ENV).__index\n"
       "require('sipeat.core.flow').register{ group='g', topics={'events'}, dispatch=function(r)\n"
       "  shared.other = shared.other + 1 return true end }");
  CHECK_INT(sip_engine_commit(engine, &err), 0);
  run_until(all_stored);
  CHECK_INT(fake.opened, 1);
  CHECK(global("other") > 0);
  CHECK_INT(global("runs") + global("other"), PARTITIONS * EVENTS);
  end();
}

static int closed_once(void)
{
  return fake.closed == 1;
}

static void a_reload_that_cannot_open_changes_nothing(void)
{
  struct sip_engine *engine =
    begin(HEAD "register{ group='g', topics={'events'}, concurrency=4, dispatch=function(r)\n"
               "  task.sleep('1ms') shared.runs = shared.runs + 1 return true end }",
          EVENTS);
  struct sip_err err = { 0 };

  run_until(some_run);
  fake.refuse_open = 1;
  load(engine,
       "local register = require('sipeat.core.flow').register\n"
       "register{ group='g', topics={'events', 'more'}, dispatch=function() return true end }");
  CHECK_INT(sip_engine_commit(engine, &err), SIP_ECONFIG);
  CHECK_HAS(err.message, "the fake is refused");
  CHECK_INT(sip_engine_pending(engine), 0);
  run_until(all_stored);
  CHECK_INT(global("runs"), PARTITIONS * EVENTS);
  load(engine, "return 1"); /* the flow is gone from the script */
  CHECK_INT(sip_engine_commit(engine, &err), 0);
  run_until(closed_once);
  (void)uv_run(&loop, UV_RUN_NOWAIT); /* its timer closes */
  (void)uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_INT(sip_engine_status(engine, NULL, 0), 0);
  end();
}

/* Random orders of completion, failures, stops and rebalances; the fake checks what the port says.
 */
static void whatever_happens_nothing_is_lost(unsigned seed)
{
  struct sip_partition partitions[PARTITIONS];
  uint64_t deadline = uv_hrtime() + 20000000000u;
  char script[2000];

  (void)snprintf(script, sizeof script,
                 HEAD
                 "math.randomseed(%u)\n"
                 "local seen = {} shared.distinct = 0\n"
                 "register{ group='g', topics={'events'}, concurrency=16, max_events=60,\n"
                 "dispatch=function(r, ticket, kept)\n"
                 "  local dice = math.random(20)\n"
                 "  kept = kept or r ticket:keep(kept)\n"
                 "  local id = kept.partition .. ':' .. kept.offset\n"
                 "  if dice == 1 then return math.random(5) end\n"
                 "  if dice == 2 then ticket:emit('out', nil, 'x') end\n"
                 "  enter(kept) local slept = task.sleep(math.random(0, 3) .. 'ms') leave(kept)\n"
                 "  if slept and not seen[id] then seen[id], shared.distinct = true, "
                 "shared.distinct + 1 end\n"
                 "  return slept or false end }",
                 seed);
  (void)begin(script, 150);
  for (int p = 0; p < PARTITIONS; p++) {
    partitions[p] = (struct sip_partition){ "events", p };
  }
  srand(seed);
  while (!all_stored()) {
    bool lost = rand() % 2 == 0;

    for (int turns = rand() % 60; turns > 0 && !all_stored(); turns--) {
      (void)uv_run(&loop, UV_RUN_ONCE);
    }
    if (uv_hrtime() > deadline) {
      SIP_TEST_FAIL("seed %u: stored %d %d %d", seed, fake.stored[0], fake.stored[1],
                    fake.stored[2]);
    }
    if (fake.ours[0] && rand() % 3 == 0) {
      int before = fake.given_back;

      fake.sink->on_revoked(fake.owner, partitions, PARTITIONS, lost);
      while (!lost && fake.given_back == before) {
        (void)uv_run(&loop, UV_RUN_ONCE);
      }
      memset(fake.ours, 0, sizeof fake.ours);
      fake.assignments = 0; /* and they come back, from what was stored */
      for (int p = 0; p < PARTITIONS; p++) {
        fake.next[p] = fake.stored[p] == 0 ? 0 : fake.stored[p] - 10;
        fake.paused[p] = 0;
      }
    }
  }
  CHECK(fake.most_out <= 60 + 16);
  CHECK_INT(global("distinct"), PARTITIONS * 150); /* what is skipped was handled before */
  end();
}

static int all_released(void)
{
  return fake.taken == PARTITIONS * 30 + 20 && fake.out == 0 && all_stored();
}

static void after_a_rebalance_what_was_taken_is_not_taken_again(void)
{
  (void)begin(HEAD "register{ group='g', topics={'events'}, concurrency=8, dispatch=function(r)\n"
                   "  enter(r) leave(r) return true end }",
              30);
  run_until(all_stored);
  fake.next[1] = 10; /* of a partition that is kept: its source begins at an older offset again */
  fake.sink->on_assigned(fake.owner, NULL, 0);
  run_until(all_released);
  CHECK_INT(global("runs"), PARTITIONS * 30);
  fake.limit = 40;
  run_until(all_stored);
  CHECK_INT(global("runs"), PARTITIONS * 40);
  end();
}

int main(int argc, char **argv)
{
  unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)uv_hrtime();

  sip_log_setup(2, SIP_LOG_AUTO, SIP_LOG_ERROR);
  CHECK_INT(uv_loop_init(&loop), 0);
  order_holds_per_key_and_everything_is_committed();
  a_drain_commits_what_finished_and_no_more();
  a_drain_within_its_limit_leaves_nothing_to_repeat();
  a_drain_stops_what_a_failing_key_holds();
  a_revoke_waits_for_what_runs_and_stores_it();
  a_lost_partition_stores_nothing_more();
  after_a_rebalance_what_was_taken_is_not_taken_again();
  a_task_that_dies_is_dispatched_again_with_the_reason();
  outputs_hold_the_event_until_they_are_written();
  a_retry_keeps_its_place_and_no_slot();
  the_end_is_told_after_the_outputs();
  keys_come_from_a_header_or_a_function();
  order_by_partition_or_none();
  a_stopped_task_leaves_its_event();
  a_full_flow_pauses_and_resumes();
  a_stuck_partition_leaves_room_for_the_others();
  a_source_that_cannot_go_on_is_opened_again();
  a_reload_swaps_the_functions_and_keeps_the_source();
  a_reload_that_cannot_open_changes_nothing();
  (void)printf("seed %u\n", seed);
  for (unsigned i = 0; i < 10; i++) {
    whatever_happens_nothing_is_lost(seed + i);
  }
  SIP_TEST_END(&loop);
  return 0;
}
