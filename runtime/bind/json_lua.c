/* json_lua.c - sipeat.core.json: texts of JSON as values of Lua, whole or filled when touched.
 *
 * decode(text) -> value, lazy(text) -> value: or nil, message, "BAD_DATA". untouched(value) -> is
 * it a lazy table of which nothing was read? encode is in json_encode_lua.c. A lazy value is a
 * table with a hidden field that holds the index of the text, and, but for the first table of a
 * text, a second one with the place in it. A field is put into the table when it is read for the
 * second time; or for the first one, if it is a table, or there is room because other tables needed
 * it. Then its key in the index is marked: what the script does to it, also setting it to nil, is
 * the table's alone. Whatever needs the whole table fills it and takes the metatable and the hidden
 * fields away. Loop thread. */
#include "bind/json_lua.h"

#include "bind/bind.h"
#include "core/err.h"
#include "core/json_text.h"
#include "vm/lazy.h"

#include <lauxlib.h>
#include <stddef.h>
#include <string.h>

enum {
  TAKEN = SIP_JSON_USER,       /* a key or an item whose value is in the table */
  TOUCHED = SIP_JSON_USER * 2, /* a container of which something was read */
  READ = SIP_JSON_USER * 4,    /* a key whose value was given out, and is not in the table */
  WIDE = 32,              /* objects with more fields are filled at the first touch: looking for a
                             key goes through all of them */
  HASH = 8,               /* fields that a lazy table has room for before it grows */
  KEEP_BYTES = 256 * 1024 /* a larger index or buffer is given back after its use */
};

/* The index of a text that was read lazily, in a userdata. A string of the text is a user value; a
 * text without one is behind the tokens, and what is the caller's. */
struct sip_json_index {
  struct sip_json_state *state; /* borrowed: it is there as long as Lua is */
  const char *text;
  struct sip_json_token *first; /* what the first table stands for; NULL: there is none yet */
  uint32_t len;                 /* of the text, when it is behind the tokens */
  uint32_t count;               /* of the tokens */
  uint8_t string;               /* which user value the text is, from 1; 0: none */
  uint8_t depth;
  bool spaced : 1;
  bool shared : 1; /* by other tables, which have a place of their own */
  bool roomy : 1;  /* its tables have room for their fields */
  struct sip_json_token tokens[];
};

/* Their addresses are keys: of the classes in the registry, of the hidden fields in a table. */
static const char array_key, index_key, place_key, state_key;

static struct sip_json_state *state_of(lua_State *L)
{
  return lua_touserdata(L, lua_upvalueindex(1));
}

struct sip_json_state *sip_json_state(lua_State *L)
{
  struct sip_json_state *state;

  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  state = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return state;
}

static int state_gc(lua_State *L)
{
  struct sip_json_state *state = lua_touserdata(L, 1);

  sip_json_deinit(&state->json);
  sip_buf_deinit(&state->buf);
  return 0;
}

/* --- values --- */

static void push_string(lua_State *L, const char *text, const struct sip_json_token *token)
{
  luaL_Buffer buffer;

  if ((token->flags & SIP_JSON_ESCAPED) == 0) {
    lua_pushlstring(L, text + token->at, token->len);
    return;
  }
  luaL_pushresultsize(&buffer,
                      sip_json_unescape(luaL_buffinitsize(L, &buffer, token->len), text, token));
}

static void push_number(lua_State *L, const char *text, const struct sip_json_token *token)
{
  struct sip_json_number number = sip_json_number(text, token);

  if (number.integral) {
    lua_pushinteger(L, number.integer);
  } else {
    lua_pushnumber(L, number.real);
  }
}

/* An empty list is marked, so that it is written as one. */
static void push_empty(lua_State *L, const struct sip_json_token *token)
{
  lua_createtable(L, 0, 0);
  if (token->type == SIP_JSON_ARRAY) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, -2);
  }
}

