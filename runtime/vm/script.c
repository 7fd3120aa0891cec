/* script.c - generations of a user's script: loading one, beside another that runs. Loop thread
 * only.
 *
 * The C side of a generation is freed by its owner; the box "script" of its table is emptied then,
 * and from there on `require` finds in it only what its tree holds. */
#include "vm/script.h"

#include "core/file_mark.h"
#include "vm/script_files.h"
#include "vm/script_generation.h"
#include "vm/script_state.h"
#include "vm/script_tree.h"
#include "vm/state.h"
#include "vm/task.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_LIMIT_MS = 5000, VERSION_DIGITS = 16 };
static const char TEXT[] = "sipeat.script.text";

struct sip_script {
  struct sip_vm *vm;           /* borrowed */
  char *path;                  /* absolute */
  char **files;                /* absolute paths, the script first */
  struct sip_file_mark *marks; /* as they were read */
  size_t file_count, directory_len;
  struct sip_tree *tree; /* a reference */
  uint64_t number;
  char version[VERSION_DIGITS + 1];
  bool loaded;
  struct sip_script **box; /* borrowed: the Lua side's pointer to us; NULL before it exists */
  int generation_ref;
  /* while it loads */
  struct sip_task *task; /* borrowed */
  uv_timer_t *timer;     /* owned: the limit */
  bool timed_out;
  struct sip_err err;
  sip_script_done_fn on_done;
  void *arg;
};

static int text_gc(lua_State *L)
{
  struct sip_script_text *box = luaL_checkudata(L, 1, TEXT);

  sip_buf_deinit(&box->text);
  return 0;
}

struct sip_script_text *sip_script_text_new(lua_State *L)
{
  struct sip_script_text *box = lua_newuserdatauv(L, sizeof *box, 0);

  box->text = (struct sip_buf)SIP_BUF_INIT;
  if (sip_class_begin(L, TEXT)) {
    lua_pushcfunction(L, text_gc);
    lua_setfield(L, -2, "__gc");
    sip_class_end(L, TEXT);
  }
  lua_setmetatable(L, -2);
  return box;
}

static void script_set_version(struct sip_script *script)
{
  memcpy(script->version, sip_tree_hash(script->tree), VERSION_DIGITS);
}

int sip_script_add_file(struct sip_script *script, const char *path,
                        const struct sip_file_mark *mark, const struct sip_buf *text,
                        struct sip_err *err)
{
  char **files = realloc(script->files, (script->file_count + 1) * sizeof *files);
  struct sip_file_mark *marks = realloc(script->marks, (script->file_count + 1) * sizeof *marks);
  char *copy = strdup(path);
  int rc;

  if (files != NULL) {
    script->files = files;
  }
  if (marks != NULL) {
    script->marks = marks;
  }
  if (files == NULL || marks == NULL || copy == NULL) {
    free(copy);
    return sip_err_set(err, UV_ENOMEM, "no memory for %s", path);
  }
  rc = sip_tree_add(script->tree, path + script->directory_len, text, err);
  if (rc < 0) {
    free(copy);
    return rc;
  }
  marks[script->file_count] = *mark;
  files[script->file_count++] = copy;
  if (script->loaded) {
    script_set_version(script);
  }
  return 0;
}

const char *sip_script_path(const struct sip_script *script)
{
  return script->path;
}

size_t sip_script_directory_len(const struct sip_script *script)
{
  return script->directory_len;
}

void sip_script_free(struct sip_script *script)
{
  if (script == NULL) {
    return;
  }
  if (script->box != NULL) {
    *script->box = NULL;
    luaL_unref(script->vm->L, LUA_REGISTRYINDEX, script->generation_ref);
  }
  if (script->timer != NULL) {
    uv_close((uv_handle_t *)script->timer, (uv_close_cb)free);
  }
  for (size_t i = 0; i < script->file_count; i++) {
    free(script->files[i]);
  }
  free(script->files);
  free(script->marks);
  sip_tree_unref(script->tree);
  free(script->path);
  free(script);
}

size_t sip_script_files(const struct sip_script *script, const char *const **out)
{
  *out = (const char *const *)script->files;
  return script->file_count;
}

