/* transaction_test.c - flows in transactions against a fake log: what is committed is there once,
 * in order, and together with its offsets, whatever is refused, aborted, taken away or lost.
 *
 * The fake keeps the outputs of the open transaction apart until it is committed, and checks what
 * the port promises: nothing is sent or committed while none is open, nothing is committed before
 * every report has come, and the offsets go on from those that were committed before. */
#include "flow_fixture.h"

enum { COMMITTED_MAX = 4 * PARTITIONS * EVENTS };

struct fake_transactor {
  const struct sip_transactor_sink *sink;
  void *owner;
  uv_timer_t *timer;
  enum { NOTHING, OPENING, COMMITTING, ROLLING_BACK, CLOSING } doing;
  bool open;
  int pending;                              /* outputs without a report */
  int outputs[COMMITTED_MAX], output_count; /* of the open transaction: partition and offset */
  int committed[COMMITTED_MAX], committed_count;
  int64_t offsets[PARTITIONS], next_offsets[PARTITIONS]; /* committed; to be */
  int commits, roll_backs, opened, closed;
  int break_commits, lose_commits; /* so many of the next ones end like that */
  int refuse; /* the output of this offset, in its next transactions, so often */
  int refusals;
  uint64_t limit_ms;
};

static struct fake_transactor txn;

static int at(int partition, int offset)
{
  return partition * 100000 + offset;
}

static void txn_on_timer_close(uv_handle_t *handle)
{
  free(handle);
  txn.closed++;
  txn.sink->on_closed(txn.owner);
}

static void txn_end_commit(void)
{
  struct sip_err err;

  (void)sip_err_set(&err, SIP_EKAFKA, "the fake says so");
  if (txn.lose_commits > 0) {
    txn.lose_commits--;
    txn.sink->on_lost(txn.owner, &err);
    return;
  }
  if (txn.break_commits > 0) {
    txn.break_commits--;
    txn.sink->on_broken(txn.owner, &err);
    return;
  }
  for (int i = 0; i < txn.output_count; i++) {
    txn.committed[txn.committed_count++] = txn.outputs[i];
  }
  memcpy(txn.offsets, txn.next_offsets, sizeof txn.offsets);
  txn.output_count = 0;
  txn.commits++;
  txn.open = true;
  txn.sink->on_committed(txn.owner);
  txn.sink->on_open(txn.owner);
}

static void txn_on_timer(uv_timer_t *timer)
{
  int doing = txn.doing;

  if (doing == NOTHING || (txn.pending > 0 && doing != OPENING)) {
    return;
  }
  txn.doing = NOTHING;
  if (doing == COMMITTING) {
    txn_end_commit();
  } else if (doing == CLOSING) {
    uv_close((uv_handle_t *)timer, txn_on_timer_close);
  } else {
    txn.output_count = 0;
    txn.open = true;
    txn.sink->on_open(txn.owner);
  }
}

static int txn_open(void *driver, const char *group, const struct sip_transactor_sink *sink,
                    void *owner, struct sip_transactor **out, struct sip_err *err)
{
  (void)driver;
  (void)err;
  CHECK_STR(group, "g");
  txn.sink = sink;
  txn.owner = owner;
  txn.doing = OPENING;
  txn.open = false;
  txn.output_count = 0;
  txn.opened++;
  txn.timer = calloc(1, sizeof *txn.timer);
  CHECK(txn.timer != NULL);
  CHECK_INT(uv_timer_init(&loop, txn.timer), 0);
  CHECK_INT(uv_timer_start(txn.timer, txn_on_timer, 1, 1), 0);
  fake.assignments = 0; /* a new member begins where the group is */
  memset(fake.ours, 0, sizeof fake.ours);
  for (int p = 0; p < PARTITIONS; p++) {
    fake.next[p] = (int)txn.offsets[p] - 10;
  }
  *out = (struct sip_transactor *)&txn;
  return 0;
}

struct txn_report {
  sip_report_fn fn;
  void *arg;
};

static void txn_on_report(void *arg, int status, int32_t partition, int64_t offset,
                          const struct sip_err *err)
{
  struct txn_report report = *(struct txn_report *)arg;

  free(arg);
  txn.pending--;
  report.fn(report.arg, status, partition, offset, err);
}

static int txn_send(struct sip_transactor *transactor, const struct sip_output *output,
                    sip_report_fn on_report, void *arg, struct sip_err *err)
{
  struct txn_report *report;
  int partition = 0, offset = 0;

  CHECK(transactor == (struct sip_transactor *)&txn);
  if (!txn.open) {
    return SIP_EQUEUEFULL;
  }
  CHECK_INT(sscanf(output->value.data, "%d/%d", &partition, &offset), 2);
  report = malloc(sizeof *report);
  CHECK(report != NULL);
  *report = (struct txn_report){ on_report, arg };
  if (txn.refusals > 0 && txn.refuse == at(partition, offset)) {
    txn.refusals--;
    fake.failing_sends = 1;
  }
  CHECK_INT(fake_send(NULL, output, txn_on_report, report, err), 0);
  txn.outputs[txn.output_count++] = at(partition, offset);
  txn.pending++;
  return 0;
}

