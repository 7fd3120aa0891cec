/* client_lua.c - module sipeat.core.postgres: the primitives under sipeat.postgres.
 *
 * open(url, settings) -> db; db:run(kind, sql, ...) -> rows, changes, first, json_columns;
 * db:begin(sql) -> tx; db:status() -> table; db:close(); tx:run(kind, sql, ...);
 * tx:run("batch", list of {n =, sql, ...}) -> true; tx:commit() -> true; tx:rollback() -> true;
 * tx:close() rolls back what is open. All but open, status and close wait for the server. A value
 * is nil or the null of JSON, boolean, integer, number, text, or a table {bytes} for bytea. Loop
 * thread. */
#include "postgres/client_lua.h"

#include "core/json_text.h"
#include "postgres/client.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char BASE[] = "sipeat.postgres.db", TX[] = "sipeat.postgres.tx",
                  OP[] = "sipeat.postgres.op";
static const char SERVICE; /* its address is the key of the list of databases; NULL: the end */

/* A database as Lua sees it. Counted: by its box and by its transactions. */
struct base {
  struct sip_list link;     /* in the service's list, to be closed at the end */
  struct sip_pg_pool *pool; /* NULL once closed */
  struct sip_list holders;  /* transactions that are open */
  size_t refs;
};

struct tx {
  struct sip_list link; /* in base->holders, or alone */
  struct sip_pg_tx *tx;
  struct base *base;           /* counted */
  const struct sip_task *task; /* compared only: whose transaction it is */
};

/* One wait for one job. */
struct op {
  struct sip_wait wait;
  struct sip_pg_job *job; /* NULL once dropped */
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
  sip_pg_pool_close(base->pool);
  base->pool = NULL;
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
    sip_list_remove(&tx->link);
    sip_pg_tx_free(tx->tx);
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
    sip_pg_job_free(op->job);
    free(op);
  }
  return 0;
}

static void op_on_done(struct sip_pg_job *job, void *arg)
{
  struct op *op = arg;

  (void)job;
  sip_wake(&op->wait, 0);
}

static void op_cancel(struct sip_wait *wait)
{
  struct op *op = SIP_CONTAINER(wait, struct op, wait);

  sip_pg_job_free(op->job);
  op->job = NULL;
}

/* An operation in a box on top of the stack. */
static struct op *op_new(lua_State *L, enum sip_pg_kind kind, sip_wait_finish_fn finish)
{
  struct op **box = sip_box_new(L, OP, op_gc);
  struct op *op = calloc(1, sizeof *op);

  if (op == NULL) {
    luaL_error(L, "sql: not enough memory");
    return NULL; /* not reached */
  }
  *box = op;
  sip_wait_init(&op->wait, op_cancel, finish);
  op->job = sip_pg_job_new(kind);
  if (op->job == NULL) {
    luaL_error(L, "sql: not enough memory");
  }
  return op;
}

/* Closes the operation at `index`. */
static void op_close(lua_State *L, int index)
{
  lua_pushcfunction(L, op_gc); /* now, not when the collector gets to it */
  lua_pushvalue(L, index);
  lua_call(L, 1, 0);
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
  op_close(L, index);
  return status < 0 ? sip_push_error(L, status, "sql") : sip_push_err(L, &err);
}

/* Starts the operation's job and waits for it. The job of a task that was stopped is not even
 * begun: else a commit might happen or not, as the server has it. */
