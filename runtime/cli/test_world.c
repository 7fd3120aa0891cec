/* test_world.c - runs one test in a world of its own. Main thread.
 *
 * The loop is turned without waiting as long as something is ready. When nothing is, the clock
 * jumps to its next timer; when there is none either, the test waits for what never comes. What
 * really takes time, such as a statement of SQLite on the work pool, is waited for meanwhile. */
#include "cli/test_world.h"

#include "cli/lua_call.h"
#include "core/clock.h"
#include "core/random.h"
#include "memory/log.h"
#include "modules.h"
#include "vm/permissions.h"
#include "vm/script.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <assert.h>
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
  OUTPUT_BYTES = 256 << 10,
  MEMORY_BYTES = 256 << 20, /* a test that runs away does not take the machine with it */
  END_MS = 5000,            /* real time for what a test leaves behind */
  TRACEBACKS = 20,          /* of tasks that a test leaves behind */
  UNWIND_TURNS = 1000,      /* of a test that was stopped: its report comes within them */
};

struct world {
  const struct sip_test *test; /* borrowed */
  struct sip_test_result *result;
  uv_loop_t loop;
  uv_signal_t signals[2];
  size_t signal_count;
  struct sip_vm *vm;
  struct sip_memory_log *log;
  struct sip_script *file, *script; /* owned: the test's own, and the one that it loaded */
  struct sip_task *task;            /* borrowed: while the test runs */
  struct load *load;                /* borrowed: while a script loads */
  bool loaded, done, drained;
  int code;
  struct sip_err err;
  const char *verdict;  /* why it was stopped: static text; NULL: it was not */
  uint64_t deadline_ns; /* real time */
  int saved_stdout, output;
};

/* A task that waits for a script; in a userdata on its stack. */
struct load {
  struct sip_wait wait;
  struct world *world; /* borrowed; NULL: its task waits no more */
  struct sip_err err;
};

static const char WORLD_KEY; /* its address is the service's key */

static struct world *world_of(lua_State *L)
{
  return sip_vm_service(L, &WORLD_KEY);
}

/* --- turning --- */

/* @return whether anything happened, or may still */
static bool world_turn(struct world *world)
{
  (void)uv_run(&world->loop, UV_RUN_NOWAIT);
  if (uv_loop_alive(&world->loop) && uv_backend_timeout(&world->loop) == 0) {
    return true;
  }
  if (world->loop.active_reqs.count > 0) { /* on the work pool */
    (void)uv_run(&world->loop, UV_RUN_ONCE);
    return true;
  }
  return sip_clock_jump(sip_vm_clock(world->vm), world->test->virtual_ms);
}

static void world_stop(struct world *world, const char *why)
{
  world->verdict = why;
  if (world->task != NULL) {
    sip_task_kill(world->task);
  } else {
    sip_task_kill_all(world->vm); /* it loads */
  }
}

/* Until `*done`, or, after it was stopped, for as long as its report may take. */
static void world_run(struct world *world, const bool *done)
{
  for (int turns = 0; !*done && turns < UNWIND_TURNS; turns += world->verdict != NULL) {
    bool more = world_turn(world);

    if (*done || world->verdict != NULL) {
      continue;
    }
    if (world->result->interrupted) {
      world_stop(world, "it was interrupted");
    } else if (uv_hrtime() > world->deadline_ns) {
      world_stop(world, "it took longer than its limit of real time (--timeout)");
    } else if (!more) {
      world_stop(world, sip_clock_has_timers(sip_vm_clock(world->vm))
                          ? "it took longer than its limit of virtual time (--virtual-limit)"
                          : "it waits for what never comes: no timer runs, and no task is ready");
    }
  }
}

static void world_on_signal(uv_signal_t *handle, int number)
{
  struct world *world = handle->data;

  (void)number;
  world->result->interrupted = true;
}

/* --- module sipeat.core.testing --- */

static void load_cancel(struct sip_wait *wait)
{
  struct load *load = SIP_CONTAINER(wait, struct load, wait);

  load->world->load = NULL;
  load->world = NULL;
}

