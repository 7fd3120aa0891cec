#ifndef SIP_TEST_FLOW_FIXTURE_H
#define SIP_TEST_FLOW_FIXTURE_H
/* flow_fixture.h - a fake log of events for the flow engine.
 *
 * The fake is one source with a few partitions in memory; it checks what the port promises: nothing
 * is taken twice, every record is released once, offsets are stored in ascending order and only
 * while the partition is ours. */
#include "bind/bind.h"
#include "bind/flow_lua.h"
#include "core/log.h"
#include "flow/engine.h"
#include "support/test.h"
#include "vm/script.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <unistd.h>

enum { PARTITIONS = 3, EVENTS = 400, KEYS = 7 };

struct fake_log {
  const struct sip_source_sink *sink;
  void *owner;
  uv_timer_t *timer;
  int next[PARTITIONS], stored[PARTITIONS], ours[PARTITIONS], paused[PARTITIONS];
  char metadata[PARTITIONS][4097]; /* stored with it */
  int limit;                       /* records of each partition */
  int out, most_out, taken, released, given_back, pauses, opened, closed, sends, failing_sends;
  int full_sends, refuse_open, assignments, keyless;
  bool forgets; /* what was lost is not known */
  const struct sip_output *lost;
};

struct flow_fixture {
  struct fake_log log;
  struct sip_vm *state;
  uv_loop_t turns;
};

static inline struct flow_fixture *flow_fixture(void)
{
  static struct flow_fixture fixture;

  return &fixture;
}

#define fake (flow_fixture()->log)
#define vm   (flow_fixture()->state)
#define loop (flow_fixture()->turns)

static inline void on_timer(uv_timer_t *timer)
{
  struct sip_assigned partitions[PARTITIONS];
  (void)timer;

  if (fake.sink == NULL) {
    return;
  }
  if (!fake.ours[0] && fake.assignments == 0) {
    fake.assignments++;
    for (int p = 0; p < PARTITIONS; p++) {
      partitions[p] = (struct sip_assigned){ { "events", p },
                                             fake.metadata[p][0] == '\0' ? -1 : fake.stored[p],
                                             { fake.metadata[p], strlen(fake.metadata[p]) } };
      fake.ours[p] = 1;
    }
    fake.sink->on_assigned(fake.owner, partitions, PARTITIONS);
  }
  fake.sink->on_readable(fake.owner);
}

static inline int fake_open(void *driver, const struct sip_source_spec *spec,
                            const struct sip_source_sink *sink, void *owner,
                            struct sip_source **out, struct sip_err *err)
{
  (void)driver;
  if (fake.refuse_open > 0) {
    fake.refuse_open--;
    return sip_err_set(err, SIP_ECONFIG, "the fake is refused");
  }
  CHECK_STR(spec->group, "g");
  fake.opened++;
  CHECK_STR(spec->topics[0], "events");
  fake.sink = sink;
  fake.owner = owner;
  *out = (struct sip_source *)&fake;
  fake.timer = calloc(1, sizeof *fake.timer);
  CHECK_INT(uv_timer_init(&loop, fake.timer), 0);
  CHECK_INT(uv_timer_start(fake.timer, on_timer, 1, 1), 0);
  return 0;
}

static inline size_t fake_take(struct sip_source *source, struct sip_record *records, size_t max)
{
  size_t count = 0;
  (void)source;

  for (int p = 0; p < PARTITIONS; p++) {
    while (count < max && fake.ours[p] && !fake.paused[p] && fake.next[p] < fake.limit) {
      struct sip_record *record = &records[count++];
      char *key = malloc(16);

      CHECK(key != NULL);
      (void)snprintf(key, 16, "k%d", fake.next[p] % KEYS);
      *record =
        (struct sip_record){ .topic = "events", .partition = p, .offset = 10 + fake.next[p]++ };
      record->message = key;
      if (!fake.keyless) {
        record->key = (struct sip_slice){ key, strlen(key) };
      }
      record->value = (struct sip_slice){ "{}", 2 };
      fake.taken++;
      fake.out++;
      fake.most_out = fake.out > fake.most_out ? fake.out : fake.most_out;
    }
  }
  return count;
}

static inline void fake_release(struct sip_record *record)
{
  CHECK(record->message != NULL);
  free(record->message);
  record->message = NULL;
  fake.released++;
  fake.out--;
}

