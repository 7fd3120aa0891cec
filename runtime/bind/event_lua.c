/* event_lua.c - module sipeat.core.event: events of the usual shapes, whose fields are made when a
 * script touches them.
 *
 * Here are the shapes of event_shape.h: a JSON body without headers, {type, data} or plain, and a
 * record whose type and id stand in headers. All others, all errors, and the fields that are rarely
 * read are stdlib/record.lua's. The two must tell the same: tests/lua/event_test.lua compares them.
 *
 * An event is a table with type, id, key, headers (when there are any), and a hidden field that
 * holds the index of the JSON that is its data, the text, and a struct source. So it may be kept
 * for as long as a script wants: nothing in it belongs to the record. Data that is read once is a
 * user value of the index; when it is read again it is put into the table, where there is room for
 * it in events that follow. of(record): see event_record_lua.c.
 *
 * class{rest, refuse, plain} is called once. rest(event, name, envelope, timestamp) makes a field
 * that is not made here; `envelope`: it is {type, data}. refuse(message, code) raises. `plain` is
 * the metatable once everything was made. body(event) and data(event): see there. Loop thread. */
#include "bind/event_lua.h"

#include "bind/bind.h"
#include "bind/event_shape.h"
#include "bind/json_lua.h"
#include "core/json_text.h"
#include "vm/lazy.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* Of most events: type, id, key and the hidden one. */
enum { FIELDS = 4 };

enum data {
  DATA_UNREAD,
  DATA_KEPT, /* was read once, and is a user value */
  DATA_TAKEN /* is in the table, and what a script does to it is the table's alone */
};

enum shape {
  SHAPE_ENVELOPE, /* {type, id, data, …} */
  SHAPE_BODY,     /* the whole body is the data */
  SHAPE_PENDING,  /* as SHAPE_BODY, and not scanned yet */
  SHAPE_TEXT      /* data is the value as it is, or nothing */
};

struct source {
  int64_t offset, timestamp_ms;
  int32_t partition;
  uint8_t shape; /* enum shape */
  uint8_t data;  /* enum data */
  bool roomy;    /* there is room for the data in the table */
  char topic[];  /* ends in a NUL */
};

/* A type that an event had lately: a string of Lua that is kept, so that it is at hand. */
struct known {
  const char *text; /* owned by the string */
  size_t len;
  int ref; /* in the registry */
};

enum { KNOWN_TYPES = 16, KNOWN_BYTES = 64 }; /* longer types are not kept */

/* What the module keeps, in a userdata that stays: one for each state. */
struct state {
  struct sip_json_state *json; /* borrowed: of sipeat.core.json; set with the class */
  int class_ref;         /* in the registry; LUA_NOREF: stdlib/record.lua was never asked for */
  const void *data_name; /* of the string "data", as lua_topointer has it: short ones exist once */
  struct sip_json_habit rereading; /* of data */
  struct known types[KNOWN_TYPES];
};

/* Their addresses are keys: of the state among the services, of the source in an event. */
static const char state_key, source_key;

/* --- an event --- */

static void push_slice(lua_State *L, const struct sip_slice *slice)
{
  if (slice->data == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, slice->data, slice->len);
  }
}

/* Most events are of a few types, whose strings Lua need not look for again. Two that have the same
 * place take turns. */
static void push_type(lua_State *L, struct state *state, const struct sip_slice *type)
{
  const unsigned char *bytes = (const unsigned char *)type->data;
  struct known *known;
  unsigned mix;

  if (bytes == NULL || type->len == 0 || type->len > KNOWN_BYTES) {
    push_slice(L, type);
    return;
  }
  mix = bytes[type->len / 2] * 31u + bytes[type->len - 1] + (unsigned)type->len;
  known = &state->types[(mix ^ mix >> 4) % KNOWN_TYPES];
  if (known->len != type->len || memcmp(known->text, bytes, type->len) != 0) {
    known->text = lua_pushlstring(L, type->data, type->len);
    known->len = type->len;
    lua_rawseti(L, LUA_REGISTRYINDEX, known->ref); /* needs no memory: there is one already */
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, known->ref);
}

static void push_place_id(lua_State *L, const struct sip_record *record)
{
  (void)lua_pushfstring(L, "%s:%d:%I", record->topic, (int)record->partition,
                        (LUAI_UACINT)record->offset);
}