void sip_json_push_simple(lua_State *L, const char *text, const struct sip_json_token *token)
{
  switch (token->type) {
  case SIP_JSON_STRING:
    push_string(L, text, token);
    break;
  case SIP_JSON_NUMBER:
    push_number(L, text, token);
    break;
  case SIP_JSON_TRUE:
  case SIP_JSON_FALSE:
    lua_pushboolean(L, token->type == SIP_JSON_TRUE);
    break;
  case SIP_JSON_NULL:
    lua_pushlightuserdata(L, NULL);
    break;
  default:
    push_empty(L, token);
  }
}

/* The whole value; recursion is bounded by SIP_JSON_DEPTH. */
static void push_whole(lua_State *L, const char *text, const struct sip_json_token *token)
{
  const struct sip_json_token *end = token + token->span;

  if (token->span == 1) {
    sip_json_push_simple(L, text, token);
    return;
  }
  luaL_checkstack(L, 4, "json");
  if (token->type == SIP_JSON_OBJECT) {
    lua_createtable(L, 0, token->count);
    for (token++; token < end; token += token->span) {
      push_string(L, text, token++);
      push_whole(L, text, token);
      lua_rawset(L, -3);
    }
  } else {
    lua_Integer i = 1;

    lua_createtable(L, token->count, 0);
    for (token++; token < end; token += token->span) {
      push_whole(L, text, token);
      lua_rawseti(L, -2, i++);
    }
  }
}

/* --- lazy tables --- */

/* The fields that a new table gets room for, beside the hidden ones. What is wide is filled as soon
 * as it is touched. */
static int room_of(const struct sip_json_index *index, const struct sip_json_token *token)
{
  if (token->type != SIP_JSON_OBJECT || (!index->roomy && token->count <= WIDE)) {
    return 0;
  }
  return token->count < HASH ? token->count : HASH - 2;
}

/* A table for a container with something in it. `at`: where its index is. */
static void push_lazy(lua_State *L, int at, struct sip_json_index *index,
                      struct sip_json_token *token)
{
  struct sip_json_state *state = index->state;
  int items = token->type == SIP_JSON_OBJECT ? 0 : token->count;
  bool first;

  if (index->first == NULL) {
    index->first = token;
  }
  first = token == index->first;
  lua_createtable(L, items, room_of(index, token) + 1 + !first);
  lua_pushvalue(L, at);
  lua_rawsetp(L, -2, &index_key);
  if (!first) {
    index->shared = true;
    lua_pushlightuserdata(L, token);
    lua_rawsetp(L, -2, &place_key);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->lazy_ref);
  lua_setmetatable(L, -2);
  state->last.table = lua_topointer(L, -1);
  state->last.index = index;
  state->last.token = token;
}

/* `at`: where the token's index is. */
static void push_value(lua_State *L, int at, struct sip_json_index *index,
                       struct sip_json_token *token)
{
  if (token->span == 1) {
    sip_json_push_simple(L, index->text, token);
  } else {
    push_lazy(L, at, index, token);
  }
}

void sip_json_push_root(lua_State *L, int at, struct sip_json_index *index)
{
  push_value(L, at, index, index->tokens);
}

/* Where the bytes of somebody else begin, behind `count` tokens. */
static size_t index_extra_at(size_t count)
{
  size_t align = _Alignof(uint64_t), bytes = count * sizeof(struct sip_json_token);

  return (sizeof(struct sip_json_index) + bytes + align - 1) / align * align;
}

/* Of `count` tokens of a scanned text, from `tokens` on; with room for `more` bytes behind them. */
static struct sip_json_index *push_index_of(lua_State *L, struct sip_json_state *state,
                                            const struct sip_json_token *tokens, size_t count,
                                            size_t more, int values)
{
  struct sip_json_index *index = lua_newuserdatauv(L, index_extra_at(count) + more, values);

  *index = (struct sip_json_index){ .state = state,
                                    .count = (uint32_t)count,
                                    .roomy = sip_json_habit_expected(&state->growth) };
  if (count > 0) {
    memcpy(index->tokens, tokens, count * sizeof *tokens);
  }
  return index;
}

