/* event_lua.c - module sipeat.core.event: events of the usual shapes, whose fields are made when a
 * script touches them.
 *
 * Here are the shapes that are common and cheap to tell: a JSON body without headers, {type, data}
 * or plain, and a record whose type and id stand in headers. All others, all errors, and the fields
 * that are rarely read are stdlib/record.lua's. The two must tell the same:
 * tests/lua/event_test.lua compares them.
 *
 * An event is a table with type, id, key, headers (when there are any), and a hidden field that
 * holds a struct source with the index of its JSON and, as its user value, the text. So it may be
 * kept for as long as a script wants: nothing in it belongs to the record. of(record): see
 * event_record_lua.c.
 *
 * class{rest, refuse, plain} is called once. rest(event, name, envelope, timestamp) makes a field
 * that is not made here; `envelope`: it is {type, data}. refuse(message, code) raises. `plain` is
 * the metatable once everything was made. body(event) and data(event): see there. Loop thread. */
#include "bind/event_lua.h"

#include "bind/bind.h"
#include "bind/json_lua.h"
#include "core/json_text.h"
#include "core/utf8.h"
#include "vm/lazy.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS = 8 };

enum shape {
  SHAPE_ENVELOPE, /* {type, id, data, …} */
  SHAPE_BODY,     /* the whole body is the data */
  SHAPE_PENDING,  /* as SHAPE_BODY, and not scanned yet */
  SHAPE_TEXT      /* data is the value as it is, or nothing */
};

struct source {
  int64_t offset, timestamp_ms;
  int32_t partition;
  uint32_t data; /* its token */
  uint8_t shape;
  bool took_data; /* it is in the table, and what a script does to it is the table's alone */
  char topic[];   /* ends in a NUL */
};

/* What the module keeps, in a userdata that stays: one for each state. */
struct state {
  struct sip_json_state *json; /* borrowed: of sipeat.core.json; set with the class */
  int class_ref; /* in the registry; LUA_NOREF: stdlib/record.lua was never asked for */
};

/* Their addresses are keys: of the state among the services, of the source in an event. */
static const char state_key, source_key;

/* --- a record --- */

/* The first one that is there counts, in this order: as in stdlib/record.lua. */
static const char *const type_headers[] = { "ce_type", "event-type", "eventType", "event_type",
                                            "type" };
static const char *const id_headers[] = { "ce_id",    "event-id", "eventId",
                                          "event_id", "id",       "message-id" };

enum { TYPES = 5, IDS = 6, CONTENT_TYPE_BYTES = 128 };

/* What the headers say; all slices are borrowed from the record. */
struct envelope {
  struct sip_slice types[TYPES], ids[IDS]; /* by their place in the lists */
  struct sip_slice type, id, content_type;
  bool is_json;
  bool is_cloudevent; /* for stdlib/record.lua */
};

static void note_header(struct envelope *out, const struct sip_header *header)
{
  const char *name = header->name;

  for (size_t i = 0; i < TYPES; i++) {
    if (strcmp(name, type_headers[i]) == 0) {
      out->types[i] = header->value; /* the last one of a name counts */
    }
  }
  for (size_t i = 0; i < IDS; i++) {
    if (strcmp(name, id_headers[i]) == 0) {
      out->ids[i] = header->value;
    }
  }
  if (strcmp(name, "content-type") == 0) {
    out->content_type = header->value;
  }
  out->is_cloudevent = out->is_cloudevent || strcmp(name, "ce_specversion") == 0;
}

static struct sip_slice first_slice(const struct sip_slice *slices, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (slices[i].data != NULL && slices[i].len > 0) {
      return slices[i];
    }
  }
  return (struct sip_slice){ NULL, 0 };
}

/* false: the headers are not for us */
static bool read_content_type(struct envelope *out)
{
  char text[CONTENT_TYPE_BYTES];
  size_t len = out->content_type.len;

  out->is_json = true;
  if (out->content_type.data == NULL) {
    return true;
  }
  if (len >= sizeof text) {
    return false;
  }
  for (size_t i = 0; i < len; i++) {
    char c = out->content_type.data[i];

    text[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  text[len] = '\0';
  out->is_json = memmem(text, len, "json", strlen("json")) != NULL;
  return memmem(text, len, "cloudevents", strlen("cloudevents")) == NULL;
}

static bool is_text(const struct sip_slice *slice)
{
  size_t at = 0, length = 1;

  while (slice->data != NULL && at < slice->len && length > 0) {
    length = sip_utf8_length(slice->data + at, slice->len - at);
    at += length;
  }
  return length > 0;
}

static bool read_headers(struct envelope *out, const struct sip_source_ops *ops,
                         const struct sip_record *record, size_t count)
{
  memset(out, 0, sizeof *out);
  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(record, i);

    note_header(out, &header);
  }
  out->type = first_slice(out->types, TYPES);
  out->id = first_slice(out->ids, IDS);
  return !out->is_cloudevent && read_content_type(out) && is_text(&out->type) && is_text(&out->id);
}

/* --- an event --- */

static void push_slice(lua_State *L, const struct sip_slice *slice)
{
  if (slice->data == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, slice->data, slice->len);
  }
}

