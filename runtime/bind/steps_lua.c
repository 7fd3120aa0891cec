/* steps_lua.c - module sipeat.core.steps: the usual way of steps, which most of all steps take.
 *
 * walker{intend, catch, succeed, handled, parent} -> walk(run, steps, at, one?): what advance of
 * stdlib/steps.lua does for the first attempt of the steps from number `at` on (with `one` of that
 * one), of a run that has a journal and no replay's world. It ends before a step of which the run
 * has a record, and before one with a time limit, a lifetime, a retry budget or a local effect.
 * Answers the number of the step that is next; or, of a step that is not done, its number, a
 * verdict ("failed", "cancelled", or "unfit": it has no arguments) and the failure.
 *
 * intend(run, step, record) is asked for what a script says about key and arguments. A result with
 * the metatable `handled`, and one that is no plain data, is left to succeed(run, step, record,
 * value); `parent` is the key of a ctx under which a child of it finds it. room(count) -> an empty
 * table that takes so many fields before it grows. Loop thread. */
#include "bind/bind.h"
#include "bind/journal_record.h"
#include "bind/json_lua.h"
#include "core/err.h"
#include "core/json_text.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

/* places in the stack */
enum {
  RUN = 1,
  STEPS,
  AT,
  ONE,
  RECORDS,
  RESULTS,
  JOURNAL,
  EVENT,
  PARENT,
  PLACES,
  BOX,
  WALK,
  DATA,
  STEP,
  NAME,
  RECORD,
  ARGS,
  CONTEXT,
  OUT
};
enum { INTENT = 1, OUTCOME }; /* phases, as stdlib/journal.lua numbers them */
enum upvalue {
  JSON = 1,
  SPARE,
  INTEND,
  CATCH,
  SUCCEED,
  HANDLED,
  PARENT_KEY,
  NAMES /* of fields, from here on; the order is that of `names` */
};
enum name {
  F_ARGS = NAMES,
  F_CTX,
  F_DATA,
  F_DATA_TEXT,
  F_EPOCH,
  F_EVENT,
  F_ID,
  F_IS_GIVEN,
  F_IS_PLAIN,
  F_JOURNAL,
  F_KEY,
  F_NAME,
  F_PART,
  F_PLACES,
  F_QUOTED,
  F_READY,
  F_RESULT,
  F_RESULTS,
  F_RUN,
  F_SCOPE,
  F_SEQ,
  F_STATE,
  F_STATUS,
  F_STEPS,
  F_TEXT,
  S_DONE,
  S_INTENT,
  S_KEEP,
  S_KEEP_TEXT,
  S_OUTCOME,
  UPVALUES = S_OUTCOME
};
static const char *const names[] = {
  "args",     "ctx",     "data",   "data_text", "epoch",     "event",   "id",     "is_given",
  "is_plain", "journal", "key",    "name",      "part",      "places",  "quoted", "ready",
  "result",   "results", "run",    "scope",     "seq",       "state",   "status", "steps",
  "text",     "done",    "intent", "keep",      "keep_text", "outcome",
};

/* What a walk knows of its run, in a userdata; bytes are those of strings that the run holds. */
struct walk {
  struct sip_record_wait *record; /* borrowed: of the box */
  struct sip_json_state *json;    /* borrowed */
  int64_t id, epoch;
  struct sip_slice text, quoted; /* arguments of most steps, and as JSON */
  bool is_data;                  /* they are the event's data */
};

/* What comes next of a walk; each of them begins where a call may have waited. */
enum stage { BEGIN, INTENDED, ANNOUNCED, RAN, SUCCEEDED, KEPT, AWAIT, STOP, FAIL };

static int walk_on(lua_State *L, int status, lua_KContext context);

/* @return its type */
static int push_field(lua_State *L, int table, enum name name)
{
  lua_pushvalue(L, lua_upvalueindex((int)name));
  return lua_rawget(L, table);
}

/* A value on the stack becomes a field. */
static void set_field(lua_State *L, int table, enum name name, int value)
{
  lua_pushvalue(L, lua_upvalueindex((int)name));
  lua_pushvalue(L, value);
  lua_rawset(L, table);
}