static void set_text(struct sip_json_index *index, const struct sip_json *json, const char *text)
{
  index->text = text;
  index->spaced = json->spaced;
  index->depth = json->depth;
}

struct sip_json_index *sip_json_push_index(lua_State *L, struct sip_json_state *state,
                                           const struct sip_json *json, int text, size_t extra)
{
  static const struct sip_json nothing = { .tokens = NULL };
  int string = extra > 0 ? SIP_JSON_OWN_VALUE + 1 : 1;
  struct sip_json_index *index;

  text = lua_absindex(L, text);
  json = json == NULL ? &nothing : json;
  index = push_index_of(L, state, json->tokens, json->count, extra, string);
  set_text(index, json, json->text);
  index->string = (uint8_t)string;
  lua_pushvalue(L, text);
  lua_setiuservalue(L, -2, string);
  return index;
}

struct sip_json_index *sip_json_push_copy(lua_State *L, struct sip_json_state *state,
                                          const struct sip_json_token *root, size_t len,
                                          size_t extra)
{
  enum { SHORT = 4096 }; /* bytes: a string of it is made whenever somebody asks for it */
  int string = len > SHORT ? SIP_JSON_OWN_VALUE + 1 : 0;
  struct sip_json_index *index = push_index_of(L, state, root, root->span, extra + len,
                                               string > 0 ? string : SIP_JSON_OWN_VALUE);

  set_text(index, &state->json,
           memcpy((char *)sip_json_index_extra(index) + extra, state->json.text, len));
  index->len = (uint32_t)len;
  index->string = (uint8_t)string;
  return index;
}

void sip_json_push_text(lua_State *L, int index)
{
  const struct sip_json_index *of = lua_touserdata(L, index);

  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, of->string) <= LUA_TNIL && of->text != NULL) {
    lua_pop(L, 1);
    lua_pushlstring(L, of->text, of->len);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, of->string); /* where it can be kept */
  }
}

void *sip_json_index_extra(struct sip_json_index *index)
{
  return (char *)index + index_extra_at(index->count);
}

/* The container that the lazy table at `table`, an absolute index, stands for; pushes its index. */
static struct sip_json_token *push_index(lua_State *L, int table)
{
  struct sip_json_token *token = NULL;
  struct sip_json_index *of;

