/* leak.c - live memory that grows and grows, and the table that does. */
#include "vm/leak.h"

#include "core/log.h"
#include "vm/state.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum {
  WINDOW_BYTES = 16 << 20, /* at least; else several times what is live */
  WINDOW_LIVES = 8,
  RISE_BYTES = 64 << 10, /* at least, and one per cent */
  RISES_COUNTED = 4,     /* windows after which tables are counted for the first time … */
  RISES_TOLD = 8,        /* … and for the second */
  OBJECTS = 50000,       /* looked at */
  CHILDREN = 64,         /* of one table */
  NAME_BYTES = 160,
};

void sip_leak_init(struct sip_leak *leak)
{
  *leak = (struct sip_leak){ .low = SIZE_MAX, .counts_ref = LUA_NOREF };
}

/* --- the walk: all tables and functions that the registry leads to, breadth first --- */

enum { BEFORE = 1, FOUND, COUNTS, QUEUE, NAMES, FLOWS }; /* stack of the walk: tables */

struct walk {
  lua_State *L;
  lua_Integer last;  /* of the queue */
  lua_Integer found; /* flows */
  lua_Integer best;  /* entries that the table grew by */
  char name[NAME_BYTES], flow[NAME_BYTES];
};

/* The value on top goes to the end of the queue, unless it was there; it is popped. */
static void walk_add(struct walk *walk, const char *name, const char *flow)
{
  lua_State *L = walk->L;
  int type = lua_type(L, -1);

  if ((type != LUA_TTABLE && type != LUA_TFUNCTION) || walk->last == OBJECTS) {
    lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, -1);
  if (lua_rawget(L, COUNTS) != LUA_TNIL) {
    lua_pop(L, 2);
    return;
  }
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_pushinteger(L, 0);
  lua_rawset(L, COUNTS);
  lua_rawseti(L, QUEUE, ++walk->last);
  lua_pushstring(L, name);
  lua_rawseti(L, NAMES, walk->last);
  lua_pushstring(L, flow);
  lua_rawseti(L, FLOWS, walk->last);
}

static void walk_function(struct walk *walk, int at, const char *flow)
{
  lua_State *L = walk->L;
  char name[NAME_BYTES];
  lua_Debug about;
  const char *upvalue;

  lua_pushvalue(L, at);
  (void)lua_getinfo(L, ">S", &about);
  for (int i = 1; (upvalue = lua_getupvalue(L, at, i)) != NULL; i++) {
    (void)snprintf(name, sizeof name, "%.60s (%.70s:%d)", upvalue, about.short_src,
                   about.linedefined);
    walk_add(walk, name, flow);
  }
}

/* A flow of stdlib/flow.lua is known by its fields. */
static const char *flow_of(struct walk *walk, int at, const char *otherwise)
{
  lua_State *L = walk->L;
  bool is_flow;

  lua_pushliteral(L, "routes");
  is_flow = lua_rawget(L, at) == LUA_TTABLE;
  lua_pop(L, 1);
  lua_pushliteral(L, "group");
  if (lua_rawget(L, at) == LUA_TSTRING && is_flow) {
    otherwise = lua_tostring(L, -1); /* the table holds it */
    lua_pushvalue(L, at);
    lua_rawseti(L, FOUND, ++walk->found);
  }
  lua_pop(L, 1);
  return otherwise;
}

