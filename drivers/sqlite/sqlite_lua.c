/* sqlite_lua.c - module sipeat.core.sqlite: the primitives under sipeat.sql (stdlib/sql.lua).
 *
 * open(path, busy_ms, max_result_bytes, sync_normal, private) -> db; db:run(kind, sql, ...) ->
 * rows, changes, last_id; db:begin() -> tx; db:close(); tx:run(kind, sql, ...); tx:commit() ->
 * true; tx:rollback() -> true; tx:close() rolls back what is open; batch() and run("batch", batch):
 * sqlite_batch_lua.c. All but close and batch wait for the work pool. A value is nil or the null of
 * JSON, boolean, integer, number, text, or a table {bytes} for a blob. Loop thread. */
#include "sqlite/sqlite_lua.h"

#include "sqlite/sqlite.h"
#include "sqlite/sqlite_batch_lua.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char BASE[] = "sipeat.sqlite.db", TX[] = "sipeat.sqlite.tx", OP[] = "sipeat.sqlite.op";
static const char SERVICE; /* its address is the key of the list of databases */
static struct sip_list *const STOPPED =
  (struct sip_list *)&SERVICE; /* its value after the stop; never followed */

/* A database as Lua sees it. Counted: by its box and by its transactions. */
struct base {
  struct sip_list link;          /* in the service's list, to be closed at the end */
  struct sip_sqlite *db;         /* NULL once closed */
  const struct sip_task *holder; /* compared only: the task whose transaction is open */
  size_t refs;
};

struct tx {
  struct sip_sqlite_tx *tx;
  struct base *base; /* counted */
};

/* One wait for one job. */
struct op {
  struct sip_wait wait;
  struct sip_sqlite_job *job; /* NULL once dropped */
};

/* --- lifetimes --- */

static void base_unref(struct base *base)
{
  if (--base->refs == 0) {
    free(base);
  }
}

static void base_close(struct base *base)
{
  sip_list_remove(&base->link);
  sip_sqlite_close(base->db);
  base->db = NULL;
}

static int base_gc(lua_State *L)
{
  struct base **box = luaL_checkudata(L, 1, BASE);
  struct base *base = *box;

  *box = NULL;
  if (base != NULL) {
    base_close(base);
    base_unref(base);
  }
  return 0;
}

static int tx_gc(lua_State *L)
{
  struct tx **box = luaL_checkudata(L, 1, TX);
  struct tx *tx = *box;

  *box = NULL;
  if (tx != NULL) {
    if (tx->tx != NULL && sip_sqlite_tx_open(tx->tx)) {
      tx->base->holder = NULL;
    }
    sip_sqlite_tx_free(tx->tx);
    base_unref(tx->base);
    free(tx);
  }
  return 0;
}

static int op_gc(lua_State *L)
{
  struct op **box = luaL_checkudata(L, 1, OP);
  struct op *op = *box;

  *box = NULL;
  if (op != NULL) {
    sip_sqlite_job_free(op->job);
    free(op);
  }
  return 0;
}

static void op_on_done(struct sip_sqlite_job *job, void *arg)
{
  struct op *op = arg;

  (void)job;
  sip_wake(&op->wait, 0);
}

static void op_cancel(struct sip_wait *wait)
{
  struct op *op = SIP_CONTAINER(wait, struct op, wait);

  sip_sqlite_job_free(op->job);
  op->job = NULL;
}

/* An operation in a box on top of the stack. */
static struct op *op_new(lua_State *L, enum sip_sqlite_kind kind, sip_wait_finish_fn finish)
{
  struct op **box = sip_box_new(L, OP, op_gc);
  struct op *op = calloc(1, sizeof *op);

  if (op == NULL) {
    luaL_error(L, "sql: not enough memory");
    return NULL; /* not reached */
  }
  *box = op;
  sip_wait_init(&op->wait, op_cancel, finish);
  op->job = sip_sqlite_job_new(kind);
  if (op->job == NULL) {
    luaL_error(L, "sql: not enough memory");
  }
  return op;
}