  lua_rawgetp(L, table, &index_key);
  of = lua_touserdata(L, -1);
  if (of->shared) {
    lua_rawgetp(L, table, &place_key);
    token = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  return token != NULL ? token : of->first;
}

/* Has the lazy table at 1 as the state's last one. */
static void look_at(lua_State *L, struct sip_json_state *state)
{
  const void *table = lua_topointer(L, 1);

  if (state->last.table != table) {
    state->last.token = push_index(L, 1);
    state->last.index = lua_touserdata(L, -1);
    state->last.table = table;
    lua_pop(L, 1);
  }
}

void sip_json_lazy_at(lua_State *L, int index, struct sip_json_lazy *out)
{
  const struct sip_json_index *of;

  out->token = push_index(L, lua_absindex(L, index));
  of = lua_touserdata(L, -1);
  out->text = of->text;
  out->spaced = of->spaced;
  out->depth = of->depth;
}

bool sip_json_lazy_untouched(const struct sip_json_lazy *lazy)
{
  return (lazy->token->flags & TOUCHED) == 0;
}

/* What is put into a table of that index has to make it larger. */
static void miss_room(struct sip_json_index *index)
{
  if (!index->roomy) {
    index->roomy = true;
    sip_json_habit_seen(&index->state->growth);
  }
}

/* Fields of the object that are not in the table yet. Of equal keys only the last one counts, so
 * where single fields were read each key is looked up; that is never in a wide object. Stack: the
 * table at 1, the index at 2. */
static void fill_fields(lua_State *L, struct sip_json_index *index, struct sip_json_token *object)
{
  struct sip_json_token *end = object + object->span;
  bool single = (object->flags & TOUCHED) != 0 && object->count <= WIDE;

  object->flags |= TOUCHED;
  miss_room(index);
  for (struct sip_json_token *key = object + 1; key < end; key += 1 + key[1].span) {
    size_t len;
    const char *name;

    if ((key->flags & TAKEN) != 0) {
      continue;
    }
    push_string(L, index->text, key);
    name = lua_tolstring(L, -1, &len);
    if (single && sip_json_find(index->text, object, name, len) != key) {
      lua_pop(L, 1);
      continue;
    }
    push_value(L, 2, index, key + 1);
    lua_rawset(L, 1);
    key->flags |= TAKEN;
  }
}

static void fill_items(lua_State *L, struct sip_json_index *index, struct sip_json_token *array)
{
  struct sip_json_token *end = array + array->span;
  lua_Integer i = 1;

  array->flags |= TOUCHED;
  for (struct sip_json_token *item = array + 1; item < end; item += item->span, i++) {
    if ((item->flags & TAKEN) == 0) {
      push_value(L, 2, index, item);
      lua_rawseti(L, 1, i);
      item->flags |= TAKEN;
    }
  }
}

/* The filler: stack: the table. */
static int lazy_fill(lua_State *L)
{
  struct sip_json_token *token;
  struct sip_json_index *index;

  lua_settop(L, 1);
  token = push_index(L, 1);
  index = lua_touserdata(L, 2);
  if (token->type == SIP_JSON_OBJECT) {
    fill_fields(L, index, token);
  } else {
    fill_items(L, index, token);
  }
  lua_pushnil(L);
  lua_setmetatable(L, 1);
  lua_pushnil(L); /* setting fields that are there needs no memory */
  lua_rawsetp(L, 1, &index_key);
  if (lua_rawgetp(L, 1, &place_key) != LUA_TNIL) {
    lua_pushnil(L);
    lua_rawsetp(L, 1, &place_key);
  }
  return 0;
}

/* Is it an object of which single fields are read? */
static bool is_narrow(const struct sip_json_token *token)
{
  return token->type == SIP_JSON_OBJECT && token->count <= WIDE;
}

/* The key of the field whose name is at 2, or NULL. */
static struct sip_json_token *find_key(lua_State *L, const struct sip_json_index *index,
                                       struct sip_json_token *object)
{
  size_t len;
  const char *name = lua_tolstring(L, 2, &len);

