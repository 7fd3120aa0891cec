#ifndef SIP_BIND_JSON_LUA_H
#define SIP_BIND_JSON_LUA_H
/* json_lua.h - JSON as values of Lua: what the files of sipeat.core.json share. Loop thread. */
#include "core/buf.h"
#include "core/json.h"

#include <lua.h>

struct sip_err;

struct sip_json_index; /* of a text that was read lazily, in a userdata */

/** Something that is done with some values and not with others: what was done with those before is
 * expected of the next ones. Where it is expected nobody sees whether it is done, so now and then
 * it is not expected of one; if nothing is seen until the next of these, it has ended. */
struct sip_json_habit {
  unsigned since; /* values since the last such one */
  bool held;      /* is it expected? */
  bool unsure;    /* nothing was seen since then */
};

/** To be asked once for each value. */
static inline bool sip_json_habit_expected(struct sip_json_habit *habit)
{
  enum { PERIOD = 500 }; /* values; more than are looked at by those who wait at a time */

  if (!habit->held || ++habit->since < PERIOD) {
    return habit->held;
  }
  habit->since = 0;
  habit->held = !habit->unsure;
  habit->unsure = true;
  return false;
}

/** It was done, though not expected. */
static inline void sip_json_habit_seen(struct sip_json_habit *habit)
{
  habit->held = true;
  habit->unsure = false;
}

/** What the module keeps between calls, in a userdata: one for each state. */
struct sip_json_state {
  struct sip_json json;         /* the last text that was scanned; reused */
  struct sip_buf buf;           /* the last text that was written; reused */
  const void *array_class;      /* metatable of json.array, as lua_topointer gives it */
  const void *lazy_class;       /* metatable of lazy tables */
  int lazy_ref;                 /* the same in the registry */
  struct sip_json_habit growth; /* of lazy tables: fields are put there, not only read once */
  /* The lazy table that was made or looked at last. It may be gone: where it was, no lazy table can
   * be but one that was made later, and then that one stands here. */
  struct {
    const void *table; /* as lua_topointer gives it; NULL: none yet */
    struct sip_json_index *index;
    struct sip_json_token *token;
  } last;
};

/** What a lazy table stands for. */
struct sip_json_lazy {
  const char *text;             /* borrowed: the index holds the text */
  struct sip_json_token *token; /* points into the index, which the table holds */
  bool spaced;                  /* there is white space between the tokens of the text */
  uint8_t depth;                /* of the deepest container of the text */
};

/** The module's state, or NULL before somebody has asked for the module. */
struct sip_json_state *sip_json_state(lua_State *L);

/** Describes the lazy table at `index`. Leaves one value on the stack, which keeps it alive. */
void sip_json_lazy_at(lua_State *L, int index, struct sip_json_lazy *out);

/** True when nothing of it was read, so that its text says all that is in it. */
bool sip_json_lazy_untouched(const struct sip_json_lazy *lazy);

/** Is the value a lazy table of which nothing was read? */
bool sip_json_is_untouched(lua_State *L, const struct sip_json_state *state, int index);

/** As sip_json_scan into the state's tape, whose memory stays small. */
int sip_json_state_scan(struct sip_json_state *state, const char *text, size_t len,
                        struct sip_err *err);

enum { SIP_JSON_OWN_VALUE = 1 }; /* the user value of an index that is the caller's */

/** Pushes the index of a scanned text, to which the string at `text` belongs, with `extra` bytes
 * of the caller's own in it; if there are any, there is a user value as well. The string lives as
 * long as the index. `json` NULL: an index of nothing. Throws without memory. */
struct sip_json_index *sip_json_push_index(lua_State *L, struct sip_json_state *state,
                                           const struct sip_json *json, int text, size_t extra);

/** Likewise of a value, `root`, of what the state has scanned, a text that is in no string: its
 * `len` bytes are copied. */
struct sip_json_index *sip_json_push_copy(lua_State *L, struct sip_json_state *state,
                                          const struct sip_json_token *root, size_t len,
                                          size_t extra);

/** Pushes the text of the index at `index`; nil when it belongs to none. */
void sip_json_push_text(lua_State *L, int index);

/** The caller's own bytes in an index, aligned for what has eight bytes. */
void *sip_json_index_extra(struct sip_json_index *index);

/** Pushes the value of an index, lazily. `at`: where it is in the stack, absolute. */
void sip_json_push_root(lua_State *L, int at, struct sip_json_index *index);

/** Pushes the value of a token that is no container with something in it. */
void sip_json_push_simple(lua_State *L, const char *text, const struct sip_json_token *token);

/** Pushes the value of the text at `text`, a string; nil for null. What is large is filled when it
 * is touched. Throws without memory, and what decode refuses. */
void sip_json_push_lazy(lua_State *L, struct sip_json_state *state, int text);

/** Pushes what sip_json_push_lazy pushes for `text`, without reading it: it is what was written of
 * the lazy table at `table`. @return false, and nothing pushed, when that is none or was touched */
bool sip_json_push_twin(lua_State *L, struct sip_json_state *state, int table, int text);

/** The text of the value at `index`, in the state's buffer: borrowed until something is encoded.
 * Throws without memory. @return false when it cannot be written; encode then says why */
bool sip_json_write(lua_State *L, struct sip_json_state *state, int index, struct sip_slice *out);

/** How a value is written, besides as JSON: what has the metatable `marked` as {mark: object}, and
 * the one string of Lua whose bytes are at `text` as `quoted`, which is its JSON. NULL: neither. */
struct sip_json_style {
  const void *marked;
  struct sip_slice mark;
  const char *text;
  struct sip_slice quoted;
};
bool sip_json_write_as(lua_State *L, struct sip_json_state *state, int index,
                       const struct sip_json_style *style, struct sip_slice *out);

/** Pushes class and mark of the function at `index`, if encoder(class, mark) has made it. */
bool sip_json_push_marked(lua_State *L, int index);

/** encode(value), encoder(class, mark): upvalue 1 is the state (json_encode_lua.c). */
int sip_json_l_encode(lua_State *L);
int sip_json_l_encoder(lua_State *L);

#endif
