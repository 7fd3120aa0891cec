/* journal_record_lua.c - records of sipeat.core.journal: most of what is written, straight from a
 * script's values into the batch.
 *
 * keeper(slow, sent, phases, encoder) -> keep(run, phase, where, value, later, text, quoted),
 * ends(run, state). Of a `run` whose field `ready` is true, keep writes {run.id, run.epoch,
 * ++run.seq, time, phases[phase], where, the JSON of value as that encoder of sipeat.core.json has
 * it}; the string `text` in it is written as `quoted`, which is its JSON. It waits until that is
 * durable and answers true, or what sent(run, …) makes of another answer (see write); with `later`
 * it answers at once. Whatever is not as simple as that goes to slow(run, phase, where, value,
 * later). ends says without waiting that such a run has ended, ahead of what is written next: true,
 * or nothing when it was not taken. Loop thread. */
#include "bind/journal_record.h"

#include "bind/json_lua.h"
#include "core/clock.h"
#include "journal/statements.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char RECORD[] = "sipeat.journal.record";

enum {
  SPARE_LIMIT = 1024
}; /* records that are kept for the next ones: as many as wait at a time */
enum { RUN = 1, PHASE, WHERE, VALUE, LATER, TEXT, QUOTED }; /* places in the stack */
enum { STATE_NUMBERS = 5 };
enum upvalue {
  SPARE = 1,
  JSON,
  SLOW,
  SENT,
  PHASES,
  CLASS,
  MARK,
  READY,
  ID,
  EPOCH,
  SEQ,
  UPVALUES = SEQ
};

/* One that nobody waits for. */
struct note {
  struct sip_entry entry;
  struct sip_journal_service *service; /* borrowed: outlives the journal's entries */
};

/* --- a wait --- */

static int record_gc(lua_State *L)
{
  struct sip_record_wait **box = luaL_checkudata(L, 1, RECORD);
  struct sip_record_wait *record = *box;

  *box = NULL;
  if (record != NULL) {
    sip_journal_forget(&record->entry);
    free(record->err);
    free(record);
  }
  return 0;
}

static void record_cancel(struct sip_wait *wait)
{
  sip_journal_forget(&SIP_CONTAINER(wait, struct sip_record_wait, wait)->entry);
}

static void record_on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                           const struct sip_err *err)
{
  struct sip_record_wait *record = SIP_CONTAINER(entry, struct sip_record_wait, entry);

  sip_journal_service_look(record->service, status, err);
  record->changes = status < 0 ? 0 : batch->ops[entry->first].changes;
  if (status < 0) {
    record->err = malloc(sizeof *record->err);
    if (record->err != NULL) {
      *record->err = *err;
    }
  }
  sip_wake(&record->wait, status);
}

static void note_on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                         const struct sip_err *err)
{
  struct note *note = SIP_CONTAINER(entry, struct note, entry);

  (void)batch;
  sip_journal_service_look(note->service, status, err);
  free(note);
}

static struct sip_record_wait *record_new(lua_State *L)
{
  struct sip_record_wait **box = sip_box_new(L, RECORD, record_gc);
  struct sip_record_wait *record = calloc(1, sizeof *record);

  if (record == NULL) {
    luaL_error(L, "journal: not enough memory");
    return NULL;
  }
  *box = record;
  sip_list_init(&record->entry.link);
  return record;
}

void sip_record_push_spare(lua_State *L)
{
  lua_createtable(L, SPARE_LIMIT, 0);
}

struct sip_record_wait *sip_record_take(lua_State *L, int spare)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, spare);
  struct sip_record_wait *record;

  if (count > 0) {
    (void)lua_rawgeti(L, spare, count);
    lua_pushnil(L);
    lua_rawseti(L, spare, count);
    record = *(struct sip_record_wait **)lua_touserdata(L, -1);
  } else {
    record = record_new(L);
  }
  record->box = lua_gettop(L);
  record->service = sip_journal_service(L);
  sip_list_init(&record->entry.link);
  return record;
}

/* The list of spare ones has room for all of them: this cannot throw. */
void sip_record_give(lua_State *L, int spare, struct sip_record_wait *record)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, spare);

  free(record->err);
  record->err = NULL;
  if (count < SPARE_LIMIT) {
    lua_pushvalue(L, record->box);
    lua_rawseti(L, spare, count + 1);
  }
}

bool sip_record_is_durable(lua_State *L, const struct sip_record_wait *record, int *results)
{
  if (record->wait.status != 0) {
    *results = record->err != NULL ? sip_push_err(L, record->err)
                                   : sip_push_error(L, record->wait.status, "journal");
    return false;
  } else if (record->changes != 1) {
    lua_pushinteger(L, record->changes);
    *results = 1;
    return false;
  }
  return true;
}