/* The fields of a body that say what it is. Of several that mean the same the first one counts. */
enum field {
  FIELD_TYPE,
  FIELD_EVENT_TYPE,
  FIELD_EVENT_TYPE_2,
  FIELD_ID,
  FIELD_EVENT_ID,
  FIELD_EVENT_ID_2,
  FIELD_DATA,
  FIELD_SPECVERSION,
  BODY_FIELDS
};

static bool is_name(const char *text, const char *name, size_t len)
{
  return memcmp(text, name, len) == 0;
}

static enum field field_of(const char *name, size_t len)
{
  switch (len) {
  case 2:
    return is_name(name, "id", 2) ? FIELD_ID : BODY_FIELDS;
  case 4:
    return is_name(name, "type", 4)   ? FIELD_TYPE
           : is_name(name, "data", 4) ? FIELD_DATA
                                      : BODY_FIELDS;
  case 7:
    return is_name(name, "eventId", 7) ? FIELD_EVENT_ID : BODY_FIELDS;
  case 8:
    return is_name(name, "event_id", 8) ? FIELD_EVENT_ID_2 : BODY_FIELDS;
  case 9:
    return is_name(name, "eventType", 9) ? FIELD_EVENT_TYPE : BODY_FIELDS;
  case 10:
    return is_name(name, "event_type", 10) ? FIELD_EVENT_TYPE_2 : BODY_FIELDS;
  case 11:
    return is_name(name, "specversion", 11) ? FIELD_SPECVERSION : BODY_FIELDS;
  default:
    return BODY_FIELDS;
  }
}

/* Finds all of them in one pass: their values, or NULL. Of equal keys the last one counts. */
static void find_fields(const char *text, struct sip_json_token *object,
                        struct sip_json_token *out[BODY_FIELDS])
{
  enum { LONGEST = 11, ESCAPE = 6 }; /* an escape of one letter takes up to six */
  struct sip_json_token *end = object + object->span;
  char plain[LONGEST * ESCAPE];

  for (size_t i = 0; i < BODY_FIELDS; i++) {
    out[i] = NULL;
  }
  for (struct sip_json_token *key = object + 1; key < end; key += 1 + key[1].span) {
    enum field field = BODY_FIELDS;

    if ((key->flags & SIP_JSON_ESCAPED) == 0) {
      field = field_of(text + key->at, key->len);
    } else if (key->len <= sizeof plain) {
      field = field_of(plain, sip_json_unescape(plain, text, key));
    }
    if (field < BODY_FIELDS) {
      out[field] = key + 1;
    }
  }
}

/* The first of three that has a value. */
static struct sip_json_token *first_value(struct sip_json_token *const values[3])
{
  for (size_t i = 0; i < 3; i++) {
    if (values[i] != NULL && values[i]->type != SIP_JSON_NULL &&
        (values[i]->type != SIP_JSON_STRING || values[i]->len > 0)) {
      return values[i];
    }
  }
  return NULL;
}

/* What a scanned body says. */
struct body {
  struct sip_json_token *type, *id, *data; /* NULL: SHAPE_BODY */
};

/* false: not for us */
static bool read_body(struct body *out, const struct sip_json *json, const struct envelope *headers)
{
  struct sip_json_token *found[BODY_FIELDS], *data, *type;

  *out = (struct body){ NULL, NULL, NULL };
  if (json->tokens->type != SIP_JSON_OBJECT) {
    return true;
  }
  find_fields(json->text, json->tokens, found);
  if (found[FIELD_SPECVERSION] != NULL) {
    return false;
  }
  type = first_value(&found[FIELD_TYPE]);
  data = found[FIELD_DATA];
  if (type == NULL || type->type != SIP_JSON_STRING || data == NULL ||
      (data->type != SIP_JSON_OBJECT && data->type != SIP_JSON_ARRAY)) {
    return true;
  }
  if (headers->type.data == NULL ||
      sip_json_equal(json->text, type, headers->type.data, headers->type.len)) {
    out->type = type;
    out->data = data;
    out->id = first_value(&found[FIELD_ID]);
  }
  return true;
}