static int64_t number_of(lua_State *L, int table, enum name name)
{
  int64_t number;

  (void)push_field(L, table, name);
  number = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return number;
}

/* A string that the table goes on holding; without data when it has none. */
static struct sip_slice text_of(lua_State *L, int table, enum name name)
{
  struct sip_slice text = { NULL, 0 };

  if (push_field(L, table, name) == LUA_TSTRING) {
    text.data = lua_tolstring(L, -1, &text.len);
  }
  lua_pop(L, 1);
  return text;
}

static struct walk *walk_of(lua_State *L)
{
  return lua_touserdata(L, WALK);
}

/* --- records --- */

static int add(struct sip_buf *buf, int rc, const char *text)
{
  return rc < 0 ? rc : sip_buf_add(buf, text, strlen(text));
}

static int add_string(struct sip_buf *buf, int rc, const struct sip_slice *text)
{
  return rc < 0 ? rc : sip_json_add_string(buf, text->data, text->len);
}

/* The JSON of the step's record, which has a key and arguments, and a result when it is done.
 * false: it has none, or there is no memory for it. */
static bool write_body(lua_State *L, const struct walk *walk, bool done, struct sip_slice *body)
{
  struct sip_buf *buf = &walk->json->buf;
  struct sip_slice key = text_of(L, RECORD, F_KEY), args = text_of(L, RECORD, F_ARGS);
  int rc;

  if (key.data == NULL || args.data == NULL) {
    return false;
  }
  sip_buf_clear(buf);
  rc = add_string(buf, add(buf, 0, "{\"key\":"), &key);
  rc = add(buf, rc, ",\"args\":");
  if (args.data == walk->text.data && walk->quoted.data != NULL) {
    rc = rc < 0 ? rc : sip_buf_add(buf, walk->quoted.data, walk->quoted.len);
  } else {
    rc = add_string(buf, rc, &args);
  }
  if (done) {
    struct sip_slice result = text_of(L, RECORD, F_RESULT);

    rc = add(buf, rc, ",\"status\":\"done\",\"result\":");
    rc = add(buf, add_string(buf, rc, &result), "}");
  } else {
    rc = add(buf, rc, ",\"status\":\"intent\"}");
  }
  *body = (struct sip_slice){ buf->data, buf->len };
  return rc == 0;
}

/* Where the step is in the event's memory. */
static struct sip_slice place_of(lua_State *L)
{
  struct sip_slice place = { NULL, 0 };

  lua_pushvalue(L, NAME);
  if (lua_rawget(L, PLACES) == LUA_TSTRING) {
    place.data = lua_tolstring(L, -1, &place.len);
  }
  lua_pop(L, 1);
  return place;
}

static bool is_ready(lua_State *L, const struct walk *walk)
{
  bool ready;

  (void)push_field(L, JOURNAL, F_READY);
  ready =
    lua_toboolean(L, -1) && walk->record->service != NULL && walk->record->service->journal != NULL;
  lua_pop(L, 1);
  return ready;
}

/* What is written when the journal takes it as it comes, as keep of journal_record_lua.c does;
 * false: that is a matter of keep. */
static bool read_row(lua_State *L, const struct walk *walk, int phase, struct sip_record_row *row)
{
  if (!is_ready(L, walk)) {
    return false;
  }
  row->where = place_of(L);
  if (row->where.data == NULL || !write_body(L, walk, phase == OUTCOME, &row->body)) {
    return false;
  }
  row->phase = phase;
  row->id = walk->id;
  row->epoch = walk->epoch;
  row->seq = number_of(L, JOURNAL, F_SEQ) + 1;
  lua_pushvalue(L, lua_upvalueindex(F_SEQ));
  lua_pushinteger(L, row->seq);
  lua_rawset(L, JOURNAL); /* it is there: no memory is needed */
  return true;
}

/* Calls run.journal:keep(phase, place of the step, record, later, run.text, run.quoted). */
static enum stage call_keep(lua_State *L, enum name phase, bool later, enum stage next)
{
  int top = lua_gettop(L);