/* Closes the operation at `index` and pushes its failure, when it failed: 3 values, else none. */
static int op_failure(lua_State *L, int index, const struct sip_wait *wait)
{
  struct op **box = luaL_checkudata(L, index, OP);
  struct sip_err err;
  int status = wait->status;

  if (status < 0) {
    err.code = status;
  } else {
    err = (*box)->job->err;
  }
  if (err.code == 0) {
    return 0;
  }
  lua_pushcfunction(L, op_gc); /* now, not when the collector gets to it */
  lua_pushvalue(L, index);
  lua_call(L, 1, 0);
  return status < 0 ? sip_push_error(L, status, "sql") : sip_push_err(L, &err);
}

/* Starts the operation's job and waits for it. The job of a task that was stopped is not even
 * begun: else a commit might happen or not, as the threads have it. */
static int op_await(lua_State *L, struct sip_sqlite *db, struct op *op)
{
  const struct sip_task *task = sip_task_current(L);
  struct sip_err err;

  if ((task == NULL || !sip_task_killed(task)) &&
      sip_sqlite_start(db, op->job, op_on_done, op, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return sip_await(L, &op->wait, SIP_FOREVER);
}

/* --- open and close --- */

static struct base *check_base(lua_State *L)
{
  struct base **box = luaL_checkudata(L, 1, BASE);

  luaL_argcheck(L, *box != NULL && (*box)->db != NULL, 1, "the database is closed");
  return *box;
}

static int l_base_run(lua_State *L);
static int l_base_begin(lua_State *L);

static int l_base_close(lua_State *L)
{
  struct base **box = luaL_checkudata(L, 1, BASE);

  if (*box != NULL && (*box)->db != NULL) {
    base_close(*box);
  }
  return 0;
}

static struct sip_list *service_of(lua_State *L)
{
  struct sip_list *bases = sip_vm_service(L, &SERVICE);

  if (bases == STOPPED) {
    luaL_error(L, "sql: the program is ending");
  }
  if (bases == NULL) {
    bases = malloc(sizeof *bases);
    if (bases == NULL || sip_vm_set_service(sip_vm_of(L), &SERVICE, bases) < 0) {
      free(bases);
      luaL_error(L, "sql: not enough memory");
      return NULL; /* not reached */
    }
    sip_list_init(bases);
  }
  return bases;
}

/* stack: base box, operation box */
static int open_finish(lua_State *L, struct sip_wait *wait)
{
  int count = op_failure(L, 2, wait);

  if (count > 0) {
    lua_pushcfunction(L, base_gc);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
    return count;
  }
  lua_pushvalue(L, 1);
  return 1;
}

static int l_open(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "run", l_base_run }, { "begin", l_base_begin }, { "close", l_base_close }, { NULL, NULL }
  };
  struct sip_sqlite_options options = { 0 };
  struct sip_list *bases = service_of(L);
  struct base **box, *base;
  struct sip_err err;
  struct op *op;
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);

  if (path[0] != '\0' && strcmp(path, ":memory:") != 0) {
    sip_permit(L, SIP_PERMIT_WRITE, path);
  }
  options.busy_timeout_ms = (uint64_t)luaL_checkinteger(L, 2);
  options.max_result_bytes = (size_t)luaL_checkinteger(L, 3);
  options.sync_normal = lua_toboolean(L, 4) != 0;
  options.is_private = lua_toboolean(L, 5) != 0;
  box = sip_box_class(L, BASE, base_gc, methods);
  base = calloc(1, sizeof *base);
  if (base == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  base->refs = 1;
  sip_list_init(&base->link);
  *box = base;
  op = op_new(L, SIP_SQLITE_OPEN, open_finish);
  if (sip_buf_add(&op->job->sql, path, len) < 0) {
    return luaL_error(L, "sql: not enough memory");
  }
  lua_replace(L, 2);
  lua_replace(L, 1);
  if (sip_sqlite_new(&base->db, sip_vm_loop(L), &options, op->job, op_on_done, op, &err) < 0) {
    return sip_push_err(L, &err);
  }
  sip_list_push(bases, &base->link);
  return sip_await(L, &op->wait, SIP_FOREVER);
}