/* @param text  of the body */
static void push_id(lua_State *L, const struct sip_record *record,
                    const struct sip_event_envelope *headers, const char *text,
                    const struct sip_json_token *id)
{
  if (headers->id.data != NULL) {
    push_slice(L, &headers->id);
  } else if (id != NULL && (id->type == SIP_JSON_STRING || id->type == SIP_JSON_NUMBER)) {
    sip_json_push_simple(L, text, id);
    if (id->type == SIP_JSON_NUMBER) {
      (void)luaL_tolstring(L, -1, NULL);
      lua_remove(L, -2);
    }
  } else {
    push_place_id(L, record);
  }
}

static void push_header_map(lua_State *L, const struct sip_source_ops *ops,
                            const struct sip_record *record, size_t count)
{
  lua_createtable(L, 0, (int)count);
  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(record, i);

    lua_pushstring(L, header.name);
    push_slice(L, &header.value);
    lua_rawset(L, -3);
  }
}

/* Stack: …, event, index. Leaves the event. */
static void end_event(lua_State *L, const struct sip_record *record)
{
  lua_rawsetp(L, -2, &source_key);
  if (record->key.data != NULL) {
    push_slice(L, &record->key);
    lua_setfield(L, -2, "key");
  }
}

static size_t source_bytes(const struct sip_record *record)
{
  return sizeof(struct source) + strlen(record->topic) + 1;
}

/* @param bytes  as source_bytes says */
static void fill_source(struct sip_json_index *index, const struct sip_record *record, size_t bytes,
                        enum shape shape, bool roomy)
{
  struct source *source = sip_json_index_extra(index);

  *source = (struct source){ .offset = record->offset,
                             .timestamp_ms = record->timestamp_ms,
                             .partition = record->partition,
                             .shape = (uint8_t)shape,
                             .data = DATA_UNREAD,
                             .roomy = roomy };
  memcpy(source->topic, record->topic, bytes - sizeof *source);
}

static struct state *state_of(lua_State *L)
{
  return sip_vm_service(L, &state_key);
}

/* Pushes the type that stands in a body. */
static void push_body_type(lua_State *L, struct state *state, const char *text,
                           const struct sip_json_token *token)
{
  struct sip_slice type = { text + token->at, token->len };

  if ((token->flags & SIP_JSON_ESCAPED) != 0) {
    sip_json_push_simple(L, text, token);
  } else {
    push_type(L, state, &type);
  }
}

/* A body that is read now. Leaves the event, or nothing. */
static bool push_from_body(lua_State *L, struct state *state, const struct sip_record *record,
                           const struct sip_event_envelope *headers, bool roomy)
{
  const struct sip_json *json = &state->json->json;
  size_t bytes = source_bytes(record), len = record->value.len;
  struct sip_json_index *index;
  struct sip_event_body body;
  struct sip_err err;

  if (sip_json_state_scan(state->json, record->value.data, len, &err) < 0 ||
      !sip_event_read_body(&body, json, headers)) {
    return false;
  }
  lua_createtable(L, 0, FIELDS + roomy);
  push_id(L, record, headers, json->text, body.id);
  lua_setfield(L, -2, "id");
  if (body.type != NULL) {
    push_body_type(L, state, json->text, body.type);
  } else {
    push_type(L, state, &headers->type);
  }
  lua_setfield(L, -2, "type");
  index =
    sip_json_push_copy(L, state->json, body.data == NULL ? json->tokens : body.data, len, bytes);
  fill_source(index, record, bytes, body.data == NULL ? SHAPE_BODY : SHAPE_ENVELOPE, roomy);
  end_event(L, record);
  return true;
}

/* Type and id stand in headers, or there is no body. */
static void push_from_headers(lua_State *L, struct state *state, const struct sip_record *record,
                              const struct sip_event_envelope *headers, bool roomy)
{
  bool is_pending = record->value.data != NULL && headers->is_json;
  size_t bytes = source_bytes(record);

  lua_createtable(L, 0, FIELDS + roomy);
  push_slice(L, &record->value);
  fill_source(sip_json_push_index(L, state->json, NULL, -1, bytes), record, bytes,
              is_pending ? SHAPE_PENDING : SHAPE_TEXT, roomy);
  lua_remove(L, -2);
  push_id(L, record, headers, NULL, NULL);
  lua_setfield(L, -3, "id");
  push_type(L, state, &headers->type);
  lua_setfield(L, -3, "type");
  end_event(L, record);
}