static int op_await(lua_State *L, struct sip_pg_pool *pool, struct op *op)
{
  const struct sip_task *task = sip_task_current(L);
  struct sip_err err;

  if ((task == NULL || !sip_task_killed(task)) &&
      sip_pg_start(pool, op->job, op_on_done, op, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return sip_await(L, &op->wait, SIP_FOREVER);
}

/* --- values --- */

static void bind_number(lua_State *L, int index, char text[SIP_JSON_NUMBER_BYTES], size_t *len)
{
  lua_Number real = lua_tonumber(L, index);
  lua_Integer integer;

  if (lua_isinteger(L, index)) {
    *len = sip_json_print_integer(text, lua_tointeger(L, index));
  } else if (lua_numbertointeger(real, &integer) && (lua_Number)integer == real) {
    *len = sip_json_print_integer(text, integer); /* 3.0 may be meant for a column of integers */
  } else if (real != real || real - real != 0) {
    const char *word = real != real ? "NaN" : real > 0 ? "Infinity" : "-Infinity";

    *len = strlen(word);
    memcpy(text, word, *len);
  } else {
    *len = sip_json_print_real(text, real);
  }
}

/* @return 0, or SIP_EDATA for a text that PostgreSQL cannot hold */
static int bind_value(lua_State *L, int index, struct sip_pg_job *job)
{
  char number[SIP_JSON_NUMBER_BYTES];
  const char *bytes = NULL;
  size_t len = 0;
  bool binary = false;
  int rc;

  switch (lua_type(L, index)) {
  case LUA_TBOOLEAN:
    bytes = lua_toboolean(L, index) ? "t" : "f";
    len = 1;
    break;
  case LUA_TNUMBER:
    bind_number(L, index, number, &len);
    bytes = number;
    break;
  case LUA_TSTRING:
    bytes = lua_tolstring(L, index, &len);
    if (memchr(bytes, '\0', len) != NULL) {
      return SIP_EDATA;
    }
    break;
  case LUA_TTABLE:
    luaL_argcheck(L, lua_rawgeti(L, index, 1) == LUA_TSTRING, index,
                  "is a table that is no sql.blob (sql.array and sql.json make values of others)");
    bytes = lua_tolstring(L, -1, &len); /* the table keeps it */
    lua_pop(L, 1);
    binary = true;
    break;
  case LUA_TLIGHTUSERDATA: /* the null of JSON */
    luaL_argcheck(L, lua_touserdata(L, index) == NULL, index, "is no value of SQL");
    break;
  case LUA_TNIL:
    break;
  default:
    luaL_argerror(L, index, "is no value of SQL (nil, boolean, number, text, sql.blob)");
  }
  rc = sip_pg_job_bind(job, bytes, len, binary);
  luaL_argcheck(L, rc != SIP_ETOOBIG, index, "more than 999 values");
  if (rc < 0) {
    luaL_error(L, "sql: not enough memory");
  }
  return 0;
}

int sip_pg_lua_bind(lua_State *L, int index, struct sip_pg_job *job, int number,
                    struct sip_err *err)
{
  return bind_value(L, index, job) < 0
           ? sip_err_set(err, SIP_EDATA,
                         "sql: value %d has a NUL byte, which PostgreSQL's text cannot hold "
                         "(sql.blob is for bytes)",
                         number)
           : 0;
}

/* `text` ends in a NUL, which is not counted. */
static void push_value(lua_State *L, enum sip_pg_type type, const char *text, size_t len)
{
  switch (type) {
  case SIP_PG_INTEGER:
    lua_pushinteger(L, strtoll(text, NULL, 10));
    break;
  case SIP_PG_REAL:
    lua_pushnumber(L, strtod(text, NULL));
    break;
  case SIP_PG_BOOLEAN:
    lua_pushboolean(L, *text == 't');
    break;
  default:
    lua_pushlstring(L, text, len);
  }
}

/* The items of an array up to its end, in a table on top of the stack. */
static void push_items(lua_State *L, enum sip_pg_type type, struct sip_slice text, size_t *at,
                       struct sip_buf *item)
{
  enum sip_pg_token token;

  luaL_checkstack(L, 4, "an array of arrays");
  lua_newtable(L);
  for (lua_Integer i = 1;; i++) {
    token = sip_pg_array_next(text, at, item);
    if (token == SIP_PG_OPEN) {
      push_items(L, type, text, at, item);
    } else if (token == SIP_PG_ITEM) {
      push_value(L, type, item->data == NULL ? "" : item->data, item->len);
    } else if (token == SIP_PG_NULL) {
      lua_pushlightuserdata(L, NULL); /* the null of JSON: nil would leave a hole */
    } else {
      return;
    }
    lua_rawseti(L, -2, i);
  }
}

/* stack: …, op; the job's buffer for names is free to be used by now. */
static void push_array(lua_State *L, struct sip_pg_job *job, enum sip_pg_type type,
                       struct sip_slice text)
{
  size_t at = 0;

  if (sip_pg_array_next(text, &at, &job->sql) != SIP_PG_OPEN) {
    lua_pushlstring(L, text.data, text.len);
    return;
  }
  push_items(L, type, text, &at, &job->sql);
}

static void push_cell(lua_State *L, struct sip_pg_job *job, size_t number)
{
  const struct sip_pg_cell *cell = &job->cells[number];
  const struct sip_pg_column *column = &job->columns[number % job->column_count];
  const char *text = job->bytes.data + cell->at;

  if (cell->is_null) {
    lua_pushnil(L);
  } else if (column->is_array) {
    push_array(L, job, column->type, (struct sip_slice){ text, cell->len });
  } else {
    push_value(L, column->type, text, cell->len);
  }
}

/* Pushes the names of columns, and the list of those that hold JSON, or nil. */
static void push_names(lua_State *L, const struct sip_pg_job *job)
{
  const char *name = job->names.data;
  lua_Integer json = 0;

  lua_createtable(L, (int)job->column_count, 0);
  lua_pushnil(L);
  for (size_t i = 0; i < job->column_count; i++) {
    lua_pushstring(L, name);
    if (job->columns[i].type == SIP_PG_JSON && !job->columns[i].is_array) {
      if (json == 0) {
        lua_newtable(L);
        lua_replace(L, -3);
      }
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, ++json);
    }
    lua_rawseti(L, -3, (lua_Integer)i + 1);
    name += strlen(name) + 1;
  }
}

/* Pushes rows, changes, the first value, and the names of JSON columns. */
static int push_result(lua_State *L, struct sip_pg_job *job)
{
  int names;

  lua_createtable(L, (int)job->row_count, 0);
  push_names(L, job);
  names = lua_gettop(L) - 1;
  for (size_t row = 0; row < job->row_count; row++) {
    lua_createtable(L, 0, (int)job->column_count);
    for (size_t i = 0; i < job->column_count; i++) {
      (void)lua_rawgeti(L, names, (lua_Integer)i + 1);
      push_cell(L, job, row * job->column_count + i);
      lua_rawset(L, -3);
    }
    lua_rawseti(L, names - 1, (lua_Integer)row + 1);
  }
  lua_remove(L, names); /* stack: …, rows, json */
  lua_pushinteger(L, job->changes);
  if (job->row_count > 0 && job->column_count > 0) {
    push_cell(L, job, 0);
  } else {
    lua_pushnil(L);
  }
  lua_rotate(L, -3, 2); /* json goes last */
  return 4;
}

/* --- open and close --- */

static struct base *check_base(lua_State *L)
{
  struct base **box = luaL_checkudata(L, 1, BASE);

  luaL_argcheck(L, *box != NULL && (*box)->pool != NULL, 1, "the database is closed");
  return *box;
}

static int l_base_run(lua_State *L);
static int l_base_begin(lua_State *L);
static int l_base_status(lua_State *L);

static int l_base_close(lua_State *L)
{
  struct base **box = luaL_checkudata(L, 1, BASE);

  if (*box != NULL && (*box)->pool != NULL) {
    base_close(*box);
  }
  return 0;
}

static uint64_t setting(lua_State *L, const char *name)
{
  lua_Integer value;

  (void)lua_getfield(L, 2, name);
  value = luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return value < 0 ? 0 : (uint64_t)value;
}

static void permit_places(lua_State *L, const char *url)
{
  char place[300];

  for (size_t n = 0; sip_pg_place(url, n, place, sizeof place); n++) {
    sip_permit(L, SIP_PERMIT_HOST, place);
  }
}

static int l_open(lua_State *L)
{
  static const luaL_Reg methods[] = { { "run", l_base_run },
                                      { "begin", l_base_begin },
                                      { "status", l_base_status },
                                      { "close", l_base_close },
                                      { NULL, NULL } };
  struct sip_pg_options options = { .url = luaL_checkstring(L, 1) };
  struct sip_list *bases = sip_vm_service(L, &SERVICE);
  struct base **box, *base;
  struct sip_err err;

  if (bases == NULL) {
    return luaL_error(L, "sql: the program is ending");
  }
  permit_places(L, options.url);
  options.min = (size_t)setting(L, "min_connections");
  options.max = (size_t)setting(L, "max_connections");
  options.pipeline = (size_t)setting(L, "pipeline");
  options.statements = (size_t)setting(L, "statements");
  options.max_result_bytes = (size_t)setting(L, "max_result");
  options.wait_ms = setting(L, "wait");
  options.connect_timeout_ms = setting(L, "connect_timeout");
  options.statement_timeout_ms = setting(L, "statement_timeout");
  options.idle_ms = setting(L, "idle");
  options.health_ms = setting(L, "health");
  box = sip_box_class(L, BASE, base_gc, methods);
  base = calloc(1, sizeof *base);
  if (base == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  base->refs = 1;
  sip_list_init(&base->link);
  sip_list_init(&base->holders);
  *box = base;
  if (sip_pg_pool_new(&base->pool, sip_vm_loop(L), &options, &err) < 0) {
    return sip_push_err(L, &err);
  }
  sip_list_push(bases, &base->link);
  return 1;
}

static int l_base_status(lua_State *L)
{
  struct sip_pg_status now;

  sip_pg_pool_status(check_base(L)->pool, &now);
  lua_createtable(L, 0, 10);
  lua_pushinteger(L, (lua_Integer)now.connections);
  lua_setfield(L, -2, "connections");
  lua_pushinteger(L, (lua_Integer)now.connecting);
  lua_setfield(L, -2, "connecting");
  lua_pushinteger(L, (lua_Integer)now.idle);
  lua_setfield(L, -2, "idle");
  lua_pushinteger(L, (lua_Integer)now.held);
  lua_setfield(L, -2, "held");
  lua_pushinteger(L, (lua_Integer)now.waiting);
  lua_setfield(L, -2, "waiting");
  lua_pushinteger(L, (lua_Integer)now.under_way);
  lua_setfield(L, -2, "under_way");
  lua_pushinteger(L, (lua_Integer)now.opened);
  lua_setfield(L, -2, "opened");
  lua_pushinteger(L, (lua_Integer)now.broken);
  lua_setfield(L, -2, "broken");
  lua_pushinteger(L, (lua_Integer)now.statements);
  lua_setfield(L, -2, "statements");
  lua_pushinteger(L, (lua_Integer)now.prepared);
  lua_setfield(L, -2, "prepared");
  return 1;
}

/* --- statements --- */

/* stack: self, operation box, … */
static int run_finish(lua_State *L, struct sip_wait *wait)
{
  int count = op_failure(L, 2, wait);
  struct op **box;

  if (count > 0) {
    return count;
  }
  box = luaL_checkudata(L, 2, OP);
  count = push_result(L, (*box)->job);
  op_close(L, 2);
  return count;
}

/* stack: self, kind, sql, values … */
static int run(lua_State *L, struct base *base, struct sip_pg_tx *tx)
{
  static const char *const kinds[] = { "statement", "script", "ping", NULL };
  int kind = luaL_checkoption(L, 2, NULL, kinds), top = lua_gettop(L);
  size_t len;
  const char *text = luaL_checklstring(L, 3, &len);
  struct op *op = op_new(L, (enum sip_pg_kind)kind, run_finish);
  struct sip_err err;

  lua_replace(L, 2);
  if (sip_pg_job_set_sql(op->job, text, len, &err) < 0) {
    return sip_push_err(L, &err);
  }
  for (int i = 4; i <= top; i++) {
    if (sip_pg_lua_bind(L, i, op->job, i - 3, &err) < 0) {
      return sip_push_err(L, &err);
    }
  }
  op->job->tx = tx;
  return op_await(L, base->pool, op);
}

/* A statement outside of a transaction that its own task has open is a mistake, mostly: it does not
 * see what the transaction did, and with the last connection it would wait for itself. */
static void check_holder(lua_State *L, const struct base *base, const char *what)
{
  const struct sip_task *task = sip_task_current(L);

  for (const struct sip_list *at = base->holders.next; at != &base->holders; at = at->next) {
    if (task != NULL && SIP_CONTAINER(at, const struct tx, link)->task == task) {
      luaL_error(L, "sql: %s inside of this task's transaction (use the tx it was given)", what);
    }
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

static int push_closed(lua_State *L)
{
  return sip_push_error(L, SIP_ECLOSED, "sql: the database was closed");
}

static int l_tx_run(lua_State *L)
{
  struct tx *tx = check_tx(L);

  if (tx->base->pool == NULL) {
    return push_closed(L);
  }
  if (strcmp(luaL_checkstring(L, 2), "batch") == 0) {
    lua_remove(L, 2);
    return sip_pg_lua_batch(L, tx->base->pool, tx->tx);
  }
  return run(L, tx->base, tx->tx);
}

static int end_finish(lua_State *L, struct sip_wait *wait)
{
  int count = op_failure(L, 2, wait);

  if (count > 0) {
    return count;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int tx_end(lua_State *L, enum sip_pg_kind kind)
{
  struct tx *tx = check_tx(L);
  struct op *op;

  if (tx->base->pool == NULL) {
    return push_closed(L);
  }
  lua_settop(L, 1);
  op = op_new(L, kind, end_finish);
  op->job->tx = tx->tx;
  sip_list_remove(&tx->link); /* what the task does next on db comes after this */
  return op_await(L, tx->base->pool, op);
}

static int l_tx_commit(lua_State *L)
{
  return tx_end(L, SIP_PG_COMMIT);
}

static int l_tx_rollback(lua_State *L)
{
  return tx_end(L, SIP_PG_ROLLBACK);
}

/* stack: db box, operation box, tx box */
static int begin_finish(lua_State *L, struct sip_wait *wait)
{
  struct tx **box = luaL_checkudata(L, 3, TX);
  int count = op_failure(L, 2, wait);

  if (count > 0) {
    return count;
  }
  (*box)->task = sip_task_current(L);
  sip_list_push(&(*box)->base->holders, &(*box)->link);
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
  const char *how = luaL_optstring(L, 2, "BEGIN");
  struct tx **box, *tx;
  struct op *op;

  check_holder(L, base, "a transaction");
  op = op_new(L, SIP_PG_BEGIN, begin_finish);
  if (sip_buf_adds(&op->job->sql, how) < 0) {
    return luaL_error(L, "sql: not enough memory");
  }
  lua_replace(L, 2);
  lua_settop(L, 2);
  box = sip_box_class(L, TX, tx_gc, methods);
  tx = calloc(1, sizeof *tx);
  if (tx == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  sip_list_init(&tx->link);
  tx->base = base;
  base->refs++;
  *box = tx;
  tx->tx = sip_pg_tx_new(base->pool);
  if (tx->tx == NULL) {
    return luaL_error(L, "sql: not enough memory");
  }
  op->job->tx = tx->tx;
  return op_await(L, base->pool, op);
}

/* --- module --- */

static int open_postgres(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open", l_open }, { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}

int sip_postgres_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_list *bases = malloc(sizeof *bases);

  if (bases == NULL || sip_vm_set_service(vm, &SERVICE, bases) < 0) {
    free(bases);
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for the list of databases");
  }
  sip_list_init(bases);
  return sip_vm_provide(vm, "sipeat.core.postgres", open_postgres, err);
}

void sip_postgres_lua_stop(struct sip_vm *vm)
{
  struct sip_list *bases = sip_vm_service(sip_vm_state(vm), &SERVICE);

  if (bases == NULL) {
    return;
  }
  while (!sip_list_empty(bases)) {
    base_close(SIP_CONTAINER(bases->next, struct base, link));
  }
  (void)sip_vm_set_service(vm, &SERVICE, NULL); /* replacing cannot fail */
  free(bases);
}