const struct sip_file_mark *sip_script_marks(const struct sip_script *script)
{
  return script->marks;
}

const char *sip_script_version(const struct sip_script *script)
{
  return script->version;
}

struct sip_script *sip_script_current(struct sip_vm *vm)
{
  return vm->loading;
}

struct sip_tree *sip_script_tree(const struct sip_script *script)
{
  return script->tree;
}

uint64_t sip_script_number(const struct sip_script *script)
{
  return script->number;
}

/* Protected: builds the generation's table and keeps it in the registry. */
static int script_make_generation(lua_State *L)
{
  struct sip_script *script = lua_touserdata(L, 1);
  struct sip_script **box;

  lua_settop(L, 1);
  lua_pushlstring(L, script->path, script->directory_len);
  sip_generation_new(L, script->tree, lua_tostring(L, 2));
  box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = script;
  lua_setfield(L, -2, "script");
  script->generation_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  script->box = box;
  return 0;
}

/* The task's function: upvalue 1 is the generation. Compiles and runs the script. */
static int script_run_after(lua_State *L, int status, lua_KContext context)
{
  (void)L;
  (void)status;
  (void)context;
  return 0;
}

static int script_run(lua_State *L)
{
  lua_settop(L, 0);
  lua_getfield(L, lua_upvalueindex(1), "script");
  if (sip_script_load_main(L, lua_upvalueindex(1), *(struct sip_script **)lua_touserdata(L, 1)) <
      0) {
    return lua_error(L);
  }
  lua_callk(L, 0, 0, 0, script_run_after);
  return 0;
}

static int script_spawn(lua_State *L)
{
  struct sip_script *script = lua_touserdata(L, 1);
  sip_task_end_fn on_end = *(sip_task_end_fn *)lua_touserdata(L, 2);

  lua_rawgeti(L, LUA_REGISTRYINDEX, script->generation_ref);
  lua_pushcclosure(L, script_run, 1);
  script->task = sip_task_spawn(L, 0, on_end, script);
  return 0;
}

/* The first "path:12:" of one of the script's files in `text`: its line, and the path in `file`; or
 * 0. */
static long script_find_line(const struct sip_script *script, const char *text, const char **file)
{
  const char *first = NULL;
  long line = 0;

  for (size_t i = 0; i < script->file_count; i++) {
    const char *at = strstr(text, script->files[i]);
    size_t n = strlen(script->files[i]);

    if (at != NULL && at[n] == ':' && (first == NULL || at < first) &&
        strtol(at + n + 1, NULL, 10) > 0) {
      first = at;
      line = strtol(at + n + 1, NULL, 10);
      *file = script->files[i];
    }
  }
  return line;
}

/* "path:12: message" gets the lines around line 12 between the message and the traceback. */
static void script_describe(struct sip_script *script, const char *text)
{
  struct sip_buf out = SIP_BUF_INIT;
  const char *end = strstr(text, "\nstack traceback:");
  const char *file;
  long line = script_find_line(script, text, &file);

  if (line > 0) { /* what is lost for want of memory is only the excerpt */
    const struct sip_buf *source = sip_tree_find(script->tree, file + script->directory_len);

    (void)sip_buf_add(&out, text, end == NULL ? strlen(text) : (size_t)(end - text));
    sip_script_excerpt(&out, source, line);
    (void)sip_buf_adds(&out, end == NULL ? "" : end);
  }
  sip_err_set(&script->err, SIP_ESCRIPT, "%s", out.data == NULL ? text : out.data);
  sip_buf_deinit(&out);
}

static void script_finish(struct sip_script *script)
{
  sip_script_done_fn on_done = script->on_done;
  void *arg = script->arg;
  struct sip_err err = script->err;

  script->vm->loading = NULL;
  if (script->timer != NULL) {
    uv_close((uv_handle_t *)script->timer, (uv_close_cb)free);
    script->timer = NULL;
  }
  if (err.code != 0) {
    sip_script_free(script);
    script = NULL;
  } else {
    sip_script_add_named(script);
    script->loaded = true;
    script_set_version(script);
  }
  on_done(script, &err, arg);
}

