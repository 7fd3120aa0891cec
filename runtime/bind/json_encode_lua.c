/* json_encode_lua.c - encode(value) of sipeat.core.json: the text of a value, exactly, or why not.
 *
 * encode(value) -> text | nil, message, "BAD_DATA". encoder(class, mark) gives a function that does
 * the same, but writes what has that metatable as {mark: object}. The text is built in the state's
 * buffer, so nothing is lost when Lua throws for want of memory. A table is written in one pass:
 * what its first key says it is, list or object, the others are held to. A lazy table of which
 * nothing was read is written by copying its bytes. Loop thread. */
#include "bind/json_lua.h"
#include "core/err.h"
#include "core/json_plain.h"
#include "core/json_text.h"
#include "vm/lazy.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
  PLACE_BYTES = 400,      /* of the path to what cannot be written; what is longer is cut */
  PLACE_LEVELS = 8,       /* of a path that leads in a circle */
  KEEP_BYTES = 256 * 1024 /* a larger buffer is given back after its use */
};

/* A table that is being written, and those around it. While it is, its key is behind it on the
 * stack, and the value behind that. */
struct level {
  const struct level *around; /* NULL for the first */
  int table;                  /* its index in the stack */
  int depth;                  /* 1 for the first */
};

struct writer {
  lua_State *L;
  struct sip_json_state *state;
  struct sip_buf *buf;
  const struct sip_json_style *style; /* borrowed */
  struct sip_err err;                 /* set when a function answers SIP_EDATA */
};

/* --- refusals --- */

static size_t add_place(struct writer *w, const struct level *level, char *out, size_t size)
{
  size_t len = level->around == NULL ? 0 : add_place(w, level->around, out, size);
  int key = level->table + 1, n = 0;

  if (level->depth > PLACE_LEVELS || len >= size) {
    return len;
  } else if (lua_type(w->L, key) == LUA_TSTRING) {
    n = snprintf(out + len, size - len, "%s%s", len == 0 ? "" : ".", lua_tostring(w->L, key));
  } else if (lua_isinteger(w->L, key)) {
    n = snprintf(out + len, size - len, "[%lld]", (long long)lua_tointeger(w->L, key));
  }
  return len + (n > 0 ? (size_t)n : 0);
}

/* `level`: the table whose item cannot be written; NULL for the value itself. */
static int refuse(struct writer *w, const struct level *level, const char *what)
{
  char place[PLACE_BYTES] = "";

  if (level != NULL) {
    (void)add_place(w, level, place, sizeof place);
  }
  return sip_err_set(&w->err, SIP_EDATA, "%s%s%s", place, place[0] == '\0' ? "" : ": ", what);
}

/* Keys that are neither those of a list nor of an object. */
struct shape {
  lua_Integer integers, largest;
  bool strings;
};

/* Says what is wrong with the keys of a table that is neither a list nor an object. */
static int refuse_shape(struct writer *w, const struct level *level)
{
  lua_State *L = w->L;
  struct shape shape = { 0, 0, false };
  char what[120];

  lua_settop(L, level->table);
  for (lua_pushnil(L); lua_next(L, level->table); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      shape.strings = true;
    } else if (!lua_isinteger(L, -2)) {
      (void)snprintf(what, sizeof what, "a key is a %s; keys are 1, 2, 3 … or strings",
                     luaL_typename(L, -2));
      return refuse(w, level->around, what);
    } else if (lua_tointeger(L, -2) < 1) {
      (void)snprintf(what, sizeof what, "key %lld: keys are 1, 2, 3 … or strings",
                     (long long)lua_tointeger(L, -2));
      return refuse(w, level->around, what);
    } else {
      lua_Integer key = lua_tointeger(L, -2);

      shape.integers++;
      shape.largest = key > shape.largest ? key : shape.largest;
    }
  }
  if (shape.strings) {
    return refuse(w, level->around,
                  shape.integers > 0 ? "mixes list items with named fields"
                                     : "named fields in an array");
  }
  (void)snprintf(what, sizeof what,
                 "a list with holes (%lld of %lld items); use json.null, or string keys",
                 (long long)shape.integers, (long long)shape.largest);
  return refuse(w, level->around, what);
}