static int load_finish(lua_State *L, struct sip_wait *wait)
{
  struct load *load = SIP_CONTAINER(wait, struct load, wait);

  if (wait->status != 0 && load->err.code == 0) {
    return sip_push_error(L, wait->status, "load");
  }
  if (load->err.code != 0) {
    return sip_push_err(L, &load->err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static void load_on_done(struct sip_script *script, const struct sip_err *err, void *arg)
{
  struct world *world = arg;
  struct load *load = world->load;
  struct sip_err failed = *err;
  int rc = script == NULL ? err->code : 0;

  world->load = NULL;
  if (rc == 0 && load != NULL) {
    rc = sip_modules_commit(world->vm, &failed);
  } else {
    sip_modules_rollback(world->vm);
  }
  if (rc < 0 || load == NULL) {
    sip_script_free(script);
  } else {
    sip_script_free(world->script);
    world->script = script;
  }
  if (load != NULL) {
    load->err = rc < 0 ? failed : (struct sip_err){ 0 };
    sip_wake(&load->wait, rc < 0 ? UV_EINVAL : 0);
  }
}

/* load(path) -> true | nil, message, code: in the place of the script that was loaded before */
static int l_load(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  struct world *world = world_of(L);
  struct sip_err err = { 0 };
  struct load *load;

  lua_settop(L, 1);
  if (world->load != NULL) {
    return sip_push_error(L, SIP_EBUSY, "load: another script loads");
  }
  load = lua_newuserdatauv(L, sizeof *load, 0); /* stays on the suspended stack */
  *load = (struct load){ .world = world };
  sip_wait_init(&load->wait, load_cancel, load_finish);
  if (sip_modules_begin(world->vm, &err) < 0 ||
      sip_script_load_start(world->vm, path, 0, load_on_done, world, &err) < 0) {
    sip_modules_rollback(world->vm);
    return sip_push_err(L, &err);
  }
  world->load = load;
  return sip_await(L, &load->wait, SIP_FOREVER);
}

/* tasks() -> how many have not ended, and the tracebacks of the first of them */
static int l_tasks(lua_State *L)
{
  struct sip_vm *vm = sip_vm_of(L);
  struct sip_task *task;

  lua_pushinteger(L, (lua_Integer)sip_task_count(vm));
  lua_newtable(L);
  lua_getglobal(L, "debug");
  for (size_t i = 0; i < TRACEBACKS && (task = sip_task_at(vm, i)) != NULL; i++) {
    lua_State *of = sip_task_state(task);

    lua_getfield(L, -1, "traceback");
    lua_pushthread(of);
    lua_xmove(of, L, 1);
    lua_call(L, 1, 1);
    lua_rawseti(L, -3, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
  return 2;
}

/* report(text): what came of the test */
static int l_report(lua_State *L)
{
  struct sip_buf *report = &world_of(L)->result->report;
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);

  sip_buf_clear(report);
  if (sip_buf_add(report, text, len) < 0) {
    return luaL_error(L, "report: no memory");
  }
  return 0;
}

/* verdict() -> why the test was stopped, or nil */
static int l_verdict(lua_State *L)
{
  lua_pushstring(L, world_of(L)->verdict);
  return 1;
}

/* exists(path) -> whether there is such a file */
static int l_exists(lua_State *L)
{
  lua_pushboolean(L, access(luaL_checkstring(L, 1), F_OK) == 0);
  return 1;
}

static int open_testing(lua_State *L)
{
  static const luaL_Reg functions[] = { { "load", l_load },     { "tasks", l_tasks },
                                        { "report", l_report }, { "verdict", l_verdict },
                                        { "exists", l_exists }, { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}

/* --- what is printed and logged --- */

static int world_catch_output(struct world *world, struct sip_err *err)
{
  (void)fflush(stdout); /* what the program itself printed before; checked at the end of it */
  world->output = memfd_create("sipeat-test", MFD_CLOEXEC);
  if (world->output < 0) {
    return sip_err_errno(err, errno, "a file in memory for the output");
  }
  world->saved_stdout = dup(STDOUT_FILENO);
  if (world->saved_stdout < 0 || dup2(world->output, STDOUT_FILENO) < 0) {
    return sip_err_errno(err, errno, "catch the standard output");
  }
  sip_log_setup(world->output, SIP_LOG_HUMAN, world->test->log_level);
  return 0;
}

static void world_read_output(struct world *world)
{
  struct sip_buf *out = &world->result->output;
  ssize_t count;

  if (lseek(world->output, 0, SEEK_SET) < 0 || sip_buf_reserve(out, OUTPUT_BYTES + 1) < 0) {
    return; /* then the report stands alone */
  }
  while (out->len < OUTPUT_BYTES &&
         (count = read(world->output, out->data + out->len, OUTPUT_BYTES - out->len)) > 0) {
    out->len += (size_t)count;
  }
  out->data[out->len] = '\0';
}

static void world_release_output(struct world *world)
{
  (void)fflush(stdout); /* into the file in memory, which takes it */
  if (world->saved_stdout >= 0) {
    (void)dup2(world->saved_stdout, STDOUT_FILENO); /* both are open: cannot fail */
    (void)close(world->saved_stdout);
  }
  sip_log_setup(STDERR_FILENO, SIP_LOG_AUTO, world->test->log_level);
  if (world->output >= 0) {
    world_read_output(world);
    (void)close(world->output);
  }
}

/* --- from beginning to end --- */

static void world_on_loaded(struct sip_script *script, const struct sip_err *err, void *arg)
{
  struct world *world = arg;

  world->file = script;
  world->loaded = true;
  world->err = *err;
  world->code = script == NULL ? err->code : 0;
}

static void world_on_done(void *arg, int result, const struct sip_err *err)
{
  struct world *world = arg;

  world->done = true;
  world->task = NULL;
  world->code = result < 0 ? result : 0;
  world->err = *err;
}

static int world_push(lua_State *L, void *arg)
{
  const struct sip_test *test = ((struct world *)arg)->test;

  lua_createtable(L, 0, 3);
  lua_pushstring(L, test->file);
  lua_setfield(L, -2, "file");
  lua_pushstring(L, test->name);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, (lua_Integer)test->seed);
  lua_setfield(L, -2, "seed");
  return 1;
}

static int world_open(struct world *world, struct sip_err *err)
{
  static const int numbers[] = { SIGINT, SIGTERM };
  const struct sip_vm_options options = { .slice_limit_ms = world->test->real_ms,
                                          .memory_limit_bytes = MEMORY_BYTES };
  int rc = 0;

  for (size_t i = 0; i < 2 && rc == 0; i++) {
    rc = uv_signal_init(&world->loop, &world->signals[i]);
    if (rc == 0) {
      world->signals[i].data = world;
      world->signal_count++;
      rc = uv_signal_start(&world->signals[i], world_on_signal, numbers[i]);
    }
  }
  if (rc < 0) {
    return sip_err_set(err, rc, "catch signals: %s", uv_strerror(rc));
  }
  rc = sip_vm_new(&world->vm, &world->loop, &options, err);
  if (rc < 0) {
    return rc;
  }
  sip_clock_make_virtual(sip_vm_clock(world->vm), world->test->wall_ms);
  sip_random_seed(sip_vm_random(world->vm), world->test->seed);
  rc = sip_memory_log_new(&world->log, &world->loop, sip_vm_clock(world->vm), err);
  if (rc == 0 && sip_vm_set_service(world->vm, &WORLD_KEY, world) < 0) {
    rc = sip_err_set(err, UV_ENOSPC, "too many services");
  }
  if (rc == 0) {
    rc = sip_vm_provide(world->vm, "sipeat.core.testing", open_testing, err);
  }
  if (rc == 0 && sip_permissions_exempt(world->vm, world->test->file) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for the test");
  }
  return rc < 0 ? rc : sip_modules_start_fakes(world->vm, world->log, err);
}

static int world_test(struct world *world, struct sip_err *err)
{
  int rc = sip_call_wait(world->vm, "sipeat.testing_run", "begin", world_push, world, err);

  if (rc == 0) {
    rc = sip_script_load_start(world->vm, world->test->file, 0, world_on_loaded, world, err);
  }
  if (rc < 0) {
    return rc;
  }
  world_run(world, &world->loaded);
  if (world->verdict != NULL) {
    return sip_err_set(err, UV_ETIMEDOUT, "%s: while it loads, %s", world->test->file,
                       world->verdict);
  }
  if (world->code < 0) {
    *err = world->err;
    return world->code;
  }
  rc = sip_call_start(world->vm, "sipeat.testing_run", "run", world_push, world, world_on_done,
                      world, &world->task, err);
  if (rc < 0) {
    return rc;
  }
  world_run(world, &world->done);
  *err = world->err;
  return world->done ? world->code
                     : sip_err_set(err, UV_ETIMEDOUT, "it does not end: %s", world->verdict);
}

static void world_on_drained(void *arg)
{
  *(bool *)arg = true;
}

/* Its flows end in its own time, and not in the machine's. */
static void world_drain(struct world *world)
{
  struct sip_err err = { 0 };
  uint64_t until_ns = uv_hrtime() + (uint64_t)END_MS * 1000000;

  if (sip_modules_drain(world->vm, 0, world_on_drained, &world->drained, &err) < 0) {
    return; /* then there are none */
  }
  while (!world->drained && uv_hrtime() < until_ns) {
    (void)world_turn(world);
  }
}

static void world_close(struct world *world)
{
  int rc;

  for (size_t i = 0; i < world->signal_count; i++) {
    uv_close((uv_handle_t *)&world->signals[i], NULL);
  }
  if (world->vm != NULL) {
    if (world->log != NULL) {
      world_drain(world);
    }
    sip_modules_stop(world->vm);
    sip_script_free(world->script);
    sip_script_free(world->file);
    sip_memory_log_free(world->log);
    sip_vm_free(world->vm);
  }
  (void)uv_run(&world->loop, UV_RUN_DEFAULT);
  rc = uv_loop_close(&world->loop);
  assert(rc == 0); /* nothing is left open */
  (void)rc;
}

int sip_test_run(const struct sip_test *test, struct sip_test_result *result, struct sip_err *err)
{
  struct world world = { .test = test, .result = result, .saved_stdout = -1, .output = -1 };
  int rc = uv_loop_init(&world.loop);

  *result = (struct sip_test_result){ .report = SIP_BUF_INIT, .output = SIP_BUF_INIT };
  if (rc < 0) {
    return sip_err_set(err, rc, "start an event loop: %s", uv_strerror(rc));
  }
  world.deadline_ns = uv_hrtime() + test->real_ms * 1000000;
  rc = world_catch_output(&world, err);
  if (rc == 0) {
    rc = world_open(&world, err);
  }
  if (rc == 0) {
    rc = world_test(&world, err);
    result->took_ms = sip_clock_loop_ms(sip_vm_clock(world.vm));
  }
  world_close(&world);
  world_release_output(&world);
  return rc;
}