static inline size_t fake_header_count(const struct sip_record *record)
{
  (void)record;
  return 2;
}

/* Header "h" is null, header "half" is one of two keys. */
static inline struct sip_header fake_header(const struct sip_record *record, size_t index)
{
  CHECK(index < 2);
  return index == 0 ? (struct sip_header){ "h", { NULL, 0 } }
                    : (struct sip_header){ "half", { record->offset % 2 == 0 ? "a" : "b", 1 } };
}

static inline void fake_pause(struct sip_source *source, const struct sip_partition *partition)
{
  (void)source;
  fake.paused[partition->partition] = 1;
  fake.pauses++;
}

static inline void fake_resume(struct sip_source *source, const struct sip_partition *partition)
{
  (void)source;
  fake.paused[partition->partition] = 0;
}

static inline void fake_store(struct sip_source *source, const struct sip_partition *partition,
                              int64_t next_offset, const char *metadata)
{
  (void)source;
  CHECK(fake.ours[partition->partition]);
  CHECK(next_offset >= fake.stored[partition->partition]);
  CHECK(strlen(metadata) < sizeof fake.metadata[0]);
  fake.stored[partition->partition] = (int)next_offset;
  (void)strcpy(fake.metadata[partition->partition], metadata);
}

static inline void fake_commit(struct sip_source *source)
{
  (void)source; /* what is stored counts at once */
}

static inline int64_t fake_end(struct sip_source *source, const struct sip_partition *partition)
{
  (void)source;
  (void)partition;
  return 10 + fake.limit;
}

static inline void fake_give_back(struct sip_source *source)
{
  (void)source;
  fake.given_back++;
  memset(fake.ours, 0, sizeof fake.ours);
}

static inline void fake_on_timer_close(uv_handle_t *handle)
{
  free(handle);
  fake.closed++;
  fake.sink->on_closed(fake.owner);
  fake.sink = NULL;
}

static inline void fake_close(struct sip_source *source)
{
  (void)source;
  CHECK(!uv_is_closing((uv_handle_t *)fake.timer));
  uv_close((uv_handle_t *)fake.timer, fake_on_timer_close);
}

struct report {
  uv_timer_t timer;
  sip_report_fn fn;
  void *arg;
  int status;
  char key[16], value[16];
};

static inline void report_on_close(uv_handle_t *handle)
{
  free(handle->data);
}

static inline void report_on_timer(uv_timer_t *timer)
{
  struct report *report = timer->data;
  struct sip_err err;

  const struct sip_header headers[] = { { "a", { "b", 1 } }, { "n", { NULL, 0 } } };
  const struct sip_output lost = { .topic = "out",
                                   .key = { report->key, strlen(report->key) },
                                   .value = { report->value, strlen(report->value) },
                                   .headers = headers,
                                   .header_count = 2,
                                   .partition = -1 };

  (void)sip_err_named(&err, SIP_EKAFKA, "NO_LUCK", "the broker said no");
  fake.lost = fake.forgets ? NULL : &lost;
  report->fn(report->arg, report->status, 0, 1, &err);
  fake.lost = NULL;
  uv_close((uv_handle_t *)timer, report_on_close);
}

static inline int fake_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                            void *arg, struct sip_err *err)
{
  struct report *report;
  (void)driver;
  (void)err;

  CHECK_STR(output->topic, "out");
  if (fake.full_sends > 0) {
    fake.full_sends--;
    return SIP_EQUEUEFULL;
  }
  report = calloc(1, sizeof *report);
  CHECK(report != NULL);
  report->fn = on_report;
  report->arg = arg;
  (void)snprintf(report->key, sizeof report->key, "%.*s", (int)output->key.len, output->key.data);
  (void)snprintf(report->value, sizeof report->value, "%.*s", (int)output->value.len,
                 output->value.data);
  report->status = fake.failing_sends > 0 ? SIP_EKAFKA : 0;
  fake.failing_sends -= fake.failing_sends > 0;
  fake.sends++;
  CHECK_INT(uv_timer_init(&loop, &report->timer), 0);
  report->timer.data = report;
  CHECK_INT(uv_timer_start(&report->timer, report_on_timer, 2, 0), 0);
  return 0;
}

