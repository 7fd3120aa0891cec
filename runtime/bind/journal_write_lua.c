/* journal_write_lua.c - write of sipeat.core.journal: statements of any kind, and what they gave.
 *
 * write({name, parameter…}, …) -> a result for each: the number of rows that changed, or a list of
 * rows for those that give rows | nil, message, code. The names are those of statements.h in lower
 * case. {group = {statement…}} in place of a statement: all of them or none; there a statement may
 * also be {sql = text, parameter…}, whose rows have the names of their columns, and `expect` says
 * how many rows one must change or give; its result is a list of theirs, or {failed = index,
 * message, code}. A parameter is a number, boolean, text, nil, or blob(bytes); a row is {n =
 * columns, cell…} with nil for NULL.
 *
 * add(run, since, at, packed, seq, phase, where, body) -> what write does of run_of_event since
 * then, run_add of the run, whose record is `packed`, and record_add of the last four. Loop thread.
 */
#include "bind/journal_service.h"

#include "journal/statements.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char WRITING[] = "sipeat.journal.writing";
static const char BLOB[] = "sipeat.journal.blob";

enum {
  SPARE_LIMIT = 1024,   /* writings that are kept for the next ones: as many as wait at a time */
  KEEP_BYTES = 64 << 10 /* of an answer, in one that is kept */
};

/* One call of write, from its statements to its results. */
struct writing {
  struct sip_journal_service *service; /* borrowed: outlives the journal's entries */
  int box;                             /* its place in the stack */
  struct sip_wait wait;
  struct sip_entry entry;
  struct sip_batch answer; /* its statements again, with what they gave */
  struct sip_err err;
};

static int writing_gc(lua_State *L)
{
  struct writing **box = luaL_checkudata(L, 1, WRITING);
  struct writing *writing = *box;

  *box = NULL;
  if (writing != NULL) {
    sip_journal_forget(&writing->entry);
    sip_batch_deinit(&writing->answer);
    free(writing);
  }
  return 0;
}

static void writing_cancel(struct sip_wait *wait)
{
  sip_journal_forget(&SIP_CONTAINER(wait, struct writing, wait)->entry);
}

/* --- results --- */

static int copy_cell(struct sip_batch *to, const struct sip_batch *from,
                     const struct sip_cell *cell)
{
  switch (cell->type) {
  case SIP_CELL_INTEGER:
    return sip_batch_integer(to, cell->integer);
  case SIP_CELL_REAL:
    return sip_batch_real(to, cell->real);
  case SIP_CELL_NULL:
    return sip_batch_null(to);
  default:
    return sip_batch_text(to, sip_batch_slice(from, cell)); /* a string in Lua either way */
  }
}

static int copy_op(struct sip_batch *to, const struct sip_batch *from, const struct sip_op *op)
{
  int rc = sip_batch_op(to, op->statement);
  struct sip_op *copy = rc < 0 ? NULL : &to->ops[to->op_count - 1];

  if (copy != NULL) {
    copy->changes = op->changes;
    copy->group = op->group;
    copy->has_failed = op->has_failed;
    copy->has_names = op->has_names;
  }
  for (size_t row = 0; rc == 0 && row < op->row_count; row++) {
    rc = sip_batch_row(to, copy, op->columns);
    for (size_t column = 0; rc == 0 && column < op->columns; column++) {
      rc = copy_cell(to, from, sip_batch_cell(from, op, row, column));
    }
  }
  return rc;
}

/* The batch is used for others as soon as this returns: its results are copied. */
static void writing_on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                            const struct sip_err *err)
{
  struct writing *writing = SIP_CONTAINER(entry, struct writing, entry);
  int rc = status;

  if (status < 0) {
    writing->err = *err;
  }
  sip_journal_service_look(writing->service, status, err);
  for (size_t i = 0; rc == 0 && i < entry->count; i++) {
    rc = copy_op(&writing->answer, batch, &batch->ops[entry->first + i]);
  }
  if (rc < 0 && status == 0) {
    (void)sip_err_set(&writing->err, rc, "journal: no memory for an answer");
  }
  sip_wake(&writing->wait, rc);
}

