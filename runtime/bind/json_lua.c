/* json_lua.c - sipeat.core.json: texts of JSON as values of Lua, whole or filled when touched.
 *
 * decode(text) -> value, lazy(text) -> value: or nil, message, "BAD_DATA". untouched(value) -> is
 * it a lazy table of which nothing was read? encode is in json_encode_lua.c. A lazy value is a
 * table with a hidden field that holds the index of the text, and, but for the first table of a
 * text, a second one with the place in it. A field is put into the table when it is read for the
 * first time, and its key in the index is marked: what the script then does to it, also setting it
 * to nil, is the table's alone. Whatever needs the whole table fills it and takes the metatable and
 * the hidden fields away. Loop thread. */
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
  TOUCHED = SIP_JSON_USER * 2, /* a container of which something was taken */
  WIDE = 32,              /* objects with more fields are filled at the first touch: looking for a
                             key goes through all of them */
  HASH = 8,               /* fields that a lazy table has room for before it grows */
  KEEP_BYTES = 256 * 1024 /* a larger index or buffer is given back after its use */
};

/* The index of a text that was read lazily, in a userdata. Its user value is the text, or nil: then
 * the text is behind the tokens, and nobody has asked for it as a string. */
struct index {
  const struct sip_json_state *state; /* borrowed: it is there as long as Lua is */
  const char *text;
  size_t len;
  uint32_t count;               /* of its tokens */
  struct sip_json_token *first; /* what the first table stands for; NULL: there is none yet */
  bool spaced;
  bool shared; /* by other tables, which have a place of their own */
  uint8_t depth;
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

/* All but a container with something in it. */
static void push_simple(lua_State *L, const char *text, const struct sip_json_token *token)
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
    push_simple(L, text, token);
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

/* A table for a container with something in it. `index` is where its struct index is. */
static void push_lazy(lua_State *L, int index, struct sip_json_token *token)
{
  struct index *of = lua_touserdata(L, index);
  bool object = token->type == SIP_JSON_OBJECT, first;
  int fields = object && token->count < HASH ? token->count : object ? HASH - 2 : 0;

  if (of->first == NULL) {
    of->first = token;
  }
  first = token == of->first;
  lua_createtable(L, object ? 0 : token->count, fields + 1 + !first);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, &index_key);
  if (!first) {
    of->shared = true;
    lua_pushlightuserdata(L, token);
    lua_rawsetp(L, -2, &place_key);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, of->state->lazy_ref);
  lua_setmetatable(L, -2);
}

void sip_json_push_value(lua_State *L, int index, struct sip_json_token *token)
{
  if (token->span == 1) {
    push_simple(L, ((struct index *)lua_touserdata(L, index))->text, token);
  } else {
    push_lazy(L, index, token);
  }
}

/* Where the bytes of somebody else begin, behind `count` tokens: aligned for whatever they are. */
static size_t index_extra_at(size_t count)
{
  size_t align = _Alignof(max_align_t);

  return (sizeof(struct index) + count * sizeof(struct sip_json_token) + align - 1) / align * align;
}

/* With room for a text of `len` bytes behind the rest. */
static struct index *push_index_of(lua_State *L, const struct sip_json_state *state,
                                   const struct sip_json *json, size_t extra, size_t len)
{
  size_t count = json == NULL ? 0 : json->count;
  struct index *index = lua_newuserdatauv(L, index_extra_at(count) + extra + len, 1);

  *index = (struct index){ .state = state, .count = (uint32_t)count };
  if (json != NULL) {
    index->text = json->text;
    index->spaced = json->spaced;
    index->depth = json->depth;
    memcpy(index->tokens, json->tokens, count * sizeof *json->tokens);
  }
  return index;
}

void *sip_json_push_index(lua_State *L, const struct sip_json_state *state,
                          const struct sip_json *json, int text, size_t extra)
{
  struct index *index;

  text = lua_absindex(L, text);
  index = push_index_of(L, state, json, extra, 0);
  lua_pushvalue(L, text);
  lua_setiuservalue(L, -2, 1);
  return (char *)index + index_extra_at(index->count);
}

void *sip_json_push_copy(lua_State *L, const struct sip_json_state *state, size_t len, size_t extra)
{
  const struct sip_json *json = &state->json;
  struct index *index = push_index_of(L, state, json, extra, len);
  char *bytes = (char *)index + index_extra_at(index->count);

  index->text = memcpy(bytes + extra, json->text, len);
  index->len = len;
  return bytes;
}

void sip_json_push_text(lua_State *L, int index)
{
  const struct index *of = lua_touserdata(L, index);

  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, 1) == LUA_TNIL && of->text != NULL) {
    lua_pop(L, 1);
    lua_pushlstring(L, of->text, of->len);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, 1);
  }
}