static void push_place_id(lua_State *L, const struct sip_record *record)
{
  (void)lua_pushfstring(L, "%s:%d:%I", record->topic, (int)record->partition,
                        (LUAI_UACINT)record->offset);
}

/* `index`: where the index of the JSON is. */
static void push_id(lua_State *L, const struct sip_record *record, const struct envelope *headers,
                    struct sip_json_token *id, int index)
{
  if (headers->id.data != NULL) {
    push_slice(L, &headers->id);
  } else if (id != NULL && (id->type == SIP_JSON_STRING || id->type == SIP_JSON_NUMBER)) {
    sip_json_push_value(L, index, id);
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

/* @param topic  bytes of the topic's name, with its NUL */
static void fill_source(struct source *source, const struct sip_record *record, size_t topic,
                        enum shape shape, size_t data)
{
  *source = (struct source){ .offset = record->offset,
                             .timestamp_ms = record->timestamp_ms,
                             .partition = record->partition,
                             .data = (uint32_t)data,
                             .shape = (uint8_t)shape };
  memcpy(source->topic, record->topic, topic);
}

static struct state *state_of(lua_State *L)
{
  return sip_vm_service(L, &state_key);
}

/* A body that is read now. Leaves the event, or nothing. */
static bool push_from_body(lua_State *L, struct sip_json_state *state,
                           const struct sip_record *record, const struct envelope *headers)
{
  const struct sip_json *json = &state->json;
  size_t topic = strlen(record->topic) + 1;
  struct sip_json_token *tokens;
  int index = lua_gettop(L) + 2;
  struct body body;
  const char *text;
  struct sip_err err;

  if (sip_json_state_scan(state, record->value.data, record->value.len, &err) < 0 ||
      !read_body(&body, json, headers)) {
    return false;
  }
  lua_createtable(L, 0, FIELDS);
  fill_source(sip_json_push_copy(L, state, record->value.len, sizeof(struct source) + topic),
              record, topic, body.data == NULL ? SHAPE_BODY : SHAPE_ENVELOPE,
              body.data == NULL ? 0 : (size_t)(body.data - json->tokens));
  tokens = sip_json_index_tokens(L, index, &text);
  push_id(L, record, headers, body.id == NULL ? NULL : &tokens[body.id - json->tokens], index);
  lua_setfield(L, index - 1, "id");
  if (body.type != NULL) {
    sip_json_push_value(L, index, &tokens[body.type - json->tokens]);
  } else {
    push_slice(L, &headers->type);
  }
  lua_setfield(L, index - 1, "type");
  end_event(L, record);
  return true;
}

/* Type and id stand in headers, or there is no body. */
static void push_from_headers(lua_State *L, struct sip_json_state *state,
                              const struct sip_record *record, const struct envelope *headers)
{
  bool is_pending = record->value.data != NULL && headers->is_json;
  size_t topic = strlen(record->topic) + 1;

  lua_createtable(L, 0, FIELDS);
  push_slice(L, &record->value);
  fill_source(sip_json_push_index(L, state, NULL, -1, sizeof(struct source) + topic), record, topic,
              is_pending ? SHAPE_PENDING : SHAPE_TEXT, 0);
  lua_remove(L, -2);
  push_id(L, record, headers, NULL, 0);
  lua_setfield(L, -3, "id");
  push_slice(L, &headers->type);
  lua_setfield(L, -3, "type");
  end_event(L, record);
}

/* false: the headers are not for us */
static bool read_envelope(struct envelope *out, const struct sip_source_ops *ops,
                          const struct sip_record *record, size_t count)
{
  if (count > 0) {
    return read_headers(out, ops, record, count);
  }
  out->type = out->id = (struct sip_slice){ NULL, 0 };
  out->is_json = true;
  return true;
}

/* Type and id stand in headers, or there is no body: it is not read before its data is touched. */
static bool is_in_headers(const struct sip_record *record, const struct envelope *headers)
{
  return record->value.data == NULL ||
         (headers->type.data != NULL && (headers->id.data != NULL || !headers->is_json));
}

/* Leaves the event without its class, or nothing. */
static bool push_plain(lua_State *L, struct sip_json_state *state, const struct sip_source_ops *ops,
                       const struct sip_record *record)
{
  size_t count = ops->header_count(record);
  struct envelope headers;

  if (!read_envelope(&headers, ops, record, count)) {
    return false;
  }
  if (is_in_headers(record, &headers)) {
    push_from_headers(L, state, record, &headers);
  } else if (!push_from_body(L, state, record, &headers)) {
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
  const struct state *state = state_of(L);

  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (state == NULL || state->class_ref == LUA_NOREF || !push_plain(L, state->json, ops, record)) {
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
  struct envelope headers;
  struct sip_err err;
  bool in_headers;

  if (state == NULL || !read_envelope(&headers, ops, record, ops->header_count(record))) {
    return SIP_EVENT_KEY_UNKNOWN;
  }
  in_headers = is_in_headers(record, &headers);
  if (in_headers && (record->value.data == NULL || !headers.is_json)) {
    return SIP_EVENT_KEY_NONE; /* data is a text, or nothing */
  }
  if (sip_json_state_scan(state, record->value.data, record->value.len, &err) < 0) {
    return SIP_EVENT_KEY_UNKNOWN;
  }
  sip_buf_clear(&state->buf);
  data = state->json.tokens;
  if (!in_headers) {
    struct body body;

    if (!read_body(&body, &state->json, &headers)) {
      return SIP_EVENT_KEY_UNKNOWN;
    }
    data = body.data == NULL ? data : body.data;
  }
  found = sip_json_at(&state->json, data, path, count);
  return found == NULL ? SIP_EVENT_KEY_NONE : key_text(state, found, out);
}

/* --- its fields --- */

/* Pushes the index of the event at 1. NULL, and nothing pushed, when it is none of ours. */
static struct source *push_source(lua_State *L)
{
  if (!lua_istable(L, 1)) {
    return NULL;
  }
  if (lua_rawgetp(L, 1, &source_key) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    return NULL;
  }
  return sip_json_index_extra(L, -1);
}

/* Pushes the decoded text of the index on top. @return the number of results: 1, or 3 that say why
 * not */
static int push_pending(lua_State *L)
{
  struct sip_json_state *state = state_of(L)->json;
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
  (void)sip_json_push_index(L, state, &state->json, -1, 0);
  sip_json_push_value(L, lua_gettop(L), sip_json_index_tokens(L, -1, &text));
  return 1;
}

/* Stack: event, …, index. Pushes the data, which is nil for null. @return as push_pending */
static int push_data(lua_State *L, struct source *source)
{
  const char *text;
  int results = 1;

  if (source->took_data) {
    lua_pushnil(L);
    return 1;
  }
  if (source->shape == SHAPE_TEXT) {
    sip_json_push_text(L, -1);
  } else if (source->shape == SHAPE_PENDING) {
    results = push_pending(L);
  } else {
    sip_json_push_value(L, lua_gettop(L), &sip_json_index_tokens(L, -1, &text)[source->data]);
  }
  if (results > 1) {
    return results;
  }
  if (lua_islightuserdata(L, -1)) {
    lua_pushnil(L);
  }
  source->took_data = true;
  lua_pushliteral(L, "data");
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

/* data(event) -> true, data | true, nil, message, code | nothing: it is no event of ours */
static int l_data(lua_State *L)
{
  struct source *source;
  int results;

  lua_settop(L, 1);
  source = push_source(L);
  if (source == NULL) {
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
  results = push_data(L, source);
  lua_remove(L, 3);
  return 1 + results;
}

/* body(event): the whole body, decoded once more: what was taken from the event's own index is in
 * other tables. */
static int l_body(lua_State *L)
{
  lua_settop(L, 1);
  return push_source(L) == NULL || push_pending(L) != 1 ? 0 : 1;
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

/* Stack: event, name */
static int event_index(lua_State *L)
{
  struct source *source;
  const char *name;

  lua_settop(L, 2);
  source = push_source(L);
  name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (source == NULL) {
    return 0;
  }
  if (strcmp(name, "data") == 0) {
    if (push_data(L, source) == 1) {
      return 1;
    }
    push_class(L);
    lua_getfield(L, -1, "refuse");
    lua_pushvalue(L, -4); /* the message */
    lua_pushvalue(L, -4); /* the code */
    lua_call(L, 2, 0);    /* raises */
    return 0;
  }
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
  return 1;
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
      lua_pushcfunction(L, event_index);
      lua_pushvalue(L, 1);
      lua_pushvalue(L, 2);
      lua_call(L, 2, 1);
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
  if (lua_isnil(L, 3) || lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "data") == 0) {
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
  luaL_setfuncs(L, methods, 0);
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
  (void)luaL_ref(L, LUA_REGISTRYINDEX); /* stays */
  if (sip_vm_set_service(sip_vm_of(L), &state_key, state) < 0) {
    return luaL_error(L, "too many services");
  }
  luaL_newlib(L, functions);
  return 1;
}