static void push_cell(lua_State *L, const struct sip_batch *batch, const struct sip_cell *cell)
{
  struct sip_slice bytes = sip_batch_slice(batch, cell);

  if (cell->type == SIP_CELL_INTEGER) {
    lua_pushinteger(L, cell->integer);
  } else if (cell->type == SIP_CELL_REAL) {
    lua_pushnumber(L, cell->real);
  } else if (bytes.data == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, bytes.data, bytes.len);
  }
}

static void push_rows(lua_State *L, const struct sip_batch *batch, const struct sip_op *op)
{
  lua_createtable(L, (int)op->row_count, 0);
  for (size_t row = 0; row < op->row_count; row++) {
    lua_createtable(L, (int)op->columns, 1);
    for (size_t column = 0; column < op->columns; column++) {
      push_cell(L, batch, sip_batch_cell(batch, op, row, column));
      lua_rawseti(L, -2, (lua_Integer)column + 1);
    }
    lua_pushinteger(L, (lua_Integer)op->columns);
    lua_setfield(L, -2, "n");
    lua_rawseti(L, -2, (lua_Integer)row + 1);
  }
}

/* Rows with the names of their columns. */
static void push_named_rows(lua_State *L, const struct sip_batch *batch, const struct sip_op *op)
{
  lua_createtable(L, (int)op->row_count - 1, 0);
  for (size_t row = 1; row < op->row_count; row++) {
    lua_createtable(L, 0, (int)op->columns);
    for (size_t column = 0; column < op->columns; column++) {
      push_cell(L, batch, sip_batch_cell(batch, op, 0, column));
      push_cell(L, batch, sip_batch_cell(batch, op, row, column));
      lua_rawset(L, -3);
    }
    lua_rawseti(L, -2, (lua_Integer)row);
  }
}

static void push_result(lua_State *L, const struct sip_batch *batch, const struct sip_op *op)
{
  if (op->has_names) {
    push_named_rows(L, batch, op);
  } else if (op->statement >= SIP_STATEMENT_META_GET) {
    push_rows(L, batch, op);
  } else {
    lua_pushinteger(L, op->changes);
  }
}

