/* vm.c - one worker's Lua state: the capped allocator, set-up and tear-down, protected calls. Loop
 * thread only. */
#include "vm/vm.h"

#include "core/log.h"
#include "vm/state.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const size_t DEFAULT_MEMORY_BYTES = (size_t)1 << 30;
enum { DEFAULT_SLICE_MS = 10000, DEFAULT_HARD_MS = 30000 };

static void *vm_alloc(void *arg, void *block, size_t old_size, size_t new_size)
{
  struct sip_vm *vm = arg;
  size_t before = block == NULL ? 0 : old_size; /* without a block, old_size is a type */
  void *result;

  if (new_size == 0) {
    free(block);
    vm->memory_bytes -= before;
    return NULL;
  }
  if (new_size > before) { /* refused: Lua collects, tries again, and then raises an error */
    size_t more = new_size - before;

    if (more > vm->memory_limit_bytes - vm->memory_bytes ||
        (more > vm->budget.spendable && !sip_budget_overspend(&vm->budget, more))) {
      return NULL;
    }
    vm->budget.spendable -= more;
  }
  result = block == NULL ? malloc(new_size) : realloc(block, new_size);
  if (result == NULL && new_size > before) {
    return NULL;
  }
  if (result == NULL) {
    result = block; /* Lua does not expect that making something smaller fails */
  }
  vm->memory_bytes += new_size - before;
  return result;
}

/* Incremental: with many suspended coroutines generational was worst.
 *
 * What scripts and modules hold is marked in each cycle, so with little of it a cycle is worth more
 * garbage: with 400 instead of 200 an event of the work of a million JSON events took 6.1 us
 * instead of 6.8 on the loop's thread (1000: 6.0; generational: 6.1). A large heap keeps the usual
 * bound.
 *
 * Lua's own steps do the work of a cycle, some milliseconds for a small heap, while 10 to 30 KB are
 * allocated: all at once, for who waits for an answer. With a multiplier of 4 it is spread over
 * some hundred KB (99 % of wrk's requests took 1.7 ms at most instead of 3.2; 1: 1.0 ms, but 3 %
 * fewer requests). A large heap wants its cycle to end before it has grown by a tenth. */
void sip_vm_pace_collector(struct sip_vm *vm)
{
  static const size_t SMALL_BYTES = (size_t)24 << 20;
  enum { PAUSE_SMALL = 400, PAUSE = 200, WORK_SMALL = 4, WORK = 16, STEP_LOG2_BYTES = 12 };
  bool is_small = vm->memory_bytes < SMALL_BYTES;
  int pause = is_small ? PAUSE_SMALL : PAUSE;

  if (pause != vm->gc_pause) {
    vm->gc_pause = pause;
    (void)lua_gc(vm->L, LUA_GCINC, pause, is_small ? WORK_SMALL : WORK, STEP_LOG2_BYTES);
  }
  sip_leak_look(vm);
}

static int vm_on_panic(lua_State *L)
{
  const char *text = lua_tostring(L, -1);

  sip_log(SIP_LOG_ERROR, "vm", NULL, "an error outside of a protected call: %s",
          text == NULL ? "?" : text);
  return 0; /* Lua aborts: a bug of ours, and what was in flight is not committed */
}

static void vm_on_warning(void *arg, const char *text, int to_continue)
{
  (void)arg;
  (void)to_continue;
  if (text[0] != '@') {
    sip_log(SIP_LOG_WARN, "lua", NULL, "%s", text);
  }
}

static int vm_set_up(lua_State *L)
{
  sip_open_libraries(L);
  return 0;
}

/* With `run`, turns the loop until it is empty: the caller has closed all other handles. Accepts
 * NULL. */
static void vm_close(struct sip_vm *vm, bool run)
{
  if (vm == NULL) {
    return;
  }
  if (vm->L != NULL) {
    sip_tasks_deinit(vm);
    lua_close(vm->L); /* boxes close their handles */
  }
  sip_clock_close(&vm->clock);
  if (run) {
    (void)uv_run(vm->loop, UV_RUN_DEFAULT);
  }
  sip_budget_deinit(&vm->budget);
  sip_permissions_free(vm->permissions);
  sip_spans_deinit(&vm->tracer.spans);
  free(vm);
}

int sip_vm_new(struct sip_vm **out, uv_loop_t *loop, const struct sip_vm_options *options,
               struct sip_err *err)
{
  struct sip_vm *vm = calloc(1, sizeof *vm);
  int rc;