/* --- statements --- */

static void push_cell(lua_State *L, const struct sip_sqlite_job *job,
                      const struct sip_sqlite_value *cell)
{
  switch (cell->type) {
  case SIP_SQLITE_INTEGER:
    lua_pushinteger(L, cell->as.integer);
    break;
  case SIP_SQLITE_REAL:
    lua_pushnumber(L, cell->as.real);
    break;
  case SIP_SQLITE_TEXT:
  case SIP_SQLITE_BLOB:
    lua_pushlstring(L, cell->as.text.len == 0 ? "" : job->bytes.data + cell->as.text.at,
                    cell->as.text.len);
    break;
  default:
    lua_pushnil(L);
  }
}

static void push_rows(lua_State *L, const struct sip_sqlite_job *job)
{
  const struct sip_sqlite_value *cell = job->cells;
  const char *name = job->names.data;

  lua_createtable(L, (int)job->row_count, 0);
  lua_createtable(L, (int)job->column_count, 0); /* stack: …, rows, names */
  for (size_t i = 0; i < job->column_count; i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
    name += strlen(name) + 1;
  }
  for (size_t row = 0; row < job->row_count; row++) {
    lua_createtable(L, 0, (int)job->column_count);
    for (size_t i = 0; i < job->column_count; i++, cell++) {
      (void)lua_rawgeti(L, -2, (lua_Integer)i + 1);
      push_cell(L, job, cell);
      lua_rawset(L, -3);
    }
    lua_rawseti(L, -3, (lua_Integer)row + 1);
  }
  lua_pop(L, 1);
}

/* stack: self, operation box, … */
static int run_finish(lua_State *L, struct sip_wait *wait)
{
  int count = op_failure(L, 2, wait);
  struct op **box;

  if (count > 0) {
    return count;
  }
  box = luaL_checkudata(L, 2, OP);
  push_rows(L, (*box)->job);
  lua_pushinteger(L, (*box)->job->changes);
  lua_pushinteger(L, (*box)->job->last_id);
  lua_pushcfunction(L, op_gc);
  lua_pushvalue(L, 2);
  lua_call(L, 1, 0);
  return 3;
}

/* stack: self, kind, sql, values … */
static int run(lua_State *L, struct base *base, struct sip_sqlite_tx *tx)
{
  static const char *const names[] = { "statement", "script", "batch", NULL };
  static const enum sip_sqlite_kind kinds[] = { SIP_SQLITE_STATEMENT, SIP_SQLITE_SCRIPT,
                                                SIP_SQLITE_BATCH };
  enum sip_sqlite_kind kind = kinds[luaL_checkoption(L, 2, NULL, names)];
  int top = lua_gettop(L);
  const char *text = NULL;
  size_t len = 0;
  struct op *op;

  if (kind == SIP_SQLITE_BATCH) {
    sip_sqlite_check_batch(L, 3);
  } else {
    text = luaL_checklstring(L, 3, &len);
  }
  op = op_new(L, kind, run_finish);
  lua_replace(L, 2);
  if (kind == SIP_SQLITE_BATCH) {
    op->job = sip_sqlite_take_batch(L, 3, op->job);
    op->job->tx = tx;
    return op_await(L, base->db, op);
  }
  if (sip_buf_add(&op->job->sql, text, len) < 0) {
    return luaL_error(L, "sql: not enough memory");
  }
  for (int i = 4; i <= top; i++) {
    sip_sqlite_bind_value(L, i, op->job);
  }
  op->job->tx = tx;
  return op_await(L, base->db, op);
}