static void push_group(lua_State *L, const struct sip_batch *batch, size_t first)
{
  const struct sip_op *failed = sip_batch_failed(batch, first);

  lua_createtable(L, (int)batch->ops[first].group, 3);
  if (failed != NULL) {
    lua_pushinteger(L, failed - &batch->ops[first] + 1);
    lua_setfield(L, -2, "failed");
    push_cell(L, batch, sip_batch_cell(batch, failed, 0, 0));
    lua_setfield(L, -2, "code");
    push_cell(L, batch, sip_batch_cell(batch, failed, 0, 1));
    lua_setfield(L, -2, "message");
    return;
  }
  for (size_t i = 0; i < batch->ops[first].group; i++) {
    push_result(L, batch, &batch->ops[first + i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* The list of spare ones is upvalue 1 of write, and has room for all of them: this cannot throw. */
static void writing_spare(lua_State *L, const struct writing *writing)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, lua_upvalueindex(1));

  if (count < SPARE_LIMIT) {
    lua_pushvalue(L, writing->box);
    lua_rawseti(L, lua_upvalueindex(1), count + 1);
  }
}

/* Its results are pushed before another call of write can take it. */
static int writing_finish(lua_State *L, struct sip_wait *wait)
{
  struct writing *writing = SIP_CONTAINER(wait, struct writing, wait);
  size_t count = writing->answer.op_count;
  int results = 0;

  luaL_checkstack(L, (int)count + 8, "too many statements");
  writing_spare(L, writing);
  if (wait->status < 0) {
    return writing->err.code != 0 ? sip_push_err(L, &writing->err)
                                  : sip_push_error(L, wait->status, "journal");
  }
  for (size_t i = 0; i < count; results++) {
    const struct sip_op *op = &writing->answer.ops[i];

    if (op->group > 0) {
      push_group(L, &writing->answer, i);
      i += op->group;
    } else {
      push_result(L, &writing->answer, op);
      i++;
    }
  }
  return results;
}

/* --- statements --- */

static void *check_memory(lua_State *L, int rc)
{
  if (rc < 0) {
    luaL_error(L, "journal: not enough memory");
  }
  return NULL;
}

static void add_parameter(lua_State *L, struct sip_batch *batch, int arg)
{
  struct sip_slice bytes;

  switch (lua_type(L, -1)) {
  case LUA_TNIL:
    (void)check_memory(L, sip_batch_null(batch));
    return;
  case LUA_TNUMBER:
    (void)check_memory(L, lua_isinteger(L, -1) ? sip_batch_integer(batch, lua_tointeger(L, -1))
                                               : sip_batch_real(batch, lua_tonumber(L, -1)));
    return;
  case LUA_TBOOLEAN:
    (void)check_memory(L, sip_batch_integer(batch, lua_toboolean(L, -1)));
    return;
  case LUA_TSTRING:
    bytes.data = lua_tolstring(L, -1, &bytes.len);
    (void)check_memory(L, sip_batch_text(batch, bytes));
    return;
  default:
    luaL_argcheck(L, luaL_testudata(L, -1, BLOB) != NULL, arg, "no value of SQL");
    lua_getiuservalue(L, -1, 1);
    bytes.data = lua_tolstring(L, -1, &bytes.len);
    lua_pop(L, 1);
    (void)check_memory(L, sip_batch_blob(batch, bytes));
  }
}

static struct sip_slice slice_at_top(lua_State *L)
{
  struct sip_slice text;

  text.data = lua_tolstring(L, -1, &text.len);
  return text;
}

/* The statement on top of the stack, which is popped: {name or nothing, parameter…, n =, sql =,
 * expect =}. */
static void add_statement(lua_State *L, struct sip_batch *batch, int arg, bool in_group)
{
  int at = lua_gettop(L), number;
  lua_Integer count;

  luaL_argcheck(L, lua_istable(L, at), arg, "no statement");
  lua_getfield(L, at, "n");
  count = lua_isnil(L, -1) ? (lua_Integer)lua_rawlen(L, at) : luaL_checkinteger(L, -1);
  luaL_argcheck(L, count >= 0 && count < SIP_BATCH_MAX_CELLS, arg, "n is out of range");
  if (in_group && lua_getfield(L, at, "sql") == LUA_TSTRING) {
    (void)check_memory(L, sip_batch_sql(batch, slice_at_top(L)));
    number = SIP_BATCH_SQL;
  } else {
    (void)lua_rawgeti(L, at, 1);
    number = lua_type(L, -1) == LUA_TSTRING ? sip_statement_number(lua_tostring(L, -1)) : -1;
    luaL_argcheck(L, number >= 0, arg, "no such statement");
    (void)check_memory(L, sip_batch_op(batch, number));
  }
  for (lua_Integer i = number == SIP_BATCH_SQL ? 1 : 2; i <= count; i++) {
    lua_rawgeti(L, at, i);
    add_parameter(L, batch, arg);
    lua_pop(L, 1);
  }
  if (in_group && lua_getfield(L, at, "expect") != LUA_TNIL) {
    sip_batch_expect(batch, luaL_checkinteger(L, -1));
  }
  lua_settop(L, at - 1);
}

/* The statements of the list on top of the stack, which is popped. */
static void add_group(lua_State *L, struct sip_batch *batch, int arg)
{
  size_t first = batch->op_count;
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1);

  luaL_argcheck(L, count > 0, arg, "a group of no statements");
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    add_statement(L, batch, arg, true);
  }
  sip_batch_group(batch, first);
  lua_pop(L, 1);
}

/* Protected: the statements, and the batch on top. */
static int add_statements(lua_State *L)
{
  struct sip_batch *batch = lua_touserdata(L, -1);
  int count = lua_gettop(L) - 1;

  for (int arg = 1; arg <= count; arg++) {
    luaL_checktype(L, arg, LUA_TTABLE);
    if (lua_getfield(L, arg, "group") == LUA_TTABLE) {
      add_group(L, batch, arg);
    } else {
      lua_pop(L, 1);
      lua_pushvalue(L, arg);
      add_statement(L, batch, arg, false);
    }
  }
  return 0;
}

static struct writing *writing_new(lua_State *L)
{
  struct writing **box = sip_box_new(L, WRITING, writing_gc);
  struct writing *writing = calloc(1, sizeof *writing);

  if (writing == NULL) {
    luaL_error(L, "journal: not enough memory");
    return NULL;
  }
  sip_batch_init(&writing->answer);
  *box = writing;
  return writing;
}