/* Leaves the event without its class, or nothing. */
static bool push_plain(lua_State *L, struct state *state, const struct sip_source_ops *ops,
                       const struct sip_record *record)
{
  size_t count = ops->header_count(record);
  bool roomy = sip_json_habit_expected(&state->rereading) || count > 0; /* a fifth field */
  struct sip_event_envelope headers;

  if (!sip_event_read_headers(&headers, ops, record, count)) {
    return false;
  }
  if (sip_event_is_in_headers(record, &headers)) {
    push_from_headers(L, state, record, &headers, roomy);
  } else if (!push_from_body(L, state, record, &headers, roomy)) {
    return false;
  }
  if (count > 0) {
    push_header_map(L, ops, record, count);
    lua_setfield(L, -2, "headers");
  }
  return true;
}

bool sip_event_push(lua_State *L, const struct sip_source_ops *ops, const struct sip_record *record)
{
  struct state *state = state_of(L);

  if (state == NULL || state->class_ref == LUA_NOREF || !push_plain(L, state, ops, record)) {
    lua_pushnil(L);
    return false;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->class_ref);
  lua_setmetatable(L, -2);
  return true;
}

/* --- a key --- */

/* The text of the value, as tostring of Lua has it. */
static enum sip_event_key key_text(struct sip_json_state *state, const struct sip_json_token *token,
                                   struct sip_slice *out)
{
  const char *text = state->json.text;
  struct sip_json_number number;

  if (token->type == SIP_JSON_STRING && (token->flags & SIP_JSON_ESCAPED) == 0) {
    *out = (struct sip_slice){ text + token->at, token->len };
    return SIP_EVENT_KEY_FOUND;
  } else if (token->type != SIP_JSON_STRING && token->type != SIP_JSON_NUMBER) {
    return SIP_EVENT_KEY_NONE;
  }
  if (sip_buf_reserve(&state->buf, token->len + SIP_JSON_NUMBER_BYTES) < 0) {
    return SIP_EVENT_KEY_UNKNOWN;
  }
  out->data = state->buf.data;
  if (token->type == SIP_JSON_STRING) {
    out->len = sip_json_unescape(state->buf.data, text, token);
    return SIP_EVENT_KEY_FOUND;
  }
  number = sip_json_number(text, token);
  if (!number.integral) {
    return SIP_EVENT_KEY_UNKNOWN; /* Lua has its own way to write them */
  }
  out->len = sip_json_print_integer(state->buf.data, number.integer);
  return SIP_EVENT_KEY_FOUND;
}

enum sip_event_key sip_event_find_key(lua_State *L, const struct sip_source_ops *ops,
                                      const struct sip_record *record, const struct sip_slice *path,
                                      size_t count, struct sip_slice *out)
{
  const struct state *module = state_of(L);
  struct sip_json_state *state = module == NULL ? NULL : module->json;
  const struct sip_json_token *found;
  struct sip_json_token *data;
  struct sip_event_envelope headers;
  struct sip_err err;
  bool in_headers;

  if (state == NULL || !sip_event_read_headers(&headers, ops, record, ops->header_count(record))) {
    return SIP_EVENT_KEY_UNKNOWN;
  }
  in_headers = sip_event_is_in_headers(record, &headers);
  if (in_headers && (record->value.data == NULL || !headers.is_json)) {
    return SIP_EVENT_KEY_NONE; /* data is a text, or nothing */
  }
  if (sip_json_state_scan(state, record->value.data, record->value.len, &err) < 0) {
    return SIP_EVENT_KEY_UNKNOWN;
  }
  sip_buf_clear(&state->buf);
  data = state->json.tokens;
  if (!in_headers) {
    struct sip_event_body body;

    if (!sip_event_read_body(&body, &state->json, &headers)) {
      return SIP_EVENT_KEY_UNKNOWN;
    }
    data = body.data == NULL ? data : body.data;
  }
  found = sip_json_at(&state->json, data, path, count);
  return found == NULL ? SIP_EVENT_KEY_NONE : key_text(state, found, out);
}

/* --- its fields --- */

/* Pushes the index of the event at 1. NULL, and nothing pushed, when that table is none of ours. */
static struct sip_json_index *push_index(lua_State *L)
{
  if (lua_rawgetp(L, 1, &source_key) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    return NULL;
  }
  return lua_touserdata(L, -1);
}