  lua_pushvalue(L, lua_upvalueindex(S_KEEP));
  (void)lua_gettable(L, JOURNAL);
  lua_pushvalue(L, JOURNAL);
  lua_pushvalue(L, lua_upvalueindex((int)phase));
  lua_pushvalue(L, NAME);
  (void)lua_rawget(L, PLACES);
  lua_pushvalue(L, RECORD);
  lua_pushboolean(L, later);
  (void)push_field(L, RUN, F_TEXT);
  (void)push_field(L, RUN, F_QUOTED);
  lua_callk(L, lua_gettop(L) - top - 1, later ? 0 : 2, (lua_KContext)next, walk_on);
  return next;
}

/* Calls run.journal:keep_text("intent", place of the step, record, body), which knows how a run
 * begins. */
static enum stage call_first(lua_State *L, const struct walk *walk)
{
  struct sip_slice body;

  lua_pushvalue(L, lua_upvalueindex(S_KEEP_TEXT));
  if (lua_gettable(L, JOURNAL) != LUA_TFUNCTION || !write_body(L, walk, false, &body)) {
    lua_settop(L, CONTEXT);
    return call_keep(L, S_INTENT, false, ANNOUNCED);
  }
  lua_pushvalue(L, JOURNAL);
  lua_pushvalue(L, lua_upvalueindex(S_INTENT));
  lua_pushvalue(L, NAME);
  (void)lua_rawget(L, PLACES);
  lua_pushvalue(L, RECORD);
  lua_pushlstring(L, body.data, body.len);
  lua_callk(L, 5, 2, ANNOUNCED, walk_on);
  return ANNOUNCED;
}

/* Pushes whether it is durable, and else why not, as keep answers. */
static void push_answer(lua_State *L, int results)
{
  int first = lua_gettop(L) - results + 1;

  lua_getfield(L, JOURNAL, "sent");
  lua_pushvalue(L, JOURNAL);
  lua_rotate(L, first, 2);
  lua_call(L, results + 1, 2);
}

static int wait_finish(lua_State *L, struct sip_wait *wait)
{
  const struct sip_record_wait *record = SIP_CONTAINER(wait, struct sip_record_wait, wait);
  int results;

  lua_settop(L, CONTEXT);
  if (sip_record_is_durable(L, record, &results)) {
    lua_pushboolean(L, 1);
    lua_pushnil(L);
  } else {
    push_answer(L, results);
  }
  return walk_on(L, LUA_YIELD, ANNOUNCED);
}

/* --- a step --- */

/* Pushes the step's ctx: see context.step. */
static void push_context(lua_State *L)
{
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, lua_upvalueindex(PARENT_KEY));
  lua_pushvalue(L, PARENT);
  lua_rawset(L, CONTEXT);
  lua_pushvalue(L, lua_upvalueindex(F_KEY));
  (void)push_field(L, RECORD, F_KEY);
  lua_rawset(L, CONTEXT);
  set_field(L, CONTEXT, F_RESULTS, RESULTS);
  (void)push_field(L, STEP, F_PART);
  lua_setmetatable(L, CONTEXT);
}

/* Pushes the step's own copy of its arguments, of which many are the event's data. */
static void push_args(lua_State *L)
{
  const struct walk *walk = walk_of(L);

  (void)push_field(L, RECORD, F_ARGS);
  luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, STEPS, "a record with args is needed");
  if (!walk->is_data || lua_tostring(L, -1) != walk->text.data ||
      !sip_json_push_twin(L, walk->json, DATA, -1)) {
    sip_json_push_lazy(L, walk->json, -1);
  }
  lua_replace(L, ARGS);
  lua_settop(L, ARGS);
}

/* Looks at the run anew: intend may have changed what it says. */
static void look_at_run(lua_State *L, struct walk *walk)
{
  struct sip_slice data = text_of(L, RUN, F_DATA_TEXT);

  walk->text = text_of(L, RUN, F_TEXT);
  walk->quoted = text_of(L, RUN, F_QUOTED);
  walk->is_data = data.data != NULL && data.data == walk->text.data;
  (void)push_field(L, RUN, F_DATA);
  lua_replace(L, DATA);
}

/* Whether the script says nothing about key and arguments, and the event's data is still as it was
 * when its text was written, which is the one that the run keeps as JSON. */