/* Pushes one that is spare, or a new one. */
static struct writing *writing_take(lua_State *L)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, lua_upvalueindex(1));
  struct writing *writing;

  if (count > 0) {
    (void)lua_rawgeti(L, lua_upvalueindex(1), count);
    lua_pushnil(L);
    lua_rawseti(L, lua_upvalueindex(1), count);
    writing = *(struct writing **)lua_touserdata(L, -1);
    if (writing->answer.bytes.cap > KEEP_BYTES) {
      sip_batch_deinit(&writing->answer);
    }
    sip_batch_clear(&writing->answer);
    writing->err.code = 0;
  } else {
    writing = writing_new(L);
  }
  writing->box = lua_gettop(L);
  writing->service = sip_journal_service(L);
  sip_list_init(&writing->entry.link);
  sip_wait_init(&writing->wait, writing_cancel, writing_finish);
  return writing;
}

enum { SPARE = 8 }; /* stack slots beside the arguments of l_write */

static int l_write(lua_State *L)
{
  struct sip_journal *journal = sip_journal_lua_journal(L);
  struct sip_err err = { 0 };
  struct sip_batch *batch;
  struct writing *writing;
  int count = lua_gettop(L);

  luaL_argcheck(L, count > 0, 1, "a statement is needed");
  luaL_checkstack(L, count + SPARE, "too many statements"); /* a recovery writes hundreds */
  if (journal == NULL) {
    return luaL_error(L, "journal: there is none");
  }
  writing = writing_take(L); /* the suspended stack keeps it */
  batch = sip_journal_begin(journal, &err);
  if (batch == NULL) {
    return sip_push_err(L, &err);
  }
  lua_pushcfunction(L, add_statements);
  for (int arg = 1; arg <= count; arg++) {
    lua_pushvalue(L, arg);
  }
  lua_pushlightuserdata(L, batch);
  if (lua_pcall(L, count + 1, 0, 0) != LUA_OK) {
    sip_journal_rewind(journal);
    return lua_error(L);
  }
  sip_journal_write(journal, &writing->entry, writing_on_done);
  return sip_await(L, &writing->wait, SIP_FOREVER);
}

/* --- the first record of a run --- */

/* What is written with it; all of it is held by the arguments. */
struct first {
  int64_t id, epoch, at, since, partition, offset, seq, phase;
  struct sip_slice flow, cluster, topic, event, type, key, script, packed, where, body;
};

static int64_t number_of(lua_State *L, int table, const char *name)
{
  int64_t number;

  lua_getfield(L, table, name);
  number = luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return number;
}

/* A text of the table; without data where it may be missing, and is. */
static struct sip_slice text_of(lua_State *L, int table, const char *name, bool optional)
{
  struct sip_slice text = { NULL, 0 };

  if (lua_getfield(L, table, name) == LUA_TSTRING) {
    text = slice_at_top(L);
  } else if (!optional) {
    luaL_error(L, "journal: a run has no %s", name);
  }
  lua_pop(L, 1);
  return text;
}

enum {
  FIRST_RUN = 1,
  FIRST_SINCE,
  FIRST_AT,
  FIRST_PACKED,
  FIRST_SEQ,
  FIRST_PHASE,
  FIRST_WHERE,
  FIRST_BODY,
  FIRST_PLACE,
  FIRST_EVENT
};