/* Calls sent(run, …) with the values on the top of the stack, and answers as it does. */
static int answer_sent(lua_State *L, int count)
{
  int below = lua_gettop(L) - count;

  lua_pushvalue(L, lua_upvalueindex(SENT));
  lua_pushvalue(L, RUN);
  lua_rotate(L, below + 1, 2);
  lua_call(L, count + 1, LUA_MULTRET);
  return lua_gettop(L) - below;
}

static int record_finish(lua_State *L, struct sip_wait *wait)
{
  struct sip_record_wait *record = SIP_CONTAINER(wait, struct sip_record_wait, wait);
  int results;
  bool durable = sip_record_is_durable(L, record, &results);

  sip_record_give(L, lua_upvalueindex(SPARE), record);
  if (durable) {
    lua_pushboolean(L, 1);
    return 1;
  }
  return answer_sent(L, results);
}

/* --- what is written --- */

static int64_t field_of(lua_State *L, enum upvalue name)
{
  int64_t value;

  lua_pushvalue(L, lua_upvalueindex(name));
  (void)lua_rawget(L, RUN);
  value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

static bool is_ready(lua_State *L)
{
  bool ready;

  if (!lua_istable(L, RUN)) {
    return false;
  }
  lua_pushvalue(L, lua_upvalueindex(READY));
  (void)lua_rawget(L, RUN);
  ready = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return ready;
}

/* The number of the phase, or 0. */
static lua_Integer phase_of(lua_State *L)
{
  lua_Integer phase;

  lua_pushvalue(L, PHASE);
  (void)lua_rawget(L, lua_upvalueindex(PHASES));
  phase = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return phase;
}

/* The text of the value, in the buffer of JSON. @return whether it has one */
static bool write_body(lua_State *L, struct sip_slice *body)
{
  struct sip_json_style style = { .marked = lua_topointer(L, lua_upvalueindex(CLASS)) };

  style.mark.data = lua_tolstring(L, lua_upvalueindex(MARK), &style.mark.len);
  if (lua_type(L, TEXT) == LUA_TSTRING && lua_type(L, QUOTED) == LUA_TSTRING) {
    style.text = lua_tostring(L, TEXT);
    style.quoted.data = lua_tolstring(L, QUOTED, &style.quoted.len);
  }
  return sip_json_write_as(L, lua_touserdata(L, lua_upvalueindex(JSON)), VALUE, &style, body);
}

/* Begins an entry with the record. */
static int begin_record(lua_State *L, struct sip_journal *journal, const struct sip_record_row *row,
                        struct sip_err *err)
{
  const int64_t numbers[] = { row->id, row->epoch, row->seq,
                              sip_clock_wall_ms(sip_vm_clock(sip_vm_of(L))), row->phase };
  const struct sip_slice texts[] = { row->where, row->body };
  struct sip_batch *batch = sip_journal_begin(journal, err);

  if (batch == NULL) {
    return err->code;
  }
  if (sip_batch_add(batch, SIP_STATEMENT_RECORD_ADD, numbers, sizeof numbers / sizeof *numbers,
                    texts, sizeof texts / sizeof *texts) < 0) {
    sip_journal_rewind(journal);
    return sip_err_set(err, UV_ENOMEM, "journal: not enough memory");
  }
  return 0;
}

int sip_record_write(lua_State *L, const struct sip_record_row *row, struct sip_record_wait *record,
                     sip_wait_finish_fn finish, struct sip_err *err)
{
  int rc = begin_record(L, record->service->journal, row, err);

  if (rc == 0) {
    sip_wait_init(&record->wait, record_cancel, finish);
    sip_journal_write(record->service->journal, &record->entry, record_on_done);
  }
  return rc;
}

/* Ends the entry that was begun. @return false when there is no memory for that: it is taken back
 */
static bool note_write(struct sip_journal_service *service)
{
  struct note *note = malloc(sizeof *note);

  if (note == NULL) {
    sip_journal_rewind(service->journal);
    return false;
  }
  note->service = service;
  sip_journal_note(service->journal, &note->entry, note_on_done);
  return true;
}

bool sip_record_note(lua_State *L, struct sip_journal_service *service,
                     const struct sip_record_row *row)
{
  struct sip_err err;

  return begin_record(L, service->journal, row, &err) == 0 && note_write(service);
}

/* The record of keep's arguments, which has a number of its own from now on. */
static void read_row(lua_State *L, lua_Integer phase, const struct sip_slice *body,
                     struct sip_record_row *row)
{
  *row = (struct sip_record_row){ .id = field_of(L, ID),
                                  .epoch = field_of(L, EPOCH),
                                  .seq = field_of(L, SEQ) + 1,
                                  .phase = phase,
                                  .body = *body };
  row->where.data = lua_tolstring(L, WHERE, &row->where.len);
  lua_pushvalue(L, lua_upvalueindex(SEQ));
  lua_pushinteger(L, row->seq);
  lua_rawset(L, RUN); /* it is there: no memory is needed */
}

/* --- functions --- */

static int after_slow(lua_State *L, int status, lua_KContext context)
{
  (void)status;
  (void)context;
  return lua_gettop(L);
}

static int keep_slowly(lua_State *L)
{
  lua_settop(L, LATER);
  lua_pushvalue(L, lua_upvalueindex(SLOW));
  lua_insert(L, RUN);
  lua_callk(L, LATER, LUA_MULTRET, 0, after_slow);
  return lua_gettop(L);
}

static int l_keep(lua_State *L)
{
  struct sip_journal_service *service = sip_journal_service(L);
  struct sip_record_wait *record;
  struct sip_record_row row;
  struct sip_slice body;
  struct sip_err err;
  lua_Integer phase;

  lua_settop(L, QUOTED);
  phase = phase_of(L);
  if (service == NULL || service->journal == NULL || phase == 0 ||
      lua_type(L, WHERE) != LUA_TSTRING || !is_ready(L) || !write_body(L, &body)) {
    return keep_slowly(L);
  }
  if (lua_toboolean(L, LATER)) {
    read_row(L, phase, &body, &row);
    if (!sip_record_note(L, service, &row)) {
      return keep_slowly(L);
    }
    lua_pushboolean(L, 1);
    return 1;
  }
  record = sip_record_take(L, lua_upvalueindex(SPARE));
  read_row(L, phase, &body, &row);
  if (sip_record_write(L, &row, record, record_finish, &err) < 0) {
    sip_record_give(L, lua_upvalueindex(SPARE), record);
    return answer_sent(L, sip_push_err(L, &err));
  }
  return sip_await(L, &record->wait, SIP_FOREVER);
}

static int l_ends(lua_State *L)
{
  struct sip_journal *journal = sip_journal_lua_journal(L);
  int64_t numbers[STATE_NUMBERS];
  struct sip_slice why = { NULL, 0 };
  struct sip_batch *batch;

  luaL_checkinteger(L, 2);
  lua_settop(L, 2);
  if (journal == NULL || !is_ready(L)) {
    return 0;
  }
  numbers[0] = field_of(L, ID);
  numbers[1] = field_of(L, EPOCH);
  numbers[2] = lua_tointeger(L, 2);
  numbers[3] = 0; /* it is not due any more */
  numbers[4] = sip_clock_wall_ms(sip_vm_clock(sip_vm_of(L)));
  batch = sip_journal_begin(journal, NULL);
  if (batch == NULL) {
    return 0;
  }
  if (sip_batch_add(batch, SIP_STATEMENT_RUN_STATE, numbers, STATE_NUMBERS, &why, 1) < 0) {
    sip_journal_rewind(journal);
    return 0;
  }
  lua_pushboolean(L, note_write(sip_journal_service(L)));
  return 1;
}

/* Leaves what both functions have as upvalues on the stack: what is at SLOW to MARK, between more.
 */
static void push_upvalues(lua_State *L)
{
  static const char *const fields[] = { "ready", "id", "epoch", "seq" };

  sip_record_push_spare(L);
  lua_pushlightuserdata(L, sip_json_state(L));
  for (int arg = SLOW; arg <= MARK; arg++) {
    lua_pushvalue(L, arg - SLOW + 1);
  }
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    lua_pushstring(L, fields[i]);
  }
}

static int l_keeper(lua_State *L)
{
  enum { ENCODER = 4 };

  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, ENCODER);
  luaL_argcheck(L, sip_json_push_marked(L, ENCODER), ENCODER, "an encoder is needed");
  lua_remove(L, ENCODER); /* stack: slow, sent, phases, class, mark */
  push_upvalues(L);
  lua_pushcclosure(L, l_keep, UPVALUES);
  push_upvalues(L);
  lua_pushcclosure(L, l_ends, UPVALUES);
  return 2;
}

void sip_journal_record_functions(lua_State *L)
{
  lua_pushcfunction(L, l_keeper);
  lua_setfield(L, -2, "keeper");
}