struct sip_json_token *sip_json_index_tokens(lua_State *L, int index, const char **text)
{
  struct index *of = lua_touserdata(L, index);

  *text = of->text;
  return of->tokens;
}

void *sip_json_index_extra(lua_State *L, int index)
{
  struct index *of = lua_touserdata(L, index);

  return (char *)of + index_extra_at(of->count);
}

/* The container that the lazy table at `table`, an absolute index, stands for; pushes its index. */
static struct sip_json_token *push_index(lua_State *L, int table)
{
  struct sip_json_token *token = NULL;
  struct index *of;

  lua_rawgetp(L, table, &index_key);
  of = lua_touserdata(L, -1);
  if (of->shared) {
    lua_rawgetp(L, table, &place_key);
    token = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  return token != NULL ? token : of->first;
}

void sip_json_lazy_at(lua_State *L, int index, struct sip_json_lazy *out)
{
  const struct index *of;

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

/* Fields of the object that are not in the table yet. Of equal keys only the last one counts, so
 * where single fields were taken each key is looked up; that is never in a wide object. Stack: the
 * table at 1, the index at 2. */
static void fill_fields(lua_State *L, const char *text, struct sip_json_token *object)
{
  struct sip_json_token *end = object + object->span;
  bool single = (object->flags & TOUCHED) != 0 && object->count <= WIDE;

  object->flags |= TOUCHED;
  for (struct sip_json_token *key = object + 1; key < end; key += 1 + key[1].span) {
    size_t len;
    const char *name;

    if ((key->flags & TAKEN) != 0) {
      continue;
    }
    push_string(L, text, key);
    name = lua_tolstring(L, -1, &len);
    if (single && sip_json_find(text, object, name, len) != key) {
      lua_pop(L, 1);
      continue;
    }
    sip_json_push_value(L, 2, key + 1);
    lua_rawset(L, 1);
    key->flags |= TAKEN;
  }
}

static void fill_items(lua_State *L, struct sip_json_token *array)
{
  struct sip_json_token *end = array + array->span;
  lua_Integer i = 1;

  array->flags |= TOUCHED;
  for (struct sip_json_token *item = array + 1; item < end; item += item->span, i++) {
    if ((item->flags & TAKEN) == 0) {
      sip_json_push_value(L, 2, item);
      lua_rawseti(L, 1, i);
      item->flags |= TAKEN;
    }
  }
}

/* The filler: stack: the table. */
static int lazy_fill(lua_State *L)
{
  struct sip_json_token *token;

  lua_settop(L, 1);
  token = push_index(L, 1);
  if (token->type == SIP_JSON_OBJECT) {
    fill_fields(L, ((struct index *)lua_touserdata(L, 2))->text, token);
  } else {
    fill_items(L, token);
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

/* stack: table, key. The first look at a field, or one at a field that is not there. */
static int lazy_index(lua_State *L)
{
  struct sip_json_token *token = push_index(L, 1), *key;
  const char *name;
  size_t len;

  if (token->type == SIP_JSON_ARRAY || token->count > WIDE) {
    sip_lazy_fill(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    return 1;
  }
  if (lua_type(L, 2) != LUA_TSTRING) {
    lua_pushnil(L);
    return 1;
  }
  name = lua_tolstring(L, 2, &len);
  key = sip_json_find(((struct index *)lua_touserdata(L, 3))->text, token, name, len);
  if (key == NULL || (key->flags & TAKEN) != 0) {
    lua_pushnil(L);
    return 1;
  }
  sip_json_push_value(L, 3, key + 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  token->flags |= TOUCHED;
  lua_rawset(L, 1);
  key->flags |= TAKEN;
  return 1;
}

/* stack: table, key, value */
static int lazy_newindex(lua_State *L)
{
  sip_lazy_fill(L, 1);
  lua_rawset(L, 1);
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
    (void)sip_json_push_index(L, state, &state->json, text, 0);
    push_lazy(L, lua_gettop(L), ((struct index *)lua_touserdata(L, -1))->tokens);
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
  struct index *twin;
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
  (void)sip_json_push_index(L, state, &part, text, 0);
  twin = lua_touserdata(L, -1);
  for (uint32_t i = 0, from = lazy.token->at; i < twin->count; i++) {
    twin->tokens[i].at -= from;
  }
  push_lazy(L, lua_gettop(L), twin->tokens);
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
    push_simple(L, json->text, json->tokens);
    return 1;
  }
  (void)sip_json_push_index(L, state, json, 1, 0);
  push_lazy(L, 2, ((struct index *)lua_touserdata(L, 2))->tokens);
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
  luaL_newlib(L, lazy); /* without a __name: a lazy table is shown as a table */
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