static void txn_commit(struct sip_transactor *transactor, struct sip_source *source,
                       const struct sip_next_offset *offsets, size_t count)
{
  (void)transactor;
  CHECK(source != NULL && txn.open && txn.doing == NOTHING);
  CHECK_INT(txn.pending, 0);
  memcpy(txn.next_offsets, txn.offsets, sizeof txn.offsets);
  for (size_t i = 0; i < count; i++) {
    int p = offsets[i].partition.partition;

    CHECK(fake.ours[p]);
    CHECK(offsets[i].offset >= txn.offsets[p]);
    txn.next_offsets[p] = offsets[i].offset;
  }
  txn.open = false;
  txn.doing = COMMITTING;
}

static void txn_roll_back(struct sip_transactor *transactor)
{
  (void)transactor;
  CHECK_INT(txn.doing, NOTHING);
  txn.roll_backs++;
  txn.open = false;
  txn.doing = ROLLING_BACK;
}

static void txn_close(struct sip_transactor *transactor)
{
  (void)transactor;
  txn.open = false;
  txn.doing = CLOSING;
}

static uint64_t txn_limit_ms(const struct sip_transactor *transactor)
{
  (void)transactor;
  return txn.limit_ms;
}

static const struct sip_transactor_ops txn_operations = { .open = txn_open,
                                                          .send = txn_send,
                                                          .commit = txn_commit,
                                                          .roll_back = txn_roll_back,
                                                          .close = txn_close,
                                                          .limit_ms = txn_limit_ms };

static struct sip_engine *begin_in_transactions(struct sip_port *port, const char *script)
{
  struct sip_engine *engine;
  struct sip_err err = { 0 };

  memset(&fake, 0, sizeof fake);
  memset(&txn, 0, sizeof txn);
  for (int p = 0; p < PARTITIONS; p++) {
    txn.offsets[p] = 10;
  }
  txn.limit_ms = 60000;
  fake.limit = EVENTS;
  *port = *fake_port();
  port->transactor = &txn_operations;
  CHECK_INT(sip_vm_new(&vm, &loop, NULL, &err), 0);
  CHECK_INT(sip_bind_start(vm, &err), 0);
  CHECK_INT(sip_flow_lua_engine(&engine, vm, &err), 0);
  sip_engine_set_port(engine, port);
  load(engine, script);
  CHECK_INT(sip_engine_commit(engine, &err), 0);
  return engine;
}

/* How often each output is there; each key's in the order of its offsets. */
static void check_outputs(int events)
{
  int found[PARTITIONS][EVENTS] = { { 0 } }, last[PARTITIONS][KEYS] = { { 0 } };

  for (int i = 0; i < txn.committed_count; i++) {
    int p = txn.committed[i] / 100000, offset = txn.committed[i] % 100000;

    CHECK(offset > last[p][(offset - 10) % KEYS]);
    last[p][(offset - 10) % KEYS] = offset;
    found[p][offset - 10]++;
  }
  for (int p = 0; p < PARTITIONS; p++) {
    CHECK_INT(txn.offsets[p], 10 + events);
    for (int i = 0; i < EVENTS; i++) {
      CHECK_INT(found[p][i], i < events ? 1 : 0);
    }
  }
}

static void end_transactions(void)
{
  end();
  CHECK_INT(txn.opened, txn.closed);
  CHECK_INT(txn.pending, 0);
}

static int all_committed(void)
{
  return txn.offsets[0] == 10 + EVENTS && txn.offsets[1] == 10 + EVENTS &&
         txn.offsets[2] == 10 + EVENTS;
}

/* `work` runs where a handler does, once for each event unless it is taken away; then its output is
 * emitted, as often as it takes. */
#define FLOW(work)                                                                                 \
  HEAD "shared.own, shared.aborted = 0, 0\n"                                                       \
       "math.randomseed(5)\n"                                                                      \
       "register{ group='g', topics={'events'}, concurrency=16, transactional=true,\n"             \
       "  batch_events=50, batch_ms=20, dispatch=function(r, ticket, kept, trouble)\n"             \
       "  if not kept then ticket:keep(r) shared.runs = shared.runs + 1 " work " end\n"            \
       "  r = kept or r\n"                                                                         \
       "  if trouble then\n"                                                                       \
       "    local count = trouble.kind == 'aborted' and 'aborted' or 'own'\n"                      \
       "    shared[count] = shared[count] + 1\n"                                                   \
       "  end\n"                                                                                   \
       "  local ok, _, code = ticket:emit('out', r.key, r.partition .. '/' .. r.offset)\n"         \
       "  if not ok then assert(code == 'ECANCELED') return false end\n"                           \
       "  return true end }"
#define SOMETIMES_SLOW "if r.offset % 9 == 0 then task.sleep(math.random(1, 4) .. 'ms') end"

