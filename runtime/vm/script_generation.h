#ifndef SIP_VM_SCRIPT_GENERATION_H
#define SIP_VM_SCRIPT_GENERATION_H
/* script_generation.h - a generation as Lua sees it.
 *
 * A table {env, loaded, directory, tree, script, shadow}, upvalue of its own `require`; the
 * generation's functions keep it alive. `directory` is what stands before a file's name in messages
 * and, with a `script`, where its files lie. A generation without a script has been recalled: it is
 * made of its tree alone. `shadow(name, env)` gives what it gets in place of a compiled-in module,
 * or nil. Loop thread only. */
#include "core/err.h"

#include <lua.h>
#include <stdbool.h>

struct sip_tree;

/** Pushes a new generation, which holds a reference to the tree. Throws. */
void sip_generation_new(lua_State *L, struct sip_tree *tree, const char *directory);

/** Pushes a box for a tree, with methods hash(), blob(), release() and main(). What is put into it
 * is unreferenced with it. Throws. */
struct sip_tree **sip_tree_new_box(lua_State *L);

/** The tree in the box at `arg`. Throws. */
struct sip_tree *sip_tree_check(lua_State *L, int arg);

/** Pushes the tree of the generation that loads now, or nil. */
void sip_generation_push_loading(lua_State *L);

/** Recalls a version: takes the tree at `tree` and the shadow at `shadow`, and pushes the script's
 * main chunk. @return 0; SIP_ESCRIPT, with a message on the stack instead. Throws when memory is
 * out */
int sip_generation_recall(lua_State *L, int tree, int shadow);

/** Pushes the chunk of a compiled-in module, with the environment at the absolute index `env` (0:
 * the globals); false, and nothing, when there is none of that name. Throws. */
bool sip_generation_builtin(lua_State *L, const char *name, int env);

#endif