static void walk_table(struct walk *walk, int at, const char *name, const char *flow)
{
  lua_State *L = walk->L;
  lua_Integer count = 0, before;
  char child[NAME_BYTES];

  flow = flow_of(walk, at, flow);
  for (lua_pushnil(L); lua_next(L, at) != 0; count++) {
    if (count < CHILDREN) {
      const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";

      (void)snprintf(child, sizeof child, "%.90s%s%.60s", name,
                     name[0] != '\0' && key[0] != '\0' ? "." : "", key);
      walk_add(walk, child, flow);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_pushvalue(L, at);
  lua_pushinteger(L, count);
  lua_rawset(L, COUNTS);
  lua_pushvalue(L, at);
  before = lua_rawget(L, BEFORE) == LUA_TNUMBER ? lua_tointeger(L, -1) : count;
  lua_pop(L, 1);
  if (count - before > walk->best) {
    walk->best = count - before;
    (void)snprintf(walk->name, sizeof walk->name, "%s", name);
    (void)snprintf(walk->flow, sizeof walk->flow, "%s", flow);
  }
}

/* Walks what is reached from the flows in FOUND and then from the registry. */
static void walk_from(struct walk *walk, lua_Integer flows)
{
  lua_State *L = walk->L;

  lua_settop(L, FOUND);
  for (int table = COUNTS; table <= FLOWS; table++) {
    lua_newtable(L);
  }
  lua_newtable(L);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, COUNTS); /* what is gone is not kept for this */
  walk->last = 0;
  walk->best = 0;
  for (lua_Integer i = 1; i <= flows; i++) {
    (void)lua_rawgeti(L, FOUND, i);
    walk_add(walk, "", "");
  }
  lua_pushvalue(L, LUA_REGISTRYINDEX);
  walk_add(walk, "", "");
  for (lua_Integer i = 1; i <= walk->last; i++) {
    const char *name, *flow;

    lua_settop(L, FLOWS);
    (void)lua_rawgeti(L, QUEUE, i);
    (void)lua_rawgeti(L, NAMES, i);
    (void)lua_rawgeti(L, FLOWS, i);
    name = lua_tostring(L, -2);
    flow = lua_tostring(L, -1);
    if (lua_isfunction(L, FLOWS + 1)) {
      walk_function(walk, FLOWS + 1, flow);
    } else {
      walk_table(walk, FLOWS + 1, name, flow);
    }
  }
}

/* Protected. Argument: the struct walk. Leaves the counts in the registry. Twice: what is reached
 * from a flow is that flow's, by whichever way it is reached first. */
static int walk_all(lua_State *L)
{
  struct walk *walk = lua_touserdata(L, 1);
  struct sip_leak *leak = &sip_vm_of(L)->leak;

  walk->L = L;
  lua_settop(L, 0);
  if (lua_rawgeti(L, LUA_REGISTRYINDEX, leak->counts_ref) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
  }
  lua_newtable(L);
  walk_from(walk, 0);
  walk_from(walk, walk->found);
  luaL_unref(L, LUA_REGISTRYINDEX, leak->counts_ref);
  leak->counts_ref = LUA_NOREF;
  lua_pushvalue(L, COUNTS);
  leak->counts_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static void leak_walk(struct sip_vm *vm, struct walk *walk)
{
  *walk = (struct walk){ .best = 0 };
  if (lua_checkstack(vm->L, 4)) {
    lua_pushcfunction(vm->L, walk_all);
    lua_pushlightuserdata(vm->L, walk);
    (void)sip_vm_call(vm, 1, 0, NULL); /* without memory the table stays unnamed */
  }
}

/* --- windows --- */

static void leak_tell(struct sip_vm *vm)
{
  struct sip_leak *leak = &vm->leak;
  struct walk walk;
  char what[2 * NAME_BYTES + 64] = "";

  leak_walk(vm, &walk);
  luaL_unref(vm->L, LUA_REGISTRYINDEX, leak->counts_ref);
  leak->counts_ref = LUA_NOREF;
  if (walk.best > 0) {
    (void)snprintf(what, sizeof what, "; most grew %s, by %lld entries%s%s", walk.name,
                   (long long)walk.best, walk.flow[0] == '\0' ? "" : ", of the flow ", walk.flow);
  }
  sip_log(
    SIP_LOG_WARN, "leak", NULL,
    "the script keeps more and more: %.1f MB are live after %d collections in a row that each "
    "left more than the one before, %.1f MB at the first%s",
    (double)leak->last_low / 1e6, RISES_TOLD, (double)leak->first_low / 1e6, what);
  leak->told = true;
}

static void leak_end_window(struct sip_vm *vm)
{
  struct sip_leak *leak = &vm->leak;
  size_t more = leak->last_low / 100 > RISE_BYTES ? leak->last_low / 100 : RISE_BYTES;
  bool rises = leak->last_low != 0 && leak->low > leak->last_low + more;
  struct walk walk;

  leak->rises = rises ? leak->rises + 1 : 0;
  if (!rises) {
    leak->first_low = leak->low;
  }
  leak->last_low = leak->low;
  leak->low = SIZE_MAX;
  leak->window_began = vm->budget.allocated;
  if (leak->rises == RISES_COUNTED) {
    leak_walk(vm, &walk);
  } else if (leak->rises == RISES_TOLD) {
    leak_tell(vm);
  }
}

void sip_leak_look(struct sip_vm *vm)
{
  struct sip_leak *leak = &vm->leak;
  uint64_t window;

  if (vm->memory_bytes < leak->low) {
    leak->low = vm->memory_bytes;
  }
  window = (uint64_t)leak->low * WINDOW_LIVES;
  if (vm->budget.allocated - leak->window_began < (window > WINDOW_BYTES ? window : WINDOW_BYTES)) {
    return;
  }
  if (!leak->told) {
    leak_end_window(vm);
  }
}