/* Pushes the decoded text of the index on top. @return the number of results: 1, or 3 that say why
 * not */
static int push_pending(lua_State *L)
{
  struct sip_json_state *state = state_of(L)->json;
  struct sip_json_index *index;
  const char *text;
  struct sip_err err;
  size_t len;

  sip_json_push_text(L, -1);
  text = lua_tolstring(L, -1, &len);
  if (sip_json_state_scan(state, text, len, &err) < 0) {
    lua_pushnil(L);
    (void)lua_pushfstring(L, "json decode: %s", err.message);
    lua_pushliteral(L, "BAD_DATA");
    return 3;
  }
  index = sip_json_push_index(L, state, &state->json, -1, 0);
  sip_json_push_root(L, lua_gettop(L), index);
  return 1;
}

/* Stack: …, index. Pushes the data as it came, which is nil for null. @return as push_pending */
static int make_data(lua_State *L, struct sip_json_index *index, enum shape shape)
{
  int results = 1;

  if (shape == SHAPE_TEXT) {
    sip_json_push_text(L, -1);
  } else if (shape == SHAPE_PENDING) {
    results = push_pending(L);
  } else {
    sip_json_push_root(L, lua_gettop(L), index);
    if (shape == SHAPE_ENVELOPE) { /* a table */
      return 1;
    }
  }
  if (results == 1 && lua_islightuserdata(L, -1)) {
    lua_pushnil(L);
  }
  return results;
}

/* Stack: event, …, index. Pushes the data, if it is not in the table. @return as push_pending */
static int push_data(lua_State *L, struct state *state, struct sip_json_index *index)
{
  struct source *source = sip_json_index_extra(index);
  int at = lua_gettop(L), results = 1;

  if (source->data == DATA_TAKEN) {
    lua_pushnil(L);
    return 1;
  } else if (source->data == DATA_KEPT) {
    lua_getiuservalue(L, at, SIP_JSON_OWN_VALUE);
    sip_json_habit_seen(&state->rereading);
  } else {
    results = make_data(L, index, source->shape);
  }
  if (results > 1) {
    return results;
  }
  if (source->data == DATA_UNREAD && !source->roomy) {
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, at, SIP_JSON_OWN_VALUE);
    source->data = DATA_KEPT;
    return 1;
  }
  lua_pushliteral(L, "data");
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  source->data = DATA_TAKEN;
  return 1;
}

/* data(event) -> true, data | true, nil, message, code | nothing: it is no event of ours */
static int l_data(lua_State *L)
{
  struct sip_json_index *index;
  int results;

  lua_settop(L, 1);
  index = lua_istable(L, 1) ? push_index(L) : NULL;
  if (index == NULL) {
    return 0;
  }
  lua_pushboolean(L, 1);
  lua_insert(L, 2);
  lua_pushliteral(L, "data");
  if (lua_rawget(L, 1) != LUA_TNIL) {
    lua_replace(L, 3);
    return 2;
  }
  lua_pop(L, 1); /* stack: event, true, index */
  results = push_data(L, state_of(L), index);
  lua_remove(L, 3);
  return 1 + results;
}

/* body(event): the whole body, decoded once more: what was taken from the event's own index is in
 * other tables. */
static int l_body(lua_State *L)
{
  lua_settop(L, 1);
  return !lua_istable(L, 1) || push_index(L) == NULL || push_pending(L) != 1 ? 0 : 1;
}

static void push_class(lua_State *L)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(L)->class_ref);
}

/* Pushes a field that stdlib/record.lua makes. Stack: event, name, index. */
static void push_rest(lua_State *L, const struct source *source)
{
  push_class(L);
  lua_getfield(L, -1, "rest");
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, source->shape == SHAPE_ENVELOPE);
  lua_pushinteger(L, source->timestamp_ms);
  lua_call(L, 4, 1);
}

/* Stack: event, name, index */
static int push_data_field(lua_State *L, struct state *state, struct sip_json_index *index)
{
  if (push_data(L, state, index) == 1) {
    return 1;
  }
  push_class(L);
  lua_getfield(L, -1, "refuse");
  lua_pushvalue(L, -4); /* the message */
  lua_pushvalue(L, -4); /* the code */
  lua_call(L, 2, 0);    /* raises */
  return 0;
}