/* --- scalars; the value is on the top of the stack --- */

/* Room for `extra` bytes behind what was written, and a NUL. */
static int reserve(struct sip_buf *buf, size_t extra)
{
  return sip_buf_has_room(buf, extra) ? 0 : sip_buf_reserve(buf, extra);
}

static int add_byte(struct sip_buf *buf, char byte)
{
  int rc = reserve(buf, 1);

  if (rc == 0) {
    buf->data[buf->len++] = byte;
    buf->data[buf->len] = '\0';
  }
  return rc;
}

static int add_number(struct writer *w, const struct level *level)
{
  struct sip_buf *buf = w->buf;
  int rc = reserve(buf, SIP_JSON_NUMBER_BYTES);
  char what[80];

  if (rc < 0) {
    return rc;
  } else if (lua_isinteger(w->L, -1)) {
    buf->len += sip_json_print_integer(buf->data + buf->len, lua_tointeger(w->L, -1));
  } else {
    lua_Number value = lua_tonumber(w->L, -1);

    if (!isfinite(value)) {
      (void)snprintf(what, sizeof what, "%.14g is no JSON number", value);
      return refuse(w, level, what);
    }
    buf->len += sip_json_print_real(buf->data + buf->len, value);
  }
  buf->data[buf->len] = '\0';
  return 0;
}

/* `rc`: of a text that was added. */
static int refuse_text(struct writer *w, int rc, const struct level *level, const char *broken)
{
  return rc == SIP_EDATA ? refuse(w, level, broken) : rc;
}

static int add_text(struct writer *w, const struct level *level, const char *text, size_t len)
{
  int rc;

  if (text == w->style->text) {
    return sip_buf_add(w->buf, w->style->quoted.data, w->style->quoted.len);
  }
  rc = sip_json_add_string(w->buf, text, len);
  return rc == 0 ? 0 : refuse_text(w, rc, level, "text is not valid UTF-8");
}

static int add_string(struct writer *w, const struct level *level)
{
  size_t len;
  const char *text = lua_tolstring(w->L, -1, &len);

  return add_text(w, level, text, len);
}

static int add_other(struct writer *w, const struct level *level)
{
  char what[80];

  (void)snprintf(what, sizeof what, "a %s cannot be written as JSON", luaL_typename(w->L, -1));
  return refuse(w, level, what);
}

static int add_table(struct writer *w, const struct level *around);

static int add_value(struct writer *w, const struct level *level, int type)
{
  switch (type) {
  case LUA_TSTRING:
    return add_string(w, level);
  case LUA_TNUMBER:
    return add_number(w, level);
  case LUA_TBOOLEAN:
    return lua_toboolean(w->L, -1) ? sip_buf_add(w->buf, "true", 4)
                                   : sip_buf_add(w->buf, "false", 5);
  case LUA_TTABLE:
    return add_table(w, level);
  case LUA_TLIGHTUSERDATA:
    return lua_touserdata(w->L, -1) == NULL ? sip_buf_add(w->buf, "null", 4) : add_other(w, level);
  default:
    return add_other(w, level);
  }
}

/* --- tables --- */

/* The key of a member, and what is before it. */
struct member {
  const char *key;
  size_t len;
  char before;
};

static int add_key(struct writer *w, const struct level *level, const struct member *member)
{
  int rc = sip_json_add_key(w->buf, member->before, member->key, member->len);

  return rc == 0 ? 0 : refuse_text(w, rc, level->around, "a key is not valid UTF-8");
}