  return sip_json_find(index->text, object, name, len);
}

/* Puts the value of `key` into the table. Stack: table, name. Leaves the value. */
static void take(lua_State *L, struct sip_json_index *index, struct sip_json_token *key)
{
  miss_room(index);
  lua_rawgetp(L, 1, &index_key);
  push_value(L, 3, index, key + 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  key->flags |= TAKEN;
}

/* stack: table, key. A look at a field that is not in the table. */
static int lazy_index(lua_State *L)
{
  struct sip_json_state *state = state_of(L);
  struct sip_json_token *object, *key;
  struct sip_json_index *index;

  look_at(L, state);
  object = state->last.token;
  index = state->last.index;
  if (!is_narrow(object)) {
    sip_lazy_fill(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    return 1;
  }
  key = lua_type(L, 2) == LUA_TSTRING ? find_key(L, index, object) : NULL;
  if (key == NULL || (key->flags & TAKEN) != 0) {
    lua_pushnil(L);
    return 1;
  }
  object->flags |= TOUCHED;
  if (index->roomy || (key->flags & READ) != 0 || key[1].type >= SIP_JSON_ARRAY) {
    take(L, index, key);
  } else {
    sip_json_push_simple(L, index->text, key + 1);
    key->flags |= READ;
  }
  return 1;
}

/* stack: table, key, value. What is put there, nil too, stays: the field is not made again. */
static int lazy_newindex(lua_State *L)
{
  struct sip_json_state *state = state_of(L);
  struct sip_json_token *object, *key;

  look_at(L, state);
  object = state->last.token;
  if (!is_narrow(object) || lua_type(L, 2) != LUA_TSTRING) {
    sip_lazy_fill(L, 1);
    lua_rawset(L, 1);
    return 0;
  }
  key = find_key(L, state->last.index, object);
  object->flags |= TOUCHED;
  miss_room(state->last.index);
  lua_rawset(L, 1);
  if (key != NULL) {
    key->flags |= TAKEN;
  }
  return 0;
}

static int lazy_len(lua_State *L)
{
  sip_lazy_fill(L, 1);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
  return 1;
}

static int lazy_pairs(lua_State *L)
{
  sip_lazy_fill(L, 1);
  lua_getglobal(L, "next");
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

/* --- the module --- */

static int push_refusal(lua_State *L, const struct sip_err *err)
{
  lua_pushnil(L);
  lua_pushfstring(L, "json decode: %s", err->message);
  lua_pushliteral(L, "BAD_DATA");
  return 3;
}

static int refuse_type(lua_State *L)
{
  bool simple = lua_type(L, 1) == LUA_TNUMBER || lua_type(L, 1) == LUA_TBOOLEAN;

  lua_pushnil(L);
  lua_pushfstring(L, "json decode: expected text, got %s%s",
                  simple || lua_isnoneornil(L, 1) ? "" : "a ",
                  simple             ? luaL_tolstring(L, 1, NULL)
                  : lua_isnone(L, 1) ? "nil"
                                     : luaL_typename(L, 1));
  lua_pushliteral(L, "BAD_DATA");
  return 3;
}

int sip_json_state_scan(struct sip_json_state *state, const char *text, size_t len,
                        struct sip_err *err)
{
  if (state->json.cap * sizeof *state->json.tokens > KEEP_BYTES) {
    sip_json_deinit(&state->json);
  }
  return sip_json_scan(&state->json, text, len, err);
}

/* Scans the text at index 1. @return 0, or the number of results that say why not */
static int scan(lua_State *L, struct sip_json_state *state)
{
  struct sip_err err;
  size_t len;
  const char *text;
  int rc;

  if (lua_type(L, 1) != LUA_TSTRING) {
    return refuse_type(L);
  }
  lua_settop(L, 1);
  text = lua_tolstring(L, 1, &len);
  rc = sip_json_state_scan(state, text, len, &err);
  if (rc == UV_ENOMEM) {
    return luaL_error(L, "json decode: not enough memory");
  }
  return rc < 0 ? push_refusal(L, &err) : 0;
}

static int l_decode(lua_State *L)
{
  struct sip_json_state *state = state_of(L);
  int refused = scan(L, state);

  if (refused == 0) {
    push_whole(L, state->json.text, state->json.tokens);
    return 1;
  }
  return refused;
}

/* The value of a scanned text, the string at `text`, that is no simple one; below it its index. */
static void push_lazy_text(lua_State *L, struct sip_json_state *state, const struct sip_json *json,
                           int text)
{
  struct sip_json_index *index = sip_json_push_index(L, state, json, text, 0);

  push_lazy(L, lua_gettop(L), index, index->tokens);
}

void sip_json_push_lazy(lua_State *L, struct sip_json_state *state, int text)
{
  enum { FEW = 6 }; /* tokens: a table of so few values costs less than an index */
  struct sip_err err;
  size_t len;
  const char *bytes;

  text = lua_absindex(L, text);
  bytes = lua_tolstring(L, text, &len);
  if (sip_json_state_scan(state, bytes, len, &err) < 0) {
    (void)luaL_error(L, "json decode: %s", err.message);
  } else if (state->json.tokens->type == SIP_JSON_NULL) {
    lua_pushnil(L);
  } else if (state->json.count <= FEW) {
    push_whole(L, bytes, state->json.tokens);
  } else {
    push_lazy_text(L, state, &state->json, text);
    lua_remove(L, -2);
  }
}

static bool is_lazy(lua_State *L, const struct sip_json_state *state, int index)
{
  bool lazy;

  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) {
    return false;
  }
  lazy = lua_topointer(L, -1) == state->lazy_class;
  lua_pop(L, 1);
  return lazy;
}

bool sip_json_push_twin(lua_State *L, struct sip_json_state *state, int table, int text)
{
  struct sip_json_lazy lazy;
  struct sip_json part;
  struct sip_json_index *twin;
  size_t len;

  table = lua_absindex(L, table);
  text = lua_absindex(L, text);
  if (!is_lazy(L, state, table)) {
    return false;
  }
  sip_json_lazy_at(L, table, &lazy); /* leaves the index */
  part.text = lua_tolstring(L, text, &len);
  if (!sip_json_lazy_untouched(&lazy) || lazy.spaced || lazy.token->len != len) {
    lua_pop(L, 1);
    return false;
  }
  part.tokens = lazy.token;
  part.count = lazy.token->span;
  part.spaced = false;
  part.depth = lazy.depth;
  twin = sip_json_push_index(L, state, &part, text, 0);
  for (uint32_t i = 0, from = lazy.token->at; i < twin->count; i++) {
    twin->tokens[i].at -= from;
  }
  push_lazy(L, lua_gettop(L), twin, twin->tokens);
  lua_replace(L, -3); /* of the first index */
  lua_pop(L, 1);
  return true;
}

static int l_lazy(lua_State *L)
{
  struct sip_json_state *state = state_of(L);
  const struct sip_json *json = &state->json;
  int refused = scan(L, state);

  if (refused > 0) {
    return refused;
  } else if (json->tokens->span == 1) {
    sip_json_push_simple(L, json->text, json->tokens);
    return 1;
  }
  push_lazy_text(L, state, json, 1);
  return 1;
}

bool sip_json_is_untouched(lua_State *L, const struct sip_json_state *state, int index)
{
  struct sip_json_lazy lazy;

  if (!is_lazy(L, state, index)) {
    return false;
  }
  sip_json_lazy_at(L, index, &lazy);
  lua_pop(L, 1); /* the table holds it */
  return sip_json_lazy_untouched(&lazy);
}

static int l_untouched(lua_State *L)
{
  lua_settop(L, 1);
  lua_pushboolean(L, sip_json_is_untouched(L, state_of(L), 1));
  return 1;
}

/* split(path) -> { "data", "machineId" } | nil: a path as sip_json_path takes it. */
static int l_split(lua_State *L)
{
  struct sip_slice keys[SIP_JSON_KEYS];
  size_t len, count;
  const char *path = luaL_checklstring(L, 1, &len);

  count = sip_json_path_split(path, len, keys, SIP_JSON_KEYS);
  if (count == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushlstring(L, keys[i].data, keys[i].len);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static void make_classes(lua_State *L, struct sip_json_state *state)
{
  static const luaL_Reg lazy[] = {
    { "__index", lazy_index },
    { "__newindex", lazy_newindex },
    { "__len", lazy_len },
    { "__pairs", lazy_pairs },
    { NULL, NULL },
  };

  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "sipeat.json.array");
  lua_setfield(L, -2, "__name");
  state->array_class = lua_topointer(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
  luaL_newlibtable(L, lazy); /* without a __name: a lazy table is shown as a table */
  lua_pushlightuserdata(L, state);
  luaL_setfuncs(L, lazy, 1);
  sip_lazy_class(L, lazy_fill);
  state->lazy_class = lua_topointer(L, -1);
  state->lazy_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

int sip_open_json(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "decode", l_decode },
    { "lazy", l_lazy },
    { "encode", sip_json_l_encode },
    { "untouched", l_untouched },
    { "split", l_split },
    { "encoder", sip_json_l_encoder },
    { NULL, NULL },
  };
  struct sip_json_state *state;

  luaL_newlibtable(L, functions);
  state = lua_newuserdatauv(L, sizeof *state, 0);
  memset(state, 0, sizeof *state);
  sip_json_init(&state->json);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, state_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  make_classes(L, state);
  luaL_setfuncs(L, functions, 1);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_setfield(L, -2, "array_class");
  return 1;
}