static bool has_usual_args(lua_State *L, const struct walk *walk)
{
  bool usual = push_field(L, STEP, F_IS_GIVEN) == LUA_TNIL && walk->is_data;

  if (usual) {
    lua_pushvalue(L, lua_upvalueindex(F_DATA));
    (void)lua_gettable(L, EVENT);
    usual = lua_rawequal(L, -1, DATA) && sip_json_is_untouched(L, walk->json, -1);
  }
  lua_settop(L, RECORD);
  return usual;
}

/* Writes the event's data, of which the run has no text yet; false: it has none. */
static bool write_data(lua_State *L, struct walk *walk)
{
  struct sip_buf *buf = &walk->json->buf;
  struct sip_slice text;

  lua_pushvalue(L, lua_upvalueindex(F_DATA));
  if (lua_gettable(L, EVENT) == LUA_TNIL || !sip_json_write(L, walk->json, -1, &text)) {
    return false;
  }
  set_field(L, RUN, F_DATA, lua_gettop(L));
  lua_pushlstring(L, text.data, text.len);
  set_field(L, RUN, F_DATA_TEXT, lua_gettop(L));
  set_field(L, RUN, F_TEXT, lua_gettop(L));
  text.data = lua_tolstring(L, -1, &text.len);
  sip_buf_clear(buf);
  if (add_string(buf, 0, &text) < 0) {
    luaL_error(L, "steps: not enough memory");
  }
  lua_pushlstring(L, buf->data, buf->len);
  set_field(L, RUN, F_QUOTED, lua_gettop(L));
  look_at_run(L, walk);
  return true;
}

/* Whether the step's arguments are the event's data, as the run has its text. */
static bool takes_data(lua_State *L)
{
  struct walk *walk = walk_of(L);
  bool is_new = walk->text.data == NULL && push_field(L, STEP, F_IS_GIVEN) == LUA_TNIL;
  bool takes = is_new ? write_data(L, walk) : has_usual_args(L, walk);

  lua_settop(L, RECORD);
  return takes;
}

/* Sets the step's key, the scope and its name, and its arguments. @return whether it has */
static bool set_usual(lua_State *L)
{
  enum { LONGEST = 200 };
  char key[LONGEST];
  struct sip_slice scope = { NULL, 0 }, name = { NULL, 0 };

  if (!takes_data(L)) {
    return false;
  }
  lua_pushvalue(L, lua_upvalueindex(F_SCOPE));
  if (lua_gettable(L, PARENT) == LUA_TSTRING) {
    scope.data = lua_tolstring(L, -1, &scope.len);
  }
  lua_pop(L, 1); /* the ctx holds it */
  name.data = lua_tolstring(L, NAME, &name.len);
  if (scope.data == NULL || scope.len + 1 + name.len > sizeof key) {
    return false;
  }
  memcpy(key, scope.data, scope.len);
  key[scope.len] = ':';
  memcpy(key + scope.len + 1, name.data, name.len);
  lua_pushvalue(L, lua_upvalueindex(F_KEY));
  lua_pushlstring(L, key, scope.len + 1 + name.len);
  lua_rawset(L, RECORD);
  lua_pushvalue(L, lua_upvalueindex(F_ARGS));
  (void)push_field(L, RUN, F_TEXT);
  lua_rawset(L, RECORD);
  return true;
}

/* Puts the step that is next into its place. false: there is none, or it is not for us */
static bool take_step(lua_State *L)
{
  bool fresh;

  lua_settop(L, DATA);
  if (lua_rawgeti(L, STEPS, lua_tointeger(L, AT)) != LUA_TTABLE ||
      push_field(L, STEP, F_NAME) != LUA_TSTRING) {
    return false;
  }
  (void)push_field(L, STEP, F_IS_PLAIN);
  lua_pushvalue(L, NAME);
  fresh = lua_toboolean(L, -2) && lua_rawget(L, RECORDS) == LUA_TNIL;
  lua_settop(L, NAME);
  return fresh;
}

static enum stage announce(lua_State *L);