/* A member that is a text: at once, when both are plain, as most are. */
static int add_text_member(struct writer *w, const struct level *level, const struct member *member)
{
  static const char between[] = { '"', ':', '"' };
  enum { AROUND = 6 }; /* `,"":""` */
  struct sip_buf *buf = w->buf;
  size_t len;
  const char *text = lua_tolstring(w->L, -1, &len);
  int rc = reserve(buf, member->len + len + AROUND);

  if (rc == 0 && text != w->style->text) {
    char *key = buf->data + buf->len + 2, *value = key + member->len + sizeof between;

    if (sip_json_copy_plain(key, member->key, member->len) &&
        sip_json_copy_plain(value, text, len)) {
      key[-2] = member->before;
      key[-1] = '"';
      memcpy(value - sizeof between, between, sizeof between);
      memcpy(value + len, "\"", 2); /* and its NUL */
      buf->len += member->len + len + AROUND;
      return 0;
    }
  }
  rc = rc == 0 ? add_key(w, level, member) : rc;
  return rc == 0 ? add_text(w, level, text, len) : rc;
}

/* stack: …, table, first key, first value */
static int add_object(struct writer *w, const struct level *level)
{
  lua_State *L = w->L;
  struct member member = { .before = '{' };
  int rc, type;

  do {
    if (lua_type(L, -2) != LUA_TSTRING) {
      return refuse_shape(w, level);
    }
    member.key = lua_tolstring(L, -2, &member.len);
    type = lua_type(L, -1);
    if (type == LUA_TSTRING) {
      rc = add_text_member(w, level, &member);
    } else {
      rc = add_key(w, level, &member);
      rc = rc == 0 ? add_value(w, level, type) : rc;
    }
    if (rc < 0) {
      return rc;
    }
    member.before = ',';
    lua_pop(L, 1);
  } while (lua_next(L, level->table));
  return add_byte(w->buf, '}');
}

/* True when the keys of the table are 1 to `count`, in any order. */
static bool is_list(lua_State *L, int table, lua_Integer count)
{
  lua_Integer seen = 0;

  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;

    if (key < 1 || key > count) {
      lua_pop(L, 2);
      return false;
    }
    seen++;
  }
  return seen == count;
}

/* stack: …, table */
static int add_list(struct writer *w, const struct level *level)
{
  lua_State *L = w->L;
  lua_Integer count = (lua_Integer)lua_rawlen(L, level->table);
  int rc = 0, type;

  if (!is_list(L, level->table, count)) {
    return refuse_shape(w, level);
  }
  for (lua_Integer i = 1; rc == 0 && i <= count; i++) {
    lua_pushinteger(L, i); /* the key, for the place of what is refused */
    type = lua_rawgeti(L, level->table, i);
    rc = add_byte(w->buf, i == 1 ? '[' : ',');
    if (rc == 0) {
      rc = add_value(w, level, type);
    }
    if (rc == 0) {
      lua_pop(L, 2);
    }
  }
  return rc == 0 ? add_byte(w->buf, ']') : rc;
}

/* A lazy table at the top: copied as it is, which is *done, or filled. */
static int add_lazy(struct writer *w, int depth, bool *done)
{
  struct sip_json_lazy lazy;
  int rc = 0;

  sip_json_lazy_at(w->L, -1, &lazy);
  *done = sip_json_lazy_untouched(&lazy) && depth + lazy.depth <= SIP_JSON_DEPTH;
  if (*done) {
    rc = sip_json_add_value(w->buf, lazy.text, lazy.token, lazy.spaced);
  }
  lua_pop(w->L, 1);
  if (!*done) {
    sip_lazy_fill(w->L, -1);
  }
  return rc;
}

static bool is_secret(lua_State *L)
{
  int type = luaL_getmetafield(L, -1, "__metatable");
  bool secret = type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "sipeat.secret") == 0;

  lua_pop(L, type == LUA_TNIL ? 0 : 1);
  return secret;
}

/* Stack: …, table. */
static int add_items(struct writer *w, const struct level *level, bool is_array)
{
  lua_State *L = w->L;

  lua_pushnil(L);
  if (!lua_next(L, level->table)) {
    return sip_buf_add(w->buf, is_array ? "[]" : "{}", 2);
  } else if (lua_type(L, -2) == LUA_TSTRING && !is_array) {
    return add_object(w, level);
  }
  lua_pop(L, 2);
  return add_list(w, level);
}

static int add_marked(struct writer *w, const struct level *level)
{
  int rc = sip_json_add_key(w->buf, '{', w->style->mark.data, w->style->mark.len);

  if (rc == 0) {
    rc = add_items(w, level, false);
  }
  return rc == 0 ? add_byte(w->buf, '}') : rc;
}