static void script_on_end(struct sip_task *task, lua_State *L, int status, int nresults, void *arg)
{
  struct sip_script *script = arg;

  (void)task;
  (void)nresults;
  script->task = NULL;
  if (script->timed_out) {
    sip_err_set(&script->err, UV_ETIMEDOUT,
                "%s: did not finish loading in time (does it wait or loop at load?)", script->path);
  } else if (status != LUA_OK) {
    script_describe(script,
                    lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not enough memory");
  }
  script_finish(script);
}

static void script_on_limit(uv_timer_t *timer)
{
  struct sip_script *script = timer->data;

  if (script->task != NULL) {
    script->timed_out = true;
    sip_task_kill(script->task);
  }
}

static int script_start_limit(struct sip_script *script, uint64_t limit_ms)
{
  script->timer = calloc(1, sizeof *script->timer);
  if (script->timer == NULL) {
    return UV_ENOMEM;
  }
  (void)uv_timer_init(script->vm->loop, script->timer); /* always 0 */
  script->timer->data = script;
  (void)uv_timer_start(script->timer, script_on_limit, limit_ms,
                       0); /* fails only without a callback */
  return 0;
}

static int script_call(struct sip_script *script, lua_CFunction function, sip_task_end_fn *on_end)
{
  lua_State *L = script->vm->L;

  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, script);
  lua_pushlightuserdata(L, on_end);
  return sip_vm_call(script->vm, 2, 0, &script->err);
}

int sip_script_load_start(struct sip_vm *vm, const char *path, uint64_t limit_ms,
                          sip_script_done_fn on_done, void *arg, struct sip_err *err)
{
  sip_task_end_fn on_end = script_on_end;
  struct sip_script *script;
  int rc;

  if (vm->loading != NULL) {
    return sip_err_set(err, SIP_EBUSY, "%s: another load is in progress", path);
  }
  script = calloc(1, sizeof *script);
  if (script == NULL) {
    return sip_err_set(err, UV_ENOMEM, "%s: not enough memory", path);
  }
  script->vm = vm;
  script->on_done = on_done;
  script->arg = arg;
  script->path = realpath(path, NULL);
  if (script->path == NULL) {
    rc = sip_err_errno(err, errno, "open %s", path);
    goto cleanup;
  }
  script->directory_len = (size_t)(strrchr(script->path, '/') + 1 - script->path);
  script->tree = sip_tree_new(script->path + script->directory_len);
  limit_ms = limit_ms == 0 ? DEFAULT_LIMIT_MS : limit_ms;
  rc = script->tree == NULL ? UV_ENOMEM : script_call(script, script_make_generation, NULL);
  if (rc == 0) {
    rc = script_start_limit(script, limit_ms);
  }
  if (rc == 0) {
    rc = script_call(script, script_spawn, &on_end);
  }
  if (rc < 0) {
    sip_err_set(err, rc, "%s: %s", path,
                script->err.code != 0 ? script->err.message : "not enough memory");
    goto cleanup;
  }
  script->number = ++vm->generations;
  vm->loading = script;
  script = NULL; /* belongs to its task now */
cleanup:
  sip_script_free(script);
  return rc;
}

struct sync_load {
  struct sip_script *script;
  struct sip_err *err;
  bool done;
};

static void sync_on_done(struct sip_script *script, const struct sip_err *err, void *arg)
{
  struct sync_load *load = arg;

  load->done = true;
  load->script = script;
  if (load->err != NULL) {
    *load->err = *err;
  }
}

int sip_script_load(struct sip_script **out, struct sip_vm *vm, const char *path, uint64_t limit_ms,
                    struct sip_err *err)
{
  struct sip_err local;
  struct sync_load load = { NULL, err == NULL ? &local : err, false };
  int rc = sip_script_load_start(vm, path, limit_ms, sync_on_done, &load, err);

  if (rc < 0) {
    return rc;
  }
  while (!load.done) {
    (void)uv_run(vm->loop, UV_RUN_ONCE);
  }
  if (load.script == NULL) {
    return load.err->code;
  }
  *out = load.script;
  return 0;
}