static enum stage begin_step(lua_State *L)
{
  if (!take_step(L)) {
    return STOP;
  }
  lua_createtable(L, 0, 4); /* is RECORD */
  lua_pushvalue(L, NAME);
  lua_pushvalue(L, RECORD);
  lua_rawset(L, RECORDS);
  if (set_usual(L)) {
    return announce(L);
  }
  lua_pushvalue(L, lua_upvalueindex(INTEND));
  lua_pushvalue(L, RUN);
  lua_pushvalue(L, STEP);
  lua_pushvalue(L, RECORD);
  lua_callk(L, 3, 2, INTENDED, walk_on);
  return INTENDED;
}

/* The failure is on the top of the stack. */
static enum stage fail(lua_State *L, const char *verdict)
{
  lua_pushstring(L, verdict);
  lua_insert(L, -2);
  return FAIL;
}

/* stack: …, whether key and arguments are there, the failure */
static enum stage after_intend(lua_State *L)
{
  if (!lua_toboolean(L, -2)) {
    return fail(L, "unfit");
  }
  lua_settop(L, RECORD);
  look_at_run(L, walk_of(L));
  return announce(L);
}

/* Before the effect: whoever finds it later knows that it may be there. */
static enum stage announce(lua_State *L)
{
  const struct walk *walk = walk_of(L);
  struct sip_record_row row;
  struct sip_err err;

  lua_settop(L, ARGS);
  push_args(L);
  push_context(L);
  set_field(L, RECORD, F_STATUS, lua_upvalueindex(S_INTENT));
  if (!read_row(L, walk, INTENT, &row)) {
    return call_first(L, walk);
  }
  if (sip_record_write(L, &row, walk->record, wait_finish, &err) < 0) {
    push_answer(L, sip_push_err(L, &err));
    return ANNOUNCED;
  }
  return AWAIT;
}

/* stack: …, whether the intent is durable, the failure */
static enum stage after_announce(lua_State *L)
{
  if (!lua_toboolean(L, OUT)) {
    lua_pushvalue(L, lua_upvalueindex(F_STATUS));
    lua_pushnil(L);
    lua_rawset(L, RECORD);
    return fail(L, "cancelled");
  }
  lua_settop(L, CONTEXT);
  lua_pushvalue(L, lua_upvalueindex(CATCH));
  (void)push_field(L, STEP, F_RUN);
  lua_pushvalue(L, ARGS);
  lua_pushvalue(L, CONTEXT);
  lua_callk(L, 3, 2, RAN, walk_on);
  return RAN;
}

/* Pushes the text of the value on the top; false and nothing when it is a matter of succeed. */
static bool push_text(lua_State *L)
{
  struct sip_slice text;

  if (lua_isnil(L, -1)) {
    lua_pushliteral(L, "null");
    return true;
  }
  if (lua_istable(L, -1) && lua_getmetatable(L, -1)) {
    bool handled = lua_rawequal(L, -1, lua_upvalueindex(HANDLED));

    lua_pop(L, 1);
    if (handled) {
      return false;
    }
  }
  if (!sip_json_write(L, walk_of(L)->json, lua_gettop(L), &text)) {
    return false;
  }
  lua_pushlstring(L, text.data, text.len);
  return true;
}

/* The step has a result, whose text is on the top of the stack. */
static enum stage succeed(lua_State *L)
{
  const struct walk *walk = walk_of(L);
  struct sip_record_row row;
  int text = lua_gettop(L);

  lua_pushvalue(L, NAME);
  sip_json_push_lazy(L, walk->json, text);
  lua_rawset(L, RESULTS);
  set_field(L, RECORD, F_RESULT, text);
  set_field(L, RECORD, F_STATUS, lua_upvalueindex(S_DONE));
  if (!read_row(L, walk, OUTCOME, &row) || !sip_record_note(L, walk->record->service, &row)) {
    return call_keep(L, S_OUTCOME, true, KEPT);
  }
  return KEPT;
}

/* stack: …, whether it has succeeded, its result or the failure */
static enum stage after_run(lua_State *L)
{
  if (!lua_toboolean(L, OUT)) {
    return fail(L, "failed");
  } else if (push_text(L)) {
    return succeed(L);
  }
  lua_pushvalue(L, lua_upvalueindex(SUCCEED));
  lua_replace(L, OUT);
  for (int i = 0; i < 3; i++) {
    static const int arguments[] = { RUN, STEP, RECORD };

    lua_pushvalue(L, arguments[i]);
  }
  lua_rotate(L, OUT + 1, 3);
  lua_callk(L, 4, 0, SUCCEEDED, walk_on);
  return SUCCEEDED;
}

