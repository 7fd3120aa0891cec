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
#include "bind/journal_service.h"

#include "bind/json_lua.h"
#include "core/clock.h"
#include "journal/statements.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char RECORD[] = "sipeat.journal.record";

enum {
  SPARE_LIMIT = 1024
}; /* records that are kept for the next ones: as many as wait at a time */
enum { RUN = 1, PHASE, WHERE, VALUE, LATER, TEXT, QUOTED };      /* places in the stack */
enum { RUN_NUMBERS = 3, RECORD_NUMBERS = 5, STATE_NUMBERS = 5 }; /* id, epoch, seq; and so on */
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

/* A record that a task waits for. */
struct record {
  struct sip_journal_service *service; /* borrowed: outlives the journal's entries */
  int box;                             /* its place in the stack */
  struct sip_wait wait;
  struct sip_entry entry;
  int64_t changes;
  struct sip_err *err; /* NULL: none, or there was no memory for it */
};

/* One that nobody waits for. */
struct note {
  struct sip_entry entry;
  struct sip_journal_service *service; /* as above */
};

static int record_gc(lua_State *L)
{
  struct record **box = luaL_checkudata(L, 1, RECORD);
  struct record *record = *box;

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
  sip_journal_forget(&SIP_CONTAINER(wait, struct record, wait)->entry);
}

static void record_on_done(struct sip_entry *entry, int status, const struct sip_batch *batch,
                           const struct sip_err *err)
{
  struct record *record = SIP_CONTAINER(entry, struct record, entry);

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

static struct record *record_new(lua_State *L)
{
  struct record **box = sip_box_new(L, RECORD, record_gc);
  struct record *record = calloc(1, sizeof *record);

  if (record == NULL) {
    luaL_error(L, "journal: not enough memory");
    return NULL;
  }
  *box = record;
  sip_list_init(&record->entry.link);
  return record;
}

/* Pushes one that is spare, or a new one. */
static struct record *record_take(lua_State *L, struct sip_journal_service *service)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, lua_upvalueindex(SPARE));
  struct record *record;

  if (count > 0) {
    (void)lua_rawgeti(L, lua_upvalueindex(SPARE), count);
    lua_pushnil(L);
    lua_rawseti(L, lua_upvalueindex(SPARE), count);
    record = *(struct record **)lua_touserdata(L, -1);
  } else {
    record = record_new(L);
  }
  record->box = lua_gettop(L);
  record->service = service;
  sip_list_init(&record->entry.link);
  return record;
}

/* The list of spare ones has room for all of them: this cannot throw. */
static void record_spare(lua_State *L, struct record *record)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, lua_upvalueindex(SPARE));

  free(record->err);
  record->err = NULL;
  if (count < SPARE_LIMIT) {
    lua_pushvalue(L, record->box);
    lua_rawseti(L, lua_upvalueindex(SPARE), count + 1);
  }
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
  struct record *record = SIP_CONTAINER(wait, struct record, wait);
  int64_t changes = record->changes;
  int count = 1;

  if (wait->status == 0 && changes == 1) {
    record_spare(L, record);
    lua_pushboolean(L, 1);
    return 1;
  }
  if (wait->status == 0) {
    lua_pushinteger(L, changes);
  } else {
    count = record->err != NULL ? sip_push_err(L, record->err)
                                : sip_push_error(L, wait->status, "journal");
  }
  record_spare(L, record);
  return answer_sent(L, count);
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

/* Begins an entry with the record. Nothing between is a call of Lua's that could throw. */
static int begin_record(lua_State *L, struct sip_journal *journal, lua_Integer phase,
                        const struct sip_slice *body, struct sip_err *err)
{
  int64_t numbers[RECORD_NUMBERS] = { field_of(L, ID), field_of(L, EPOCH), field_of(L, SEQ) + 1,
                                      sip_clock_wall_ms(sip_vm_clock(sip_vm_of(L))), phase };
  struct sip_slice texts[2] = { { NULL, 0 }, *body };
  struct sip_batch *batch;

  texts[0].data = lua_tolstring(L, WHERE, &texts[0].len);
  lua_pushvalue(L, lua_upvalueindex(SEQ));
  lua_pushinteger(L, numbers[2]);
  lua_rawset(L, RUN); /* it is there: no memory is needed */
  batch = sip_journal_begin(journal, err);
  if (batch == NULL) {
    return err->code;
  }
  if (sip_batch_add(batch, SIP_STATEMENT_RECORD_ADD, numbers, RECORD_NUMBERS, texts, 2) < 0) {
    sip_journal_rewind(journal);
    return sip_err_set(err, UV_ENOMEM, "journal: not enough memory");
  }
  return 0;
}

/* Ends the entry that was begun. @return false when there is no memory for that: it is taken back
 */
static bool note_write(lua_State *L, struct sip_journal *journal)
{
  struct note *note = malloc(sizeof *note);

  if (note == NULL) {
    sip_journal_rewind(journal);
    return false;
  }
  note->service = sip_journal_service(L);
  sip_journal_note(journal, &note->entry, note_on_done);
  return true;
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
  struct sip_slice body;
  struct record *record;
  struct sip_err err;
  lua_Integer phase;

  lua_settop(L, QUOTED);
  phase = phase_of(L);
  if (service == NULL || service->journal == NULL || phase == 0 ||
      lua_type(L, WHERE) != LUA_TSTRING || !is_ready(L) || !write_body(L, &body)) {
    return keep_slowly(L);
  }
  if (lua_toboolean(L, LATER)) {
    if (begin_record(L, service->journal, phase, &body, &err) < 0 ||
        !note_write(L, service->journal)) {
      return keep_slowly(L);
    }
    lua_pushboolean(L, 1);
    return 1;
  }
  record = record_take(L, service);
  if (begin_record(L, service->journal, phase, &body, &err) < 0) {
    record_spare(L, record);
    return answer_sent(L, sip_push_err(L, &err));
  }
  sip_wait_init(&record->wait, record_cancel, record_finish);
  sip_journal_write(service->journal, &record->entry, record_on_done);
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
  lua_pushboolean(L, note_write(L, journal));
  return 1;
}

/* Leaves what both functions have as upvalues on the stack: what is at SLOW to MARK, between more.
 */
static void push_upvalues(lua_State *L)
{
  static const char *const fields[] = { "ready", "id", "epoch", "seq" };

  lua_createtable(L, SPARE_LIMIT, 0);
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