  if (vm == NULL) {
    return sip_err_set(err, UV_ENOMEM, "no memory for the script engine");
  }
  vm->loop = loop;
  sip_clock_init(&vm->clock, loop);
  sip_leak_init(&vm->leak);
  vm->worker = options != NULL && options->worker > 0 ? options->worker : 1;
  vm->workers = options != NULL && options->workers > 0 ? options->workers : 1;
  vm->memory_limit_bytes = options != NULL && options->memory_limit_bytes != 0
                             ? options->memory_limit_bytes
                             : DEFAULT_MEMORY_BYTES;
  rc = sip_budget_init(
    &vm->budget,
    options != NULL && options->slice_limit_ms != 0 ? options->slice_limit_ms : DEFAULT_SLICE_MS,
    options != NULL && options->hard_limit_ms != 0 ? options->hard_limit_ms : DEFAULT_HARD_MS);
  if (rc < 0) {
    sip_err_errno(err, -rc, "cannot start the watchdog thread");
    goto cleanup;
  }
  vm->permissions = sip_permissions_new();
  if (vm->permissions == NULL) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for the script engine");
    goto cleanup;
  }
  vm->L = lua_newstate(vm_alloc, vm);
  if (vm->L == NULL) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for the script engine");
    goto cleanup;
  }
  *(struct sip_vm **)lua_getextraspace(vm->L) = vm; /* before any coroutine: they inherit it */
  lua_atpanic(vm->L, vm_on_panic);
  lua_setwarnf(vm->L, vm_on_warning, NULL);
  rc = sip_tasks_init(vm);
  if (rc < 0) {
    goto cleanup;
  }
  lua_pushcfunction(vm->L, vm_set_up);
  rc = sip_vm_call(vm, 0, 0, err);
  if (rc < 0) {
    goto cleanup;
  }
  *out = vm;
  vm = NULL; /* handed over */
cleanup:
  vm_close(vm, false);
  return rc;
}

void sip_vm_free(struct sip_vm *vm)
{
  vm_close(vm, true);
}

lua_State *sip_vm_state(struct sip_vm *vm)
{
  return vm->L;
}

struct sip_vm *sip_vm_of(lua_State *L)
{
  return *(struct sip_vm **)lua_getextraspace(L);
}

uv_loop_t *sip_vm_loop(lua_State *L)
{
  return sip_vm_of(L)->loop;
}

struct sip_clock *sip_vm_clock(struct sip_vm *vm)
{
  return &vm->clock;
}

struct sip_random *sip_vm_random(struct sip_vm *vm)
{
  return &vm->random;
}

struct sip_tracer *sip_vm_tracer(struct sip_vm *vm)
{
  return &vm->tracer;
}

int sip_vm_worker(lua_State *L, int *workers)
{
  *workers = sip_vm_of(L)->workers;
  return sip_vm_of(L)->worker;
}

size_t sip_vm_memory_bytes(const struct sip_vm *vm)
{
  return vm->memory_bytes;
}

struct provided {
  const char *name;
  lua_CFunction open;
};

static int vm_provide(lua_State *L)
{
  struct provided *module = lua_touserdata(L, 1);

  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, module->open);
  lua_setfield(L, -2, module->name);
  return 0;
}

int sip_vm_provide(struct sip_vm *vm, const char *name, lua_CFunction open, struct sip_err *err)
{
  struct provided module = { name, open };

  lua_pushcfunction(vm->L, vm_provide);
  lua_pushlightuserdata(vm->L, &module);
  return sip_vm_call(vm, 1, 0, err);
}

int sip_vm_set_service(struct sip_vm *vm, const void *key, void *value)
{
  for (int i = 0; i < SIP_VM_SERVICES; i++) {
    if (vm->services[i].key == key || vm->services[i].key == NULL) {
      vm->services[i].key = key;
      vm->services[i].value = value;
      return 0;
    }
  }
  return UV_ENOSPC;
}

void *sip_vm_service(lua_State *L, const void *key)
{
  struct sip_vm *vm = sip_vm_of(L);

  for (int i = 0; i < SIP_VM_SERVICES; i++) {
    if (vm->services[i].key == key) {
      return vm->services[i].value;
    }
  }
  return NULL;
}

void sip_vm_set_mark(struct sip_vm *vm, struct sip_mark *mark)
{
  vm->budget.mark = mark == NULL ? &vm->budget.no_mark : mark;
}

void sip_vm_set_place(struct sip_vm *vm, const struct sip_place *place)
{
  vm->budget.nobody.place = place == NULL ? (struct sip_place){ 0 } : *place;
}

/* Message handler: any error value becomes a string with traceback. */
static int vm_traceback(lua_State *L)
{
  const char *message = luaL_tolstring(L, 1, NULL);

  sip_traceback(L, L, message, 1);
  return 1;
}

int sip_vm_call(struct sip_vm *vm, int nargs, int nresults, struct sip_err *err)
{
  lua_State *L = vm->L;
  int base = lua_gettop(L) - nargs, status;
  bool entered;

  lua_pushcfunction(L, vm_traceback); /* light: does not allocate */
  lua_insert(L, base);
  entered = sip_budget_enter(&vm->budget, L, NULL);
  status = lua_pcall(L, nargs, nresults, base);
  sip_budget_leave(&vm->budget, L, entered);
  lua_remove(L, base);
  if (status == LUA_OK) {
    return 0;
  }
  if (status == LUA_ERRMEM) {
    status = sip_err_set(err, UV_ENOMEM, "not enough memory for the script engine");
  } else {
    const char *text =
      lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error value that is no text";

    status = sip_err_set(err, SIP_ESCRIPT, "%s", text);
  }
  lua_settop(L, base - 1);
  return status;
}