/* Throws when an argument is not what it should be. */
static void read_first(lua_State *L, struct first *first)
{
  luaL_checktype(L, FIRST_RUN, LUA_TTABLE);
  first->since = luaL_checkinteger(L, FIRST_SINCE);
  first->at = luaL_checkinteger(L, FIRST_AT);
  first->packed.data = luaL_checklstring(L, FIRST_PACKED, &first->packed.len);
  luaL_argcheck(L, lua_getfield(L, FIRST_RUN, "record") == LUA_TTABLE, FIRST_RUN, "has no record");
  luaL_argcheck(L, lua_getfield(L, FIRST_RUN, "event") == LUA_TTABLE, FIRST_RUN, "has no event");
  first->id = number_of(L, FIRST_RUN, "id");
  first->epoch = number_of(L, FIRST_RUN, "epoch");
  first->flow = text_of(L, FIRST_RUN, "flow", false);
  first->cluster = text_of(L, FIRST_RUN, "cluster", false);
  first->script = text_of(L, FIRST_RUN, "script", false);
  first->topic = text_of(L, FIRST_PLACE, "topic", false);
  first->partition = number_of(L, FIRST_PLACE, "partition");
  first->offset = number_of(L, FIRST_PLACE, "offset");
  first->key = text_of(L, FIRST_PLACE, "key", true);
  first->event = text_of(L, FIRST_EVENT, "id", false);
  first->type = text_of(L, FIRST_EVENT, "type", true);
  first->seq = luaL_checkinteger(L, FIRST_SEQ);
  first->phase = luaL_checkinteger(L, FIRST_PHASE);
  first->where.data = luaL_checklstring(L, FIRST_WHERE, &first->where.len);
  first->body.data = luaL_checklstring(L, FIRST_BODY, &first->body.len);
  lua_settop(L, FIRST_EVENT);
}

/* @return 0 or UV_ENOMEM */
static int add_first(struct sip_batch *batch, const struct first *first)
{
  const struct sip_slice texts[] = { first->flow, first->cluster, first->topic };
  const int64_t run[] = { first->id, first->epoch, SIP_RUN_ACTIVE, 0, first->at };
  const int64_t record[] = { first->id, first->epoch, first->seq, first->at, first->phase };
  const struct sip_slice place_and_body[] = { first->where, first->body };
  struct sip_slice type = first->type;
  int rc = sip_batch_op(batch, SIP_STATEMENT_RUN_OF_EVENT);

  rc = rc < 0 ? rc : sip_batch_text(batch, first->flow);
  rc = rc < 0 ? rc : sip_batch_text(batch, first->event);
  rc = rc < 0 ? rc : sip_batch_integer(batch, first->since);
  rc = rc < 0 ? rc : sip_batch_add(batch, SIP_STATEMENT_RUN_ADD, run, 5, texts, 3);
  rc = rc < 0 ? rc : sip_batch_integer(batch, first->partition);
  rc = rc < 0 ? rc : sip_batch_integer(batch, first->offset);
  rc = rc < 0 ? rc : sip_batch_text(batch, first->event);
  type.data = type.data == NULL ? "" : type.data;
  rc = rc < 0 ? rc : sip_batch_text(batch, type);
  rc = rc < 0 ? rc : sip_batch_blob(batch, first->key);
  rc = rc < 0 ? rc : sip_batch_blob(batch, first->script);
  rc = rc < 0 ? rc : sip_batch_blob(batch, first->packed);
  return rc < 0 ? rc : sip_batch_add(batch, SIP_STATEMENT_RECORD_ADD, record, 5, place_and_body, 2);
}

static int l_add(lua_State *L)
{
  struct sip_journal *journal = sip_journal_lua_journal(L);
  struct sip_err err = { 0 };
  struct sip_batch *batch;
  struct writing *writing;
  struct first first;

  lua_settop(L, FIRST_BODY);
  read_first(L, &first);
  if (journal == NULL) {
    return luaL_error(L, "journal: there is none");
  }
  writing = writing_take(L); /* as in l_write */
  batch = sip_journal_begin(journal, &err);
  if (batch == NULL) {
    return sip_push_err(L, &err);
  }
  if (add_first(batch, &first) < 0) {
    sip_journal_rewind(journal);
    return luaL_error(L, "journal: not enough memory");
  }
  sip_journal_write(journal, &writing->entry, writing_on_done);
  return sip_await(L, &writing->wait, SIP_FOREVER);
}

static int l_blob(lua_State *L)
{
  luaL_checkstring(L, 1);
  lua_newuserdatauv(L, 1, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  (void)luaL_newmetatable(L, BLOB); /* 0 when it is there: pushed all the same */
  lua_setmetatable(L, -2);
  return 1;
}

void sip_journal_write_functions(lua_State *L)
{
  static const luaL_Reg functions[] = { { "write", l_write }, { "add", l_add }, { NULL, NULL } };

  lua_pushcfunction(L, l_blob);
  lua_setfield(L, -2, "blob");
  lua_createtable(L, SPARE_LIMIT, 0);
  luaL_setfuncs(L, functions, 1);
}
