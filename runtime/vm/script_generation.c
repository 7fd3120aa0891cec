/* script_generation.c - a generation as Lua sees it: its table, its environment, its tree; and one
 * made again of a tree. Loop thread. */
#include "vm/script_generation.h"

#include "vm/embed.h"
#include "vm/script_files.h"
#include "vm/script_state.h"
#include "vm/script_tree.h"
#include "vm/state.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

static const char TREE[] = "sipeat.script.tree";
enum { SHOWN_DIGITS = 12 };

/* --- trees --- */

static int tree_gc(lua_State *L)
{
  struct sip_tree **box = luaL_checkudata(L, 1, TREE);

  sip_tree_unref(*box);
  *box = NULL;
  return 0;
}

struct sip_tree *sip_tree_check(lua_State *L, int arg)
{
  struct sip_tree **box = luaL_checkudata(L, arg, TREE);

  luaL_argcheck(L, *box != NULL, arg, "is closed");
  return *box;
}

static int l_hash(lua_State *L)
{
  lua_pushstring(L, sip_tree_hash(sip_tree_check(L, 1)));
  return 1;
}

static int l_release(lua_State *L)
{
  lua_pushstring(L, sip_tree_release(sip_tree_check(L, 1)));
  return 1;
}

static int l_main(lua_State *L)
{
  lua_pushstring(L, sip_tree_main(sip_tree_check(L, 1)));
  return 1;
}

/* Packed once for each state of the tree: the user value is a list of hash and blob. */
static int l_blob(lua_State *L)
{
  struct sip_tree *tree = sip_tree_check(L, 1);
  struct sip_script_text *packed;

  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) {
    lua_rawgeti(L, -1, 1);
    if (strcmp(lua_tostring(L, -1), sip_tree_hash(tree)) == 0) {
      lua_rawgeti(L, -2, 2);
      return 1;
    }
  }
  packed = sip_script_text_new(L);
  if (sip_tree_pack(tree, &packed->text) < 0) {
    return luaL_error(L, "no memory for the files of the script");
  }
  lua_createtable(L, 2, 0);
  lua_pushstring(L, sip_tree_hash(tree));
  lua_rawseti(L, -2, 1);
  lua_pushlstring(L, packed->text.data, packed->text.len);
  sip_buf_deinit(&packed->text);
  lua_pushvalue(L, -1);
  lua_rawseti(L, -3, 2);
  lua_insert(L, 2);
  lua_setiuservalue(L, 1, 1);
  lua_settop(L, 2);
  return 1;
}

struct sip_tree **sip_tree_new_box(lua_State *L)
{
  static const luaL_Reg methods[] = { { "hash", l_hash },
                                      { "blob", l_blob },
                                      { "release", l_release },
                                      { "main", l_main },
                                      { NULL, NULL } };

  return sip_box_class(L, TREE, tree_gc, methods);
}

static void push_tree(lua_State *L, struct sip_tree *tree)
{
  struct sip_tree **box = sip_tree_new_box(L);

  *box = sip_tree_ref(tree);
}

/* --- generations --- */

void sip_generation_new(lua_State *L, struct sip_tree *tree, const char *directory)
{
  lua_newtable(L); /* the generation */
  lua_newtable(L);
  lua_setfield(L, -2, "loaded");
  lua_pushstring(L, directory);
  lua_setfield(L, -2, "directory");
  push_tree(L, tree);
  lua_setfield(L, -2, "tree");
  lua_newtable(L); /* globals of its own, over the shared ones */
  lua_newtable(L);
  lua_pushglobaltable(L);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "_G");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, sip_require, 1);
  lua_setfield(L, -2, "require");
  lua_setfield(L, -2, "env");
}

void sip_generation_push_loading(lua_State *L)
{
  const struct sip_script *script = sip_vm_of(L)->loading;

  if (script == NULL) {
    lua_pushnil(L);
  } else {
    push_tree(L, sip_script_tree(script));
  }
}

int sip_generation_recall(lua_State *L, int tree_index, int shadow)
{
  struct sip_tree *tree = sip_tree_check(L, tree_index);
  char directory[SHOWN_DIGITS + 2];

  shadow = lua_absindex(L, shadow);
  (void)snprintf(directory, sizeof directory, "%.*s/", SHOWN_DIGITS, sip_tree_hash(tree));
  sip_generation_new(L, tree, directory);
  lua_pushvalue(L, shadow);
  lua_setfield(L, -2, "shadow");
  if (sip_script_load_text(L, lua_gettop(L), tree, sip_tree_main(tree)) < 0) {
    lua_remove(L, -2);
    return SIP_ESCRIPT;
  }
  lua_remove(L, -2); /* the chunk's environment keeps it */
  return 0;
}

bool sip_generation_builtin(lua_State *L, const char *name, int env)
{
  const struct sip_embedded *file =
    strncmp(name, "assets/", 7) == 0 ? NULL : sip_embedded_find(name);

  if (file == NULL) {
    return false;
  }
  lua_pushfstring(L, "@%s", file->source);
  if (luaL_loadbufferx(L, file->data, file->len, lua_tostring(L, -1), "t") != LUA_OK) {
    lua_error(L);
  }
  lua_remove(L, -2);
  if (env != 0) {
    lua_pushvalue(L, env);
    if (lua_setupvalue(L, -2, 1) == NULL) {
      lua_pop(L, 1);
    }
  }
  return true;
}