static inline const struct sip_output *fake_lost(void *driver)
{
  (void)driver;
  return fake.lost;
}

static inline const struct sip_port *fake_port(void)
{
  static const struct sip_source_ops source_ops = { fake_open,         fake_take,      fake_release,
                                                    fake_header_count, fake_header,    fake_pause,
                                                    fake_resume,       fake_store,     fake_commit,
                                                    fake_end,          fake_give_back, fake_close };
  static const struct sip_producer_ops producer_ops = { fake_send, fake_lost };
  static const struct sip_port port = { .source = &source_ops,
                                        .producer = { &producer_ops, NULL } };

  return &port;
}

static inline void load(struct sip_engine *engine, const char *script)
{
  char path[] = "/tmp/sipeat-flow-XXXXXX";
  struct sip_script *loaded = NULL;
  struct sip_err err = { 0 };
  int fd = mkstemp(path);

  CHECK(fd >= 0);
  CHECK_INT(write(fd, script, strlen(script)), strlen(script));
  CHECK_INT(close(fd), 0);
  sip_engine_begin(engine);
  if (sip_script_load(&loaded, vm, path, 0, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  CHECK_INT(unlink(path), 0);
  sip_script_free(loaded);
}

static inline struct sip_engine *begin(const char *script, int limit)
{
  struct sip_engine *engine;
  struct sip_err err = { 0 };

  memset(&fake, 0, sizeof fake);
  fake.limit = limit;
  CHECK_INT(sip_vm_new(&vm, &loop, NULL, &err), 0);
  CHECK_INT(sip_bind_start(vm, &err), 0);
  CHECK_INT(sip_flow_lua_engine(&engine, vm, &err), 0);
  sip_engine_set_port(engine, fake_port());
  load(engine, script);
  CHECK_INT(sip_engine_pending(engine), 1);
  CHECK_INT(sip_engine_commit(engine, &err), 0);
  return engine;
}

static inline void run_until(int (*condition)(void))
{
  uint64_t deadline = uv_hrtime() + 20000000000u;

  while (!condition()) {
    (void)uv_run(&loop, UV_RUN_ONCE);
    if (uv_hrtime() > deadline) {
      SIP_TEST_FAIL("waited too long: taken %d released %d stored %d %d %d", fake.taken,
                    fake.released, fake.stored[0], fake.stored[1], fake.stored[2]);
    }
  }
}

static inline int all_stored(void)
{
  return fake.stored[0] == 10 + fake.limit && fake.stored[1] == 10 + fake.limit &&
         fake.stored[2] == 10 + fake.limit;
}

static inline long global(const char *name)
{
  long value;

  lua_getglobal(sip_vm_state(vm), name);
  value = lua_isinteger(sip_vm_state(vm), -1) ? (long)lua_tointeger(sip_vm_state(vm), -1) : -1;
  lua_pop(sip_vm_state(vm), 1);
  return value;
}

static inline void end(void)
{
  sip_flow_lua_stop(vm);
  CHECK_INT(fake.closed, fake.opened);
  CHECK_INT(fake.taken, fake.released);
  sip_vm_free(vm);
  vm = NULL;
}

/* The script's globals live in its generation; counters go to the shared ones through a function of
 * _G's metatable. */
#define HEAD                                                                                       \
  "local shared = getmetatable(_ENV).__index\n"                                                    \
  "local task = require 'sipeat.core.task'\n"                                                      \
  "local register = require('sipeat.core.flow').register\n"                                        \
  "shared.runs, shared.disorder, shared.most, shared.again = 0, 0, 0, 0\n"                         \
  "local last, inside, running = {}, {}, 0\n"                                                      \
  "local function enter(r)\n"                                                                      \
  "  local lane = r.partition .. r.key\n"                                                          \
  "  if inside[lane] or (last[lane] or -1) >= r.offset then shared.disorder = shared.disorder + "  \
  "1 end\n"                                                                                        \
  "  inside[lane], last[lane], running = true, r.offset, running + 1\n"                            \
  "  shared.most = math.max(shared.most, running)\n"                                               \
  "end\n"                                                                                          \
  "local function leave(r)\n"                                                                      \
  "  inside[r.partition .. r.key], running, shared.runs = nil, running - 1, shared.runs + 1\n"     \
  "end\n"

#endif
