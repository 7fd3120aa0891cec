#ifndef SIP_BIND_JSON_LUA_H
#define SIP_BIND_JSON_LUA_H
/* json_lua.h - JSON as values of Lua: what the files of sipeat.core.json share. Loop thread. */
#include "core/buf.h"
#include "core/json.h"

#include <lua.h>

struct sip_err;

/** What the module keeps between calls, in a userdata: one for each state. */
struct sip_json_state {
  struct sip_json json;    /* the last text that was scanned; reused */
  struct sip_buf buf;      /* the last text that was written; reused */
  const void *array_class; /* metatable of json.array, as lua_topointer gives it */
  const void *lazy_class;  /* metatable of lazy tables */
  int lazy_ref;            /* the same in the registry */
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

/** Pushes the index of a scanned text, to which the string at `text` belongs, with `extra` bytes
 * of the caller's own in it. The string lives as long as the index. `json` NULL: an index of
 * nothing. Throws without memory. @return where the bytes are */
void *sip_json_push_index(lua_State *L, const struct sip_json_state *state,
                          const struct sip_json *json, int text, size_t extra);

/** Likewise of what the state has scanned, a text that is in no string: its `len` bytes are copied.
 */
void *sip_json_push_copy(lua_State *L, const struct sip_json_state *state, size_t len,
                         size_t extra);

/** Pushes the text of the index at `index`; nil when it belongs to none. */
void sip_json_push_text(lua_State *L, int index);

/** The tokens of the index at `index`, and where its bytes are. */
struct sip_json_token *sip_json_index_tokens(lua_State *L, int index, const char **text);
void *sip_json_index_extra(lua_State *L, int index);

/** Pushes the value of one of its tokens, lazily. `index` is absolute. */
void sip_json_push_value(lua_State *L, int index, struct sip_json_token *token);

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