static void outputs_and_offsets_are_committed_together(void)
{
  struct sip_port port;

  (void)begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));
  run_until(all_committed);
  check_outputs(EVENTS);
  CHECK_INT(global("runs"), PARTITIONS * EVENTS);
  CHECK(txn.commits >= 8); /* 50 are started in each, and what lies before them */
  CHECK_INT(txn.roll_backs, 0);
  CHECK_INT(fake.stored[0], 0);
  end_transactions();
}

static void what_was_aborted_is_emitted_again_without_running(void)
{
  struct sip_port port;

  (void)begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));
  txn.break_commits = 3;
  run_until(all_committed);
  check_outputs(EVENTS);
  CHECK_INT(global("runs"), PARTITIONS * EVENTS);
  CHECK_INT(txn.roll_backs, 3);
  CHECK(global("aborted") >= 3 * 50);
  CHECK_INT(global("own"), 0);
  end_transactions();
}

static void only_the_event_of_a_refused_output_is_told(void)
{
  struct sip_port port;

  (void)begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));
  txn.refuse = at(1, 33);
  txn.refusals = 2;
  run_until(all_committed);
  check_outputs(EVENTS);
  CHECK_INT(global("runs"), PARTITIONS * EVENTS);
  CHECK_INT(txn.roll_backs, 2);
  CHECK_INT(global("own"), 2);
  end_transactions();
}

static void a_slow_event_outlives_its_transactions(void)
{
  struct sip_port port;

  (void)begin_in_transactions(&port, FLOW("if r.offset == 40 then task.sleep('200ms') end"));
  txn.limit_ms = 60;
  run_until(all_committed);
  check_outputs(EVENTS);
  CHECK_INT(global("runs"), PARTITIONS * EVENTS);
  CHECK(txn.roll_backs >= 2);
  end_transactions();
}

static void a_lost_producer_joins_again_and_repeats_nothing(void)
{
  struct sip_port port;

  (void)begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));
  txn.lose_commits = 1;
  run_until(all_committed);
  check_outputs(EVENTS);
  CHECK_INT(txn.opened, 2);
  CHECK_INT(fake.opened, 2);
  CHECK(global("runs") > PARTITIONS * EVENTS);
  end_transactions();
}

static int some_committed(void)
{
  return txn.commits >= 3 && txn.output_count > 0;
}

static int others_committed(void)
{
  return txn.offsets[0] == 10 + EVENTS && txn.offsets[2] == 10 + EVENTS;
}

static void outputs_of_a_partition_that_is_lost_are_not_committed(void)
{
  const struct sip_partition gone = { "events", 1 };
  struct sip_port port;
  int count = 0;

  (void)begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));
  run_until(some_committed);
  fake.ours[1] = 0;
  fake.sink->on_revoked(fake.owner, &gone, 1, true);
  run_until(others_committed);
  for (int i = 0; i < txn.committed_count; i++) {
    count += txn.committed[i] / 100000 == 1;
  }
  CHECK_INT(count, txn.offsets[1] - 10);
  CHECK(count < EVENTS);
  end_transactions();
}

static void a_new_version_of_the_script_stays_in_the_transaction(void)
{
  struct sip_port port;
  struct sip_engine *engine = begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));

  run_until(some_committed);
  load(engine, FLOW(SOMETIMES_SLOW));
  CHECK_INT(sip_engine_commit(engine, NULL), 0);
  run_until(all_committed);
  check_outputs(EVENTS); /* all of them left through the transactor */
  CHECK_INT(txn.opened, 1);
  end_transactions();
}

static void on_drained(void *arg)
{
  *(bool *)arg = true;
}

static void a_drain_commits_what_runs_and_leaves_nothing_open(void)
{
  struct sip_port port;
  struct sip_engine *engine = begin_in_transactions(&port, FLOW(SOMETIMES_SLOW));
  bool drained = false;
  int sum = 0;

  run_until(some_committed);
  sip_engine_drain(engine, 60000, on_drained, &drained);
  while (!drained) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  for (int p = 0; p < PARTITIONS; p++) {
    sum += (int)txn.offsets[p] - 10;
  }
  CHECK_INT(txn.committed_count, sum);
  CHECK_INT(global("runs"), sum);
  CHECK_INT(txn.roll_backs, 0);
  end_transactions();
}

int main(void)
{
  sip_log_setup(2, SIP_LOG_AUTO, SIP_LOG_ERROR);
  CHECK_INT(uv_loop_init(&loop), 0);
  outputs_and_offsets_are_committed_together();
  what_was_aborted_is_emitted_again_without_running();
  only_the_event_of_a_refused_output_is_told();
  a_slow_event_outlives_its_transactions();
  a_lost_producer_joins_again_and_repeats_nothing();
  outputs_of_a_partition_that_is_lost_are_not_committed();
  a_new_version_of_the_script_stays_in_the_transaction();
  a_drain_commits_what_runs_and_leaves_nothing_open();
  SIP_TEST_END(&loop);
  return 0;
}