/* A task that waits for its own transaction would wait for ever. */
static void check_holder(lua_State *L, const struct base *base, const char *what)
{
  if (base->holder != NULL && base->holder == sip_task_current(L)) {
    luaL_error(L, "sql: %s inside of this task's transaction (use the tx it was given)", what);
  }
}

static int l_base_run(lua_State *L)
{
  struct base *base = check_base(L);

  check_holder(L, base, "a statement on db");
  return run(L, base, NULL);
}

/* --- transactions --- */

static struct tx *check_tx(lua_State *L)
{
  struct tx **box = luaL_checkudata(L, 1, TX);

  luaL_argcheck(L, *box != NULL, 1, "the transaction is over");
  return *box;
}

static int l_tx_run(lua_State *L)
{
  struct tx *tx = check_tx(L);

  if (tx->base->db == NULL) {
    return sip_push_error(L, SIP_ECLOSED, "sql: the database was closed");
  }
  return run(L, tx->base, tx->tx);
}

static int end_finish(lua_State *L, struct sip_wait *wait)
{
  int count;

  count = op_failure(L, 2, wait);
  if (count > 0) {
    return count;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int tx_end(lua_State *L, enum sip_sqlite_kind kind)
{
  struct tx *tx = check_tx(L);
  struct op *op;

  if (tx->base->db == NULL) {
    return sip_push_error(L, SIP_ECLOSED, "sql: the database was closed");
  }
  lua_settop(L, 1);
  op = op_new(L, kind, end_finish);
  op->job->tx = tx->tx;
  tx->base->holder = NULL; /* what the task does next on db comes after this */
  return op_await(L, tx->base->db, op);
}

static int l_tx_commit(lua_State *L)
{
  return tx_end(L, SIP_SQLITE_COMMIT);
}

static int l_tx_rollback(lua_State *L)
{
  return tx_end(L, SIP_SQLITE_ROLLBACK);
}

/* stack: db box, operation box, tx box */
static int begin_finish(lua_State *L, struct sip_wait *wait)
{
  struct tx **box = luaL_checkudata(L, 3, TX);
  int count = op_failure(L, 2, wait);

  if (count > 0) {
    return count;
  }
  (*box)->base->holder = sip_task_current(L);
  lua_settop(L, 3);
  return 1;
}

static int l_base_begin(lua_State *L)
{
  static const luaL_Reg methods[] = { { "run", l_tx_run },
                                      { "commit", l_tx_commit },
                                      { "rollback", l_tx_rollback },
                                      { "close", tx_gc },
                                      { NULL, NULL } };
  struct base *base = check_base(L);
  struct tx **box, *tx;
  struct op *op;

  check_holder(L, base, "a transaction");
  lua_settop(L, 1);
  op = op_new(L, SIP_SQLITE_BEGIN, begin_finish);
  box = sip_box_class(L, TX, tx_gc, methods);
  tx = calloc(1, sizeof *tx);
  if (tx == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  tx->base = base;
  base->refs++;
  *box = tx;
  tx->tx = sip_sqlite_tx_new(base->db);
  if (tx->tx == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  op->job->tx = tx->tx;
  return op_await(L, base->db, op);
}

/* --- module --- */

static int open_sqlite(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open", l_open },
                                        { "batch", sip_l_sqlite_batch },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}

int sip_sqlite_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  return sip_vm_provide(vm, "sipeat.core.sqlite", open_sqlite, err);
}

void sip_sqlite_lua_stop(struct sip_vm *vm)
{
  struct sip_list *bases = sip_vm_service(sip_vm_state(vm), &SERVICE);

  if (bases == NULL || bases == STOPPED) {
    return;
  }
  while (!sip_list_empty(bases)) {
    base_close(SIP_CONTAINER(bases->next, struct base, link));
  }
  (void)sip_vm_set_service(vm, &SERVICE, STOPPED); /* replacing cannot fail */
  free(bases);
}