/* Likewise a field that is not the data. */
static void push_field(lua_State *L, struct sip_json_index *index)
{
  const struct source *source = sip_json_index_extra(index);
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

  if (strcmp(name, "value") == 0) {
    sip_json_push_text(L, 3);
  } else if (strcmp(name, "offset") == 0) {
    lua_pushinteger(L, source->offset);
  } else if (strcmp(name, "partition") == 0) {
    lua_pushinteger(L, source->partition);
  } else if (strcmp(name, "topic") == 0) {
    lua_pushstring(L, source->topic);
  } else {
    push_rest(L, source);
  }
}

/* Likewise any field. @return 1 */
static int push_any_field(lua_State *L, struct state *state, struct sip_json_index *index)
{
  if (lua_topointer(L, 2) == state->data_name) {
    return push_data_field(L, state, index);
  }
  push_field(L, index);
  return 1;
}

/* The methods of the class have the state. */
static struct state *class_state(lua_State *L)
{
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* Stack: event, name */
static int event_index(lua_State *L)
{
  struct sip_json_index *index = push_index(L);

  return index == NULL ? 0 : push_any_field(L, class_state(L), index);
}

static int event_fill(lua_State *L)
{
  static const char *const names[] = { "data",    "value", "offset",    "partition",
                                       "topic",   "time",  "version",   "source",
                                       "headers", "trace", "attributes" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    lua_settop(L, 1);
    lua_pushstring(L, names[i]);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, 1) == LUA_TNIL) {
      lua_pop(L, 1);
      (void)push_any_field(L, state_of(L), push_index(L));
      lua_pushvalue(L, 2);
      lua_pushvalue(L, -2);
      lua_rawset(L, 1);
    }
  }
  lua_settop(L, 1);
  push_class(L);
  lua_getfield(L, -1, "plain");
  lua_setmetatable(L, 1);
  lua_pushnil(L);
  lua_rawsetp(L, 1, &source_key);
  return 0;
}

/* Stack: event, name, value. What is put there, nil too, stays: nothing is made again. */
static int event_newindex(lua_State *L)
{
  struct state *state = class_state(L);
  bool is_data = lua_topointer(L, 2) == state->data_name;
  struct sip_json_index *index = is_data ? push_index(L) : NULL;

  if (index != NULL) {
    struct source *source = sip_json_index_extra(index);

    lua_pop(L, 1); /* the event holds it */
    lua_rawset(L, 1);
    source->data = DATA_TAKEN;
    return 0;
  }
  if (lua_isnil(L, 3) || lua_type(L, 2) != LUA_TSTRING) {
    sip_lazy_fill(L, 1);
  }
  lua_rawset(L, 1);
  return 0;
}

static int event_pairs(lua_State *L)
{
  sip_lazy_fill(L, 1);
  lua_getglobal(L, "next");
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

/* --- the module --- */

static int l_class(lua_State *L)
{
  struct state *state = state_of(L);
  static const luaL_Reg methods[] = {
    { "__index", event_index },
    { "__newindex", event_newindex },
    { "__pairs", event_pairs },
    { NULL, NULL },
  };

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  state->json = sip_json_state(L);
  if (state->json == NULL) {
    return luaL_error(L, "events need the module sipeat.core.json");
  }
  lua_pushlightuserdata(L, state);
  luaL_setfuncs(L, methods, 1);
  sip_lazy_class(L, event_fill);
  state->class_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

int sip_open_event(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "class", l_class },     { "data", l_data }, { "body", l_body },
    { "of", sip_l_event_of }, { NULL, NULL },
  };
  struct state *state = lua_newuserdatauv(L, sizeof *state, 0);

  *state = (struct state){ .class_ref = LUA_NOREF };
  (void)luaL_ref(L, LUA_REGISTRYINDEX); /* stays, as the name does */
  lua_pushliteral(L, "data");
  state->data_name = lua_topointer(L, -1);
  (void)luaL_ref(L, LUA_REGISTRYINDEX);
  for (size_t i = 0; i < KNOWN_TYPES; i++) {
    lua_pushboolean(L, 0);
    state->types[i].ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  if (sip_vm_set_service(sip_vm_of(L), &state_key, state) < 0) {
    return luaL_error(L, "too many services");
  }
  luaL_newlib(L, functions);
  return 1;
}