static void count_step(lua_State *L)
{
  lua_pushinteger(L, lua_tointeger(L, AT) + 1);
  lua_replace(L, AT);
}

/* --- a walk --- */

static enum stage next_stage(lua_State *L, enum stage stage)
{
  switch (stage) {
  case BEGIN:
    return begin_step(L);
  case INTENDED:
    return after_intend(L);
  case ANNOUNCED:
    return after_announce(L);
  case RAN:
    return after_run(L);
  default:
    count_step(L);
    /* After succeed the run may have come to its end. */
    return stage == SUCCEEDED || lua_toboolean(L, ONE) ? STOP : BEGIN;
  }
}

static int walk_on(lua_State *L, int status, lua_KContext context)
{
  enum stage stage = (enum stage)context;

  (void)status;
  while (stage < AWAIT) {
    stage = next_stage(L, stage);
  }
  if (stage == AWAIT) {
    return sip_await(L, &walk_of(L)->record->wait, SIP_FOREVER);
  }
  sip_record_give(L, lua_upvalueindex(SPARE), walk_of(L)->record);
  lua_pushvalue(L, AT);
  if (stage == STOP) {
    return 1;
  }
  lua_insert(L, -3);
  return 3;
}

static struct walk *push_walk(lua_State *L, struct sip_record_wait *record)
{
  struct walk *walk = lua_newuserdatauv(L, sizeof *walk, 0);

  *walk = (struct walk){ .record = record,
                         .json = lua_touserdata(L, lua_upvalueindex(JSON)),
                         .id = number_of(L, JOURNAL, F_ID),
                         .epoch = number_of(L, JOURNAL, F_EPOCH) };
  return walk;
}

static int l_walk(lua_State *L)
{
  static const enum name fields[] = { F_RESULTS, F_JOURNAL, F_EVENT, F_CTX, F_PLACES };

  luaL_checktype(L, RUN, LUA_TTABLE);
  luaL_checktype(L, STEPS, LUA_TTABLE);
  (void)luaL_checkinteger(L, AT);
  lua_settop(L, ONE);
  luaL_checkstack(L, OUT + LUA_MINSTACK, "steps");
  luaL_argcheck(L, push_field(L, RUN, F_STATE) == LUA_TTABLE, RUN, "has no state");
  (void)push_field(L, RECORDS, F_STEPS);
  lua_replace(L, RECORDS);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    (void)push_field(L, RUN, fields[i]);
  }
  for (int i = RECORDS; i <= PLACES; i++) {
    luaL_argcheck(L, lua_istable(L, i), RUN, "a run of the journal is needed");
  }
  (void)push_walk(L, sip_record_take(L, lua_upvalueindex(SPARE)));
  lua_pushnil(L); /* is DATA */
  look_at_run(L, walk_of(L));
  return walk_on(L, LUA_OK, BEGIN);
}

static int l_walker(lua_State *L)
{
  static const char *const given[] = { "intend", "catch", "succeed", "handled", "parent" };

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_argcheck(L, sip_json_state(L) != NULL, 1, "the module json comes first");
  luaL_checkstack(L, UPVALUES + LUA_MINSTACK, "steps");
  lua_pushlightuserdata(L, sip_json_state(L));
  sip_record_push_spare(L);
  for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
    luaL_argcheck(L, lua_getfield(L, 1, given[i]) != LUA_TNIL, 1, given[i]);
  }
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_pushstring(L, names[i]);
  }
  lua_pushcclosure(L, l_walk, UPVALUES);
  return 1;
}

static int l_room(lua_State *L)
{
  enum { MOST = 1000 };
  lua_Integer count = luaL_checkinteger(L, 1);

  luaL_argcheck(L, count >= 0, 1, "a number of fields is needed");
  lua_createtable(L, 0, (int)(count < MOST ? count : MOST));
  return 1;
}

int sip_open_steps(lua_State *L)
{
  static const luaL_Reg functions[] = { { "walker", l_walker },
                                        { "room", l_room },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