/* The table is on the top of the stack, and stays there. */
static int add_table(struct writer *w, const struct level *around)
{
  lua_State *L = w->L;
  struct level level = { around, lua_gettop(L), around == NULL ? 1 : around->depth + 1 };
  const void *class = NULL;

  luaL_checkstack(L, 8, "json");
  if (lua_getmetatable(L, -1)) {
    class = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
  if (class == w->state->lazy_class) {
    bool done;
    int rc = add_lazy(w, level.depth - 1, &done);

    if (done || rc < 0) {
      return rc;
    }
  } else if (class != NULL && class != w->state->array_class && is_secret(L)) {
    return refuse(w, around, "a secret is not written into JSON");
  }
  level.depth += class != NULL && class == w->style->marked; /* the object around it */
  if (level.depth > SIP_JSON_DEPTH) {
    return refuse(w, around, "nested deeper than 128, or in a circle");
  }
  return class != NULL && class == w->style->marked
           ? add_marked(w, &level)
           : add_items(w, &level, class == w->state->array_class);
}

/* The value on the top of the stack into the state's buffer. The error, which is large, stays as it
 * is. @return 0, SIP_EDATA or UV_ENOMEM */
static int write_top(struct writer *w, lua_State *L, struct sip_json_state *state)
{
  w->L = L;
  w->state = state;
  w->buf = &state->buf;
  if (w->buf->cap > KEEP_BYTES) {
    sip_buf_deinit(w->buf);
  }
  sip_buf_clear(w->buf);
  return add_value(w, NULL, lua_type(L, -1));
}

static const struct sip_json_style plain = { 0 };

bool sip_json_write(lua_State *L, struct sip_json_state *state, int index, struct sip_slice *out)
{
  return sip_json_write_as(L, state, index, &plain, out);
}

bool sip_json_write_as(lua_State *L, struct sip_json_state *state, int index,
                       const struct sip_json_style *style, struct sip_slice *out)
{
  int top = lua_gettop(L), rc;
  struct writer w;

  w.style = style;
  lua_pushvalue(L, index);
  rc = write_top(&w, L, state);
  lua_settop(L, top);
  if (rc == UV_ENOMEM) {
    (void)luaL_error(L, "json encode: not enough memory");
  }
  *out = (struct sip_slice){ w.buf->data, w.buf->len };
  return rc == 0;
}

/* The text of the value at index 1, or why there is none. Upvalue 1 is the state. */
static int encode(lua_State *L, struct writer *w)
{
  int rc;

  lua_settop(L, 1);
  rc = write_top(w, L, lua_touserdata(L, lua_upvalueindex(1)));
  if (rc == 0) {
    lua_pushlstring(L, w->buf->data, w->buf->len);
    return 1;
  } else if (rc != SIP_EDATA) {
    return luaL_error(L, "json encode: not enough memory");
  }
  lua_pushnil(L);
  lua_pushfstring(L, "json encode: %s", w->err.message);
  lua_pushliteral(L, "BAD_DATA");
  return 3;
}

int sip_json_l_encode(lua_State *L)
{
  struct writer w;

  w.style = &plain;
  return encode(L, &w);
}

/* Upvalues: the state, the class, the mark. */
static int l_encode_marked(lua_State *L)
{
  struct sip_json_style style = { .marked = lua_topointer(L, lua_upvalueindex(2)) };
  struct writer w;

  style.mark.data = lua_tolstring(L, lua_upvalueindex(3), &style.mark.len);
  w.style = &style;
  return encode(L, &w);
}

int sip_json_l_encoder(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushcclosure(L, l_encode_marked, 3);
  return 1;
}

bool sip_json_push_marked(lua_State *L, int index)
{
  index = lua_absindex(L, index);
  if (lua_tocfunction(L, index) != l_encode_marked) {
    return false;
  }
  (void)lua_getupvalue(L, index, 2); /* it has them */
  (void)lua_getupvalue(L, index, 3);
  return true;
}
